/* SPDX-License-Identifier: BSD-2-Clause */

/* The PCI function of a virtio device: its identity, the capabilities that say where the structures are (virtio 1.2,
 * 4.1.4), the BAR of the transport and the BAR of all windows side by side. The callbacks for accesses and for BARs
 * that move come from vcpu threads: the transport's BAR brings ioeventfds with it, and the windows' BAR their slots. */

#include "base/cleanup.h"
#include "base/range.h"
#include "vmm/virtio/device.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pci.h>
#include <string.h>

enum { VENDOR = 0x1af4, FIRST_DEVICE = 0x1040, SUBSYSTEM = 0x1100, REVISION = 1 };

/* The PCI class, by which a guest without a driver knows the kind of device. */
static uint32_t function_class_of(unsigned virtio_id)
{
        static const struct {
                unsigned virtio_id;
                uint32_t class;
        } classes[] = {
                {VIRTIO_ID_NET, 0x020000},   {VIRTIO_ID_BLOCK, 0x018000}, {VIRTIO_ID_CONSOLE, 0x078000},
                {VIRTIO_ID_SCSI, 0x010000},  {VIRTIO_ID_GPU, 0x038000},   {VIRTIO_ID_INPUT, 0x098000},
                {VIRTIO_ID_SOUND, 0x040100}, {VIRTIO_ID_FS, 0x018000},
        };

        for (size_t i = 0; i < ARRAY_SIZE(classes); i++)
                if (classes[i].virtio_id == virtio_id)
                        return classes[i].class;
        return 0x088000;
}

/* ---- capabilities ---- */

static unsigned function_add_capability(struct virtio *virtio, struct virtio_pci_cap *cap, size_t size)
{
        unsigned at = pci_add_capability(&virtio->function, PCI_CAP_ID_VNDR, (unsigned)size);

        if (at == 0)
                return 0;
        cap->cap_len = (uint8_t)size;
        /* The first two bytes are the bus's. */
        memcpy(virtio->function.config + at + 2, (uint8_t *)cap + 2, size - 2);
        return at;
}

static bool add_area(struct virtio *virtio, uint8_t type, uint32_t offset, uint32_t length)
{
        struct virtio_pci_cap cap = {.cfg_type = type, .bar = TRANSPORT_BAR, .offset = offset, .length = length};

        return function_add_capability(virtio, &cap, sizeof(cap));
}

static bool add_notify(struct virtio *virtio)
{
        struct virtio_pci_notify_cap notify = {
                .cap = {.cfg_type = VIRTIO_PCI_CAP_NOTIFY_CFG,
                        .bar = TRANSPORT_BAR,
                        .offset = NOTIFY_OFFSET,
                        .length = virtio->n_queues * NOTIFY_STRIDE},
                .notify_off_multiplier = NOTIFY_STRIDE,
        };

        return function_add_capability(virtio, &notify.cap, sizeof(notify));
}

/* A guest's way to the BARs through configuration space. */
static bool add_pci_cfg(struct virtio *virtio)
{
        struct virtio_pci_cfg_cap cfg = {.cap = {.cfg_type = VIRTIO_PCI_CAP_PCI_CFG}};
        unsigned at = function_add_capability(virtio, &cfg.cap, sizeof(cfg));

        if (at == 0)
                return false;
        virtio->pci_cfg = at;
        virtio->function.writable[at + VIRTIO_PCI_CAP_BAR] = 0xff;
        memset(virtio->function.writable + at + VIRTIO_PCI_CAP_OFFSET, 0xff, 8);
        memset(virtio->function.writable + at + offsetof(struct virtio_pci_cfg_cap, pci_cfg_data), 0xff, 4);
        return true;
}

static bool add_window(struct virtio *virtio, const struct device_window *window)
{
        uint64_t size = guest_window_size(window->window);
        struct virtio_pci_cap64 shm = {
                .cap = {.cfg_type = VIRTIO_PCI_CAP_SHARED_MEMORY_CFG,
                        .bar = WINDOW_BAR,
                        .id = window->shmid,
                        .offset = (uint32_t)window->offset,
                        .length = (uint32_t)size},
                .offset_hi = (uint32_t)(window->offset >> 32),
                .length_hi = (uint32_t)(size >> 32),
        };

        return function_add_capability(virtio, &shm.cap, sizeof(shm));
}

static int add_capabilities(struct virtio *virtio)
{
        bool room = add_area(virtio, VIRTIO_PCI_CAP_COMMON_CFG, COMMON_OFFSET, VIRTIO_PCI_COMMON_Q_RESET + 2) &&
                    add_notify(virtio) && add_area(virtio, VIRTIO_PCI_CAP_ISR_CFG, ISR_OFFSET, 1) &&
                    add_pci_cfg(virtio);

        if (room && virtio->config_size > 0)
                room = add_area(virtio, VIRTIO_PCI_CAP_DEVICE_CFG, CONFIG_OFFSET, virtio->config_size);
        for (unsigned i = 0; room && i < virtio->n_windows; i++)
                room = add_window(virtio, &virtio->windows[i]);
        return room ? 0 : -ENOSPC;
}

