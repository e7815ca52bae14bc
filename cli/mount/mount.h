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
/* Requests that wait for locks, which may last for ever: they have slots of their own, so that there is one for the
 * request that gives the lock back, and INTERRUPT, and everything else. */
#define WAITS       64
#define WAIT_BUFFER UINT64_C(128)
#define QUEUE_SIZE  256 /* two entries for each, where there are no indirect ones */

/* One request of the kernel's, or of ours to map something, from the time it is read to the time it is answered. */
struct slot {
        uint8_t *in;
        uint8_t *out;
        bool busy;
        unsigned queue;
        uint32_t opcode;
        uint64_t unique;
        struct dax_ask ask; /* needed: the request is ours */
};

/* Where something is mounted, for as long as it is: a lazy unmount takes it away from there, and what is open goes on.
 */
struct place {
        int fd; /* has POLLPRI when something was mounted or unmounted; -1: it is not known */
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
        struct place place;
        bool unmounting;
        int64_t say_detached_at; /* it is no longer in its place, and it is to be said that it is in use; 0: not */
        bool over;
        uint64_t open_files;
        struct slot slots[SLOTS], waits[WAITS];
        uint64_t served, forwarded;
};

/* mount_relay.c: between /dev/fuse and the queues. Each returns 0 or what ends the mount. */

/* NULL: as many requests as can be are on their way. */
struct slot *mount_free_slot(struct mount *mount);
/* One request of the kernel's: answered from the window, or passed on. -ENODEV: unmounted. */
int mount_take_request(struct mount *mount);
/* All answers of the device's. */
int mount_take_answers(struct mount *mount);

#endif
