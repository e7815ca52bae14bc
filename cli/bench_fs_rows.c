/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/cleanup.h"
#include "base/fd.h"
#include "cli/bench_fs.h"
#include "cli/floor.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The operations that are measured, each at depth 1 and 32. */

#define N_NODES 1000 /* looked up once; GETATTR and OPEN take them in turns */
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

static struct rows_state *state_of(struct fuse_load *load)
{
        return load->userdata;
}

static void remember(struct rows_state *state, uint64_t node)
{
        state->looked_up[state->n_looked_up++] = node;
}

/* ---- LOOKUP: names that the back-end does not know; they are forgotten outside of what is timed ---- */

static int ask_lookup(struct fuse_load *load, struct load_slot *slot)
{
        struct rows_state *state = state_of(load);
        char name[16];

        if (state->next == N_NAMES)
                return 1;
        snprintf(name, sizeof(name), "%05u", N_NODES + state->next++);

        const struct load_request request = {
                .opcode = FUSE_LOOKUP,
                .node = state->list,
                .text = name,
                .answer_size = sizeof(struct fuse_entry_out),
        };

        return load_ask(load, slot, &request);
}

static int answered_lookup(struct fuse_load *load, struct load_slot *slot, size_t size)
{
        const struct fuse_entry_out *entry = load_answer(slot);

        (void)size;
        if (entry->nodeid == 0 || !S_ISREG(entry->attr.mode))
                return load_wrong(load, "LOOKUP: a file that is there was not found");
        remember(state_of(load), entry->nodeid);
        load->count++;
        return 0;
}

/* ---- GETATTR ---- */

static int ask_getattr(struct fuse_load *load, struct load_slot *slot)
{
        struct rows_state *state = state_of(load);
        const struct fuse_getattr_in in = {0};

        slot->at = state->next++ % N_NODES;

        const struct load_request request = {
                .opcode = FUSE_GETATTR,
                .node = state->nodes[slot->at],
                .args = &in,
                .args_size = sizeof(in),
                .answer_size = sizeof(struct fuse_attr_out),
        };

        return load_ask(load, slot, &request);
}

static int answered_getattr(struct fuse_load *load, struct load_slot *slot, size_t size)
{
        const struct fuse_attr_out *out = load_answer(slot);

        (void)size;
        if (out->attr.ino != state_of(load)->inos[slot->at])
                return load_wrong(load, "GETATTR: inode number %" PRIu64 ", LOOKUP said %" PRIu64, out->attr.ino,
                                  state_of(load)->inos[slot->at]);
        load->count++;
        return 0;
}

/* ---- OPEN and RELEASE ---- */

static int ask_release(struct fuse_load *load, struct load_slot *slot)
{
        const struct fuse_release_in in = {.fh = slot->handle};
        const struct load_request request = {
                .opcode = FUSE_RELEASE,
                .node = slot->node,
                .args = &in,
                .args_size = sizeof(in),
        };

        return load_ask(load, slot, &request);
}

static int ask_open(struct fuse_load *load, struct load_slot *slot)
{
        struct rows_state *state = state_of(load);
        const struct fuse_open_in in = {.flags = O_RDONLY};

        if (slot->step == 1)
                return ask_release(load, slot);
        slot->node = state->nodes[state->next++ % N_NODES];

        const struct load_request request = {
                .opcode = FUSE_OPEN,
                .node = slot->node,
                .args = &in,
                .args_size = sizeof(in),
                .answer_size = sizeof(struct fuse_open_out),
        };

        return load_ask(load, slot, &request);
}

static int answered_open(struct fuse_load *load, struct load_slot *slot, size_t size)
{
        const struct fuse_open_out *out = load_answer(slot);

        (void)size;
        if (slot->step++ == 0) {
                slot->handle = out->fh;
                return 0;
        }
        slot->step = 0;
        load->count++;
        return 0;
}

/* ---- CREATE, RELEASE, UNLINK and FORGET ---- */

