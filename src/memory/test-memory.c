/* SPDX-License-Identifier: BSD-2-Clause */

/* Tests of guest memory: tables that are replaced and not changed, translation within a region and across several, the
 * IOTLB, huge pages, the dirty log, and translation by several threads while the table is replaced. */

#include "base/cleanup.h"
#include "base/test.h"
#include "memory/iotlb.h"
#include "memory/piece.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <oriel/memory.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE UINT64_C(0x1000)
#define R    ORIEL_ACCESS_READ
#define W    ORIEL_ACCESS_WRITE
#define RW   ORIEL_ACCESS_READ_WRITE

static int file_of(uint64_t size)
{
        int fd = memfd_create("test-memory", MFD_CLOEXEC);

        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, (off_t)size), 0);
        return fd;
}

/* Replaces @slot's table by one with one region more. */
static int add(struct oriel_memory **slot, uint64_t guest, uint64_t size, uint64_t user, uint64_t offset, int fd)
{
        struct oriel_memory_region region = {guest, size, user, offset};
        struct oriel_memory *memory;
        int r = oriel_memory_add(*slot, &region, fd, &memory);

        if (r < 0)
                return r;
        oriel_memory_unref(*slot);
        *slot = memory;
        return 0;
}

static int drop(struct oriel_memory **slot, uint64_t guest, uint64_t size, uint64_t user)
{
        struct oriel_memory_region region = {guest, size, user, 0};
        struct oriel_memory *memory;
        int r = oriel_memory_remove(*slot, &region, &memory);

        if (r < 0)
                return r;
        oriel_memory_unref(*slot);
        *slot = memory;
        return 0;
}

static int update(struct oriel_memory **slot, uint64_t iova, uint64_t size, uint64_t user, enum oriel_access access)
{
        struct oriel_memory *memory;
        int r = oriel_memory_iotlb_update(*slot, (struct oriel_range){iova, size}, user, access, &memory);

        if (r < 0)
                return r;
        oriel_memory_unref(*slot);
        *slot = memory;
        return 0;
}

static int invalidate(struct oriel_memory **slot, uint64_t iova, uint64_t size)
{
        struct oriel_memory *memory;
        int r = oriel_memory_iotlb_invalidate(*slot, (struct oriel_range){iova, size}, &memory);

        if (r < 0)
                return r;
        oriel_memory_unref(*slot);
        *slot = memory;
        return 0;
}

static int find(struct oriel_memory *memory, uint64_t address, uint64_t size, enum oriel_access access,
                struct iovec spans[4], struct oriel_fault *fault)
{
        return oriel_memory_translate(memory, ORIEL_ADDRESS_GUEST, (struct oriel_range){address, size}, access, spans,
                                      4, fault);
}

static void test_add_and_remove(void **state)
{
        struct oriel_memory *memory;
        struct oriel_memory_region row;
        struct iovec spans[4];
        int fd = file_of(16 * PAGE);

        assert_int_equal(oriel_memory_new(3, 0, &memory), 0);
        assert_int_equal(oriel_memory_count(memory), 0);
        assert_int_equal(add(&memory, 8 * PAGE, PAGE, 100 * PAGE, 0, fd), 0);
        assert_int_equal(add(&memory, 2 * PAGE, PAGE, 102 * PAGE, PAGE, fd), 0);
        /* Guest addresses overlap, user addresses overlap, in every way. */
        assert_int_equal(add(&memory, 8 * PAGE + 1, 1, 0, 0, fd), -EEXIST);
        assert_int_equal(add(&memory, 9 * PAGE - 1, PAGE, 0, 0, fd), -EEXIST);
        assert_int_equal(add(&memory, PAGE, 2 * PAGE, 0, 0, fd), -EEXIST);
        assert_int_equal(add(&memory, 0, 16 * PAGE, 0, 0, fd), -EEXIST);
        assert_int_equal(add(&memory, 4 * PAGE, PAGE, 101 * PAGE - 1, 0, fd), -EEXIST);
        assert_int_equal(add(&memory, 4 * PAGE, 4 * PAGE, 99 * PAGE, 0, fd), -EEXIST);
        assert_int_equal(add(&memory, 9 * PAGE, PAGE, 101 * PAGE, 2 * PAGE, fd), 0);
        assert_int_equal(add(&memory, 20 * PAGE, PAGE, 200 * PAGE, 0, fd), -ENOSPC);

        assert_int_equal(oriel_memory_count(memory), 3);
        oriel_memory_get(memory, 0, &row, NULL);
        assert_int_equal(row.guest_address, 2 * PAGE);
        oriel_memory_get(memory, 2, &row, &spans[0].iov_base);
        assert_int_equal(row.guest_address, 9 * PAGE);
        assert_non_null(spans[0].iov_base);

        assert_int_equal(drop(&memory, 8 * PAGE, PAGE, 102 * PAGE), -ENOENT);
        assert_int_equal(drop(&memory, 8 * PAGE, PAGE / 2, 100 * PAGE), -ENOENT);
        assert_int_equal(drop(&memory, 8 * PAGE + 1, PAGE, 100 * PAGE), -ENOENT);
        assert_int_equal(drop(&memory, 8 * PAGE, PAGE, 100 * PAGE), 0);
        assert_int_equal(find(memory, 8 * PAGE, 1, R, spans, NULL), -EFAULT);
        assert_int_equal(find(memory, 9 * PAGE, 1, R, spans, NULL), 1);
        oriel_memory_unref(memory);
        close(fd);
}

