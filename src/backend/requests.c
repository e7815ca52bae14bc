/* SPDX-License-Identifier: BSD-2-Clause */

/* Requests on the back-end channel, from any thread. A request is sent under the lock and listed in `sent`; answers
 * come in the same order, so each finishes the oldest. A thread that waits calls requests_pump(): the first becomes the
 * reader and receives without the lock, the others sleep on the condition until it has changed something.
 *
 * The lock is never held while a thread polls. requests_close() shuts the socket down and waits until no thread reads
 * or sends; only then is the channel closed. A struct pending is its list's until requests_wait() takes it, or
 * request_finish() frees it where nobody waits.
 *
 * An answer that is to end in a callback goes to `due`. The dispatching thread reads the channel for it, when answer_fd
 * says so, unless another thread does already. */

#include "backend/requests.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/syscalls.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

USES_SYSCALLS(SYSCALL(poll), SYSCALL(shutdown), SYSCALL(eventfd2), SYSCALL(epoll_create1), SYSCALL(epoll_ctl));

/* Below the limits of both socket buffers, and of the kernel on fds in flight. */
#define MAX_UNANSWERED 64
/* A front-end that does not read for this time counts as dead. */
#define SEND_TIMEOUT_MS 10000
/* Time to poll for an answer before sleeping. */
#define SPIN_NS 50000
/* Interval at which a thread that can't send checks whether it has to stop. */
#define SEND_LOOK_MS 50

struct pending {
        TAILQ_ENTRY(pending) entry;
        const struct oriel_message_row *row;
        uint64_t ticket;
        bool forgotten; /* its answer will not be waited for */
        bool done;
        int result;
        int fd;
        unsigned epoch; /* of requests_forget_mappings(), at the time of sending */
        answered_fn answered;
        void *userdata;
};

static int open_answer_fd(struct requests *requests)
{
        struct epoll_event event = {.events = EPOLLIN};

        requests->answer_fd = epoll_create1(EPOLL_CLOEXEC);
        requests->due_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (requests->answer_fd < 0 || requests->due_fd < 0 ||
            epoll_ctl(requests->answer_fd, EPOLL_CTL_ADD, requests->due_fd, &event) < 0)
                return -errno;
        return 0;
}

static void backend_close_fds(struct requests *requests)
{
        requests->wake_fd = fd_close(requests->wake_fd);
        requests->due_fd = fd_close(requests->due_fd);
        requests->answer_fd = fd_close(requests->answer_fd);
}

/* Its limits are of the monotonic clock, which not every C library's waits let choose. */
static void init_changed(struct requests *requests)
{
        pthread_condattr_t attributes;

        pthread_condattr_init(&attributes);
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        pthread_cond_init(&requests->changed, &attributes);
        pthread_condattr_destroy(&attributes);
}

int requests_init(struct requests *requests, const struct oriel_log *log, struct log_budget *budget)
{
        *requests =
                (struct requests){.log = log, .log_budget = budget, .channel.fd = -1, .dead = true, .give_up_ms = -1};
        TAILQ_INIT(&requests->sent);
        TAILQ_INIT(&requests->answered);
        TAILQ_INIT(&requests->due);
        requests->answer_fd = requests->due_fd = -1;
        requests->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

        int r = requests->wake_fd < 0 ? -errno : open_answer_fd(requests);

        if (r < 0) {
                backend_close_fds(requests);
                return r;
        }
        pthread_mutex_init(&requests->lock, NULL);
        init_changed(requests);
        return 0;
}

static void backend_free_list(struct pending_list *list)
{
        struct pending *pending;

        while ((pending = TAILQ_FIRST(list))) {
                TAILQ_REMOVE(list, pending, entry);
                fd_close(pending->fd);
                free(pending);
        }
}

void requests_destroy(struct requests *requests)
{
        requests_close(requests);
        backend_free_list(&requests->answered);
        backend_free_list(&requests->due);
        backend_close_fds(requests);
        pthread_cond_destroy(&requests->changed);
        pthread_mutex_destroy(&requests->lock);
}

/* With the lock held: updates the number of mappings after a request was sent, or answered. */
static void count_unmapped(struct requests *requests)
{
        if (requests->mappings > 0)
                requests->mappings--;
}

static void count_answer(struct requests *requests, const struct pending *pending, int result)
{
        if (pending->epoch != requests->epoch)
                return;
        if ((pending->row->id == ORIEL_BACKEND_SHMEM_MAP && result < 0) ||
            (pending->row->id == ORIEL_BACKEND_SHMEM_UNMAP && result == 0))
                count_unmapped(requests);
}

