/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/cleanup.h"
#include "base/fd.h"
#include "cli/bench_fs.h"
#include "cli/floor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

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
        static const struct load_ops ops = {ask_range, answered_range};
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

/* ---- random reads: through the window, by FUSE_READ, and of a plain mapping ---- */

static double read_random(const struct place *place, const uint8_t *data, uint64_t size)
{
        int64_t begin = now_ns(), end = begin;
        uint64_t random = 88172645463325252, count = 0;
        bool right = true;

        while (right && end < begin + block_ns() && !interrupted(place)) {
                for (int i = 0; right && i < 64; i++, count++) {
                        random ^= random << 13;
                        random ^= random >> 7;
                        random ^= random << 17;

                        uint64_t at = random % (size / PAGE) * PAGE;

                        right = read_through(data + at, at, PAGE);
                }
                end = now_ns();
        }
        return right ? (double)count * 1e9 / (double)(end - begin) : 0;
}

static double read_plain(const struct place *place, uint64_t size)
{
        char path[sizeof(place->path) + 16];

        snprintf(path, sizeof(path), "%s/share/data", place->path);

        _cleanup_(fd_closep) int fd = open(path, O_RDWR | O_CLOEXEC);
        void *data = fd < 0 ? MAP_FAILED : mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

        if (data == MAP_FAILED)
                return 0;

        double speed = read_through(data, 0, size) ? read_random(place, data, size) : 0;

        munmap(data, size);
        return speed;
}

/* The ways in which a file is read, in turns. */
struct reading {
        const struct place *place;
        struct figures *figures;
        struct rows_state *rows;
        const uint8_t *window;
        uint64_t size;
};

static int sample_speed(struct reading *reading, double speed, const char *what)
{
        if (speed > 0)
                return 0;
        if (!interrupted(reading->place))
                report("oriel-fs: dax: other bytes than the file has are read through %s", what);
        return -1;
}

static int measure_dax(struct reading *reading)
{
        double speed = read_random(reading->place, reading->window, reading->size);

        figure_sample(figures_find(reading->figures, DAX_READS, "dax-read"), 0, speed);
        figure_sample(figures_find(reading->figures, DAX_READS, "dax-read-one-cpu"), 0, speed);
        figure_sample(figures_find(reading->figures, DAX_TIMES, "dax-time"), 0, 1e9 / speed);
        return sample_speed(reading, speed, "the window");
}

static int measure_plain(struct reading *reading)
{
        double speed = read_plain(reading->place, reading->size);

        figure_sample(figures_find(reading->figures, DAX_TIMES, "dax-time"), 1, 1e9 / speed);
        return sample_speed(reading, speed, "a mapping of its own");
}

static int measure_fuse(struct reading *reading, bool share, const char *key)
{
        struct figure *figure = figures_find(reading->figures, DAX_READS, key);
        double speed, cpu_us;
        int r = 0;

        if (!figure)
                return 0;
        session_share_cpu(share);
        r = row_measure(reading->rows, "read-4k-1", &speed, &cpu_us);
        session_share_cpu(false);
        if (r == 0)
                figure_sample(figure, 1, speed);
        return r;
}

static int measure_fuse_apart(struct reading *reading)
{
        return measure_fuse(reading, false, "dax-read");
}

static int measure_fuse_together(struct reading *reading)
{
        return measure_fuse(reading, true, "dax-read-one-cpu");
}

static int run_reads(const struct place *place, struct figures *figures, unsigned run)
{
        int (*const ways[])(struct reading *) = {measure_dax, measure_plain, measure_fuse_apart, measure_fuse_together};
        struct reading reading = {place, figures, NULL, NULL, READ_SIZE / place->scale};
        struct session session;
        struct scan scan;
        int r = open_scan(&scan, &session, place, reading.size);

        if (r == 0)
                r = rows_prepare(&session, place, &reading.rows);
        /* All is mapped and touched before. */
        if (r == 0) {
                r = scan_file(&scan, reading.size);
                if (r < 0)
                        r = session_failed(&session, "dax", r);
        }
        reading.window = session.window;
        if (r == 0 && !read_through(session.window, 0, reading.size))
                r = session_failed(&session, "dax", -EIO);
        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(ways); i++)
                r = ways[run % 2 ? ARRAY_SIZE(ways) - 1 - i : i](&reading);
        rows_free(reading.rows);
        session_close(&session);
        return r;
}

/* ---- a file that is larger than the window ---- */

#define SCAN_FILE   MiB(512)
#define SCAN_WINDOW MiB(64)

static int run_scan(const struct place *place, struct figures *figures, int way)
{
        uint64_t size = SCAN_FILE / place->scale, window = way == 0 ? SCAN_WINDOW / place->scale : size;
        struct session session;
        struct scan scan;
        int r = open_scan(&scan, &session, place, window);

        if (r == 0) {
                int64_t begin = now_ns();

                r = scan_file(&scan, size);
                figure_sample(figures_find(figures, DAX_SCAN, "dax-scan"), way,
                              (double)(size >> 20) * 1e9 / (double)(now_ns() - begin));
                if (r < 0)
                        r = session_failed(&session, "dax-scan", r);
        }
        session_close(&session);
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
        for (int turn = 0; r == 0 && turn < 2 && figures_have(figures, DAX_SCAN); turn++)
                r = run_scan(place, figures, (turn + (int)run) % 2);
        return r;
}
