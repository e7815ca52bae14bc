/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/cleanup.h"
#include "base/fd.h"
#include "tests/hostile/target.h"

#include <errno.h>
#include <linux/vhost_types.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

/* Messages that are well formed and untrue, or come when they may not. */

#define STATE(index, num)   (uint64_t)(index) | (uint64_t)(num) << 32
#define NOWHERE             0xffff
#define MEM(n)              8 + 32 * (n)
#define REFUSE              OUTCOME_REFUSED
#define ACCEPT              OUTCOME_ACCEPTED
#define CLOSE               OUTCOME_CLOSED
#define INFLIGHT(nq, qsize) (uint64_t)(nq) | (uint64_t)(qsize) << 16
#define END                 UINT64_MAX

enum kind { NO_FD, MEMORY, EVENT, PIPE, SOCKET };

/* Each is sent with need_reply on a connection where all is negotiated. */
static const struct lie {
        const char *what;
        uint32_t request;
        uint32_t size;
        uint64_t words[9];
        unsigned n_fds;
        enum kind kind;
        enum outcome outcome;
        const char *field; /* of the error, NULL: none is logged */
} lies[] = {
#define LIE(what, request, ...)                             \
        {                                                   \
                what, ORIEL_FRONTEND_##request, __VA_ARGS__ \
        }
        /* clang-format off */
        LIE("not offered", SET_FEATURES, 8, {UINT64_C(1) << 63}, 0, NO_FD, REFUSE, "was not offered"),
        LIE("not offered", SET_PROTOCOL_FEATURES, 8, {NEVER}, 0, NO_FD, REFUSE, "was not offered"),
        LIE("beyond all", SET_PROTOCOL_FEATURES, 8, {UINT64_C(1) << 40}, 0, NO_FD, REFUSE, "was not offered"),
        LIE("lacks others", SET_PROTOCOL_FEATURES, 8, {F(INBAND_NOTIFICATIONS)}, 0, NO_FD, CLOSE, "INBAND_NOTIFICATIONS"),
        LIE("lacks others", SET_PROTOCOL_FEATURES, 8, {F(GET_VRING_BASE_INFLIGHT)}, 0, NO_FD, CLOSE,
            "GET_VRING_BASE_INFLIGHT"),

        LIE("nine regions", SET_MEM_TABLE, MEM(1), {9, 0, PAGE, 0, 0}, 1, MEMORY, REFUSE, "num_regions"),
        LIE("4 Gi regions", SET_MEM_TABLE, MEM(1), {UINT32_MAX, 0, PAGE, 0, 0}, 1, MEMORY, REFUSE, "num_regions"),
        LIE("more than it brings", SET_MEM_TABLE, MEM(1), {2, 0, PAGE, 0, 0}, 2, MEMORY, REFUSE, "payload size"),
        LIE("fewer fds", SET_MEM_TABLE, MEM(2), {2, 0, PAGE, 0, 0, PAGE, PAGE, PAGE, 0}, 1, MEMORY, REFUSE, "fds"),
        LIE("more fds", SET_MEM_TABLE, MEM(1), {1, 0, PAGE, 0, 0}, 2, MEMORY, REFUSE, "fds"),
        LIE("guest overlap", SET_MEM_TABLE, MEM(2), {2, 0, 2 * PAGE, 0, 0, PAGE, PAGE, 1 << 30, 0}, 2, MEMORY, REFUSE,
            "SET_MEM_TABLE: region"),
        LIE("user overlap", SET_MEM_TABLE, MEM(2), {2, 0, 2 * PAGE, 0, 0, 1 << 30, PAGE, PAGE, 0}, 2, MEMORY, REFUSE,
            "SET_MEM_TABLE: region"),
        LIE("empty region", SET_MEM_TABLE, MEM(1), {1, 0, 0, 0, 0}, 1, MEMORY, REFUSE, "SET_MEM_TABLE: region"),
        LIE("guest overflow", SET_MEM_TABLE, MEM(1), {1, END - 10, PAGE, 0, 0}, 1, MEMORY, REFUSE, "SET_MEM_TABLE: region"),
        LIE("user overflow", SET_MEM_TABLE, MEM(1), {1, 0, PAGE, END - 10, 0}, 1, MEMORY, REFUSE, "SET_MEM_TABLE: region"),
        LIE("offset overflow", SET_MEM_TABLE, MEM(1), {1, 0, PAGE, 0, END - 10}, 1, MEMORY, REFUSE, "SET_MEM_TABLE: region"),
        LIE("huge", SET_MEM_TABLE, MEM(1), {1, 0, UINT64_C(1) << 62, 0, 0}, 1, MEMORY, REFUSE, "SET_MEM_TABLE: region"),
        LIE("all there is", SET_MEM_TABLE, MEM(1), {1, 0, END, 0, 0}, 1, MEMORY, REFUSE, "SET_MEM_TABLE: region"),
        LIE("of an eventfd", SET_MEM_TABLE, MEM(1), {1, 0, PAGE, 0, 0}, 1, EVENT, REFUSE, "SET_MEM_TABLE: region"),
        LIE("of a socket", SET_MEM_TABLE, MEM(1), {1, 0, PAGE, 0, 0}, 1, SOCKET, REFUSE, "SET_MEM_TABLE: region"),
        LIE("empty region", ADD_MEM_REG, 40, {0, 0, 0, 0, 0}, 1, MEMORY, REFUSE, "ADD_MEM_REG: region"),
        LIE("overflow", ADD_MEM_REG, 40, {0, END, PAGE, 0, 0}, 1, MEMORY, REFUSE, "ADD_MEM_REG: region"),
        LIE("of a pipe", ADD_MEM_REG, 40, {0, 0, PAGE, 0, 0}, 1, PIPE, REFUSE, "ADD_MEM_REG: region"),
        LIE("never added", REM_MEM_REG, 40, {0, 0, PAGE, 0, 0}, 0, NO_FD, REFUSE, "REM_MEM_REG: region"),

        LIE("beyond the file", SET_LOG_BASE, 16, {PAGE, 4 * PAGE}, 1, MEMORY, REFUSE, NULL),
        LIE("empty", SET_LOG_BASE, 16, {0, 0}, 1, MEMORY, REFUSE, NULL),
        LIE("overflow", SET_LOG_BASE, 16, {PAGE, END - 10}, 1, MEMORY, REFUSE, NULL),
        LIE("of a socket", SET_LOG_BASE, 16, {PAGE, 0}, 1, SOCKET, REFUSE, NULL),
        LIE("no fd", SET_LOG_BASE, 16, {PAGE, 0}, 0, NO_FD, CLOSE, "SET_LOG_BASE: the fd"),
        LIE("fd without size", SET_LOG_BASE, 8, {PAGE}, 1, MEMORY, CLOSE, "SET_LOG_BASE: an fd"),
        LIE("an address", SET_LOG_BASE, 8, {PAGE}, 0, NO_FD, CLOSE, "SET_LOG_BASE: an address"),

        LIE("no such vring", SET_VRING_NUM, 8, {STATE(QUEUES, 64)}, 0, NO_FD, REFUSE, "SET_VRING_NUM: vring 2"),
        LIE("vring 2^32-1", SET_VRING_NUM, 8, {STATE(UINT32_MAX, 64)}, 0, NO_FD, REFUSE, "SET_VRING_NUM: vring"),
        LIE("no entries", SET_VRING_NUM, 8, {STATE(0, 0)}, 0, NO_FD, REFUSE, "entries"),
        LIE("too many entries", SET_VRING_NUM, 8, {STATE(0, 32769)}, 0, NO_FD, REFUSE, "entries"),
        LIE("65536 entries", SET_VRING_NUM, 8, {STATE(0, 65536)}, 0, NO_FD, REFUSE, "entries"),
        LIE("no such vring", SET_VRING_ADDR, 40, {STATE(255, 0)}, 0, NO_FD, REFUSE, "SET_VRING_ADDR: vring 255"),
        LIE("flags", SET_VRING_ADDR, 40, {STATE(0, 2)}, 0, NO_FD, REFUSE, "flags"),
        LIE("no such vring", SET_VRING_BASE, 8, {STATE(2, 0)}, 0, NO_FD, REFUSE, "SET_VRING_BASE: vring 2"),
        LIE("no such vring", GET_VRING_BASE, 8, {STATE(255, 0)}, 0, NO_FD, CLOSE, "GET_VRING_BASE: vring 255"),
        LIE("vring 2^32-1", GET_VRING_BASE, 8, {STATE(UINT32_MAX, 0)}, 0, NO_FD, CLOSE, "GET_VRING_BASE: vring"),
        LIE("num, which nobody reads", GET_VRING_BASE, 8, {STATE(0, 1)}, 0, NO_FD, ACCEPT, NULL),
        LIE("no such vring", SET_VRING_ENABLE, 8, {STATE(2, 1)}, 0, NO_FD, REFUSE, "SET_VRING_ENABLE: vring 2"),
        LIE("num", SET_VRING_ENABLE, 8, {STATE(0, 2)}, 0, NO_FD, REFUSE, "num"),

        LIE("before the addresses", SET_VRING_KICK, 8, {0}, 1, EVENT, REFUSE, "addresses"),
        LIE("before the addresses", VRING_KICK, 8, {0}, 0, NO_FD, REFUSE, "addresses"),
        LIE("no such vring", SET_VRING_KICK, 8, {255}, 1, EVENT, REFUSE, "vring 255"),
        LIE("no such vring", VRING_KICK, 8, {STATE(2, 0)}, 0, NO_FD, REFUSE, "vring 2"),
        LIE("num, which nobody reads", VRING_KICK, 8, {STATE(0, 1)}, 0, NO_FD, REFUSE, "addresses"),
        LIE("reserved bits", SET_VRING_KICK, 8, {0x200}, 1, EVENT, REFUSE, "addresses"),
        LIE("fd and none", SET_VRING_KICK, 8, {0x100}, 1, EVENT, REFUSE, "fd"),
        LIE("no fd", SET_VRING_KICK, 8, {0}, 0, NO_FD, REFUSE, "fd"),
        LIE("a file", SET_VRING_KICK, 8, {0}, 1, MEMORY, REFUSE, "eventfd"),
        LIE("a socket", SET_VRING_CALL, 8, {0}, 1, SOCKET, REFUSE, "eventfd"),
        LIE("a file", SET_VRING_CALL, 8, {0}, 1, MEMORY, REFUSE, "eventfd"),
        LIE("no such vring", SET_VRING_CALL, 8, {2}, 1, EVENT, REFUSE, "vring 2"),
        LIE("a file", SET_VRING_ERR, 8, {0}, 1, MEMORY, REFUSE, "eventfd"),
        LIE("no such vring", SET_VRING_ERR, 8, {2}, 1, EVENT, REFUSE, "vring 2"),

        LIE("no queues", GET_INFLIGHT_FD, 24, {0, 0, INFLIGHT(0, 64)}, 0, NO_FD, CLOSE, "GET_INFLIGHT_FD: 0 queues"),
        LIE("too many queues", GET_INFLIGHT_FD, 24, {0, 0, INFLIGHT(3, 64)}, 0, NO_FD, CLOSE, "3 queues"),
        LIE("no entries", GET_INFLIGHT_FD, 20, {0, 0, INFLIGHT(1, 0)}, 0, NO_FD, CLOSE, "queues of 0"),
        LIE("too many entries", GET_INFLIGHT_FD, 20, {0, 0, INFLIGHT(1, 32769)}, 0, NO_FD, CLOSE, "of 32769"),
        LIE("no queues", SET_INFLIGHT_FD, 24, {PAGE, 0, INFLIGHT(0, 64)}, 1, MEMORY, REFUSE, "SET_INFLIGHT_FD: 0"),
        LIE("too small", SET_INFLIGHT_FD, 24, {100, 0, INFLIGHT(1, 64)}, 1, MEMORY, REFUSE, "SET_INFLIGHT_FD: 1"),
        LIE("beyond the file", SET_INFLIGHT_FD, 24, {PAGE, 4 * PAGE, INFLIGHT(1, 16)}, 1, MEMORY, REFUSE, "SET_INFLIGHT"),
        LIE("huge", SET_INFLIGHT_FD, 24, {END, PAGE, INFLIGHT(1, 16)}, 1, MEMORY, REFUSE, "SET_INFLIGHT"),
        LIE("not aligned", SET_INFLIGHT_FD, 24, {PAGE, 4, INFLIGHT(1, 16)}, 1, MEMORY, REFUSE, "SET_INFLIGHT"),
        LIE("of a pipe", SET_INFLIGHT_FD, 24, {PAGE, 0, INFLIGHT(1, 16)}, 1, PIPE, REFUSE, "SET_INFLIGHT"),

        LIE("size", GET_CONFIG, 12, {STATE(0, 4), 0}, 0, NO_FD, CLOSE, "payload size"),
        LIE("size 257", GET_CONFIG, 16, {STATE(0, 257), 0}, 0, NO_FD, CLOSE, "size is above"),
        LIE("flags", GET_CONFIG, 16, {STATE(0, 4), 2}, 0, NO_FD, CLOSE, "flags"),
        LIE("beyond the end", GET_CONFIG, 16, {STATE(62, 4), 0}, 0, NO_FD, ACCEPT, NULL),
        LIE("offset 2^32-1", GET_CONFIG, 16, {STATE(UINT32_MAX, 4), 0}, 0, NO_FD, ACCEPT, NULL),
        LIE("beyond the end", SET_CONFIG, 16, {STATE(62, 4), 0}, 0, NO_FD, REFUSE, "SET_CONFIG"),
        LIE("flags", SET_CONFIG, 16, {STATE(0, 4), 8}, 0, NO_FD, REFUSE, "flags"),
        LIE("status 256", SET_STATUS, 8, {256}, 0, NO_FD, REFUSE, "SET_STATUS"),
        LIE("direction", SET_DEVICE_STATE_FD, 8, {STATE(2, 0)}, 1, PIPE, CLOSE, "direction"),
        LIE("phase", SET_DEVICE_STATE_FD, 8, {STATE(0, 1)}, 1, PIPE, CLOSE, "phase"),
        LIE("nothing under way", CHECK_DEVICE_STATE, 0, {0}, 0, NO_FD, REFUSE, NULL),
        LIE("a file", SET_BACKEND_REQ_FD, 0, {0}, 1, MEMORY, REFUSE, "SET_BACKEND_REQ_FD"),
        LIE("a pipe", SET_BACKEND_REQ_FD, 0, {0}, 1, PIPE, REFUSE, "SET_BACKEND_REQ_FD"),
        LIE("bad MTU", NET_SET_MTU, 8, {1}, 0, NO_FD, REFUSE, "NET_SET_MTU"),
        /* clang-format on */
};

