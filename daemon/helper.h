/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DAEMON_HELPER_H
#define DAEMON_HELPER_H

/* Have @run called in a process of its own, which nobody waits for, with @what and the end of a socket (SEQPACKET); it
 * never returns. The other end is returned, or a negative errno. For before a sandbox, which it is to be outside of. */
int helper_start(void (*run)(const void *what, int fd), const void *what);

#endif
