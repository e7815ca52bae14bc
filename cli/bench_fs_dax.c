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
#include <sys/mman.h>

/* Reading through the window of oriel-fs. */

#define PAGE      4096
#define IN_FLIGHT 4
#define UNTIMED   INT64_MAX

/* ---- a file read through a window, from its beginning to its end ---- */

/* Each slot has ranges of the window of its own, so that none is taken away before it was read. */
struct scan {
        struct session *session;
        uint64_t node, handle;
        uint64_t next, ranges; /* of the file */
        uint64_t turns;        /* ranges of the window that each slot has */
};

static int find_data(struct scan *scan)
{
        struct fuse_entry_out entry;
        int r = fuse_lookup(&scan->session->fuse, FUSE_ROOT_ID, "data", &entry);

        scan->node = entry.nodeid;
        return r < 0 ? r : fuse_open(&scan->session->fuse, scan->node, O_RDONLY, &scan->handle);
}

static bool fits(const struct scan *scan)
{
        return scan->ranges * RANGE <= scan->session->window_size;
}

/* slot->node: how many ranges it has had. What fits lies as in the file. */
static uint64_t window_offset(const struct scan *scan, const struct load_slot *slot)
{
        if (fits(scan))
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
                .args_size = sizeof(args),
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
                slot->step = fits(scan) || slot->node < scan->turns ? 2 : 1;
        }
        if (slot->step == 1)
                return ask_remove(load, slot);

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
                .args_size = sizeof(in),
        };

        return load_ask(load, slot, &request);
}

