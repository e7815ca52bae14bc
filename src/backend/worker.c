/* SPDX-License-Identifier: BSD-2-Clause */

/* Threads for a back-end's queues.
 *
 * Each thread has its own view of the queues, which it renews when the worker's generation has changed: so requests
 * take no lock, and a thread that removes a queue waits until every thread has seen the change. Each thread also has
 * its own epoll instance: a kick, which is edge-triggered, then wakes all threads of a queue. */

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/struct.h"
#include "base/syscalls.h"
#include "base/thread.h"

#include <errno.h>
#include <oriel/worker.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

SYSCALL_ROWS syscalls_used[] = {SYSCALL(eventfd2),    SYSCALL(epoll_create1),  SYSCALL(epoll_ctl), SYSCALL(epoll_pwait),
#ifdef __NR_epoll_wait
                                SYSCALL(epoll_wait),
#endif
                                SYSCALL(sched_yield), SYSCALL(clock_nanosleep)};

enum { MAX_QUEUES = 256, MAX_THREADS = 64 };

struct thread {
        struct oriel_worker *worker;
        pthread_t thread;
        unsigned seen; /* the generation that its view is of */
};

struct oriel_worker {
        struct oriel_worker_options options;
        int wake_fd; /* signalled with each new generation; -1 while there are no threads */
        atomic_uint generation;

        pthread_mutex_t lock; /* protects the following */
        pthread_cond_t settled;
        struct oriel_backend_queue *queues[MAX_QUEUES];
        unsigned n_queues, n_threads;
        struct thread threads[];
};

/* A queue in a thread's view. */
struct worker_slot {
        struct oriel_backend_queue *queue;
        bool untold; /* buffers were pushed, and the driver was not notified yet */
        bool waits;  /* for a buffer's memory, or is broken: no kick is asked for */
        bool broken;
        bool starved; /* out of memory: no event reports when there is some again */
};

struct worker_view {
        unsigned n, generation;
        int64_t quick_ns; /* for a single queue only: with several, a request of one would delay the driver of another
                           */
        int epoll_fd;     /* -1: no descriptors were left, so the thread polls at intervals */
        struct worker_slot slots[MAX_QUEUES];
};

static int make_epoll(const struct oriel_worker *worker, const struct worker_view *view)
{
        struct epoll_event event = {.events = EPOLLIN | EPOLLET};
        _cleanup_(fd_closep) int fd = epoll_create1(EPOLL_CLOEXEC);

        if (fd < 0 || epoll_ctl(fd, EPOLL_CTL_ADD, worker->wake_fd, &event) < 0)
                return -errno;
        for (unsigned i = 0; i < view->n; i++) {
                int kick_fd = oriel_backend_queue_kick_fd(view->slots[i].queue);

                if (kick_fd >= 0 && epoll_ctl(fd, EPOLL_CTL_ADD, kick_fd, &event) < 0)
                        return -errno;
        }
        return fd_take(&fd);
}

static void look_at_queues(struct thread *thread, struct worker_view *view)
{
        struct oriel_worker *worker = thread->worker;

        pthread_mutex_lock(&worker->lock);
        view->n = worker->n_queues;
        for (unsigned i = 0; i < view->n; i++)
                view->slots[i] = (struct worker_slot){.queue = worker->queues[i]};
        view->quick_ns = view->n == 1 ? (int64_t)worker->options.quick_us * 1000 : 0;
        view->generation = thread->seen = atomic_load(&worker->generation);
        pthread_cond_broadcast(&worker->settled);
        pthread_mutex_unlock(&worker->lock);
        fd_close(view->epoll_fd);
        view->epoll_fd = view->n > 0 ? make_epoll(worker, view) : -1;
}

static void worker_tell(struct worker_slot *slot)
{
        oriel_backend_queue_notify(slot->queue);
        slot->untold = false;
}

static void tell_all(struct worker_view *view)
{
        for (unsigned i = 0; i < view->n; i++)
                if (view->slots[i].untold)
                        worker_tell(&view->slots[i]);
}

