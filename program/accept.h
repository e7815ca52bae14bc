/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef PROGRAM_ACCEPT_H
#define PROGRAM_ACCEPT_H

/* Accepts a connection on @listener: the caller's, close-on-exec, or a negative errno. Where the limit on descriptors
 * is reached, the client is accepted and closed, and this returns -EMFILE or -ENFILE: otherwise the listener would stay
 * readable and be tried without end. This needs a descriptor in reserve: @spare, initially fd_dup(listener), which the
 * caller closes. */
int accept_or_refuse(int listener, int *spare);

#endif
