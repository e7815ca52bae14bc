/* SPDX-License-Identifier: BSD-2-Clause */

/* The FUSE operations that oriel bench fs measures, each a struct load_ops: ask() sends the next request of a slot and
 * returns 1 when there is no more to ask, answered() checks the answer and counts it. slot->step tells which request
 * of a sequence (OPEN, RELEASE) is next. Slots are answered in any order, so what a request needs later is in its
 * slot; what is taken in turns is in struct rows_state. One thread. */

#include "bench/fs/rows.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static struct rows_state *state_of(struct fuse_load *load)
{
        return load->userdata;
}

static void handle_remember(struct rows_state *state, uint64_t node)
{
        state->looked_up[state->n_looked_up++] = node;
}

/* ---- LOOKUP of names that the back-end does not know; they are forgotten outside of the measured time ---- */

int ask_number(struct fuse_load *load, struct load_slot *slot, uint64_t folder, unsigned number)
{
        char name[16];

        snprintf(name, sizeof(name), "%05u", number);

        const struct load_request request = {.opcode = FUSE_LOOKUP, .node = folder, .text = name};

        return load_ask(load, slot, &request);
}

static int ask_lookup(struct fuse_load *load, struct load_slot *slot)
{
        struct rows_state *state = state_of(load);

        return state->next == N_NAMES ? 1 : ask_number(load, slot, state->list, N_NODES + state->next++);
}

static int answered_lookup(struct fuse_load *load, struct load_slot *slot)
{
        const struct fuse_entry_out *entry = load_answer(slot);

        if (entry->nodeid == 0 || !S_ISREG(entry->attr.mode))
                return load_wrong(load, "LOOKUP: a file that is there was not found");
        handle_remember(state_of(load), entry->nodeid);
        load->count++;
        return 0;
}

const struct load_ops op_lookup = {.ask = ask_lookup, .answered = answered_lookup};

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
        };

        return load_ask(load, slot, &request);
}

static int answered_getattr(struct fuse_load *load, struct load_slot *slot)
{
        const struct fuse_attr_out *out = load_answer(slot);

        if (out->attr.ino != state_of(load)->inos[slot->at])
                return load_wrong(load, "GETATTR: inode number %" PRIu64 ", LOOKUP said %" PRIu64, out->attr.ino,
                                  state_of(load)->inos[slot->at]);
        load->count++;
        return 0;
}

const struct load_ops op_getattr = {.ask = ask_getattr, .answered = answered_getattr};

/* ---- OPEN and RELEASE ---- */

static int ask_release(struct fuse_load *load, struct load_slot *slot)
{
        const struct fuse_release_in in = {.fh = slot->handle};
        const struct load_request request = {
                .opcode = FUSE_RELEASE,
                .node = slot->node,
                .args = &in,
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
        };

        return load_ask(load, slot, &request);
}

static int answered_open(struct fuse_load *load, struct load_slot *slot)
{
        const struct fuse_open_out *out = load_answer(slot);

        if (slot->step++ == 0) {
                slot->handle = out->fh;
                return 0;
        }
        slot->step = 0;
        load->count++;
        return 0;
}

const struct load_ops op_open = {.ask = ask_open, .answered = answered_open};

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
                .text = name,
        };
        const struct load_request unlink = {.opcode = FUSE_UNLINK, .node = state->new_dir, .text = name};

        return load_ask(load, slot, slot->step == 0 ? &create : &unlink);
}

static int answered_create(struct fuse_load *load, struct load_slot *slot)
{
        const struct fuse_entry_out *entry = load_answer(slot);
        const struct fuse_open_out *open = (const void *)(entry + 1);

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

const struct load_ops op_create = {.ask = ask_create, .answered = answered_create};

/* ---- READDIRPLUS: each slot lists the whole directory; entries are counted ---- */

#define DIR_BUFFER (UINT32_C(32) << 10) /* the size that readdir(3) asks for */
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
                .take = DIR_BUFFER,
        };

        return slot->at == AT_END ? 1 : load_ask(load, slot, &request);
}

/* slot->node: number of names so far. */
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
                handle_remember(state_of(load), entry->entry_out.nodeid);
        return 0;
}

static int answered_readdir(struct fuse_load *load, struct load_slot *slot)
{
        int r = 0;

        for (size_t at = 0, length; r == 0 && at < slot->size; at += length) {
                const struct fuse_direntplus *entry = (const void *)(slot->data + at);

                if (slot->size - at < sizeof(*entry))
                        return load_wrong(load, "READDIRPLUS: the last entry is cut");
                length = FUSE_DIRENTPLUS_SIZE(entry);
                if (length > slot->size - at)
                        return load_wrong(load, "READDIRPLUS: an entry longer than the answer");
                r = take_entry(load, slot, entry);
        }
        if (r < 0 || slot->size > 0)
                return r;
        if (slot->node != LIST_FILES)
                return load_wrong(load, "READDIRPLUS: %" PRIu64 " names of %d", slot->node, LIST_FILES);
        slot->at = AT_END;
        return 0;
}

const struct load_ops op_readdir = {.ask = ask_readdir, .answered = answered_readdir};

/* ---- READ and WRITE ---- */

uint64_t next_offset(struct rows_state *state, uint64_t file_size)
{
        uint64_t blocks = file_size / state->size;

        return (state->sequential ? state->next++ % blocks : xorshift(&state->random) % blocks) * state->size;
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

/* Checks the first and the last word. */
static int answered_read(struct fuse_load *load, struct load_slot *slot)
{
        size_t last = state_of(load)->size - sizeof(uint64_t);

        if (slot->size != state_of(load)->size)
                return load_wrong(load, "READ: %zu bytes of %u", slot->size, state_of(load)->size);
        if (word_at(slot->data, 0) != data_word(slot->at) || word_at(slot->data, last) != data_word(slot->at + last))
                return load_wrong(load, "READ: other bytes at %" PRIu64 " than the file has", slot->at);
        load->count++;
        return 0;
}

const struct load_ops op_read = {.ask = ask_read, .answered = answered_read};

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
                .send = state->size,
        };

        memcpy(slot->data, &word, sizeof(word));
        memcpy(slot->data + state->size - sizeof(word), &word, sizeof(word));
        return load_ask(load, slot, &request);
}

static int answered_write(struct fuse_load *load, struct load_slot *slot)
{
        const struct fuse_write_out *out = load_answer(slot);

        if (out->size != state_of(load)->size)
                return load_wrong(load, "WRITE: %u bytes of %u", out->size, state_of(load)->size);
        load->count++;
        return 0;
}

const struct load_ops op_write = {.ask = ask_write, .answered = answered_write};