/* 1, or the error of the push. */
static int worker_handle(const struct oriel_worker_options *options, int64_t quick_ns, struct worker_slot *slot,
                         struct oriel_chain *chain)
{
        const int64_t begun = quick_ns ? now_ns() : 0;
        ssize_t written = options->handle(options->userdata, slot->queue, chain);
        int r = written == -EINPROGRESS
                        ? 0
                        : oriel_backend_queue_push(slot->queue, chain, written < 0 ? 0 : (size_t)written);

        if (slot->untold || !quick_ns || now_ns() - begun >= quick_ns)
                worker_tell(slot);
        else
                slot->untold = true;
        return r < 0 ? r : 1;
}

/* 1: a request was handled. */
static int take_one(const struct oriel_worker_options *options, int64_t quick_ns, struct worker_slot *slot)
{
        struct oriel_chain *chain;
        int r = oriel_backend_queue_pop(slot->queue, &chain);

        if (slot->untold && r != 1) {
                worker_tell(slot);
                /* Where both share a CPU the driver has run by now, and its next request is there: no need to yield. */
                if (r == 0)
                        r = oriel_backend_queue_pop(slot->queue, &chain);
        }
        if (r == 1)
                r = worker_handle(options, quick_ns, slot, chain);
        slot->waits = r < 0;
        slot->starved = r == -ENOMEM;
        slot->broken = r < 0 && r != -EAGAIN && r != -ENOMEM;
        return r;
}

/* Handles one request of each queue. */
static bool take_some(const struct oriel_worker_options *options, struct worker_view *view)
{
        bool some = false;

        for (unsigned i = 0; i < view->n; i++)
                some = take_one(options, view->quick_ns, &view->slots[i]) == 1 || some;
        return some;
}

static bool want_kicks(const struct worker_view *view)
{
        bool some = false;

        for (unsigned i = 0; i < view->n; i++)
                some = (!view->slots[i].waits && oriel_backend_queue_want_kick(view->slots[i].queue)) || some;
        return some;
}

/* Sleeps until a driver kicks or the queues change. Queues without a kick are looked at again after a millisecond. */
static void worker_sleep_until_event(const struct worker_view *view)
{
        struct epoll_event event;
        bool again = false;

        for (unsigned i = 0; i < view->n; i++) {
                const struct worker_slot *slot = &view->slots[i];

                again = again || slot->starved || (oriel_backend_queue_kick_fd(slot->queue) < 0 && !slot->broken);
        }
        if (view->epoll_fd >= 0)
                epoll_wait(view->epoll_fd, &event, 1, again ? 1 : -1);
        else
                usleep(1000);
}

/* How long to poll before the next sleep, after one that took @slept_ns: not at all if polling would not have avoided
 * it. */
static int64_t next_patience(const struct oriel_worker_options *options, int64_t slept_ns)
{
        int64_t longest = (int64_t)options->poll_us * 1000;

        return slept_ns < longest && options->threads == 1 ? longest : 0;
}

static void *worker_work(void *userdata)
{
        struct thread *thread = userdata;
        struct oriel_worker *worker = thread->worker;
        const struct oriel_worker_options *options = &worker->options;
        struct worker_view view = {.n = 0, .epoll_fd = -1};
        int64_t patience_ns = 0, looking_until = 0;
        bool worked = false;

        look_at_queues(thread, &view);
        while (view.n > 0) {
                bool some = take_some(options, &view), changed = atomic_load(&worker->generation) != view.generation;

                worked = worked || some;
                if (worked && options->idle && (!some || changed)) {
                        options->idle(options->userdata);
                        worked = false;
                }
                if (changed) {
                        tell_all(&view);
                        look_at_queues(thread, &view);
                        continue;
                }
                if (!some && patience_ns > 0 && looking_until == 0)
                        looking_until = now_ns() + patience_ns;
                if (!some && patience_ns > 0 && now_ns() < looking_until) {
                        /* The sender of the next request may need this CPU. */
                        sched_yield();
                        continue;
                }
                looking_until = 0;
                if (some || want_kicks(&view))
                        continue;

                int64_t begun = now_ns();

                worker_sleep_until_event(&view);
                patience_ns = next_patience(options, now_ns() - begun);
        }
        return NULL;
}