static void test_refusals(void **state)
{
        struct oriel_memory *memory;
        int fd = file_of(PAGE);

        assert_int_equal(oriel_memory_new(8, 0, &memory), 0);
        assert_int_equal(add(&memory, 0, 0, 0, 0, fd), -EINVAL);
        assert_int_equal(add(&memory, UINT64_MAX, 2, 0, 0, fd), -EINVAL);
        assert_int_equal(add(&memory, 0, 2, UINT64_MAX, 0, fd), -EINVAL);
        assert_int_equal(add(&memory, 0, PAGE, 0, UINT64_MAX, fd), -EINVAL);
        assert_int_equal(add(&memory, 0, PAGE, 0, UINT64_MAX - PAGE, fd), -EINVAL);
        assert_int_equal(add(&memory, 0, UINT64_MAX, 0, 0, fd), -EINVAL);
        assert_int_equal(add(&memory, 0, PAGE, 0, 0, -1), -EBADF);
        /* Larger than any address space, and as large as a file can be. */
        assert_int_equal(add(&memory, 0, INT64_MAX & ~(PAGE - 1), 0, 0, fd), -ENOMEM);
        assert_int_equal(oriel_memory_count(memory), 0);
        /* A region may end at the last address. */
        assert_int_equal(add(&memory, UINT64_MAX - PAGE + 1, PAGE, UINT64_MAX - PAGE + 1, 0, fd), 0);
        assert_int_equal(oriel_memory_iotlb_update(memory, (struct oriel_range){0, 1}, 0, R, &memory), -EINVAL);
        oriel_memory_unref(memory);
        close(fd);
}

