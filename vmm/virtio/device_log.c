/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/virtio/device_log.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>

#define AT_ONCE 20u  /* lines */
#define EACH_MS 1000 /* one more */

void device_log_init(struct device_log *device_log, const struct oriel_log *to)
{
        *device_log = (struct device_log){.holding = true, .lines = AT_ONCE, .refilled = now_ms()};
        if (to)
                device_log->to = *to;
        pthread_mutex_init(&device_log->lock, NULL);
}

void device_log_done(struct device_log *device_log)
{
        pthread_mutex_destroy(&device_log->lock);
}

/* With the lock. Whether there is room for a line, and how many were lost before it. */
static bool take_line(struct device_log *device_log, unsigned *lost)
{
        int64_t now = now_ms();

        while (device_log->lines < AT_ONCE && now - device_log->refilled >= EACH_MS) {
                device_log->refilled += EACH_MS;
                device_log->lines++;
        }
        if (device_log->lines == AT_ONCE)
                device_log->refilled = now;
        *lost = device_log->lost;
        if (device_log->lines == 0) {
                device_log->lost++;
                return false;
        }
        device_log->lines--;
        device_log->lost = 0;
        return true;
}

static void device_log_write(void *userdata, enum oriel_log_level level, const char *line)
{
        struct device_log *device_log = userdata;
        unsigned lost = 0;
        bool say = true;

        pthread_mutex_lock(&device_log->lock);
        if (level <= ORIEL_LOG_WARNING) {
                if (device_log->holding)
                        snprintf(device_log->held, sizeof(device_log->held), "%s", line);
                say = !device_log->holding && take_line(device_log, &lost);
        }
        pthread_mutex_unlock(&device_log->lock);
        if (say && lost > 0)
                log_warning(&device_log->to, "%u lines like the next were left out", lost);
        if (say)
                log_line(&device_log->to, level, "%s", line);
}

struct oriel_log device_log_get(struct device_log *device_log)
{
        return (struct oriel_log){sizeof(struct oriel_log), device_log_write, device_log, device_log->to.level};
}

void device_log_hush(struct device_log *device_log)
{
        pthread_mutex_lock(&device_log->lock);
        device_log->holding = true;
        pthread_mutex_unlock(&device_log->lock);
}

void device_log_release(struct device_log *device_log)
{
        pthread_mutex_lock(&device_log->lock);
        device_log->holding = false;
        device_log->held[0] = '\0';
        pthread_mutex_unlock(&device_log->lock);
}