int oriel_worker_new(const struct oriel_worker_options *from, struct oriel_worker **out)
{
        struct oriel_worker_options options;

        if (!out)
                return -EINVAL;
        *out = NULL;

        int r = STRUCT_TAKE(&options, from, ORIEL_WORKER_OPTIONS_LEAST);

        if (r < 0)
                return r;
        if (!options.handle || options.threads < 1 || options.threads > MAX_THREADS)
                return -EINVAL;

        struct oriel_worker *worker = calloc(1, sizeof(*worker) + options.threads * sizeof(worker->threads[0]));

        if (!worker)
                return -ENOMEM;
        worker->options = options;
        worker->wake_fd = -1;
        pthread_mutex_init(&worker->lock, NULL);
        pthread_cond_init(&worker->settled, NULL);
        *out = worker;
        return 0;
}

void oriel_worker_free(struct oriel_worker *worker)
{
        if (!worker)
                return;
        pthread_cond_destroy(&worker->settled);
        pthread_mutex_destroy(&worker->lock);
        free(worker);
}

/* With the lock. */
static int start_threads(struct oriel_worker *worker)
{
        int r = 0;

        worker->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (worker->wake_fd < 0)
                return -errno;
        while (r == 0 && worker->n_threads < worker->options.threads) {
                struct thread *thread = &worker->threads[worker->n_threads];

                *thread = (struct thread){.worker = worker, .seen = atomic_load(&worker->generation) - 1};
                r = thread_start(&thread->thread, worker_work, thread);
                worker->n_threads += r == 0;
        }
        if (worker->n_threads > 0)
                return 0;
        worker->wake_fd = fd_close(worker->wake_fd);
        return r;
}

/* With the lock. */
static void begin_generation(struct oriel_worker *worker)
{
        atomic_fetch_add(&worker->generation, 1);
        fd_event_wake(worker->wake_fd);
}

int oriel_worker_add(struct oriel_worker *worker, struct oriel_backend_queue *queue)
{
        int r = 0;

        pthread_mutex_lock(&worker->lock);
        if (worker->n_queues == MAX_QUEUES) {
                r = -ENOMEM;
        } else {
                worker->queues[worker->n_queues++] = queue;
                if (worker->n_threads > 0)
                        begin_generation(worker);
                else
                        r = start_threads(worker);
                worker->n_queues -= r < 0;
        }
        pthread_mutex_unlock(&worker->lock);
        return r;
}

static bool has_settled(const struct oriel_worker *worker)
{
        bool settled = true;

        for (unsigned i = 0; i < worker->n_threads; i++)
                settled = settled && worker->threads[i].seen == atomic_load(&worker->generation);
        return settled;
}

/* With the lock. */
static bool worker_forget_queue(struct oriel_worker *worker, const struct oriel_backend_queue *queue)
{
        for (unsigned i = 0; i < worker->n_queues; i++)
                if (worker->queues[i] == queue) {
                        worker->queues[i] = worker->queues[--worker->n_queues];
                        return true;
                }
        return false;
}

void oriel_worker_remove(struct oriel_worker *worker, struct oriel_backend_queue *queue)
{
        unsigned ended = 0;

        pthread_mutex_lock(&worker->lock);
        if (worker_forget_queue(worker, queue)) {
                begin_generation(worker);
                while (!has_settled(worker))
                        pthread_cond_wait(&worker->settled, &worker->lock);
                if (worker->n_queues == 0) {
                        ended = worker->n_threads;
                        worker->n_threads = 0;
                }
        }
        pthread_mutex_unlock(&worker->lock);
        for (unsigned i = 0; i < ended; i++)
                pthread_join(worker->threads[i].thread, NULL);
        if (ended > 0)
                worker->wake_fd = fd_close(worker->wake_fd);
}
