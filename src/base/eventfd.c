/* SPDX-License-Identifier: BSD-2-Clause */

/* Adding to and clearing eventfds that the peer has too. Both ends of a session share each kick, call and err eventfd,
 * and so its counter and its flags: at any moment the peer may fill the counter and make the descriptor blocking, and
 * write() then waits as long as the peer wants. Checking the flags first is a race, and no flag of a single write
 * prevents the wait: eventfds do not take pwritev2() with RWF_NOWAIT.
 *
 * So the kernel signals. Asynchronous I/O (io_submit(2)) adds to an eventfd of the caller's choice when a request is
 * done; this never waits, and stops at the greatest value of a counter. The request is a read of no bytes from the same
 * eventfd, which fails at once and changes nothing. One context serves all threads of the process.
 *
 * Without asynchronous I/O (CONFIG_AIO, fs.aio-max-nr, a filter of system calls) the descriptor is made non-blocking
 * before each write, and a timer of the calling thread interrupts the write if a peer makes it blocking in between.
 * Another thread could not do this reliably: a thread that stops a queue waits for the queue's threads, and may itself
 * be the one that writes. The kernel interrupts only a write that waits, so EINTR always means a full counter, however
 * late the timer's signal comes. After the system's limit was met, asynchronous I/O is tried again each second. */

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/libc.h"
#include "base/log.h"
#include "base/syscalls.h"

#include <linux/aio_abi.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

USES_SYSCALLS(SYSCALL(preadv2), SYSCALL(read), SYSCALL(write), SYSCALL(io_setup), SYSCALL(io_submit),
              SYSCALL(io_getevents), SYSCALL(io_destroy), SYSCALL(timer_create), SYSCALL(timer_settime),
              SYSCALL(timer_delete), SYSCALL(gettid));

#define ROOM         16   /* requests reserved of the system's limit; the kernel rounds the number up */
#define TRY_AGAIN_MS 1000 /* after the system's limit was met */
#define LONGEST_MS   1    /* between two interruptions of a call that the peer made blocking */

#ifndef RWF_NOWAIT /* older C libraries lack the flag and preadv2() */
#include <linux/fs.h>
#endif

#ifndef sigev_notify_thread_id /* older C libraries have the field alone */
#define sigev_notify_thread_id _sigev_un._tid
#endif

static _Atomic(aio_context_t) shared_context; /* 0: none yet */
static _Atomic(int64_t) next_try_ms;          /* INT64_MAX: there is no asynchronous I/O */
static atomic_int why_none;                   /* errno of the last try */

/* A context belongs to the process that made it. */
static void forget_context(void)
{
        atomic_store(&shared_context, 0);
}

static void forget_context_in_children(void)
{
        pthread_atfork(NULL, NULL, forget_context);
}

static int64_t coarse_now_ms(void)
{
        return coarse_now_ns() / 1000000;
}

/* EAGAIN and ENOMEM can pass: any process may use up the system's limit on contexts, and give its share back. */
static void note_failure(int error)
{
        bool passes = error == EAGAIN || error == ENOMEM;

        atomic_store(&why_none, error);
        atomic_store(&next_try_ms, passes ? coarse_now_ms() + TRY_AGAIN_MS : INT64_MAX);
}

/* Returns 0 if there is no asynchronous I/O, or not at the moment. */
static aio_context_t get_context(void)
{
        static pthread_once_t once = PTHREAD_ONCE_INIT;
        aio_context_t context = atomic_load(&shared_context), none = 0;

        if (context || coarse_now_ms() < atomic_load(&next_try_ms))
                return context;
        pthread_once(&once, forget_context_in_children);
        if (syscall(SYS_io_setup, ROOM, &context) < 0) {
                note_failure(errno);
                return 0;
        }
        if (atomic_compare_exchange_strong(&shared_context, &none, context))
                return context;
        /* Another thread has set shared_context first. */
        syscall(SYS_io_destroy, context);
        return none;
}

void fd_event_prepare(const struct oriel_log *log)
{
        static atomic_bool said;

        if (get_context() || !log || !log->write || atomic_exchange(&said, true))
                return;
        if (atomic_load(&why_none) == EAGAIN)
                log_warning(log, "no asynchronous I/O, since the system's limit is used up: raise fs.aio-max-nr; until "
                                 "there is room a peer can delay each notification by a millisecond");
        else
                log_warning(log, "no asynchronous I/O: %s; a peer can delay each notification by a millisecond",
                            strerror(atomic_load(&why_none)));
}

/* Completed requests occupy the ring until they are read, so a full ring is emptied. */
static int signal_submit(aio_context_t context, struct iocb *request)
{
        struct io_event done[64];
        struct timespec at_once = {0};

        for (int tries = 0; tries < 16; tries++) {
                if (syscall(SYS_io_submit, context, 1, &request) == 1)
                        return 0;
                if (errno != EAGAIN)
                        return -errno;
                syscall(SYS_io_getevents, context, 0, ARRAY_SIZE(done), done, &at_once);
        }
        return -EAGAIN;
}

/* ---- without asynchronous I/O ---- */

static int wake_signal; /* 0: none was free */

static void be_interrupted(int number)
{
}

/* A periodic timer for this thread: its first signal may come before the call that it has to interrupt. */
static int start_timer(int number, timer_t *timer)
{
        const struct itimerspec often = {.it_interval.tv_nsec = LONGEST_MS * 1000000,
                                         .it_value.tv_nsec = LONGEST_MS * 1000000};
        struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = number};

        event.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
        if (timer_create(CLOCK_MONOTONIC, &event, timer) < 0)
                return errno == EINVAL ? -EINVAL : -ENOMEM;
        timer_settime(*timer, 0, &often, NULL);
        return 0;
}

