/* SPDX-License-Identifier: BSD-2-Clause */

/* The window of a front-end that can do no more than QEMU 11.1: what the guest finds in it is the files' bytes. */

#include "base/cleanup.h"
#include "devices/fs/test-client.h"

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

enum { WINDOW = 16 << 20, RANGE = 2 << 20, PAGE = 4096, DIES_AT = 511, TICKETS = 1 << 16 };

/* A front-end as facts have it, and its guest's view of the region. */
struct frontend {
        pthread_mutex_t lock;
        uint8_t *memory;
        struct oriel_range live[DIES_AT];
        unsigned n_live, most_live;
        unsigned deadly; /* what it would have died of, or made a file longer for */
        bool maps_partial, maps_readonly;
        int answers[TICKETS];
        uint64_t tickets;
        int last_fd; /* a duplicate of what was mapped last */
        unsigned warnings;
        char warning[512];
};

struct world {
        struct frontend frontend;
        struct client client;
        uint64_t node, fh;
};

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

        (void)writable; /* it does not care */
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

static struct world *begin_with(struct fs_options options, const struct frontend *abilities)
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
        options.log = (struct oriel_log){take_line, &world->frontend, ORIEL_LOG_WARNING};
        client_begin(&world->client, &options);
        return world;
}

static struct world *begin(void)
{
        return begin_with((struct fs_options){0}, &(struct frontend){.n_live = 0});
}

static void end(struct world *world)
{
        client_end(&world->client);
        assert_int_equal(world->frontend.deadly, 0);
        close(world->frontend.last_fd);
        munmap(world->frontend.memory, WINDOW);
        pthread_mutex_destroy(&world->frontend.lock);
        free(world);
}

static void make(struct world *world, const char *name, size_t size, char filling)
{
        int fd = openat(world->client.share_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
        char *bytes = malloc(size + 1);

        assert_true(fd >= 0 && bytes);
        memset(bytes, filling, size);
        assert_int_equal(write(fd, bytes, size), size);
        free(bytes);
        close(fd);
}

/* What the host has. */
static char host_byte(struct world *world, const char *name, off_t at)
{
        int fd = openat(world->client.share_fd, name, O_RDONLY | O_CLOEXEC);
        char byte = 0;

        assert_true(fd >= 0);
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        close(fd);
        return byte;
}

static off_t host_size(struct world *world, const char *name)
{
        struct stat stat;

        assert_int_equal(fstatat(world->client.share_fd, name, &stat, 0), 0);
        return stat.st_size;
}

static void host_put(struct world *world, const char *name, off_t at, const char *text)
{
        int fd = openat(world->client.share_fd, name, O_WRONLY | O_CLOEXEC);

        assert_true(fd >= 0);
        assert_int_equal(pwrite(fd, text, strlen(text), at), strlen(text));
        close(fd);
}

/* Looked up, opened, and its first range set up at the window's start. */
static void open_mapped(struct world *world, const char *name)
{
        assert_true(client_lookup(&world->client, FUSE_ROOT_ID, name, &world->node) > 0);
        assert_true(client_open(&world->client, FUSE_OPEN, world->node, O_RDWR, &world->fh) > 0);
        assert_int_equal(client_setupmapping(&world->client, world->node, 0, RANGE, 0, FUSE_SETUPMAPPING_FLAG_READ), 0);
}

static void fsync_it(struct world *world)
{
        const struct fuse_fsync_in in = {.fh = world->fh};

        assert_int_equal(client_call(&world->client, FUSE_FSYNC, world->node, BODY(START(in)), NULL, 0), 0);
}

static void look_at(struct world *world)
{
        const struct fuse_getattr_in in = {0};
        struct fuse_attr_out out;

        assert_true(client_call(&world->client, FUSE_GETATTR, world->node, BODY(START(in)), &out, sizeof(out)) > 0);
}

static void truncate_it(struct world *world, uint64_t size)
{
        const struct fuse_setattr_in in = {.valid = FATTR_SIZE | FATTR_FH, .fh = world->fh, .size = size};
        struct fuse_attr_out out;

        assert_true(client_call(&world->client, FUSE_SETATTR, world->node, BODY(START(in)), &out, sizeof(out)) > 0);
}

static void write_it(struct world *world, uint64_t at, const void *from, uint32_t size)
{
        assert_true(client_write(&world->client, world->fh, at, from, size, 0, 0) > 0);
}

/* ---- tests ---- */

static void test_found_out(void **state)
{
        const struct {
                struct frontend abilities;
                unsigned warnings;
        } cases[] = {{{.maps_partial = true, .maps_readonly = true}, 0},
                     {{.maps_readonly = true}, 1},
                     {{.maps_partial = true}, 1},
                     {{.n_live = 0}, 1}};

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct world *world = begin_with((struct fs_options){0}, &cases[i].abilities);

                assert_true(world->client.flags & FUSE_MAP_ALIGNMENT);
                /* Tried again, and said once. */
                assert_true(client_init(&world->client) > 0);
                assert_int_equal(world->frontend.warnings, cases[i].warnings);
                assert_int_equal(world->frontend.n_live, 0);
                end(world);
        }
}

