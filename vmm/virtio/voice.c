/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/virtio/voice.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>

#define AT_ONCE 20u  /* lines */
#define EACH_MS 1000 /* one more */

void voice_init(struct voice *voice, const struct oriel_log *to)
{
        *voice = (struct voice){.holding = true, .lines = AT_ONCE, .refilled = now_ms()};
        if (to)
                voice->to = *to;
        pthread_mutex_init(&voice->lock, NULL);
}

void voice_done(struct voice *voice)
{
        pthread_mutex_destroy(&voice->lock);
}

/* With the lock. Whether there is room for a line, and how many were lost before it. */
static bool take_line(struct voice *voice, unsigned *lost)
{
        int64_t now = now_ms();

        while (voice->lines < AT_ONCE && now - voice->refilled >= EACH_MS) {
                voice->refilled += EACH_MS;
                voice->lines++;
        }
        if (voice->lines == AT_ONCE)
                voice->refilled = now;
        *lost = voice->lost;
        if (voice->lines == 0) {
                voice->lost++;
                return false;
        }
        voice->lines--;
        voice->lost = 0;
        return true;
}

static void device_log_write(void *userdata, enum oriel_log_level level, const char *line)
{
        struct voice *voice = userdata;
        unsigned lost = 0;
        bool say = true;

        pthread_mutex_lock(&voice->lock);
        if (level <= ORIEL_LOG_WARNING) {
                if (voice->holding)
                        snprintf(voice->held, sizeof(voice->held), "%s", line);
                say = !voice->holding && take_line(voice, &lost);
        }
        pthread_mutex_unlock(&voice->lock);
        if (say && lost > 0)
                log_warning(&voice->to, "%u lines like the next were left out", lost);
        if (say)
                log_line(&voice->to, level, "%s", line);
}

struct oriel_log voice_log(struct voice *voice)
{
        return (struct oriel_log){sizeof(struct oriel_log), device_log_write, voice, voice->to.level};
}

void voice_hush(struct voice *voice)
{
        pthread_mutex_lock(&voice->lock);
        voice->holding = true;
        pthread_mutex_unlock(&voice->lock);
}

void voice_release(struct voice *voice)
{
        pthread_mutex_lock(&voice->lock);
        voice->holding = false;
        voice->held[0] = '\0';
        pthread_mutex_unlock(&voice->lock);
}
