/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VMM_CONTROL_QMP_H
#define VMM_CONTROL_QMP_H

#include <json.h>
#include <oriel/log.h>
#include <stdbool.h>
#include <stddef.h>

/* A server of the QEMU Machine Protocol: the greeting, the negotiation of capabilities (there are none), commands with
 * ids, errors and events, as QEMU has them. Several clients at a time, each served in its order. It knows no machine.
 * It belongs to one thread, which polls qmp_get_fd() for reading and calls qmp_dispatch(); nothing blocks.
 *
 * A client can't make it grow: a command has at most 64 KiB and 32 levels, no further command is read while answers
 * wait to be taken, and a client that takes no events is disconnected. */
struct qmp;

/* The error of a command that fails: the class "GenericError" unless set, and a sentence; "" if it does not. */
struct qmp_error {
        const char *class;
        char text[256];
};

struct qmp_argument {
        const char *name;
        enum json_type type;
        bool optional;
};

enum { QMP_MAX_ARGUMENTS = 4 };

struct qmp_call {
        void *userdata;
        struct json_object *arguments; /* of the table's names and types; borrowed */
        struct json_object *result;    /* becomes the server's; NULL: an empty object */
        struct qmp_error error;
};

struct qmp_command {
        const char *name;
        /* Sets @call's result, or its error. It may call qmp_event(). */
        void (*run)(struct qmp_call *call);
        struct qmp_argument arguments[QMP_MAX_ARGUMENTS];
};

struct qmp_options {
        int listener;                       /* taken, also on failure; made non-blocking */
        struct json_object *version;        /* of the greeting; a reference is taken */
        const struct qmp_command *commands; /* outlive the server; query-commands is the server's own */
        size_t n_commands;
        void *userdata;
        const struct oriel_log *log; /* copied */
};

int qmp_new(const struct qmp_options *options, struct qmp **out);
/* Tries to send what waits, without waiting. NULL is accepted. */
void qmp_free(struct qmp *qmp);
int qmp_get_fd(const struct qmp *qmp);
void qmp_dispatch(struct qmp *qmp);
/* Tell all clients that have negotiated. @data becomes the server's; NULL: none. */
void qmp_event(struct qmp *qmp, const char *name, struct json_object *data);

#endif