/* With the lock held: watches the channel while answers with a callback are outstanding. */
static void answers_watch(struct requests *requests)
{
        bool wanted = requests->expected > 0 && !requests->dead;
        struct epoll_event event = {.events = EPOLLIN};

        if (wanted == requests->watched)
                return;

        int r = epoll_ctl(requests->answer_fd, wanted ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, requests->channel.fd, &event);

        requests->watched = wanted && r == 0;
}

/* With the lock held. */
static void make_due(struct requests *requests, struct pending *pending)
{
        TAILQ_INSERT_TAIL(&requests->due, pending, entry);
        fd_event_wake(requests->due_fd);
}

/* With the lock held. */
static void request_finish(struct requests *requests, struct pending *pending, int result, int fd)
{
        TAILQ_REMOVE(&requests->sent, pending, entry);
        requests->unanswered--;
        count_answer(requests, pending, result);
        if (pending->forgotten) {
                if (result < 0 && result != -ENOTCONN)
                        log_within(requests->log_budget, requests->log, ORIEL_LOG_ERROR,
                                   "%s: the front-end refused it, and nobody waits for the answer", pending->row->name);
                fd_close(fd);
                free(pending);
                return;
        }
        pending->done = true;
        pending->result = result;
        pending->fd = fd;
        if (!pending->answered) {
                TAILQ_INSERT_TAIL(&requests->answered, pending, entry);
                return;
        }
        make_due(requests, pending);
        requests->expected--;
        answers_watch(requests);
}

static void kill_channel(struct requests *requests)
{
        struct pending *pending;

        requests->dead = true;
        answers_watch(requests);
        while ((pending = TAILQ_FIRST(&requests->sent)))
                request_finish(requests, pending, -ENOTCONN, -1);
        pthread_cond_broadcast(&requests->changed);
}

void requests_close(struct requests *requests)
{
        pthread_mutex_lock(&requests->lock);
        requests->dead = true;
        if (requests->channel.fd >= 0)
                shutdown(requests->channel.fd, SHUT_RDWR);
        while (requests->reading || requests->sending > 0)
                pthread_cond_wait(&requests->changed, &requests->lock);
        kill_channel(requests);
        if (requests->channel.fd >= 0)
                channel_close(&requests->channel);
        pthread_mutex_unlock(&requests->lock);
}

void requests_agree(struct requests *requests, const struct agreement *agreement)
{
        pthread_mutex_lock(&requests->lock);
        requests->agreement = *agreement;
        pthread_mutex_unlock(&requests->lock);
}

int requests_open(struct requests *requests, int fd)
{
        requests_close(requests);
        pthread_mutex_lock(&requests->lock);

        int r = channel_init(&requests->channel, fd);

        requests->dead = r < 0;
        pthread_mutex_unlock(&requests->lock);
        return r;
}

void requests_give_up_at(struct requests *requests, int64_t deadline_ms)
{
        pthread_mutex_lock(&requests->lock);
        requests->give_up_ms = deadline_ms;
        fd_event_wake(requests->wake_fd);
        pthread_cond_broadcast(&requests->changed);
        pthread_mutex_unlock(&requests->lock);
}

/* An answer of a running front-end takes less time than putting a CPU to sleep and waking it, so the channel is polled
 * for a short time before sleeping. Yielding lets a front-end on the same CPU run. */
static int receive_soon(struct requests *requests, struct complaint *complaint)
{
        int64_t end = 0, now;
        int r;

        while ((r = channel_receive(&requests->channel, sizeof(uint64_t), complaint)) == 0) {
                now = now_ns();
                if (!end)
                        end = now + SPIN_NS;
                else if (now >= end)
                        break;
                sched_yield();
        }
        return r;
}

/* Without the lock: only the reader uses the receiving half. 1: a message, 0: call again, or an error. */
static int read_answer(struct requests *requests, int64_t deadline_ms, struct complaint *complaint)
{
        int r = receive_soon(requests, complaint);

        if (r != 0)
                return r;

        struct pollfd fds[2] = {{.fd = requests->channel.fd, .events = POLLIN},
                                {.fd = requests->wake_fd, .events = POLLIN}};

        if (poll(fds, ARRAY_SIZE(fds), poll_timeout(deadline_ms)) == 0)
                return -ETIMEDOUT;
        if (fds[1].revents)
                fd_event_clear(requests->wake_fd);
        return 0;
}

