/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TRACE_OUTPUT_H
#define TRACE_OUTPUT_H

#include "trace/tracker.h"

#include <stdio.h>

struct json_object;

/* The naming of features in a trace. */
struct naming {
        const struct oriel_dialect *dialect; /* NULL: the standard */
        uint32_t device_id;                  /* 0: only bits that all device types share have names */
};

/* The longest text of a payload: GET_SHMEM_CONFIG's with all regions. */
#define WORDS_SIZE 16384

/* The text of a payload; "" if there is none. */
void words_of_payload(const struct naming *naming, const struct trace_event *event, char *out, size_t size);

/* The name of a bit of a payload of @kind, FEATURES or PROTOCOL_FEATURES; "bit40" into @unknown if it has none. */
const char *words_of_bit(const struct naming *naming, enum oriel_payload kind, unsigned bit, char unknown[8]);

/* "memfd oriel, 4096 bytes, read-write". */
void words_of_fd(const struct description *fd, char *out, size_t size);

/* "front-end", "back-end". */
const char *words_of_side(enum side side);

/* "main", "back-end", "back-end 2". */
void words_of_channel(unsigned channel, char *out, size_t size);

/* Where and how the tracer runs, for the text and the JSON lines. */
struct setting {
        const char *listen, *connect;
        struct naming naming;
        int64_t began_ns; /* start of the session, to which all times are relative */
};

/* One record as lines of text. */
void output_text(FILE *file, const struct setting *setting, const struct tracker *tracker,
                 const struct trace_event *event);

/* One record as one JSON object, without the line's end; NULL for want of memory. json_object_put() frees it. */
struct json_object *output_json(const struct setting *setting, const struct tracker *tracker,
                                const struct trace_event *event);

#endif
