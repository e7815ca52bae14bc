/* SPDX-License-Identifier: BSD-2-Clause */

/* The system calls of an operation, made by this process: the part of the cost that no back-end can avoid. Each
 * operation has one function, with the same files, sizes and offsets as its FUSE row (rows.c), on descriptors that
 * alone_open() has opened in the scratch directory, and with buffers in shared memory. alone_measure() repeats one for
 * the given time and adds count, time and CPU time of this thread to a tally. */

#include "base/clock.h"
#include "base/fd.h"
#include "bench/fs/rows.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define BUFFERS_SIZE (LOAD_DEPTH_MAX * LOAD_DATA_SIZE)

/* Buffers are in shared memory, as a guest's are. */
int alone_open(struct alone *alone, const struct bench_place *place)
{
        void *buffers =
                mmap(NULL, BUFFERS_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

        *alone = (struct alone){
                .data_fd = place_open(place, "data", O_RDONLY),
                .written_fd = place_open(place, "written", O_RDWR),
                .new_fd = place_open(place, "new", O_PATH | O_DIRECTORY),
                .buffers = buffers == MAP_FAILED ? NULL : buffers,
        };
        if (alone->data_fd >= 0 && alone->written_fd >= 0 && alone->new_fd >= 0 && alone->buffers)
                return 0;

        int error = errno;

        alone_close(alone);
        return -error;
}

void alone_close(struct alone *alone)
{
        fd_close(alone->data_fd);
        fd_close(alone->written_fd);
        fd_close(alone->new_fd);
        if (alone->buffers)
                munmap(alone->buffers, BUFFERS_SIZE);
        *alone = (struct alone){-1, -1, -1, NULL};
}

static int alone_check_size(ssize_t n, uint32_t size)
{
        return n == (ssize_t)size ? 0 : n < 0 ? -errno : -EIO;
}

int alone_read(struct rows_state *state, const struct alone *alone, uint8_t *buffer)
{
        const struct iovec iov = {buffer, state->size};

        return alone_check_size(preadv2(alone->data_fd, &iov, 1, (off_t)next_offset(state, state->read_size), 0),
                                state->size);
}

int alone_write(struct rows_state *state, const struct alone *alone, uint8_t *buffer)
{
        const struct iovec iov = {buffer, state->size};

        return alone_check_size(pwritev2(alone->written_fd, &iov, 1, (off_t)next_offset(state, state->write_size), 0),
                                state->size);
}

/* The answer to CREATE has the file's attributes, which need a call of their own here. */
int alone_create(struct rows_state *state, const struct alone *alone, uint8_t *buffer)
{
        struct statx stat;
        char name[16];

        snprintf(name, sizeof(name), "n%08x", state->next++);

        int fd = openat(alone->new_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

        if (fd < 0)
                return -errno;

        int r = statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &stat) < 0 ? -errno : 0;

        fd_close(fd);
        if (unlinkat(alone->new_fd, name, 0) < 0 && r == 0)
                r = -errno;
        return r;
}

static int64_t own_cpu_ns(void)
{
        struct timespec ts;

        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
        return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int alone_measure(struct rows_state *state, const struct alone *alone, alone_operation *operation, unsigned depth,
                  int64_t length_ns, struct bench_tally *tally)
{
        int64_t cpu = own_cpu_ns(), begin = now_ns(), now = begin;
        int r = 0;

        for (; r == 0 && now - begin < length_ns; now = now_ns()) {
                r = operation(state, alone, alone->buffers + tally->count % depth * LOAD_DATA_SIZE);
                tally->count += r == 0;
        }
        tally->ns += now - begin;
        tally->cpu_ns += own_cpu_ns() - cpu;
        return r;
}
