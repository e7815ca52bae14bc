/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tests of a shared memory region: what may be mapped where, what an unmap takes away, what a reader sees meanwhile,
 * and what is refused.
 */
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/range.h"
#include "base/test.h"

#include <errno.h>
#include <oriel/shmem.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define PAGE       UINT64_C(4096)
#define PAGES      512
#define OPERATIONS 1000000

/* A placement that records which mapping is on each page, to be compared with the model. */
struct board {
        uint64_t shows[PAGES]; /* 1 + the fd_offset in pages, 0: hole */
        int fail;
};

static int board_place(void *userdata, struct oriel_mapping *mapping, int fd)
{
        const struct oriel_range range = oriel_mapping_range(mapping);
        struct oriel_mapping_info info = {.struct_size = sizeof(info)};
        struct board *board = userdata;
        uint64_t fd_offset;

        oriel_mapping_get_info(mapping, &info);
        fd_offset = info.fd_offset;
        if (board->fail)
                return board->fail;
        for (uint64_t i = 0; i < range.size / PAGE; i++) {
                if (board->shows[range.start / PAGE + i])
                        return -EFAULT;
                board->shows[range.start / PAGE + i] = 1 + fd_offset / PAGE + i;
        }
        return 0;
}

static void board_remove(void *userdata, struct oriel_mapping *mapping)
{
        const struct oriel_range range = oriel_mapping_range(mapping);
        struct board *board = userdata;

        memset(board->shows + range.start / PAGE, 0, range.size / PAGE * sizeof(board->shows[0]));
}

static void board_remove_all(void *userdata, uint64_t size)
{
        struct board *board = userdata;

        memset(board->shows, 0, size / PAGE * sizeof(board->shows[0]));
}

static const struct oriel_placement_ops board_ops = {sizeof(board_ops), board_place, board_remove, board_remove_all};

static struct oriel_region *new_region(struct board *board, unsigned max_mappings)
{
        const struct oriel_region_options options = {sizeof(options), 7, PAGES * PAGE, max_mappings, &board_ops, board};
        struct oriel_region *region = NULL;

        assert_int_equal(oriel_region_new(&options, &region), 0);
        return region;
}

/* The model: for each page, the first page and the length of its mapping. */
struct model {
        struct oriel_range pages[PAGES];
        size_t count;
};

static uint64_t random_next(uint64_t *seed)
{
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        return *seed;
}

static int model_map(struct model *model, uint64_t first, uint64_t n)
{
        if (n == 0)
                return -EINVAL;
        if (first + n > PAGES)
                return -ERANGE;
        for (uint64_t i = first; i < first + n; i++)
                if (model->pages[i].size)
                        return -EEXIST;
        for (uint64_t i = first; i < first + n; i++)
                model->pages[i] = (struct oriel_range){first, n};
        model->count++;
        return 0;
}

static int model_unmap(struct model *model, uint64_t first, uint64_t n)
{
        bool any = false;

        if (n == 0)
                return -EINVAL;
        if (first + n > PAGES)
                return -ERANGE;
        for (uint64_t i = first; i < first + n; i++)
                any |= model->pages[i].size != 0;
        if (!any)
                return -ENOENT;
        if (model->pages[first].start != first || model->pages[first].size != n)
                return -EINVAL;
        for (uint64_t i = first; i < first + n; i++)
                model->pages[i].size = 0;
        model->count--;
        return 0;
}

static void check_page(struct oriel_region *region, const struct model *model, const struct board *board, uint64_t page)
{
        struct oriel_mapping *mapping = oriel_region_find(region, page * PAGE + page % PAGE);
        struct oriel_range expected = model->pages[page];
        struct oriel_mapping_info info = {.struct_size = sizeof(info)};

        if (!expected.size) {
                assert_null(mapping);
                assert_int_equal(board->shows[page], 0);
                return;
        }
        assert_non_null(mapping);
        oriel_mapping_get_info(mapping, &info);
        oriel_mapping_unref(mapping);
        assert_true(info.live);
        assert_int_equal(info.range.start, expected.start * PAGE);
        assert_int_equal(info.range.size, expected.size * PAGE);
        assert_int_equal(board->shows[page], 1 + info.fd_offset / PAGE + page - expected.start);
}

