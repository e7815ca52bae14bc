/* SPDX-License-Identifier: BSD-2-Clause */

/* Guest memory as the front-end tells of it, and the log of the device's writes there. Memory is told of by slots and
 * by tables, changed under a running ring and taken away; each page that the device writes, and no other, is to be in
 * the log. */

#include "base/cleanup.h"
#include "base/fd.h"
#include "driver/driver.h"
#include "tests/session/session.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define F(name)  ORIEL_FEATURE(ORIEL_PROTOCOL_F_##name)
#define PACKED   ORIEL_FEATURE(VIRTIO_F_RING_PACKED)
#define LOG_ALL  ORIEL_FEATURE(VHOST_F_LOG_ALL)
#define FAR_AWAY (UINT64_C(1) << 41)

static const struct echo_options quiet = {.quiet = true};

/* ---- the memory table ---- */

static struct oriel_memory_region slot(unsigned i)
{
        struct oriel_memory_region region = region_at(i * UINT64_C(2) * PAGE, PAGE);

        region.mmap_offset = i * (uint64_t)PAGE;
        return region;
}

static void test_509_slots(void **state)
{
        int fd = make_memory((ORIEL_MEM_SLOTS + 1) * PAGE);
        struct oriel_memory_region region;
        struct pair pair;
        uint64_t slots;

        pair_open(&pair, &quiet, UINT64_MAX);
        assert_int_equal(oriel_frontend_get_max_mem_slots(pair.frontend, &slots), 0);
        assert_int_equal(slots, ORIEL_MEM_SLOTS);
        for (unsigned i = 0; i < ORIEL_MEM_SLOTS; i++) {
                region = slot(i);
                assert_int_equal(oriel_frontend_add_mem_reg(pair.frontend, &region, fd), 0);
        }
        region = slot(ORIEL_MEM_SLOTS);
        assert_int_equal(oriel_frontend_add_mem_reg(pair.frontend, &region, fd), -EREMOTEIO);
        for (unsigned i = 0; i < ORIEL_MEM_SLOTS; i++) {
                region = slot(i * 2 % ORIEL_MEM_SLOTS);
                assert_int_equal(oriel_frontend_rem_mem_reg(pair.frontend, &region), 0);
                assert_int_equal(oriel_frontend_rem_mem_reg(pair.frontend, &region), -EREMOTEIO);
        }
        region = slot(ORIEL_MEM_SLOTS);
        assert_int_equal(oriel_frontend_add_mem_reg(pair.frontend, &region, fd), 0);
        pair_close(&pair);
        fd_close(fd);
}

static void test_slots_as_the_device_says(void **state)
{
        int fd = make_memory(4 * PAGE);
        struct oriel_memory_region region;
        struct pair pair;
        uint64_t slots;

        pair_open(&pair, &(struct echo_options){.max_mem_slots = 2, .quiet = true}, UINT64_MAX);
        assert_int_equal(oriel_frontend_get_max_mem_slots(pair.frontend, &slots), 0);
        assert_int_equal(slots, 2);
        for (unsigned i = 0; i < 3; i++) {
                region = slot(i);
                assert_int_equal(oriel_frontend_add_mem_reg(pair.frontend, &region, fd), i < 2 ? 0 : -EREMOTEIO);
        }
        pair_close(&pair);
        fd_close(fd);
}

static void test_memory_table(void **state)
{
        struct oriel_memory_region regions[ORIEL_MAX_MEM_REGIONS + 1];
        int fd = make_memory(9 * PAGE), fds[ORIEL_MAX_MEM_REGIONS + 1];
        struct pair pair;

        for (unsigned i = 0; i <= ORIEL_MAX_MEM_REGIONS; i++) {
                regions[i] = slot(i);
                fds[i] = fd;
        }
        pair_open(&pair, &quiet, UINT64_MAX);
        assert_int_equal(oriel_frontend_set_mem_table(pair.frontend, regions, fds, 9), -E2BIG);
        assert_int_equal(oriel_frontend_set_mem_table(pair.frontend, regions, fds, 8), 0);
        assert_int_equal(oriel_frontend_set_mem_table(pair.frontend, regions, fds, 0), 0);
        regions[1] = regions[0];
        assert_int_equal(oriel_frontend_set_mem_table(pair.frontend, regions, fds, 2), -EREMOTEIO);
        pair_close(&pair);
        fd_close(fd);
}

static void test_table_changes_under_a_running_ring(void **state)
{
        struct oriel_memory_region region, more = region_at(FAR_AWAY, PAGE);
        struct session session;
        int fd = make_memory(PAGE);

        session_open(&session, &(struct session_options){0});
        region = memory_as_region(session.driver);
        for (int i = 0; i < 10; i++) {
                session_invert(&session, 0, 100);
                assert_int_equal(oriel_frontend_set_mem_table(session_frontend(&session), &region,
                                                              &session.driver->memory_fd, 1),
                                 0);
                session_invert(&session, 0, 100);
                assert_int_equal(oriel_frontend_add_mem_reg(session_frontend(&session), &more, fd), 0);
                session_invert(&session, 0, 100);
                assert_int_equal(oriel_frontend_rem_mem_reg(session_frontend(&session), &more), 0);
        }
        session_close(&session);
        fd_close(fd);
}

