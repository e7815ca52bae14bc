/* SPDX-License-Identifier: BSD-2-Clause */

/* Rings from end to end: every format and option, every way to be notified, stopping and going on. The same requests go
 * through rings of each combination of features, with an IOMMU and without; each answer is compared with what was
 * sent. */

#include "base/cleanup.h"
#include "base/fd.h"
#include "driver/driver.h"
#include "tests/session/session.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <unistd.h>

#define F(name)   ORIEL_FEATURE(ORIEL_PROTOCOL_F_##name)
#define PACKED    ORIEL_FEATURE(VIRTIO_F_RING_PACKED)
#define INDIRECT  ORIEL_FEATURE(VIRTIO_RING_F_INDIRECT_DESC)
#define EVENT_IDX ORIEL_FEATURE(VIRTIO_RING_F_EVENT_IDX)
#define IN_ORDER  ORIEL_FEATURE(VIRTIO_F_IN_ORDER)
#define IOMMU     ORIEL_FEATURE(VIRTIO_F_ACCESS_PLATFORM)

static const struct session_options defaults;

/* ---- many buffers at once ---- */

struct slot {
        uint8_t *in;
        uint8_t *out;
        unsigned size;
        bool busy;
};
#define SLOTS 32
#define ROOM  512

static void make_slots(struct session *session, struct slot *slots, unsigned n)
{
        for (unsigned i = 0; i < n; i++) {
                slots[i] = (struct slot){
                        .in = oriel_driver_alloc(session->driver, ROOM),
                        .out = oriel_driver_alloc(session->driver, ROOM),
                };
                assert_non_null(slots[i].in);
                assert_non_null(slots[i].out);
        }
}

/* In up to three pieces each way, so that chains and tables differ. False: the ring is full. */
static bool submit_slot(struct session *session, unsigned queue, struct slot *slot, enum echo_op op, unsigned seed)
{
        const struct echo_request request = {.op = op};
        unsigned pieces = 1 + seed % 3;
        struct iovec in[4] = {{slot->in, sizeof(request)}}, out[4];

        slot->size = 3 + seed * 13 % 300;
        memcpy(slot->in, &request, sizeof(request));
        for (unsigned i = 0; i < slot->size; i++)
                slot->in[sizeof(request) + i] = (uint8_t)(seed + i);
        for (unsigned i = 0; i < pieces; i++) {
                unsigned from = slot->size * i / pieces, to = slot->size * (i + 1) / pieces;

                in[1 + i] = (struct iovec){slot->in + sizeof(request) + from, to - from};
                out[i] = (struct iovec){slot->out + from, to - from};
        }

        int r = oriel_driver_submit(session->driver, queue, in, 1 + pieces, out, pieces, slot);

        if (r == -EAGAIN)
                return false;
        assert_int_equal(r, 0);
        slot->busy = true;
        return true;
}

static void check_slot(struct slot *slot, uint32_t written)
{
        assert_true(slot->busy);
        assert_int_equal(written, slot->size);
        for (unsigned i = 0; i < slot->size; i++)
                if ((slot->out[i] ^ slot->in[sizeof(struct echo_request) + i]) != 0xff)
                        fail_msg("byte %u of %u", i, slot->size);
        slot->busy = false;
}

static unsigned collect_slots(struct session *session, unsigned queue)
{
        uint32_t written;
        void *slot;
        unsigned n = 0;
        int r;

        while ((r = oriel_driver_collect(session->driver, queue, &slot, &written)) == 1) {
                check_slot(slot, written);
                n++;
        }
        assert_int_equal(r, 0);
        return n;
}

/* @total requests, as many at once as fit. */
static void pass_many(struct session *session, unsigned queue, struct slot *slots, unsigned total)
{
        unsigned sent = 0, done = 0;

        while (done < total) {
                for (unsigned i = 0; i < SLOTS && sent < total; i++)
                        if (!slots[i].busy && submit_slot(session, queue, &slots[i], ECHO_INVERT, sent))
                                sent++;
                assert_int_equal(oriel_driver_kick(session->driver, queue), 0);
                assert_int_equal(oriel_driver_wait(session->driver, queue, 20000), 0);
                done += collect_slots(session, queue);
        }
        assert_int_equal(done, total);
}

static void exercise(const struct session_options *options)
{
        struct slot slots[SLOTS];
        struct session session;

        session_open(&session, options);
        for (unsigned queue = 0; queue < oriel_driver_queue_count(session.driver); queue++) {
                make_slots(&session, slots, SLOTS);
                pass_many(&session, queue, slots, 300);
        }
        session_invert(&session, 0, SESSION_BUFFER - sizeof(struct echo_request));
        assert_int_equal(atomic_load(&echo_counts(session.echo)->errors), 0);
        session_close(&session);
}

/* With @more protocol features, all formats of rings. */
static void exercise_formats(uint64_t more, uint64_t always)
{
        static const uint64_t formats[] = {0, PACKED};

        for (unsigned i = 0; i < ARRAY_SIZE(formats); i++)
                for (unsigned options = 0; options < 8; options++) {
                        const uint64_t features = formats[i] | always | (options & 1 ? INDIRECT : 0) |
                                                  (options & 2 ? EVENT_IDX : 0) | (options & 4 ? IN_ORDER : 0);

                        exercise(&(struct session_options){
                                .driver = {.features = features, .with = more, .queue_size = 16},
                        });
                }
}