/* Lists mappings and takes references while another thread maps. */
struct reader {
        struct oriel_region *region;
        atomic_bool stop;
        size_t found, listed;
};

static void *read_region(void *userdata)
{
        struct reader *reader = userdata;
        struct oriel_mapping *kept[8] = {0};
        uint64_t seed = 99;

        while (!atomic_load(&reader->stop)) {
                struct oriel_mapping *mapping = oriel_region_find(reader->region, random_next(&seed) % (PAGES * PAGE));
                size_t slot = random_next(&seed) % ARRAY_SIZE(kept);

                if (mapping) {
                        struct oriel_mapping_info info = {.struct_size = sizeof(info)};

                        oriel_mapping_get_info(mapping, &info);
                        reader->found += info.references > 0;
                        oriel_mapping_unref(kept[slot]);
                        kept[slot] = mapping;
                }
                if (random_next(&seed) % 256 == 0) {
                        struct oriel_mapping **all;
                        size_t count;

                        if (oriel_region_list(reader->region, &all, &count) == 0) {
                                reader->listed++;
                                oriel_mappings_free(all, count);
                        }
                }
        }
        for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
                oriel_mapping_unref(kept[i]);
        return NULL;
}

static void one_operation(struct oriel_region *region, struct model *model, struct board *board, int fd, uint64_t *seed)
{
        uint64_t first = random_next(seed) % (PAGES + 4), n = random_next(seed) % 9, what = random_next(seed) % 16;
        uint64_t slack = n ? random_next(seed) % PAGE : 0;
        struct oriel_range range = {first * PAGE, n * PAGE - slack};

        if (what == 0 && random_next(seed) % 512 == 0) {
                assert_int_equal(oriel_region_unmap_all(region), model->count);
                memset(model, 0, sizeof(*model));
        } else if (what < 7) {
                assert_int_equal(oriel_region_map(region, range, fd, random_next(seed) % 100 * PAGE, ORIEL_ACCESS_READ),
                                 model_map(model, first, n));
        } else if (what < 13) {
                /* Half of the time exactly a mapping, else a random range. */
                if (first < PAGES && model->pages[first].size && what < 10) {
                        struct oriel_range exact = model->pages[first];

                        range = (struct oriel_range){exact.start * PAGE, exact.size * PAGE};
                        first = exact.start;
                        n = exact.size;
                }
                assert_int_equal(oriel_region_unmap(region, range), model_unmap(model, first, n));
        } else {
                check_page(region, model, board, first % PAGES);
        }
}

static void test_a_million_operations(void **state)
{
        static struct board board;
        static struct model model;
        struct oriel_region *region = new_region(&board, 0);
        struct reader reader = {.region = region};
        int fd = memfd_create("t", MFD_CLOEXEC);
        uint64_t seed = 42;
        pthread_t thread;

        assert_int_equal(pthread_create(&thread, NULL, read_region, &reader), 0);
        for (int i = 0; i < OPERATIONS; i++)
                one_operation(region, &model, &board, fd, &seed);
        assert_int_equal(oriel_region_count(region), model.count);
        for (uint64_t page = 0; page < PAGES; page++)
                check_page(region, &model, &board, page);
        atomic_store(&reader.stop, true);
        pthread_join(thread, NULL);
        assert_true(reader.found > 0 && reader.listed > 0);
        oriel_region_free(region);
        fd_close(fd);
}