/* QEMU's user mode takes the last signals, and has no timer that sends them. */
static bool timer_can_send(int number)
{
        timer_t timer;
        int r = start_timer(number, &timer);

        if (r == 0)
                timer_delete(timer);
        return r != -EINVAL;
}

/* Takes a real-time signal whose action is the default. Without SA_RESTART, so that the call ends with EINTR. */
static void choose_signal(void)
{
        struct sigaction before, ours = {.sa_handler = be_interrupted, .sa_flags = SA_ONSTACK};

        sigemptyset(&ours.sa_mask);
        for (int number = SIGRTMAX; number >= SIGRTMIN && !wake_signal; number--) {
                if (sigaction(number, NULL, &before) < 0 || before.sa_flags & SA_SIGINFO ||
                    before.sa_handler != SIG_DFL || sigaction(number, &ours, NULL) < 0)
                        continue;
                if (timer_can_send(number))
                        wake_signal = number;
                else
                        sigaction(number, &before, NULL);
        }
}

enum transfer { TRANSFER_READ, TRANSFER_WRITE };

/* read(2) or write(2): 0 or a negative errno. -EAGAIN: it would have to wait. -ENOMEM: not tried, for want of a timer
 * or a signal to end it with. */
static int counter_transfer(int fd, enum transfer direction, uint64_t *value)
{
        static pthread_once_t once = PTHREAD_ONCE_INIT;
        sigset_t set, before;
        timer_t timer;
        int r = fd_set_nonblocking(fd, 1);

        if (r < 0)
                return r;
        pthread_once(&once, choose_signal);
        if (!wake_signal)
                return -ENOMEM;
        sigemptyset(&set);
        sigaddset(&set, wake_signal);
        pthread_sigmask(SIG_UNBLOCK, &set, &before);
        r = start_timer(wake_signal, &timer);
        if (r == 0) {
                ssize_t n =
                        direction == TRANSFER_READ ? read(fd, value, sizeof(*value)) : write(fd, value, sizeof(*value));

                r = n < 0 ? -errno : 0;
                timer_delete(timer);
        }
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        return r == -EINTR ? -EAGAIN : r;
}

static int signal_by_write(int fd)
{
        uint64_t one = 1, nothing = 0;
        int r = counter_transfer(fd, TRANSFER_WRITE, &one);

        /* Adding 0 always fits, and wakes edge-triggered waiters. */
        if (r == -EAGAIN)
                r = counter_transfer(fd, TRANSFER_WRITE, &nothing);
        return r == -EAGAIN ? 0 : r;
}

int fd_event_signal(int fd)
{
        aio_context_t context = get_context();
        struct iocb request = {
                .aio_lio_opcode = IOCB_CMD_PREAD,
                .aio_fildes = (uint32_t)fd,
                .aio_flags = IOCB_FLAG_RESFD,
                .aio_resfd = (uint32_t)fd,
        };
        int r = context ? signal_submit(context, &request) : -ENOSYS;

        return r == 0 || r == -EBADF || r == -EINVAL ? r : signal_by_write(fd);
}

void fd_event_wake(int fd)
{
        const uint64_t one = 1;
        int saved = errno;

        /* If the counter is full, its readers have been woken already. */
        while (write(fd, &one, sizeof(one)) < 0 && errno == EINTR)
                ;
        errno = saved;
}

/* Checks @fd without a call into its file's own code: an eventfd's inode has no type, and takes a write of 8 bytes. */
static int check_by_write(int fd)
{
        uint64_t nothing = 0;
        struct statx stat;

        if (fd_look(fd, &stat) < 0 || stat.stx_mode & S_IFMT)
                return -EINVAL;

        int r = counter_transfer(fd, TRANSFER_WRITE, &nothing);

        /* -EAGAIN: an eventfd whose counter is full. */
        return r == 0 || r == -EAGAIN ? 0 : -EINVAL;
}

/* The kernel resolves the eventfd to signal before it reads the request's vector, and that vector is at an address
 * where no program has memory: so -EFAULT means that @fd is an eventfd. */
int fd_event_check(int fd)
{
        aio_context_t context = get_context();
        struct iocb request = {
                .aio_lio_opcode = IOCB_CMD_PREADV,
                .aio_fildes = (uint32_t)fd,
                .aio_buf = UINTPTR_MAX & ~UINT64_C(4095),
                .aio_nbytes = 1,
                .aio_flags = IOCB_FLAG_RESFD,
                .aio_resfd = (uint32_t)fd,
        };
        int r = context ? signal_submit(context, &request) : -ENOSYS;

        if (r == -EFAULT)
                return 0;
        return r == -EBADF || r == -EINVAL ? -EINVAL : check_by_write(fd);
}

int fd_event_clear(int fd)
{
        uint64_t value;
        struct iovec iov = {&value, sizeof(value)};
        ssize_t n;

        do
                n = syscall(SYS_preadv2, fd, &iov, 1UL, -1L, -1L, RWF_NOWAIT);
        while (n < 0 && errno == EINTR);

        int r = n < 0 ? -errno : 0;

        /* Replacements of Linux, and sandboxes, do not support this flag for eventfds. */
        if (r == -EOPNOTSUPP || r == -ENOSYS)
                r = counter_transfer(fd, TRANSFER_READ, &value);
        return r == 0 ? 1 : r == -EAGAIN ? 0 : r;
}
