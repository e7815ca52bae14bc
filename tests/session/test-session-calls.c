/* SPDX-License-Identifier: BSD-2-Clause */

/* The calls of a front-end that does not wait, on one thread with the back-end: answers, refusals, time limits, a
 * socket without room, events that come meanwhile, and owners that free the front-end or connect it anew from a
 * callback. A raw back-end tries to have the owner's loop spin. */

#include "base/fd.h"
#include "tests/hostile/subject.h"
#include "tests/session/turns.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct owner {
        struct oriel_frontend *frontend;
        struct end end;
        struct oriel_window *window;
        struct oriel_region *region;
        unsigned mapped;
        bool frees;
};

static void owner_mapped(void *userdata, struct oriel_region *region, struct oriel_mapping *mapping, int fd)
{
        struct owner *owner = userdata;

        assert_int_equal(oriel_frontend_under_way(owner->frontend), 0);
        owner->mapped++;
        if (owner->frees)
                oriel_frontend_free(owner->frontend);
}

static int owner_object_add(void *userdata, const uint8_t uuid[16])
{
        struct owner *owner = userdata;

        if (owner->frees)
                oriel_frontend_free(owner->frontend);
        return -ENOENT;
}

static void restart_config_changed(void *userdata);

static void owner_open(struct owner *owner, uint64_t without, int timeout_ms)
{
        const struct oriel_frontend_ops ops = {.struct_size = sizeof(ops),
                                               .mapped = owner_mapped,
                                               .config_changed = restart_config_changed,
                                               .shared_object_add = owner_object_add};
        const struct oriel_frontend_options options = {
                .struct_size = sizeof(options), .ops = &ops, .userdata = owner, .timeout_ms = timeout_ms};
        const struct oriel_region_options region = {
                .struct_size = sizeof(region), .size = REGION, .placement = oriel_window_placement()};
        struct oriel_region_options with_window = region;

        *owner = (struct owner){0};
        assert_int_equal(oriel_window_new(REGION, ORIEL_HOLE_ZERO, &owner->window), 0);
        with_window.userdata = owner->window;
        assert_int_equal(oriel_region_new(&with_window, &owner->region), 0);
        assert_int_equal(oriel_frontend_new(&options, &owner->frontend), 0);
        assert_int_equal(oriel_frontend_attach(owner->frontend, end_open(&owner->end, without)), 0);
        oriel_frontend_set_region(owner->frontend, 0, owner->region);
        assert_int_equal(oriel_frontend_set_nonblocking(owner->frontend, true), 0);
}

static void owner_close(struct owner *owner)
{
        oriel_frontend_free(owner->frontend);
        oriel_region_free(owner->region);
        oriel_window_free(owner->window);
        end_close(&owner->end);
}

#define REPEAT(owner, call)                                           \
        ({                                                            \
                int result_;                                          \
                while ((result_ = (call)) == -EINPROGRESS)            \
                        assert_int_equal(end_turn(&(owner)->end), 0); \
                result_;                                              \
        })

static void owner_negotiate(struct owner *owner)
{
        assert_int_equal(REPEAT(owner, oriel_frontend_negotiate(owner->frontend, WANTED)), 0);
        assert_int_equal(REPEAT(owner, oriel_frontend_set_features(owner->frontend, ORIEL_FEATURE(VIRTIO_F_VERSION_1))),
                         0);
}