static void test_memory_taken_away_ends_only_the_ring(void **state)
{
        struct oriel_memory_region region;
        struct session session;
        uint8_t status;

        session_open(&session, &(struct session_options){.echo = quiet});
        session_invert(&session, 0, 100);
        region = memory_as_region(session.driver);
        assert_int_equal(oriel_frontend_rem_mem_reg(session_frontend(&session), &region), 0);
        session_submit(&session, 0, &(struct echo_request){.op = ECHO_INVERT}, 10);
        assert_int_equal(oriel_driver_wait(session.driver, 0, 20000), -EIO);
        assert_int_equal(oriel_frontend_get_status(session_frontend(&session), &status), 0);
        session_close(&session);
}

/* ---- the dirty log ---- */

struct log {
        int fd;
        uint8_t *bits;
        size_t size;
};

static void log_open(struct log *log, const struct session *session)
{
        log->size = session->driver->memory_size / PAGE / 8;
        log->fd = make_memory(log->size + PAGE);
        log->bits = mmap(NULL, log->size, PROT_READ | PROT_WRITE, MAP_SHARED, log->fd, PAGE);
        assert_ptr_not_equal(log->bits, MAP_FAILED);
}

static void log_close(struct log *log)
{
        munmap(log->bits, log->size);
        fd_close(log->fd);
}

static void log_expect(uint8_t *expected, const struct session *session, const void *from, size_t size)
{
        uint64_t first = (uint64_t)((const uint8_t *)from - session->driver->memory);

        for (uint64_t page = first / PAGE; size > 0 && page <= (first + size - 1) / PAGE; page++)
                expected[page / 8] |= (uint8_t)(1 << page % 8);
}

/* On: LOG_ALL and the ring's flag. Off: neither. */
static void set_logging(struct session *session, bool on)
{
        const struct oriel_ring *ring = &session->driver->queues[0].layout;
        uint64_t base = (uintptr_t)session->driver->memory;
        struct vhost_vring_addr addr = {
                .flags = on ? 1 << VHOST_VRING_F_LOG : 0,
                .desc_user_addr = base + ring->descriptor,
                .avail_user_addr = base + ring->driver,
                .used_user_addr = base + ring->device,
                .log_guest_addr = ring->device,
        };

        assert_int_equal(oriel_frontend_set_features(session_frontend(session),
                                                     oriel_driver_features(session->driver) | (on ? LOG_ALL : 0)),
                         0);
        assert_int_equal(oriel_frontend_set_vring_addr(session_frontend(session), &addr), 0);
}

/* Exactly what one request of @size bytes writes: its buffer, and the ring's part that is the device's. */
static void expect_marks(struct session *session, struct log *log, size_t size, bool packed)
{
        const struct oriel_ring *ring = &session->driver->queues[0].layout;
        _cleanup_(freep) uint8_t *expected = calloc(1, log->size);
        uint8_t *memory = session->driver->memory;

        memset(log->bits, 0, log->size);
        session_invert(session, 0, size);
        log_expect(expected, session, session->out[0], size);
        log_expect(expected, session, memory + (packed ? ring->descriptor : ring->device), 1);
        /* Not each request changes what the device wants to be told of. */
        if (packed && log->bits[ring->device / PAGE / 8] & 1 << ring->device / PAGE % 8)
                log_expect(expected, session, memory + ring->device, 1);
        for (size_t i = 0; i < log->size; i++)
                if (log->bits[i] != expected[i])
                        fail_msg("size %zu: pages from %zu: 0x%x, expected 0x%x", size, i * 8, log->bits[i],
                                 expected[i]);
}

static void log_writes(uint64_t features)
{
        static const size_t sizes[] = {0, 1, PAGE, 5000, SESSION_BUFFER - sizeof(struct echo_request)};
        const struct session_options options = {.driver = {.features = features}};
        struct session session;
        struct log log;

        session_open(&session, &options);
        log_open(&log, &session);
        assert_int_equal(oriel_frontend_set_log_base(session_frontend(&session), log.fd, PAGE, log.size), 0);
        set_logging(&session, true);
        for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
                expect_marks(&session, &log, sizes[i], features & PACKED);

        set_logging(&session, false);
        memset(log.bits, 0, log.size);
        session_invert(&session, 0, 5000);
        for (size_t i = 0; i < log.size; i++)
                assert_int_equal(log.bits[i], 0);
        session_close(&session);
        log_close(&log);
}

static void test_dirty_log_split(void **state)
{
        log_writes(0);
}

static void test_dirty_log_packed(void **state)
{
        log_writes(PACKED);
}

static void test_dirty_log_refusals(void **state)
{
        int fd = make_memory(PAGE);
        int log_fd = make_memory(PAGE);
        struct pair pair;

        pair_open(&pair, &quiet, UINT64_MAX);
        assert_int_equal(oriel_frontend_set_log_base(pair.frontend, fd, 0, 2 * PAGE), -EREMOTEIO);
        assert_int_equal(oriel_frontend_set_log_base(pair.frontend, fd, 0, 0), -EREMOTEIO);
        assert_int_equal(oriel_frontend_set_log_base(pair.frontend, fd, UINT64_MAX - 4, PAGE), -EREMOTEIO);
        assert_int_equal(oriel_frontend_set_log_base(pair.frontend, fd, 8, PAGE - 8), 0);
        assert_int_equal(oriel_frontend_set_log_fd(pair.frontend, log_fd), 0);
        pair_close(&pair);
        fd_close(fd);
        fd_close(log_fd);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_509_slots),
                counted_test(test_slots_as_the_device_says),
                counted_test(test_memory_table),
                counted_test(test_table_changes_under_a_running_ring),
                counted_test(test_memory_taken_away_ends_only_the_ring),
                counted_test(test_dirty_log_split),
                counted_test(test_dirty_log_packed),
                counted_test(test_dirty_log_refusals),
        };

        return run_counted("session-memory", tests);
}
