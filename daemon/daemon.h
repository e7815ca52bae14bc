/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DAEMON_DAEMON_H
#define DAEMON_DAEMON_H

#include "base/log.h"
#include "program/options.h"

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <oriel/backend.h>
#include <stdint.h>

/* The frame of every device daemon: a process that offers one vhost-user device on a socket. A device is one table;
 * daemon/daemon.c says what happens in which order, and docs/devices.md how to write one. */

/* What the library does of itself with rings. */
#define DAEMON_RING_FEATURES                                                                   \
        (ORIEL_FEATURE(VIRTIO_F_VERSION_1) | ORIEL_FEATURE(VIRTIO_F_RING_PACKED) |             \
         ORIEL_FEATURE(VIRTIO_RING_F_INDIRECT_DESC) | ORIEL_FEATURE(VIRTIO_RING_F_EVENT_IDX) | \
         ORIEL_FEATURE(VIRTIO_F_RING_RESET))

#define DAEMON_CAPABILITY(capability) (UINT64_C(1) << (capability))

/* What a device is made with. */
struct daemon_start {
        const char *root; /* where daemon_options.sandbox.root is now; NULL: nowhere */
        int *proc_fd;     /* /proc/self/fd; who takes it, by fd_take(), owns it */
        struct oriel_log log;
        struct log_budget *lines; /* for what a guest can have logged again and again; each front-end begins anew */
        const struct oriel_dialect *dialect; /* NULL: the standard */
};

struct daemon_device {
        const char *name;            /* "oriel-fs" */
        const char *type;            /* "fs", in --print-capabilities */
        const char *const *features; /* there, NULL-terminated; NULL: none */
        const char *summary;         /* one sentence for --help */
        const struct option_row *rows;
        size_t n_rows;
        uint64_t capabilities; /* DAEMON_CAPABILITY() of those that it keeps, as far as the process has them */

        /* When the command line was read: what is wrong with the device's own options, as the exit status with
         * everything said, or -1. It may set daemon_options.sandbox.root and more of its options. NULL: nothing to
         * check. */
        int (*check_options)(void);
        /* When the whole command line is right, and nobody knows of the process: what is wrong with the files that it
         * names, which the sandbox would make something else of. The exit status, with everything said. NULL: nothing
         * to check. */
        int (*check_files)(void);
        /* In the sandbox, without rights, before the filter of system calls: whatever has a name is opened here, and
         * threads may be started. The exit status, with everything said. */
        int (*new_device)(const struct daemon_start *start, void **out);
        /* A front-end is at the other end of @fd, which is taken. NULL: oriel_backend_attach() and no more. */
        int (*attach)(void *device, int fd);
        /* The device's end of the session, which the frame dispatches. NULL: the device is that. */
        struct oriel_backend *(*backend)(void *device);
        /* SIGUSR1 has come; on the dispatching thread. NULL: that signal does what it does to any process. */
        void (*signalled)(void *device);
        void (*free_device)(void *device); /* NULL is accepted */
};

/* All of main(). */
int daemon_main(const struct daemon_device *device, int argc, char **argv);

#endif