/* Each request with an answer of its own, a refusal, and what is not the call that is under way. */
static void test_calls(void **state)
{
        struct owner owner;
        uint64_t sizes[ORIEL_MAX_SHMIDS] = {0}, slots = 0;
        uint8_t config[4];
        unsigned queues = 0;

        owner_open(&owner, 0, FOREVER);
        owner_negotiate(&owner);
        assert_int_equal(REPEAT(&owner, oriel_frontend_get_queue_num(owner.frontend, &queues)), 0);
        assert_int_equal(queues, 2);
        assert_int_equal(REPEAT(&owner, oriel_frontend_get_max_mem_slots(owner.frontend, &slots)), 0);
        assert_true(slots > 0);
        assert_int_equal(REPEAT(&owner, oriel_frontend_get_shmem_config(owner.frontend, sizes)), 0);
        assert_int_equal(sizes[0], REGION);
        assert_int_equal(REPEAT(&owner, oriel_frontend_get_config(owner.frontend, 0, config, 4)), 0);
        assert_int_equal(config[3], 7);
        assert_int_equal(REPEAT(&owner, oriel_frontend_get_config(owner.frontend, 4, config, 4)), -EREMOTEIO);

        assert_int_equal(oriel_frontend_set_vring_num(owner.frontend, 0, 64), -EINPROGRESS);
        assert_int_equal(oriel_frontend_under_way(owner.frontend), ORIEL_FRONTEND_SET_VRING_NUM);
        assert_int_equal(oriel_frontend_set_vring_num(owner.frontend, 1, 64), -EBUSY);
        assert_int_equal(oriel_frontend_set_vring_base(owner.frontend, 0, 64), -EBUSY);
        assert_int_equal(oriel_frontend_negotiate(owner.frontend, 0), -EBUSY);
        assert_int_equal(oriel_frontend_reset_device(owner.frontend), -EBUSY);
        assert_int_equal(oriel_frontend_dispatch(owner.frontend), 0);
        assert_false(is_readable(oriel_frontend_get_fd(owner.frontend), 0));
        assert_int_equal(end_turn(&owner.end), 0);
        assert_true(is_readable(oriel_frontend_get_fd(owner.frontend), 0));
        assert_int_equal(oriel_frontend_dispatch(owner.frontend), 0);
        assert_int_equal(oriel_frontend_set_vring_num(owner.frontend, 0, 64), 0);
        assert_int_equal(oriel_frontend_under_way(owner.frontend), 0);
        assert_false(is_readable(oriel_frontend_get_fd(owner.frontend), 0));

        /* One that was begun is finished by waiting. */
        assert_int_equal(oriel_frontend_set_vring_num(owner.frontend, 0, 128), -EINPROGRESS);
        assert_int_equal(end_turn(&owner.end), 0);
        assert_int_equal(oriel_frontend_set_nonblocking(owner.frontend, false), 0);
        assert_int_equal(oriel_frontend_set_vring_num(owner.frontend, 0, 128), 0);
        owner_close(&owner);
}

/* A reset that is under way leaves mappings; one that is done does not. */
static void test_reset(void **state)
{
        struct owner owner;
        int file = make_memory(PAGE);

        owner_open(&owner, 0, FOREVER);
        owner_negotiate(&owner);
        assert_int_equal(oriel_region_map(owner.region, (struct oriel_range){0, PAGE}, file, 0, ORIEL_ACCESS_READ), 0);
        assert_int_equal(oriel_frontend_set_status(owner.frontend, 0), -EINPROGRESS);
        assert_int_equal(oriel_region_count(owner.region), 1);
        assert_int_equal(REPEAT(&owner, oriel_frontend_set_status(owner.frontend, 0)), 0);
        assert_int_equal(oriel_region_count(owner.region), 0);
        fd_close(file);
        owner_close(&owner);
}

/* A time limit is that of the call, and makes the descriptor ready though nobody says anything. */
static void test_time_limit(void **state)
{
        struct owner owner;

        owner_open(&owner, 0, 20);
        assert_int_equal(oriel_frontend_negotiate(owner.frontend, 0), -EINPROGRESS);
        assert_true(is_readable(oriel_frontend_get_fd(owner.frontend), PATIENCE));
        assert_int_equal(oriel_frontend_negotiate(owner.frontend, 0), -ETIMEDOUT);
        assert_false(oriel_frontend_connected(owner.frontend));
        assert_int_equal(oriel_frontend_negotiate(owner.frontend, 0), -ENOTCONN);
        owner_close(&owner);
}