static void test_every_ring_format(void **state)
{
        exercise_formats(0, 0);
}

static void test_every_ring_format_inband(void **state)
{
        exercise_formats(F(INBAND_NOTIFICATIONS), 0);
}

static void test_every_ring_format_with_an_iommu(void **state)
{
        exercise_formats(0, IOMMU);
}

static void test_every_ring_format_without_inflight_tracking(void **state)
{
        for (unsigned packed = 0; packed < 2; packed++)
                exercise(&(struct session_options){
                        .driver = {.features = packed ? PACKED : 0, .without = F(INFLIGHT_SHMFD), .queue_size = 8},
                });
}

static void test_a_packed_ring_of_odd_size(void **state)
{
        exercise(&(struct session_options){.driver = {.features = PACKED | INDIRECT | EVENT_IDX, .queue_size = 27}});
}

static void test_guest_addresses(void **state)
{
        exercise(&(struct session_options){.driver = {.with = F(GPA_ADDRESSES)}});
        exercise(&(struct session_options){.driver = {.with = F(GPA_ADDRESSES), .features = PACKED | IOMMU}});
        exercise(&(struct session_options){.driver = {.with = F(GPA_ADDRESSES), .features = IOMMU}});
}

static void test_several_queues(void **state)
{
        exercise(&(struct session_options){.echo = {.queues = 8}});
}

static void test_a_back_end_with_nothing_optional(void **state)
{
        exercise(&(struct session_options){.echo = {.without = UINT64_MAX}, .driver = {.queues = 1}});
}

/* ---- notifications ---- */

static void test_queue_without_a_kick_is_polled(void **state)
{
        struct session session;

        session_open(&session, &defaults);
        assert_int_equal(oriel_frontend_set_vring_kick(session_frontend(&session), 0, -1), 0);
        session_invert(&session, 0, 100);
        session_close(&session);
}

static void break_ring(struct session *session)
{
        struct driver_queue *queue = &session->driver->queues[0];
        struct vring_avail *avail = (void *)(session->driver->memory + queue->layout.driver);

        __atomic_store_n(&avail->idx, 1000, __ATOMIC_SEQ_CST);
        fd_event_signal(queue->kick_fd);
        if (session->driver->protocol_features & F(INBAND_NOTIFICATIONS))
                oriel_frontend_vring_kick(session_frontend(session), 0);
}

static void expect_broken_ring(uint64_t with)
{
        const struct session_options options = {.echo = {.quiet = true}, .driver = {.with = with}};
        struct session session;
        uint8_t status;

        session_open(&session, &options);
        session_invert(&session, 0, 10);
        break_ring(&session);
        assert_int_equal(oriel_driver_wait(session.driver, 0, 20000), -EIO);
        assert_int_equal(atomic_load(&echo_counts(session.echo)->errors), 1);
        assert_int_equal(oriel_frontend_get_status(session_frontend(&session), &status), 0);
        session_close(&session);
}

static void test_broken_ring_is_told_by_the_err_fd(void **state)
{
        expect_broken_ring(0);
}

static void test_broken_ring_is_told_inband(void **state)
{
        expect_broken_ring(F(INBAND_NOTIFICATIONS));
}

/* ---- an IOMMU ---- */

static void test_iotlb_entries_come_and_go(void **state)
{
        const struct session_options options = {.driver = {.features = IOMMU}};
        struct oriel_frontend *frontend;
        struct session session;

        session_open(&session, &options);
        frontend = session_frontend(&session);
        session_invert(&session, 0, 5000);
        for (int i = 0; i < 20; i++) {
                /* All, then what two pieces of the next request lie in. */
                assert_int_equal(oriel_frontend_iotlb_invalidate(frontend, (struct oriel_range){0, 0}), 0);
                session_invert(&session, 0, 5000);
                assert_int_equal(oriel_frontend_iotlb_invalidate(frontend, (struct oriel_range){0, 1 << 30}), 0);
                session_invert(&session, 0, 5000);
        }
        assert_int_equal(oriel_frontend_iotlb_update(frontend, (struct oriel_range){0, 0}, 0, ORIEL_ACCESS_READ),
                         -EREMOTEIO);
        assert_int_equal(oriel_frontend_iotlb_update(frontend, (struct oriel_range){0, PAGE}, 1, ORIEL_ACCESS_READ),
                         -EREMOTEIO);
        session_invert(&session, 0, 10);
        session_close(&session);
}

/* ---- stop and go on ---- */

