/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VMM_MACHINE_EVENTS_H
#define VMM_MACHINE_EVENTS_H

#include "vmm/machine/machine.h"

#include <pthread.h>
#include <sys/queue.h>

TAILQ_HEAD(event_list, event_entry);

/* Events of a machine, for its owner's thread. Any thread puts. A back-end that is refused without end does
 * not make the list longer without end. */
struct events {
        pthread_mutex_t lock;
        struct event_list list;
        unsigned count;
        int fd; /* an eventfd */
};

int events_init(struct events *events);
void events_done(struct events *events);
void events_put(struct events *events, const struct machine_event *event);
/* All but what is about devices. */
void events_forget(struct events *events);
bool events_take(struct events *events, struct machine_event *out);

#endif
