/* SPDX-License-Identifier: BSD-2-Clause */

/* The window of a front-end with the limits of QEMU 11.1: it shows the files' bytes. */

#include "base/cleanup.h"
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

static void test_found_out(void **state)
{
        const struct {
                struct frontend abilities;
                unsigned warnings;
        } cases[] = {{{.maps_partial = true, .maps_readonly = true}, 0},
                     {{.maps_readonly = true}, 1},
                     {{.maps_partial = true}, 1},
                     {{.n_live = 0}, 1}};

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct world *world = begin_with((struct fs_options){0}, &cases[i].abilities);

                assert_true(world->client.flags & FUSE_MAP_ALIGNMENT);
                /* Probed again, and logged once. */
                assert_true(client_init(&world->client) > 0);
                assert_int_equal(world->frontend.warnings, cases[i].warnings);
                assert_int_equal(world->frontend.n_live, 0);
                end(world);
        }
}

static void test_last_page(void **state)
{
        const size_t sizes[] = {1, 4095, 4096, 4097, 10000, RANGE - 1, RANGE, RANGE + 1};

        for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
                struct world *world = begin();
                size_t shown = sizes[i] < RANGE ? sizes[i] : RANGE;

                make(world, "f", sizes[i], 'f');
                open_mapped(world, "f");
                for (size_t at = 0; at < RANGE; at++)
                        assert_int_equal(world->frontend.memory[at], at < shown ? 'f' : 0);
                assert_int_equal(host_size(world, "f"), sizes[i]);
                /* Set up again for writing: nothing is asked of the front-end. */
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

        make(world, "f", 10000, 'f');
        open_mapped(world, "f");
        world->frontend.memory[9000] = 'g';
        fsync_it(world);
        assert_int_equal(host_byte(world, "f", 9000), 'g');
        host_put(world, "f", 9500, "host");
        assert_int_equal(world->frontend.memory[9500], 'f');
        look_at(world);
        assert_memory_equal(world->frontend.memory + 9499, "fhostf", 6);
        /* Whole pages are mapped from the file itself. */
        host_put(world, "f", 100, "host");
        assert_memory_equal(world->frontend.memory + 100, "host", 4);
        /* Neighbouring bytes on both sides; of a byte that both have changed the guest's wins. */
        world->frontend.memory[9600] = world->frontend.memory[9602] = 'g';
        host_put(world, "f", 9601, "hh");
        fsync_it(world);
        assert_memory_equal(world->frontend.memory + 9599, "fghgf", 5);
        assert_int_equal(host_byte(world, "f", 9601), 'h');
        assert_int_equal(host_byte(world, "f", 9602), 'g');
        /* Without any request. */
        world->frontend.memory[9999] = 't';
        assert_true(fs_sync(world->client.fs) > 0);
        assert_int_equal(host_byte(world, "f", 9999), 't');
        /* And at the unmap. */
        world->frontend.memory[9998] = 'u';
        assert_int_equal(client_removemapping(&world->client, 0, RANGE), 0);
        assert_int_equal(host_byte(world, "f", 9998), 'u');
        assert_int_equal(host_size(world, "f"), 10000);
        assert_int_equal(fs_sync(world->client.fs), -1);
        end(world);
}

static void test_growth(void **state)
{
        struct world *world = begin();
        char text[9000];

        make(world, "f", 5000, 'f');
        open_mapped(world, "f");
        /* Bytes behind the end are not there, whatever the guest's last page has. */
        world->frontend.memory[5000] = world->frontend.memory[8000] = 'x';
        memset(text, 'w', sizeof(text));
        write_it(world, 7000, text, sizeof(text));
        for (size_t at = 0; at < 20000; at++)
                assert_int_equal(world->frontend.memory[at], at < 5000 ? 'f' : at < 7000 ? 0 : at < 16000 ? 'w' : 0);
        assert_int_equal(host_byte(world, "f", 5000), 0);
        assert_int_equal(host_byte(world, "f", 8000), 'w');
        /* A write replaces an earlier store to the same place. */
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

        make(world, "f", 0, 0);
        open_mapped(world, "f");
        assert_int_equal(host_size(world, "f"), 0);
        write_it(world, 0, "hello", 5);
        assert_memory_equal(world->frontend.memory, "hello\0", 6);
        assert_int_equal(host_size(world, "f"), 5);
        end(world);
}

/* A running program: all of it is shown by a shadow, and stores there have no effect on the file. */
static void test_cannot_be_written(void **state)
{
        struct world *world = begin();
        uint64_t node;
        pid_t pid;

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

        make(world, "f", 8192, 'f');
        assert_false(world->client.flags & (FUSE_MAP_ALIGNMENT | FUSE_HAS_INODE_DAX));
        assert_non_null(strstr(world->frontend.warning, "--allow-writable-dax"));
        assert_true(client_lookup(&world->client, FUSE_ROOT_ID, "f", &node) > 0);
        assert_int_equal(client_setupmapping(&world->client, node, 0, RANGE, 0, FUSE_SETUPMAPPING_FLAG_READ), -ENOSYS);
        /* A mount that maps everything is told an impossible alignment. */
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
        /* Stores to the shadow have no effect on the file. */
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

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                make(world, "f", cases[i].size, 'f');
                assert_true(client_call(&world->client, FUSE_LOOKUP, FUSE_ROOT_ID, BODY(.name = "f"), &out,
                                        sizeof(out)) > 0);
                assert_int_equal((out.attr.flags & FUSE_ATTR_DAX) != 0, cases[i].mapped);
        }
        end(world);
}

/* A reset drops mappings without an unmap; stores are not lost. */
static void test_reset(void **state)
{
        struct world *world = begin();

        make(world, "f", 100, 'f');
        open_mapped(world, "f");
        world->frontend.memory[50] = 'g';
        fs_reset(world->client.fs);
        assert_int_equal(host_byte(world, "f", 50), 'g');
        world->frontend.n_live = 0;
        assert_true(client_init(&world->client) > 0);
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

/* The guest's stores, writes and changes of size, and changes by the host in other places. */
static void test_model(void **state)
{
        uint8_t *model = calloc(1, LIMIT), piece[5000];
        struct world *world = begin();
        uint32_t random = 11;
        size_t size = 0;

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
                case 3: /* bytes of the guest behind the end, in the last page */
                        if (size % PAGE && size < LIMIT)
                                world->frontend.memory[size] = 0xee;
                        break;
                case 4: /* by the host, when the guest has nothing unwritten */
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

/* The data of a WRITE that was answered is visible, at once and from then on. */
static void test_growth_in_threads(void **state)
{
        struct world *world = begin();
        struct reader reader = {.world = world};
        uint8_t piece[1777];
        pthread_t thread;
        void *bad;

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
                counted_test(test_found_out), counted_test(test_last_page), counted_test(test_both_ways),
                counted_test(test_growth),    counted_test(test_empty),     counted_test(test_cannot_be_written),
                counted_test(test_readonly),  counted_test(test_many),      counted_test(test_marked),
                counted_test(test_reset),     counted_test(test_model),     counted_test(test_growth_in_threads),
        };

        return run_counted("fs-shadow", tests);
}
