/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef PROGRAM_OUTFILE_H
#define PROGRAM_OUTFILE_H

#include <stdbool.h>
#include <stdio.h>

/* An output file that is opened early, so that the user learns at once if it can't be written, and truncated only when
 * there is something to write. */
struct outfile {
        const char *path; /* borrowed */
        FILE *file;
        bool created; /* by us, and nothing was written yet */
};

/* 0, or STATUS_FAILURE after a report. @path NULL: no file, @out stays as it is. */
int outfile_open(struct outfile *out, const char *path);
/* Truncates it, before the first write. 0 or a negative errno. */
int outfile_begin(struct outfile *out);
/* Closes it. One that was created and not begun is removed. */
void outfile_close(struct outfile *out);

/* Whether @file is the regular file at @path. */
bool is_same_file(FILE *file, const char *path);

#endif