static void test_refusals(void **state)
{
        struct board board = {0};
        struct oriel_region *region = new_region(&board, 2);
        int fd = memfd_create("t", MFD_CLOEXEC);
        const struct {
                struct oriel_range range;
                uint64_t fd_offset;
                enum oriel_access access;
                int result;
        } cases[] = {
                {{0, 0}, 0, ORIEL_ACCESS_READ, -EINVAL},
                {{1, PAGE}, 0, ORIEL_ACCESS_READ, -EINVAL},
                {{0, PAGE}, 100, ORIEL_ACCESS_READ, -EINVAL},
                {{0, PAGE}, 0, ORIEL_ACCESS_NONE, -EINVAL},
                {{0, PAGE}, 0, ORIEL_ACCESS_WRITE, -EINVAL},
                {{0, PAGE}, 0, (enum oriel_access)99, -EINVAL},
                {{0, PAGE}, UINT64_MAX - PAGE + 1, ORIEL_ACCESS_READ, -EINVAL},
                {{0, PAGE}, INT64_MAX - PAGE + 1, ORIEL_ACCESS_READ, -EINVAL},
                {{0, UINT64_MAX}, 0, ORIEL_ACCESS_READ, -ERANGE},
                {{PAGE, UINT64_MAX - PAGE + 1}, 0, ORIEL_ACCESS_READ, -ERANGE},
                {{UINT64_MAX - PAGE + 1, PAGE}, 0, ORIEL_ACCESS_READ, -ERANGE},
                {{PAGES * PAGE, PAGE}, 0, ORIEL_ACCESS_READ, -ERANGE},
                {{0, PAGES * PAGE + 1}, 0, ORIEL_ACCESS_READ, -ERANGE},
                {{0, 2 * PAGE - 1}, 0, ORIEL_ACCESS_READ, 0},
                {{PAGE, PAGE}, 0, ORIEL_ACCESS_READ, -EEXIST},
                {{0, PAGES * PAGE}, 0, ORIEL_ACCESS_READ, -EEXIST},
                {{2 * PAGE, 1}, 0, ORIEL_ACCESS_READ_WRITE, 0},
                {{8 * PAGE, PAGE}, 0, ORIEL_ACCESS_READ, -ENOSPC},
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                int r = oriel_region_map(region, cases[i].range, fd, cases[i].fd_offset, cases[i].access);

                if (r != cases[i].result)
                        fail_msg("case %zu: %d", i, r);
        }
        assert_int_equal(oriel_region_unmap(region, (struct oriel_range){0, 0}), -EINVAL);
        assert_int_equal(oriel_region_unmap(region, (struct oriel_range){0, PAGE}), -EINVAL);
        assert_int_equal(oriel_region_unmap(region, (struct oriel_range){0, 3 * PAGE}), -EINVAL);
        assert_int_equal(oriel_region_unmap(region, (struct oriel_range){3 * PAGE, PAGE}), -ENOENT);
        assert_int_equal(oriel_region_unmap(region, (struct oriel_range){0, UINT64_MAX}), -ERANGE);
        assert_int_equal(oriel_region_unmap(region, (struct oriel_range){0, PAGE + 5}), 0);
        assert_int_equal(oriel_region_unmap(region, (struct oriel_range){0, PAGE + 5}), -ENOENT);

        /* A placement that fails leaves no mapping. */
        board.fail = -EIO;
        assert_int_equal(oriel_region_map(region, (struct oriel_range){0, PAGE}, fd, 0, ORIEL_ACCESS_READ), -EIO);
        board.fail = 0;
        assert_int_equal(oriel_region_map(region, (struct oriel_range){0, PAGE}, fd, 0, ORIEL_ACCESS_READ), 0);
        oriel_region_free(region);
        fd_close(fd);
}

