/* SPDX-License-Identifier: BSD-2-Clause */
/* Tests of a virtqueue's two sides against each other, over rings of every shape: requests, notifications, a queue that
 * continues from a base, and order. Memory that changes is in test-virtqueue-memory.c. */
#include "virtqueue/test-shapes.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>

/* ---- requests of random shape, whose answer follows from their contents ---- */

#define SLOT_SIZE  128
#define PIECES_MAX 6

struct request {
        uint64_t at;
        uint32_t readable, writable;
        bool out;
};

/* The driver's side of a test: requests, each with its own piece of guest memory. */
struct player {
        struct world *world;
        struct request *requests;
        unsigned n, n_out;
        uint32_t random;
        uint64_t submitted, collected;
};

static void player_init(struct player *player, struct world *world, unsigned n, uint32_t seed)
{
        *player = (struct player){.world = world, .n = n, .random = seed};
        player->requests = calloc(n, sizeof(*player->requests));
        assert_non_null(player->requests);
        /* One of them lies across the regions' border. */
        for (unsigned i = 0; i < n; i++)
                player->requests[i].at = BORDER - (uint64_t)n / 2 * SLOT_SIZE - SLOT_SIZE / 3 + (uint64_t)i * SLOT_SIZE;
}

static uint32_t digest(uint32_t sum, uint8_t byte)
{
        return (sum ^ byte) * 16777619U;
}

/* Divides @size bytes from @at on into at most @max pieces, some of them empty. */
static unsigned cut(struct player *player, uint64_t at, uint32_t size, unsigned max, struct oriel_buffer *pieces)
{
        unsigned n = 0;

        while (size > 0 && n + 1 < max) {
                uint32_t part = random_next(&player->random) % (size + 1);

                pieces[n++] = (struct oriel_buffer){at, part};
                at += part;
                size -= part;
        }
        if (size > 0)
                pieces[n++] = (struct oriel_buffer){at, size};
        return n;
}

static int player_submit(struct player *player)
{
        struct oriel_buffer readable[PIECES_MAX], writable[PIECES_MAX];
        unsigned max = player->world->ring.size < 4 ? 1 : 1 + random_next(&player->random) % 3;
        struct request *request = NULL;
        unsigned n_readable, n_writable;
        int r;

        for (unsigned i = 0; i < player->n && !request; i++) {
                struct request *candidate = &player->requests[(player->submitted + i) % player->n];

                request = candidate->out ? NULL : candidate;
        }
        if (!request)
                return -EAGAIN;
        request->readable = 1 + random_next(&player->random) % (SLOT_SIZE / 2 - 1);
        request->writable = player->world->ring.size > 1 ? random_next(&player->random) % (SLOT_SIZE / 2) : 0;
        for (uint32_t i = 0; i < request->readable; i++)
                *(uint8_t *)world_at(player->world, request->at + i) = (uint8_t)random_next(&player->random);
        n_readable = cut(player, request->at, request->readable, max, readable);
        n_writable = cut(player, request->at + SLOT_SIZE / 2, request->writable, max, writable);
        r = oriel_driver_queue_submit(player->world->driver, readable, n_readable, writable, n_writable, request);
        if (r == 0) {
                request->out = true;
                player->n_out++;
                player->submitted++;
        }
        return r;
}

/* Length and contents of the answer follow from a digest of the request. */
static uint32_t answer_size(uint32_t sum, uint64_t writable)
{
        return (uint32_t)(sum % (writable + 1));
}

static int player_collect(struct player *player)
{
        struct request *request;
        uint32_t written, sum = 1;
        void *token;
        int r = oriel_driver_queue_collect(player->world->driver, &token, &written);

        if (r <= 0)
                return r;
        request = token;
        assert_true(request->out);
        for (uint32_t i = 0; i < request->readable; i++)
                sum = digest(sum, *(uint8_t *)world_at(player->world, request->at + i));
        assert_int_equal(written, answer_size(sum, request->writable));
        for (uint32_t i = 0; i < written; i++) {
                sum = digest(sum, 0);
                assert_int_equal(*(uint8_t *)world_at(player->world, request->at + SLOT_SIZE / 2 + i),
                                 (uint8_t)(sum >> 8));
        }
        request->out = false;
        player->n_out--;
        player->collected++;
        return 1;
}