/* With the lock held. */
static int backend_take_answer(struct requests *requests, struct complaint *complaint)
{
        struct message *answer = &requests->channel.in;
        struct pending *oldest = TAILQ_FIRST(&requests->sent);

        message_log(requests->log, "from the front-end", ORIEL_FROM_BACKEND, answer);
        if (!oldest) {
                complain(complaint, "an unsolicited reply");
                return -EPROTO;
        }

        int r = message_check_reply(oldest->row, answer, &requests->agreement, complaint);

        if (r == -EMFILE)
                log_within(requests->log_budget, requests->log, ORIEL_LOG_ERROR, "%s", complaint->text);
        else if (r < 0)
                return r;
        if (r == 1)
                message_tolerate(oldest->row, complaint, &requests->channel.tolerated, requests->log_budget,
                                 requests->log);
        request_finish(requests, oldest,
                       r == -EMFILE          ? r
                       : answer->payload.u64 ? -EREMOTEIO
                                             : 0,
                       message_take_fd(answer, 0));
        channel_done(&requests->channel);
        return 0;
}

/* With the lock held, which is released while waiting: returns when another thread has read something. */
static int wait_changed(struct requests *requests, int64_t deadline_ms)
{
        const struct timespec deadline = {deadline_ms / 1000, deadline_ms % 1000 * 1000000};
        int r = deadline_ms < 0 ? pthread_cond_wait(&requests->changed, &requests->lock)
                                : pthread_cond_timedwait(&requests->changed, &requests->lock, &deadline);

        return -r;
}

/* With the lock held, which is released meanwhile, and no reader: reads the next answer, without waiting if @now. 1: an
 * answer was taken, 0: call again, or there is none now. -ETIMEDOUT: the deadline has passed. After all other errors
 * the channel has ended. */
static int backend_read_one(struct requests *requests, bool now, int64_t deadline_ms)
{
        struct complaint complaint = {""};

        requests->reading = true;
        pthread_mutex_unlock(&requests->lock);

        int r = now ? channel_receive(&requests->channel, sizeof(uint64_t), &complaint)
                    : read_answer(requests, deadline_ms, &complaint);

        pthread_mutex_lock(&requests->lock);
        requests->reading = false;

        bool came = r == 1;

        if (came)
                r = backend_take_answer(requests, &complaint);
        if (r < 0 && r != -ETIMEDOUT && r != -ENOTCONN)
                log_within(requests->log_budget, requests->log, ORIEL_LOG_ERROR, "%s; the back-end channel ends",
                           complaint.text);
        if (r < 0 && r != -ETIMEDOUT)
                kill_channel(requests);
        pthread_cond_broadcast(&requests->changed);
        return r < 0 ? r : came;
}

/* With the lock held, which is released meanwhile: waits until something has changed. -ETIMEDOUT: the deadline has
 * passed. */
static int requests_pump(struct requests *requests, int64_t limit_ms)
{
        int64_t deadline = requests->give_up_ms;

        if (limit_ms >= 0 && (deadline < 0 || limit_ms < deadline))
                deadline = limit_ms;
        return requests->reading ? wait_changed(requests, deadline) : backend_read_one(requests, false, deadline);
}

/* With the lock held, which is released meanwhile: reads the answers that have arrived. */
static void read_what_is_there(struct requests *requests)
{
        while (!requests->dead && !requests->reading && backend_read_one(requests, true, -1) == 1)
                ;
}

/* With the lock held, which is released meanwhile, so that the dispatching thread never waits for a front-end that does
 * not read. */
static void backend_wait_writable(struct requests *requests)
{
        struct pollfd p = {.fd = requests->channel.fd, .events = POLLOUT};

        requests->sending++;
        pthread_mutex_unlock(&requests->lock);
        poll(&p, 1, SEND_LOOK_MS);
        pthread_mutex_lock(&requests->lock);
        requests->sending--;
        pthread_cond_broadcast(&requests->changed);
}

/* With the lock held. -ENOTCONN: the channel has ended. For all other errors nothing was sent: -ETIMEDOUT: the deadline
 * has passed; or the request can't be sent, because of an invalid fd or a limit on fds. */
