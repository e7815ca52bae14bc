/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BENCH_FS_SCAN_H
#define BENCH_FS_SCAN_H

#include "bench/fs/fs.h"

/* A file read through a window, from its beginning to its end, as a guest does that has a driver and a reader: this
 * thread has ranges set up, a few at once, and serves the back-end; another reads what is there. Where the file is
 * larger than the window, ranges that have been read are given back for others. */

struct scan_reader;

struct scan {
        struct session *session;
        struct scan_reader *reader;
        uint64_t node, handle;
        uint64_t next, ranges; /* of the file */
        uint64_t turns;        /* ranges of the window that each slot has */
};

/* A session with oriel-fs and a window of @window bytes, for the file "data". Errors are reported. */
int scan_open(struct scan *scan, struct session *session, const struct place *place, uint64_t window);
/* The session is the caller's still. */
void scan_close(struct scan *scan);
/* Read @size of the file. The window holds a multiple of four ranges. 0 or a negative errno. */
int scan_file(struct scan *scan, uint64_t size);

/* @size bytes from @at on are there, as the file has them at @offset; a word of each page is looked at. */
bool scan_read(const uint8_t *at, uint64_t offset, uint64_t size);

#endif