/* Messages without an answer fill the socket of a back-end that does not read. */
static void test_no_room(void **state)
{
        for (int limited = 0; limited < 2; limited++) {
                struct owner owner;
                int r = 0;
                uint32_t n = 0;

                owner_open(&owner, ORIEL_FEATURE(ORIEL_PROTOCOL_F_REPLY_ACK), limited ? 500 : FOREVER);
                owner_negotiate(&owner);
                while (r == 0)
                        r = oriel_frontend_set_vring_base(owner.frontend, 0, ++n);
                assert_int_equal(r, -EINPROGRESS);
                assert_false(is_readable(oriel_frontend_get_fd(owner.frontend), 0));
                assert_int_equal(oriel_frontend_set_vring_base(owner.frontend, 0, n), -EINPROGRESS);
                if (limited) {
                        assert_true(is_readable(oriel_frontend_get_fd(owner.frontend), PATIENCE));
                        assert_int_equal(oriel_frontend_set_vring_base(owner.frontend, 0, n), -ETIMEDOUT);
                } else {
                        while (!is_readable(oriel_frontend_get_fd(owner.frontend), 0))
                                assert_int_equal(end_turn(&owner.end), 0);
                        assert_int_equal(oriel_frontend_set_vring_base(owner.frontend, 0, n), 0);
                        assert_false(is_readable(oriel_frontend_get_fd(owner.frontend), 0));
                }
                owner_close(&owner);
        }
}

/* Starts queue 0, whose start maps. Returns when the back-end has done so, and before its answer was taken. */
static void start_and_pause(struct owner *owner, unsigned maps)
{
        owner->end.maps_at_start = maps;
        owner_negotiate(owner);

        int memory = make_memory(1 << 20), r;
        const struct oriel_memory_region region = region_at(0, 1 << 20);
        const struct vhost_vring_addr addr = {.desc_user_addr = region.user_address,
                                              .avail_user_addr = region.user_address + PAGE,
                                              .used_user_addr = region.user_address + 2 * PAGE};

        assert_int_equal(REPEAT(owner, oriel_frontend_set_mem_table(owner->frontend, &region, &memory, 1)), 0);
        assert_int_equal(REPEAT(owner, oriel_frontend_set_vring_num(owner->frontend, 0, 64)), 0);
        assert_int_equal(REPEAT(owner, oriel_frontend_set_vring_addr(owner->frontend, &addr)), 0);
        assert_int_equal(REPEAT(owner, oriel_frontend_set_vring_enable(owner->frontend, 0, true)), 0);
        r = oriel_frontend_set_vring_kick(owner->frontend, 0, -1);
        assert_int_equal(r, -EINPROGRESS);
        while (owner->end.starts == 0)
                assert_int_equal(end_turn(&owner->end), 0);
        fd_close(memory);
}

/* Requests of the back-end are served at once while a call is under way, and their events told when it has ended. */
static void test_events(void **state)
{
        struct owner owner;

        owner_open(&owner, 0, FOREVER);
        start_and_pause(&owner, AT_START);
        assert_int_equal(oriel_frontend_dispatch(owner.frontend), 0);
        assert_int_equal(oriel_region_count(owner.region), AT_START);
        assert_int_equal(owner.mapped, 0);
        assert_int_equal(oriel_frontend_set_vring_kick(owner.frontend, 0, -1), 0);
        assert_int_equal(owner.mapped, AT_START);
        owner_close(&owner);
}

/* The owner frees its front-end from a callback, in the call that goes on. */
static void test_freed_by_a_callback(void **state)
{
        struct owner owner;

        owner_open(&owner, 0, FOREVER);
        start_and_pause(&owner, 1);
        owner.frees = true;
        assert_int_equal(oriel_frontend_dispatch(owner.frontend), 0);
        assert_int_equal(oriel_frontend_set_vring_kick(owner.frontend, 0, -1), -ECANCELED);
        owner.frontend = NULL;
        owner_close(&owner);

        /* And while the back-end is served. */
        const uint8_t uuid[16] = {1};
        uint64_t ticket;

        owner_open(&owner, 0, FOREVER);
        owner_negotiate(&owner);
        owner.frees = true;
        assert_int_equal(oriel_frontend_set_vring_num(owner.frontend, 0, 64), -EINPROGRESS);
        assert_int_equal(oriel_backend_shared_object_add(owner.end.backend, uuid, &ticket), 0);
        assert_int_equal(oriel_frontend_set_vring_num(owner.frontend, 0, 64), -ECANCELED);
        owner.frontend = NULL;
        owner_close(&owner);
}