static int backend_send_whole(struct requests *requests, const struct message *message)
{
        int64_t deadline = now_ms() + SEND_TIMEOUT_MS;
        int r;

        /* A message of this size is sent as a whole or not at all. */
        while ((r = channel_send(&requests->channel, message, 0)) == -EAGAIN && now_ms() < deadline) {
                backend_wait_writable(requests);
                if (requests->dead)
                        return -ENOTCONN;
                if (requests->give_up_ms >= 0 && now_ms() >= requests->give_up_ms)
                        return -ETIMEDOUT;
        }
        if (r == -EAGAIN)
                log_within(requests->log_budget, requests->log, ORIEL_LOG_ERROR,
                           "the front-end does not read the back-end channel, which ends");
        if (r != -EAGAIN && !channel_is_lost(r))
                return r;
        kill_channel(requests);
        return -ENOTCONN;
}

static int backend_send_request(struct requests *requests, const struct oriel_message_row *row, const void *payload,
                                uint32_t size, int fd, bool asks)
{
        struct message message;

        message_init(&message, row->id, asks ? ORIEL_FLAG_NEED_REPLY : 0);
        message_set(&message, payload, size);
        if (fd >= 0) {
                message.n_fds = 1;
                message.fds[0] = fd;
        }

        int r = backend_send_whole(requests, &message);

        if (r == 0)
                message_log(requests->log, "to the front-end", ORIEL_FROM_BACKEND, &message);
        return r;
}

/* With the lock held. */
static int request_send(struct requests *requests, const struct oriel_message_row *row, const void *payload,
                        uint32_t size, int fd, uint64_t *ticket)
{
        bool answered =
                row_replies(row, &requests->agreement) || agreed(&requests->agreement, ORIEL_PROTOCOL_F_REPLY_ACK);
        _cleanup_(freep) struct pending *pending = calloc(1, sizeof(*pending));
        /* A caller that does not wait for the answer does not wait without limit for room either. */
        int64_t limit = ticket ? -1 : now_ms() + SEND_TIMEOUT_MS;

        if (!pending)
                return -ENOMEM;
        while (!requests->dead && requests->unanswered >= MAX_UNANSWERED)
                if (requests_pump(requests, limit) == -ETIMEDOUT)
                        return -ETIMEDOUT;
        if (requests->dead)
                return -ENOTCONN;
        if (row->id == ORIEL_BACKEND_SHMEM_MAP && requests->max_mappings > 0 &&
            requests->mappings >= requests->max_mappings)
                return -ENOSPC;

        int r = backend_send_request(requests, row, payload, size, fd, answered);

        if (r < 0)
                return r;
        if (ticket)
                *ticket = 0;
        if (row->id == ORIEL_BACKEND_SHMEM_MAP)
                requests->mappings++;
        if (!answered) {
                if (row->id == ORIEL_BACKEND_SHMEM_UNMAP)
                        count_unmapped(requests);
                return 0;
        }
        *pending = (struct pending){
                .row = row,
                .ticket = ++requests->last_ticket,
                .forgotten = !ticket,
                .fd = -1,
                .epoch = requests->epoch,
        };
        if (ticket)
                *ticket = pending->ticket;
        TAILQ_INSERT_TAIL(&requests->sent, pending, entry);
        requests->unanswered++;
        (void)steal(pending);
        return 0;
}

static bool gate_is_open(const struct oriel_message_row *row, const struct agreement *agreement)
{
        if (row->gate == ORIEL_GATE_VIRTIO_FEATURE)
                return agreement->virtio_features & ORIEL_FEATURE(row->feature);
        return agreed(agreement, row->feature);
}

int requests_submit(struct requests *requests, enum oriel_backend_request id, const void *payload, uint32_t size,
                    int fd, uint64_t *ticket)
{
        const struct oriel_message_row *row = oriel_message_find(ORIEL_FROM_BACKEND, id);
        int r;

        pthread_mutex_lock(&requests->lock);
        if (requests->dead)
                r = -ENOTCONN;
        else if (!gate_is_open(row, &requests->agreement))
                r = -EOPNOTSUPP;
        else
                r = request_send(requests, row, payload, size, fd, ticket);
        pthread_mutex_unlock(&requests->lock);
        return r;
}

static struct pending *request_find(struct pending_list *list, uint64_t ticket)
{
        struct pending *pending;

        TAILQ_FOREACH(pending, list, entry)
        if (pending->ticket == ticket)
                return pending;
        return NULL;
}

