/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TESTS_SESSION_ECHO_REQUESTS_H
#define TESTS_SESSION_ECHO_REQUESTS_H

/* The echo device's own: what its worker threads do with one buffer. */

#include "tests/session/echo_device.h"

#include <oriel/worker.h>

#define ECHO_HELD_MAX 256

struct echo_files {
        int fds[ECHO_FILES];
        int pipe_end;
        uint8_t *memory;
};

struct echo_queue {
        struct oriel_backend *backend;
        struct echo_counts *counts;
        struct echo_files *files;
        struct oriel_backend_queue *queue;
        struct oriel_worker *worker;
        unsigned n_held;
        struct oriel_chain *held[ECHO_HELD_MAX];
};

int echo_files_open(struct echo_files *files);
void echo_files_close(struct echo_files *files);

/* Takes @chain. */
void echo_handle(struct echo_queue *own, struct oriel_chain *chain);
void echo_drop_held(struct echo_queue *own);

#endif