static int ask_create(struct fuse_load *load, struct load_slot *slot)
{
        struct rows_state *state = state_of(load);
        const struct fuse_create_in in = {.flags = O_RDWR | O_CREAT | O_EXCL, .mode = S_IFREG | 0600, .umask = 022};
        char name[16];

        if (slot->step == 1)
                return ask_release(load, slot);
        if (slot->step == 0)
                slot->at = state->next++;
        snprintf(name, sizeof(name), "n%08" PRIx64, slot->at);

        const struct load_request create = {
                .opcode = FUSE_CREATE,
                .node = state->new_dir,
                .args = &in,
                .args_size = sizeof(in),
                .text = name,
                .answer_size = sizeof(struct fuse_entry_out) + sizeof(struct fuse_open_out),
        };
        const struct load_request unlink = {.opcode = FUSE_UNLINK, .node = state->new_dir, .text = name};

        return load_ask(load, slot, slot->step == 0 ? &create : &unlink);
}

static int answered_create(struct fuse_load *load, struct load_slot *slot, size_t size)
{
        const struct fuse_entry_out *entry = load_answer(slot);
        const struct fuse_open_out *open = (const void *)(entry + 1);

        (void)size;
        if (slot->step == 0) {
                slot->node = entry->nodeid;
                slot->handle = open->fh;
        }
        if (++slot->step < 3)
                return 0;
        slot->step = 0;
        load->count++;
        return load_forget(load, slot->node);
}

/* ---- READDIRPLUS: each slot is one that lists the whole directory; what is counted are entries ---- */

#define DIR_BUFFER (UINT32_C(32) << 10) /* what readdir(3) asks for at once */
#define AT_END     UINT64_MAX

static int ask_readdir(struct fuse_load *load, struct load_slot *slot)
{
        struct rows_state *state = state_of(load);
        const struct fuse_read_in in = {
                .fh = state->streams[slot->index],
                .offset = slot->at,
                .size = DIR_BUFFER,
        };
        const struct load_request request = {
                .opcode = FUSE_READDIRPLUS,
                .node = state->list,
                .args = &in,
                .args_size = sizeof(in),
                .take = DIR_BUFFER,
        };

        return slot->at == AT_END ? 1 : load_ask(load, slot, &request);
}

/* slot->node: how many names were there so far. */
static int take_entry(struct fuse_load *load, struct load_slot *slot, const struct fuse_direntplus *entry)
{
        slot->at = entry->dirent.off;
        if (entry->dirent.name[0] != '.') {
                if (entry->entry_out.nodeid == 0)
                        return load_wrong(load, "READDIRPLUS: an entry without a node");
                slot->node++;
                load->count++;
        }
        if (entry->entry_out.nodeid)
                remember(state_of(load), entry->entry_out.nodeid);
        return 0;
}

static int answered_readdir(struct fuse_load *load, struct load_slot *slot, size_t size)
{
        int r = 0;

        for (size_t at = 0, length; r == 0 && at < size; at += length) {
                const struct fuse_direntplus *entry = (const void *)(slot->data + at);

                if (size - at < sizeof(*entry))
                        return load_wrong(load, "READDIRPLUS: the last entry is cut");
                length = FUSE_DIRENTPLUS_SIZE(entry);
                if (length > size - at)
                        return load_wrong(load, "READDIRPLUS: an entry longer than the answer");
                r = take_entry(load, slot, entry);
        }
        if (r < 0 || size > 0)
                return r;
        if (slot->node != LIST_FILES)
                return load_wrong(load, "READDIRPLUS: %" PRIu64 " names of %d", slot->node, LIST_FILES);
        slot->at = AT_END;
        return 0;
}

/* ---- READ and WRITE ---- */

/* xorshift64 */
static uint64_t next_random(struct rows_state *state)
{
        state->random ^= state->random << 13;
        state->random ^= state->random >> 7;
        state->random ^= state->random << 17;
        return state->random;
}

static uint64_t next_offset(struct rows_state *state, uint64_t file_size)
{
        uint64_t blocks = file_size / state->size;

        return (state->sequential ? state->next++ % blocks : next_random(state) % blocks) * state->size;
}

static int ask_read(struct fuse_load *load, struct load_slot *slot)
{
        struct rows_state *state = state_of(load);

        slot->at = next_offset(state, state->read_size);

        const struct fuse_read_in in = {.fh = state->data_handle, .offset = slot->at, .size = state->size};
        const struct load_request request = {
                .opcode = FUSE_READ,
                .node = state->data,
                .args = &in,
                .args_size = sizeof(in),
                .take = state->size,
        };

        return load_ask(load, slot, &request);
}

