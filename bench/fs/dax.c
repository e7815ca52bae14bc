/* SPDX-License-Identifier: BSD-2-Clause */

/* The DAX rows of oriel bench fs: reads of random pages through the window against FUSE_READ and against a plain
 * mapping of the same file, and a file that is read through a window smaller than it. The random reads share one
 * session, the two scans have one each, and all take turns. Every page read is checked, so a window that shows other
 * bytes fails the benchmark. Sessions and scans are closed after any failure, in the order scan, session. */

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "bench/fs/fs.h"
#include "program/report.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>

#define PAGE 4096

int dax_read_whole(struct bench_session *session, const struct bench_place *place, uint64_t size)
{
        struct scan scan;
        int r = scan_open(&scan, session, place, size);

        if (r == 0) {
                r = scan_file(&scan, size);
                if (r < 0)
                        r = session_failed(session, "dax-guests", r);
        }
        scan_close(&scan);
        return r;
}

/* ---- reads at random offsets: through the window, by FUSE_READ, and of a plain mapping ---- */

enum way { THROUGH_WINDOW, PLAIN, FUSE_APART, FUSE_TOGETHER, WAYS };

struct reading {
        const struct bench_place *place;
        struct rows_state *rows;
        const uint8_t *window, *plain;
        uint64_t size, random;
        struct bench_tally tallies[WAYS];
};

static int read_anywhere(struct reading *reading, const uint8_t *data, int64_t length_ns, struct bench_tally *tally)
{
        int64_t begin = now_ns(), end = begin;
        uint64_t random = reading->random;

        while (end < begin + length_ns) {
                for (int i = 0; i < 64; i++, tally->count++) {
                        uint64_t at = xorshift(&random) % (reading->size / PAGE) * PAGE;

                        if (!scan_read(data + at, at, PAGE)) {
                                report("oriel-fs: dax: other bytes than the file has at %" PRIu64, at);
                                return -1;
                        }
                }
                end = now_ns();
        }
        tally->ns += end - begin;
        return interrupted(reading->place) ? -1 : 0;
}

static int bench_dax_read_memory(struct reading *reading, const uint8_t *data, struct bench_tally *tally)
{
        struct bench_tally warming_up = {0};
        int r = read_anywhere(reading, data, block_ns() / 8, &warming_up);

        return r == 0 ? read_anywhere(reading, data, block_ns(), tally) : r;
}

static int read_by_fuse(struct reading *reading, bool share, struct bench_tally *tally)
{
        session_share_cpu(share);

        int r = row_measure(reading->rows, "read-4k-1", tally);

        session_share_cpu(false);
        return r;
}

static int measure_way(struct reading *reading, enum way way)
{
        struct bench_tally *tally = &reading->tallies[way];

        switch (way) {
        case THROUGH_WINDOW:
                return bench_dax_read_memory(reading, reading->window, tally);
        case PLAIN:
                return bench_dax_read_memory(reading, reading->plain, tally);
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

/* Maps everything, and touches it by reading. */
static int prepare_ways(struct reading *reading, struct scan *scan, int fd)
{
        void *plain = mmap(NULL, reading->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        int r = plain == MAP_FAILED ? -errno : scan_file(scan, reading->size);

        if (plain != MAP_FAILED)
                reading->plain = plain;
        if (r == 0 && !scan_read(plain, 0, reading->size))
                r = -EIO;
        reading->window = scan->session->window;
        return r < 0 ? session_failed(scan->session, "dax", r)
                     : rows_prepare(scan->session, reading->place, &reading->rows);
}

static int run_reads(const struct bench_place *place, struct figures *figures, unsigned run)
{
        struct reading reading = {.place = place, .size = READ_SIZE / place->scale, .random = 88172645463325252};
        _cleanup_(fd_closep) int fd = place_open(place, "data", O_RDWR);
        struct bench_session session;
        struct scan scan;
        int r = scan_open(&scan, &session, place, reading.size);

        if (r == 0)
                r = prepare_ways(&reading, &scan, fd);
        for (unsigned turn = 0; r == 0 && turn < ROUNDS * WAYS; turn++)
                r = measure_way(&reading, run % 2 ? WAYS - 1 - turn % WAYS : turn % WAYS);
        if (r == 0)
                sample_ways(&reading, figures);
        if (reading.plain)
                munmap((void *)(uintptr_t)reading.plain, reading.size);
        rows_free(reading.rows);
        scan_close(&scan);
        session_close(&session);
        return r;
}

/* ---- a file that is larger than the window ---- */

#define SCAN_WINDOW MiB(64)

static int measure_scan(struct scan *scan, uint64_t size, struct bench_tally *tally)
{
        int64_t begin = now_ns();
        int r = scan_file(scan, size);

        tally->ns += now_ns() - begin;
        tally->count += size >> 20;
        if (r == 0)
                r = fuse_remove_mapping(&scan->session->fuse, 0, scan->session->window_size);
        return r < 0 ? session_failed(scan->session, "dax-scan", r) : 0;
}

/* Through a window of an eighth of the file's size, and through one of its full size. */
static int run_scan(const struct bench_place *place, struct figures *figures, unsigned run)
{
        uint64_t sizes[] = {SCAN_WINDOW / place->scale, SCAN_SIZE / place->scale};
        struct bench_session sessions[2] = {0};
        struct bench_tally tallies[2] = {0};
        struct scan scans[2] = {0};
        int r = 0;

        for (int way = 0; r == 0 && way < 2; way++)
                r = scan_open(&scans[way], &sessions[way], place, sizes[way]);
        for (unsigned turn = 0; r == 0 && turn < 2 * ROUNDS; turn++)
                r = measure_scan(&scans[(turn + run) % 2], sizes[1], &tallies[(turn + run) % 2]);
        for (int way = 0; way < 2; way++) {
                if (r == 0)
                        figure_sample(figures_find(figures, DAX_SCAN, "dax-scan"), way, tally_speed(&tallies[way]));
                scan_close(&scans[way]);
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

        figures_add(figures, all, ARRAY_SIZE(all));
}

int dax_run(const struct bench_place *place, struct figures *figures, unsigned run)
{
        int r = 0;

        if (figures_have(figures, DAX_READS) || figures_have(figures, DAX_TIMES))
                r = run_reads(place, figures, run);
        if (r == 0 && figures_have(figures, DAX_SCAN))
                r = run_scan(place, figures, run);
        return r;
}
