/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/bench_fs.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "cli/floor.h"

#include <errno.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/statfs.h>
#include <unistd.h>

#define BLOCK_NS       300000000
#define QUICK_BLOCK_NS 10000000

static bool chosen(const char *key)
{
        for (unsigned i = 0; i < fs_options.only.n; i++)
                if (strncmp(key, fs_options.only.values[i], strlen(fs_options.only.values[i])) == 0)
                        return true;
        return fs_options.only.n == 0;
}

static void progress(const struct place *place, unsigned run, const char *what)
{
        if (isatty(STDERR_FILENO))
                fprintf(stderr, "\r%s, run %u of %u: %s\033[K", place->path, run + 1, fs_options.runs, what);
}

static void end_progress(void)
{
        if (isatty(STDERR_FILENO))
                fprintf(stderr, "\r\033[K");
}

/* ---- the rows of operations ---- */

/* Two figures of each row: the speed, and behind all those the CPU time. */
struct operations {
        size_t rows[MAX_FIGURES / 2];
        unsigned n;
        struct figure *speed, *cpu;
};

static void add_operations(struct figures *figures, struct operations *operations)
{
        struct figure speed[MAX_FIGURES / 2], cpu[MAX_FIGURES / 2];

        operations->n = 0;
        for (size_t i = 0; i < rows_count(); i++) {
                row_figures(i, &speed[operations->n], &cpu[operations->n]);
                operations->rows[operations->n] = i;
                operations->n += chosen(speed[operations->n].key);
        }
        operations->speed = &figures->items[figures->n];
        operations->cpu = operations->speed + operations->n;
        figures->n += 2 * operations->n;
        memcpy(operations->speed, speed, operations->n * sizeof(speed[0]));
        memcpy(operations->cpu, cpu, operations->n * sizeof(cpu[0]));
}

static int measure_row(struct rows_state *const *states, struct operations *operations, unsigned i, unsigned run)
{
        int64_t block = fs_options.quick ? QUICK_BLOCK_NS : BLOCK_NS;
        int sides = fs_options.peer ? SIDES : 1;

        for (int turn = 0; turn < sides; turn++) {
                int side = (turn + (int)run) % sides;
                double per_second, cpu_us;

                if (row_measure(states[side], operations->rows[i], block, &per_second, &cpu_us) < 0)
                        return -1;
                figure_add(&operations->speed[i], side, per_second);
                figure_add(&operations->cpu[i], side, cpu_us);
        }
        return 0;
}

/* With both back-ends running, of which one sleeps while it is the other's turn. */
static int run_operations(struct place *place, struct operations *operations, unsigned run)
{
        struct session sessions[SIDES] = {0};
        struct rows_state *states[SIDES] = {0};
        int r = 0;

        for (int side = 0; r == 0 && side < (fs_options.peer ? SIDES : 1); side++) {
                r = session_open(&sessions[side], place, side, 0, true);
                if (r == 0)
                        r = rows_prepare(&sessions[side], place, &states[side]);
        }
        for (unsigned i = 0; r == 0 && i < operations->n; i++) {
                progress(place, run, operations->speed[i].key);
                r = interrupted(place) ? -1 : measure_row(states, operations, i, run);
        }
        for (int side = 0; side < SIDES; side++) {
                rows_free(states[side]);
                session_close(&sessions[side]);
        }
        return r;
}

/* ---- one directory ---- */

static const char *filesystem_of(const struct place *place)
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

static int measure_place(struct place *place, struct figures *figures)
{
        struct operations operations;
        int r = 0;

        figures->filesystem = filesystem_of(place);
        add_operations(figures, &operations);
        progress(place, 0, "making files");
        if (operations.n > 0) {
                r = place_fill_list(place, LIST_FILES);
                if (r == 0)
                        r = place_fill_data(place, MiB(256));
        }
        for (unsigned run = 0; r == 0 && run < fs_options.runs; run++)
                if (operations.n > 0)
                        r = run_operations(place, &operations, run);
        end_progress();
        return r;
}

static int open_signals(void)
{
        sigset_t set;

        sigemptyset(&set);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGHUP);
        sigprocmask(SIG_BLOCK, &set, NULL);
        return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int measure_all(struct figures *figures, const struct option_list *dirs, int interrupt_fd)
{
        int r = 0;

        for (unsigned i = 0; r == 0 && i < dirs->n; i++) {
                struct place place = {.interrupt_fd = interrupt_fd};

                figures[i].dir = dirs->values[i];
                r = place_make(&place, dirs->values[i]);
                if (r == 0)
                        r = measure_place(&place, &figures[i]);
                place_remove(&place);
        }
        return r;
}

int bench_fs(void)
{
        const char *tmp = getenv("TMPDIR");
        struct option_list dirs = fs_options.dirs;
        _cleanup_(fd_closep) int signals = open_signals();

        if (dirs.n == 0)
                dirs.values[dirs.n++] = tmp && tmp[0] ? tmp : "/tmp";

        _cleanup_(freep) struct figures *figures = calloc(dirs.n, sizeof(*figures));

        if (signals < 0 || !figures)
                return fail("out of memory");

        int r = measure_all(figures, &dirs, signals);

        if (r < 0)
                return STATUS_FAILURE;
        if (fs_options.json)
                figures_print_json(figures, dirs.n);
        else
                figures_print(figures, dirs.n);
        return STATUS_SUCCESS;
}
