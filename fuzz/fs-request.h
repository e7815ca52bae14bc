/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FUZZ_FS_REQUEST_H
#define FUZZ_FS_REQUEST_H

#include "devices/fs/core/operations.h"
#include "fuzz/input.h"

/* FUSE requests by the rows of operations.c: numbers that were given out in answers, names that are there, small or odd
 * values for the rest, and one in sixteen not as its row has it. */

enum { NUMBERS_KNOWN = 16, REQUEST_MOST = 4096, ANSWER_MOST = 8192 };

/* A request, from its beginning to its answer. */
struct exchange {
        uint8_t *in, *out;
        size_t size, room;
        struct iovec spans[2];
        bool waits; /* for a lock */
};

/* The numbers that answers have given out. */
struct numbers {
        uint64_t nodes[NUMBERS_KNOWN], files[NUMBERS_KNOWN];
        unsigned n_nodes, n_files;
        uint64_t unique;
};

/* @exchange->in gets the request. */
void request_make(struct input *input, struct numbers *numbers, uint32_t opcode, struct exchange *exchange);
/* Remember what the answer in @exchange->out, of @written bytes, gives out. */
void request_learn(struct numbers *numbers, uint32_t opcode, const struct exchange *exchange, size_t written);

#endif
