/* SPDX-License-Identifier: BSD-2-Clause */

/* A front-end with limits for tests of the window, as QEMU 11.1 has them: it maps whole pages only, or nothing
 * read-only, and refuses the rest. Its memory is real, so a test reads and writes where a guest would. */

#include "devices/fs/test/test-limited.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int refusal(const struct frontend *frontend, struct oriel_range range, int fd, uint64_t fd_offset)
{
        off_t size = lseek(fd, 0, SEEK_END);

        if (!frontend->maps_readonly && (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY)
                return -EREMOTEIO;
        if (!frontend->maps_partial && (uint64_t)size < fd_offset + range.size)
                return -EREMOTEIO;
        return 0;
}

static void place(struct frontend *frontend, struct oriel_range range, int fd, uint64_t fd_offset)
{
        bool readonly = (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY;
        void *at = mmap(frontend->memory + range.start, range.size, readonly ? PROT_READ : PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_FIXED, fd, (off_t)fd_offset);

        assert_ptr_equal(at, frontend->memory + range.start);
        frontend->live[frontend->n_live++] = range;
        if (frontend->n_live > frontend->most_live)
                frontend->most_live = frontend->n_live;
}

static uint64_t answer(struct frontend *frontend, int answer)
{
        frontend->answers[++frontend->tickets % TICKETS] = answer;
        return frontend->tickets;
}

static int submit_map(void *userdata, struct oriel_range range, int fd, uint64_t fd_offset, bool writable,
                      uint64_t *ticket)
{
        struct frontend *frontend = userdata;

        (void)writable; /* it maps everything writable */
        pthread_mutex_lock(&frontend->lock);

        int r = refusal(frontend, range, fd, fd_offset);

        for (unsigned i = 0; i < frontend->n_live; i++)
                frontend->deadly += frontend->live[i].start < range.start + range.size &&
                                    range.start < frontend->live[i].start + frontend->live[i].size;
        frontend->deadly += lseek(fd, 0, SEEK_END) == 0 || frontend->n_live + 1 >= DIES_AT;
        if (r == 0 && frontend->n_live + 1 < DIES_AT)
                place(frontend, range, fd, fd_offset);
        if (frontend->last_fd > 0)
                close(frontend->last_fd);
        frontend->last_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        *ticket = answer(frontend, r);
        pthread_mutex_unlock(&frontend->lock);
        return 0;
}

static int submit_unmap(void *userdata, struct oriel_range range, uint64_t *ticket)
{
        struct frontend *frontend = userdata;
        int r = -EREMOTEIO;

        pthread_mutex_lock(&frontend->lock);
        for (unsigned i = 0; r < 0 && i < frontend->n_live; i++)
                if (frontend->live[i].start == range.start && frontend->live[i].size == range.size) {
                        frontend->live[i] = frontend->live[--frontend->n_live];
                        mmap(frontend->memory + range.start, range.size, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
                        r = 0;
                }
        frontend->deadly += r < 0;
        *ticket = answer(frontend, r);
        pthread_mutex_unlock(&frontend->lock);
        return 0;
}

static int wait_for(void *userdata, uint64_t ticket)
{
        struct frontend *frontend = userdata;

        pthread_mutex_lock(&frontend->lock);

        int r = frontend->answers[ticket % TICKETS];

        pthread_mutex_unlock(&frontend->lock);
        return r;
}

static void take_line(void *userdata, enum oriel_log_level level, const char *line)
{
        struct frontend *frontend = userdata;

        if (level != ORIEL_LOG_WARNING)
                return;
        frontend->warnings++;
        snprintf(frontend->warning, sizeof(frontend->warning), "%s", line);
}

struct world *begin_with(struct fs_options options, const struct frontend *abilities)
{
        static const struct fs_window_ops ops = {submit_map, submit_unmap, wait_for};
        struct world *world = calloc(1, sizeof(*world));

        assert_non_null(world);
        world->frontend = *abilities;
        pthread_mutex_init(&world->frontend.lock, NULL);
        world->frontend.memory =
                mmap(NULL, WINDOW, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        assert_ptr_not_equal(world->frontend.memory, MAP_FAILED);
        options.window_size = options.window_size ? options.window_size : WINDOW;
        options.window_ops = &ops;
        options.window_userdata = &world->frontend;
        options.log = (struct oriel_log){sizeof(struct oriel_log), take_line, &world->frontend, ORIEL_LOG_WARNING};
        client_begin(&world->client, &options);
        return world;
}

struct world *begin(void)
{
        return begin_with((struct fs_options){0}, &(struct frontend){.n_live = 0});
}

void end(struct world *world)
{
        client_end(&world->client);
        assert_int_equal(world->frontend.deadly, 0);
        close(world->frontend.last_fd);
        munmap(world->frontend.memory, WINDOW);
        pthread_mutex_destroy(&world->frontend.lock);
        free(world);
}

void make(struct world *world, const char *name, size_t size, char filling)
{
        int fd = openat(world->client.share_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
        char *bytes = malloc(size + 1);

        assert_true(fd >= 0 && bytes);
        memset(bytes, filling, size);
        assert_int_equal(write(fd, bytes, size), size);
        free(bytes);
        close(fd);
}

char host_byte(struct world *world, const char *name, off_t at)
{
        int fd = openat(world->client.share_fd, name, O_RDONLY | O_CLOEXEC);
        char byte = 0;

        assert_true(fd >= 0);
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        close(fd);
        return byte;
}

off_t host_size(struct world *world, const char *name)
{
        struct stat stat;

        assert_int_equal(fstatat(world->client.share_fd, name, &stat, 0), 0);
        return stat.st_size;
}

void host_put(struct world *world, const char *name, off_t at, const char *text)
{
        int fd = openat(world->client.share_fd, name, O_WRONLY | O_CLOEXEC);

        assert_true(fd >= 0);
        assert_int_equal(pwrite(fd, text, strlen(text), at), strlen(text));
        close(fd);
}

void open_mapped(struct world *world, const char *name)
{
        assert_true(client_lookup(&world->client, FUSE_ROOT_ID, name, &world->node) > 0);
        assert_true(client_open(&world->client, FUSE_OPEN, world->node, O_RDWR, &world->fh) > 0);
        assert_int_equal(client_setupmapping(&world->client, world->node, 0, RANGE, 0, FUSE_SETUPMAPPING_FLAG_READ), 0);
}

void fsync_it(struct world *world)
{
        const struct fuse_fsync_in in = {.fh = world->fh};

        assert_int_equal(client_call(&world->client, FUSE_FSYNC, world->node, BODY(START(in)), NULL, 0), 0);
}

void look_at(struct world *world)
{
        const struct fuse_getattr_in in = {0};
        struct fuse_attr_out out;

        assert_true(client_call(&world->client, FUSE_GETATTR, world->node, BODY(START(in)), &out, sizeof(out)) > 0);
}

void truncate_it(struct world *world, uint64_t size)
{
        const struct fuse_setattr_in in = {.valid = FATTR_SIZE | FATTR_FH, .fh = world->fh, .size = size};
        struct fuse_attr_out out;

        assert_true(client_call(&world->client, FUSE_SETATTR, world->node, BODY(START(in)), &out, sizeof(out)) > 0);
}

void write_it(struct world *world, uint64_t at, const void *from, uint32_t size)
{
        assert_true(client_write(&world->client, world->fh, at, from, size, 0, 0) > 0);
}
