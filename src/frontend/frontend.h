/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FRONTEND_FRONTEND_H
#define FRONTEND_FRONTEND_H

#include "base/fd.h"
#include "channel/channel.h"

#include <oriel/frontend.h>
#include <sys/queue.h>

/* An event of an answered request for the owner, until it may be told. */
struct deferred_event;
TAILQ_HEAD(deferred_events, deferred_event);

/* The request that was made last, until its answer is there. A front-end that does not wait returns -EINPROGRESS in
 * between, and knows the repeated call by the same header and payload. */
struct call {
        bool under_way;
        bool sent;
        bool paused;      /* -EINPROGRESS was returned: the epoll and the timer are set up for this call */
        int64_t deadline; /* on the clock of now_ms(): for the sending, and once it is sent for the reply */
        struct message request;
};

struct oriel_frontend {
        struct oriel_frontend_ops ops;
        void *userdata;
        struct oriel_log log;
        struct log_budget log_budget; /* of the connection */
        int timeout_ms;
        const struct oriel_dialect *dialect;
        bool keep_mappings;
        bool nonblocking;

        int epoll_fd;
        struct channel main;
        struct channel back; /* the back-end channel */
        struct agreement agreement;
        uint64_t device_features;
        uint64_t offered;
        struct oriel_region *regions[ORIEL_MAX_SHMIDS];

        enum oriel_frontend_request unacknowledged; /* the request that brought regions in postcopy mode; 0: none */
        unsigned depth;   /* of calls under way: deferred events are told when the outermost has ended */
        bool free_wanted; /* a callback has freed it: done when that call has ended */
        struct deferred_events deferred_events;
        unsigned n_deferred;
        int more_fd;  /* an eventfd: signalled while deferred events are left for the next dispatch */
        int timer_fd; /* expires at the deadline of a call that is paused; -1 until the first nonblocking */

        struct call call;
        unsigned negotiation_step; /* of oriel_frontend_negotiate(), where it continues */
        int back_peer_fd;          /* the back-end's end of its channel, until SET_BACKEND_REQ_FD has ended; -1 */
        int64_t settle_deadline;   /* of an oriel_frontend_await_mappings() that has not ended; 0: none */
};

/* call.c: a request, and its reply or acknowledgement. @request's fds stay the caller's; @reply may be NULL. The caller
 * owns the contents of @reply afterwards, fds included. */
int frontend_call(struct oriel_frontend *frontend, const struct message *request, struct message *reply);
/* watch.c: makes dispatch watch @fd, which is @channel's; NULL: more_fd. */
int frontend_watch(struct oriel_frontend *frontend, int fd, struct channel *channel);
/* Has the owner's loop come back for what the call needs next: room for the request, the reply, requests of the
 * back-end as far as they can be served, or the deadline. */
int call_pause(struct oriel_frontend *frontend);
/* Forgets the call that is under way. */
void call_end(struct oriel_frontend *frontend);
/* Closes @channel, after removing it from the epoll. */
static inline void frontend_close(struct oriel_frontend *frontend, struct channel *channel)
{
        channel->fd = fd_close_watched(frontend->epoll_fd, channel->fd);
        channel_close(channel);
}

/* Ends a call that may have called back: returns @r, or -ECANCELED where @frontend was freed. */
int end_call(struct oriel_frontend *frontend, int r);
/* Unmaps all mappings: at a reset, or the end of the connection. */
void unmap_regions(struct oriel_frontend *frontend);
/* Closes the connection, and drops everything that came with it. */
void drop_connection(struct oriel_frontend *frontend);

/* requests.c: as the public functions, with a reply. */
int call_set_mem_table(struct oriel_frontend *frontend, const struct oriel_memory_region *regions, const int *fds,
                       unsigned n, struct message *reply);
int call_add_mem_reg(struct oriel_frontend *frontend, const struct oriel_memory_region *region, int fd,
                     struct message *reply);

/* served.c: answers the requests on the back-end channel. 0, or the error that ends the connection. */
int frontend_serve(struct oriel_frontend *frontend);
/* Whether there is a back-end channel, and room for further deferred events. */
bool may_serve(const struct oriel_frontend *frontend);
/* Tells deferred events, if no call is under way. */
void tell_deferred_events(struct oriel_frontend *frontend);
void forget_deferred_events(struct oriel_frontend *frontend);

#endif
