/* SPDX-License-Identifier: BSD-2-Clause */

/* Events (VIRTIO 1.4, 5.22.6.2). Each is sent at once if the driver has a buffer for it and no other event waits;
 * otherwise it waits, in order. None is lost. An event that a command causes is sent while the command is handled, so
 * that it is in its queue before the answer is in the other.
 *
 * Subscriptions are as in Linux, with one pending event each: an event that the driver has not read yet is replaced
 * by the next one of its kind, which keeps its flags of changes. */

#include "devices/media/core/state.h"

#include "base/cleanup.h"
#include "base/clock.h"

#include <errno.h>

#define NS INT64_C(1000000000)

static const size_t event_sizes[] = {
        [MEDIA_EVENT_ERROR] = sizeof(struct media_event_error),
        [MEDIA_EVENT_DQBUF] = sizeof(struct media_event_dqbuf),
        [MEDIA_EVENT_EVENT] = sizeof(struct media_event_event),
};

static bool event_deliver(struct media *media, struct session_event *event)
{
        const uint32_t type = event->content.header.event;

        if (type == MEDIA_EVENT_EVENT)
                event->content.event.event.sequence = event->session->sequence;
        if (!media->options.ops->event(media->options.userdata, &event->content, event_sizes[type]))
                return false;
        event->session->sequence += type == MEDIA_EVENT_EVENT;
        if (event->sent)
                event->sent(event);
        return true;
}

static void events_flush(struct media *media)
{
        struct session_event *event;

        while ((event = TAILQ_FIRST(&media->waiting)) && event_deliver(media, event))
                session_event_cancel(event);
}

void media_flush(struct media *media)
{
        pthread_mutex_lock(&media->lock);
        events_flush(media);
        pthread_mutex_unlock(&media->lock);
}

void session_event_send(struct session_event *event, struct node_session *session, enum media_event_type type)
{
        struct media *media = session->media;

        event->session = session;
        event->content.header = (struct media_event_header){type, session->id};
        if (!event->waiting) {
                TAILQ_INSERT_TAIL(&media->waiting, event, entry);
                event->waiting = true;
        }
        events_flush(media);
}

void session_event_cancel(struct session_event *event)
{
        if (event->waiting)
                TAILQ_REMOVE(&event->session->media->waiting, event, entry);
        event->waiting = false;
}

void media_session_fail(struct node_session *session, int error)
{
        if (session->dead)
                return;
        session->dead = true;
        session->error.content.error.error = (uint32_t)-error;
        session_event_send(&session->error, session, MEDIA_EVENT_ERROR);
}

/* ---- subscriptions ---- */

static void subscription_end(struct node_session *session, struct media_subscription *subscription)
{
        session_event_cancel(&subscription->event);
        TAILQ_REMOVE(&session->subscriptions, subscription, entry);
        free(subscription);
}

void session_events_end(struct node_session *session)
{
        session_event_cancel(&session->error);
        while (!TAILQ_EMPTY(&session->subscriptions))
                subscription_end(session, TAILQ_FIRST(&session->subscriptions));
}

struct media_subscription *media_subscription_find(struct node_session *session, uint32_t type, uint32_t id)
{
        struct media_subscription *subscription;

        TAILQ_FOREACH(subscription, &session->subscriptions, entry)
        if (subscription->type == type && subscription->id == id)
                return subscription;
        return NULL;
}

int media_subscribe(struct node_session *session, const struct v4l2_event_subscription *wanted,
                    struct media_subscription **out)
{
        *out = NULL;
        if (media_subscription_find(session, wanted->type, wanted->id))
                return 0;

        struct media_subscription *subscription = calloc(1, sizeof(*subscription));

        if (!subscription)
                return -ENOMEM;
        subscription->type = wanted->type;
        subscription->id = wanted->id;
        subscription->flags = wanted->flags;
        TAILQ_INSERT_TAIL(&session->subscriptions, subscription, entry);
        *out = subscription;
        return 0;
}

int media_unsubscribe(struct node_session *session, const struct v4l2_event_subscription *unwanted)
{
        struct media_subscription *subscription = media_subscription_find(session, unwanted->type, unwanted->id);

        if (subscription)
                subscription_end(session, subscription);
        while (unwanted->type == V4L2_EVENT_ALL && !TAILQ_EMPTY(&session->subscriptions))
                subscription_end(session, TAILQ_FIRST(&session->subscriptions));
        return 0;
}

void media_subscription_raise(struct node_session *session, struct media_subscription *subscription,
                              const struct v4l2_event *event)
{
        struct v4l2_event *content = &subscription->event.content.event.event;
        const uint32_t changes = subscription->event.waiting ? content->u.ctrl.changes : 0;
        const int64_t now = now_ns();

        *content = *event;
        content->timestamp = (struct timespec){now / NS, now % NS};
        if (event->type == V4L2_EVENT_CTRL)
                content->u.ctrl.changes |= changes;
        session_event_send(&subscription->event, session, MEDIA_EVENT_EVENT);
}
