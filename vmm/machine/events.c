/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/machine/events.h"

#include "base/fd.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#define MAX_EVENTS 256

struct event_entry {
        TAILQ_ENTRY(event_entry) entry;
        struct machine_event event;
};

int events_init(struct events *events)
{
        pthread_mutex_init(&events->lock, NULL);
        TAILQ_INIT(&events->list);
        events->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        return events->fd < 0 ? -errno : 0;
}

void events_done(struct events *events)
{
        struct machine_event event;

        while (events_take(events, &event))
                ;
        fd_close(events->fd);
        pthread_mutex_destroy(&events->lock);
}

void events_put(struct events *events, const struct machine_event *event)
{
        struct event_entry *entry = malloc(sizeof(*entry));
        bool may_be_lost = event->kind == MACHINE_MAP_REFUSED || event->kind == MACHINE_UNMAP_REFUSED;

        pthread_mutex_lock(&events->lock);
        if (entry && (events->count < MAX_EVENTS || !may_be_lost)) {
                entry->event = *event;
                TAILQ_INSERT_TAIL(&events->list, entry, entry);
                events->count++;
                entry = NULL;
        }
        pthread_mutex_unlock(&events->lock);
        free(entry);
        fd_event_wake(events->fd);
}

void events_forget(struct events *events)
{
        struct event_entry *entry, *next;

        pthread_mutex_lock(&events->lock);
        for (entry = TAILQ_FIRST(&events->list); entry; entry = next) {
                next = TAILQ_NEXT(entry, entry);
                if (entry->event.device)
                        continue;
                TAILQ_REMOVE(&events->list, entry, entry);
                events->count--;
                free(entry);
        }
        pthread_mutex_unlock(&events->lock);
}

bool events_take(struct events *events, struct machine_event *out)
{
        pthread_mutex_lock(&events->lock);

        struct event_entry *entry = TAILQ_FIRST(&events->list);

        if (entry) {
                TAILQ_REMOVE(&events->list, entry, entry);
                events->count--;
        } else {
                fd_event_clear(events->fd);
        }
        pthread_mutex_unlock(&events->lock);
        if (!entry)
                return false;
        *out = entry->event;
        free(entry);
        return true;
}
