/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CLI_V4L2_READY_H
#define CLI_V4L2_READY_H

#include "cli/v4l2/protocol.h"

/* The descriptors that poll(2) watches for an open file. Only "oriel v4l2" changes whether they are ready. */
struct ready {
        int fds[V4L2_READY_FDS];
        int pri;    /* the other end of PRI */
        int reader; /* of ERR; -1: there is none now */
        unsigned now;
};

/* Afterwards only ERR is ready. 0 or a negative errno; call ready_close() in both cases. */
int ready_open(struct ready *ready);
void ready_close(struct ready *ready);
/* @now: enum media_ready. */
void ready_set(struct ready *ready, unsigned now);

#endif