/* A raw back-end makes nothing ready that the owner could do nothing about: its loop would spin. */
static void test_nothing_spins(void **state)
{
        const uint64_t features = F(BACKEND_REQ) | F(CONFIG);
        struct subject subject;
        struct raw raw;
        uint8_t config[4];
        uint32_t n = 0;
        int fd;

        subject_open(&subject, FOREVER);
        fd = oriel_frontend_get_fd(subject.frontend);
        raw_init_u64s(&raw, ORIEL_BACKEND_CONFIG_CHANGE_MSG, NULL, 0);

        /* More events than are kept, and then the end of their channel. */
        subject_connect(&subject, features);
        assert_int_equal(oriel_frontend_set_nonblocking(subject.frontend, true), 0);
        assert_int_equal(oriel_frontend_get_config(subject.frontend, 0, config, 4), -EINPROGRESS);
        for (unsigned i = 0; i < 300; i++) {
                assert_true(raw_send(subject.back, &raw));
                assert_int_equal(oriel_frontend_get_config(subject.frontend, 0, config, 4), -EINPROGRESS);
        }
        assert_false(is_readable(fd, 0));
        subject.back = fd_close(subject.back);
        assert_int_equal(oriel_frontend_get_config(subject.frontend, 0, config, 4), -EINPROGRESS);
        assert_false(is_readable(fd, 0));
        subject_disconnect(&subject);

        /* There is no room for a request: the back-end is served meanwhile, and a byte of it is not looked at. */
        subject_connect(&subject, features);
        subject.told = 0;
        while (oriel_frontend_set_vring_base(subject.frontend, 0, ++n) == 0)
                ;
        assert_int_equal(oriel_frontend_under_way(subject.frontend), ORIEL_FRONTEND_SET_VRING_BASE);
        assert_true(raw_send(subject.back, &raw));
        assert_true(is_readable(fd, 0));
        assert_int_equal(oriel_frontend_set_vring_base(subject.frontend, 0, n), -EINPROGRESS);
        assert_false(is_readable(fd, 0));
        assert_int_equal(send(subject.main, "x", 1, 0), 1);
        assert_int_equal(oriel_frontend_set_vring_base(subject.frontend, 0, n), -EINPROGRESS);
        assert_false(is_readable(fd, 0));
        subject_drain(&subject);
        assert_true(is_readable(fd, 0));
        assert_int_equal(oriel_frontend_set_vring_base(subject.frontend, 0, n), 0);
        assert_int_equal(subject.told, 1);
        subject_close(&subject);
}

/* A callback that ends the connection and begins another one does not mix up the two. */
static void restart_config_changed(void *userdata)
{
        struct owner *owner = userdata;

        if (!owner->frees)
                return;
        owner->frees = false;
        oriel_frontend_disconnect(owner->frontend);
        end_close(&owner->end);
        assert_int_equal(oriel_frontend_attach(owner->frontend, end_open(&owner->end, 0)), 0);
        assert_int_equal(oriel_frontend_negotiate(owner->frontend, WANTED), -EINPROGRESS);
}

static void test_another_connection_in_a_callback(void **state)
{
        struct owner owner;

        owner_open(&owner, 0, FOREVER);
        owner_negotiate(&owner);
        owner.frees = true;
        assert_int_equal(oriel_frontend_negotiate(owner.frontend, WANTED), -EINPROGRESS);
        assert_int_equal(oriel_backend_config_changed(owner.end.backend, NULL), 0);
        assert_int_equal(oriel_frontend_dispatch(owner.frontend), 0);
        assert_int_equal(end_turn(&owner.end), 0);
        assert_int_equal(oriel_frontend_negotiate(owner.frontend, WANTED), -ENOTCONN);
        owner_negotiate(&owner);
        owner_close(&owner);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_nothing_spins), cmocka_unit_test(test_another_connection_in_a_callback),
                cmocka_unit_test(test_calls),         cmocka_unit_test(test_reset),
                cmocka_unit_test(test_time_limit),    cmocka_unit_test(test_no_room),
                cmocka_unit_test(test_events),        cmocka_unit_test(test_freed_by_a_callback),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