static int open_kind(struct target *target, enum kind kind)
{
        int fds[2];

        switch (kind) {
        case NO_FD:
                return -1;
        case MEMORY:
                return fd_dup(target->fd);
        case EVENT:
                return eventfd(0, EFD_CLOEXEC);
        case PIPE:
                assert_int_equal(pipe(fds), 0);
                break;
        case SOCKET:
                assert_int_equal(make_socketpair(fds), 0);
                break;
        }
        fd_close(fds[1]);
        return fds[0];
}

static enum outcome tell(struct target *target, const struct lie *lie)
{
        _cleanup_(fd_closep) int fd = open_kind(target, lie->kind);
        struct raw raw, reply;

        raw_init_u64s(&raw, lie->request, lie->words, lie->size);
        raw.header.flags |= ORIEL_FLAG_NEED_REPLY;
        raw.n_fds = lie->n_fds;
        for (unsigned i = 0; i < raw.n_fds; i++)
                raw.fds[i] = fd;
        assert_true(raw_send(target->socket, &raw));
        return raw_receive(target->socket, &reply, 10000);
}

static void check(struct target *target, const struct lie *lie, enum outcome outcome)
{
        const char *name = oriel_message_find(ORIEL_FROM_FRONTEND, lie->request)->name;

        if (lie->outcome == CLOSE)
                expect_closed(target, outcome, name, lie->what);
        else if (lie->outcome == REFUSE)
                expect_refused(target, outcome, name, lie->what);
        else if (outcome != ACCEPT || !is_alive(target))
                fail_msg("%s, %s: not answered", name, lie->what);
        if (lie->field)
                expect_error(target, name, lie->what, lie->field);
        else
                assert_int_equal(atomic_load(&echo_counts(target->echo)->errors), 0);
}

