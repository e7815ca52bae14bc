/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VMM_VIRTIO_VIRTIO_H
#define VMM_VIRTIO_VIRTIO_H

#include "vmm/bus/pci.h"
#include "vmm/kvm/kvm.h"
#include "vmm/virtio/dma.h"
#include "vmm/virtio/objects.h"

#include <oriel/log.h>
#include <oriel/protocol.h>
#include <oriel/shmem.h>

/* A virtio device on PCI (virtio 1.2, 4.1) whose other half is a vhost-user back-end. A thread of its own speaks to the
 * back-end: what a vcpu does to a register never waits for another process, but for DRIVER_OK: then it is held until
 * the back-end has mapped what it maps at the start, for START_MS at most. While the back-end is away the device stands
 * still, and goes on with the next one. */
struct virtio;

/* Events of a device. Called on the device's thread; may not call virtio_free(). */
struct virtio_events {
        /* A back-end has come, or has gone: @why says what ended the connection. */
        void (*connected)(void *userdata, struct virtio *virtio, bool connected, const char *why);
        /* SHMEM_MAP or SHMEM_UNMAP was turned down. */
        void (*refused)(void *userdata, struct virtio *virtio, bool map, const struct oriel_wire_mmap *request,
                        int error);
        void *userdata;
};

/* The options of one device of a machine. */
struct machine_device {
        const char *name; /* for messages and queries, such as its socket; copied */
        /* A new connection to a back-end, which is the caller's, or a negative errno. On the device's thread, again and
         * again while there is none. */
        int (*connect)(void *userdata);
        void *connect_userdata;
        unsigned virtio_id;
        unsigned queues;     /* 0: as many as the back-end has */
        unsigned queue_size; /* a power of two, 32768 at most; the guest may choose less */
        /* Of a network device whose back-end has no configuration space. Zeros: the guest chooses. */
        uint8_t mac[6];
        uint16_t mtu;
        const struct oriel_dialect *dialect;
};

struct virtio_options {
        struct machine_device device;
        unsigned devices;        /* of the machine, which share its process's limits */
        bool allow_remote_files; /* see oriel_region_map() */
        struct kvm *kvm;
        struct dma *dma;
        struct objects *objects;
        const struct virtio_events *events; /* copied */
        const struct oriel_log *log;        /* copied */
};

/* Begins to connect. */
int virtio_new(const struct virtio_options *options, struct virtio **out);
/* Wait until the back-end has said what the guest's driver needs to know: features, queues, config space, regions. On
 * failure @why is one line. */
int virtio_wait(struct virtio *virtio, char *why, size_t why_size);
/* Put it on the bus, after virtio_wait(). -ENOSPC: the bus has no room for it. */
int virtio_plug(struct virtio *virtio, struct pci *pci, char *why, size_t why_size);
/* Ends the connection, and has the thread end, which virtio_join() waits for until @deadline_ms, on the clock of
 * now_ms(). False: it is not back. A thread that closes a descriptor which its back-end has passed waits for the server
 * of that file, past every signal; what it may still use must not be freed. */
void virtio_quit(struct virtio *virtio);
bool virtio_join(struct virtio *virtio, int64_t deadline_ms);
/* Unplugs it, after virtio_join(). NULL is accepted. */
void virtio_free(struct virtio *virtio);

/* As after power-on, the back-end reset too. While no vcpu runs. In two steps, so that many back-ends work at it at
 * once: at @deadline_ms, on the clock of now_ms(), one that has not done yet loses its connection. A device
 * whose thread does not come back even then stands still until it does; for the guest it has been reset. */
void virtio_begin_reset(struct virtio *virtio);
void virtio_finish_reset(struct virtio *virtio, int64_t deadline_ms);

/* The guest has met no page: see guest_window_zero_fill(). Any thread. */
bool virtio_zero_fill(struct virtio *virtio);
/* The same for one address: see guest_window_zero_fill_at(). */
bool virtio_zero_fill_at(struct virtio *virtio, uint64_t address);

/* Take the device away, because the guest can't use what its windows show: the mappings go, so that stores end in the
 * sink, the back-end is disconnected, and the device needs a reset by its driver, after which the back-end may come
 * again. Any thread. */
void virtio_take_away(struct virtio *virtio);

struct guest_window;
/* Any thread, as the next; see guest_window_is_limited(). */
bool virtio_is_limited(struct virtio *virtio);
/* The window in which @address is, with the offset there, or NULL. */
struct guest_window *virtio_window_at(struct virtio *virtio, uint64_t address, uint64_t *offset);

/* ---- for queries; any thread ---- */

struct virtio_queue_info {
        bool enabled;
        uint16_t size, vector;
        uint64_t descriptor, driver, device;
};

struct virtio_info {
        const char *name;
        unsigned virtio_id, queues, windows;
        unsigned pci_number; /* device and function */
        bool connected, started;
        unsigned connections; /* that there have been */
        uint8_t status;
        uint64_t offered, negotiated; /* virtio features */
        uint64_t protocol_offered, protocol_negotiated;
};
void virtio_get_info(struct virtio *virtio, struct virtio_info *out);
bool virtio_get_queue(struct virtio *virtio, unsigned queue, struct virtio_queue_info *out);
struct guest_window *virtio_get_window(struct virtio *virtio, unsigned index); /* NULL: no more */

#endif
