/* SPDX-License-Identifier: BSD-2-Clause */

/* A V4L2 device of the host. A session is an open file of it, whose ioctls are made as the guest makes them (ioctls.c).
 * One thread waits for the device, and takes buffers and events from it as long as the driver has room for them;
 * further ones stay in the kernel, which limits them, until the driver has taken the last one. After each ioctl
 * everything that it has caused is taken too, so that events come before its answer.
 *
 * Files are polled edge-triggered, since a queue without buffers is always EPOLLERR. */

#include "devices/media/proxy/state.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/syscalls.h"
#include "base/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

USES_SYSCALLS(SYSCALL_AT(openat, 0), SYSCALL(epoll_create1), SYSCALL(epoll_ctl), SYSCALL(epoll_wait),
              SYSCALL(eventfd2));

static struct proxy *proxy_of(struct media_node *node)
{
        return (struct proxy *)node;
}

/* ---- what the device tells ---- */

/* The driver has the event. If it had to wait, the kernel may have more: wakes the thread. */
static void outlet_sent(struct session_event *event)
{
        struct outlet *outlet = (struct outlet *)event;

        if (outlet->late)
                fd_event_wake(proxy_of(event->session->media->options.node)->wake_fd);
        outlet->late = false;
}

static void outlet_send(struct proxy_session *own, struct outlet *outlet, enum media_event_type type)
{
        session_event_send(&outlet->event, own->session, type);
        outlet->late = outlet->event.waiting;
}

static void take_events(struct proxy_session *own)
{
        struct outlet *outlet = &own->event;
        int r = 0;

        while (r == 0 && !outlet->event.waiting) {
                r = node_ioctl(own, VIDIOC_DQEVENT, &outlet->event.content.event.event);
                if (r == 0)
                        outlet_send(own, outlet, MEDIA_EVENT_EVENT);
        }
        if (r == -ENODEV)
                media_session_fail(own->session, r);
}

/* Takes a done buffer from the device. */
static int proxy_take_buffer(struct proxy_session *own, uint32_t type)
{
        struct proxy_stream *stream = &own->streams[type];
        struct media_event_dqbuf *content = &stream->done.event.content.dqbuf;

        memset(content, 0, sizeof(*content));
        content->buffer = (struct v4l2_buffer){.type = type, .memory = stream->memory};
        if (V4L2_TYPE_IS_MULTIPLANAR(type))
                content->buffer.length = MEDIA_MAX_PLANES;

        int r = buffer_ioctl(own, VIDIOC_DQBUF, &content->buffer, content->planes);

        if (r == 0) {
                proxy_buffer_done(own, &content->buffer, content->planes);
                outlet_send(own, &stream->done, MEDIA_EVENT_DQBUF);
        }
        return r;
}

static void take_buffers(struct proxy_session *own)
{
        for (uint32_t type = 1; type < STREAM_TYPES; type++) {
                struct proxy_stream *stream = &own->streams[type];
                int r = 0;

                while (r == 0 && stream->streaming && !stream->done.event.waiting)
                        r = proxy_take_buffer(own, type);
                /* EPIPE: the last buffer was taken. EINVAL: it does not stream any more. */
                if (r < 0 && r != -EAGAIN && r != -EPIPE && r != -EINVAL)
                        media_session_fail(own->session, r);
        }
}

static void take_all(struct proxy_session *own)
{
        if (own->session->dead)
                return;
        take_events(own);
        take_buffers(own);
}

static void take_what(struct proxy *proxy, const struct epoll_event *what)
{
        struct node_session *session;

        /* By id, because the session may have been closed meanwhile. 0: all sessions. */
        TAILQ_FOREACH(session, &proxy->node.media->sessions, entry)
        {
                if (what->data.u32 != 0 && what->data.u32 != session->id)
                        continue;
                take_all(session->handle);
                if (what->events & EPOLLHUP)
                        media_session_fail(session, -ENODEV);
        }
}

static void *proxy_run(void *userdata)
{
        struct proxy *proxy = userdata;
        struct epoll_event event;

        for (bool ending = false; !ending;) {
                if (epoll_wait(proxy->epoll_fd, &event, 1, -1) != 1)
                        continue;
                if (event.data.u32 == 0)
                        fd_event_clear(proxy->wake_fd);
                pthread_mutex_lock(&proxy->node.media->lock);
                take_what(proxy, &event);
                ending = proxy->ending;
                pthread_mutex_unlock(&proxy->node.media->lock);
        }
        return NULL;
}

