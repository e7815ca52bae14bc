/* SPDX-License-Identifier: BSD-2-Clause */
#include "virtqueue/test-ring.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>

/* ---- requests of random shape, whose answer can be told from the question ---- */

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
                player->requests[i].at = BORDER - n / 2 * SLOT_SIZE - SLOT_SIZE / 3 + i * SLOT_SIZE;
}

static uint32_t digest(uint32_t sum, uint8_t byte)
{
        return (sum ^ byte) * 16777619U;
}

/* Cut @size bytes from @at on into at most @max pieces, some of them empty. */
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
        request->writable = random_next(&player->random) % (SLOT_SIZE / 2);
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

/* The answer: a digest of the question says how long it is, and what. */
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

static size_t answer(const struct oriel_chain *chain)
{
        uint32_t sum = 1, left, size;
        const struct iovec *spans;
        unsigned n;

        spans = oriel_chain_readable(chain, &n);
        for (unsigned i = 0; i < n; i++)
                for (size_t k = 0; k < spans[i].iov_len; k++)
                        sum = digest(sum, ((uint8_t *)spans[i].iov_base)[k]);
        size = left = answer_size(sum, oriel_chain_writable_size(chain));
        spans = oriel_chain_writable(chain, &n);
        for (unsigned i = 0; i < n; i++)
                for (size_t k = 0; k < spans[i].iov_len && left > 0; k++, left--) {
                        sum = digest(sum, 0);
                        ((uint8_t *)spans[i].iov_base)[k] = (uint8_t)(sum >> 8);
                }
        assert_int_equal(left, 0);
        return size;
}

/* The device's side: it keeps up to @max chains and answers them in any order. */
struct worker {
        struct oriel_device_queue *queue;
        struct oriel_chain *chains[64];
        unsigned n, max;
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

static void worker_push(struct worker *worker)
{
        unsigned i = random_next(&worker->random) % worker->n;
        struct oriel_chain *chain = worker->chains[i];

        worker->chains[i] = worker->chains[--worker->n];
        assert_int_equal(oriel_device_queue_push(worker->queue, chain, answer(chain)), 0);
}

static struct shape {
        const char *name;
        uint64_t features;
        uint16_t size;
} shapes[] = {
        {"split", 0, 64},
        {"split, 1 entry", 0, 1},
        {"split, 2 entries, indirect", INDIRECT, 2},
        {"split, indirect", INDIRECT, 64},
        {"split, event index", EVENT_IDX, 64},
        {"split, in order", IN_ORDER, 64},
        {"split, all", INDIRECT | EVENT_IDX | IN_ORDER, 16},
        {"packed", PACKED, 64},
        {"packed, 1 entry", PACKED, 1},
        {"packed, 7 entries", PACKED, 7},
        {"packed, indirect", PACKED | INDIRECT, 61},
        {"packed, event index", PACKED | EVENT_IDX, 64},
        {"packed, in order", PACKED | IN_ORDER, 50},
        {"packed, all", PACKED | INDIRECT | EVENT_IDX | IN_ORDER, 13},
};

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
                uint32_t what = random_next(&random) % 4;

                if (what == 0)
                        player_submit(&player);
                else if (what == 1)
                        assert_true(worker_pop(&worker) >= 0);
                else if (what == 2 && worker.n > 0)
                        worker_push(&worker);
                else if (what == 3)
                        assert_true(player_collect(&player) >= 0);
                assert_int_equal(oriel_device_queue_in_use(world.device), worker.n);
                assert_int_equal(oriel_driver_queue_in_use(world.driver), player.n_out);
        }
        while (worker.n > 0)
                worker_push(&worker);
        free(player.requests);
        world_close(&world);
}

static void test_ping_pong(void **state)
{
        play(*state, 100000);
}

/* Each shape is a test of its own. */
static void add_for_shapes(struct CMUnitTest *tests, unsigned *n, CMUnitTestFunction function)
{
        for (unsigned i = 0; i < ARRAY_SIZE(shapes); i++)
                tests[(*n)++] = (struct CMUnitTest){
                        .name = shapes[i].name,
                        .test_func = function,
                        .setup_func = test_setup,
                        .teardown_func = test_teardown,
                        .initial_state = &shapes[i],
                };
}

int main(void)
{
        struct CMUnitTest tests[64];
        unsigned n = 0;

        add_for_shapes(tests, &n, test_ping_pong);
        return _cmocka_run_group_tests("virtqueue", tests, n, NULL, NULL);
}
