/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TRACE_OUTPUT_H
#define TRACE_OUTPUT_H

#include "trace/words.h"

#include <stdio.h>

struct json_object;

/* What the text and the JSON lines say of where and how. */
struct setting {
        const char *listen, *connect;
        struct naming naming;
        int64_t began_ns; /* the session's begin, from which all times count */
};

/* One record as lines of text. */
void output_text(FILE *file, const struct setting *setting, const struct tracker *tracker, const struct event *event);

/* One record as one JSON object, without the line's end; NULL for want of memory. json_object_put() frees it. */
struct json_object *output_json(const struct setting *setting, const struct tracker *tracker,
                                const struct event *event);

#endif
