/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TRACE_RECORDER_H
#define TRACE_RECORDER_H

#include "trace/output.h"

/* The thread that writes down what the relay has seen, as it comes. */

struct recorder_options {
        FILE *out;  /* borrowed */
        bool json;  /* lines of JSON instead of text */
        FILE *page; /* borrowed, or NULL */
        const char *listen, *connect;
        struct naming naming;
};

struct recorder;

/* 0 or a negative errno. Blocked signals stay blocked in the thread. */
int recorder_start(const struct recorder_options *options, struct recorder **recorder);
/* The log that the relay writes to. */
struct record_log *recorder_log(struct recorder *recorder);
/* Writes the rest, finishes the page and frees @recorder. 0, or a negative errno: not everything could be written. */
int recorder_finish(struct recorder *recorder);

#endif