static void test_last_page(void **state)
{
        const size_t sizes[] = {1, 4095, 4096, 4097, 10000, RANGE - 1, RANGE, RANGE + 1};

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
                struct world *world = begin();
                size_t shown = sizes[i] < RANGE ? sizes[i] : RANGE;

                make(world, "f", sizes[i], 'f');
                open_mapped(world, "f");
                for (size_t at = 0; at < RANGE; at++)
                        assert_int_equal(world->frontend.memory[at], at < shown ? 'f' : 0);
                assert_int_equal(host_size(world, "f"), sizes[i]);
                /* Set up again for writing: nothing has to be done. */
                uint64_t tickets = world->frontend.tickets;

                assert_int_equal(
                        client_setupmapping(&world->client, world->node, 0, RANGE, 0, FUSE_SETUPMAPPING_FLAG_WRITE), 0);
                assert_int_equal(world->frontend.tickets, tickets);
                assert_int_equal(client_removemapping(&world->client, 0, WINDOW), 0);
                assert_int_equal(world->frontend.n_live, 0);
                end(world);
        }
}

static void test_both_ways(void **state)
{
        struct world *world = begin();

        (void)state;
        make(world, "f", 10000, 'f');
        open_mapped(world, "f");
        world->frontend.memory[9000] = 'g';
        fsync_it(world);
        assert_int_equal(host_byte(world, "f", 9000), 'g');
        host_put(world, "f", 9500, "host");
        assert_int_equal(world->frontend.memory[9500], 'f');
        look_at(world);
        assert_memory_equal(world->frontend.memory + 9499, "fhostf", 6);
        /* Whole pages are the file itself. */
        host_put(world, "f", 100, "host");
        assert_memory_equal(world->frontend.memory + 100, "host", 4);
        /* Neighbours on both sides at once; the same byte on both: the guest's. */
        world->frontend.memory[9600] = world->frontend.memory[9602] = 'g';
        host_put(world, "f", 9601, "hh");
        fsync_it(world);
        assert_memory_equal(world->frontend.memory + 9599, "fghgf", 5);
        assert_int_equal(host_byte(world, "f", 9601), 'h');
        assert_int_equal(host_byte(world, "f", 9602), 'g');
        /* Without any request. */
        world->frontend.memory[9999] = 't';
        assert_true(fs_sync(world->client.fs));
        assert_int_equal(host_byte(world, "f", 9999), 't');
        /* And at the end. */
        world->frontend.memory[9998] = 'u';
        assert_int_equal(client_removemapping(&world->client, 0, RANGE), 0);
        assert_int_equal(host_byte(world, "f", 9998), 'u');
        assert_int_equal(host_size(world, "f"), 10000);
        assert_false(fs_sync(world->client.fs));
        end(world);
}

static void test_growth(void **state)
{
        struct world *world = begin();
        char text[9000];

        (void)state;
        make(world, "f", 5000, 'f');
        open_mapped(world, "f");
        /* Behind the end there is nothing, whatever the guest's last page has. */
        world->frontend.memory[5000] = world->frontend.memory[8000] = 'x';
        memset(text, 'w', sizeof(text));
        write_it(world, 7000, text, sizeof(text));
        for (size_t at = 0; at < 20000; at++)
                assert_int_equal(world->frontend.memory[at], at < 5000 ? 'f' : at < 7000 ? 0 : at < 16000 ? 'w' : 0);
        assert_int_equal(host_byte(world, "f", 5000), 0);
        assert_int_equal(host_byte(world, "f", 8000), 'w');
        /* What was stored before a write to the same place is older. */
        world->frontend.memory[15000] = 's';
        write_it(world, 15000, "W", 1);
        assert_int_equal(world->frontend.memory[15000], 'W');
        truncate_it(world, 6000);
        truncate_it(world, 16000);
        for (size_t at = 4096; at < 20000; at++)
                assert_int_equal(world->frontend.memory[at], at < 5000 ? 'f' : 0);
        /* Shorter than where the shadow begins, and back. */
        truncate_it(world, 100);
        truncate_it(world, 12000);
        world->frontend.memory[11000] = 'y';
        fsync_it(world);
        assert_int_equal(host_byte(world, "f", 11000), 'y');
        assert_int_equal(host_byte(world, "f", 4999), 0);
        /* O_TRUNC. */
        assert_true(client_open(&world->client, FUSE_OPEN, world->node, O_RDWR | O_TRUNC, &world->fh) > 0);
        write_it(world, 0, text, 9000);
        for (size_t at = 0; at < 20000; at++)
                assert_int_equal(world->frontend.memory[at], at < 9000 ? 'w' : 0);
        end(world);
}

