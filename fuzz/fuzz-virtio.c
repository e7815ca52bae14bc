/* SPDX-License-Identifier: BSD-2-Clause */

/* The input is what a driver does to a virtio device on PCI: accesses to configuration space, by offsets of its header
 * and of the capabilities it finds there, to the BARs wherever they are, and to registers by name. Between them the
 * device's thread, which is not there, has done what is wanted of it, or not yet. KVM is not there either: its
 * functions are defined here, and keep books of routes, eventfds and slots, which must agree, and be empty at the end.
 */

#include "base/cleanup.h"
#include "fuzz/input.h"
#include "fuzz/kvm.h"
#include "vmm/virtio/device.h"

#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define ECAM   UINT64_C(0xe0000000)
#define MMIO32 UINT64_C(0xc0000000)
#define MMIO64 UINT64_C(0x200000000)
#define WINDOW UINT64_C(0x200000)

enum { QUEUES_MOST = 5, DEVICES = 2, CONFIG_SIZE = 59 };

static struct {
        struct guest_window *windows[DEVICES];
        struct dma *dma;
        int kick_fds[QUEUES_MOST], call_fds[QUEUES_MOST], config_fd;
} world;

/* ---- what stands in for the device's thread ---- */

/* Does what the thread would when it is woken, as far as registers show it. */
static void serve(struct input *input, struct virtio *virtio)
{
        pthread_mutex_lock(&virtio->lock);
        if (virtio->reset_wanted)
                registers_reset(virtio);
        virtio->reset_wanted = false;
        for (unsigned i = 0; i < virtio->n_queues; i++)
                if (virtio->queues[i].resetting)
                        virtio->queues[i].resetting = virtio->queues[i].enabled = false;
        virtio->n_config_writes = 0;
        if (take_byte(input) & 1)
                transport_config_interrupt(virtio);
        pthread_mutex_unlock(&virtio->lock);
}

/* ---- the machine ---- */

static int event_new(void)
{
        int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

        need(fd > 0);
        return fd;
}

static void begin(void)
{
        if (world.dma)
                return;
        need(dma_new(&world.dma) == 0);
        for (unsigned i = 0; i < DEVICES; i++) {
                const struct guest_window_options options = {
                        .shmid = 1, .size = WINDOW, .shares = 1, .dma = world.dma, .log = NULL};

                need(guest_window_new(&options, &world.windows[i]) == 0);
        }
        for (unsigned i = 0; i < QUEUES_MOST; i++) {
                world.kick_fds[i] = event_new();
                world.call_fds[i] = event_new();
        }
        world.config_fd = event_new();
}

struct machine {
        struct bus *bus;
        struct pci *pci;
        struct virtio devices[DEVICES];
};

static void device_begin(struct input *input, struct machine *machine, unsigned index)
{
        struct virtio *virtio = &machine->devices[index];

        pthread_mutex_init(&virtio->lock, NULL);
        virtio->options = (struct virtio_options){.device = {.virtio_id = take_choice(input, 40), .queue_size = 64}};
        virtio->n_queues = take_choice(input, QUEUES_MOST) + 1u;
        virtio->device_features = take_byte(input) & 1 ? UINT64_MAX : take_number(input);
        virtio->config_size = take_byte(input) & 1 ? CONFIG_SIZE : 0;
        virtio->config_fd = dup(world.config_fd);
        virtio->wake_fd = -1;
        for (unsigned i = 0; i < virtio->n_queues; i++) {
                virtio->queues[i].kick_fd = dup(world.kick_fds[i]);
                virtio->queues[i].call_fd = dup(world.call_fds[i]);
        }
        virtio->n_windows = take_choice(input, 2);
        virtio->windows[0] = (struct device_window){.window = world.windows[index], .shmid = 1};
        need(function_build(virtio) == 0);
        registers_reset(virtio);
        virtio->plugged = true;
        need(pci_add(machine->pci, &virtio->function) == 0);
}

static void device_end(struct virtio *virtio)
{
        function_destroy(virtio);
        for (unsigned i = 0; i < virtio->n_queues; i++) {
                close(virtio->queues[i].kick_fd);
                close(virtio->queues[i].call_fd);
        }
        close(virtio->config_fd);
        pthread_mutex_destroy(&virtio->lock);
}

