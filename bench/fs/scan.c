/* SPDX-License-Identifier: BSD-2-Clause */

/* Reads a whole file through the window with two threads. This one is the driver: it asks for ranges, IN_FLIGHT at
 * once, and gives each that is mapped to the reader's thread, which touches every page and checks a word of it. Each
 * slot has ranges of the window of its own; before it reuses one it waits until the reader is done with it
 * (await_read()), then removes the mapping. The reader's lock covers given, given_as and the counters; pages are read
 * without it. */

#include "bench/fs/fs.h"

#include "base/cleanup.h"
#include "program/report.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>

#define PAGE      4096
#define IN_FLIGHT 4
#define UNTIMED   INT64_MAX

bool scan_read(const uint8_t *at, uint64_t offset, uint64_t size)
{
        static _Thread_local uint8_t buffer[PAGE] __attribute__((aligned(64)));

        for (uint64_t done = 0; done < size; done += PAGE) {
                uint64_t word;

                memcpy(buffer, at + done, PAGE);
                __asm__ volatile("" : : "r"(buffer) : "memory");
                memcpy(&word, buffer, sizeof(word));
                if (word != data_word(offset + done))
                        return false;
        }
        return true;
}

/* ---- the reader ---- */

struct given {
        const uint8_t *at;
        uint64_t offset;
};

struct scan_reader {
        pthread_t thread;
        pthread_mutex_t lock;
        pthread_cond_t changed;
        struct given *given; /* as many as the window has ranges */
        uint64_t *given_as;  /* for each range of the window: number of the file's range given there last, from 1 */
        uint64_t size;
        uint64_t n_given, n_read;
        bool wrong, over;
};

static void *read_given(void *userdata)
{
        struct scan_reader *reader = userdata;

        pthread_mutex_lock(&reader->lock);
        while (!reader->over) {
                if (reader->n_read == reader->n_given) {
                        pthread_cond_wait(&reader->changed, &reader->lock);
                        continue;
                }

                struct given given = reader->given[reader->n_read % reader->size];

                pthread_mutex_unlock(&reader->lock);

                bool right = scan_read(given.at, given.offset, RANGE);

                pthread_mutex_lock(&reader->lock);
                reader->wrong |= !right;
                reader->n_read++;
                pthread_cond_broadcast(&reader->changed);
        }
        pthread_mutex_unlock(&reader->lock);
        return NULL;
}

static void reader_free(struct scan_reader *reader)
{
        if (!reader)
                return;
        free(reader->given);
        free(reader->given_as);
        pthread_cond_destroy(&reader->changed);
        pthread_mutex_destroy(&reader->lock);
        free(reader);
}

DEFINE_CLEANUP(struct scan_reader *, reader_free);

static int reader_new(uint64_t ranges, struct scan_reader **out)
{
        _cleanup_(reader_freep) struct scan_reader *reader = calloc(1, sizeof(*reader));

        if (!reader)
                return -ENOMEM;
        pthread_mutex_init(&reader->lock, NULL);
        pthread_cond_init(&reader->changed, NULL);
        reader->size = ranges;
        reader->given = calloc(ranges, sizeof(*reader->given));
        reader->given_as = calloc(ranges, sizeof(*reader->given_as));
        if (!reader->given || !reader->given_as)
                return -ENOMEM;

        int r = pthread_create(&reader->thread, NULL, read_given, reader);

        if (r != 0)
                return -r;
        *out = steal(reader);
        return 0;
}

static void reader_end(struct scan_reader *reader)
{
        pthread_mutex_lock(&reader->lock);
        reader->over = true;
        pthread_cond_broadcast(&reader->changed);
        pthread_mutex_unlock(&reader->lock);
        pthread_join(reader->thread, NULL);
        reader_free(reader);
}

/* Gives the reader range @place of the window, which shows @offset of the file. */
static void window_give(struct scan *scan, uint64_t place, uint64_t offset)
{
        struct scan_reader *reader = scan->reader;

        pthread_mutex_lock(&reader->lock);
        reader->given[reader->n_given % reader->size] = (struct given){scan->session->window + place * RANGE, offset};
        reader->given_as[place] = ++reader->n_given;
        pthread_cond_broadcast(&reader->changed);
        pthread_mutex_unlock(&reader->lock);
}

/* Waits until the reader has finished with range @place, or, if that is -1, with all. False: the window showed other
 * bytes than the file has. */
