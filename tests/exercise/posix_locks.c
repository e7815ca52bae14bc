/* SPDX-License-Identifier: BSD-2-Clause */
/* Record locks of processes and of open files, and flock(), between processes. */
#include "posix.h"

#include <signal.h>
#include <stdio.h>
#include <sys/file.h>

static int set_lock(int fd, int command, int type, off_t start, off_t length)
{
        struct flock lock = {.l_type = (short)type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};

        return fcntl(fd, command, &lock);
}

/* The lock that is in the way of a lock, from another process's view; F_UNLCK: none. */
static struct flock get_lock(int fd, int type, off_t start, off_t length)
{
        struct flock lock = {.l_type = (short)type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};

        OK(fcntl(fd, F_GETLK, &lock));
        return lock;
}

static int new_file(void)
{
        int fd = OK(open("file", O_RDWR | O_CREAT, 0644));

        OK(ftruncate(fd, 1000));
        return fd;
}

CASE("lock.write-excludes", "a write lock excludes all others, where it overlaps")
{
        int fd = new_file();

        OK(set_lock(fd, F_SETLK, F_WRLCK, 100, 100));
        IN_CHILD({
                int own = OK(open("file", O_RDWR));

                FAILS(set_lock(own, F_SETLK, F_WRLCK, 199, 1), EACCES, EAGAIN);
                FAILS(set_lock(own, F_SETLK, F_RDLCK, 0, 0), EACCES, EAGAIN);
                OK(set_lock(own, F_SETLK, F_WRLCK, 0, 100));
                OK(set_lock(own, F_SETLK, F_WRLCK, 200, 0));
        });
}

CASE("lock.read-shares", "read locks are shared, and exclude write locks")
{
        int fd = new_file();

        OK(set_lock(fd, F_SETLK, F_RDLCK, 0, 0));
        IN_CHILD({
                int own = OK(open("file", O_RDWR));

                OK(set_lock(own, F_SETLK, F_RDLCK, 0, 0));
                FAILS(set_lock(own, F_SETLK, F_WRLCK, 0, 0), EACCES, EAGAIN);
        });
}

CASE("lock.inherited-descriptor", "a child has not its parent's locks, though it has the descriptor")
{
        int fd = new_file();

        OK(set_lock(fd, F_SETLK, F_WRLCK, 0, 0));
        IN_CHILD(FAILS(set_lock(fd, F_SETLK, F_WRLCK, 0, 0), EACCES, EAGAIN));
}

CASE("lock.get", "F_GETLK tells kind, range and owner of what is in the way")
{
        int fd = new_file();
        pid_t parent = getpid();

        OK(set_lock(fd, F_SETLK, F_WRLCK, 100, 50));
        IN_CHILD({
                struct flock lock = get_lock(OK(open("file", O_RDWR)), F_RDLCK, 0, 0);

                EQUAL(lock.l_type, F_WRLCK);
                EQUAL(lock.l_start, 100);
                EQUAL(lock.l_len, 50);
                EQUAL(lock.l_pid, parent);
        });
        EQUAL(get_lock(fd, F_WRLCK, 0, 0).l_type, F_UNLCK);
}

CASE("lock.splits-and-joins", "a part that is unlocked is free, and the rest is not")
{
        int fd = new_file();

        OK(set_lock(fd, F_SETLK, F_WRLCK, 0, 300));
        OK(set_lock(fd, F_SETLK, F_UNLCK, 100, 100));
        IN_CHILD({
                int own = OK(open("file", O_RDWR));

                EQUAL(get_lock(own, F_WRLCK, 0, 100).l_type, F_WRLCK);
                EQUAL(get_lock(own, F_WRLCK, 100, 100).l_type, F_UNLCK);
                EQUAL(get_lock(own, F_WRLCK, 150, 100).l_start, 200);
        });
        OK(set_lock(fd, F_SETLK, F_RDLCK, 0, 50));
        IN_CHILD({
                int own = OK(open("file", O_RDWR));

                EQUAL(get_lock(own, F_RDLCK, 0, 50).l_type, F_UNLCK);
                EQUAL(get_lock(own, F_WRLCK, 0, 50).l_type, F_RDLCK);
                EQUAL(get_lock(own, F_RDLCK, 50, 50).l_type, F_WRLCK);
        });
}