/* After a back-end has ended, its mappings stay until the next one maps there. */
static void test_orphans(void **state)
{
        struct board board = {0};
        struct oriel_region *region = new_region(&board, 0);
        int fd = memfd_create("t", MFD_CLOEXEC);
        struct oriel_mapping_info info = {.struct_size = sizeof(info)};

        for (unsigned i = 0; i < 4; i++)
                assert_int_equal(oriel_region_map(region, (struct oriel_range){i * 2 * PAGE, 2 * PAGE}, fd,
                                                  2 * i * PAGE, ORIEL_ACCESS_READ),
                                 0);
        assert_int_equal(oriel_region_orphan_all(region), 4);
        assert_int_equal(oriel_region_count(region), 4);
        assert_int_equal(board.shows[2], 3);

        struct oriel_mapping *old = oriel_region_find(region, 2 * PAGE);

        oriel_mapping_get_info(old, &info);
        assert_true(info.orphan && info.live);
        /* At the same place, and where two of them overlap in part. */
        assert_int_equal(
                oriel_region_map(region, (struct oriel_range){2 * PAGE, 2 * PAGE}, fd, 20 * PAGE, ORIEL_ACCESS_READ),
                0);
        assert_int_equal(
                oriel_region_map(region, (struct oriel_range){5 * PAGE, 2 * PAGE}, fd, 30 * PAGE, ORIEL_ACCESS_READ),
                0);
        oriel_mapping_get_info(old, &info);
        assert_false(info.live);
        oriel_mapping_unref(old);
        assert_int_equal(oriel_region_count(region), 3);
        assert_int_equal(board.shows[0], 1);
        assert_int_equal(board.shows[2], 21);
        assert_int_equal(board.shows[4], 0);
        assert_int_equal(board.shows[5], 31);
        assert_int_equal(board.shows[7], 0);
        /* The new mapping can't be replaced; an orphan may be unmapped. */
        assert_int_equal(oriel_region_map(region, (struct oriel_range){2 * PAGE, 2 * PAGE}, fd, 0, ORIEL_ACCESS_READ),
                         -EEXIST);
        assert_int_equal(oriel_region_unmap(region, (struct oriel_range){0, 2 * PAGE}), 0);
        assert_int_equal(oriel_region_unmap_all(region), 2);
        oriel_region_free(region);
        fd_close(fd);
}

static void test_references(void **state)
{
        struct board board = {0};
        struct oriel_region *region = new_region(&board, 0);
        int fd = memfd_create("t", MFD_CLOEXEC);
        struct oriel_mapping_info info = {.struct_size = sizeof(info)};

        assert_int_equal(oriel_region_map(region, (struct oriel_range){0, PAGE}, fd, 0, ORIEL_ACCESS_READ), 0);

        struct oriel_mapping *mapping = oriel_region_find(region, 0);

        oriel_mapping_get_info(mapping, &info);
        assert_int_equal(info.references, 2);
        assert_int_equal(oriel_region_unmap_all(region), 1);
        oriel_mapping_get_info(mapping, &info);
        assert_int_equal(info.references, 1);
        assert_false(info.live);
        oriel_region_free(region);
        oriel_mapping_unref(mapping);
        oriel_mapping_unref(NULL);
        oriel_region_free(NULL);
        fd_close(fd);
}

/* The data of a mapping is reported with its removal, in every way that it can be removed. */
struct hung {
        struct board board;
        unsigned placed, removed;
};

static int hang_place(void *userdata, struct oriel_mapping *mapping, int fd)
{
        struct hung *hung = userdata;

        assert_null(oriel_mapping_data(mapping));
        oriel_mapping_set_data(mapping, hung);
        hung->placed++;
        return board_place(&hung->board, mapping, fd);
}

static void hang_remove(void *userdata, struct oriel_mapping *mapping)
{
        board_remove(&((struct hung *)userdata)->board, mapping);
}

static void hang_remove_all(void *userdata, uint64_t size)
{
        board_remove_all(&((struct hung *)userdata)->board, size);
}

static void hang_removed(void *userdata, struct oriel_mapping *mapping)
{
        struct hung *hung = userdata;

        assert_ptr_equal(oriel_mapping_data(mapping), hung);
        assert_int_equal(hung->board.shows[oriel_mapping_range(mapping).start / PAGE], 0);
        hung->removed++;
}

static void count_kept(void *userdata, struct oriel_mapping *mapping)
{
        *(unsigned *)userdata += oriel_mapping_fd(mapping) >= 0;
}

static unsigned kept_in(struct oriel_region *region)
{
        unsigned kept = 0;

        oriel_region_each(region, count_kept, &kept);
        return kept;
}