/* ---- the driver ---- */

static void touch(struct input *input, struct machine *machine, uint64_t address)
{
        unsigned size = 1u << take_choice(input, 4);
        uint8_t *data = calloc(1, size);
        uint64_t value = take_number(input);

        need(data);
        memcpy(data, &value, size);
        bus_access(machine->bus, address, data, size, take_byte(input) & 1);
        free(data);
}

/* By what the header and the capabilities have: a field of one of them. */
static void touch_config(struct input *input, struct machine *machine, const struct virtio *virtio)
{
        static const uint8_t header[] = {PCI_COMMAND,        PCI_STATUS,         PCI_BASE_ADDRESS_0, PCI_BASE_ADDRESS_1,
                                         PCI_BASE_ADDRESS_2, PCI_BASE_ADDRESS_3, PCI_INTERRUPT_LINE, PCI_HEADER_TYPE};
        uint64_t base = ECAM + ((uint64_t)virtio->function.number << 12);
        unsigned at = header[take_choice(input, ARRAY_SIZE(header))], steps = take_choice(input, 12);

        if (steps > 0) {
                at = virtio->function.config[PCI_CAPABILITY_LIST];
                while (--steps > 0 && virtio->function.config[at + 1])
                        at = virtio->function.config[at + 1];
                at += take_choice(input, 24);
        }
        touch(input, machine, base + at);
}

/* The way to the BARs through configuration space, whole. */
static void touch_by_config(struct input *input, struct machine *machine, const struct virtio *virtio)
{
        uint64_t cap = ECAM + ((uint64_t)virtio->function.number << 12) + virtio->pci_cfg;
        uint8_t bar = take_byte(input) % 8;
        uint32_t offset = (uint32_t)take_number(input), length = 1u << take_choice(input, 4);

        bus_access(machine->bus, cap + VIRTIO_PCI_CAP_BAR, &bar, 1, true);
        bus_access(machine->bus, cap + VIRTIO_PCI_CAP_OFFSET, &offset, 4, true);
        bus_access(machine->bus, cap + VIRTIO_PCI_CAP_LENGTH, &length, 4, true);
        touch(input, machine, cap + offsetof(struct virtio_pci_cfg_cap, pci_cfg_data));
}

static void set_command(struct machine *machine, const struct virtio *virtio, uint16_t value)
{
        bus_access(machine->bus, ECAM + ((uint64_t)virtio->function.number << 12) + PCI_COMMAND, &value, 2, true);
}

/* A register of the common structure, a notification, an entry of MSI-X's table, or any place in the first BAR. */
static void touch_transport(struct input *input, struct machine *machine, const struct virtio *virtio)
{
        static const uint32_t areas[] = {COMMON_OFFSET, COMMON_OFFSET, COMMON_OFFSET,  ISR_OFFSET, CONFIG_OFFSET,
                                         NOTIFY_OFFSET, TABLE_OFFSET,  PENDING_OFFSET, 0};
        uint64_t base = virtio->function.bars[TRANSPORT_BAR].device.range.start;
        uint32_t area = areas[take_choice(input, ARRAY_SIZE(areas))];

        touch(input, machine, base + area + take_number(input) % (area == 0 ? TRANSPORT_SIZE : AREA_SIZE));
}

