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
        bool changes; /* state of all sessions: Linux refuses that to sessions of lower priority than another */
};

/* NULL: an ioctl that is not passed on, for which the answer is ENOTTY. */
const struct media_ioctl *media_ioctl_find(uint32_t nr);
/* The next number at or after @nr that has a row, or -1. Called from 0 on, it visits all rows. */
int media_ioctl_next(uint32_t nr);

/* The size of the struct, and whether it is in the command and in the answer. */
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

/* How many bytes of planes or controls follow the struct @payload, which is complete, in the command and in the
 * answer. -EINVAL: more than V4L2 allows, or the pointers of an overlay, which can't be passed on. */
ssize_t media_ioctl_trailer(const struct media_ioctl *row, const void *payload);

/* Sets @sizes to the bytes that each list of guest memory has to cover: for userptrs, and for what controls point
 * to. The lists follow the planes or controls @trailer in this order, in the command only. Returns how many there
 * are; @sizes has room for MEDIA_MAX_CONTROLS, the most. media_ioctl_trailer() has accepted the payload. */
size_t media_ioctl_memory(const struct media_ioctl *row, const void *payload, const void *trailer, uint32_t *sizes);

/* How many UUIDs of virtio objects follow the planes, in the command and in the answer: one for each plane of a
 * buffer of V4L2_MEMORY_DMABUF, whose fields for descriptors are ignored, and one for EXPBUF. */
size_t media_ioctl_objects(const struct media_ioctl *row, const void *payload);

#endif
