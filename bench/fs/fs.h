/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BENCH_FS_FS_H
#define BENCH_FS_FS_H

#include "bench/common/bench.h"
#include "bench/common/figures.h"
#include "clients/fs/client.h"
#include "clients/fs/load.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Declarations shared by the parts of oriel bench fs. Functions that report a failure, in one line, return 0 or -1. */

#define RANGE  (UINT64_C(2) << 20) /* the unit of Linux's FUSE DAX mappings */
#define MiB(n) (UINT64_C(n) << 20)

/* Time of one measurement of a row. */
static inline int64_t block_ns(void)
{
        return bench_options.quick ? 4000000 : 100000000;
}

/* In each run, the alternatives take turns ROUNDS times, for block_ns() each. */
#define ROUNDS 3

/* Number of operations, their time, and the CPU time of the back-end for them. */
struct bench_tally {
        uint64_t count;
        int64_t ns, cpu_ns;
};

static inline double tally_speed(const struct bench_tally *tally)
{
        return (double)tally->count * 1e9 / (double)tally->ns;
}

enum { OWN, PEER, SIDES };

/* ---- the scratch directory, place.c ---- */

#define LIST_FILES 10000
#define TREE_DIRS  100
#define TREE_FILES 1000 /* in each */

struct bench_place {
        char path[256];
        int interrupt_fd; /* a signalfd */
        unsigned scale;   /* divisor of sizes */
};

/* Makes the directory, with an empty share/new in it. */
int place_make(struct bench_place *place, const char *dir);
/* Makes share/NAME, filled with data_word(); the rows of operations read READ_SIZE of "data". */
#define READ_SIZE MiB(256)
int place_make_file(const struct bench_place *place, const char *name, uint64_t size);
#define SCAN_SIZE  MiB(512)
#define GUEST_SIZE MiB(1024)
/* Opens share/NAME. -1 and errno. */
int place_open(const struct bench_place *place, const char *name, int flags);
/* Makes share/list/NNNNN, LIST_FILES empty files; share/written has WRITE_SIZE bytes for rows to write to. */
#define WRITE_SIZE MiB(64)
int place_fill_list(const struct bench_place *place);
/* Makes share/tree/NNNNN/NNNNN, empty files. */
int place_fill_tree(const struct bench_place *place);
void place_remove(struct bench_place *place);

/* The eight bytes of share/data at @offset, a multiple of 8. */
static inline uint64_t data_word(uint64_t offset)
{
        return (offset + 8) * UINT64_C(0x9e3779b97f4a7c15);
}

/* xorshift64 */
static inline uint64_t xorshift(uint64_t *random)
{
        *random ^= *random << 13;
        *random ^= *random >> 7;
        return *random ^= *random << 17;
}

/* Whether the user has asked for the end; reported once. */
bool interrupted(const struct bench_place *place);

/* ---- a back-end and its driver, session.c ---- */

#define MAX_PROCESSES 8

struct bench_session {
        const char *name; /* for messages */
        pid_t pid;
        pid_t pids[MAX_PROCESSES]; /* the back-end's, and its descendants' once it is up */
        unsigned n_pids;
        struct oriel_driver *driver;
        struct fuse_client fuse;
        struct fuse_load *load;
        uint8_t *window;
        uint64_t window_size;
        char why[256]; /* the last logged line */
};

/* Starts @side's back-end on @place's share and brings it up, with a window of @dax bytes (0: none). To be closed also
 * after a failure. */
int session_open(struct bench_session *session, const struct bench_place *place, int side, uint64_t dax);
void session_close(struct bench_session *session);

/* Whether the driver, which is this process, shares the back-ends' CPU from now on. */
void session_share_cpu(bool share);

/* The CPU time of its processes, in nanoseconds. */
int64_t session_cpu(const struct bench_session *session);

/* Resident and proportional memory in bytes, of one process and of all of a session. 0 or a negative errno. */
int process_memory(pid_t pid, uint64_t *rss, uint64_t *pss);
int session_memory(const struct bench_session *session, uint64_t *rss, uint64_t *pss);

/* Reports "X: the row: why", with @error and the load's text. Returns -1. */
int session_failed(const struct bench_session *session, const char *row, int error);

/* ---- operations, rows.c ---- */

struct rows_state; /* the state of the rows of one session */

/* LOOKUP of a file whose name is a number. */
int ask_number(struct fuse_load *load, struct load_slot *slot, uint64_t folder, unsigned number);

void rows_add(struct figures *figures);
int rows_prepare(struct bench_session *session, const struct bench_place *place, struct rows_state **out);
void rows_free(struct rows_state *state);
/* Measures the row for one block, and adds the result to @tally. */
int row_measure(struct rows_state *state, const char *key, struct bench_tally *tally);
/* Measures its system calls, made by this process: the part that no back-end can avoid. */
int row_measure_alone(struct rows_state *state, const char *key, struct bench_tally *tally);

/* ---- a window, scan.c ---- */

/* Reads a file through a window from its begin to its end, as a guest with a driver and a reader does: this thread sets
 * up ranges, a few at once, and serves the back-end; another reads them. Where the file is larger than the window,
 * ranges that were read are unmapped for others. */

struct scan_reader;

struct scan {
        struct bench_session *session;
        struct scan_reader *reader;
        uint64_t node, handle;
        uint64_t next, ranges; /* of the file */
        uint64_t turns;        /* number of the window's ranges that each slot has */
};

/* A session with oriel-fs and a window of @window bytes, for the file "data". Errors are reported. */
int scan_open(struct scan *scan, struct bench_session *session, const struct bench_place *place, uint64_t window);
/* The session remains the caller's. */
void scan_close(struct scan *scan);
/* Reads @size bytes of the file. The window holds a multiple of four ranges. 0 or a negative errno. */
int scan_file(struct scan *scan, uint64_t size);

/* Checks that @size bytes from @at on are the file's at @offset, by a word of each page. */
bool scan_read(const uint8_t *at, uint64_t offset, uint64_t size);

/* ---- the other parts ---- */

/* Each _add() adds its figures; each _run() measures the selected ones once. */
void memory_add(struct figures *figures);
int memory_run(const struct bench_place *place, struct figures *figures, unsigned run);
void dax_add(struct figures *figures);
int dax_run(const struct bench_place *place, struct figures *figures, unsigned run);
void guests_add(struct figures *figures);
int guests_run(const struct bench_place *place, struct figures *figures);

/* Reads the first @size bytes of share/data through a window of that size, and keeps all of it mapped. */
int dax_read_whole(struct bench_session *session, const struct bench_place *place, uint64_t size);

#endif
