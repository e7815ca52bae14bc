/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MEDIA_IOCTLS_H
#define MEDIA_IOCTLS_H

#include "media/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* The ioctls of V4L2 that a driver passes on to its device, in one table that both ends read. */

/* Kinds of payload, each a struct of the size that is in the code. */
enum media_payload {
        MEDIA_PLAIN,    /* no pointers */
        MEDIA_FORMAT,   /* struct v4l2_format: has pointers if its type is an overlay's */
        MEDIA_CREATE,   /* struct v4l2_create_buffers, with such a format */
        MEDIA_BUFFER,   /* struct v4l2_buffer: planes may follow, and guest memory or objects */
        MEDIA_EXPORT,   /* struct v4l2_exportbuffer: an object follows */
        MEDIA_CONTROLS, /* struct v4l2_ext_controls: controls follow, and guest memory */
};

struct media_ioctl {
        const char *name; /* "G_FMT" */
        uint32_t code;    /* VIDIOC_G_FMT: direction and size are in it */
        enum media_payload payload;
        bool changes; /* something for all: Linux keeps it from who has less priority than another */
};

/* NULL: an ioctl that is not passed on, for which the answer is ENOTTY. */
const struct media_ioctl *media_ioctl_find(uint32_t nr);
/* For each in turn, from 0 on: the next number at or after @nr that has a row, or -1. */
int media_ioctl_next(uint32_t nr);

/* How many bytes the struct has, and whether it is in the command and in the answer. */
static inline size_t media_ioctl_size(const struct media_ioctl *row)
{
        return _IOC_SIZE(row->code);
}

static inline bool media_ioctl_reads(const struct media_ioctl *row)
{
        return _IOC_DIR(row->code) & _IOC_WRITE;
}

static inline bool media_ioctl_writes(const struct media_ioctl *row)
{
        return _IOC_DIR(row->code) & _IOC_READ;
}

/* How many bytes of planes or controls follow the struct @payload, which is all there, in the command and in the
 * answer. -EINVAL: more than V4L2 has, or pointers that can't be passed on, of an overlay. */
ssize_t media_ioctl_trailer(const struct media_ioctl *row, const void *payload);

/* The sizes that lists of guest memory have to cover, which come behind the planes or controls @trailer, in order, in
 * the command alone: of userptrs, of what controls point to. Returns how many there are; @sizes has room for the most:
 * MEDIA_MAX_CONTROLS. The payload is one that media_ioctl_trailer() has found right. */
size_t media_ioctl_memory(const struct media_ioctl *row, const void *payload, const void *trailer, uint32_t *sizes);

/* How many UUIDs of virtio objects come behind planes, in the command and in the answer: of buffers of
 * V4L2_MEMORY_DMABUF, whose fields for descriptors mean nothing, one for each plane. */
size_t media_ioctl_objects(const struct media_ioctl *row, const void *payload);

#endif
