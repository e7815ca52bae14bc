/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DAEMON_SANDBOX_H
#define DAEMON_SANDBOX_H

#include "program/options.h"

#include <stdint.h>
#include <sys/types.h>

enum sandbox_mode {
        SANDBOX_NAMESPACE, /* own mount, pid and network namespaces, with the given root */
        SANDBOX_CHROOT,    /* only the given root */
        SANDBOX_NONE,
};

struct sandbox_options {
        enum sandbox_mode mode;
        const char *root;                      /* the directory that becomes the root; NULL: an empty one */
        struct option_list uid_maps, gid_maps; /* see id_range_parse(); either makes a user namespace */
        const char *modcaps;                   /* "+dac_read_search:-mknod", or NULL */
        uint64_t capabilities;                 /* bits of those that are kept */
};

/* Checks @options: NULL, or the error. */
const char *sandbox_check(const struct sandbox_options *options);

/* Enters the sandbox: as a new process, unless the mode is SANDBOX_NONE. To be called before any thread is started.
 * Returns 0 in the process that goes on, with the signal mask unchanged, and @proc_fd its /proc/self/fd, the caller's;
 * in the one that stays outside, the other's pid, for sandbox_supervise(). A negative errno was reported already. */
pid_t sandbox_enter(const struct sandbox_options *options, int *proc_fd);

/* Waits for @pid, and passes on the signals that @signals, a signalfd, receives. Ten seconds after one that asks for
 * the end, @pid is killed, and a second later no longer waited for. Returns the exit status. */
int sandbox_supervise(pid_t pid, int signals);

/* Keeps only the capabilities that @options names. 0 or a negative errno. */
int sandbox_drop_capabilities(const struct sandbox_options *options);

#endif
