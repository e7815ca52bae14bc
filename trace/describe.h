/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TRACE_DESCRIBE_H
#define TRACE_DESCRIBE_H

#include <stdbool.h>
#include <stdint.h>

/* Bytes that are kept of a name. There may be hundreds of names in a message, and no file's own name is longer. */
#define DESCRIBE_NAME_MAX 255

/* What a file descriptor is, as far as its holder can tell without reading from it. */
struct description {
        const char *kind;   /* "memfd", "file", "eventfd", "socket", ... */
        const char *access; /* "read-only", "write-only", "read-write" */
        char *name;    /* a path or a name, NULL if there is none; printable, the begin of a long one is "…"; owned */
        uint64_t size; /* of files and memfds */
        bool has_size;
};

void describe_fd(int fd, struct description *description);
void description_clear(struct description *description);

#endif
