/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VMM_VIRTIO_DEVICE_H
#define VMM_VIRTIO_DEVICE_H

#include "base/fd.h"
#include "base/lock.h"
#include "vmm/bus/msix.h"
#include "vmm/virtio/device_log.h"
#include "vmm/virtio/guest_window.h"
#include "vmm/virtio/net.h"
#include "vmm/virtio/slots.h"
#include "vmm/virtio/virtio.h"

#include <oriel/frontend.h>
#include <pthread.h>

enum {
        MAX_QUEUES = 256,
        CONFIG_SOURCE = 0, /* of MSI-X; queue n is 1 + n */
        CONFIG_WRITES = 16,
        START_MS = 5000, /* how long a driver waits for what its back-end maps at the start */
};

/* A virtqueue as the driver has described it, and what the back-end has of it. */
struct queue {
        uint16_t size;
        uint16_t vector;
        bool enabled;
        bool resetting; /* queue_reset was written, and the back-end has not stopped it yet */
        uint64_t descriptor, driver, device;

        int kick_fd, call_fd;
        /* The thread's own. */
        bool running;
        bool ran; /* since the last reset: where it has come to is in the ring */
        uint32_t base;
};

/* The registers that the driver writes in the common configuration structure (virtio 1.2, 4.1.4.3). */
struct registers {
        uint32_t device_feature_select;
        uint32_t driver_feature_select;
        uint64_t driver_features;
        uint16_t config_vector;
        uint8_t status;
        uint8_t generation;
        uint16_t queue_select;
        uint8_t isr;
};

struct config_write {
        uint32_t offset;
        uint8_t size;
        uint8_t data[8];
};

struct device_window {
        struct guest_window *window;
        uint8_t shmid;
        uint64_t offset; /* in the BAR */
};

struct virtio {
        char *name;
        struct virtio_options options;
        struct virtio_events events;
        struct device_log device_log;
        struct oriel_log log; /* the device_log's */

        struct pci_function function;
        bool plugged;
        unsigned pci_cfg; /* where that capability is */
        struct msix *msix;
        uint64_t notify_address; /* where the queues' ioeventfds are, 0: nowhere */

        /* The first back-end's answers; the next ones must give the same. */
        uint64_t device_features;
        uint64_t protocol_offered;
        unsigned n_queues;
        uint32_t config_size;
        uint64_t shmem_sizes[ORIEL_MAX_SHMIDS];
        struct device_window windows[ORIEL_MAX_SHMIDS];
        unsigned n_windows;

        pthread_mutex_t lock; /* what follows */
        pthread_cond_t changed;
        struct registers registers;
        struct queue queues[MAX_QUEUES];
        uint8_t config[ORIEL_MAX_CONFIG];
        struct config_write config_writes[CONFIG_WRITES];
        unsigned n_config_writes;
        int connection_fd; /* a duplicate, to cut a connection whose back-end makes others wait; -1: there is none */
        bool reset_wanted;
        bool reset_late; /* the driver's state is as after that reset already, and may be the next driver's */
        bool quit;
        enum phase { BRINGING_UP, READY, FAILED } phase;
        char why[256];
        bool connected, started;
        bool taken_away; /* see virtio_take_away(); until a reset */
        unsigned connections;
        uint64_t protocol_features;

        /* The thread's own. */
        pthread_t thread;
        bool has_thread;
        int wake_fd, config_fd, err_fd;
        struct oriel_frontend *frontend;
        uint8_t told_status; /* SET_STATUS */
        struct dma_listener dma_listener;
        struct objects_member objects_member;
        void *dma_told;     /* tsearch(): pieces that the back-end has */
        struct slots slots; /* of the back-end */
        bool slots_ran_out, said_remote;
        bool err_seen;                 /* err_fd is readable */
        uint64_t n_told, told_at_kick; /* pieces since the start: in all, and before the last look for an error */
        int inflight_fd;
        struct oriel_wire_inflight inflight;
        struct net net;
};

/* ---- transport.c: registers, on a vcpu's thread ---- */

void transport_access(void *virtio, uint64_t offset, void *data, unsigned size, bool write);
/* The driver's state as after a reset. With the lock. */
void registers_reset(struct virtio *virtio);
/* Tell the driver that the config space, or the status, has changed. With the lock. */
void transport_config_interrupt(struct virtio *virtio);
/* The device waits to be reset by its driver; false: it does already. Any thread, without the lock. */
bool transport_need_reset(struct virtio *virtio);

/* ---- function.c: what the guest sees of PCI ---- */

int function_build(struct virtio *virtio);
void function_destroy(struct virtio *virtio);

/* Where in the first BAR what is (virtio 1.2, 4.1.4). */
enum {
        TRANSPORT_BAR = 0,
        WINDOW_BAR = 2,
        COMMON_OFFSET = 0,
        ISR_OFFSET = 0x1000,
        CONFIG_OFFSET = 0x2000,
        NOTIFY_OFFSET = 0x3000,
        NOTIFY_STRIDE = 4,
        TABLE_OFFSET = 0x4000,
        PENDING_OFFSET = 0x6000,
        TRANSPORT_SIZE = 0x8000,
        AREA_SIZE = 0x1000,
};

/* ---- session.c: the thread that speaks to the back-end ---- */

void *session_run(void *virtio);
/* Something has changed that the thread is to look at. Any thread. */
static inline void session_wake(struct virtio *virtio)
{
        fd_event_signal(virtio->wake_fd);
}

/* ---- bringup.c: what a back-end has to say before it is of use ---- */

/* Negotiate, and ask what the driver will need; the first time note it, later compare. 0, or -errno and why. */
int bringup(struct virtio *virtio, char *why, size_t why_size);

/* ---- running.c: a device that the driver has started ---- */

/* Give the back-end memory and queues, and let it run. */
int running_start(struct virtio *virtio);
/* The driver has reset the device. */
void running_stop(struct virtio *virtio);
/* The back-end is gone. */
void running_lost(struct virtio *virtio);
/* Queues that the driver has enabled, or reset, one by one. */
int running_update(struct virtio *virtio);
/* Tell the back-end what other devices have mapped or unmapped meanwhile. */
int running_memory(struct virtio *virtio);
/* Nothing shows in its windows any more. Any thread. */
void running_unmap(struct virtio *virtio);
/* As if the driver had kicked each queue. */
void running_kick(struct virtio *virtio);

static inline bool has_protocol(const struct virtio *virtio, unsigned feature)
{
        return oriel_frontend_protocol_features(virtio->frontend) & ORIEL_FEATURE(feature);
}

#endif
