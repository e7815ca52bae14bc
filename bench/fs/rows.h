/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BENCH_FS_ROWS_H
#define BENCH_FS_ROWS_H

#include "bench/fs/fs.h"

/* The operations that are measured: their state, and how each is requested and its answer checked. */

#define N_NODES 2000 /* looked up once; GETATTR and OPEN use them in turn */
#define N_NAMES 2000 /* the names for LOOKUP, which the back-end does not know */

/* The files of the operations, for use without a back-end. */
struct alone {
        int data_fd, written_fd, new_fd;
        uint8_t *buffers;
};

struct rows_state {
        struct bench_session *session;
        struct alone alone;
        uint64_t list, new_dir, data, written;
        uint64_t data_handle, written_handle;
        uint64_t streams[LOAD_DEPTH_MAX]; /* handles of the list */
        uint64_t read_size, write_size;   /* of the files */
        uint64_t nodes[N_NODES], inos[N_NODES];

        unsigned next; /* counter of the items used in turn */
        uint64_t random, salt;
        uint64_t last_at; /* of the last write */
        uint32_t size;    /* of one READ or WRITE */
        bool sequential;

        uint64_t *looked_up; /* to be forgotten */
        size_t n_looked_up;
};

extern const struct load_ops op_lookup, op_getattr, op_open, op_create, op_readdir, op_read, op_write;

/* Offset of the next READ or WRITE. */
uint64_t next_offset(struct rows_state *state, uint64_t file_size);

/* ---- without a back-end, alone.c ---- */

typedef int alone_operation(struct rows_state *state, const struct alone *alone, uint8_t *buffer);

extern alone_operation alone_read, alone_write, alone_create;

int alone_open(struct alone *alone, const struct bench_place *place);
void alone_close(struct alone *alone);
/* Repeats @operation for @length_ns, with @depth buffers in turn; the CPU time is this thread's. */
int alone_measure(struct rows_state *state, const struct alone *alone, alone_operation *operation, unsigned depth,
                  int64_t length_ns, struct bench_tally *tally);

#endif