static void test_empty(void **state)
{
        struct world *world = begin();

        (void)state;
        make(world, "f", 0, 0);
        open_mapped(world, "f");
        assert_int_equal(host_size(world, "f"), 0);
        write_it(world, 0, "hello", 5);
        assert_memory_equal(world->frontend.memory, "hello\0", 6);
        assert_int_equal(host_size(world, "f"), 5);
        end(world);
}

/* A running program: all of it is shown by a shadow, and what is stored there goes nowhere. */
static void test_cannot_be_written(void **state)
{
        struct world *world = begin();
        uint64_t node;
        pid_t pid;

        (void)state;
        pid = client_run_program(&world->client, "f");
        assert_true(client_lookup(&world->client, FUSE_ROOT_ID, "f", &node) > 0);
        assert_int_equal(client_setupmapping(&world->client, node, 0, RANGE, 0, FUSE_SETUPMAPPING_FLAG_READ), 0);
        assert_int_equal(world->frontend.n_live, 1);
        for (off_t at = 0; at < host_size(world, "f"); at += 1001)
                assert_int_equal((char)world->frontend.memory[at], host_byte(world, "f", at));
        world->frontend.memory[1] = 'x';
        fs_sync(world->client.fs);
        assert_int_equal(world->frontend.memory[1], 'E');
        assert_int_equal(host_byte(world, "f", 1), 'E');
        assert_int_equal(client_setupmapping(&world->client, node, 0, RANGE, 0, FUSE_SETUPMAPPING_FLAG_WRITE),
                         -ETXTBSY);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        end(world);
}

static void test_readonly(void **state)
{
        struct world *world = begin_with((struct fs_options){.readonly = true}, &(struct frontend){.n_live = 0});
        uint64_t node;

        (void)state;
        make(world, "f", 8192, 'f');
        assert_false(world->client.flags & (FUSE_MAP_ALIGNMENT | FUSE_HAS_INODE_DAX));
        assert_non_null(strstr(world->frontend.warning, "--allow-writable-dax"));
        assert_true(client_lookup(&world->client, FUSE_ROOT_ID, "f", &node) > 0);
        assert_int_equal(client_setupmapping(&world->client, node, 0, RANGE, 0, FUSE_SETUPMAPPING_FLAG_READ), -ENOSYS);
        /* A mount that wants everything mapped is told of an alignment that it can't have. */
        assert_true(client_init_as(&world->client, FUSE_INIT_EXT | FUSE_MAP_ALIGNMENT) > 0);
        assert_true(world->client.flags & FUSE_MAP_ALIGNMENT);
        assert_true(world->client.map_alignment > 21);
        end(world);

        world = begin_with((struct fs_options){.readonly = true, .insist = true}, &(struct frontend){.n_live = 0});
        assert_true(world->client.flags & FUSE_MAP_ALIGNMENT);
        make(world, "f", 10000, 'f');
        assert_true(client_lookup(&world->client, FUSE_ROOT_ID, "f", &node) > 0);
        assert_int_equal(client_setupmapping(&world->client, node, 0, RANGE, 0, FUSE_SETUPMAPPING_FLAG_READ), 0);
        assert_int_equal(client_setupmapping(&world->client, node, 0, RANGE, 0, FUSE_SETUPMAPPING_FLAG_WRITE), -EROFS);
        assert_int_equal(world->frontend.memory[9999], 'f');
        /* In the shadow at least, a store goes nowhere. */
        world->frontend.memory[9999] = 'x';
        fs_sync(world->client.fs);
        assert_int_equal(host_byte(world, "f", 9999), 'f');
        assert_int_equal(world->frontend.memory[9999], 'f');
        end(world);
}

static void test_many(void **state)
{
        struct world *world;
        uint64_t node;

        (void)state;
        world = begin_with((struct fs_options){.window_size = UINT64_C(512) << 20}, &(struct frontend){.n_live = 0});
        assert_false(world->client.flags & FUSE_MAP_ALIGNMENT);
        assert_non_null(strstr(world->frontend.warning, "256M"));
        end(world);

        world = begin();
        make(world, "f", 600 * PAGE, 'f');
        assert_true(client_lookup(&world->client, FUSE_ROOT_ID, "f", &node) > 0);
        for (uint64_t i = 0; i < 600; i++)
                assert_int_equal(client_setupmapping(&world->client, node, i * PAGE, PAGE, i * PAGE,
                                                     FUSE_SETUPMAPPING_FLAG_READ),
                                 i < 480 ? 0 : -ENOSPC);
        assert_int_equal(world->frontend.n_live, 480);
        end(world);
}

