/* SPDX-License-Identifier: BSD-2-Clause */

/* Sync objects of a vtest client: 64-bit values that clients only let grow, and waits for them. The device does not
 * know them: it has fences, and the end of a fence writes to sync objects here. A wait is an eventfd, of which the
 * client has a duplicate. Each write and each removal of an object checks all waits of the client and signals those
 * that are over. All on the loop's thread. */

#include "base/cleanup.h"
#include "base/fd.h"
#include "cli/vtest/vtest.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

/* Limits of one client. */
enum { SYNCS_MAX = 65536, WAITS_MAX = 1024 };

static struct vtest_sync *sync_find(const struct syncs *syncs, uint32_t id)
{
        struct vtest_sync *sync;

        SLIST_FOREACH(sync, &syncs->list, entry)
        if (sync->id == id)
                return sync;
        return NULL;
}

uint32_t sync_create(struct syncs *syncs, uint64_t value)
{
        struct vtest_sync *sync = syncs->n < SYNCS_MAX ? calloc(1, sizeof(*sync)) : NULL;

        if (!sync)
                return 0;
        sync->id = ++syncs->last_id;
        sync->value = value;
        SLIST_INSERT_HEAD(&syncs->list, sync, entry);
        syncs->n++;
        return sync->id;
}

uint64_t sync_read(const struct syncs *syncs, uint32_t id)
{
        const struct vtest_sync *sync = sync_find(syncs, id);

        return sync ? sync->value : 0;
}

/* Sync objects that the client has removed count as reached. */
static bool sync_is_over(const struct syncs *syncs, const struct sync_wait *wait)
{
        unsigned reached = 0;

        for (unsigned i = 0; i < wait->n; i++) {
                const uint32_t *point = wait->points + 3 * i;
                const struct vtest_sync *sync = sync_find(syncs, point[0]);

                reached += !sync || sync->value >= vtest_value(point + 1);
        }
        return wait->any && wait->n > 0 ? reached > 0 : reached == wait->n;
}

static void end_waits(struct syncs *syncs)
{
        struct sync_wait *wait, *next;

        for (wait = SLIST_FIRST(&syncs->waits); wait; wait = next) {
                next = SLIST_NEXT(wait, entry);
                if (!sync_is_over(syncs, wait))
                        continue;
                fd_event_signal(wait->fd);
                SLIST_REMOVE(&syncs->waits, wait, sync_wait, entry);
                syncs->n_waits--;
                fd_close(wait->fd);
                free(wait);
        }
}

void sync_write(struct syncs *syncs, const uint32_t *point)
{
        struct vtest_sync *sync = sync_find(syncs, point[0]);

        if (!sync)
                return;
        sync->value = vtest_value(point + 1);
        end_waits(syncs);
}

void sync_unref(struct syncs *syncs, uint32_t id)
{
        struct vtest_sync *sync = sync_find(syncs, id);

        if (!sync)
                return;
        SLIST_REMOVE(&syncs->list, sync, vtest_sync, entry);
        syncs->n--;
        free(sync);
        end_waits(syncs);
}

/* The client keeps the time limit itself, by poll(2). A wait that it has given up ends with its points, or with the
 * client. */
int sync_wait(struct syncs *syncs, const uint32_t *words, uint32_t n)
{
        if (n < 2 || (n - 2) % 3 != 0)
                return -EINVAL;
        if (syncs->n_waits == WAITS_MAX)
                return -EMFILE;

        const size_t size = (n - 2) * sizeof(*words);
        struct sync_wait *wait = calloc(1, sizeof(*wait) + size);

        if (!wait)
                return -ENOMEM;
        wait->any = words[0] & 1;
        wait->n = (n - 2) / 3;
        memcpy(wait->points, words + 2, size);
        wait->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

        int fd = wait->fd < 0 ? -errno : fd_dup(wait->fd);

        if (fd < 0) {
                fd_close(wait->fd);
                free(wait);
                return fd;
        }
        SLIST_INSERT_HEAD(&syncs->waits, wait, entry);
        syncs->n_waits++;
        end_waits(syncs);
        return fd;
}

void syncs_free(struct syncs *syncs)
{
        while (!SLIST_EMPTY(&syncs->list))
                sync_unref(syncs, SLIST_FIRST(&syncs->list)->id);
        /* Also ends waits of a client that has no sync objects. */
        end_waits(syncs);
}