/* In two pieces each way, the second of which begins anywhere in a span. */
static size_t answer(struct oriel_chain *chain)
{
        uint8_t question[SLOT_SIZE], reply[SLOT_SIZE];
        size_t n = oriel_chain_readable_size(chain);
        uint32_t sum = 1, size;

        assert_int_equal(oriel_chain_read(chain, 0, question, n / 3), n / 3);
        assert_int_equal(oriel_chain_read(chain, n / 3, question + n / 3, SLOT_SIZE), n - n / 3);
        assert_int_equal(oriel_chain_read(chain, n, question, 1), 0);
        for (size_t i = 0; i < n; i++)
                sum = digest(sum, question[i]);
        size = answer_size(sum, oriel_chain_writable_size(chain));
        for (uint32_t i = 0; i < size; i++) {
                sum = digest(sum, 0);
                reply[i] = (uint8_t)(sum >> 8);
        }
        assert_int_equal(oriel_chain_write(chain, size / 3, reply + size / 3, size - size / 3), size - size / 3);
        assert_int_equal(oriel_chain_write(chain, 0, reply, size / 3), size / 3);
        assert_int_equal(oriel_chain_write(chain, oriel_chain_writable_size(chain), reply, 1), 0);
        return size;
}

/* The device's side: it keeps up to @max chains and answers them in any order. */
struct worker {
        struct oriel_device_queue *queue;
        struct oriel_chain *chains[64];
        unsigned n, max, unpopped;
        uint32_t random;
};

static int worker_pop(struct worker *worker)
{
        int r;

        if (worker->n == worker->max)
                return 0;
        r = oriel_device_queue_pop(worker->queue, &worker->chains[worker->n]);
        if (r == 1)
                worker->n++;
        return r;
}

/* The last chain popped can be unpopped only while it is still out. */
static void worker_unpop(struct worker *worker)
{
        struct oriel_chain *chain = worker->chains[worker->n - 1];
        int r = oriel_device_queue_unpop(worker->queue, chain);

        assert_true(r == 0 || r == -EINVAL);
        worker->unpopped += r == 0;
        worker->n -= r == 0;
}

static void worker_push(struct worker *worker)
{
        unsigned i = random_next(&worker->random) % worker->n;
        struct oriel_chain *chain = worker->chains[i];

        worker->chains[i] = worker->chains[--worker->n];
        assert_int_equal(
                (i % 2 ? oriel_device_queue_push : oriel_device_queue_fill)(worker->queue, chain, answer(chain)), 0);
}

/* ---- tests ---- */

static void play(const struct shape *shape, uint64_t rounds)
{
        struct world world;
        struct player player;
        struct worker worker;
        uint32_t random = 99;

        world_open(&world, shape->features, shape->size);
        player_init(&player, &world, 40, 7);
        worker = (struct worker){.queue = world.device, .max = 32, .random = 11};
        while (player.collected < rounds) {
                uint32_t what = random_next(&random) % 6;

                if (what == 0)
                        player_submit(&player);
                else if (what == 1)
                        assert_true(worker_pop(&worker) >= 0);
                else if (what == 2 && worker.n > 0)
                        worker_push(&worker);
                else if (what == 3)
                        assert_true(player_collect(&player) >= 0);
                else if (what == 4 && worker.n > 0)
                        worker_unpop(&worker);
                else if (what == 5)
                        assert_int_equal(oriel_device_queue_flush(world.device), 0);
                assert_int_equal(oriel_device_queue_in_use(world.device), worker.n);
                assert_int_equal(oriel_driver_queue_in_use(world.driver), player.n_out);
        }
        assert_true(worker.unpopped > 0);
        while (worker.n > 0)
                worker_push(&worker);
        free(player.requests);
        world_close(&world);
}

static void test_ping_pong(void **state)
{
        play(*state, 100000);
}

