/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_TEST_TEST_LIMITED_H
#define DEVICES_FS_TEST_TEST_LIMITED_H

/* A front-end with the limits of QEMU 11.1, with a guest's view of its window, and a file system on it. */

#include "devices/fs/test/test-client.h"

enum { WINDOW = 16 << 20, RANGE = 2 << 20, PAGE = 4096, DIES_AT = 511, TICKETS = 1 << 16 };

/* The front-end and its guest's view of the region. */
struct frontend {
        pthread_mutex_t lock;
        uint8_t *memory;
        struct oriel_range live[DIES_AT];
        unsigned n_live, most_live;
        unsigned deadly; /* requests by which it would have aborted, or made a file longer */
        bool maps_partial, maps_readonly;
        int answers[TICKETS];
        uint64_t tickets;
        int last_fd; /* a duplicate of the fd that was mapped last */
        unsigned warnings;
        char warning[512];
};

struct world {
        struct frontend frontend;
        struct client client;
        uint64_t node, fh;
};

/* @abilities may be zero. Returns after INIT. */
struct world *begin_with(struct fs_options options, const struct frontend *abilities);
struct world *begin(void);
/* Fails if the front-end got a request by which it would have aborted. */
void end(struct world *world);

/* On the host, behind the guest's back. */
void make(struct world *world, const char *name, size_t size, char filling);
char host_byte(struct world *world, const char *name, off_t at);
off_t host_size(struct world *world, const char *name);
void host_put(struct world *world, const char *name, off_t at, const char *text);

/* By the guest: looks the file up, opens it, and maps its first range at the window's start. */
void open_mapped(struct world *world, const char *name);
/* On that file; each must succeed. */
void fsync_it(struct world *world);
void look_at(struct world *world);
void truncate_it(struct world *world, uint64_t size);
void write_it(struct world *world, uint64_t at, const void *from, uint32_t size);

#endif
