/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/test.h"
#include "vmm/platform/serial.h"

#include <linux/serial_reg.h>
#include <pthread.h>
#include <string.h>

struct seen {
        char output[100];
        size_t size;
        bool level;
        unsigned changes, rooms;
};

static void take_output(void *userdata, const uint8_t *data, size_t size)
{
        struct seen *seen = userdata;

        for (size_t i = 0; i < size && seen->size < sizeof(seen->output) - 1; i++)
                seen->output[seen->size++] = (char)data[i];
}

static void take_interrupt(void *userdata, bool level)
{
        struct seen *seen = userdata;

        assert_int_not_equal(level, seen->level);
        seen->level = level;
        seen->changes++;
}

static void take_room(void *userdata)
{
        ((struct seen *)userdata)->rooms++;
}

static struct serial *begin(struct seen *seen)
{
        static const struct serial_ops ops = {take_output, take_interrupt, take_room};
        struct serial *serial;

        memset(seen, 0, sizeof(*seen));
        assert_int_equal(serial_new(&ops, seen, &serial), 0);
        return serial;
}

static unsigned get(struct serial *serial, unsigned offset)
{
        uint8_t value = 0xff;

        serial_access(serial, offset, &value, 1, false);
        return value;
}

static void put(struct serial *serial, unsigned offset, unsigned value)
{
        uint8_t byte = (uint8_t)value;

        serial_access(serial, offset, &byte, 1, true);
}

static size_t input(struct serial *serial, const char *text)
{
        return serial_input(serial, (const uint8_t *)text, strlen(text));
}

static void test_output(void **state)
{
        struct seen seen;
        struct serial *serial = begin(&seen);
        uint32_t wide = 0x21216f;

        assert_int_equal(get(serial, UART_LSR), UART_LSR_THRE | UART_LSR_TEMT);
        put(serial, UART_TX, 'h');
        put(serial, UART_TX, 'i');
        serial_access(serial, UART_TX, &wide, 4, true);
        assert_string_equal(seen.output, "hio");
        assert_int_equal(seen.changes, 0);
        serial_access(serial, UART_LSR, &wide, 4, false);
        assert_int_equal(wide, UART_LSR_THRE | UART_LSR_TEMT);
        /* There are 8 registers. */
        serial_access(serial, 8, &wide, 4, false);
        serial_access(serial, UINT64_MAX, &wide, 4, true);
        assert_int_equal(wide, UART_LSR_THRE | UART_LSR_TEMT);
        serial_free(serial);
        serial_free(NULL);
}

static void test_output_interrupt(void **state)
{
        struct seen seen;
        struct serial *serial = begin(&seen);

        put(serial, UART_FCR, UART_FCR_ENABLE_FIFO);
        put(serial, UART_IER, UART_IER_THRI);
        assert_true(seen.level);
        assert_int_equal(get(serial, UART_IIR), UART_IIR_THRI | 0xc0);
        assert_false(seen.level);
        assert_int_equal(get(serial, UART_IIR), UART_IIR_NO_INT | 0xc0);
        put(serial, UART_TX, 'x');
        assert_true(seen.level);
        put(serial, UART_IER, 0);
        assert_false(seen.level);
        put(serial, UART_IER, UART_IER_THRI);
        assert_true(seen.level);
        serial_free(serial);
}

/* The steps by which Linux's 8250 driver recognizes a 16550A. */
static void test_detection(void **state)
{
        struct seen seen;
        struct serial *serial = begin(&seen);

        put(serial, UART_IER, 0xff);
        assert_int_equal(get(serial, UART_IER), 0x0f);
        put(serial, UART_IER, 0);
        assert_int_equal(get(serial, UART_IER), 0);
        put(serial, UART_MCR, UART_MCR_LOOP | UART_MCR_OUT2 | UART_MCR_RTS);
        assert_int_equal(get(serial, UART_MSR) & 0xf0, UART_MSR_DCD | UART_MSR_CTS);
        put(serial, UART_MCR, 0);
        assert_int_equal(get(serial, UART_MSR) & 0xf0, UART_MSR_DCD | UART_MSR_CTS | UART_MSR_DSR);
        assert_int_equal(get(serial, UART_IIR), UART_IIR_NO_INT);
        put(serial, UART_FCR, UART_FCR_ENABLE_FIFO);
        assert_int_equal(get(serial, UART_IIR) >> 6, 3);
        put(serial, UART_LCR, UART_LCR_DLAB);
        put(serial, UART_DLL, 0x34);
        put(serial, UART_DLM, 0x12);
        assert_int_equal(get(serial, UART_DLL), 0x34);
        assert_int_equal(get(serial, UART_DLM), 0x12);
        put(serial, UART_LCR, UART_LCR_WLEN8);
        assert_int_equal(get(serial, UART_IER), 0);
        assert_int_equal(get(serial, UART_LCR), UART_LCR_WLEN8);
        put(serial, UART_SCR, 0x5a);
        assert_int_equal(get(serial, UART_SCR), 0x5a);
        assert_string_equal(seen.output, "");
        serial_free(serial);
}