static void test_marked(void **state)
{
        const struct {
                size_t size;
                bool mapped;
        } cases[] = {{0, false}, {1, false}, {4096, true}, {4097, false}, {RANGE, true}};
        struct world *world = begin();
        struct fuse_entry_out out;

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                make(world, "f", cases[i].size, 'f');
                assert_true(client_call(&world->client, FUSE_LOOKUP, FUSE_ROOT_ID, BODY(.name = "f"), &out,
                                        sizeof(out)) > 0);
                assert_int_equal((out.attr.flags & FUSE_ATTR_DAX) != 0, cases[i].mapped);
        }
        end(world);
}

/* A reset drops mappings without a word; what was stored is not lost. */
static void test_reset(void **state)
{
        struct world *world = begin();

        (void)state;
        make(world, "f", 100, 'f');
        open_mapped(world, "f");
        world->frontend.memory[50] = 'g';
        fs_reset(world->client.fs);
        assert_int_equal(host_byte(world, "f", 50), 'g');
        world->frontend.n_live = 0;
        assert_true(client_init(&world->client) > 0);
        end(world);
}

/* ---- requests on a file that the guest has stored to ---- */

static void do_read(struct world *world)
{
        char byte = 0;

        assert_int_equal(client_read(&world->client, FUSE_READ, world->fh, 9000, &byte, 1), 1);
        assert_int_equal(byte, 'G');
}

static void do_write(struct world *world)
{
        write_it(world, 9500, "w", 1);
}

static void do_release(struct world *world)
{
        assert_int_equal(client_release(&world->client, FUSE_RELEASE, world->fh), 0);
}

static void do_flush(struct world *world)
{
        const struct fuse_flush_in in = {.fh = world->fh};

        assert_int_equal(client_call(&world->client, FUSE_FLUSH, world->node, BODY(START(in)), NULL, 0), 0);
}

static void do_open(struct world *world)
{
        uint64_t fh;

        assert_true(client_open(&world->client, FUSE_OPEN, world->node, O_RDONLY, &fh) > 0);
}

static void do_lookup(struct world *world)
{
        assert_true(client_lookup(&world->client, FUSE_ROOT_ID, "f", &world->node) > 0);
}

static void do_lseek(struct world *world)
{
        const struct fuse_lseek_in in = {.fh = world->fh, .whence = SEEK_DATA};
        struct fuse_lseek_out out;

        assert_true(client_call(&world->client, FUSE_LSEEK, world->node, BODY(START(in)), &out, sizeof(out)) > 0);
}

static void do_set_size(struct world *world)
{
        truncate_it(world, 9900);
}

static void do_punch(struct world *world)
{
        const struct fuse_fallocate_in in = {
                .fh = world->fh, .offset = 9600, .length = 10, .mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE};

        assert_int_equal(client_call(&world->client, FUSE_FALLOCATE, world->node, BODY(START(in)), NULL, 0), 0);
}

static void copy_range(struct world *world, uint64_t from, uint64_t to, uint64_t from_offset, uint64_t to_offset,
                       uint64_t size)
{
        const struct fuse_copy_file_range_in in = {.fh_in = from,
                                                   .off_in = from_offset,
                                                   .nodeid_out = world->node,
                                                   .fh_out = to,
                                                   .off_out = to_offset,
                                                   .len = size};
        struct fuse_write_out out;

        assert_true(client_call(&world->client, FUSE_COPY_FILE_RANGE, world->node, BODY(START(in)), &out, sizeof(out)) >
                    0);
        assert_int_equal(out.size, size);
}

static void do_copy(struct world *world)
{
        uint64_t node, fh;

        make(world, "to", 0, 0);
        assert_true(client_lookup(&world->client, FUSE_ROOT_ID, "to", &node) > 0);
        assert_true(client_open(&world->client, FUSE_OPEN, node, O_WRONLY, &fh) > 0);
        copy_range(world, world->fh, fh, 9000, 0, 1);
        assert_int_equal(host_byte(world, "to", 0), 'G');
}

