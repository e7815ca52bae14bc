/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_MEDIA_CAMERA_STATE_H
#define DEVICES_MEDIA_CAMERA_STATE_H

#include "devices/media/camera/camera.h"
#include "devices/media/core/control.h"
#include "devices/media/core/queue.h"

/* Shared by the files of the camera. */

struct camera {
        struct media_node node;
        struct camera_source *source;
        struct media_queue queue;
        struct media_controls controls;
        const struct format *format;
        uint32_t width, height;
        unsigned fps; /* 0: the driver's choice */
        struct v4l2_fract interval;

        pthread_t thread;
        pthread_cond_t changed; /* signalled when a stream starts or the thread is to end */
        bool ending;
        int64_t begin_ns; /* of the stream */
        uint64_t number;  /* of the next picture */
        uint8_t *beside;  /* memory for one picture; NULL: it is drawn in place */
};

/* ioctls.c: the choices by index: NULL and false where there are no more. */
const struct format *camera_format(const struct camera *camera, uint32_t index);
bool camera_size(const struct camera *camera, uint32_t index, struct v4l2_frmsize_discrete *out);
bool camera_interval(const struct camera *camera, uint32_t index, struct v4l2_fract *out);
/* An ioctl that is neither the queue's nor the controls'. With the lock held. */
int camera_own_ioctl(struct camera *camera, struct media_call *call);

#endif
