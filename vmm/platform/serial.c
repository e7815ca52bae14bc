/* SPDX-License-Identifier: BSD-2-Clause */

/* A 16550A without time: a byte that the guest writes is sent at once, and the transmitter is always empty. The
 * registers, both FIFOs' rules, the interrupt's reasons in their order, and loop mode are as Linux and firmware expect
 * them. Accesses come from vcpu threads and input from the main thread, under the port's lock. */

#include "vmm/platform/serial.h"

#include <errno.h>
#include <linux/serial_reg.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
        FIFO_SIZE = 16,
        IER_MASK = UART_IER_RDI | UART_IER_THRI | UART_IER_RLSI | UART_IER_MSI,
        MCR_MASK = UART_MCR_DTR | UART_MCR_RTS | UART_MCR_OUT1 | UART_MCR_OUT2 | UART_MCR_LOOP,
        MSR_LINES = UART_MSR_CTS | UART_MSR_DSR | UART_MSR_RI | UART_MSR_DCD,
        LINE_ERRORS = UART_LSR_OE | UART_LSR_PE | UART_LSR_FE | UART_LSR_BI,
        IIR_TIMEOUT = 0x0c, /* less than the trigger level, for a while */
        IIR_FIFOS = 0xc0,
        DIVISOR_9600 = 12,
};

struct serial {
        struct serial_ops ops;
        void *userdata;
        pthread_mutex_t lock; /* what follows */

        uint8_t input[FIFO_SIZE];
        unsigned first, count;
        unsigned trigger; /* so many make an interrupt */
        bool fifos;
        bool sent;    /* "transmitter empty" has yet to be told */
        bool refused; /* input, for want of room */
        bool level;
        uint8_t enabled, line_control, modem_control, scratch;
        uint8_t errors; /* of the line status */
        uint8_t modem;  /* status: lines, and in its low half what has changed */
        uint8_t divisor[2];
};

static void set_power_on(struct serial *serial)
{
        serial->first = serial->count = 0;
        serial->trigger = 1;
        serial->fifos = serial->sent = false;
        serial->enabled = serial->line_control = serial->modem_control = serial->scratch = serial->errors = 0;
        serial->modem = UART_MSR_CTS | UART_MSR_DSR | UART_MSR_DCD;
        serial->divisor[0] = DIVISOR_9600;
        serial->divisor[1] = 0;
}

/* The value of IIR: the most urgent of the interrupts that are enabled. */
static uint8_t interrupt_reason(const struct serial *serial)
{
        if ((serial->enabled & UART_IER_RLSI) && serial->errors)
                return UART_IIR_RLSI;
        if ((serial->enabled & UART_IER_RDI) && serial->count > 0)
                return serial->count >= serial->trigger ? UART_IIR_RDI : IIR_TIMEOUT;
        if ((serial->enabled & UART_IER_THRI) && serial->sent)
                return UART_IIR_THRI;
        if ((serial->enabled & UART_IER_MSI) && (serial->modem & UART_MSR_ANY_DELTA))
                return UART_IIR_MSI;
        return UART_IIR_NO_INT;
}

static void serial_update_interrupt(struct serial *serial)
{
        bool level = interrupt_reason(serial) != UART_IIR_NO_INT;

        if (level == serial->level)
                return;
        serial->level = level;
        serial->ops.interrupt(serial->userdata, level);
}

static unsigned serial_capacity(const struct serial *serial)
{
        return serial->fifos ? FIFO_SIZE : 1;
}

static void push_input(struct serial *serial, uint8_t byte)
{
        if (serial->count == serial_capacity(serial)) {
                serial->errors |= UART_LSR_OE;
                /* Without FIFOs the new byte takes the old one's place; with them it is the new one that is lost. */
                if (!serial->fifos)
                        serial->input[serial->first] = byte;
                return;
        }
        serial->input[(serial->first + serial->count++) % FIFO_SIZE] = byte;
}

static uint8_t pop_input(struct serial *serial)
{
        uint8_t byte = serial->input[serial->first];

        if (serial->count == 0)
                return 0;
        serial->first = (serial->first + 1) % FIFO_SIZE;
        serial->count--;
        return byte;
}

/* In a loop the modem's lines are what the guest drives itself. */
static void update_modem(struct serial *serial)
{
        uint8_t control = serial->modem_control, lines = UART_MSR_CTS | UART_MSR_DSR | UART_MSR_DCD;

        if (control & UART_MCR_LOOP)
                lines = (uint8_t)((control & UART_MCR_RTS ? UART_MSR_CTS : 0) |
                                  (control & UART_MCR_DTR ? UART_MSR_DSR : 0) |
                                  (control & UART_MCR_OUT1 ? UART_MSR_RI : 0) |
                                  (control & UART_MCR_OUT2 ? UART_MSR_DCD : 0));

        unsigned changed = (serial->modem ^ lines) & MSR_LINES;

        /* The ring's end counts, and not its begin. */
        if (lines & UART_MSR_RI)
                changed &= ~(unsigned)UART_MSR_RI;
        serial->modem = (uint8_t)(lines | (serial->modem & UART_MSR_ANY_DELTA) | changed >> 4);
}