static uint64_t word_at(const uint8_t *data, size_t at)
{
        uint64_t word;

        memcpy(&word, data + at, sizeof(word));
        return word;
}

/* The first and the last word of it are looked at. */
static int answered_read(struct fuse_load *load, struct load_slot *slot, size_t size)
{
        size_t last = state_of(load)->size - sizeof(uint64_t);

        if (size != state_of(load)->size)
                return load_wrong(load, "READ: %zu bytes of %u", size, state_of(load)->size);
        if (word_at(slot->data, 0) != data_word(slot->at) || word_at(slot->data, last) != data_word(slot->at + last))
                return load_wrong(load, "READ: other bytes at %" PRIu64 " than the file has", slot->at);
        load->count++;
        return 0;
}

static int ask_write(struct fuse_load *load, struct load_slot *slot)
{
        struct rows_state *state = state_of(load);

        slot->at = next_offset(state, state->write_size);
        state->last_at = slot->at;

        uint64_t word = data_word(slot->at) ^ state->salt;
        const struct fuse_write_in in = {.fh = state->written_handle, .offset = slot->at, .size = state->size};
        const struct load_request request = {
                .opcode = FUSE_WRITE,
                .node = state->written,
                .args = &in,
                .args_size = sizeof(in),
                .send = state->size,
                .answer_size = sizeof(struct fuse_write_out),
        };

        memcpy(slot->data, &word, sizeof(word));
        memcpy(slot->data + state->size - sizeof(word), &word, sizeof(word));
        return load_ask(load, slot, &request);
}

static int answered_write(struct fuse_load *load, struct load_slot *slot, size_t size)
{
        const struct fuse_write_out *out = load_answer(slot);

        (void)size;
        if (out->size != state_of(load)->size)
                return load_wrong(load, "WRITE: %u bytes of %u", out->size, state_of(load)->size);
        load->count++;
        return 0;
}

/* What was written last is in the file. */
static int check_written(struct rows_state *state)
{
        uint64_t words[2], expected = data_word(state->last_at) ^ state->salt;
        off_t at = (off_t)state->last_at;

        if (pread(state->written_fd, &words[0], 8, at) != 8 ||
            pread(state->written_fd, &words[1], 8, at + state->size - 8) != 8 || words[0] != expected ||
            words[1] != expected)
                return load_wrong(state->session->load, "WRITE: the file has other bytes at %" PRIu64, state->last_at);
        return 0;
}

/* ---- the rows ---- */

static const unsigned depths[] = {1, LOAD_DEPTH_MAX};

static const struct row {
        const char *key, *name;
        double bar;
        struct load_ops ops;
        uint32_t size;
        bool sequential;
} rows[] = {
        {"lookup", "LOOKUP", 1.5, {ask_lookup, answered_lookup, false}, 0, false},
        {"getattr", "GETATTR", 1.5, {ask_getattr, answered_getattr, false}, 0, false},
        {"open-release", "OPEN, RELEASE", 1.5, {ask_open, answered_open, false}, 0, false},
        {"create-unlink", "CREATE, UNLINK", 1.5, {ask_create, answered_create, false}, 0, false},
        {"readdirplus", "READDIRPLUS", 1.5, {ask_readdir, answered_readdir, false}, 0, false},
        {"read-4k", "READ 4 KiB", 1.3, {ask_read, answered_read, false}, 4 << 10, false},
        {"write-4k", "WRITE 4 KiB", 1.3, {ask_write, answered_write, false}, 4 << 10, false},
        {"read-1m", "READ 1 MiB", 1.3, {ask_read, answered_read, false}, 1 << 20, true},
        {"write-1m", "WRITE 1 MiB", 1.3, {ask_write, answered_write, false}, 1 << 20, true},
};

static void add_row(struct figures *figures, const struct row *row, unsigned depth, enum section section)
{
        struct figure figure = {
                .section = section,
                .name = row->name,
                .depth = depth,
                .bar = section == OPERATIONS ? row->bar : 0.7,
                .at_most = section == CPU,
        };

        snprintf(figure.key, sizeof(figure.key), "%s-%u", row->key, depth);
        figures_add(figures, &figure);
}