static void stop_and_resume(uint64_t features)
{
        const struct session_options options = {.driver = {.features = features, .queue_size = 16}};
        struct slot slots[SLOTS];
        struct session session;

        session_open(&session, &options);
        make_slots(&session, slots, SLOTS);
        for (unsigned i = 0; i < 10; i++) {
                pass_many(&session, 0, slots, 7);
                assert_int_equal(oriel_driver_stop_queue(session.driver, 0), 0);
                /* A request that comes meanwhile waits. */
                assert_true(submit_slot(&session, 0, &slots[0], ECHO_INVERT, i));
                assert_int_equal(oriel_driver_kick(session.driver, 0), 0);
                assert_int_equal(oriel_driver_wait(session.driver, 0, 1), -ETIMEDOUT);
                assert_int_equal(oriel_driver_start_queue(session.driver, 0), 0);
                assert_int_equal(oriel_driver_wait(session.driver, 0, 20000), 0);
                assert_int_equal(collect_slots(&session, 0), 1);
        }
        assert_int_equal(atomic_load(&echo_counts(session.echo)->stops), 10);
        session_close(&session);
}

static void test_stop_and_resume(void **state)
{
        stop_and_resume(0);
        stop_and_resume(EVENT_IDX | INDIRECT);
        stop_and_resume(PACKED);
        stop_and_resume(PACKED | EVENT_IDX | INDIRECT);
}

static void test_vring_base_is_where_the_ring_stopped(void **state)
{
        struct session session;
        uint32_t base;

        session_open(&session, &defaults);
        for (unsigned i = 0; i < 5; i++)
                session_invert(&session, 0, 10);
        assert_int_equal(oriel_frontend_get_vring_base(session_frontend(&session), 0, &base), 0);
        assert_int_equal(base, 5);
        session_close(&session);
}

static void test_disabling_stops_and_enabling_resumes(void **state)
{
        struct session session;

        session_open(&session, &defaults);
        session_invert(&session, 0, 10);
        assert_int_equal(oriel_frontend_set_vring_enable(session_frontend(&session), 0, false), 0);
        assert_int_equal(atomic_load(&echo_counts(session.echo)->stops), 1);
        assert_int_equal(oriel_frontend_set_vring_enable(session_frontend(&session), 0, true), 0);
        session_invert(&session, 0, 10);
        session_close(&session);
}

static void wait_held(struct session *session, unsigned n)
{
        for (int i = 0; i < 20000 && atomic_load(&echo_counts(session->echo)->held) < n; i++)
                usleep(1000);
        assert_int_equal(atomic_load(&echo_counts(session->echo)->held), n);
}

/* Requests that are still with the device when the ring stops, which the same device gets again. */
static void stop_with_requests_in_flight(uint64_t features)
{
        const struct session_options options = {
                .driver = {.features = features, .with = F(GET_VRING_BASE_INFLIGHT), .queue_size = 64},
        };
        struct slot slots[SLOTS];
        struct session session;

        session_open(&session, &options);
        make_slots(&session, slots, SLOTS);
        for (unsigned i = 0; i < 8; i++)
                assert_true(submit_slot(&session, 0, &slots[i], i % 2 ? ECHO_HOLD : ECHO_INVERT, i));
        assert_int_equal(oriel_driver_kick(session.driver, 0), 0);
        wait_held(&session, 4);
        assert_int_equal(oriel_driver_wait(session.driver, 0, 20000), 0);
        assert_int_equal(oriel_driver_stop_queue(session.driver, 0), 0);
        assert_int_equal(collect_slots(&session, 0), 4);

        assert_int_equal(oriel_driver_start_queue(session.driver, 0), 0);
        wait_held(&session, 8);
        const struct echo_request release = {.op = ECHO_RELEASE};

        session_submit(&session, 0, &release, 0);
        for (unsigned done = 0; done < 5;) {
                uint32_t written;
                void *token;

                assert_int_equal(oriel_driver_wait(session.driver, 0, 20000), 0);
                while (oriel_driver_collect(session.driver, 0, &token, &written) == 1) {
                        if (token != session.in[0])
                                check_slot(token, written);
                        done++;
                }
        }
        assert_int_equal(atomic_load(&echo_counts(session.echo)->handled), 9);
        session_close(&session);
}

static void test_get_vring_base_inflight(void **state)
{
        stop_with_requests_in_flight(0);
        stop_with_requests_in_flight(INDIRECT | EVENT_IDX);
        stop_with_requests_in_flight(PACKED);
        stop_with_requests_in_flight(PACKED | INDIRECT | EVENT_IDX);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_every_ring_format),
                counted_test(test_every_ring_format_inband),
                counted_test(test_every_ring_format_with_an_iommu),
                counted_test(test_every_ring_format_without_inflight_tracking),
                counted_test(test_a_packed_ring_of_odd_size),
                counted_test(test_guest_addresses),
                counted_test(test_several_queues),
                counted_test(test_a_back_end_with_nothing_optional),
                counted_test(test_queue_without_a_kick_is_polled),
                counted_test(test_broken_ring_is_told_by_the_err_fd),
                counted_test(test_broken_ring_is_told_inband),
                counted_test(test_iotlb_entries_come_and_go),
                counted_test(test_stop_and_resume),
                counted_test(test_vring_base_is_where_the_ring_stopped),
                counted_test(test_disabling_stops_and_enabling_resumes),
                counted_test(test_get_vring_base_inflight),
        };

        return run_counted("session-queue", tests);
}