static void test_lies(void **state)
{
        struct target target;

        target_open(&target);
        for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
                connect_to(&target, ALL, 0);
                check(&target, &lies[i], tell(&target, &lies[i]));
                disconnect_from(&target);
        }
        target_close(&target);
}

/* ---- an IOMMU's ---- */

#define IOTLB(iova, size, user, perm, type)            \
        {                                              \
                iova, size, user, (perm) | (type) << 8 \
        }

static void test_iotlb_lies(void **state)
{
        static const uint64_t words[][4] = {
                IOTLB(0, PAGE, 1 << 30, VHOST_ACCESS_RW, VHOST_IOTLB_UPDATE),
                IOTLB(0, 0, 0, VHOST_ACCESS_RW, VHOST_IOTLB_UPDATE),
                IOTLB(END, PAGE, 0, VHOST_ACCESS_RW, VHOST_IOTLB_UPDATE),
                IOTLB(0, END, 0, VHOST_ACCESS_RW, VHOST_IOTLB_UPDATE),
                IOTLB(0, PAGE, END, VHOST_ACCESS_RW, VHOST_IOTLB_UPDATE),
                IOTLB(0, PAGE, 0, 0, VHOST_IOTLB_UPDATE),
                IOTLB(0, PAGE, 0, 4, VHOST_IOTLB_UPDATE),
                IOTLB(0, PAGE, 0, 255, VHOST_IOTLB_UPDATE),
                IOTLB(0, PAGE, 0, VHOST_ACCESS_RW, VHOST_IOTLB_MISS),
                IOTLB(0, PAGE, 0, VHOST_ACCESS_RW, 0),
                IOTLB(0, PAGE, 0, VHOST_ACCESS_RW, 77),
                IOTLB(END, PAGE, 0, VHOST_ACCESS_RW, VHOST_IOTLB_INVALIDATE),
        };
        struct target target;

        target_open(&target);
        connect_to(&target, ALL, IOMMU);
        for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
                struct raw raw, reply;

                raw_init_u64s(&raw, ORIEL_FRONTEND_IOTLB_MSG, words[i], 32);
                assert_true(raw_send(target.socket, &raw));
                expect_refused(&target, raw_receive(target.socket, &reply, 10000), "IOTLB_MSG", "lie");
        }
        disconnect_from(&target);
        target_close(&target);
}

