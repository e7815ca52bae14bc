/* SPDX-License-Identifier: BSD-2-Clause */

/* A front-end from oriel_frontend_new() to oriel_frontend_free(), its connection, and the dispatch that its owner's
 * loop calls on one thread. An epoll has both channels, an eventfd for deferred events that were left over, and a timer
 * for calls that do not wait. The end
 * of the connection resets all that was negotiated and unmaps the regions, or makes their mappings orphans. Freed from
 * within a callback, it is only disconnected at once; the outermost call frees it (end_call()). Calls are in call.c,
 * what they say in requests.c and negotiate.c, and the back-end's requests in served.c. */

#include "frontend/frontend.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/struct.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

DEFINE_CLEANUP(struct oriel_frontend *, oriel_frontend_free);

/* Copies the caller's options and functions, and checks them. */
static int frontend_take_options(struct oriel_frontend_options *options, struct oriel_frontend_ops *ops,
                                 struct oriel_log *log, const struct oriel_frontend_options *from)
{
        int r = STRUCT_TAKE(options, from, ORIEL_FRONTEND_OPTIONS_LEAST);

        if (r == 0)
                r = log_take(log, options->log);
        if (r == 0 && options->timeout_ms < 0) {
                log_error(log, "a front-end can't be made: timeout_ms is below 0");
                return -EINVAL;
        }
        if (r == 0 && options->ops) {
                r = STRUCT_TAKE(ops, options->ops, ORIEL_FRONTEND_OPS_LEAST);
                if (r < 0)
                        log_error(log, "a front-end can't be made: ops: its struct_size is no version's");
        }
        return r;
}

int oriel_frontend_new(const struct oriel_frontend_options *from, struct oriel_frontend **out)
{
        struct oriel_frontend_options options;
        struct oriel_frontend_ops ops = {0};
        struct oriel_log log;

        if (!out)
                return -EINVAL;
        *out = NULL;

        int r = frontend_take_options(&options, &ops, &log, from);

        if (r < 0)
                return r;

        _cleanup_(oriel_frontend_freep) struct oriel_frontend *frontend = calloc(1, sizeof(*frontend));

        if (!frontend)
                return -ENOMEM;
        fd_event_prepare(&log);
        TAILQ_INIT(&frontend->deferred_events);
        frontend->ops = ops;
        frontend->log = log;
        frontend->userdata = options.userdata;
        frontend->timeout_ms = options.timeout_ms ? options.timeout_ms : 5000;
        frontend->dialect = options.dialect;
        frontend->keep_mappings = options.keep_mappings;
        frontend->main.fd = frontend->back.fd = frontend->timer_fd = frontend->back_peer_fd = -1;
        frontend->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        frontend->more_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (frontend->epoll_fd < 0 || frontend->more_fd < 0)
                return -errno;

        r = frontend_watch(frontend, frontend->more_fd, NULL);
        if (r < 0)
                return r;
        *out = steal(frontend);
        return 0;
}

void oriel_frontend_free(struct oriel_frontend *frontend)
{
        if (!frontend)
                return;
        drop_connection(frontend);
        if (frontend->depth > 0) {
                frontend->free_wanted = true;
                return;
        }
        fd_close(frontend->epoll_fd);
        fd_close(frontend->more_fd);
        fd_close(frontend->timer_fd);
        free(frontend);
}

int end_call(struct oriel_frontend *frontend, int r)
{
        if (frontend->depth > 0 || !frontend->free_wanted)
                return r;
        oriel_frontend_free(frontend);
        return -ECANCELED;
}

int oriel_frontend_attach(struct oriel_frontend *frontend, int fd)
{
        int r = fd_check(fd);

        if (r < 0)
                return r;
        if (frontend->main.fd >= 0) {
                fd_close(fd);
                return -EBUSY;
        }
        r = channel_check_socket(fd);
        if (r < 0) {
                fd_close(fd);
                return r;
        }
        r = channel_init(&frontend->main, fd);
        if (r == 0)
                r = frontend_watch(frontend, frontend->main.fd, &frontend->main);
        if (r < 0)
                frontend_close(frontend, &frontend->main);
        else
                log_info(&frontend->log, "a session with a back-end has begun");
        atomic_store(&frontend->log_budget.used, 0);
        return r;
}