/* ---- accesses ---- */

static void access_pci_cfg(struct virtio *virtio, bool write)
{
        struct pci_function *function = &virtio->function;
        uint8_t *cap = function->config + virtio->pci_cfg;
        uint32_t offset = pci_get32(function, virtio->pci_cfg + VIRTIO_PCI_CAP_OFFSET);
        uint32_t length = pci_get32(function, virtio->pci_cfg + VIRTIO_PCI_CAP_LENGTH);

        if ((length == 1 || length == 2 || length == 4) && offset % length == 0)
                pci_bar_access(function, cap[VIRTIO_PCI_CAP_BAR], offset,
                               cap + offsetof(struct virtio_pci_cfg_cap, pci_cfg_data), length, write);
}

static void config_access(void *userdata, unsigned offset, unsigned size, bool write)
{
        struct virtio *virtio = userdata;
        unsigned data = virtio->pci_cfg + (unsigned)offsetof(struct virtio_pci_cfg_cap, pci_cfg_data);

        if (offset < data + 4 && offset + size > data)
                access_pci_cfg(virtio, write);
        if (write)
                msix_config_written(virtio->msix, offset, size);
}

static void set_notifiers(struct virtio *virtio, bool add)
{
        for (unsigned i = 0; i < virtio->n_queues; i++)
                kvm_ioeventfd(virtio->options.kvm, virtio->notify_address + i * NOTIFY_STRIDE, 0,
                              virtio->queues[i].kick_fd, add);
}

static void transport_moved(void *userdata, uint64_t address, bool decoded)
{
        struct virtio *virtio = userdata;

        if (virtio->notify_address)
                set_notifiers(virtio, false);
        virtio->notify_address = decoded ? address + NOTIFY_OFFSET : 0;
        if (virtio->notify_address)
                set_notifiers(virtio, true);
}

static void windows_moved(void *userdata, uint64_t address, bool decoded)
{
        struct virtio *virtio = userdata;

        for (unsigned i = 0; i < virtio->n_windows; i++) {
                struct device_window *window = &virtio->windows[i];

                if (decoded)
                        guest_window_show(window->window, address + window->offset);
                else
                        guest_window_hide(window->window);
        }
}

static void windows_access(void *userdata, uint64_t offset, void *data, unsigned size, bool write)
{
        struct virtio *virtio = userdata;

        if (!write)
                memset(data, 0, size);
        for (unsigned i = 0; i < virtio->n_windows; i++) {
                struct device_window *window = &virtio->windows[i];

                if (range_contains((struct oriel_range){window->offset, guest_window_size(window->window)},
                                   (struct oriel_range){offset, size}) &&
                    guest_window_access(window->window, offset - window->offset, data, size, write))
                        session_wake(virtio);
        }
}

/* ---- building it ---- */

/* One after the other, each where a huge page could begin. bringup() has checked that the sum is an address. */
static uint64_t lay_windows(struct virtio *virtio)
{
        uint64_t end = 0, size = 4096;

        for (unsigned i = 0; i < virtio->n_windows; i++) {
                virtio->windows[i].offset = end;
                checked_round_up(end + guest_window_size(virtio->windows[i].window), 2 << 20, &end);
        }
        while (size < end)
                size <<= 1;
        return end ? size : 0;
}

static int add_msix(struct virtio *virtio)
{
        int sources[1 + MAX_QUEUES];
        const struct msix_options options = {
                .kvm = virtio->options.kvm,
                .function = &virtio->function,
                .vectors = 1 + virtio->n_queues,
                .sources = sources,
                .n_sources = 1 + virtio->n_queues,
                .bar = TRANSPORT_BAR,
                .table_offset = TABLE_OFFSET,
                .pending_offset = PENDING_OFFSET,
        };

        sources[CONFIG_SOURCE] = virtio->config_fd;
        for (unsigned i = 0; i < virtio->n_queues; i++)
                sources[1 + i] = virtio->queues[i].call_fd;
        return msix_new(&options, &virtio->msix);
}

int function_build(struct virtio *virtio)
{
        struct pci_function *function = &virtio->function;

        pci_init(function, VENDOR, (uint16_t)(FIRST_DEVICE + virtio->options.device.virtio_id),
                 function_class_of(virtio->options.device.virtio_id) << 8 | REVISION, VENDOR, SUBSYSTEM);
        function->userdata = virtio;
        function->config_access = config_access;
        function->bars[TRANSPORT_BAR] = (struct pci_bar){
                .size = TRANSPORT_SIZE,
                .access = transport_access,
                .moved = transport_moved,
        };
        function->bars[WINDOW_BAR] = (struct pci_bar){
                .size = lay_windows(virtio),
                .is_64 = true,
                .access = windows_access,
                .moved = windows_moved,
        };

        int r = add_msix(virtio);

        return r == 0 ? add_capabilities(virtio) : r;
}

void function_destroy(struct virtio *virtio)
{
        if (virtio->plugged)
                pci_remove(&virtio->function);
        msix_free(virtio->msix);
        virtio->msix = NULL;
}
