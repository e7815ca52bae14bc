/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TRACE_RECORDER_H
#define TRACE_RECORDER_H

#include "trace/output.h"

/* The thread that writes down what the relay saw, as it comes. */

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
/* Where the relay puts its records. */
struct record_log *recorder_log(struct recorder *recorder);
/* Writes what is left, finishes the page and frees. 0, or a negative errno: not all could be written. */
int recorder_finish(struct recorder *recorder);

#endif
