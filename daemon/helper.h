/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DAEMON_HELPER_H
#define DAEMON_HELPER_H

/* Calls @run, which never returns, in a process of its own that nobody waits for, with @what and one end of a socket
 * (SEQPACKET). Returns the other end, or a negative errno. To be called before the sandbox, so that the helper is
 * outside. */
int helper_start(void (*run)(const void *what, int fd), const void *what);

#endif
