/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef PROGRAM_ACCEPT_H
#define PROGRAM_ACCEPT_H

/* Accept a connection on @listener: the caller's, close-on-exec, or a negative errno. Where the limit of descriptors is
 * reached, the client is turned away and this returns -EMFILE or -ENFILE: a listener that stays readable would be tried
 * again and again. That takes a descriptor in reserve: @spare, fd_dup(listener) at first, and the caller's to close. */
int accept_or_refuse(int listener, int *spare);

#endif