/* ---- rings that can't be ---- */

#define USER (UINT64_C(1) << 40)

struct place {
        const char *what;
        uint32_t size;
        uint64_t descriptor, driver, device;
        bool starts;
};

static const struct place places[] = {
        {"as it should be", 16, USER, USER + 0x800, USER + 0x1000, true},
        {"outside memory", 16, 0x1000, USER + 0x800, USER + 0x1000, false},
        {"used ring outside", 16, USER, USER + 0x800, USER + (4 * PAGE), false},
        {"descriptors across the end", 1024, USER + PAGE, USER, USER + 0x800, false},
        {"used ring across the end", 16, USER, USER + 0x800, USER + 4 * PAGE - 16, false},
        {"descriptors not aligned", 16, USER + 8, USER + 0x800, USER + 0x1000, false},
        {"available ring not aligned", 16, USER, USER + 0x801, USER + 0x1000, false},
        {"used ring not aligned", 16, USER, USER + 0x800, USER + 0x1002, false},
        {"addresses that overflow", 16, END - 15, END - 7, END - 3, false},
        {"not a power of two", 17, USER, USER + 0x800, USER + 0x1000, false},
};

static enum outcome send_words(struct target *target, uint32_t request, const uint64_t *words, uint32_t size, int fd)
{
        struct raw raw, reply;

