/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TRACE_DESCRIBE_H
#define TRACE_DESCRIBE_H

#include <stdbool.h>
#include <stdint.h>

/* Maximum length of a name. A message may have hundreds of names, and no single file name is longer. */
#define DESCRIBE_NAME_MAX 255

/* The kind of a file descriptor, as far as its holder can tell without reading from it. */
struct description {
        const char *kind;   /* "memfd", "file", "eventfd", "socket", ... */
        const char *access; /* "read-only", "write-only", "read-write" */
        char *name;    /* a path or a name, NULL if there is none; printable, a long one begins with "…"; owned */
        uint64_t size; /* of files and memfds */
        bool has_size;
};

void describe_fd(int fd, struct description *description);
void description_clear(struct description *description);

#endif