/* ---- both sides on threads of their own, asleep when there is nothing to do ---- */

struct meeting {
        struct world world;
        int kick, call;
        atomic_bool stop;
        int error;
};

/* Waits until signalled. A missing call or kick shows as a timeout. */
static bool wait_for(int fd)
{
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        eventfd_t value;

        return poll(&poll_fd, 1, 20000) == 1 && eventfd_read(fd, &value) == 0;
}

static int device_round(struct meeting *meeting, struct worker *worker)
{
        struct oriel_device_queue *queue = meeting->world.device;
        int r;

        while ((r = worker_pop(worker)) == 1)
                ;
        if (r < 0)
                return r;
        while (worker->n > 0) {
                unsigned i = random_next(&worker->random) % worker->n;
                struct oriel_chain *chain = worker->chains[i];

                worker->chains[i] = worker->chains[--worker->n];
                oriel_device_queue_fill(queue, chain, answer(chain));
        }
        oriel_device_queue_flush(queue);
        if (oriel_device_queue_needs_call(queue))
                eventfd_write(meeting->call, 1);
        return 0;
}

static void *device_thread(void *data)
{
        struct meeting *meeting = data;
        struct worker worker = {.queue = meeting->world.device, .max = 32, .random = 5};

        while (!atomic_load(&meeting->stop)) {
                oriel_device_queue_want_kick(meeting->world.device, false);
                meeting->error = device_round(meeting, &worker);
                if (meeting->error < 0)
                        return NULL;
                if (oriel_device_queue_want_kick(meeting->world.device, true))
                        continue;
                if (!wait_for(meeting->kick)) {
                        meeting->error = -ETIMEDOUT;
                        return NULL;
                }
        }
        return NULL;
}

static void driver_round(struct meeting *meeting, struct player *player)
{
        oriel_driver_queue_want_call(meeting->world.driver, false);
        while (player_submit(player) == 0)
                ;
        if (oriel_driver_queue_needs_kick(meeting->world.driver))
                eventfd_write(meeting->kick, 1);
        while (player_collect(player) == 1)
                ;
        assert_int_equal(oriel_driver_queue_error(meeting->world.driver), 0);
        if (player->n_out > 0 && !oriel_driver_queue_want_call(meeting->world.driver, true))
                assert_true(wait_for(meeting->call));
}

static void test_threads(void **state)
{
        const struct shape *shape = *state;
        struct meeting meeting = {.kick = eventfd(0, EFD_CLOEXEC), .call = eventfd(0, EFD_CLOEXEC)};
        struct player player;
        pthread_t thread;

        world_open(&meeting.world, shape->features, shape->size);
        player_init(&player, &meeting.world, 40, 3);
        assert_int_equal(pthread_create(&thread, NULL, device_thread, &meeting), 0);
        while (player.collected < 20000)
                driver_round(&meeting, &player);
        atomic_store(&meeting.stop, true);
        eventfd_write(meeting.kick, 1);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(meeting.error, 0);
        free(player.requests);
        close(meeting.kick);
        close(meeting.call);
        world_close(&meeting.world);
}

/* ---- a device that is replaced by another, from base to base ---- */

static void test_base(void **state)
{
        const struct shape *shape = *state;
        struct world world;
        struct player player;
        uint32_t random = 4;

        world_open(&world, shape->features, shape->size);
        player_init(&player, &world, 40, 8);
        for (unsigned round = 0; round < 3000; round++) {
                struct worker worker = {.queue = world.device, .max = 32, .random = round + 1};

                for (unsigned i = 0; i < random_next(&random) % 8; i++)
                        player_submit(&player);
                for (unsigned i = 0; i < random_next(&random) % 8; i++)
                        assert_true(worker_pop(&worker) >= 0);
                while (worker.n > 0)
                        worker_push(&worker);
                assert_int_equal(oriel_device_queue_flush(world.device), 0);
                world.base = oriel_device_queue_base(world.device);
                oriel_device_queue_free(world.device);
                world_open_device(&world);
                assert_int_equal(oriel_device_queue_base(world.device), world.base);
                while (player_collect(&player) == 1)
                        ;
                assert_int_equal(oriel_driver_queue_error(world.driver), 0);
                assert_int_equal(oriel_driver_queue_base(world.driver), world.base);
        }
        assert_true(player.collected > 200);
        free(player.requests);
        world_close(&world);
}