static void test_translate(void **state)
{
        struct oriel_memory *memory;
        struct oriel_fault fault;
        struct iovec spans[4];
        int fd = file_of(16 * PAGE);

        assert_int_equal(oriel_memory_new(8, 0, &memory), 0);
        for (uint64_t i = 0; i < 5; i++)
                assert_int_equal(add(&memory, (10 + i) * PAGE, PAGE, (50 - 2 * i) * PAGE, (5 - i) * PAGE, fd), 0);
        assert_int_equal(pwrite(fd, "A", 1, 5 * PAGE + 7), 1);
        assert_int_equal(pwrite(fd, "B", 1, 4 * PAGE), 1);

        assert_int_equal(find(memory, 10 * PAGE + 7, 1, R, spans, NULL), 1);
        assert_memory_equal(spans[0].iov_base, "A", 1);
        assert_int_equal(find(memory, 10 * PAGE + 7, PAGE, RW, spans, NULL), 2);
        assert_int_equal(spans[0].iov_len, PAGE - 7);
        assert_int_equal(spans[1].iov_len, 7);
        assert_memory_equal(spans[1].iov_base, "B", 1);
        assert_int_equal(find(memory, 10 * PAGE, 4 * PAGE, R, spans, NULL), 4);
        assert_int_equal(find(memory, 10 * PAGE, 4 * PAGE + 1, R, spans, NULL), -E2BIG);
        assert_int_equal(find(memory, 11 * PAGE, 4 * PAGE + 1, R, spans, &fault), -EFAULT);
        assert_int_equal(fault.address, 15 * PAGE);
        assert_int_equal(fault.size, 1);
        assert_int_equal(fault.access, R);
        assert_int_equal(find(memory, 10 * PAGE - 1, 2, R, spans, &fault), -EFAULT);
        assert_int_equal(fault.address, 10 * PAGE - 1);
        assert_int_equal(find(memory, 10 * PAGE, 0, R, spans, NULL), -EINVAL);
        assert_int_equal(find(memory, 10 * PAGE, UINT64_MAX, R, spans, NULL), -EINVAL);
        assert_int_equal(oriel_memory_translate(memory, ORIEL_ADDRESS_USER, (struct oriel_range){50 * PAGE + 7, 1}, R,
                                                spans, 4, NULL),
                         1);
        assert_memory_equal(spans[0].iov_base, "A", 1);
        assert_int_equal(oriel_memory_translate(memory, ORIEL_ADDRESS_USER, (struct oriel_range){51 * PAGE - 1, 2}, R,
                                                spans, 4, NULL),
                         -EFAULT);
        oriel_memory_unref(memory);
        close(fd);
}

static void test_unaligned_offset(void **state)
{
        struct oriel_memory *memory;
        struct iovec spans[4];
        int fd = file_of(4 * PAGE);

        assert_int_equal(oriel_memory_new(8, 0, &memory), 0);
        assert_int_equal(pwrite(fd, "start", 5, PAGE + 123), 5);
        assert_int_equal(pwrite(fd, "end", 3, 3 * PAGE + 120), 3);
        assert_int_equal(add(&memory, 7, 2 * PAGE, 0, PAGE + 123, fd), 0);
        assert_int_equal(find(memory, 7, 5, R, spans, NULL), 1);
        assert_memory_equal(spans[0].iov_base, "start", 5);
        assert_int_equal(find(memory, 7 + 2 * PAGE - 3, 3, R, spans, NULL), 1);
        assert_memory_equal(spans[0].iov_base, "end", 3);
        assert_int_equal(find(memory, 7 + 2 * PAGE - 3, 4, R, spans, NULL), -EFAULT);
        oriel_memory_unref(memory);
        close(fd);
}

static void test_read_only(void **state)
{
        struct oriel_memory *memory;
        struct oriel_fault fault;
        struct iovec spans[4];
        char path[64];
        int fd = file_of(PAGE), read_only;

        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        read_only = open(path, O_RDONLY | O_CLOEXEC);
        assert_true(read_only >= 0);
        assert_int_equal(oriel_memory_new(8, 0, &memory), 0);
        assert_int_equal(add(&memory, 0, PAGE, 0, 0, read_only), 0);
        assert_int_equal(find(memory, 0, 1, R, spans, NULL), 1);
        assert_int_equal(find(memory, 0, 1, W, spans, &fault), -EFAULT);
        assert_int_equal(fault.access, W);
        assert_int_equal(find(memory, 0, 1, RW, spans, NULL), -EFAULT);
        oriel_memory_unref(memory);
        close(read_only);
        close(fd);
}

/* A page of a hugetlbfs file can't be mapped by itself, so its mapping must be widened. */
static void test_huge_pages(void **state)
{
        const uint64_t huge = UINT64_C(0x200000);
        struct oriel_memory *memory;
        int fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB);
        int r;

        if (fd < 0)
                return; /* no huge pages on this system */
        assert_int_equal(ftruncate(fd, (off_t)(2 * huge)), 0);
        assert_int_equal(oriel_memory_new(8, 0, &memory), 0);
        r = add(&memory, 0, PAGE, 0, huge + PAGE, fd);
        /* NORESERVE: the mapping works even if no huge page is free; touching it would not. */
        assert_int_equal(r, 0);
        oriel_memory_unref(memory);
        close(fd);
}

