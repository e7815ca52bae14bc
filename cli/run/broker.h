/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CLI_RUN_BROKER_H
#define CLI_RUN_BROKER_H

#include "program/socket_file.h"

#include <stdbool.h>

/* The process that the user has started, and whose child the virtual machine is: see cli/run/broker.c. A struct
 * broker is the machine's connection to it. */
struct broker;

/* A back-end: one that listens at @socket already, or a program to be started: with the end of a connection, or, where
 * there is a @socket too, one that will listen there. */
struct broker_item {
        const char *socket;
        const char *program;    /* NULL: it runs already */
        const char **arguments; /* NULL-terminated, without the connection */
};

/* The files and the folder by which others find these two processes. The broker makes them while the signals are
 * blocked that would end it, and removes them, so that nothing stays behind. */
struct broker_files {
        const char *folder; /* for the sockets of programs; NULL: none */
        struct broker_listener {
                const char *path; /* for this user alone; NULL: none */
                int fd;           /* in the machine's process: the caller's. -1: none */
                struct socket_file file;
        } control, console;
};

/* Makes @files and forks, so call it before any thread is started. In the child, which is the machine's process, *out
 * is the broker, the caller's. The parent serves the child, and returns with NULL in *out when the machine and all that
 * it started have ended and @files are removed; it is to exit with the status returned. If a signal has ended the
 * machine, the parent ends by that signal. NULL in *out is also the end when something fails, which is reported. */
int broker_new(const struct broker_item *items, unsigned n_items, struct broker_files *files, struct broker **out);
/* Returns a connection to item @item, the caller's, or a negative errno. Any thread. -EPIPE: the broker is gone. */
int broker_connect(struct broker *broker, unsigned item);
/* Tells the broker that from now on this process handles signals itself. @raw: it has changed the mode of the
 * terminal on standard input, which the broker restores if this process can't. */
void broker_say_ready(struct broker *broker, bool raw);
/* Tells the broker that this process is about to exit with @status, so that it waits only briefly. It serves no more
 * requests. */
void broker_say_end(struct broker *broker, int status);
/* NULL is accepted. */
void broker_free(struct broker *broker);

#endif
