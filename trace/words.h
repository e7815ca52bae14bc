/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TRACE_WORDS_H
#define TRACE_WORDS_H

#include "trace/tracker.h"

/* How features are named in a trace. */
struct naming {
        const struct oriel_dialect *dialect; /* NULL: the standard */
        uint32_t device_id;                  /* 0: only what all device types share has a name */
};

/* The longest payload in words: GET_SHMEM_CONFIG's with all regions. */
#define WORDS_SIZE 16384

/* The payload in words; "" if there is nothing to say. */
void words_of_payload(const struct naming *naming, const struct event *event, char *out, size_t size);

/* The name of a bit of a payload of @kind, FEATURES or PROTOCOL_FEATURES; "bit40" into @unknown if it has none. */
const char *words_of_bit(const struct naming *naming, enum oriel_payload kind, unsigned bit, char unknown[8]);

/* "memfd oriel, 4096 bytes, read-write". */
void words_of_fd(const struct description *fd, char *out, size_t size);

/* "front-end", "back-end". */
const char *words_of_side(enum side side);

/* "main", "back-end", "back-end 2". */
void words_of_channel(unsigned channel, char *out, size_t size);

#endif
