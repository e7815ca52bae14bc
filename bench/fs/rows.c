/* SPDX-License-Identifier: BSD-2-Clause */

/* The table of the operations that oriel bench fs measures, each at depth 1 and LOAD_DEPTH_MAX: what they are called,
 * the bar to be reached, and the files that they need. A measurement first runs an eighth of a block to warm up. A
 * block is passes of load_run(); what a pass leaves behind (lookups to forget, bytes to check) is dealt with in
 * end_pass(), outside of the time that counts. */

#include "bench/fs/rows.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "program/report.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Checks that the last written bytes are in the file. */
static int check_written(struct rows_state *state)
{
        uint64_t words[2], expected = data_word(state->last_at) ^ state->salt;
        off_t at = (off_t)state->last_at;

        if (pread(state->alone.written_fd, &words[0], 8, at) != 8 ||
            pread(state->alone.written_fd, &words[1], 8, at + state->size - 8) != 8 || words[0] != expected ||
            words[1] != expected)
                return load_wrong(state->session->load, "WRITE: the file has other bytes at %" PRIu64, state->last_at);
        return 0;
}

/* ---- the rows ---- */

static const unsigned depths[] = {1, LOAD_DEPTH_MAX};

static const struct row {
        const char *key, *name;
        double bar;
        const struct load_ops *ops;
        uint32_t size;
        bool sequential;
        alone_operation *alone; /* NULL: the back-end chooses the system calls */
} rows[] = {
        {"lookup", "LOOKUP", 1.5, &op_lookup, 0, false, NULL},
        {"getattr", "GETATTR", 1.5, &op_getattr, 0, false, NULL},
        {"open-release", "OPEN, RELEASE", 1.5, &op_open, 0, false, NULL},
        {"create-unlink", "CREATE, UNLINK", 1.5, &op_create, 0, false, alone_create},
        {"readdirplus", "READDIRPLUS", 1.5, &op_readdir, 0, false, NULL},
        {"read-4k", "READ 4 KiB", 1.3, &op_read, 4 << 10, false, alone_read},
        {"write-4k", "WRITE 4 KiB", 1.3, &op_write, 4 << 10, false, alone_write},
        {"read-1m", "READ 1 MiB", 1.3, &op_read, 1 << 20, true, alone_read},
        {"write-1m", "WRITE 1 MiB", 1.3, &op_write, 1 << 20, true, alone_write},
};

static void row_add(struct figures *figures, const struct row *row, unsigned depth, enum section section)
{
        struct figure figure = {
                .section = section,
                .name = row->name,
                .depth = depth,
                .bar = section == OPERATIONS ? row->bar
                       : section == CPU      ? 0.7
                                             : 0,
                .at_most = section == CPU,
        };

        if (section == ALONE && !row->alone)
                return;
        snprintf(figure.key, sizeof(figure.key), "%s-%u", row->key, depth);
        figures_add(figures, &figure, 1);
}

void rows_add(struct figures *figures)
{
        for (enum section section = OPERATIONS; section <= ALONE; section++)
                for (size_t i = 0; i < ARRAY_SIZE(rows) * ARRAY_SIZE(depths); i++)
                        row_add(figures, &rows[i / ARRAY_SIZE(depths)], depths[i % ARRAY_SIZE(depths)], section);
}

static void begin_pass(struct rows_state *state, const struct row *row)
{
        struct fuse_load *load = state->session->load;

        state->next = 0;
        state->n_looked_up = 0;
        state->size = row->size;
        state->sequential = row->sequential;
        state->salt = xorshift(&state->random);
        for (unsigned i = 0; i < LOAD_DEPTH_MAX; i++)
                load->slots[i].at = load->slots[i].node = 0;
}

static int end_pass(struct rows_state *state, const struct row *row)
{
        if (row->ops == &op_write)
                return check_written(state);
        return fuse_batch_forget(&state->session->fuse, state->looked_up, state->n_looked_up);
}

static int rows_measure_block(struct rows_state *state, const struct row *row, unsigned depth, int64_t length_ns,
                              struct bench_tally *tally)
{
        struct fuse_load *load = state->session->load;
        int64_t left = length_ns;
        uint64_t count = 0;
        int r = 0;

        while (r == 0 && left > 0) {
                begin_pass(state, row);

                int64_t cpu = session_cpu(state->session), begin = now_ns();

                r = load_run(load, row->ops, depth, begin + left, state);

                int64_t took = now_ns() - begin;

                left -= took;
                count += load->count;
                tally->ns += took;
                tally->cpu_ns += session_cpu(state->session) - cpu;
                tally->count += load->count;
                if (r == 0)
                        r = end_pass(state, row);
        }
        return r == 0 && count == 0 ? load_wrong(load, "none was done") : r;
}

