/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_SHARE_H
#define GUEST_SHARE_H

#include "fuse.h"

/* A shared directory: its device, a session, and the window. */
struct share {
        struct virtio device;
        struct fuse fuse;
        struct fuse_init_out init;
        struct area window;
};

/* The size that Linux maps at once. */
#define RANGE (UINT64_C(2) << 20)
#define PAGE  UINT64_C(4096)

/* The features that are negotiated: with the word "packed" packed rings. */
uint64_t share_features(void);
/* The device with this tag, up to the answer to FUSE_INIT. Each step is needed. */
void share_start(struct share *share, const char *tag);
/* The same for a device that has been found, again. False: it does not answer as it should. */
bool share_begin(struct share *share);
/* A name's node. Needed. */
uint64_t share_lookup(struct share *share, const char *name, uint64_t *size);
/* Map @size bytes of a file; and unmap. As fuse_setup() and fuse_remove(). */
int share_map(struct share *share, uint64_t node, uint64_t file_offset, uint64_t window_offset, uint64_t size,
              bool writable);
int share_unmap(struct share *share, uint64_t window_offset, uint64_t size);
/* How many boots there were before this one: the host has made the file "boots", a digit. */
unsigned share_count_boot(struct share *share);

/* The content with which the host has filled files: a known function of the place, and of the file. */
static inline uint32_t content_word(uint32_t seed, uint64_t index)
{
        return ((uint32_t)index + seed) * 2654435761u;
}

static inline uint8_t content_byte(uint32_t seed, uint64_t offset)
{
        return (uint8_t)(content_word(seed, offset / 4) >> offset % 4 * 8);
}

/* How many of @size bytes at @address are the file's from @offset on; all of them if that is @size. */
uint64_t content_matches(uint64_t address, uint32_t seed, uint64_t offset, uint64_t size);
/* Whether all are zeros. */
bool content_is_zero(uint64_t address, uint64_t size);
void content_fill(uint64_t address, uint32_t seed, uint64_t offset, uint64_t size);

#endif