/* With the lock held. */
static int wait_done(struct requests *requests, struct pending *pending)
{
        while (!pending->done) {
                int r = requests_pump(requests, -1);

                if (r == -ETIMEDOUT && !pending->done && requests->give_up_ms >= 0 &&
                    now_ms() >= requests->give_up_ms) {
                        pending->forgotten = true;
                        return -ETIMEDOUT;
                }
        }
        return 0;
}

/* With the lock held: returns the result of an answered request, and frees it. */
static int take_result(struct requests *requests, struct pending *pending, int *reply_fd)
{
        int result = pending->result;

        TAILQ_REMOVE(&requests->answered, pending, entry);
        if (reply_fd)
                *reply_fd = fd_take(&pending->fd);
        fd_close(pending->fd);
        free(pending);
        return result;
}

/* With the lock held: the request of @ticket that is still to be waited for. */
static struct pending *find_waited(struct requests *requests, uint64_t ticket)
{
        struct pending *pending = request_find(&requests->answered, ticket);

        if (!pending)
                pending = request_find(&requests->sent, ticket);
        return pending && !pending->answered && !pending->forgotten ? pending : NULL;
}

int requests_wait(struct requests *requests, uint64_t ticket, int *reply_fd)
{
        if (ticket == 0)
                return 0;

        pthread_mutex_lock(&requests->lock);

        struct pending *pending = find_waited(requests, ticket);
        int r = pending ? wait_done(requests, pending) : -EINVAL;

        if (r == 0)
                r = take_result(requests, pending, reply_fd);
        pthread_mutex_unlock(&requests->lock);
        return r;
}

int requests_poll(struct requests *requests, uint64_t ticket)
{
        if (ticket == 0)
                return 0;

        pthread_mutex_lock(&requests->lock);

        struct pending *pending = find_waited(requests, ticket);
        int r = -EINVAL;

        if (pending && !pending->done)
                read_what_is_there(requests);
        if (pending)
                r = pending->done ? take_result(requests, pending, NULL) : -EINPROGRESS;
        pthread_mutex_unlock(&requests->lock);
        return r;
}

/* ---- callbacks ---- */

/* With the lock held. */
static int request_expect(struct requests *requests, uint64_t ticket, answered_fn answered, void *userdata)
{
        struct pending *pending;

        if (ticket == 0) {
                pending = calloc(1, sizeof(*pending));
                if (!pending)
                        return -ENOMEM;
                pending->fd = -1;
                pending->done = true;
        } else {
                pending = find_waited(requests, ticket);
                if (!pending)
                        return -EINVAL;
                if (pending->done)
                        TAILQ_REMOVE(&requests->answered, pending, entry);
        }
        pending->answered = answered;
        pending->userdata = userdata;
        if (pending->done) {
                make_due(requests, pending);
        } else {
                requests->expected++;
                answers_watch(requests);
        }
        return 0;
}

int requests_on_answer(struct requests *requests, uint64_t ticket, answered_fn answered, void *userdata)
{
        pthread_mutex_lock(&requests->lock);

        int r = request_expect(requests, ticket, answered, userdata);

        pthread_mutex_unlock(&requests->lock);
        return r;
}

void requests_deliver(struct requests *requests)
{
        struct pending_list due = TAILQ_HEAD_INITIALIZER(due);
        struct pending *pending;

        pthread_mutex_lock(&requests->lock);
        if (requests->expected > 0)
                read_what_is_there(requests);
        TAILQ_CONCAT(&due, &requests->due, entry);
        if (!TAILQ_EMPTY(&due))
                fd_event_clear(requests->due_fd);
        pthread_mutex_unlock(&requests->lock);

        while ((pending = TAILQ_FIRST(&due))) {
                TAILQ_REMOVE(&due, pending, entry);
                pending->answered(pending->userdata, pending->result);
                fd_close(pending->fd);
                free(pending);
        }
}

/* ---- the number of mappings ---- */

void requests_forget_mappings(struct requests *requests)
{
        pthread_mutex_lock(&requests->lock);
        requests->mappings = 0;
        requests->epoch++;
        pthread_mutex_unlock(&requests->lock);
}

void requests_set_max_mappings(struct requests *requests, size_t max)
{
        pthread_mutex_lock(&requests->lock);
        requests->max_mappings = max;
        pthread_mutex_unlock(&requests->lock);
}

size_t requests_count_mappings(struct requests *requests)
{
        pthread_mutex_lock(&requests->lock);

        size_t n = requests->mappings;

        pthread_mutex_unlock(&requests->lock);
        return n;
}
