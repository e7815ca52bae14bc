/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BACKEND_REQUESTS_H
#define BACKEND_REQUESTS_H

#include "channel/channel.h"

#include <oriel/log.h>
#include <pthread.h>
#include <sys/queue.h>

/* The back-end channel: requests are sent from any thread, and answered in their order. There is no thread for reading:
 * of the threads that wait, one reads for all until its own answer is there, and then leaves it to the next. */
struct pending;
typedef void (*answered_fn)(void *userdata, int result);
TAILQ_HEAD(pending_list, pending);

struct requests {
        const struct oriel_log *log;
        struct log_budget *log_budget;
        pthread_mutex_t lock;
        pthread_cond_t changed;
        struct channel channel; /* fd is -1 if there is none */
        struct agreement agreement;
        struct pending_list sent;     /* not answered, oldest first */
        struct pending_list answered; /* not waited for yet */
        struct pending_list due;      /* answered, with a callback to be called */
        uint64_t last_ticket;
        unsigned unanswered;
        bool reading;       /* a thread is receiving */
        unsigned sending;   /* threads that wait for room in the channel */
        bool dead;          /* nothing more is sent */
        int64_t give_up_ms; /* waits end then; -1: never */
        int wake_fd;        /* tells the reader that give_up_ms changed */

        /* Callbacks, which requests_deliver() calls. */
        unsigned expected; /* answers outstanding whose callback is to be called */
        int answer_fd;     /* an epoll with due_fd, and with the channel while such answers are outstanding */
        int due_fd;        /* an eventfd: a callback is due */
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
/* Sets the negotiated features, from now on. */
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

/* Sends a request. @fd, unless -1, stays the caller's. Errors as in the public functions. */
int requests_submit(struct requests *requests, enum oriel_backend_request id, const void *payload, uint32_t size,
                    int fd, uint64_t *ticket);
/* 0 and the fd of the answer (mostly -1), which is the caller's unless @reply_fd is NULL. */
int requests_wait(struct requests *requests, uint64_t ticket, int *reply_fd);
int requests_poll(struct requests *requests, uint64_t ticket);
int requests_on_answer(struct requests *requests, uint64_t ticket, answered_fn answered, void *userdata);

#endif
