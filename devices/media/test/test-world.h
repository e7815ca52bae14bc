/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_MEDIA_TEST_TEST_WORLD_H
#define DEVICES_MEDIA_TEST_TEST_WORLD_H

#include "base/cleanup.h"
#include "base/test.h"
#include "devices/media/core/state.h"

/* A media with a camera in a test: guest memory, a front-end that maps everything until it is told to refuse, and a
 * driver with a number of buffers for events. */

#define WORLD_GUEST       UINT64_C(0x100000)
#define WORLD_GUEST_SIZE  (1 << 20)
#define WORLD_WINDOW_SIZE (UINT64_C(4) << 20)
enum { WORLD_EVENTS_MAX = 64 };

struct world {
        struct media *media;
        struct log_budget lines;
        struct oriel_memory *memory;
        uint8_t *guest;
        int map_error, unmap_error; /* the front-end's results */
        unsigned maps, unmaps, dirty;
        bool no_objects;            /* the front-end has none */
        unsigned added, removed;    /* of the media's own */
        struct media_object theirs; /* that the front-end finds, */
        int theirs_fd;              /* and what that is */
        unsigned found;
        pthread_mutex_t lock;
        pthread_cond_t more;
        unsigned room; /* buffers of the driver's */
        unsigned n_events;
        union media_event events[WORLD_EVENTS_MAX];
        uint64_t answer[(MEDIA_ANSWER_MAX + 7) / 8];
};

void world_open(struct world *world);
void world_open_with(struct world *world, struct media_node *node);
void world_close(struct world *world);
void world_give_room(struct world *world, unsigned buffers);
/* Waits until there were @n events. */
void world_await_events(struct world *world, unsigned n);

/* Sends a command of these bytes. Returns its answer's size, or 0 without room. The answer is in @world->answer. */
size_t world_command(struct world *world, const void *bytes, size_t size, size_t room);
uint32_t world_status(const struct world *world);

/* 0 or a positive errno, as the driver sees it. */
int world_open_session(struct world *world, uint32_t *session);
void world_close_session(struct world *world, uint32_t session);
int world_mmap(struct world *world, uint32_t session, uint32_t offset, uint32_t flags, uint64_t *address,
               uint64_t *size);
int world_munmap(struct world *world, uint64_t address);
/* Makes an ioctl with payload @payload, and @more behind it in the command (for a MEDIA_CONTROLS or multi-planar
 * payload: those bytes of the answer are copied back, too). */
int world_ioctl(struct world *world, uint32_t session, uint32_t code, void *payload, void *more, size_t more_size);

unsigned world_n_sessions(struct world *world);
unsigned world_n_mappings(struct world *world);

#endif