static void test_old_tables_live(void **state)
{
        struct oriel_memory *memory, *old;
        struct iovec spans[4], again[4];
        int fd = file_of(2 * PAGE);

        assert_int_equal(oriel_memory_new(8, 0, &memory), 0);
        assert_int_equal(add(&memory, 0, PAGE, 0, 0, fd), 0);
        old = oriel_memory_ref(memory);
        assert_int_equal(add(&memory, PAGE, PAGE, PAGE, PAGE, fd), 0);
        assert_int_equal(find(old, 0, 1, RW, spans, NULL), 1);
        assert_int_equal(find(memory, 0, 1, RW, again, NULL), 1);
        assert_ptr_equal(spans[0].iov_base, again[0].iov_base);
        assert_int_equal(find(old, PAGE, 1, RW, again, NULL), -EFAULT);
        assert_int_equal(drop(&memory, 0, PAGE, 0), 0);
        *(char *)spans[0].iov_base = 'x';
        oriel_memory_unref(old);
        /* The last table with the region was freed, so it is unmapped. */
        assert_int_equal(msync(spans[0].iov_base, PAGE, MS_ASYNC), -1);
        assert_int_equal(errno, ENOMEM);
        oriel_memory_unref(memory);
        close(fd);
}

static void test_iotlb(void **state)
{
        struct oriel_memory *memory;
        struct oriel_fault fault;
        struct iovec spans[4];
        uint8_t *host;
        int fd = file_of(16 * PAGE);

        assert_int_equal(oriel_memory_new(8, 1, &memory), 0);
        /* Guest addresses of regions are not IOVAs. */
        assert_int_equal(add(&memory, 0, 8 * PAGE, 100 * PAGE, 0, fd), 0);
        assert_int_equal(add(&memory, 8 * PAGE, 8 * PAGE, 200 * PAGE, 8 * PAGE, fd), 0);
        assert_int_equal(find(memory, 0, 1, R, spans, &fault), -EAGAIN);
        assert_int_equal(update(&memory, 0, PAGE, 99 * PAGE, R), -EFAULT);
        assert_int_equal(update(&memory, 0, 2 * PAGE, 107 * PAGE, R), -EFAULT);
        assert_int_equal(update(&memory, 0, 0, 100 * PAGE, R), -EINVAL);
        assert_int_equal(update(&memory, UINT64_MAX, 2, 100 * PAGE, R), -EINVAL);
        assert_int_equal(update(&memory, 0, PAGE, 100 * PAGE, ORIEL_ACCESS_NONE), -EINVAL);
        assert_int_equal(update(&memory, 0, PAGE, 100 * PAGE, (enum oriel_access)4), -EINVAL);

        assert_int_equal(update(&memory, 0, 2 * PAGE, 102 * PAGE, R), 0);
        assert_int_equal(update(&memory, 2 * PAGE, PAGE, 104 * PAGE, RW), 0);
        assert_int_equal(update(&memory, 3 * PAGE, PAGE, 201 * PAGE, W), 0);
        assert_int_equal(oriel_memory_translate(memory, ORIEL_ADDRESS_USER, (struct oriel_range){100 * PAGE, 1}, R,
                                                spans, 4, NULL),
                         1);
        host = spans[0].iov_base;
        /* Adjacent entries make one span where their host memory is adjacent. */
        assert_int_equal(find(memory, PAGE, 2 * PAGE, R, spans, NULL), 1);
        assert_ptr_equal(spans[0].iov_base, host + 3 * PAGE);
        assert_int_equal(spans[0].iov_len, 2 * PAGE);
        assert_int_equal(find(memory, 2 * PAGE, 2 * PAGE, W, spans, NULL), 2);
        assert_int_equal(find(memory, PAGE, 3 * PAGE, R, spans, &fault), -EAGAIN);
        assert_int_equal(fault.address, 3 * PAGE);
        assert_int_equal(fault.access, R);
        assert_int_equal(find(memory, PAGE, 1, W, spans, &fault), -EAGAIN);
        assert_int_equal(find(memory, 3 * PAGE, PAGE + 1, W, spans, &fault), -EAGAIN);
        assert_int_equal(fault.address, 4 * PAGE);

        /* An entry that overlaps a new one is dropped as a whole. */
        assert_int_equal(update(&memory, PAGE, PAGE, 100 * PAGE, RW), 0);
        assert_int_equal(find(memory, 0, 1, R, spans, NULL), -EAGAIN);
        assert_int_equal(find(memory, PAGE, PAGE, RW, spans, NULL), 1);
        assert_int_equal(invalidate(&memory, 2 * PAGE + 5, 1), 0);
        assert_int_equal(find(memory, 2 * PAGE, 1, R, spans, NULL), -EAGAIN);
        assert_int_equal(find(memory, 3 * PAGE, 1, W, spans, NULL), 1);
        assert_int_equal(invalidate(&memory, 5, 0), -EINVAL);
        assert_int_equal(invalidate(&memory, 0, 0), 0);
        assert_int_equal(find(memory, 3 * PAGE, 1, W, spans, NULL), -EAGAIN);
        oriel_memory_unref(memory);
        close(fd);
}

