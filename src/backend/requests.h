/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BACKEND_REQUESTS_H
#define BACKEND_REQUESTS_H

#include "channel/channel.h"

#include <oriel/log.h>
#include <pthread.h>
#include <sys/queue.h>

/* The back-end channel: requests go out from any thread, answers come in their order. No thread is kept for reading:
 * whoever waits reads for all until its own answer is there, then leaves the reading to the next. */
struct pending;
typedef void (*answered_fn)(void *userdata, int result);
TAILQ_HEAD(pending_list, pending);

struct requests {
        const struct oriel_log *log;
        struct log_budget *log_budget;
        pthread_mutex_t lock;
        pthread_cond_t changed;
        struct channel channel; /* fd -1: none */
        struct agreement agreement;
        struct pending_list sent;     /* not answered, oldest first */
        struct pending_list answered; /* not waited for yet */
        struct pending_list due;      /* answered, and their callbacks are to be called */
        uint64_t last_ticket;
        unsigned unanswered;
        bool reading;       /* one thread is in the channel's receiving half */
        unsigned sending;   /* threads that wait for room in the channel */
        bool dead;          /* nothing more goes out */
        int64_t give_up_ms; /* waits end then; -1: never */
        int wake_fd;        /* tells the reader that give_up_ms changed */

        /* Callbacks, which requests_deliver() calls. */
        unsigned expected; /* answers that are to be read for one */
        int answer_fd;     /* an epoll of the next, and of the channel while answers are expected */
        int due_fd;        /* an eventfd: one is due */
        bool watched;      /* the channel is in answer_fd */

        /* Live mappings, as far as this end knows. */
        size_t mappings, max_mappings;
        unsigned epoch; /* of requests_forget_mappings() */
};

/* @log and @budget are borrowed. */
int requests_init(struct requests *requests, const struct oriel_log *log, struct log_budget *budget);
void requests_destroy(struct requests *requests);
/* Takes @fd. An older channel is closed. */
int requests_open(struct requests *requests, int fd);
/* What is negotiated, from now on. */
void requests_agree(struct requests *requests, const struct agreement *agreement);
/* Ends every wait. */
void requests_close(struct requests *requests);
void requests_give_up_at(struct requests *requests, int64_t deadline_ms);

/* Call the callbacks that are due: on the dispatching thread, with no lock held. */
void requests_deliver(struct requests *requests);
/* The front-end has removed all mappings. */
void requests_forget_mappings(struct requests *requests);
void requests_set_max_mappings(struct requests *requests, size_t max);
size_t requests_count_mappings(struct requests *requests);

/* @fd, unless -1, stays the caller's. As the public requests. */
int requests_submit(struct requests *requests, enum oriel_backend_request id, const void *payload, uint32_t size,
                    int fd, uint64_t *ticket);
/* 0 and the fd of the answer (-1 mostly), which is the caller's unless @reply_fd is NULL. */
int requests_wait(struct requests *requests, uint64_t ticket, int *reply_fd);
int requests_poll(struct requests *requests, uint64_t ticket);
int requests_on_answer(struct requests *requests, uint64_t ticket, answered_fn answered, void *userdata);

#endif