/* Whatever comes, the guest's store is in the file before, and the host's is seen afterwards. */
static void test_each_request(void **state)
{
        void (*const requests[])(struct world *) = {do_read,  do_write,    do_release, do_flush, fsync_it, do_open,
                                                    do_lseek, do_set_size, do_punch,   do_copy,  look_at,  do_lookup};

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
                struct world *world = begin();

                make(world, "f", 10000, 'f');
                open_mapped(world, "f");
                world->frontend.memory[9000] = 'G';
                host_put(world, "f", 9100, "H");
                requests[i](world);
                assert_int_equal(host_byte(world, "f", 9000), 'G');
                assert_int_equal(world->frontend.memory[9000], 'G');
                assert_int_equal(world->frontend.memory[9100], 'H');
                end(world);
        }
}

/* What a request has put in the place of an earlier store stays there. */
static void test_later_wins(void **state)
{
        struct world *world = begin();
        const struct fuse_fallocate_in punch = {
                .offset = 8500, .length = 1000, .mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE};
        struct fuse_fallocate_in in = punch;

        (void)state;
        make(world, "f", 10000, 'f');
        open_mapped(world, "f");
        in.fh = world->fh;
        world->frontend.memory[9000] = 'G';
        assert_int_equal(client_call(&world->client, FUSE_FALLOCATE, world->node, BODY(START(in)), NULL, 0), 0);
        assert_int_equal(world->frontend.memory[9000], 0);
        world->frontend.memory[9000] = 'G';
        copy_range(world, world->fh, world->fh, 0, 9000, 10);
        assert_int_equal(world->frontend.memory[9000], 'f');
        world->frontend.memory[9000] = 'G';
        truncate_it(world, 8900);
        truncate_it(world, 10000);
        assert_int_equal(world->frontend.memory[9000], 0);
        world->frontend.memory[9000] = 'G';
        assert_true(client_open(&world->client, FUSE_OPEN, world->node, O_RDWR | O_TRUNC, &world->fh) > 0);
        truncate_it(world, 10000);
        fs_sync(world->client.fs);
        assert_int_equal(world->frontend.memory[9000], 0);
        assert_int_equal(host_byte(world, "f", 9000), 0);
        end(world);
}

/* Times that are set are not changed by what was stored before. */
static void test_times(void **state)
{
        const struct fuse_setattr_in in = {.valid = FATTR_MTIME, .mtime = 1000};
        struct world *world = begin();
        struct fuse_attr_out out;
        struct stat stat;

        (void)state;
        make(world, "f", 10000, 'f');
        open_mapped(world, "f");
        world->frontend.memory[9000] = 'G';
        assert_true(client_call(&world->client, FUSE_SETATTR, world->node, BODY(START(in)), &out, sizeof(out)) > 0);
        assert_int_equal(out.attr.mtime, 1000);
        fs_sync(world->client.fs);
        assert_int_equal(fstatat(world->client.share_fd, "f", &stat, 0), 0);
        assert_int_equal(stat.st_mtime, 1000);
        assert_int_equal(host_byte(world, "f", 9000), 'G');
        end(world);
}

static void test_two_mappings(void **state)
{
        struct world *world = begin();

        (void)state;
        make(world, "f", 10000, 'f');
        open_mapped(world, "f");
        world->frontend.memory[9000] = 'G';
        assert_int_equal(client_setupmapping(&world->client, world->node, 0, RANGE, RANGE, FUSE_SETUPMAPPING_FLAG_READ),
                         0);
        assert_int_equal(world->frontend.memory[RANGE + 9000], 'G');
        world->frontend.memory[RANGE + 9000] = 'H';
        fsync_it(world);
        assert_int_equal(host_byte(world, "f", 9000), 'H');
        end(world);
}

/* The front-end has an fd of a shadow, and can't make us die with it. */
static void test_sealed(void **state)
{
        struct world *world = begin();

        (void)state;
        make(world, "f", 100, 'f');
        open_mapped(world, "f");
        assert_int_equal(ftruncate(world->frontend.last_fd, 0), -1);
        assert_int_equal(errno, EPERM);
        assert_int_equal(ftruncate(world->frontend.last_fd, RANGE * 2), -1);
        end(world);
}

/* A disk of 256 KiB in place of /tmp, for this process alone. */
static bool small_disk(bool on)
{
        if (!on)
                return umount2("/tmp", MNT_DETACH) == 0;
        return unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
               mount("tmpfs", "/tmp", "tmpfs", 0, "size=256k") == 0;
}