static void test_input(void **state)
{
        struct seen seen;
        struct serial *serial = begin(&seen);

        /* One byte without FIFOs. */
        assert_int_equal(input(serial, "ab"), 1);
        assert_int_equal(get(serial, UART_LSR) & UART_LSR_DR, UART_LSR_DR);
        assert_int_equal(seen.rooms, 0);
        assert_int_equal(get(serial, UART_RX), 'a');
        assert_int_equal(seen.rooms, 1);
        assert_int_equal(get(serial, UART_RX), 0);
        assert_int_equal(seen.rooms, 1);

        put(serial, UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_TRIGGER_8);
        put(serial, UART_IER, UART_IER_RDI);
        assert_int_equal(input(serial, "0123"), 4);
        assert_true(seen.level);
        assert_int_equal(get(serial, UART_IIR), 0xc0 | 0x0c);
        assert_int_equal(input(serial, "456789abcdefg"), 12);
        assert_int_equal(get(serial, UART_IIR), 0xc0 | UART_IIR_RDI);
        for (unsigned i = 0; i < 16; i++) {
                assert_true(seen.level);
                assert_int_equal(get(serial, UART_RX), "0123456789abcdef"[i]);
        }
        assert_false(seen.level);
        assert_int_equal(seen.rooms, 2);
        assert_int_equal(get(serial, UART_LSR) & (UART_LSR_DR | UART_LSR_OE), 0);

        /* Cleared. */
        assert_int_equal(input(serial, "xyz"), 3);
        put(serial, UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR);
        assert_false(seen.level);
        assert_int_equal(get(serial, UART_LSR) & UART_LSR_DR, 0);
        serial_free(serial);
}

static void test_loop(void **state)
{
        struct seen seen;
        struct serial *serial = begin(&seen);

        put(serial, UART_FCR, UART_FCR_ENABLE_FIFO);
        put(serial, UART_MCR, UART_MCR_LOOP);
        assert_int_equal(get(serial, UART_MSR), UART_MSR_DCTS | UART_MSR_DDSR | UART_MSR_DDCD);
        assert_int_equal(get(serial, UART_MSR), 0);
        /* The line is off. */
        assert_int_equal(input(serial, "a"), 0);
        for (unsigned i = 0; i < 17; i++)
                put(serial, UART_TX, '0' + i);
        assert_string_equal(seen.output, "");
        put(serial, UART_IER, UART_IER_RLSI);
        assert_int_equal(get(serial, UART_IIR), 0xc0 | UART_IIR_RLSI);
        assert_int_equal(get(serial, UART_LSR) & (UART_LSR_OE | UART_LSR_DR), UART_LSR_OE | UART_LSR_DR);
        assert_false(seen.level);
        for (unsigned i = 0; i < 16; i++)
                assert_int_equal(get(serial, UART_RX), '0' + i);
        assert_int_equal(get(serial, UART_LSR) & UART_LSR_DR, 0);

        /* The ring counts when it ends. */
        put(serial, UART_IER, UART_IER_MSI);
        put(serial, UART_MCR, UART_MCR_LOOP | UART_MCR_OUT1);
        assert_false(seen.level);
        put(serial, UART_MCR, UART_MCR_LOOP);
        assert_true(seen.level);
        assert_int_equal(get(serial, UART_IIR), 0xc0 | UART_IIR_MSI);
        assert_int_equal(get(serial, UART_MSR), UART_MSR_TERI);
        assert_false(seen.level);
        assert_int_equal(seen.rooms, 0);
        put(serial, UART_MCR, 0);
        assert_int_equal(seen.rooms, 1);
        serial_free(serial);
}

static void test_reset(void **state)
{
        struct seen seen;
        struct serial *serial = begin(&seen);

        put(serial, UART_IER, UART_IER_RDI);
        put(serial, UART_LCR, UART_LCR_DLAB);
        assert_int_equal(input(serial, "ab"), 1);
        assert_true(seen.level);
        serial_reset(serial);
        assert_false(seen.level);
        assert_int_equal(seen.rooms, 1);
        assert_int_equal(get(serial, UART_LCR), 0);
        assert_int_equal(get(serial, UART_IER), 0);
        assert_int_equal(get(serial, UART_LSR), UART_LSR_THRE | UART_LSR_TEMT);
        serial_free(serial);
}

enum { MANY = 20000 };

static void *send_many(void *userdata)
{
        size_t sent = 0;

        while (sent < MANY)
                sent += serial_input(userdata, &(uint8_t){(uint8_t)sent}, 1);
        return NULL;
}

/* One thread sends while another is the guest: no byte is lost or comes twice. */
static void test_threads(void **state)
{
        struct seen seen;
        struct serial *serial = begin(&seen);
        pthread_t thread;

        put(serial, UART_FCR, UART_FCR_ENABLE_FIFO);
        put(serial, UART_IER, UART_IER_RDI);
        assert_int_equal(pthread_create(&thread, NULL, send_many, serial), 0);
        for (unsigned i = 0; i < MANY; i++) {
                while (!(get(serial, UART_LSR) & UART_LSR_DR))
                        ;
                assert_int_equal(get(serial, UART_RX), i & 0xff);
        }
        pthread_join(thread, NULL);
        assert_false(seen.level);
        serial_free(serial);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_output),    counted_test(test_output_interrupt),
                counted_test(test_detection), counted_test(test_input),
                counted_test(test_loop),      counted_test(test_reset),
                counted_test(test_threads),
        };

        return run_counted("serial", tests);
}