void rows_add(struct figures *figures)
{
        for (enum section section = OPERATIONS; section <= CPU; section++)
                for (size_t i = 0; i < ARRAY_SIZE(rows) * ARRAY_SIZE(depths); i++)
                        add_row(figures, &rows[i / ARRAY_SIZE(depths)], depths[i % ARRAY_SIZE(depths)], section);
}

static void begin_pass(struct rows_state *state, const struct row *row)
{
        struct fuse_load *load = state->session->load;

        state->next = 0;
        state->n_looked_up = 0;
        state->size = row->size;
        state->sequential = row->sequential;
        state->salt = next_random(state);
        for (unsigned i = 0; i < LOAD_DEPTH_MAX; i++)
                load->slots[i].at = load->slots[i].node = 0;
}

static int end_pass(struct rows_state *state, const struct row *row)
{
        if (row->ops.ask == ask_write)
                return check_written(state);
        return fuse_batch_forget(&state->session->fuse, state->looked_up, state->n_looked_up);
}

static int measure_block(struct rows_state *state, const struct row *row, unsigned depth, int64_t length_ns,
                         struct tally *tally)
{
        struct fuse_load *load = state->session->load;
        int64_t left = length_ns;
        uint64_t count = 0;
        int r = 0;

        while (r == 0 && left > 0) {
                begin_pass(state, row);

                int64_t cpu = session_cpu(state->session), begin = now_ns();

                r = load_run(load, &row->ops, depth, begin + left, state);

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

/* "read-4k-32" */
static const struct row *find_row(const char *key, unsigned *depth)
{
        const char *dash = strrchr(key, '-');

        *depth = (unsigned)atoi(dash + 1);
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
                if (strlen(rows[i].key) == (size_t)(dash - key) && strncmp(rows[i].key, key, (size_t)(dash - key)) == 0)
                        return &rows[i];
        return NULL;
}

int row_measure(struct rows_state *state, const char *key, struct tally *tally)
{
        struct tally warming_up = {0};
        unsigned depth;
        const struct row *row = find_row(key, &depth);
        int r = measure_block(state, row, depth, block_ns() / 8, &warming_up);

        if (r == 0)
                r = measure_block(state, row, depth, block_ns(), tally);
        return r < 0 ? session_failed(state->session, key, r) : 0;
}

/* ---- what they work on ---- */

static int find(struct rows_state *state, const char *name, uint64_t *node)
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
        int r = find(state, "list", &state->list);

        if (r == 0)
                r = find(state, "new", &state->new_dir);
        if (r == 0)
                r = find(state, "data", &state->data);
        if (r == 0)
                r = find(state, "written", &state->written);
        if (r == 0)
                r = fuse_open(fuse, state->data, O_RDONLY, &state->data_handle);
        if (r == 0)
                r = fuse_open(fuse, state->written, O_RDWR, &state->written_handle);
        if (r == 0)
                r = find_nodes(state);
        return r == 0 ? open_streams(state) : r;
}

int rows_prepare(struct session *session, const struct place *place, struct rows_state **out)
{
        struct rows_state *state = *out = calloc(1, sizeof(*state));
        char path[sizeof(place->path) + 16];
        int r = -ENOMEM;

        if (!state)
                return session_failed(session, "preparing", r);
        snprintf(path, sizeof(path), "%s/share/written", place->path);
        state->session = session;
        state->read_size = READ_SIZE / place->scale;
        state->write_size = WRITE_SIZE / place->scale;
        state->random = 88172645463325252;
        state->written_fd = open(path, O_RDONLY | O_CLOEXEC);
        state->looked_up = calloc(LOAD_DEPTH_MAX * (LIST_FILES + 2), sizeof(state->looked_up[0]));
        if (state->written_fd >= 0 && state->looked_up)
                r = find_all(state);
        return r < 0 ? session_failed(session, "preparing", r) : 0;
}

void rows_free(struct rows_state *state)
{
        if (!state)
                return;
        fd_close(state->written_fd);
        free(state->looked_up);
        free(state);
}
