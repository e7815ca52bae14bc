/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CLI_BENCH_FS_ROWS_H
#define CLI_BENCH_FS_ROWS_H

#include "cli/bench_fs.h"

/* The operations that are measured: what they work on, and how each is asked for and looked at. */

#define N_NODES 2000 /* looked up once; GETATTR and OPEN take them in turns */
#define N_NAMES 2000 /* and those that LOOKUP takes, which are not known to the back-end */

struct rows_state {
        struct session *session;
        int written_fd; /* of the host */
        uint64_t list, new_dir, data, written;
        uint64_t data_handle, written_handle;
        uint64_t streams[LOAD_DEPTH_MAX]; /* handles of the list */
        uint64_t read_size, write_size;   /* of the files */
        uint64_t nodes[N_NODES], inos[N_NODES];

        unsigned next; /* what is taken in turns */
        uint64_t random, salt;
        uint64_t last_at; /* written last */
        uint32_t size;    /* of one READ or WRITE */
        bool sequential;

        uint64_t *looked_up; /* to be forgotten */
        size_t n_looked_up;
};

extern const struct load_ops op_lookup, op_getattr, op_open, op_create, op_readdir, op_read, op_write;

/* xorshift64 */
uint64_t next_random(struct rows_state *state);

#endif