/* ---- the node ---- */

static int proxy_ioctl(struct media_node *node, struct node_session *session, struct media_call *call)
{
        struct node_session *other;
        const int r = proxy_call(session->handle, call);

        TAILQ_FOREACH(other, &node->media->sessions, entry)
        take_events(other->handle);
        take_buffers(session->handle);
        return r;
}

/* Frees everything of a session except its place in the media. */
static void session_release(struct proxy_session *own)
{
        session_event_cancel(&own->event.event);
        for (uint32_t type = 1; type < STREAM_TYPES; type++)
                session_event_cancel(&own->streams[type].done.event);
        shadows_end(own, 0);
        fd_close(own->exported);
        fd_close_watched(own->proxy->epoll_fd, own->fd);
        free(own);
}

static int proxy_session_open(struct proxy *proxy, struct node_session *session)
{
        struct proxy_session *own = calloc(1, sizeof(*own));
        char name[16];

        if (!own)
                return -ENOMEM;
        snprintf(name, sizeof(name), "%d", proxy->device_fd);
        own->proxy = proxy;
        own->session = session;
        own->exported = -1;
        LIST_INIT(&own->shadows);
        own->event.event.sent = outlet_sent;
        for (uint32_t type = 1; type < STREAM_TYPES; type++)
                own->streams[type].done.event.sent = outlet_sent;
        own->fd = openat(proxy->proc_fd, name, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);

        int r = own->fd < 0 ? -errno : proxy_watch(own);

        if (r < 0)
                session_release(own);
        else
                session->handle = own;
        return r;
}

/* Starts the thread with the first session, because node->media is set by then. */
static int proxy_open(struct media_node *node, struct node_session *session)
{
        struct proxy *proxy = proxy_of(node);
        int r = proxy->thread ? 0 : thread_start(&proxy->thread, proxy_run, proxy);

        return r < 0 ? r : proxy_session_open(proxy, session);
}

static void proxy_close(struct media_node *node, struct node_session *session)
{
        session_release(session->handle);
}

static void proxy_reset(struct media_node *node)
{
}

static void proxy_free(struct media_node *node)
{
        struct proxy *proxy = proxy_of(node);

        if (proxy->thread) {
                pthread_mutex_lock(&node->media->lock);
                proxy->ending = true;
                pthread_mutex_unlock(&node->media->lock);
                fd_event_wake(proxy->wake_fd);
                pthread_join(proxy->thread, NULL);
        }
        fd_close_all((int[]){proxy->proc_fd, proxy->device_fd, proxy->epoll_fd, proxy->wake_fd}, 4);
        free(proxy);
}

static int proxy_prepare(struct proxy *proxy)
{
        struct epoll_event event = {.events = EPOLLIN};

        proxy->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        proxy->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (proxy->epoll_fd < 0 || proxy->wake_fd < 0 ||
            epoll_ctl(proxy->epoll_fd, EPOLL_CTL_ADD, proxy->wake_fd, &event) < 0)
                return -errno;
        return 0;
}

int proxy_new(int proc_fd, int device_fd, const struct media_config *config, const char *card, struct media_node **out)
{
        static const struct media_node_ops ops = {proxy_open, proxy_close, proxy_ioctl,
                                                  proxy_file, proxy_reset, proxy_free};
        struct proxy *proxy = calloc(1, sizeof(*proxy));

        if (!proxy) {
                fd_close(proc_fd);
                fd_close(device_fd);
                return -ENOMEM;
        }
        *proxy = (struct proxy){.node = {.ops = &ops, .config = *config}, .proc_fd = proc_fd, .device_fd = device_fd};
        if (card) {
                memset(proxy->node.config.card, 0, sizeof(proxy->node.config.card));
                memcpy(proxy->node.config.card, card, strnlen(card, sizeof(proxy->node.config.card)));
        }

        int r = proxy_prepare(proxy);

        if (r < 0)
                proxy_free(&proxy->node);
        else
                *out = &proxy->node;
        return r;
}