CASE("lock.behind-end", "a lock may lie behind the end of the file, and reach to where it will ever grow")
{
        int fd = new_file();

        OK(set_lock(fd, F_SETLK, F_WRLCK, 10000, 0));
        IN_CHILD({
                int own = OK(open("file", O_RDWR));

                FAILS(set_lock(own, F_SETLK, F_WRLCK, (off_t)1 << 60, 1), EACCES, EAGAIN);
                OK(set_lock(own, F_SETLK, F_WRLCK, 9999, 1));
        });
}

CASE("lock.closing-any", "closing any descriptor of the file gives up all the process's locks on it")
{
        int fd = new_file();

        OK(set_lock(fd, F_SETLK, F_WRLCK, 0, 0));
        OK(close(OK(open("file", O_RDONLY))));
        IN_CHILD(OK(set_lock(OK(open("file", O_RDWR)), F_SETLK, F_WRLCK, 0, 0)));
}

CASE("lock.ends-with-process", "a process's locks end with it, however it ends")
{
        struct gate locked;
        int fd = new_file();

        gate_make(&locked);

        pid_t pid = posix_fork();

        if (pid == 0) {
                OK(set_lock(OK(open("file", O_RDWR)), F_SETLK, F_WRLCK, 0, 0));
                gate_open(&locked);
                pause();
        }
        gate_wait(&locked);
        FAILS(set_lock(fd, F_SETLK, F_WRLCK, 0, 0), EACCES, EAGAIN);
        OK(kill(pid, SIGKILL));
        OK(set_lock(fd, F_SETLKW, F_WRLCK, 0, 0));
}

CASE("lock.waits", "F_SETLKW waits until the lock is free")
{
        struct gate locked;
        int fd = new_file();

        gate_make(&locked);

        pid_t pid = posix_fork();

        if (pid == 0) {
                int own = OK(open("file", O_RDWR));

                OK(set_lock(own, F_SETLK, F_WRLCK, 0, 0));
                gate_open(&locked);
                tick();
                EQUAL(pwrite(own, "first", 5, 0), 5);
                OK(set_lock(own, F_SETLK, F_UNLCK, 0, 0));
                _exit(0);
        }
        gate_wait(&locked);
        OK(set_lock(fd, F_SETLKW, F_WRLCK, 0, 0));
        expect_bytes(fd, 0, "first", 5);
        posix_join(pid);
}

static void nothing(int number)
{
}

CASE("lock.interrupted", "EINTR for a wait that a signal interrupts")
{
        struct gate locked;
        int fd = new_file();

        gate_make(&locked);

        pid_t parent = getpid(), pid = posix_fork();

        if (pid == 0) {
                OK(set_lock(OK(open("file", O_RDWR)), F_SETLK, F_WRLCK, 0, 0));
                gate_open(&locked);
                for (;;) {
                        tick();
                        OK(kill(parent, SIGUSR1));
                }
        }

        struct sigaction action = {.sa_handler = nothing};

        OK(sigaction(SIGUSR1, &action, NULL));
        while (read(locked.fds[0], &(char){0}, 1) < 0)
                EQUAL(errno, EINTR);
        FAILS(set_lock(fd, F_SETLKW, F_WRLCK, 0, 0), EINTR);
        kill(pid, SIGKILL);
}

CASE("lock.deadlock", "EDEADLK for two that would wait for each other for ever, where that is found out")
{
        struct gate locked;
        int fd = new_file();

        gate_make(&locked);
        OK(set_lock(fd, F_SETLK, F_WRLCK, 0, 1));

        pid_t pid = posix_fork();

        if (pid == 0) {
                int own = OK(open("file", O_RDWR));

                OK(set_lock(own, F_SETLK, F_WRLCK, 1, 1));
                gate_open(&locked);
                OK(set_lock(own, F_SETLKW, F_WRLCK, 0, 1));
                _exit(0);
        }
        gate_wait(&locked);
        tick();
        FAILS(set_lock(fd, F_SETLKW, F_WRLCK, 1, 1), EDEADLK);
        OK(set_lock(fd, F_SETLK, F_UNLCK, 0, 1));
        posix_join(pid);
}

CASE("lock.errors", "EBADF for a lock that the descriptor is not open for, EINVAL for a range before the start")
{
        int fd = new_file(), in = OK(open("file", O_RDONLY)), out = OK(open("file", O_WRONLY));

        FAILS(set_lock(in, F_SETLK, F_WRLCK, 0, 0), EBADF);
        FAILS(set_lock(out, F_SETLK, F_RDLCK, 0, 0), EBADF);
        FAILS(set_lock(fd, F_SETLK, F_RDLCK, -1, 10), EINVAL);
        FAILS(set_lock(fd, F_SETLK, 99, 0, 0), EINVAL);
}