        raw_init_u64s(&raw, request, words, size);
        raw.header.flags |= ORIEL_FLAG_NEED_REPLY;
        raw.n_fds = fd >= 0;
        raw.fds[0] = fd;
        assert_true(raw_send(target->socket, &raw));
        return raw_receive(target->socket, &reply, 10000);
}

static void prepare_ring(struct target *target, const struct place *place, uint32_t base)
{
        const uint64_t memory[] = {1, 0, 4 * PAGE, USER, 0};
        const uint64_t num = STATE(0, place->size), base_word = STATE(0, base), enable = STATE(0, 1);
        const uint64_t addr[] = {0, place->descriptor, place->device, place->driver, 0};

        assert_int_equal(send_words(target, ORIEL_FRONTEND_SET_MEM_TABLE, memory, MEM(1), target->fd), ACCEPT);
        assert_int_equal(send_words(target, ORIEL_FRONTEND_SET_VRING_NUM, &num, 8, -1), ACCEPT);
        assert_int_equal(send_words(target, ORIEL_FRONTEND_SET_VRING_BASE, &base_word, 8, -1), ACCEPT);
        assert_int_equal(send_words(target, ORIEL_FRONTEND_SET_VRING_ADDR, addr, 40, -1), ACCEPT);
        assert_int_equal(send_words(target, ORIEL_FRONTEND_SET_VRING_ENABLE, &enable, 8, -1), ACCEPT);
}

