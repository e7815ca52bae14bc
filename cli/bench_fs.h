/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CLI_BENCH_FS_H
#define CLI_BENCH_FS_H

#include "base/options.h"
#include "cli/fuse_client.h"
#include "cli/fuse_load.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* oriel bench fs: what its parts share. */

#define RANGE       (UINT64_C(2) << 20) /* what Linux's FUSE DAX maps at once */
#define MAX_RUNS    25
#define MAX_FIGURES 64
#define MiB(n)      (UINT64_C(n) << 20)

/* What the command line says; cli/bench.c has the rows of it. */
struct fs_options {
        const char *peer, *svg;
        struct option_list dirs, only, own_options, peer_options;
        unsigned runs;
        bool quick, json, one_cpu;
};
extern struct fs_options fs_options;

/* The exit status. */
int bench_fs(void);

/* ---- one directory and what is measured on it ---- */

enum { OWN, PEER, SIDES };

struct place {
        char path[256]; /* the scratch directory, with share/ in it */
        int interrupt_fd;
        bool two_cpus;
        uint64_t file_size; /* of share/data: the largest that any row needs */
};

/* One figure of both sides, or of two ways: a row of the table. */
struct figure {
        const char *section, *name;
        char key[32];
        unsigned depth;
        const char *ways[SIDES]; /* heads of the columns */
        double samples[SIDES][MAX_RUNS];
        unsigned n[SIDES];
        bool at_most; /* the bar is what the ratio may not exceed, not what it has to reach */
        double bar;   /* of the first's divided by the second's; 0: none */
        char note[80];
};

struct figures {
        const char *dir, *filesystem;
        unsigned n;
        struct figure items[MAX_FIGURES];
};

void figure_add(struct figure *figure, int way, double value);
bool figure_reached(const struct figure *figure);
double figure_median(const struct figure *figure, int way);
/* 0 where there is none. */
double figure_ratio(const struct figure *figure);

void figures_print(const struct figures *all, size_t n);
void figures_print_json(const struct figures *all, size_t n);

/* ---- a back-end and the driver that has brought it up ---- */

#define MAX_PROCESSES 8

struct session {
        const char *name; /* for messages */
        int side;
        pid_t pid;
        pid_t pids[MAX_PROCESSES]; /* it, and its descendants once it is up */
        unsigned n_pids;
        struct oriel_driver *driver;
        struct fuse_client fuse;
        struct fuse_load *load;
        uint8_t *window;
        uint64_t window_size;
        char why[256]; /* the last that was logged */
};

/* Start @side's back-end on @place's share and bring it up, with a window of @dax bytes (0: none) and, if @loaded, a
 * load. Reports why not. 0 or -1. */
int session_open(struct session *session, const struct place *place, int side, uint64_t dax, bool loaded);
void session_close(struct session *session);
/* The CPU time of its processes, in nanoseconds. */
int64_t session_cpu(const struct session *session);
/* Resident and proportional memory of its processes in bytes. 0 or a negative errno. */
int session_memory(const struct session *session, uint64_t *rss, uint64_t *pss);
/* Of one process. */
int process_memory(pid_t pid, uint64_t *rss, uint64_t *pss);

/* Whether to be ended; reported once. */
bool interrupted(const struct place *place);

/* "X: the row: why", from @error and the load's words. Returns -1. */
int session_failed(const struct session *session, const char *row, int error);

/* ---- the rows of operations ---- */

size_t rows_count(void);
/* The figures of row @index: the speed and the CPU time. */
void row_figures(size_t index, struct figure *speed, struct figure *cpu);

/* What the rows of one session work on. */
struct rows_state;
int rows_prepare(struct session *session, const struct place *place, struct rows_state **out);
void rows_free(struct rows_state *state);
/* Measure row @index for a block; 0 with operations per second and the CPU time of the back-end in microseconds for
 * each, or -1 after a report. */
int row_measure(struct rows_state *state, size_t index, int64_t block_ns, double *per_second, double *cpu_us);

/* ---- the scratch directory ---- */

/* What is in the share. Each reports what fails: 0 or -1. */
#define LIST_FILES 10000 /* list/NNNNN, empty */
#define TREE_DIRS  100   /* tree/NNN/NNN, empty */
#define TREE_FILES 1000
#define WRITE_SIZE MiB(64) /* written, which rows write to */
int place_make(struct place *place, const char *dir);
int place_fill_list(const struct place *place, unsigned n);
int place_fill_data(const struct place *place, uint64_t size);
int place_fill_tree(const struct place *place, unsigned dirs, unsigned files);
void place_remove(struct place *place);
/* The eight bytes at @offset, a multiple of 8, of share/data. */
static inline uint64_t data_word(uint64_t offset)
{
        return (offset + 8) * UINT64_C(0x9e3779b97f4a7c15);
}

#endif