static void test_iotlb_forgets_the_oldest(void **state)
{
        struct oriel_memory *memory;
        struct iovec spans[4];
        int fd = file_of(PAGE);

        assert_int_equal(oriel_memory_new(8, 1, &memory), 0);
        assert_int_equal(add(&memory, 0, PAGE, 0, 0, fd), 0);
        for (uint64_t i = 0; i < IOTLB_ENTRIES_MAX + 2; i++)
                assert_int_equal(update(&memory, (IOTLB_ENTRIES_MAX + 2 - i) * PAGE, PAGE, 0, RW), 0);
        assert_int_equal(find(memory, PAGE, 1, R, spans, NULL), 1);
        assert_int_equal(find(memory, IOTLB_ENTRIES_MAX * PAGE, 1, R, spans, NULL), 1);
        assert_int_equal(find(memory, (IOTLB_ENTRIES_MAX + 1) * PAGE, 1, R, spans, NULL), -EAGAIN);
        assert_int_equal(find(memory, (IOTLB_ENTRIES_MAX + 2) * PAGE, 1, R, spans, NULL), -EAGAIN);
        oriel_memory_unref(memory);
        close(fd);
}

static void test_pieces(void **state)
{
        struct oriel_memory *memory;
        struct memory_piece piece;
        struct oriel_fault fault;
        char text[8];
        int fd = file_of(4 * PAGE);

        assert_int_equal(oriel_memory_new(8, 0, &memory), 0);
        assert_int_equal(add(&memory, 0, PAGE, 0, 2 * PAGE, fd), 0);
        assert_int_equal(add(&memory, PAGE, PAGE, PAGE, 0, fd), 0);
        assert_int_equal(pwrite(fd, "abcd", 4, 3 * PAGE - 4), 4);
        assert_int_equal(pwrite(fd, "efgh", 4, 0), 4);
        assert_int_equal(memory_read(memory, ORIEL_ADDRESS_GUEST, (struct oriel_range){PAGE - 4, 8}, text, NULL), 0);
        assert_memory_equal(text, "abcdefgh", 8);
        assert_int_equal(memory_read(memory, ORIEL_ADDRESS_GUEST, (struct oriel_range){2 * PAGE - 4, 8}, text, &fault),
                         -EFAULT);
        assert_int_equal(fault.address, 2 * PAGE);
        assert_int_equal(
                memory_find_whole(memory, ORIEL_ADDRESS_GUEST, (struct oriel_range){PAGE - 4, 4}, R, &piece, NULL), 0);
        assert_int_equal(piece.guest, PAGE - 4);
        assert_int_equal(
                memory_find_whole(memory, ORIEL_ADDRESS_GUEST, (struct oriel_range){PAGE - 4, 5}, R, &piece, NULL),
                -EFAULT);
        oriel_memory_unref(memory);
        close(fd);
}

static void mark(struct oriel_dirty_log *log, uint64_t start, uint64_t size)
{
        oriel_dirty_log_mark(log, (struct oriel_range){start, size});
}

