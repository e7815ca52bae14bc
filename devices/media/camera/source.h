/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_MEDIA_CAMERA_SOURCE_H
#define DEVICES_MEDIA_CAMERA_SOURCE_H

#include "devices/media/camera/format.h"

#include <linux/videodev2.h>
#include <sys/types.h>

/* Pictures a second. */
enum { RATE_MAX = 1000 };

/* The origin of a camera's pictures. After it is made, it belongs to one thread. */
struct source {
        const struct source_ops *ops;
        uint32_t fourcc;            /* of pictures that are passed on as they are; 0: any that is drawn */
        uint32_t width, height;     /* 0: any */
        struct v4l2_fract interval; /* between two; 0 / 0: any */
};

struct source_ops {
        /* Go on to the next picture, which is number @number since streaming began. 1, or 0: there is none yet; or a
         * negative errno. */
        int (*advance)(struct source *source, uint64_t number, struct v4l2_fract interval);
        /* Draw it. Returns how many bytes of @image are used. */
        size_t (*draw)(struct source *source, const struct image *image, const struct color *color);
        void (*free)(struct source *source);
};

/* Bars as of SMPTE, with a part that moves, and the number and the time of the picture in digits. */
int pattern_new(struct source **out);

/* The regular file or pipe @fd, which is taken even on failure: Y4M, or what @format says, such as "MJPG:640x480"
 * (NULL: nothing). A file begins anew at its end; a pipe waits for the next who writes. -EINVAL: it is not what it is
 * to be; *@why says more. */
int file_source_new(int fd, const char *format, struct source **out, const char **why);

#endif