/* The base that user-mode Linux sets for a new ring of either format, before and after the driver has added buffers. */
static void test_base_of_nothing(void **state)
{
        for (unsigned made_available = 0; made_available < 2; made_available++) {
                struct oriel_chain *chain;
                struct world world;
                const struct oriel_buffer in = {BORDER, 16};

                world_init(&world, PACKED, 8);
                world.base = 0;
                world_open_driver(&world);
                for (unsigned i = 0; i < 2; i++) {
                        if (i == made_available)
                                world_open_device(&world);
                        if (i == 0)
                                assert_int_equal(oriel_driver_queue_submit(world.driver, &in, 1, NULL, 0, &world), 0);
                }
                assert_int_equal(oriel_device_queue_pop(world.device, &chain), 1);
                assert_int_equal(oriel_device_queue_push(world.device, chain, 0), 0);
                world_close(&world);
        }
}

static void test_bad_base(void **state)
{
        static const uint32_t split[] = {0x10000}, packed[] = {4, 0x80048000, 0x80008001 + 0x40000, 0x80018000, 0x8000};
        struct world world;

        world_init(&world, 0, 4);
        for (unsigned i = 0; i < ARRAY_SIZE(split); i++)
                assert_int_equal(oriel_device_queue_new(&world.ring, world.memory, split[i], &world.device), -EINVAL);
        world.ring.features = PACKED;
        for (unsigned i = 0; i < ARRAY_SIZE(packed) - 1; i++)
                assert_int_equal(oriel_device_queue_new(&world.ring, world.memory, packed[i], &world.device), -EINVAL);
        /* All four taken, none used. */
        assert_int_equal(oriel_device_queue_new(&world.ring, world.memory, packed[4], &world.device), 0);
        world_close(&world);
}

static void test_bad_ring(void **state)
{
        static const struct {
                uint64_t features;
                uint16_t size;
                uint64_t offsets[3];
                int error;
        } bad[] = {
                {0, 0, {0}, -EINVAL},
                {0, 3, {0}, -EINVAL},
                {0, 32769, {0}, -EINVAL},
                {PACKED, 0, {0}, -EINVAL},
                {PACKED, 32769, {0}, -EINVAL},
                {0, 4, {8, 0, 0}, -EINVAL},
                {0, 4, {0, 1, 0}, -EINVAL},
                {0, 4, {0, 0, 2}, -EINVAL},
                {PACKED, 4, {0, 2, 0}, -EINVAL},
                {0, 4, {REGION_SIZE - 16, 0, 0}, -EFAULT}, /* over the border of two regions */
                {0, 4, {2 * REGION_SIZE - 16, 0, 0}, -EFAULT},
                {0, 4, {0, 2 * REGION_SIZE, 0}, -EFAULT},
                {0, 4, {0, 0, UINT64_MAX - 0x200000 + 1}, -EFAULT},
        };

        for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
                struct world world;

                world_init(&world, bad[i].features, 4);
                world.ring.size = bad[i].size;
                world.ring.descriptor += bad[i].offsets[0];
                world.ring.driver += bad[i].offsets[1];
                world.ring.device += bad[i].offsets[2];
                assert_int_equal(oriel_device_queue_new(&world.ring, world.memory, world.base, &world.device),
                                 bad[i].error);
                world_close(&world);
        }
}

/* ---- notifications ---- */

