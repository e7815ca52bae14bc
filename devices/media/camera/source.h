/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_MEDIA_CAMERA_SOURCE_H
#define DEVICES_MEDIA_CAMERA_SOURCE_H

#include "devices/media/camera/format.h"

#include <linux/videodev2.h>
#include <sys/types.h>

/* Pictures a second. */
enum { RATE_MAX = 1000 };

/* The origin of a camera's pictures. After its creation, one thread at a time uses it. */
struct camera_source {
        const struct source_ops *ops;
        uint32_t fourcc;            /* of pictures that are passed on unchanged; 0: they are drawn in any format */
        uint32_t width, height;     /* 0: any */
        struct v4l2_fract interval; /* between two pictures; 0 / 0: any */
};

struct source_ops {
        /* Goes on to the next picture, number @number since streaming began. 1; 0: there is none yet; or a negative
         * errno. */
        int (*advance)(struct camera_source *source, uint64_t number, struct v4l2_fract interval);
        /* Draws it. Returns how many bytes of @image are used. */
        size_t (*draw)(struct camera_source *source, const struct camera_image *image, const struct color *color);
        void (*free)(struct camera_source *source);
};

/* SMPTE bars with a part that moves, and the picture's number and time in digits. */
int pattern_new(struct camera_source **out);

/* The regular file or pipe @fd, which is taken even on failure: Y4M, or the format that @format names, such as
 * "MJPG:640x480" (NULL: none). A file begins again at its end; a pipe waits for its next writer. -EINVAL: it is
 * something else; *@why says more. */
int file_source_new(int fd, const char *format, struct camera_source **out, const char **why);

#endif
