/* SPDX-License-Identifier: BSD-2-Clause */

/* oriel bench fs: for each directory it makes the files, runs every part (operations, memory, DAX, guests), and prints
 * or draws the figures. Back-ends that are compared take turns within a run, and the order changes from run to run.
 * Rows not chosen by --only have no figure: figures_find() gives NULL, which figure_sample() accepts. place_remove()
 * runs after any failure. An interrupt is a signalfd that the parts read through interrupted(). */

#include "bench/fs/fs.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "program/outfile.h"
#include "program/report.h"
#include "program/signals.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/statfs.h>
#include <unistd.h>

#define QUICK_SCALE 8

static void runs_progress(const struct bench_place *place, unsigned run, const char *what)
{
        if (isatty(STDERR_FILENO))
                fprintf(stderr, "\r%s, run %u of %u: %s\033[K", place->path, run + 1, bench_options.runs, what);
}

static void end_progress(void)
{
        if (isatty(STDERR_FILENO))
                fprintf(stderr, "\r\033[K");
}

/* ---- the rows of operations ---- */

/* At depth 1 driver and back-end never run at the same time. */
static bool share_cpu(unsigned depth)
{
        return bench_options.one_cpu || (depth == 1 && !bench_options.two_cpus);
}

static double cpu_us(const struct bench_tally *tally)
{
        return (double)tally->cpu_ns / 1e3 / (double)tally->count;
}

static int bench_fs_measure_row(struct rows_state *const *states, struct figures *figures, struct figure *speed,
                                unsigned run)
{
        struct figure *cpu = figures_find(figures, CPU, speed->key), *alone = figures_find(figures, ALONE, speed->key);
        struct bench_tally tallies[SIDES] = {0}, floor = {0};
        int sides = bench_options.peer ? SIDES : 1;

        session_share_cpu(share_cpu(speed->depth));
        for (int turn = 0; turn < ROUNDS * sides; turn++) {
                int side = (turn + (int)run) % sides;

                if (row_measure(states[side], speed->key, &tallies[side]) < 0)
                        return -1;
                if (alone && side == OWN && row_measure_alone(states[side], speed->key, &floor) < 0)
                        return -1;
        }
        for (int side = 0; side < sides; side++) {
                figure_sample(speed, side, tally_speed(&tallies[side]));
                figure_sample(cpu, side, cpu_us(&tallies[side]));
        }
        if (alone)
                figure_sample(alone, 0, cpu_us(&floor));
        if (bench_options.peer)
                figure_sample(alone, 1, cpu_us(&tallies[PEER]));
        return 0;
}

/* Both back-ends run; one sleeps while the other is measured. */
static int run_operations(const struct bench_place *place, struct figures *figures, unsigned run)
{
        struct bench_session sessions[SIDES] = {0};
        struct rows_state *states[SIDES] = {0};
        int r = 0;

        for (int side = 0; r == 0 && side < (bench_options.peer ? SIDES : 1); side++) {
                r = session_open(&sessions[side], place, side, 0);
                if (r == 0)
                        r = rows_prepare(&sessions[side], place, &states[side]);
        }
        for (unsigned i = 0; r == 0 && i < figures->n && figures->items[i].section == OPERATIONS; i++) {
                runs_progress(place, run, figures->items[i].key);
                r = interrupted(place) ? -1 : bench_fs_measure_row(states, figures, &figures->items[i], run);
        }
        for (int side = 0; side < SIDES; side++) {
                rows_free(states[side]);
                session_close(&sessions[side]);
        }
        return r;
}

/* ---- one directory ---- */

static const char *filesystem_of(const struct bench_place *place)
{
        static const struct {
                unsigned long magic;
                const char *name;
        } known[] = {
                {TMPFS_MAGIC, "tmpfs"},       {EXT4_SUPER_MAGIC, "ext4"},         {XFS_SUPER_MAGIC, "xfs"},
                {BTRFS_SUPER_MAGIC, "btrfs"}, {OVERLAYFS_SUPER_MAGIC, "overlay"},
        };
        struct statfs fs = {0};

        statfs(place->path, &fs);
        for (size_t i = 0; i < ARRAY_SIZE(known); i++)
                if (known[i].magic == (unsigned long)fs.f_type)
                        return known[i].name;
        return "unknown";
}

