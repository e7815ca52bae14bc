/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef ORIEL_WORKER_H
#define ORIEL_WORKER_H

#include <oriel/backend.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Threads that take requests from a back-end's queues and hand them to the device. Nobody has to use it: the back-end
 * itself owns no thread.
 *
 * A worker has one thread or several, and serves one queue or several, which are added in the back-end's start callback
 * and removed in its stop callback. Its threads run while it has queues. A thread sleeps when all of its queues are
 * empty, for which it watches their kick fds for edges; before that it looks on for a while, if that has spared sleep
 * lately (poll_us). The driver is told of an answer before the next request is taken, unless the request was answered
 * within quick_us and the next one is there already: then of every second one. */
struct oriel_worker;

/* Options of oriel_worker_new(). */
struct oriel_worker_options {
        size_t struct_size;

        /* One request, on one of the threads. Return how many bytes were written to the chain's writable part: the
         * worker pushes it, and tells the driver. A negative errno: the same, with nothing written. -EINPROGRESS: the
         * chain is the device's, which pushes it and calls oriel_backend_queue_notify() some time before stop returns
         * or drops it then. */
        ssize_t (*handle)(void *userdata, struct oriel_backend_queue *queue, struct oriel_chain *chain);
        void *userdata;

        unsigned threads;  /* 1 to 64 */
        unsigned poll_us;  /* how long to look for the next request before sleeping, where that is worth it: with one
                            * thread alone, since others would be asleep while one works on what it has found */
        unsigned quick_us; /* 0, or several queues: the driver is told of each answer at once */
        /* A thread that has handled requests finds no more, or is to let go of a queue: for what is better done for
         * many at once, as waiting for the front-end's answers. NULL: nothing. */
        void (*idle)(void *userdata);
};
#define ORIEL_WORKER_OPTIONS_LEAST offsetof(struct oriel_worker_options, quick_us)

/* Make a worker. -EINVAL: an option that can't be. -E2BIG as of oriel_backend_new(). -ENOMEM. *@out is NULL after an
 * error. */
int oriel_worker_new(const struct oriel_worker_options *options, struct oriel_worker **out);
/* Free the worker. All queues are to be removed before. NULL is accepted. */
void oriel_worker_free(struct oriel_worker *worker);

/* Serve another queue: in the start callback, or later on the dispatching thread, before stop. With the first queue the
 * threads are started: 0 if at least one was, else what starting it says. -ENOMEM, -EMFILE. */
int oriel_worker_add(struct oriel_worker *worker, struct oriel_backend_queue *queue);
/* Stop serving a queue. It returns when no thread has anything to do with @queue any more: in the stop callback, not on
 * one of the threads. With the last queue the threads end. A queue that was not added is accepted. */
void oriel_worker_remove(struct oriel_worker *worker, struct oriel_backend_queue *queue);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
