/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FRONTEND_FRONTEND_H
#define FRONTEND_FRONTEND_H

#include "base/fd.h"
#include "channel/channel.h"

#include <oriel/frontend.h>
#include <sys/queue.h>

/* What follows from a request that was answered, until it may be told. */
struct deferred_event;
TAILQ_HEAD(deferred_events, deferred_event);

struct oriel_frontend {
        struct oriel_frontend_ops ops;
        void *userdata;
        struct oriel_log log;
        struct log_budget log_budget; /* of the connection */
        int timeout_ms;
        const struct oriel_dialect *dialect;
        bool keep_mappings;

        int epoll_fd;
        struct channel main;
        struct channel back; /* the back-end channel */
        struct agreement agreement;
        uint64_t device_features;
        uint64_t offered;
        struct oriel_region *regions[ORIEL_MAX_SHMIDS];

        enum oriel_frontend_request unacknowledged; /* what brought regions in postcopy mode; 0: nothing */
        unsigned depth;   /* of calls under way: deferred_events wait for the outermost to end */
        bool free_wanted; /* by a callback: when that call ends */
        struct deferred_events deferred_events;
        unsigned n_deferred;
        int more_fd; /* an eventfd: deferred_events are left for the next dispatch */
};

/* call.c: a request, and its reply or acknowledgement. @request's fds stay the caller's; @reply may be NULL. What is in
 * @reply afterwards, fds included, is the caller's. */
int frontend_call(struct oriel_frontend *frontend, const struct message *request, struct message *reply);
/* frontend.c: have dispatch told of @fd, which is @channel's; NULL: more_fd. */
int frontend_watch(struct oriel_frontend *frontend, int fd, struct channel *channel);
/* Close @channel, of which dispatch is told no more. */
static inline void frontend_close(struct oriel_frontend *frontend, struct channel *channel)
{
        channel->fd = fd_close_watched(frontend->epoll_fd, channel->fd);
        channel_close(channel);
}

/* The end of a call that may have called back: its result @r, or -ECANCELED where @frontend is no more. */
int end_call(struct oriel_frontend *frontend, int r);
/* Reset, or the end of the connection: nothing stays mapped. */
void unmap_regions(struct oriel_frontend *frontend);
/* The connection is lost or given up: everything that came with it goes. */
void drop_connection(struct oriel_frontend *frontend);

/* requests.c: as the public functions, with a reply. */
int call_set_mem_table(struct oriel_frontend *frontend, const struct oriel_memory_region *regions, const int *fds,
                       unsigned n, struct message *reply);
int call_add_mem_reg(struct oriel_frontend *frontend, const struct oriel_memory_region *region, int fd,
                     struct message *reply);

/* served.c: answer what the back-end has sent on its channel. 0 or what ends the connection. */
int frontend_serve(struct oriel_frontend *frontend);
/* Whether there is a channel to serve, and room for what follows from it. */
bool may_serve(const struct oriel_frontend *frontend);
/* Tell what was put off, if no call is under way. */
void tell_deferred_events(struct oriel_frontend *frontend);
void forget_deferred_events(struct oriel_frontend *frontend);

#endif