/* Makes the files that the selected rows need. */
static int figures_fill(const struct bench_place *place, const struct figures *figures)
{
        static const uint64_t sizes[] = {
                [OPERATIONS] = READ_SIZE, [CPU] = READ_SIZE,      [ALONE] = READ_SIZE,       [DAX_READS] = READ_SIZE,
                [DAX_TIMES] = READ_SIZE,  [DAX_SCAN] = SCAN_SIZE, [DAX_GUESTS] = GUEST_SIZE,
        };
        uint64_t size = 0;
        int r = 0;

        runs_progress(place, 0, "making files");
        for (size_t section = 0; section < ARRAY_SIZE(sizes); section++)
                if (figures_have(figures, (enum section)section) && sizes[section] > size)
                        size = sizes[section];
        if (size > 0)
                r = place_make_file(place, "data", size / place->scale);
        if (r == 0 && size > 0)
                r = place_fill_list(place);
        if (r == 0 && figures_have(figures, MEMORY))
                r = place_fill_tree(place);
        return r;
}

static void add_all(struct figures *figures)
{
        rows_add(figures);
        memory_add(figures);
        dax_add(figures);
        guests_add(figures);
}

static int measure_place(const struct bench_place *place, struct figures *figures)
{
        figures->filesystem = filesystem_of(place);
        add_all(figures);

        int r = figures_fill(place, figures);

        for (unsigned run = 0; r == 0 && run < bench_options.runs; run++) {
                if (figures_have(figures, OPERATIONS))
                        r = run_operations(place, figures, run);
                runs_progress(place, run, "memory");
                if (r == 0)
                        r = memory_run(place, figures, run);
                runs_progress(place, run, "DAX");
                if (r == 0)
                        r = dax_run(place, figures, run);
        }
        if (r == 0)
                r = guests_run(place, figures);
        end_progress();
        /* An interrupted load has not reported that. */
        if (r < 0)
                interrupted(place);
        return r;
}

/* ---- all of them ---- */

static int measure_all(struct figures *figures, const struct option_list *dirs, int interrupt_fd)
{
        int r = 0;

        for (unsigned i = 0; r == 0 && i < dirs->n; i++) {
                struct bench_place place = {.interrupt_fd = interrupt_fd,
                                            .scale = bench_options.quick ? QUICK_SCALE : 1};

                figures[i].dir = dirs->values[i];
                figures[i].only = &bench_options.only;
                r = place_make(&place, dirs->values[i]);
                if (r == 0)
                        r = measure_place(&place, &figures[i]);
                place_remove(&place);
        }
        return r;
}

/* Checks that each --only matches a row. */
static bool only_known(void)
{
        const struct option_list *only = &bench_options.only;
        _cleanup_(freep) struct figures *figures = calloc(1, sizeof(*figures));

        for (unsigned i = 0; figures && i < only->n; i++) {
                const struct option_list one = {.values = {only->values[i]}, .n = 1};

                figures->only = &one;
                figures->n = 0;
                add_all(figures);
                if (figures->n == 0) {
                        report("--only=%s: no row begins like that (see oriel bench --help)", only->values[i]);
                        return false;
                }
        }
        return true;
}

static int figures_show(const struct figures *figures, size_t n, struct outfile *svg)
{
        if (bench_options.json)
                figures_print_json(figures, n, bench_options.peer, bench_options.runs);
        else
                figures_print(figures, n);
        if (!svg->file)
                return STATUS_SUCCESS;

        int r = outfile_begin(svg);

        if (r == 0)
                figures_draw(figures, n, svg->file);
        if (r == 0 && (fflush(svg->file) != 0 || ferror(svg->file)))
                r = -EIO;
        return r < 0 ? fail("%s: %s", bench_options.svg, strerror(-r)) : STATUS_SUCCESS;
}

int bench_fs(void)
{
        const char *tmp = getenv("TMPDIR");
        struct option_list dirs = bench_options.dirs;
        _cleanup_(outfile_close) struct outfile svg = {.path = NULL};
        _cleanup_(fd_closep) int signals = -1;

        if (bench_options.peer && strspn(bench_options.peer, " ") == strlen(bench_options.peer)) {
                report("--peer: a command is needed (see oriel bench --help)");
                return STATUS_USAGE;
        }
        if (!only_known())
                return STATUS_USAGE;
        signals = signals_open();
        if (dirs.n == 0)
                dirs.values[dirs.n++] = tmp && tmp[0] ? tmp : "/tmp";

        _cleanup_(freep) struct figures *figures = calloc(dirs.n, sizeof(*figures));

        if (signals < 0 || !figures)
                return fail("the benchmark failed: %s", strerror(errno));
        if (outfile_open(&svg, bench_options.svg) || measure_all(figures, &dirs, signals) < 0)
                return STATUS_FAILURE;
        return figures_show(figures, dirs.n, &svg);
}