/* A file of 10000 bytes without a block, on a disk that is full, with a store in it. */
static void fill_disk(struct world *world)
{
        static const char byte[64];
        int fd = openat(world->client.share_fd, "f", O_RDWR | O_CREAT | O_CLOEXEC, 0666);

        assert_int_equal(ftruncate(fd, 10000), 0);
        close(fd);
        fd = openat(world->client.share_fd, "filling", O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
        while (write(fd, byte, sizeof(byte)) > 0)
                ;
        close(fd);
        open_mapped(world, "f");
        world->frontend.memory[9000] = 'G';
}

static ssize_t call_fsync(struct world *world)
{
        const struct fuse_fsync_in in = {.fh = world->fh};

        return client_call(&world->client, FUSE_FSYNC, world->node, BODY(START(in)), NULL, 0);
}

/* What can't be written is not said to be: fsync(), close() and read() fail, until there is room. */
static void test_full_disk(void **state)
{
        struct fuse_lseek_in seek = {.whence = SEEK_DATA};
        struct fuse_copy_file_range_in copy = {.len = 10000};
        struct world *world;
        char bytes[100];

        (void)state;
        if (!small_disk(true))
                skip();
        world = begin();
        fill_disk(world);
        assert_int_equal(call_fsync(world), -ENOSPC);
        assert_int_equal(client_read(&world->client, FUSE_READ, world->fh, 9000, bytes, 1), -ENOSPC);
        seek.fh = copy.fh_in = copy.fh_out = world->fh;
        assert_int_equal(client_call(&world->client, FUSE_LSEEK, world->node, BODY(START(seek)), bytes, sizeof(bytes)),
                         -ENOSPC);
        assert_int_equal(
                client_call(&world->client, FUSE_COPY_FILE_RANGE, world->node, BODY(START(copy)), bytes, sizeof(bytes)),
                -ENOSPC);
        assert_int_equal(world->frontend.memory[9000], 'G');
        assert_int_equal(unlinkat(world->client.share_fd, "filling", 0), 0);
        fsync_it(world);
        assert_int_equal(host_byte(world, "f", 9000), 'G');
        end(world);

        /* What is lost when it is unmapped is told by the next fsync(), once. */
        world = begin();
        fill_disk(world);
        assert_int_equal(client_removemapping(&world->client, 0, RANGE), 0);
        assert_int_equal(call_fsync(world), -ENOSPC);
        assert_int_equal(call_fsync(world), 0);
        end(world);

        /* A hole that is punched over what could not be written makes room, and is a hole. */
        world = begin();
        fill_disk(world);
        const struct fuse_fallocate_in punch = {
                .fh = world->fh, .length = 10000, .mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE};

        assert_int_equal(unlinkat(world->client.share_fd, "filling", 0), 0);
        assert_int_equal(client_call(&world->client, FUSE_FALLOCATE, world->node, BODY(START(punch)), NULL, 0), 0);
        assert_int_equal(host_byte(world, "f", 9000), 0);
        assert_int_equal(world->frontend.memory[9000], 0);
        end(world);
        assert_true(small_disk(false));
}

/* Each store that is brought to the file changes its time. */
static void test_time_of_stores(void **state)
{
        const struct fuse_setattr_in in = {.valid = FATTR_MTIME, .mtime = 1000};
        struct world *world = begin();
        struct fuse_attr_out out;
        struct stat stat;

        (void)state;
        make(world, "f", 10000, 'f');
        open_mapped(world, "f");
        for (char byte = 'a'; byte < 'd'; byte++) {
                assert_true(client_call(&world->client, FUSE_SETATTR, world->node, BODY(START(in)), &out, sizeof(out)) >
                            0);
                world->frontend.memory[9000] = (uint8_t)byte;
                fsync_it(world);
                assert_int_equal(fstatat(world->client.share_fd, "f", &stat, 0), 0);
                assert_true(stat.st_mtime > 1000);
        }
        end(world);
}

/* ---- a file that takes long, beside one with a shadow ---- */

struct slow {
        struct world *world;
        uint64_t node;
        atomic_bool done;
};

static void *open_slowly(void *userdata)
{
        struct slow *slow = userdata;
        uint64_t fh;

        client_open(&slow->world->client, FUSE_OPEN, slow->node, O_RDWR, &fh);
        atomic_store(&slow->done, true);
        return NULL;
}

/* A process that has a lease on @name: who opens it for writing waits for it, 45 seconds if need be. */
static pid_t hold_lease(struct world *world, const char *name)
{
        int ready[2];
        char byte;
        pid_t pid;

        assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
        pid = fork();
        if (pid == 0) {
                int fd = openat(world->client.share_fd, name, O_RDONLY | O_CLOEXEC);

                signal(SIGIO, SIG_IGN);
                byte = fcntl(fd, F_SETLEASE, F_RDLCK) == 0;
                if (write(ready[1], &byte, 1) == 1)
                        pause();
                _exit(0);
        }
        close(ready[1]);
        assert_int_equal(read(ready[0], &byte, 1), 1);
        close(ready[0]);
        assert_int_equal(byte, 1);
        return pid;
}

static void test_slow_neighbour(void **state)
{
        struct world *world = begin();
        struct slow slow = {.world = world};
        pthread_t thread;
        pid_t pid;

        (void)state;
        make(world, "f", 10000, 'f');
        make(world, "g", 10000, 'g');
        make(world, "slow", 10, 's');
        open_mapped(world, "f");
        assert_true(client_lookup(&world->client, FUSE_ROOT_ID, "slow", &slow.node) > 0);
        pid = hold_lease(world, "slow");
        assert_int_equal(pthread_create(&thread, NULL, open_slowly, &slow), 0);
        usleep(100000);
        /* All of this while the other waits. */
        fs_sync(world->client.fs);
        world->frontend.memory[9000] = 'G';
        look_at(world);
        fsync_it(world);
        assert_int_equal(client_removemapping(&world->client, 0, RANGE), 0);
        open_mapped(world, "g");
        assert_int_equal(host_byte(world, "f", 9000), 'G');
        assert_false(atomic_load(&slow.done));
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        pthread_join(thread, NULL);
        end(world);
}

/* ---- stores while both are brought together ---- */

struct storer {
        uint8_t *at;
        atomic_uint turn; /* odd: the storer's */
};

#define STORES 3000

static void *store_in_turns(void *userdata)
{
        struct storer *storer = userdata;

        for (unsigned i = 0; i < STORES; i++) {
                while (atomic_load(&storer->turn) != 2 * i + 1)
                        ;
                __atomic_store_n(storer->at, (uint8_t)(1 + i % 200), __ATOMIC_RELAXED);
                atomic_store(&storer->turn, 2 * i + 2);
        }
        return NULL;
}

/* The host has changed a byte, and the guest stores there at the moment in which that is to be shown to it. */
static void test_store_in_the_moment(void **state)
{
        struct world *world = begin();
        struct storer storer = {0};
        pthread_t thread;

        (void)state;
        make(world, "f", 10000, 'f');
        open_mapped(world, "f");
        storer.at = world->frontend.memory + 9000;
        assert_int_equal(pthread_create(&thread, NULL, store_in_turns, &storer), 0);
        for (unsigned i = 0; i < STORES; i++) {
                host_put(world, "f", 9000, i % 2 ? "\xff" : "\xfe");
                atomic_store(&storer.turn, 2 * i + 1);
                fs_sync(world->client.fs);
                while (atomic_load(&storer.turn) != 2 * i + 2)
                        ;
                fs_sync(world->client.fs);
                assert_int_equal(*storer.at, 1 + i % 200);
                assert_int_equal((uint8_t)host_byte(world, "f", 9000), 1 + i % 200);
        }
        pthread_join(thread, NULL);
        end(world);
}

/* ---- sessions that begin while the last is still used ---- */

static void *init_again_and_again(void *userdata)
{
        const struct fuse_init_in in = {.major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION};
        struct slow *slow = userdata;
        struct fuse_init_out out;

        while (!atomic_load(&slow->done))
                client_call(&slow->world->client, FUSE_INIT, 0, BODY(START(in)), &out, sizeof(out));
        return NULL;
}

/* No moment in which what the front-end can't do is asked of it. */
static void test_init_races(void **state)
{
        struct world *world = begin();
        struct slow slow = {.world = world};
        pthread_t threads[2];
        uint64_t node;

        (void)state;
        make(world, "f", 0, 0);
        for (unsigned i = 0; i < 2; i++)
                assert_int_equal(pthread_create(&threads[i], NULL, init_again_and_again, &slow), 0);
        for (unsigned i = 0; i < 3000; i++)
                if (client_lookup(&world->client, FUSE_ROOT_ID, "f", &node) > 0)
                        client_setupmapping(&world->client, node, 0, RANGE, 0, FUSE_SETUPMAPPING_FLAG_READ);
        atomic_store(&slow.done, true);
        for (unsigned i = 0; i < 2; i++)
                pthread_join(threads[i], NULL);
        assert_int_equal(host_size(world, "f"), 0);
        end(world);
}

/* ---- a model ---- */

#define LIMIT ((size_t)RANGE + 100000)

static uint32_t next(uint32_t *random)
{
        *random = *random * 1664525 + 1013904223;
        return *random >> 8;
}

static void compare(struct world *world, const uint8_t *model, size_t size, unsigned step)
{
        for (size_t at = 0; at < size; at++)
                if (world->frontend.memory[at] != model[at])
                        fail_msg("step %u: byte %zu of %zu is %u, not %u", step, at, size, world->frontend.memory[at],
                                 model[at]);
}

/* The guest's stores, writes and changes of size, and what others on the host put where the guest is not. */
static void test_model(void **state)
{
        uint8_t *model = calloc(1, LIMIT), piece[5000];
        struct world *world = begin();
        uint32_t random = 11;
        size_t size = 0;

        (void)state;
        assert_non_null(model);
        make(world, "f", 0, 0);
        open_mapped(world, "f");
        assert_int_equal(
                client_setupmapping(&world->client, world->node, RANGE, RANGE, RANGE, FUSE_SETUPMAPPING_FLAG_READ), 0);
        for (unsigned step = 0; step < 1500; step++) {
                size_t at = size ? next(&random) % size : 0, n = 1 + next(&random) % sizeof(piece);

                switch (next(&random) % 6) {
                case 0: /* a store */
                        n = n < size - at ? n : size - at;
                        for (size_t i = 0; i < n; i++)
                                world->frontend.memory[at + i] = model[at + i] = (uint8_t)next(&random);
                        break;
                case 1: /* a write, perhaps behind the end */
                        at = next(&random) % 8 ? at : size + next(&random) % 6000;
                        if (at + n > LIMIT)
                                break;
                        for (size_t i = 0; i < n; i++)
                                piece[i] = model[at + i] = (uint8_t)next(&random);
                        write_it(world, at, piece, (uint32_t)n);
                        size = at + n > size ? at + n : size;
                        break;
                case 2: /* shorter or longer */
                        at = next(&random) % 10 ? size + next(&random) % 9000 : next(&random) % LIMIT;
                        if (at > LIMIT)
                                break;
                        if (at < size)
                                memset(model + at, 0, size - at);
                        size = at;
                        truncate_it(world, size);
                        break;
                case 3: /* what the guest leaves behind the end, in the last page */
                        if (size % PAGE && size < LIMIT)
                                world->frontend.memory[size] = 0xee;
                        break;
                case 4: /* by the host, where the guest has nothing unwritten */
                        if (size == 0)
                                break;
                        fsync_it(world);
                        model[at] = 'h';
                        host_put(world, "f", (off_t)at, "h");
                        look_at(world);
                        break;
                default:
                        fs_sync(world->client.fs);
                }
                if (step % 10 == 0)
                        compare(world, model, size, step);
        }
        compare(world, model, size, 1500);
        assert_int_equal(client_removemapping(&world->client, 0, WINDOW), 0);
        assert_int_equal(host_size(world, "f"), size);
        for (size_t at = 0; at < size; at += 97)
                assert_int_equal((uint8_t)host_byte(world, "f", (off_t)at), model[at]);
        free(model);
        end(world);
}

/* ---- threads ---- */

struct reader {
        struct world *world;
        _Atomic size_t size;
};

static void *read_what_has_grown(void *userdata)
{
        struct reader *reader = userdata;
        size_t size, bad = 0;

        do {
                size = atomic_load(&reader->size);
                for (size_t at = size > 9000 ? size - 9000 : 0; at < size; at++)
                        bad += __atomic_load_n(reader->world->frontend.memory + at, __ATOMIC_RELAXED) != 1 + at % 250;
                fs_sync(reader->world->client.fs);
        } while (size < 400000);
        return (void *)bad;
}

/* What a WRITE was answered for can be seen, at once and from then on. */
static void test_growth_in_threads(void **state)
{
        struct world *world = begin();
        struct reader reader = {.world = world};
        uint8_t piece[1777];
        pthread_t thread;
        void *bad;

        (void)state;
        make(world, "f", 0, 0);
        open_mapped(world, "f");
        assert_int_equal(pthread_create(&thread, NULL, read_what_has_grown, &reader), 0);
        for (size_t size = 0; size < 400000; size += sizeof(piece)) {
                for (size_t i = 0; i < sizeof(piece); i++)
                        piece[i] = (uint8_t)(1 + (size + i) % 250);
                write_it(world, size, piece, sizeof(piece));
                atomic_store(&reader.size, size + sizeof(piece));
        }
        pthread_join(thread, &bad);
        assert_null(bad);
        end(world);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_found_out),
                counted_test(test_last_page),
                counted_test(test_both_ways),
                counted_test(test_growth),
                counted_test(test_empty),
                counted_test(test_cannot_be_written),
                counted_test(test_readonly),
                counted_test(test_many),
                counted_test(test_marked),
                counted_test(test_reset),
                counted_test(test_model),
                counted_test(test_growth_in_threads),
                counted_test(test_each_request),
                counted_test(test_later_wins),
                counted_test(test_times),
                counted_test(test_two_mappings),
                counted_test(test_sealed),
                counted_test(test_full_disk),
                counted_test(test_slow_neighbour),
                counted_test(test_init_races),
                counted_test(test_store_in_the_moment),
                counted_test(test_time_of_stores),
        };

        return run_counted("fs-shadow", tests);
}
