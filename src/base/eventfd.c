/* SPDX-License-Identifier: BSD-2-Clause */

/* eventfds that a peer has too. Both ends of a session share each kick, call and err eventfd, and so its counter and
 * its flags: at any moment the peer may fill the counter and make the descriptor blocking, and write() then waits until
 * the peer lets it go on. To look first is a race, and no flag of a single write says otherwise: pwritev2() with
 * RWF_NOWAIT is not for eventfds.
 *
 * So the kernel signals. Asynchronous I/O (io_submit(2)) tells an eventfd of the caller's choice that a request is
 * done, never waits for that, and stops at the greatest value that a counter can have. The request is a read of no
 * bytes from that very eventfd, which fails at once and changes nothing. One context serves all threads of the process.
 *
 * Where there is no asynchronous I/O (CONFIG_AIO, fs.aio-max-nr, a filter of system calls) the descriptor is made
 * non-blocking before each write, and a peer that makes it blocking in between has its queue's thread wait. */

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/syscalls.h"

#include <linux/aio_abi.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

USES_SYSCALLS(SYSCALL(preadv2), SYSCALL(read), SYSCALL(write), SYSCALL(fstat), SYSCALL(io_setup), SYSCALL(io_submit),
              SYSCALL(io_getevents), SYSCALL(io_destroy));

#define ROOM 16 /* requests of the system's limit that this process takes; the kernel makes room for more */

static _Atomic(aio_context_t) shared_context; /* 0: none yet */
static atomic_bool has_no_aio;

/* A context belongs to the process that made it. */
static void forget_context(void)
{
        atomic_store(&shared_context, 0);
}

static void forget_context_in_children(void)
{
        pthread_atfork(NULL, NULL, forget_context);
}

/* 0: there is no asynchronous I/O. */
static aio_context_t get_context(void)
{
        static pthread_once_t once = PTHREAD_ONCE_INIT;
        aio_context_t context = atomic_load(&shared_context), none = 0;

        if (context || atomic_load(&has_no_aio))
                return context;
        pthread_once(&once, forget_context_in_children);
        if (syscall(SYS_io_setup, ROOM, &context) < 0) {
                atomic_store(&has_no_aio, true);
                return 0;
        }
        if (atomic_compare_exchange_strong(&shared_context, &none, context))
                return context;
        /* Another thread was first. */
        syscall(SYS_io_destroy, context);
        return none;
}

/* Requests that are done keep their places until they are taken out. */
static int submit(aio_context_t context, struct iocb *request)
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

static int signal_by_write(int fd)
{
        const uint64_t one = 1;
        int r = fd_set_nonblocking(fd, 1);

        if (r < 0)
                return r;
        do
                r = write(fd, &one, sizeof(one)) < 0 ? -errno : 0;
        while (r == -EINTR);

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
        int r = context ? submit(context, &request) : -ENOSYS;

        return r == 0 || r == -EBADF || r == -EINVAL ? r : signal_by_write(fd);
}

/* As far as can be told without asking the file's own code: an inode without a type that can be added to. */
static int check_by_write(int fd)
{
        const uint64_t nothing = 0;
        struct stat stat;

        if (fstat(fd, &stat) < 0 || stat.st_mode & S_IFMT || fd_set_nonblocking(fd, 1) < 0)
                return -EINVAL;
        /* A counter that is full is one, too. */
        return write(fd, &nothing, sizeof(nothing)) == sizeof(nothing) || errno == EAGAIN ? 0 : -EINVAL;
}

/* The kernel finds the eventfd that is to be told before it looks at the request's buffer, and this one's vector is
 * where no program has memory. */
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
        int r = context ? submit(context, &request) : -ENOSYS;

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
                n = preadv2(fd, &iov, 1, -1, RWF_NOWAIT);
        while (n < 0 && errno == EINTR);

        /* Kernels that are no Linux, or not as it is, have no such flag for an eventfd. */
        if (n < 0 && (errno == EOPNOTSUPP || errno == ENOSYS) && fd_set_nonblocking(fd, 1) == 0)
                do
                        n = read(fd, &value, sizeof(value));
                while (n < 0 && errno == EINTR);

        if (n < 0)
                return errno == EAGAIN ? 0 : -errno;
        return n > 0;
}