/* Finds the row of a key like "read-4k-32". */
static const struct row *rows_find(const char *key, unsigned *depth)
{
        const char *dash = strrchr(key, '-');

        *depth = (unsigned)atoi(dash + 1);
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
                if (strlen(rows[i].key) == (size_t)(dash - key) && strncmp(rows[i].key, key, (size_t)(dash - key)) == 0)
                        return &rows[i];
        return NULL;
}

int row_measure(struct rows_state *state, const char *key, struct bench_tally *tally)
{
        struct bench_tally warming_up = {0};
        unsigned depth;
        const struct row *row = rows_find(key, &depth);
        int r = rows_measure_block(state, row, depth, block_ns() / 8, &warming_up);

        if (r == 0)
                r = rows_measure_block(state, row, depth, block_ns(), tally);
        return r < 0 ? session_failed(state->session, key, r) : 0;
}

int row_measure_alone(struct rows_state *state, const char *key, struct bench_tally *tally)
{
        struct bench_tally warming_up = {0};
        unsigned depth;
        const struct row *row = rows_find(key, &depth);

        begin_pass(state, row);

        int r = alone_measure(state, &state->alone, row->alone, depth, block_ns() / 8, &warming_up);

        if (r == 0)
                r = alone_measure(state, &state->alone, row->alone, depth, block_ns(), tally);
        if (r < 0)
                report("%s, without a back-end: %s", key, strerror(-r));
        return r < 0 ? -1 : 0;
}

/* ---- the state of the rows ---- */

static int row_find(struct rows_state *state, const char *name, uint64_t *node)
{
        struct fuse_entry_out entry;
        int r = fuse_lookup(&state->session->fuse, FUSE_ROOT_ID, name, &entry);

        *node = entry.nodeid;
        return r;
}

static int find_nodes(struct rows_state *state)
{
        struct fuse_entry_out entry;
        int r = 0;

        for (unsigned i = 0; r == 0 && i < N_NODES; i++) {
                char name[16];

                snprintf(name, sizeof(name), "%05u", i);
                r = fuse_lookup(&state->session->fuse, state->list, name, &entry);
                state->nodes[i] = entry.nodeid;
                state->inos[i] = entry.attr.ino;
        }
        return r;
}

static int open_streams(struct rows_state *state)
{
        const struct fuse_open_in in = {.flags = O_RDONLY};
        struct fuse_open_out out = {0};
        int r = 0;

        for (unsigned i = 0; r >= 0 && i < LOAD_DEPTH_MAX; i++) {
                r = fuse_call(&state->session->fuse, FUSE_OPENDIR, state->list, &in, sizeof(in), NULL, 0, &out,
                              sizeof(out));
                state->streams[i] = out.fh;
        }
        return r < 0 ? r : 0;
}

static int find_all(struct rows_state *state)
{
        struct fuse_client *fuse = &state->session->fuse;
        int r = row_find(state, "list", &state->list);

        if (r == 0)
                r = row_find(state, "new", &state->new_dir);
        if (r == 0)
                r = row_find(state, "data", &state->data);
        if (r == 0)
                r = row_find(state, "written", &state->written);
        if (r == 0)
                r = fuse_open(fuse, state->data, O_RDONLY, &state->data_handle);
        if (r == 0)
                r = fuse_open(fuse, state->written, O_RDWR, &state->written_handle);
        if (r == 0)
                r = find_nodes(state);
        return r == 0 ? open_streams(state) : r;
}

int rows_prepare(struct bench_session *session, const struct bench_place *place, struct rows_state **out)
{
        struct rows_state *state = *out = calloc(1, sizeof(*state));
        int r;

        if (!state)
                return session_failed(session, "preparing", -ENOMEM);
        state->session = session;
        state->read_size = READ_SIZE / place->scale;
        state->write_size = WRITE_SIZE / place->scale;
        state->random = 88172645463325252;
        state->looked_up = calloc(LOAD_DEPTH_MAX * (LIST_FILES + 2), sizeof(state->looked_up[0]));
        r = alone_open(&state->alone, place);
        if (r == 0)
                r = state->looked_up ? find_all(state) : -ENOMEM;
        return r < 0 ? session_failed(session, "preparing", r) : 0;
}

void rows_free(struct rows_state *state)
{
        if (!state)
                return;
        alone_close(&state->alone);
        free(state->looked_up);
        free(state);
}
