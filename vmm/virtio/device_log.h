/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VMM_VIRTIO_DEVICE_LOG_H
#define VMM_VIRTIO_DEVICE_LOG_H

#include <oriel/log.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* The log of a device. A guest or a back-end can't make it write more than a few lines a second. While the device is
 * brought up for the first time it writes nothing, and keeps the last line as the reason of a failure. Any thread. */
struct device_log {
        struct oriel_log to;
        pthread_mutex_t lock;
        bool holding;
        char held[200]; /* the last line */
        int64_t refilled;
        unsigned lines, lost;
};

void device_log_init(struct device_log *device_log, const struct oriel_log *to);
void device_log_done(struct device_log *device_log);
/* A logger that is the device_log's, and as loud as what it was made of. */
struct oriel_log device_log_get(struct device_log *device_log);
/* From now on it says what it has to say. */
void device_log_release(struct device_log *device_log);
/* And from now on no more: nobody wants to know why a connection ends that is cut. */
void device_log_hush(struct device_log *device_log);

#endif
