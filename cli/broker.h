/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CLI_BROKER_H
#define CLI_BROKER_H

#include "channel/socket_file.h"

/* A process beside the virtual machine's that does what that one may not do any more: connect to back-ends, and start
 * those that are ours, again and again if need be. When the virtual machine's process ends, however it does, the
 * broker ends the programs that it has started, removes the files of sockets, and ends too. */
struct broker;

/* A back-end: one that listens at @socket, or a program to be started with the end of a connection. */
struct broker_item {
        const char *socket; /* NULL: start @program */
        const char *program;
        const char **arguments; /* NULL-terminated, without the connection */
};

/* Before any thread is started. @items and @file, which may be NULL, are borrowed until broker_free(). */
int broker_new(const struct broker_item *items, unsigned n_items, const struct socket_file *file, struct broker **out);
/* A connection to item @item, the caller's, or a negative errno. Any thread. -EPIPE: the broker is gone. */
int broker_connect(struct broker *broker, unsigned item);
/* Waits until everything is ended and removed. NULL is accepted. */
void broker_free(struct broker *broker);

#endif
