/* SPDX-License-Identifier: BSD-2-Clause */

/* The file that a pmem device shows. Two things can happen to it: other processes use it, or it becomes shorter. It
 * is opened twice: a front-end that has mapped it keeps that open file description for as long as its guest runs, so
 * the lock is on a second one that no other process has. */

#include "devices/pmem/image.h"

#include "base/fd.h"
#include "base/range.h"
#include "base/syscalls.h"
#include "program/report.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/param.h>
#include <sys/stat.h>
#include <unistd.h>

USES_SYSCALLS(SYSCALL(fdatasync), SYSCALL(fstat), SYSCALL(newfstatat));

/* Linux requires the size of a pmem device to be a multiple of this. */
#define ALIGNMENT (UINT64_C(2) << 20)

/* How long a process that was killed may take to end, and to release its lock. */
#define ENDING_MS 500

struct pmem_image image;
static atomic_bool lost; /* a part of the shown file was gone, and no flush has failed for that since it is back */

static int image_lock(void)
{
        const int kind = image.readonly ? LOCK_SH : LOCK_EX;

        for (int ms = 0; flock(image.lock_fd, kind | LOCK_NB) < 0 && errno == EWOULDBLOCK; ms += 10) {
                if (ms == ENDING_MS)
                        return fail("%s: another process has it open%s", image.path,
                                    image.readonly ? " for writing" : ": several may with --readonly");
                usleep(10000);
        }
        return STATUS_SUCCESS;
}

static int image_open_file(void)
{
        const int flags = (image.readonly && !image.writable ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK;

        image.fd = open(image.path, flags);
        if (image.fd < 0 && !image.readonly && (errno == EACCES || errno == EROFS))
                return fail("%s: %s: --readonly shows it all the same", image.path, strerror(errno));
        if (image.fd >= 0)
                image.lock_fd = open(image.path, flags);
        if (image.fd < 0 || image.lock_fd < 0)
                return fail("%s: %s", image.path, strerror(errno));
        return image_lock();
}

static int image_measure(void)
{
        struct stat st;

        if (fstat(image.fd, &st) < 0 || !S_ISREG(st.st_mode))
                return fail("%s: not a regular file, which alone can be shown in a window", image.path);

        uint64_t there = (uint64_t)st.st_size, size = image.size ? image.size : there;

        if (there == 0)
                return fail("%s: it is empty", image.path);
        image.shown = MIN(there, size);
        if (!checked_round_up(image.shown, (uint64_t)sysconf(_SC_PAGESIZE), &image.length) ||
            !checked_round_up(size, ALIGNMENT, &image.region))
                return fail("%s: a device can't be so large", image.path);
        return STATUS_SUCCESS;
}

int image_open(void)
{
        int status = image_open_file();

        if (status == STATUS_SUCCESS)
                status = image_measure();
        if (status != STATUS_SUCCESS)
                return status;
        image.watch_fd = inotify_init1(IN_CLOEXEC);
        if (image.watch_fd >= 0 && inotify_add_watch(image.watch_fd, image.path, IN_MODIFY) < 0)
                image.watch_fd = fd_close(image.watch_fd);
        return STATUS_SUCCESS;
}

uint64_t image_left(void)
{
        struct stat st;
        const uint64_t left = fstat(image.fd, &st) < 0 ? 0 : MIN((uint64_t)st.st_size, image.shown);

        if (left < image.shown)
                atomic_store(&lost, true);
        return left;
}

int image_sync(void)
{
        if (image.readonly)
                return 0;
        if (fdatasync(image.fd) < 0)
                return -errno;
        return image_left() < image.shown || atomic_exchange(&lost, false) ? -EIO : 0;
}