static void test_suppression(void **state)
{
        const struct shape *shape = *state;
        struct world world;

        world_open(&world, shape->features, shape->size);
        /* Over several laps of the ring. */
        for (unsigned i = 0; i < 5U * shape->size; i++) {
                assert_false(oriel_driver_queue_needs_kick(world.driver));
                assert_false(oriel_device_queue_want_kick(world.device, i % 2));
                assert_false(oriel_driver_queue_want_call(world.driver, i % 3));
                submit_one(&world);
                assert_int_equal(oriel_driver_queue_needs_kick(world.driver), i % 2);
                assert_false(oriel_driver_queue_needs_kick(world.driver));
                assert_true(oriel_device_queue_want_kick(world.device, false));

                assert_false(oriel_device_queue_needs_call(world.device));
                pop_and_push(&world);
                assert_int_equal(oriel_device_queue_needs_call(world.device), i % 3 != 0);
                assert_false(oriel_device_queue_needs_call(world.device));
                assert_true(oriel_driver_queue_want_call(world.driver, true));
                collect_one(&world);
        }
        world_close(&world);
}

/* With an event index, only the first buffer after the request causes a notification. */
static void test_event_index(void **state)
{
        const struct shape *shape = *state;
        struct world world;

        world_open(&world, shape->features, shape->size);
        for (unsigned i = 0; i < 50; i++) {
                oriel_device_queue_want_kick(world.device, true);
                oriel_driver_queue_want_call(world.driver, true);
                submit_one(&world);
                assert_true(oriel_driver_queue_needs_kick(world.driver));
                submit_one(&world);
                assert_false(oriel_driver_queue_needs_kick(world.driver));
                pop_and_push(&world);
                assert_true(oriel_device_queue_needs_call(world.device));
                pop_and_push(&world);
                assert_false(oriel_device_queue_needs_call(world.device));
                collect_one(&world);
                collect_one(&world);
        }
        world_close(&world);
}

/* ---- order ---- */

static void test_held_back(void **state)
{
        const struct shape *shape = *state;
        struct oriel_chain *chains[3];
        struct world world;
        uint32_t written;
        void *token;

        world_open(&world, shape->features, shape->size);
        for (unsigned i = 0; i < 3; i++) {
                submit_one(&world);
                assert_int_equal(oriel_device_queue_pop(world.device, &chains[i]), 1);
        }
        assert_int_equal(oriel_device_queue_push(world.device, chains[1], 1), 0);
        assert_int_equal(oriel_device_queue_in_use(world.device), 2);
        assert_false(oriel_device_queue_needs_call(world.device));
        assert_int_equal(oriel_driver_queue_collect(world.driver, &token, &written), 0);
        assert_int_equal(oriel_device_queue_push(world.device, chains[0], 1), 0);
        assert_true(oriel_device_queue_needs_call(world.device));
        collect_one(&world);
        collect_one(&world);
        /* A dropped chain keeps those after it from being returned. */
        submit_one(&world);
        oriel_chain_drop(chains[2]);
        pop_and_push(&world);
        assert_int_equal(oriel_device_queue_in_use(world.device), 0);
        assert_int_equal(oriel_driver_queue_collect(world.driver, &token, &written), 0);
        world_close(&world);
}

/* ---- several at once, and unpop ---- */

static void test_filled(void **state)
{
        const struct shape *shape = *state;
        struct oriel_chain *chains[3];
        struct world world;
        uint32_t written;
        void *token;

        world_open(&world, shape->features, shape->size);
        for (unsigned i = 0; i < 3; i++) {
                submit_one(&world);
                assert_int_equal(oriel_device_queue_pop(world.device, &chains[i]), 1);
        }
        for (unsigned i = 0; i < 3; i++) {
                assert_int_equal(oriel_device_queue_fill(world.device, chains[i], 1), 0);
                assert_int_equal(oriel_device_queue_fill(world.device, chains[i], 1), -EINVAL);
                assert_int_equal(oriel_driver_queue_collect(world.driver, &token, &written), 0);
        }
        assert_int_equal(oriel_device_queue_in_use(world.device), 0);
        assert_int_equal(oriel_device_queue_flush(world.device), 0);
        for (unsigned i = 0; i < 3; i++)
                collect_one(&world);
        assert_int_equal(oriel_driver_queue_collect(world.driver, &token, &written), 0);
        /* needs_call publishes what was filled. */
        submit_one(&world);
        assert_int_equal(oriel_device_queue_pop(world.device, &chains[0]), 1);
        assert_int_equal(oriel_device_queue_fill(world.device, chains[0], 1), 0);
        assert_true(oriel_device_queue_needs_call(world.device));
        collect_one(&world);
        world_close(&world);
}

