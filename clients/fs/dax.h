/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CLIENTS_FS_DAX_H
#define CLIENTS_FS_DAX_H

#include <linux/fuse.h>
#include <stdbool.h>
#include <stdint.h>

/* The ranges of files that the window shows. A range that is not mapped yet is requested, and read by FUSE_READ
 * meanwhile. */
struct dax;

/* The range of a request to map. */
struct dax_ask {
        uint64_t nodeid;
        uint64_t file_offset;
        uint64_t window_offset;
        uint64_t size;
        bool needed; /* false: no request is needed */
};

/* @window is the caller's. -ENOMEM. */
int dax_new(uint8_t *window, uint64_t window_size, struct dax **out);
void dax_free(struct dax *dax);

/* The address in the window of [@offset, @offset + @size) of the file, or NULL, and possibly a range to request. The
 * returned range lies wholly within the file's present size: the size that a client remembers is not used. */
uint8_t *dax_find(struct dax *dax, uint64_t nodeid, uint64_t offset, uint64_t size, struct dax_ask *ask);
/* The answer to the request. */
void dax_asked(struct dax *dax, const struct dax_ask *ask, int error);
/* The kernel has forgotten the file. */
void dax_forget(struct dax *dax, uint64_t nodeid);

#endif