/* As a driver does it: vectors, features, queues. */
static void write_register(struct input *input, struct machine *machine, const struct virtio *virtio)
{
        static const struct {
                uint8_t offset, size;
        } registers[] = {
                {VIRTIO_PCI_COMMON_DFSELECT, 4}, {VIRTIO_PCI_COMMON_DF, 4},       {VIRTIO_PCI_COMMON_GFSELECT, 4},
                {VIRTIO_PCI_COMMON_GF, 4},       {VIRTIO_PCI_COMMON_MSIX, 2},     {VIRTIO_PCI_COMMON_STATUS, 1},
                {VIRTIO_PCI_COMMON_Q_SELECT, 2}, {VIRTIO_PCI_COMMON_Q_SIZE, 2},   {VIRTIO_PCI_COMMON_Q_MSIX, 2},
                {VIRTIO_PCI_COMMON_Q_ENABLE, 2}, {VIRTIO_PCI_COMMON_Q_DESCLO, 4}, {VIRTIO_PCI_COMMON_Q_USEDHI, 4},
                {VIRTIO_PCI_COMMON_Q_RESET, 2},  {VIRTIO_PCI_COMMON_NUMQ, 2},     {VIRTIO_PCI_COMMON_CFGGENERATION, 1},
                {VIRTIO_PCI_COMMON_Q_NOFF, 2},
        };
        uint64_t base = virtio->function.bars[TRANSPORT_BAR].device.range.start, value = take_number(input);
        unsigned i = take_choice(input, ARRAY_SIZE(registers));

        bus_access(machine->bus, base + registers[i].offset, &value, registers[i].size, take_byte(input) & 1);
}

static void touch_window(struct input *input, struct machine *machine, const struct virtio *virtio)
{
        touch(input, machine, virtio->function.bars[WINDOW_BAR].device.range.start + take_number(input) % (2 * WINDOW));
}

static void unmask(struct input *input, struct machine *machine, const struct virtio *virtio)
{
        const uint8_t *config = virtio->function.config;
        uint64_t base = virtio->function.bars[TRANSPORT_BAR].device.range.start + TABLE_OFFSET;
        uint64_t function = ECAM + ((uint64_t)virtio->function.number << 12);
        uint16_t enable = take_byte(input) & 1 ? PCI_MSIX_FLAGS_ENABLE : (uint16_t)take_number(input);
        uint32_t entry[4] = {(uint32_t)take_number(input), 0, (uint32_t)take_number(input), take_choice(input, 2)};
        unsigned vector = take_choice(input, QUEUES_MOST + 2), at = config[PCI_CAPABILITY_LIST];

        while (config[at] != PCI_CAP_ID_MSIX)
                at = config[at + 1];
        for (unsigned i = 0; i < ARRAY_SIZE(entry); i++)
                bus_access(machine->bus, base + vector * PCI_MSIX_ENTRY_SIZE + i * 4, &entry[i], 4, true);
        bus_access(machine->bus, function + at + PCI_MSIX_FLAGS, &enable, 2, true);
}

static void step(struct input *input, struct machine *machine)
{
        struct virtio *virtio = &machine->devices[take_choice(input, DEVICES)];

        switch (take_choice(input, 12)) {
        case 0:
                set_command(machine, virtio, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
                break;
        case 1:
                touch_config(input, machine, virtio);
                break;
        case 2:
                touch_by_config(input, machine, virtio);
                break;
        case 3:
        case 4:
                touch_transport(input, machine, virtio);
                break;
        case 5:
        case 6:
                write_register(input, machine, virtio);
                break;
        case 7:
                touch_window(input, machine, virtio);
                break;
        case 8:
                unmask(input, machine, virtio);
                break;
        case 9:
                serve(input, virtio);
                break;
        case 10:
                touch(input, machine, take_byte(input) & 1 ? take_number(input) : MMIO32 + take_number(input));
                break;
        default:
                registers_reset(virtio);
                msix_reset(virtio->msix);
                pci_reset(&virtio->function);
                break;
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static const struct pci_space space = {
                .ecam = {ECAM, 0x100000}, .mmio32 = {MMIO32, 0x100000}, .mmio64 = {MMIO64, UINT64_C(1) << 30}};
        struct input input = {data, size};
        struct machine *machine = calloc(1, sizeof(*machine));

        need(machine);
        begin();
        need(bus_new(&machine->bus) == 0 && pci_new(machine->bus, &space, &machine->pci) == 0);
        for (unsigned i = 0; i < DEVICES; i++) {
                device_begin(&input, machine, i);
                set_command(machine, &machine->devices[i], PCI_COMMAND_MEMORY);
        }
        for (unsigned i = 0; i < 150 && input.size > 0; i++)
                step(&input, machine);
        for (unsigned i = 0; i < DEVICES; i++)
                device_end(&machine->devices[i]);
        kvm_check_empty();
        pci_free(machine->pci);
        bus_free(machine->bus);
        free(machine);
        return 0;
}