static void test_rings_that_cannot_be(void **state)
{
        const uint64_t vring = 0;
        struct target target;
        int kick = eventfd(0, EFD_CLOEXEC);

        target_open(&target);
        for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
                connect_to(&target, ALL & ~F(GPA_ADDRESSES), 0);
                prepare_ring(&target, &places[i], 0);

                enum outcome outcome = send_words(&target, ORIEL_FRONTEND_SET_VRING_KICK, &vring, 8, kick);

                if (outcome != (places[i].starts ? ACCEPT : REFUSE))
                        fail_msg("%s: outcome %d", places[i].what, outcome);
                assert_true(is_alive(&target));
                disconnect_from(&target);
        }
        target_close(&target);
        fd_close(kick);
}

static void test_a_started_ring_keeps_its_layout(void **state)
{
        const uint64_t vring = 0, num = STATE(0, 8), base = STATE(0, 1);
        struct target target;
        int kick = eventfd(0, EFD_CLOEXEC);

        target_open(&target);
        connect_to(&target, ALL & ~F(GPA_ADDRESSES), 0);
        prepare_ring(&target, &places[0], 0);
        assert_int_equal(send_words(&target, ORIEL_FRONTEND_SET_VRING_KICK, &vring, 8, kick), ACCEPT);
        assert_int_equal(send_words(&target, ORIEL_FRONTEND_SET_VRING_NUM, &num, 8, -1), REFUSE);
        assert_int_equal(send_words(&target, ORIEL_FRONTEND_SET_VRING_BASE, &base, 8, -1), REFUSE);
        assert_int_equal(send_words(&target, ORIEL_FRONTEND_SET_VRING_ADDR, (uint64_t[5]){0}, 40, -1), REFUSE);
        assert_true(is_alive(&target));
        disconnect_from(&target);
        target_close(&target);
        fd_close(kick);
}

/* A buffer whose contents were never an in-flight buffer. */
static void test_in_flight_buffer_that_is_none(void **state)
{
        const uint64_t inflight[] = {2 * PAGE, 0, INFLIGHT(1, 16)}, vring = 0;
        struct target target;
        int fd = make_memory(2 * PAGE), kick = eventfd(0, EFD_CLOEXEC);
        uint8_t *bytes = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        uint32_t seed = 3;

        target_open(&target);
        for (int i = 0; i < 200; i++) {
                random_fill(&seed, bytes, 2 * PAGE);
                if (i % 2)
                        memcpy(bytes + 8, (uint16_t[]){1, 16}, 4); /* version and size are right */
                connect_to(&target, ALL & ~F(GPA_ADDRESSES), i % 4 < 2 ? ORIEL_FEATURE(VIRTIO_F_RING_PACKED) : 0);
                prepare_ring(&target, &places[0], 0x80008000 * (i % 4 < 2));
                assert_int_equal(send_words(&target, ORIEL_FRONTEND_SET_INFLIGHT_FD, inflight, 24, fd), ACCEPT);
                send_words(&target, ORIEL_FRONTEND_SET_VRING_KICK, &vring, 8, kick);
                assert_true(is_alive(&target));
                disconnect_from(&target);
        }
        target_close(&target);
        munmap(bytes, 2 * PAGE);
        fd_close(fd);
        fd_close(kick);
}

/* A peer that is refused without end does not fill the log. */
static void test_refusals_that_are_logged(void **state)
{
        static const struct lie lie = {.what = "no entries", .request = ORIEL_FRONTEND_SET_VRING_NUM, .size = 8};
        struct target target;

        target_open(&target);
        connect_to(&target, ALL, 0);
        for (unsigned i = 0; i < 500; i++)
                assert_int_equal(tell(&target, &lie), REFUSE);
        assert_true(is_alive(&target));
        assert_between(atomic_load(&echo_counts(target.echo)->errors), 100, 250);
        atomic_store(&echo_counts(target.echo)->errors, 0);
        disconnect_from(&target);

        /* Another one is heard. */
        connect_to(&target, ALL, 0);
        check(&target,
              &(struct lie){.what = "no entries",
                            .request = ORIEL_FRONTEND_SET_VRING_NUM,
                            .size = 8,
                            .outcome = REFUSE,
                            .field = "entries"},
              tell(&target, &lie));
        disconnect_from(&target);
        target_close(&target);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_lies),
                counted_test(test_refusals_that_are_logged),
                counted_test(test_iotlb_lies),
                counted_test(test_rings_that_cannot_be),
                counted_test(test_a_started_ring_keeps_its_layout),
                counted_test(test_in_flight_buffer_that_is_none),
        };

        return run_counted("hostile-frontend-lies", tests);
}