static void serial_send(struct serial *serial, uint8_t byte)
{
        if (serial->modem_control & UART_MCR_LOOP)
                push_input(serial, byte);
        else
                serial->ops.output(serial->userdata, &byte, 1);
        serial->sent = true;
}

static void write_fifo_control(struct serial *serial, uint8_t value)
{
        static const uint8_t triggers[] = {1, 4, 8, 14};
        bool fifos = value & UART_FCR_ENABLE_FIFO;

        if (fifos != serial->fifos || (fifos && (value & UART_FCR_CLEAR_RCVR)))
                serial->first = serial->count = 0;
        serial->fifos = fifos;
        serial->trigger = fifos ? triggers[value >> 6] : 1;
}

static void write_enabled(struct serial *serial, uint8_t value)
{
        uint8_t begun = (uint8_t)(value & ~serial->enabled);

        serial->enabled = value & IER_MASK;
        if (begun & UART_IER_THRI)
                serial->sent = true;
}

static void write_register(struct serial *serial, unsigned offset, uint8_t value)
{
        bool divisor = serial->line_control & UART_LCR_DLAB;

        switch (offset) {
        case UART_TX:
                if (divisor)
                        serial->divisor[0] = value;
                else
                        serial_send(serial, value);
                break;
        case UART_IER:
                if (divisor)
                        serial->divisor[1] = value;
                else
                        write_enabled(serial, value);
                break;
        case UART_FCR:
                write_fifo_control(serial, value);
                break;
        case UART_LCR:
                serial->line_control = value;
                break;
        case UART_MCR:
                serial->modem_control = value & MCR_MASK;
                update_modem(serial);
                break;
        case UART_SCR:
                serial->scratch = value;
                break;
        default: /* the two status registers can't be written */
                break;
        }
}

static uint8_t read_reason(struct serial *serial)
{
        uint8_t reason = interrupt_reason(serial);

        if (reason == UART_IIR_THRI)
                serial->sent = false;
        return reason | (serial->fifos ? IIR_FIFOS : 0);
}

static uint8_t read_line_status(struct serial *serial)
{
        uint8_t status = (uint8_t)(UART_LSR_THRE | UART_LSR_TEMT | serial->errors | (serial->count ? UART_LSR_DR : 0));

        serial->errors = 0;
        return status;
}

static uint8_t read_modem_status(struct serial *serial)
{
        uint8_t status = serial->modem;

        serial->modem &= MSR_LINES;
        return status;
}

static uint8_t read_register(struct serial *serial, unsigned offset)
{
        bool divisor = serial->line_control & UART_LCR_DLAB;

        switch (offset) {
        case UART_RX:
                return divisor ? serial->divisor[0] : pop_input(serial);
        case UART_IER:
                return divisor ? serial->divisor[1] : serial->enabled;
        case UART_IIR:
                return read_reason(serial);
        case UART_LCR:
                return serial->line_control;
        case UART_MCR:
                return serial->modem_control;
        case UART_LSR:
                return read_line_status(serial);
        case UART_MSR:
                return read_modem_status(serial);
        default:
                return serial->scratch;
        }
}

/* There is room for input that there was none for. */
static bool take_room(struct serial *serial)
{
        bool room =
                serial->refused && serial->count < serial_capacity(serial) && !(serial->modem_control & UART_MCR_LOOP);

        if (room)
                serial->refused = false;
        return room;
}

void serial_access(void *userdata, uint64_t offset, void *data, unsigned size, bool write)
{
        struct serial *serial = userdata;
        uint8_t *bytes = data;

        if (offset > UART_SCR || size == 0)
                return;
        pthread_mutex_lock(&serial->lock);
        if (write)
                write_register(serial, (unsigned)offset, bytes[0]);
        else {
                memset(bytes, 0, size);
                bytes[0] = read_register(serial, (unsigned)offset);
        }
        serial_update_interrupt(serial);

        bool room = take_room(serial);

        pthread_mutex_unlock(&serial->lock);
        if (room && serial->ops.room)
                serial->ops.room(serial->userdata);
}

size_t serial_input(struct serial *serial, const uint8_t *data, size_t size)
{
        size_t taken = 0;

        pthread_mutex_lock(&serial->lock);
        if (!(serial->modem_control & UART_MCR_LOOP))
                while (taken < size && serial->count < serial_capacity(serial))
                        push_input(serial, data[taken++]);
        if (taken < size)
                serial->refused = true;
        serial_update_interrupt(serial);
        pthread_mutex_unlock(&serial->lock);
        return taken;
}

void serial_reset(struct serial *serial)
{
        pthread_mutex_lock(&serial->lock);
        set_power_on(serial);
        serial_update_interrupt(serial);

        bool room = take_room(serial);

        pthread_mutex_unlock(&serial->lock);
        if (room && serial->ops.room)
                serial->ops.room(serial->userdata);
}

int serial_new(const struct serial_ops *ops, void *userdata, struct serial **out)
{
        struct serial *serial = calloc(1, sizeof(*serial));

        if (!serial)
                return -ENOMEM;
        serial->ops = *ops;
        serial->userdata = userdata;
        pthread_mutex_init(&serial->lock, NULL);
        set_power_on(serial);
        *out = serial;
        return 0;
}

void serial_free(struct serial *serial)
{
        if (!serial)
                return;
        pthread_mutex_destroy(&serial->lock);
        free(serial);
}
