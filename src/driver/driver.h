/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DRIVER_DRIVER_H
#define DRIVER_DRIVER_H

#include <oriel/driver.h>

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

/* queue.c */
int queues_create(struct oriel_driver *driver);
void queues_destroy(struct oriel_driver *driver);
int queue_start(struct oriel_driver *driver, unsigned index);
/* After the device has gone: collects what it had completed, for the next one to continue behind it. */
int queue_leave(struct oriel_driver *driver, unsigned index);

#endif
