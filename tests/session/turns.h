/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TESTS_SESSION_TURNS_H
#define TESTS_SESSION_TURNS_H

/* A back-end on the test's own thread, which has a turn when the test gives it one: of a peer that does not wait for
 * it. */

#include "tests/session/session.h"

#include <oriel/backend.h>

#define REGION   (UINT64_C(1) << 21)
#define FOREVER  600000
#define PATIENCE 20000
#define AT_START 8 /* mappings */
#define WANTED                        \
        (oriel_frontend_supported() & \
         ~(ORIEL_FEATURE(ORIEL_PROTOCOL_F_INBAND_NOTIFICATIONS) | ORIEL_FEATURE(ORIEL_PROTOCOL_F_GPA_ADDRESSES)))

struct end {
        struct oriel_backend *backend;
        struct oriel_backend_queue *queue;
        unsigned maps_at_start;
        unsigned starts, stops;
        unsigned index; /* of the queue that echo_once() uses: that of the last start */
        int file;
};

/* @without: protocol features that the back-end does not have. Returns the front-end's socket. */
int end_open(struct end *end, uint64_t without);
void end_close(struct end *end);
/* Lets the back-end handle what has come. */
int end_turn(struct end *end);
bool is_readable(int fd, int timeout_ms);

#endif