static void test_dirty_log(void **state)
{
        uint8_t bits[16 + 2], expected[16 + 2] = {0};
        struct oriel_dirty_log *log;
        int fd = file_of(PAGE + 123 + sizeof(bits));

        assert_int_equal(oriel_dirty_log_new(fd, PAGE, 0, &log), -EINVAL);
        assert_int_equal(oriel_dirty_log_new(fd, PAGE, PAGE, &log), -EINVAL);
        assert_int_equal(oriel_dirty_log_new(fd, UINT64_MAX, 2, &log), -EINVAL);
        assert_int_equal(oriel_dirty_log_new(-1, 0, 1, &log), -EBADF);
        assert_int_equal(oriel_dirty_log_new(fd, PAGE + 123, 16, &log), 0);
        mark(log, 0, 1);
        mark(log, 3 * PAGE - 1, 2);
        expected[0] = 1 | 4 | 8;
        mark(log, 12 * PAGE, 20 * PAGE);
        expected[1] = 0xf0;
        expected[2] = expected[3] = 0xff;
        mark(log, 100 * PAGE, 0);
        mark(log, 127 * PAGE, UINT64_MAX - 127 * PAGE);
        expected[15] = 0x80;
        mark(log, 128 * PAGE, PAGE);
        mark(log, UINT64_MAX, 1);
        mark(log, UINT64_MAX, 2);
        oriel_dirty_log_unref(oriel_dirty_log_ref(log));
        assert_int_equal(pread(fd, bits, sizeof(bits), PAGE + 123), sizeof(bits));
        assert_memory_equal(bits, expected, sizeof(bits));
        oriel_dirty_log_unref(log);
        close(fd);
}

/* ---- translating while the table is changed ---- */

struct swapped {
        pthread_mutex_t lock;
        struct oriel_memory *memory;
        bool stop;
};

static struct oriel_memory *swapped_get(struct swapped *swapped, bool *stop)
{
        struct oriel_memory *memory;

        pthread_mutex_lock(&swapped->lock);
        memory = oriel_memory_ref(swapped->memory);
        *stop = swapped->stop;
        pthread_mutex_unlock(&swapped->lock);
        return memory;
}

static void *translator(void *data)
{
        bool stop = false;
        uintptr_t found = 0;

        while (!stop) {
                struct oriel_memory *memory = swapped_get(data, &stop);
                struct iovec spans[4];

                for (unsigned i = 0; i < 50; i++)
                        if (find(memory, i % 3 * PAGE, PAGE, RW, spans, NULL) == 1) {
                                /* Faults if the region was unmapped too early. */
                                __atomic_fetch_add((unsigned char *)spans[0].iov_base, 1, __ATOMIC_RELAXED);
                                found++;
                        }
                oriel_memory_unref(memory);
        }
        return (void *)found;
}

static void test_threads(void **state)
{
        struct swapped swapped = {.lock = PTHREAD_MUTEX_INITIALIZER};
        int fd = file_of(3 * PAGE);
        pthread_t threads[2];

        assert_int_equal(oriel_memory_new(8, 0, &swapped.memory), 0);
        assert_int_equal(add(&swapped.memory, 0, PAGE, 0, 0, fd), 0);
        for (unsigned i = 0; i < 2; i++)
                assert_int_equal(pthread_create(&threads[i], NULL, translator, &swapped), 0);
        for (unsigned i = 0; i < 4000; i++) {
                struct oriel_memory *memory = oriel_memory_ref(swapped.memory), *old;
                uint64_t at = (1 + i / 2 % 2) * PAGE;

                assert_int_equal(i % 2 ? drop(&memory, at, PAGE, at) : add(&memory, at, PAGE, at, at, fd), 0);
                pthread_mutex_lock(&swapped.lock);
                old = swapped.memory;
                swapped.memory = memory;
                swapped.stop = i == 3999;
                pthread_mutex_unlock(&swapped.lock);
                oriel_memory_unref(old);
        }
        for (unsigned i = 0; i < 2; i++) {
                void *found;

                assert_int_equal(pthread_join(threads[i], &found), 0);
                assert_true((uintptr_t)found > 0);
        }
        oriel_memory_unref(swapped.memory);
        close(fd);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_add_and_remove),
                counted_test(test_refusals),
                counted_test(test_translate),
                counted_test(test_unaligned_offset),
                counted_test(test_read_only),
                counted_test(test_huge_pages),
                counted_test(test_old_tables_live),
                counted_test(test_iotlb),
                counted_test(test_iotlb_forgets_the_oldest),
                counted_test(test_pieces),
                counted_test(test_dirty_log),
                counted_test(test_threads),
        };

        return run_counted("memory", tests);
}