static void test_what_hangs_on_mappings(void **state)
{
        const struct oriel_placement_ops ops = {sizeof(ops), hang_place, hang_remove, hang_remove_all, hang_removed};
        struct hung hung = {0};
        const struct oriel_region_options options = {.struct_size = sizeof(options),
                                                     .size = PAGES * PAGE,
                                                     .placement = &ops,
                                                     .userdata = &hung,
                                                     .keep_fds = 2};
        struct oriel_region *region;
        int fd = memfd_create("t", MFD_CLOEXEC), before;
        unsigned one = 0;

        assert_int_equal(oriel_region_new(&options, &region), 0);
        before = test_count_fds();
        for (unsigned i = 0; i < 4; i++)
                assert_int_equal(
                        oriel_region_map(region, (struct oriel_range){i * PAGE, PAGE}, fd, 0, ORIEL_ACCESS_READ), 0);
        assert_int_equal(kept_in(region), 2);
        assert_int_equal(test_count_fds(), before + 2);
        assert_int_equal(oriel_region_at(region, PAGE + 7, count_kept, &one), 1);
        assert_int_equal(oriel_region_at(region, 9 * PAGE, count_kept, &one), 0);
        assert_int_equal(one, 1);

        /* A reference keeps the fd open; another mapping may be counted in its place. */
        struct oriel_mapping *mapping = oriel_region_find(region, 0);

        assert_int_equal(oriel_region_unmap(region, (struct oriel_range){0, PAGE}), 0);
        assert_int_equal(hung.removed, 1);
        assert_int_equal(oriel_region_map(region, (struct oriel_range){8 * PAGE, PAGE}, fd, 0, ORIEL_ACCESS_READ), 0);
        assert_int_equal(kept_in(region), 2);
        assert_int_equal(test_count_fds(), before + 3);
        oriel_mapping_unref(mapping);
        assert_int_equal(test_count_fds(), before + 2);

        /* A mapping that can't be placed leaves nothing. */
        hung.board.fail = -EIO;
        hung.placed--;
        assert_int_equal(oriel_region_unmap(region, (struct oriel_range){PAGE, PAGE}), 0);
        assert_int_equal(oriel_region_map(region, (struct oriel_range){PAGE, PAGE}, fd, 0, ORIEL_ACCESS_READ), -EIO);
        assert_int_equal(test_count_fds(), before + 1);
        assert_int_equal(hung.removed, 2);

        assert_int_equal(oriel_region_orphan_all(region), 3);
        assert_int_equal(oriel_region_unmap_all(region), 3);
        assert_int_equal(hung.removed, hung.placed);
        assert_int_equal(test_count_fds(), before);
        oriel_region_free(region);
        fd_close(fd);
}

static void test_no_descriptors_left(void **state)
{
        struct board board = {0};
        const struct oriel_region_options options = {.struct_size = sizeof(options),
                                                     .size = PAGES * PAGE,
                                                     .placement = &board_ops,
                                                     .userdata = &board,
                                                     .keep_fds = 2};
        const struct oriel_range range = {0, PAGE};
        struct oriel_region *region;
        struct rlimit limit, none;
        int fd = memfd_create("t", MFD_CLOEXEC);

        assert_int_equal(oriel_region_new(&options, &region), 0);
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
        none = (struct rlimit){0, limit.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);

        int r = oriel_region_map(region, range, fd, 0, ORIEL_ACCESS_READ);

        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
        assert_int_equal(r, 0);

        struct oriel_mapping *mapping = oriel_region_find(region, 0);

        assert_int_equal(oriel_mapping_fd(mapping), -1);
        oriel_mapping_unref(mapping);
        oriel_region_free(region);
        fd_close(fd);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_refusals),
                counted_test(test_what_hangs_on_mappings),
                counted_test(test_no_descriptors_left),
                counted_test(test_orphans),
                counted_test(test_references),
                counted_test(test_a_million_operations),
        };

        return run_counted("region", tests);
}
