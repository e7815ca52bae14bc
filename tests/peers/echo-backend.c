/* SPDX-License-Identifier: BSD-2-Clause */

/* The echo device as a program: one front-end after the other, until it is killed. */

#include "program/options.h"
#include "program/report.h"
#include "tests/session/echo_device.h"

#include <errno.h>
#include <oriel/socket.h>
#include <string.h>

static const char *dialect = "standard";
static unsigned queues = 1;
static uint64_t window = UINT64_C(64) << 20;

static const struct option_row rows[] = {
        {"dialect", OPTION_STRING, &dialect, "NAME", "the number of SHMEM: standard, shmem-21 or shmem-20"},
        {"queues", OPTION_NUMBER, &queues, "N", "as many as that, 1 by default"},
        {"window", OPTION_SIZE, &window, "SIZE", "of regions 0 and 2, 64M by default"},
};

static const struct program program = {
        .name = "echo-backend",
        .operands = "SOCKET",
        .summary = "The echo device of Oriel's tests, for one front-end after the other.",
        .rows = rows,
        .n_rows = sizeof(rows) / sizeof(rows[0]),
        .min_operands = 1,
        .max_operands = 1,
};

int main(int argc, char **argv)
{
        char **operands;
        int status = options_parse(&program, argc, argv, &operands);

        if (status >= 0)
                return status;
        if (!oriel_dialect_find(dialect) || queues > ECHO_QUEUES_MAX)
                return fail("no such dialect, or too many queues");

        const struct echo_options options = {
                .queues = queues,
                .window = window,
                .dialect = oriel_dialect_find(dialect),
        };
        struct echo *echo = echo_new(&options);
        int listener = oriel_socket_listen(operands[0]);

        if (!echo || listener < 0)
                return fail("%s: %s", operands[0], strerror(listener < 0 ? -listener : ENOMEM));
        for (;;)
                echo_serve_here(echo, oriel_socket_accept(listener));
}
