/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CLI_MOUNT_MOUNT_H
#define CLI_MOUNT_MOUNT_H

#include "clients/fs/dax.h"

#include <oriel/driver.h>
#include <pthread.h>

struct fuse_session;

/* The queues of virtio-fs. */
#define HIPRIO   0
#define REQUESTS 1

#define SLOTS    32
#define HEADROOM UINT64_C(4096)                   /* for headers and arguments before the data; a page */
#define BUFFER   ((UINT64_C(1) << 20) + HEADROOM) /* the kernel's longest request and answer: 256 pages */
/* Requests that wait for locks, possibly for ever. They have slots of their own, so that slots stay free for the
 * unlock, for INTERRUPT and for all other requests. */
#define WAITS       64
#define WAIT_BUFFER UINT64_C(128)
#define QUEUE_SIZE  256 /* two entries for each, where there are no indirect ones */

/* A request of the kernel, or a request of our own for a mapping, from its arrival to its answer. */
struct mount_slot {
        uint8_t *in;
        uint8_t *out;
        bool busy;
        unsigned queue;
        uint32_t opcode;
        uint64_t unique;
        struct dax_ask ask; /* needed: the request is our own */
};

/* The place of the mount. A lazy unmount takes the mount away from it while open files stay usable. */
struct mount_place {
        int fd; /* polls POLLPRI when a mount of this host changes; -1: not watched */
        uint64_t id;
};

struct mount {
        struct oriel_driver *driver;
        struct fuse_session *session;
        struct dax *dax; /* NULL without */
        int fuse_fd;
        int signals;
        int unmounted; /* an eventfd */
        pthread_t unmounter;
        const char *dir;
        char *options; /* libfuse's */
        struct mount_place place;
        bool unmounting;
        int64_t say_detached_at; /* when to report that it is unmounted but in use, in ms; 0: not */
        bool over;
        uint64_t open_files;
        struct mount_slot slots[SLOTS], waits[WAITS];
        uint64_t served, forwarded;
};

/* relay.c: between /dev/fuse and the queues. A negative result ends the mount. */

/* A slot that is not in use, or NULL. */
struct mount_slot *mount_free_slot(struct mount *mount);
/* Takes one request of the kernel, and answers it from the window or passes it on. -ENODEV: unmounted. */
int mount_take_request(struct mount *mount);
/* Takes all answers of the device. */
int mount_take_answers(struct mount *mount);

#endif
