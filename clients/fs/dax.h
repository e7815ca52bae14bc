/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CLIENTS_FS_DAX_H
#define CLIENTS_FS_DAX_H

#include <linux/fuse.h>
#include <stdbool.h>
#include <stdint.h>

/* Which ranges of which files the window shows. A range that is not there yet is asked for, and whoever wanted it takes
 * the long way meanwhile. */
struct dax;

/* The range that a request to map asks for. */
struct dax_ask {
        uint64_t nodeid;
        uint64_t file_offset;
        uint64_t window_offset;
        uint64_t size;
        bool needed; /* false: nothing is to be asked for */
};

/* @window is the caller's. -ENOMEM. */
int dax_new(uint8_t *window, uint64_t window_size, struct dax **out);
void dax_free(struct dax *dax);

/* Where [@offset, @offset + @size) of the file is in the window, or NULL, and perhaps what to ask for. What is returned
 * lies wholly below the end of the file as it is now: nobody who remembers a size need be believed. */
uint8_t *dax_find(struct dax *dax, uint64_t nodeid, uint64_t offset, uint64_t size, struct dax_ask *ask);
/* The answer to what was asked for. */
void dax_asked(struct dax *dax, const struct dax_ask *ask, int error);
/* The kernel has let the file go. */
void dax_forget(struct dax *dax, uint64_t nodeid);

#endif