CASE("lock.advisory", "a lock keeps nobody from writing")
{
        int fd = new_file();

        OK(set_lock(fd, F_SETLK, F_WRLCK, 0, 0));
        IN_CHILD(EQUAL(pwrite(OK(open("file", O_RDWR)), "x", 1, 0), 1));
        expect_bytes(fd, 0, "x", 1);
}

CASE("lock.of-open-file", "a lock of F_OFD_SETLK belongs to the open file, and excludes others of the process")
{
        int a = new_file(), b = OK(open("file", O_RDWR));

        OK(set_lock(a, F_OFD_SETLK, F_WRLCK, 0, 100));
        FAILS(set_lock(b, F_OFD_SETLK, F_WRLCK, 50, 100), EAGAIN, EACCES);
        OK(set_lock(b, F_OFD_SETLK, F_WRLCK, 100, 100));

        int c = OK(dup(a));

        OK(close(a));
        FAILS(set_lock(b, F_OFD_SETLK, F_WRLCK, 50, 10), EAGAIN, EACCES);
        OK(close(c));
        OK(set_lock(b, F_OFD_SETLK, F_WRLCK, 50, 10));
}

/* ---- flock() ---- */

CASE("flock.excludes", "an exclusive flock excludes all others, a shared one the exclusive")
{
        int a = new_file(), b = OK(open("file", O_RDWR));

        OK(flock(a, LOCK_EX));
        FAILS(flock(b, LOCK_EX | LOCK_NB), EWOULDBLOCK);
        FAILS(flock(b, LOCK_SH | LOCK_NB), EWOULDBLOCK);
        OK(flock(a, LOCK_SH));
        OK(flock(b, LOCK_SH | LOCK_NB));
        FAILS(flock(b, LOCK_EX | LOCK_NB), EWOULDBLOCK);
        OK(flock(a, LOCK_UN));
        OK(flock(b, LOCK_EX | LOCK_NB));
}

CASE("flock.inherited", "a child shares its parent's flock, and may give it up")
{
        int a = new_file(), b = OK(open("file", O_RDWR));

        OK(flock(a, LOCK_EX));
        IN_CHILD({
                OK(flock(a, LOCK_EX | LOCK_NB));
                FAILS(flock(b, LOCK_EX | LOCK_NB), EWOULDBLOCK);
                OK(flock(a, LOCK_UN));
        });
        OK(flock(b, LOCK_EX | LOCK_NB));
}

CASE("flock.closing", "it is given up when the open file is closed for the last time")
{
        int a = new_file(), b = OK(open("file", O_RDWR)), c = OK(dup(a));

        OK(flock(a, LOCK_EX));
        OK(close(a));
        FAILS(flock(b, LOCK_EX | LOCK_NB), EWOULDBLOCK);
        OK(close(c));
        OK(flock(b, LOCK_EX | LOCK_NB));
}

CASE("flock.read-only", "flock needs neither write nor read")
{
        OK(close(new_file()));
        OK(flock(OK(open("file", O_RDONLY)), LOCK_EX));
}

CASE("flock.directory", "a directory can be locked too")
{
        int a = OK(open(".", O_RDONLY)), b = OK(open(".", O_RDONLY));

        OK(flock(a, LOCK_EX));
        FAILS(flock(b, LOCK_EX | LOCK_NB), EWOULDBLOCK);
}

CASE("flock.waits", "flock waits until it is free")
{
        struct gate locked;
        int fd = new_file();

        gate_make(&locked);

        pid_t pid = posix_fork();

        if (pid == 0) {
                int own = OK(open("file", O_RDWR));

                OK(flock(own, LOCK_EX));
                gate_open(&locked);
                tick();
                EQUAL(pwrite(own, "first", 5, 0), 5);
                _exit(0);
        }
        gate_wait(&locked);
        OK(flock(fd, LOCK_EX));
        expect_bytes(fd, 0, "first", 5);
        posix_join(pid);
}

CASE("lease.none-or-kept", "a read lease is refused, or granted where nobody writes")
{
        OK(close(new_file()));

        int fd = OK(open("file", O_RDONLY));

        if (fcntl(fd, F_SETLEASE, F_RDLCK) < 0)
                CHECK(errno == EINVAL || errno == EAGAIN || errno == EOPNOTSUPP);
        else
                EQUAL(fcntl(fd, F_GETLEASE), F_RDLCK);
}
