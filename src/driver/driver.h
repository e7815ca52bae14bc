/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DRIVER_DRIVER_H
#define DRIVER_DRIVER_H

#include <oriel/driver.h>
#include <sys/queue.h>

/* A buffer that the device had completed before it went away. */
struct driver_done {
        void *token;
        uint32_t written;
};

struct driver_queue {
        struct oriel_driver_queue *ring;
        struct oriel_ring layout; /* guest addresses */
        uint64_t indirect;        /* its indirect tables */
        uint32_t base;            /* index at which the device stopped */
        struct driver_done *done; /* not collected yet */
        unsigned n_done, next_done;
        int kick_fd;
        int call_fd;
        int err_fd;
        int epoll_fd;          /* an epoll that a wait sleeps on */
        uint64_t told_at_kick; /* n_told at the time of the last kick for a ring in error */
};

struct driver_window {
        struct oriel_window *window;
        struct oriel_region *region;
        uint64_t guest_address;
};

/* A request that the driver owes the back-end because of an event, until there is time for it: owed.c. */
struct owed_request;
TAILQ_HEAD(owed_requests, owed_request);

struct oriel_driver {
        struct oriel_driver_options options;
        struct oriel_log log;
        struct oriel_frontend *frontend;

        /* Guest memory: a memfd at guest address 0, beginning with the rings. */
        int memory_fd;
        uint8_t *memory;
        uint64_t memory_size;
        uint64_t used;
        struct oriel_memory *table;

        uint64_t features;
        uint64_t protocol_features;
        int inflight_fd;
        struct oriel_wire_inflight inflight;
        bool slots_ran_out;
        uint64_t n_told; /* total number of mappings that the back-end was told of as memory */

        /* Where the bring-up, or the tear-down, is: it continues there after -EINPROGRESS. */
        enum oriel_driver_state state;
        unsigned step;
        bool step_begun;
        bool was_up;
        unsigned queue;
        unsigned queue_step;
        struct owed_requests owed_requests;
        unsigned n_owed;

        unsigned n_queues;
        struct driver_queue *queues;
        struct driver_window windows[ORIEL_MAX_SHMIDS];
};

/* memory.c */
int memory_create(struct oriel_driver *driver);
void memory_destroy(struct oriel_driver *driver);
/* Takes guest memory at a multiple of @align; UINT64_MAX: used up. */
uint64_t memory_take(struct oriel_driver *driver, uint64_t size, uint64_t align);
struct oriel_memory_region memory_as_region(const struct oriel_driver *driver);

/* window.c */
int windows_create(struct oriel_driver *driver);
void windows_destroy(struct oriel_driver *driver);
/* Forgets that the back-end had mappings as memory, after the connection has ended. */
void windows_forget(struct oriel_driver *driver);
void window_mapped(void *userdata, struct oriel_region *region, struct oriel_mapping *mapping, int fd);
void window_unmapped(void *userdata, struct oriel_region *region, struct oriel_mapping *mapping);
/* A request that follows from an event. Returns the front-end's result, for -EINPROGRESS; what follows from all others
 * has been done. */
typedef int event_request(struct oriel_driver *driver, uint8_t shmid, struct oriel_mapping *mapping, int fd);

/* owed.c: makes the request now, or as soon as the bring-up lets it. @fd stays the caller's. */
void request_for_event(struct oriel_driver *driver, event_request *make, uint8_t shmid, struct oriel_mapping *mapping,
                       int fd);
/* Makes the requests that are owed. 0, -EINPROGRESS, or the error with which the connection has ended. */
int make_owed_requests(struct oriel_driver *driver);
void forget_owed_requests(struct oriel_driver *driver);

/* Whether the public functions of a queue may be called: there is such a queue, and no bring-up is under way. */
static inline bool has_queue(const struct oriel_driver *driver, unsigned queue)
{
        return driver->was_up && driver->state != ORIEL_DRIVER_STARTING && queue < driver->n_queues;
}

/* queue.c */
int queues_create(struct oriel_driver *driver);
void queues_destroy(struct oriel_driver *driver);
/* To be repeated after -EINPROGRESS, before another queue is started. */
int queue_start(struct oriel_driver *driver, unsigned index);
int queue_stop(struct oriel_driver *driver, unsigned index);
/* After the device has gone: collects what it had completed, for the next one to continue behind it. */
int queue_leave(struct oriel_driver *driver, unsigned index);

#endif