static bool await_read(struct scan *scan, uint64_t place)
{
        struct scan_reader *reader = scan->reader;

        pthread_mutex_lock(&reader->lock);

        uint64_t until = place == UINT64_MAX ? reader->n_given : reader->given_as[place];

        while (reader->n_read < until)
                pthread_cond_wait(&reader->changed, &reader->lock);

        bool right = !reader->wrong;

        pthread_mutex_unlock(&reader->lock);
        return right;
}

/* ---- the driver ---- */

/* Each slot has ranges of the window of its own, so that it knows which of them is next. */
static int find_data(struct scan *scan)
{
        struct fuse_entry_out entry;
        int r = fuse_lookup(&scan->session->fuse, FUSE_ROOT_ID, "data", &entry);

        scan->node = entry.nodeid;
        return r < 0 ? r : fuse_open(&scan->session->fuse, scan->node, O_RDONLY, &scan->handle);
}

static bool window_fits(const struct scan *scan)
{
        return scan->ranges * RANGE <= scan->session->window_size;
}

/* slot->node: number of ranges so far. A file that fits is mapped at its own offsets. */
static uint64_t window_offset(const struct scan *scan, const struct load_slot *slot)
{
        if (window_fits(scan))
                return slot->at;
        return (slot->index * scan->turns + slot->node % scan->turns) * RANGE;
}

static int ask_remove(struct fuse_load *load, struct load_slot *slot)
{
        const struct scan *scan = load->userdata;
        struct {
                struct fuse_removemapping_in in;
                struct fuse_removemapping_one one;
        } __attribute__((packed)) args = {{1}, {window_offset(scan, slot), RANGE}};
        const struct load_request request = {
                .opcode = FUSE_REMOVEMAPPING,
                .node = scan->node,
                .args = &args,
        };

        return load_ask(load, slot, &request);
}

static int ask_range(struct fuse_load *load, struct load_slot *slot)
{
        struct scan *scan = load->userdata;

        if (slot->step == 0) {
                if (scan->next == scan->ranges)
                        return 1;
                slot->at = scan->next++ * RANGE;
                slot->step = window_fits(scan) || slot->node < scan->turns ? 2 : 1;
        }
        if (slot->step == 1) {
                await_read(scan, window_offset(scan, slot) / RANGE);
                return ask_remove(load, slot);
        }

        const struct fuse_setupmapping_in in = {
                .fh = scan->handle,
                .foffset = slot->at,
                .len = RANGE,
                .flags = FUSE_SETUPMAPPING_FLAG_READ,
                .moffset = window_offset(scan, slot),
        };
        const struct load_request request = {
                .opcode = FUSE_SETUPMAPPING,
                .node = scan->node,
                .args = &in,
        };

        return load_ask(load, slot, &request);
}

static int answered_range(struct fuse_load *load, struct load_slot *slot)
{
        struct scan *scan = load->userdata;

        if (slot->step++ == 1)
                return 0;
        slot->step = 0;
        window_give(scan, window_offset(scan, slot) / RANGE, slot->at);
        slot->node++;
        load->count++;
        return 0;
}

int scan_file(struct scan *scan, uint64_t size)
{
        static const struct load_ops ops = {ask_range, answered_range};
        struct bench_session *session = scan->session;

        scan->next = 0;
        scan->ranges = size / RANGE;
        scan->turns = session->window_size / RANGE / IN_FLIGHT;
        for (unsigned i = 0; i < IN_FLIGHT; i++)
                session->load->slots[i].node = 0;
        /* As in a VMM that runs the guest on one CPU, and serves devices on another. */
        session_share_cpu(true);

        int r = load_run(session->load, &ops, IN_FLIGHT, UNTIMED, scan);

        if (r == 0 && !await_read(scan, UINT64_MAX))
                r = load_wrong(session->load, "the window shows other bytes than the file has");
        session_share_cpu(false);
        return r;
}

int scan_open(struct scan *scan, struct bench_session *session, const struct bench_place *place, uint64_t window)
{
        *scan = (struct scan){.session = session};
        if (session_open(session, place, OWN, window) < 0)
                return -1;
        if (session->window_size < window) {
                report("oriel-fs: it has no window of the size that it was given");
                return -1;
        }

        int r = find_data(scan);

        if (r == 0)
                r = reader_new(session->window_size / RANGE, &scan->reader);
        return r < 0 ? session_failed(session, "dax", r) : 0;
}

void scan_close(struct scan *scan)
{
        if (scan->reader)
                reader_end(scan->reader);
        scan->reader = NULL;
}