void unmap_regions(struct oriel_frontend *frontend)
{
        for (unsigned i = 0; i < ORIEL_MAX_SHMIDS; i++)
                if (frontend->regions[i])
                        oriel_region_unmap_all(frontend->regions[i]);
}

static void orphan_regions(struct oriel_frontend *frontend)
{
        for (unsigned i = 0; i < ORIEL_MAX_SHMIDS; i++)
                if (frontend->regions[i])
                        oriel_region_orphan_all(frontend->regions[i]);
}

void drop_connection(struct oriel_frontend *frontend)
{
        if (frontend->main.fd >= 0) {
                log_info(&frontend->log, "the session with the back-end has ended");
                frontend_close(frontend, &frontend->main);
        }
        if (frontend->back.fd >= 0)
                frontend_close(frontend, &frontend->back);
        frontend->agreement = (struct agreement){0};
        frontend->device_features = 0;
        frontend->offered = 0;
        frontend->unacknowledged = 0;
        call_end(frontend);
        frontend->negotiation_step = 0;
        frontend->settle_deadline = 0;
        frontend->back_peer_fd = fd_close(frontend->back_peer_fd);
        if (frontend->keep_mappings)
                orphan_regions(frontend);
        else
                unmap_regions(frontend);
        forget_deferred_events(frontend);
}

void oriel_frontend_disconnect(struct oriel_frontend *frontend)
{
        drop_connection(frontend);
}

bool oriel_frontend_connected(const struct oriel_frontend *frontend)
{
        return frontend->main.fd >= 0;
}

int oriel_frontend_get_fd(const struct oriel_frontend *frontend)
{
        return frontend->epoll_fd;
}

void oriel_frontend_get_fds(const struct oriel_frontend *frontend, int fds[3])
{
        fds[0] = frontend->main.fd;
        fds[1] = frontend->back.fd;
        fds[2] = frontend->more_fd;
}

void oriel_frontend_set_region(struct oriel_frontend *frontend, uint8_t shmid, struct oriel_region *region)
{
        frontend->regions[shmid] = region;
}

/* The main channel carries only replies, and none is expected here: readable means its end, or a violation. */
static int check_main(struct oriel_frontend *frontend)
{
        struct complaint complaint = {""};
        int r = channel_receive(&frontend->main, UINT32_MAX, &complaint);

        if (r == 1)
                complain(&complaint, "request %u: an unsolicited reply", frontend->main.in.header.request);
        if (r != 0 && r != -ENOTCONN)
                log_error(&frontend->log, "%s; the connection ends", complaint.text);
        return r == 1 ? -EPROTO : r;
}

static int dispatch_event(struct oriel_frontend *frontend, const void *source)
{
        /* The reply to a call under way is taken when the call is repeated. */
        if (source == &frontend->main)
                return frontend->call.under_way ? 0 : check_main(frontend);
        if (source == &frontend->back)
                return frontend_serve(frontend);
        fd_event_clear(frontend->more_fd);
        return 0;
}

int oriel_frontend_dispatch(struct oriel_frontend *frontend)
{
        struct epoll_event events[4];
        int n, r = !frontend ? -EINVAL : frontend->main.fd < 0 ? -ENOTCONN : 0;

        if (r < 0)
                return r;
        n = epoll_wait(frontend->epoll_fd, events, ARRAY_SIZE(events), 0);

        frontend->depth++;
        for (int i = 0; i < n && r == 0; i++)
                r = dispatch_event(frontend, events[i].data.ptr);
        frontend->depth--;

        if (r < 0) {
                drop_connection(frontend);
                return end_call(frontend, r == -EPROTO ? -EPROTO : -ENOTCONN);
        }
        tell_deferred_events(frontend);
        return end_call(frontend, frontend->main.fd < 0 ? -ENOTCONN : 0);
}