static void test_unpop(void **state)
{
        const struct shape *shape = *state;
        struct oriel_chain *a, *b, *again;
        struct world world;

        world_open(&world, shape->features, shape->size);

        uint32_t base = oriel_device_queue_base(world.device);

        submit_one(&world);
        submit_one(&world);
        assert_int_equal(oriel_device_queue_pop(world.device, &a), 1);
        assert_int_equal(oriel_device_queue_pop(world.device, &b), 1);
        assert_int_equal(oriel_device_queue_unpop(world.device, a), -EINVAL);
        assert_int_equal(oriel_device_queue_unpop(world.device, NULL), -EINVAL);
        assert_int_equal(oriel_device_queue_unpop(world.device, b), 0);
        assert_int_equal(oriel_device_queue_unpop(world.device, b), -EINVAL);
        assert_true(oriel_device_queue_want_kick(world.device, true));
        assert_int_equal(oriel_device_queue_unpop(world.device, a), 0);
        assert_int_equal(oriel_device_queue_base(world.device), base);
        assert_int_equal(oriel_device_queue_in_use(world.device), 0);
        /* A later buffer was returned to the driver: unpop is not possible any more. */
        assert_int_equal(oriel_device_queue_pop(world.device, &again), 1);
        pop_and_push(&world);
        assert_int_equal(oriel_device_queue_unpop(world.device, again), -EINVAL);
        assert_int_equal(oriel_device_queue_push(world.device, again, 1), 0);
        collect_one(&world);
        collect_one(&world);
        world_close(&world);
}

static void test_submit_refusals(void **state)
{
        const struct shape *shape = *state;
        struct oriel_buffer buffers[65] = {{GUEST, UINT32_MAX}, {GUEST, UINT32_MAX}};
        struct world world;

        world_open(&world, shape->features, shape->size);
        assert_int_equal(oriel_driver_queue_submit(world.driver, NULL, 0, NULL, 0, &world), -EINVAL);
        assert_int_equal(oriel_driver_queue_submit(world.driver, buffers, 1, NULL, 0, NULL), -EINVAL);
        assert_int_equal(oriel_driver_queue_submit(world.driver, buffers, 2, NULL, 0, &world), -EINVAL);
        assert_int_equal(oriel_driver_queue_submit(world.driver, buffers + 2, UINT32_MAX, NULL, 1, &world), -EINVAL);
        assert_int_equal(oriel_driver_queue_submit(world.driver, buffers, 65, NULL, 0, &world), -EINVAL);
        for (unsigned i = 0; i < shape->size; i++)
                submit_one(&world);
        assert_int_equal(oriel_driver_queue_submit(world.driver, buffers, 1, NULL, 0, &world), -EAGAIN);
        world_close(&world);
}

int main(void)
{
        static const struct shape_test of_shapes[] = {
                {"ping-pong", test_ping_pong, 0, 1},
                {"threads", test_threads, 0, 1},
                {"base", test_base, 0, 1},
                {"suppression", test_suppression, 0, 1},
                {"event index", test_event_index, EVENT_IDX, 2},
                {"held back", test_held_back, IN_ORDER, 3},
                {"filled", test_filled, 0, 3},
                {"unpop", test_unpop, 0, 2},
                {"submit refusals", test_submit_refusals, 0, 1},
        };
        static struct shape_names names[ARRAY_SIZE(of_shapes)];
        static struct CMUnitTest tests[ARRAY_SIZE(of_shapes) * SHAPES + 3];
        size_t n = add_shape_tests(tests, of_shapes, names, ARRAY_SIZE(of_shapes));

        tests[n++] = (struct CMUnitTest)counted_test(test_base_of_nothing);
        tests[n++] = (struct CMUnitTest)counted_test(test_bad_base);
        tests[n++] = (struct CMUnitTest)counted_test(test_bad_ring);
        return _cmocka_run_group_tests("virtqueue", tests, n, NULL, NULL);
}
