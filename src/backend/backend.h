/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BACKEND_BACKEND_H
#define BACKEND_BACKEND_H

#include "backend/requests.h"
#include "memory/file_map.h"

#include <oriel/backend.h>
#include <stdatomic.h>

struct oriel_backend_queue {
        struct oriel_backend *backend;
        unsigned index;
        void *userdata; /* the device's */

        /* Only for the dispatching thread. */
        bool enabled;
        bool started; /* by SET_VRING_KICK or VRING_KICK, until GET_VRING_BASE */
        bool running; /* the device was told to start */
        bool addressed;
        struct oriel_ring layout;
        uint32_t base;
        bool resumed; /* the ring continues where it was left */

        /* Shared with the device's threads while running. */
        pthread_mutex_t lock;
        struct oriel_device_queue *ring;
        bool broken;   /* set once this was logged */
        bool waits;    /* for a buffer's memory, or for an IOTLB entry */
        bool reported; /* the front-end was told that the ring is broken or waits for memory */
        bool polled;   /* the front-end gave no kick fd */
        int kick_fd;
        int call_fd;
        int err_fd;
};

/* The buffer of GET_INFLIGHT_FD and SET_INFLIGHT_FD. */
struct inflight_memory {
        struct file_map map;
        uint8_t *regions;
        uint16_t num_queues;
        size_t region_size;
};

struct oriel_backend {
        struct oriel_backend_ops ops;
        void *userdata;
        struct oriel_log log;
        struct log_budget log_budget; /* of the connection */
        const struct oriel_dialect *dialect;
        uint64_t device_features;
        uint64_t offered;
        unsigned max_mem_slots;
        uint64_t shmem_sizes[ORIEL_MAX_SHMIDS];

        struct channel main;
        struct agreement agreement;
        struct oriel_memory *memory;
        struct oriel_dirty_log *dirty_log;
        pthread_mutex_t memory_lock;           /* protects @memory, which only the dispatching thread changes */
        struct oriel_dirty_log *all_dirty_log; /* also protected: dirty_log while VHOST_F_LOG_ALL is on, else NULL */
        int log_fd;
        int fault_fd;      /* the userfaultfd of POSTCOPY_ADVISE */
        bool bases_unread; /* the reply with the bases of regions, in postcopy mode, was not acknowledged yet */
        struct inflight_memory inflight;
        uint8_t status;
        bool ends_connection; /* a handler has failed in a way that a refusal can't report */

        /* A callback may disconnect or free the back-end that called it: this is done when the call has ended. */
        unsigned depth; /* of calls under way that may call back */
        bool disconnect_wanted;
        bool free_wanted;

        struct requests requests;
        atomic_uint running; /* queues */
        unsigned n_queues;
        struct oriel_backend_queue queues[];
};

/* Handles a request that has passed its row's checks. 0: done; the reply, if the row has one, is in @reply, whose fds
 * are closed after it was sent. 1: done, without an answer. Negative: the request failed, and @why may have a text. */
typedef int (*handler_fn)(struct oriel_backend *backend, struct message *request, struct message *reply,
                          struct complaint *why);
handler_fn handler_find(uint32_t request);
/* Stops all queues, and tells the device. */
void backend_reset(struct oriel_backend *backend, bool disconnect);

/* Handlers by subject, in the files named like them. */
int handle_set_vring_num(struct oriel_backend *backend, struct message *request, struct message *reply,
                         struct complaint *why);
int handle_set_vring_addr(struct oriel_backend *backend, struct message *request, struct message *reply,
                          struct complaint *why);
int handle_set_vring_base(struct oriel_backend *backend, struct message *request, struct message *reply,
                          struct complaint *why);
int handle_get_vring_base(struct oriel_backend *backend, struct message *request, struct message *reply,
                          struct complaint *why);
int handle_set_vring_kick(struct oriel_backend *backend, struct message *request, struct message *reply,
                          struct complaint *why);
int handle_set_vring_call(struct oriel_backend *backend, struct message *request, struct message *reply,
                          struct complaint *why);
int handle_set_vring_err(struct oriel_backend *backend, struct message *request, struct message *reply,
                         struct complaint *why);
int handle_set_vring_enable(struct oriel_backend *backend, struct message *request, struct message *reply,
                            struct complaint *why);
int handle_vring_kick(struct oriel_backend *backend, struct message *request, struct message *reply,
                      struct complaint *why);
int handle_set_mem_table(struct oriel_backend *backend, struct message *request, struct message *reply,
                         struct complaint *why);
int handle_add_mem_reg(struct oriel_backend *backend, struct message *request, struct message *reply,
                       struct complaint *why);
int handle_rem_mem_reg(struct oriel_backend *backend, struct message *request, struct message *reply,
                       struct complaint *why);
int handle_get_max_mem_slots(struct oriel_backend *backend, struct message *request, struct message *reply,
                             struct complaint *why);
int handle_iotlb_msg(struct oriel_backend *backend, struct message *request, struct message *reply,
                     struct complaint *why);
int handle_set_log_base(struct oriel_backend *backend, struct message *request, struct message *reply,
                        struct complaint *why);
int handle_set_log_fd(struct oriel_backend *backend, struct message *request, struct message *reply,
                      struct complaint *why);
int handle_postcopy_advise(struct oriel_backend *backend, struct message *request, struct message *reply,
                           struct complaint *why);
int handle_postcopy_listen(struct oriel_backend *backend, struct message *request, struct message *reply,
                           struct complaint *why);
int handle_postcopy_end(struct oriel_backend *backend, struct message *request, struct message *reply,
                        struct complaint *why);
int handle_get_inflight_fd(struct oriel_backend *backend, struct message *request, struct message *reply,
                           struct complaint *why);
int handle_set_inflight_fd(struct oriel_backend *backend, struct message *request, struct message *reply,
                           struct complaint *why);

/* vring.c */
int queue_init(struct oriel_backend *backend, unsigned index);
void queue_destroy(struct oriel_backend_queue *queue);
/* Starts or stops the device's use of the queue, as started and enabled require. */
int queue_update(struct oriel_backend_queue *queue, struct complaint *why);
/* Sets the queue to its initial state. Closes its fds too if @disconnect. */
void queue_reset(struct oriel_backend_queue *queue, bool disconnect);
/* Called after SET_FEATURES or SET_LOG_BASE. */
void queue_set_log(struct oriel_backend_queue *queue);
bool logs_all(const struct oriel_backend *backend);

/* memory.c */
int memory_reset(struct oriel_backend *backend);
void memory_set_log(struct oriel_backend *backend);
/* postcopy.c */
bool postcopy_possible(void);
void postcopy_close(struct oriel_backend *backend);
void postcopy_unregister(struct oriel_backend *backend);
/* Whether @request is the front-end's acknowledgement of the bases in the last reply. */
bool postcopy_acknowledged(struct oriel_backend *backend, const struct message *request);
/* In postcopy mode, before @memory with the regions of @request is used: registers them for faults, and puts their
 * addresses into @reply. */
int postcopy_register(struct oriel_backend *backend, const struct oriel_memory *memory, const struct message *request,
                      struct message *reply);
/* inflight.c: the region of @queue, NULL without one. */
void inflight_close(struct inflight_memory *inflight);
void *inflight_region(const struct inflight_memory *inflight, unsigned queue);

#endif
