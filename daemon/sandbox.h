/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DAEMON_SANDBOX_H
#define DAEMON_SANDBOX_H

#include "program/options.h"

#include <stdint.h>
#include <sys/types.h>

enum sandbox_mode {
        SANDBOX_NAMESPACE, /* file systems, processes and network of its own, with the root that it is to have */
        SANDBOX_CHROOT,    /* that root alone */
        SANDBOX_NONE,
};

struct sandbox_options {
        enum sandbox_mode mode;
        const char *root;                      /* the directory that becomes the root; NULL: an empty one */
        struct option_list uid_maps, gid_maps; /* see id_range_parse(); either makes a user namespace */
        const char *modcaps;                   /* "+dac_read_search:-mknod", or NULL */
        uint64_t capabilities;                 /* those that are kept, by their bits */
};

/* NULL, or what is wrong with them. */
const char *sandbox_check(const struct sandbox_options *options);

/* Go on in the sandbox: as a new process, unless there is none (SANDBOX_NONE). Before any thread is started.
 * Returns 0 in the process that goes on, with all signals that were blocked still so, and @proc_fd its /proc/self/fd,
 * the caller's; in the one that stays behind the other's pid, for sandbox_supervise(). A negative errno is reported in
 * words already. */
pid_t sandbox_enter(const struct sandbox_options *options, int *proc_fd);

/* Wait for @pid, handing on the signals that @signals, a signalfd, says; ten seconds after one that asks for an end it
 * is killed, and a second later not waited for any more. The exit status. */
int sandbox_supervise(pid_t pid, int signals);

/* Keep those capabilities that @options names. 0 or a negative errno. */
int sandbox_drop_capabilities(const struct sandbox_options *options);

#endif
