/* SPDX-License-Identifier: BSD-2-Clause */

/* The files that show other processes that this one runs.
 *
 * With --socket-path that is PATH.pid, as in virtiofsd: virtme-ng waits for the file, and flock(2) on it, which
 * virtiofsd takes too, keeps a second daemon away. The lock belongs to the open file description, so it ends with the
 * last process that has it. libvirt makes a file of its own, takes a POSIX lock on it in the process that becomes
 * oriel-fs, and considers the daemon dead when the file has no lock. Such a lock belongs to the process, and ends when
 * the process closes any descriptor of the file. */

#include "daemon/pid_file.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/syscalls.h"
#include "program/report.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* For pid_file_remove(), which runs with the filter on where there is no sandbox. */
USES_SYSCALLS_AT_END(SYSCALL_AT(newfstatat, 0), SYSCALL(fstat), SYSCALL_AT(unlinkat, 0));

/* ---- PATH.pid ---- */

#define IN_USE_US    100000
#define IN_USE_TRIES 30

/* Locks of other processes in an inherited file that are skipped in the search. Each makes two questions of one. */
#define OTHER_LOCKS_MOST 1000
#define QUESTIONS_MOST   (2 * OTHER_LOCKS_MOST + 1)

static bool is_still_named(const struct pid_file *file)
{
        struct stat named, open;

        return fstatat(file->directory_fd, file->name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
               fstat(file->fd, &open) == 0 && named.st_dev == open.st_dev && named.st_ino == open.st_ino;
}

/* A file that was left behind is reused. No other kind of file, and none with further links, is written to. */
static int open_locked(struct pid_file *file)
{
        const int flags = O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
        struct stat st;

        file->fd = openat(file->directory_fd, file->name, flags, 0600);
        if (file->fd < 0 || fstat(file->fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode) || st.st_nlink > 1)
                return -EEXIST;
        return flock(file->fd, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
}

static int make_locked(struct pid_file *file)
{
        int r = open_locked(file);

        /* Its owner removed it after it was opened here, so a lock on it protects nothing: another one is opened. */
        while (r == 0 && !is_still_named(file)) {
                file->fd = fd_close(file->fd);
                r = open_locked(file);
        }
        if (r == 0 && (ftruncate(file->fd, 0) < 0 || dprintf(file->fd, "%d\n", (int)getpid()) < 0))
                r = -errno;
        return r;
}

/* A daemon that was told to end may still be running when its successor starts. */
static int make_locked_soon(struct pid_file *file)
{
        int r = make_locked(file);

        for (int tries = 0; r == -EWOULDBLOCK && tries < IN_USE_TRIES; tries++) {
                fd_close(file->fd);
                usleep(IN_USE_US);
                r = make_locked(file);
        }
        return r;
}

/* Opens the directory of @path. */
static int open_directory(const char *path)
{
        _cleanup_(freep) char *copy = strdup(path);

        return copy ? open(dirname(copy), O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
}

int pid_file_make(struct pid_file *file, const char *path)
{
        struct pid_file made = {.fd = -1, .directory_fd = -1};

        if (asprintf(&made.path, "%s.pid", path) < 0)
                return fail("%s.pid: %s", path, strerror(ENOMEM));

        const char *slash = strrchr(made.path, '/');

        made.name = slash ? slash + 1 : made.path;
        made.directory_fd = open_directory(made.path);

        int r = made.directory_fd < 0 ? -errno : make_locked_soon(&made);

        if (r < 0) {
                report("%s: %s", made.path, r == -EWOULDBLOCK ? "locked by a process that runs already" : strerror(-r));
                pid_file_forget(&made);
                return STATUS_FAILURE;
        }
        *file = made;
        return STATUS_SUCCESS;
}

void pid_file_remove(struct pid_file *file)
{
        if (file->path && is_still_named(file))
                unlinkat(file->directory_fd, file->name, 0);
        pid_file_forget(file);
}

void pid_file_forget(struct pid_file *file)
{
        if (file->path) {
                fd_close(file->fd);
                fd_close(file->directory_fd);
        }
        free(file->path);
        file->path = NULL;
}

/* ---- locks of the process that started this one ---- */

/* Asked through the open file description (F_OFD_GETLK), the process's own POSIX locks count as another's. The kernel
 * returns only one conflicting lock, which may be another process's; so the ranges before and behind it are searched
 * too. */
static bool has_lock_of_ours(int fd, off_t from, off_t end, unsigned *questions)
{
        struct flock lock = {
                .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = from, .l_len = end == 0 ? 0 : end - from};

        if (*questions == 0)
                return false;
        (*questions)--;
        if (fcntl(fd, F_OFD_GETLK, &lock) < 0 || lock.l_type == F_UNLCK)
                return false;
        if (lock.l_pid == getpid())
                return true;

        off_t behind = lock.l_len == 0 ? 0 : lock.l_start + lock.l_len;

        return (lock.l_start > from && has_lock_of_ours(fd, from, lock.l_start, questions)) ||
               (behind > 0 && (end == 0 || behind < end) && has_lock_of_ours(fd, behind, end, questions));
}

static bool is_locked_by_us(int fd)
{
        struct stat st;
        unsigned questions = QUESTIONS_MOST;

        return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && has_lock_of_ours(fd, 0, 0, &questions);
}

static void close_dir(DIR **folder)
{
        if (*folder)
                closedir(*folder);
}

int inherited_locks_keep(struct inherited_locks *locks, unsigned kept_fd)
{
        _cleanup_(close_dir) DIR *folder = opendir("/proc/self/fd");

        locks->n = 0;
        if (!folder)
                return fail("/proc/self/fd: %s", strerror(errno));
        for (const struct dirent *entry = readdir(folder); entry; entry = readdir(folder)) {
                char *end;
                int fd = (int)strtol(entry->d_name, &end, 10);

                if (*end || fd <= STDERR_FILENO || (unsigned)fd == kept_fd || fd == dirfd(folder))
                        continue;
                if (!is_locked_by_us(fd))
                        close(fd);
                else if (locks->n < INHERITED_LOCKS_MAX)
                        locks->fds[locks->n++] = fd;
                else
                        return fail("more than %d locked files were inherited", INHERITED_LOCKS_MAX);
        }
        return STATUS_SUCCESS;
}

void inherited_locks_forget(struct inherited_locks *locks)
{
        fd_close_all(locks->fds, locks->n);
        locks->n = 0;
}
