/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef PROGRAM_OUTFILE_H
#define PROGRAM_OUTFILE_H

#include <stdbool.h>
#include <stdio.h>

/* A file that is asked for at the begin, so that the user learns early that it can't be written, and loses what is in
 * it only when there is something to write. */
struct outfile {
        const char *path; /* borrowed */
        FILE *file;
        bool created; /* by us, and nothing is in it yet */
};

/* 0, or STATUS_FAILURE and the error was reported. @path NULL: there is no such file, and @out stays as it is. */
int outfile_open(struct outfile *out, const char *path);
/* From here on it is written, and begins empty. 0 or a negative errno. */
int outfile_begin(struct outfile *out);
/* Closes it. One that was created and not begun is removed. */
void outfile_close(struct outfile *out);

/* @path is what @file is, and a regular file. */
bool is_same_file(FILE *file, const char *path);

#endif
