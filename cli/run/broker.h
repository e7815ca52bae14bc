/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CLI_RUN_BROKER_H
#define CLI_RUN_BROKER_H

#include "program/socket_file.h"

#include <stdbool.h>

/* The process that the user has started, beside the virtual machine's, which is its child: see cli/run/broker.c. A
 * struct broker is the machine's way to it. */
struct broker;

/* A back-end: one that listens at @socket, or a program to be started with the end of a connection. */
struct broker_item {
        const char *socket; /* NULL: start @program */
        const char *program;
        const char **arguments; /* NULL-terminated, without the connection */
};

/* Before any thread is started: fork. The new process is the machine's, and gets *out, the caller's. The old one serves
 * it, comes back with NULL in *out when the machine and all that it started has ended and @file, which may be NULL, is
 * removed, and is to exit with *status. Where a signal has ended the machine, it ends by that, too. Or a negative
 * errno. */
int broker_new(const struct broker_item *items, unsigned n_items, struct socket_file *file, struct broker **out,
               int *status);
/* A connection to item @item, the caller's, or a negative errno. Any thread. -EPIPE: the broker is gone. */
int broker_connect(struct broker *broker, unsigned item);
/* From now on this process does itself what a signal asks for, and @raw, if the mode of the terminal on standard input
 * is another's who will want it back. */
void broker_say_ready(struct broker *broker, bool raw);
/* This process is about to exit with @status, and need not be waited for for long. The broker's requests are over. */
void broker_say_end(struct broker *broker, int status);
/* NULL is accepted. */
void broker_free(struct broker *broker);

#endif
