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
 * daemon/daemon.c describes the order of its start, and docs/devices.md how to write one. */

/* Ring features that the library implements for any device. */
#define DAEMON_RING_FEATURES                                                                   \
        (ORIEL_FEATURE(VIRTIO_F_VERSION_1) | ORIEL_FEATURE(VIRTIO_F_RING_PACKED) |             \
         ORIEL_FEATURE(VIRTIO_RING_F_INDIRECT_DESC) | ORIEL_FEATURE(VIRTIO_RING_F_EVENT_IDX) | \
         ORIEL_FEATURE(VIRTIO_F_RING_RESET))

#define DAEMON_CAPABILITY(capability) (UINT64_C(1) << (capability))

/* Passed to new_device(). */
struct daemon_start {
        const char *root; /* daemon_options.sandbox.root as it is now; NULL: not accessible */
        int *proc_fd;     /* /proc/self/fd; a device that takes it by fd_take() owns it */
        struct oriel_log log;
        struct log_budget *lines; /* for log lines that a guest can cause without limit; reset for each front-end */
        const struct oriel_dialect *dialect; /* NULL: the standard */
};

struct daemon_device {
        const char *name;            /* "oriel-fs" */
        const char *type;            /* "fs", in --print-capabilities */
        const char *const *features; /* there, NULL-terminated; NULL: none */
        const char *summary;         /* one sentence for --help */
        const struct option_row *rows;
        size_t n_rows;
        uint64_t capabilities; /* DAEMON_CAPABILITY() of those that are kept, as far as the process has them */

        /* Called after the command line was read. Checks the device's options: the exit status, with the error
         * reported, or -1. It may set daemon_options.sandbox.root and other options. NULL: nothing to check. */
        int (*check_options)(void);
        /* Called when the whole command line is valid, before the process is visible to others. Checks the files that
         * it names, whose paths may mean something else in the sandbox. The exit status, with the error reported, or
         * -1. NULL: nothing to check. */
        int (*check_files)(void);
        /* NULL: no. Whether the device has a file to remove at the end, besides those of the daemon. */
        bool (*has_files)(void);
        /* Called in the sandbox, without rights, before the filter of system calls: opens everything that has a path,
         * and may start threads. The exit status, with the error reported. */
        int (*new_device)(const struct daemon_start *start, void **out);
        /* A front-end has connected; takes @fd. NULL: only oriel_backend_attach(). */
        int (*attach)(void *device, int fd);
        /* The back-end that the frame dispatches. NULL: the device itself is one. */
        struct oriel_backend *(*backend)(void *device);
        /* SIGUSR1 was received; on the dispatching thread. NULL: the signal has its default action. */
        void (*signalled)(void *device);
        void (*free_device)(void *device); /* NULL is accepted */
};

/* The whole of main(). */
int daemon_main(const struct daemon_device *device, int argc, char **argv);

#endif
