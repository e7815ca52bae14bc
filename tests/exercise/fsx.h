/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef EXERCISE_FSX_H
#define EXERCISE_FSX_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* A file, and what should be in it. */
struct file {
        char path[PATH_MAX];
        char host[PATH_MAX]; /* the same, not through the mount; "": unknown */
        int fd;              /* open for reading and writing */
        uint8_t *bytes;      /* the model; zeros behind @size */
        size_t size;
        uint8_t *kept; /* a shared mapping of all it can become, which stays, or NULL */
};

/* The state that an operation may find. */
struct run {
        struct file files[2]; /* the second for copies, and less often used */
        size_t max;           /* no file becomes longer */
        bool use_mmap;
        bool host_changes; /* the host may change a file, and the mount is to see it soon */
};

enum when { ALWAYS, WITH_MMAP, WITH_HOST };

struct operation {
        const char *name;
        unsigned weight;
        enum when when; /* or else it is left out */
        /* Do it to @file, and to its model. 0, or an errno of an operation that this file system need not have. */
        int (*act)(struct run *run, struct file *file);
};

/* fsx_contents.c, fsx_space.c, fsx_names.c: each ends with a row that has no name. */
extern const struct operation contents_operations[];
extern const struct operation space_operations[];
extern const struct operation names_operations[];

/* ---- fsx.c ---- */

/* One of 0 ... @below - 1; 0 if @below is 0. */
uint64_t chance(uint64_t below);
/* One of @of times, by the seed. */
bool one_in(unsigned of);
/* Notes the operation that is going on, for the message should it fail. */
void __attribute__((format(printf, 1, 2))) note(const char *format, ...);
/* Tell what is wrong, the seed, and what was done last; and end. */
void __attribute__((noreturn, format(printf, 1, 2))) fail(const char *format, ...);

/* ---- fsx_model.c ---- */

/* A part that need not lie in the file, and is seldom empty. Sometimes it consists of whole pages. */
struct part {
        size_t offset, size;
};
struct part any_part(const struct run *run);
/* A part of what is there, perhaps empty. */
struct part part_within(const struct file *file);
void random_bytes(uint8_t *bytes, size_t size);

void file_open(struct file *file, int flags);
void file_close(struct file *file);
/* If it is not there yet. false: this file system has no shared mappings. */
bool keep_mapping(const struct run *run, struct file *file);
void drop_mapping(const struct run *run, struct file *file);

/* Apply to the model the operation that was done to its file. */
void model_write(struct file *file, size_t offset, const uint8_t *bytes, size_t size);
void model_resize(struct file *file, size_t size);

/* A mismatch ends the program. */
void check_bytes(const struct file *file, const char *by, size_t offset, const uint8_t *found, size_t size);
void check_part(const struct file *file, size_t offset, size_t size);
void check_size(const struct file *file);
void check_all(const struct file *file);
/* After the file was synced. */
void check_host(const struct file *file);

#endif