/* @size bytes from @at on are there, as the file has them at @offset; a word of each page is looked at. */
static bool read_through(const uint8_t *at, uint64_t offset, uint64_t size)
{
        static uint8_t buffer[PAGE] __attribute__((aligned(64)));

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

static int answered_range(struct fuse_load *load, struct load_slot *slot, size_t size)
{
        struct scan *scan = load->userdata;

        (void)size;
        if (slot->step++ == 1)
                return 0;
        slot->step = 0;
        if (!read_through(scan->session->window + window_offset(scan, slot), slot->at, RANGE))
                return load_wrong(load, "the window shows other bytes than the file has");
        slot->node++;
        load->count++;
        return 0;
}

/* Read @size of the file. The window holds a multiple of IN_FLIGHT ranges. */
static int scan_file(struct scan *scan, uint64_t size)
{
        static const struct load_ops ops = {ask_range, answered_range, .serving = true};
        struct session *session = scan->session;

        scan->next = 0;
        scan->ranges = size / RANGE;
        scan->turns = session->window_size / RANGE / IN_FLIGHT;
        for (unsigned i = 0; i < IN_FLIGHT; i++)
                session->load->slots[i].node = 0;
        return load_run(session->load, &ops, IN_FLIGHT, UNTIMED, scan);
}

static int open_scan(struct scan *scan, struct session *session, const struct place *place, uint64_t window)
{
        *scan = (struct scan){.session = session};
        if (session_open(session, place, OWN, window) < 0)
                return -1;
        if (session->window_size < window) {
                report("oriel-fs: it has no window of the size that it was given");
                return -1;
        }

        int r = find_data(scan);

        return r < 0 ? session_failed(session, "dax", r) : 0;
}

int dax_read_whole(struct session *session, const struct place *place, uint64_t size)
{
        struct scan scan;

        if (open_scan(&scan, session, place, size) < 0)
                return -1;

        int r = scan_file(&scan, size);

        return r < 0 ? session_failed(session, "dax-guests", r) : 0;
}

/* ---- reads anywhere: through the window, by FUSE_READ, and of a plain mapping ---- */

enum way { THROUGH_WINDOW, PLAIN, FUSE_APART, FUSE_TOGETHER, WAYS };

struct reading {
        const struct place *place;
        struct rows_state *rows;
        const uint8_t *window, *plain;
        uint64_t size, random;
        struct tally tallies[WAYS];
};

static int read_anywhere(struct reading *reading, const uint8_t *data, int64_t length_ns, struct tally *tally)
{
        int64_t begin = now_ns(), end = begin;
        uint64_t random = reading->random;

        while (end < begin + length_ns) {
                for (int i = 0; i < 64; i++, tally->count++) {
                        random ^= random << 13;
                        random ^= random >> 7;
                        random ^= random << 17;

                        uint64_t at = random % (reading->size / PAGE) * PAGE;

                        if (!read_through(data + at, at, PAGE)) {
                                report("oriel-fs: dax: other bytes than the file has at %" PRIu64, at);
                                return -1;
                        }
                }
                end = now_ns();
        }
        tally->ns += end - begin;
        return interrupted(reading->place) ? -1 : 0;
}

static int read_memory(struct reading *reading, const uint8_t *data, struct tally *tally)
{
        struct tally warming_up = {0};
        int r = read_anywhere(reading, data, block_ns() / 8, &warming_up);

        return r == 0 ? read_anywhere(reading, data, block_ns(), tally) : r;
}

static int read_by_fuse(struct reading *reading, bool share, struct tally *tally)
{
        session_share_cpu(share);

        int r = row_measure(reading->rows, "read-4k-1", tally);

        session_share_cpu(false);
        return r;
}

static int measure_way(struct reading *reading, enum way way)
{
        struct tally *tally = &reading->tallies[way];

        switch (way) {
        case THROUGH_WINDOW:
                return read_memory(reading, reading->window, tally);
        case PLAIN:
                return read_memory(reading, reading->plain, tally);
        case FUSE_APART:
        case FUSE_TOGETHER:
        default:
                return read_by_fuse(reading, way == FUSE_TOGETHER, tally);
        }
}

static void sample_ways(const struct reading *reading, struct figures *figures)
{
        double speeds[WAYS];

        for (int way = 0; way < WAYS; way++)
                speeds[way] = tally_speed(&reading->tallies[way]);
        for (int way = 0; way < 2; way++) {
                figure_sample(figures_find(figures, DAX_READS, "dax-read"), way, speeds[way ? FUSE_APART : 0]);
                figure_sample(figures_find(figures, DAX_READS, "dax-read-one-cpu"), way,
                              speeds[way ? FUSE_TOGETHER : 0]);
                figure_sample(figures_find(figures, DAX_TIMES, "dax-time"), way, 1e9 / speeds[way ? PLAIN : 0]);
        }
}

/* All is mapped, and touched by being read. */
static int prepare_ways(struct reading *reading, struct scan *scan, int fd)
{
        void *plain = mmap(NULL, reading->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        int r = plain == MAP_FAILED ? -errno : scan_file(scan, reading->size);

        if (plain != MAP_FAILED)
                reading->plain = plain;
        if (r == 0 && !read_through(plain, 0, reading->size))
                r = -EIO;
        reading->window = scan->session->window;
        return r < 0 ? session_failed(scan->session, "dax", r)
                     : rows_prepare(scan->session, reading->place, &reading->rows);
}

static int run_reads(const struct place *place, struct figures *figures, unsigned run)
{
        struct reading reading = {.place = place, .size = READ_SIZE / place->scale, .random = 88172645463325252};
        _cleanup_(fd_closep) int fd = place_open_data(place);
        struct session session;
        struct scan scan;
        int r = open_scan(&scan, &session, place, reading.size);

        if (r == 0)
                r = prepare_ways(&reading, &scan, fd);
        for (unsigned turn = 0; r == 0 && turn < ROUNDS * WAYS; turn++)
                r = measure_way(&reading, run % 2 ? WAYS - 1 - turn % WAYS : turn % WAYS);
        if (r == 0)
                sample_ways(&reading, figures);
        if (reading.plain)
                munmap((void *)(uintptr_t)reading.plain, reading.size);
        rows_free(reading.rows);
        session_close(&session);
        return r;
}

/* ---- a file that is larger than the window ---- */

#define SCAN_WINDOW MiB(64)

static int measure_scan(struct scan *scan, uint64_t size, struct tally *tally)
{
        int64_t begin = now_ns();
        int r = scan_file(scan, size);

        tally->ns += now_ns() - begin;
        tally->count += size >> 20;
        if (r == 0)
                r = fuse_remove_mapping(&scan->session->fuse, 0, scan->session->window_size);
        return r < 0 ? session_failed(scan->session, "dax-scan", r) : 0;
}

/* Through a window of an eighth of the file, and through one of its size. */
static int run_scan(const struct place *place, struct figures *figures, unsigned run)
{
        uint64_t sizes[] = {SCAN_WINDOW / place->scale, SCAN_SIZE / place->scale};
        struct session sessions[2] = {0};
        struct tally tallies[2] = {0};
        struct scan scans[2];
        int r = 0;

        for (int way = 0; r == 0 && way < 2; way++)
                r = open_scan(&scans[way], &sessions[way], place, sizes[way]);
        for (unsigned turn = 0; r == 0 && turn < 2 * ROUNDS; turn++)
                r = measure_scan(&scans[(turn + run) % 2], sizes[1], &tallies[(turn + run) % 2]);
        for (int way = 0; way < 2; way++) {
                if (r == 0)
                        figure_sample(figures_find(figures, DAX_SCAN, "dax-scan"), way, tally_speed(&tallies[way]));
                session_close(&sessions[way]);
        }
        return r;
}

/* ---- both ---- */

void dax_add(struct figures *figures)
{
        static const struct figure all[] = {
                {DAX_READS, "dax-read", "a CPU each", .bar = 20},
                {DAX_READS, "dax-read-one-cpu", "one CPU", .bar = 20},
                {DAX_TIMES, "dax-time", "", .bar = 1.1, .at_most = true},
                {DAX_SCAN, "dax-scan", "", .bar = 0.8},
        };

        for (size_t i = 0; i < ARRAY_SIZE(all); i++)
                figures_add(figures, &all[i]);
}

int dax_run(const struct place *place, struct figures *figures, unsigned run)
{
        int r = 0;

        if (figures_have(figures, DAX_READS) || figures_have(figures, DAX_TIMES))
                r = run_reads(place, figures, run);
        if (r == 0 && figures_have(figures, DAX_SCAN))
                r = run_scan(place, figures, run);
        return r;
}
