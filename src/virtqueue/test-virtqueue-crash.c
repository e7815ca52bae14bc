/* SPDX-License-Identifier: BSD-2-Clause */

/* A back-end may end at any instruction. Here one runs in a process of its own, instruction by instruction, and each
 * different state that it leaves in shared memory is recovered from: every request must be returned to the driver once.
 * As the recovering process may end as well, each state that it leaves is recovered from too: from every twelfth of the
 * first, or from all of them (minutes) with ORIEL_TEST_LONG in the environment. */

#include "virtqueue/test-ring.h"

#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#define SIZE          8
#define RING_BYTES    (3 * 4096UL)
#define REGION_BYTES  4096UL
#define SNAPSHOTS_MAX 512
#define REQUESTS      16

struct crash {
        struct world world;
        uint8_t *region;
        unsigned seen[REQUESTS]; /* how often request i came back */
        unsigned submitted;
};

struct snapshot {
        uint8_t ring[RING_BYTES];
        uint8_t region[REGION_BYTES];
};

static void snapshot_take(const struct crash *crash, struct snapshot *out)
{
        memcpy(out->ring, world_at(&crash->world, RING_AT), RING_BYTES);
        memcpy(out->region, crash->region, REGION_BYTES);
}

static void snapshot_restore(struct crash *crash, const struct snapshot *from)
{
        memcpy(world_at(&crash->world, RING_AT), from->ring, RING_BYTES);
        memcpy(crash->region, from->region, REGION_BYTES);
}

static bool snapshot_is_now(const struct crash *crash, const struct snapshot *snapshot)
{
        return memcmp(world_at(&crash->world, RING_AT), snapshot->ring, RING_BYTES) == 0 &&
               memcmp(crash->region, snapshot->region, REGION_BYTES) == 0;
}

/* Runs @script in a process of its own. Returns how many different states were seen, 0 where single-stepping fails. */
static unsigned states_of(struct crash *crash, int (*script)(struct crash *crash), struct snapshot *out)
{
        unsigned n = 1;
        int status;
        pid_t child = fork();

        assert_true(child >= 0);
        if (child == 0) {
                if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
                        _exit(100);
                raise(SIGSTOP);
                _exit(script(crash));
        }
        snapshot_take(crash, &out[0]);
        assert_int_equal(waitpid(child, &status, 0), child);
        while (WIFSTOPPED(status)) {
                if (ptrace(PTRACE_SINGLESTEP, child, NULL, NULL) < 0)
                        fail_msg("single step");
                assert_int_equal(waitpid(child, &status, 0), child);
                if (snapshot_is_now(crash, &out[n - 1]))
                        continue;
                assert_true(n < SNAPSHOTS_MAX);
                snapshot_take(crash, &out[n++]);
        }
        assert_true(WIFEXITED(status));
        if (WEXITSTATUS(status) == 100)
                return 0;
        assert_int_equal(WEXITSTATUS(status), 0);
        return n;
}

/* Instrumented code has so many instructions that this takes minutes, and shows nothing that plain code does not. */
static bool is_too_slow(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
        return !getenv("ORIEL_TEST_LONG");
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
        return !getenv("ORIEL_TEST_LONG");
#endif
#endif
        return false;
}

/* ---- code that runs in other processes: it can't use cmocka ---- */

#define CHECK(condition)                                                                \
        do {                                                                            \
                if (!(condition)) {                                                     \
                        fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
                        return 1;                                                       \
                }                                                                       \
        } while (0)

static int submit(struct crash *crash, unsigned n_pieces)
{
        struct oriel_buffer pieces[3] = {{GUEST + 0x300000, 10}, {GUEST + 0x300010, 10}, {GUEST + 0x300020, 10}};

        CHECK(crash->submitted < REQUESTS);
        CHECK(oriel_driver_queue_submit(crash->world.driver, pieces, n_pieces - 1, pieces + n_pieces - 1, 1,
                                        &crash->seen[crash->submitted]) == 0);
        crash->submitted++;
        return 0;
}

static int collect_all(struct crash *crash)
{
        uint32_t written;
        void *token;
        int r;

        while ((r = oriel_driver_queue_collect(crash->world.driver, &token, &written)) == 1)
                ++*(unsigned *)token;
        CHECK(r == 0);
        return 0;
}

static int open_device(struct crash *crash)
{
        struct world *world = &crash->world;

        /* The base is wrong on purpose: a front-end whose back-end was killed does not know it. */
        CHECK(oriel_device_queue_new(&world->ring, world->memory, world->base, &world->device) == 0);
        CHECK(oriel_device_queue_set_inflight(world->device, crash->region, REGION_BYTES) == 0);
        return 0;
}

static int script_work(struct crash *crash)
{
        struct oriel_device_queue *queue = crash->world.device;
        struct oriel_chain *a, *b, *c;

        CHECK(oriel_device_queue_pop(queue, &a) == 1);
        CHECK(oriel_device_queue_pop(queue, &b) == 1);
        CHECK(oriel_device_queue_push(queue, b, 1) == 0);
        CHECK(oriel_device_queue_pop(queue, &c) == 1);
        CHECK(oriel_device_queue_unpop(queue, c) == 0);
        CHECK(oriel_device_queue_pop(queue, &c) == 1);
        CHECK(oriel_device_queue_push(queue, a, 2) == 0);
        CHECK(oriel_device_queue_push(queue, c, 3) == 0);
        return 0;
}

static int script_recover(struct crash *crash)
{
        struct oriel_chain *chain;

        CHECK(open_device(crash) == 0);
        if (oriel_device_queue_pop(crash->world.device, &chain) == 1) {
                CHECK(oriel_device_queue_unpop(crash->world.device, chain) == 0);
                CHECK(oriel_device_queue_pop(crash->world.device, &chain) == 1);
                CHECK(oriel_device_queue_push(crash->world.device, chain, 4) == 0);
        }
        return 0;
}

/* Recovers without a further crash. @busy: the driver has gone on before. */
static int finish(struct crash *crash, bool busy)
{
        struct oriel_chain *chain, *first = NULL;
        int r;

        if (busy) {
                CHECK(collect_all(crash) == 0);
                while (oriel_driver_queue_in_use(crash->world.driver) < 5 && crash->submitted < REQUESTS)
                        CHECK(submit(crash, 1) == 0);
        }
        CHECK(open_device(crash) == 0);
        CHECK(oriel_device_queue_needs_call(crash->world.device));
        while ((r = oriel_device_queue_pop(crash->world.device, &chain)) == 1) {
                if (!first)
                        first = chain;
                else
                        CHECK(oriel_device_queue_push(crash->world.device, chain, 5) == 0);
        }
        CHECK(r == 0);
        if (first)
                CHECK(oriel_device_queue_push(crash->world.device, first, 5) == 0);
        CHECK(collect_all(crash) == 0);
        CHECK(oriel_driver_queue_in_use(crash->world.driver) == 0);
        for (unsigned i = 0; i < crash->submitted; i++)
                CHECK(crash->seen[i] == 1);
        return 0;
}

/* ---- */

static void must_finish(struct crash *crash, const struct snapshot *from, bool busy)
{
        pid_t child;
        int status;

        snapshot_restore(crash, from);
        child = fork();
        assert_true(child >= 0);
        if (child == 0)
                _exit(finish(crash, busy));
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
}

/* Moves the positions on by @lead buffers of two descriptors, then makes four buffers available. */
static void crash_open(struct crash *crash, uint64_t features, unsigned lead)
{
        struct oriel_chain *chain;

        *crash = (struct crash){0};
        world_init(&crash->world, features, SIZE);
        world_open_driver(&crash->world);
        crash->region = mmap(NULL, REGION_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        assert_ptr_not_equal(crash->region, MAP_FAILED);
        assert_int_equal(open_device(crash), 0);
        for (unsigned i = 0; i < lead; i++) {
                assert_int_equal(submit(crash, 2), 0);
                assert_int_equal(oriel_device_queue_pop(crash->world.device, &chain), 1);
                assert_int_equal(oriel_device_queue_push(crash->world.device, chain, 0), 0);
                assert_int_equal(collect_all(crash), 0);
        }
        assert_int_equal(submit(crash, 2), 0);
        assert_int_equal(submit(crash, 1), 0);
        assert_int_equal(submit(crash, 3), 0);
        assert_int_equal(submit(crash, 1), 0);
}

static void crash_close(struct crash *crash)
{
        world_close(&crash->world);
        munmap(crash->region, REGION_BYTES);
}

static void crash_everywhere(uint64_t features, unsigned lead)
{
        struct snapshot *states, *more;
        struct crash crash;
        unsigned n;

        /* Not skip(): cmocka 1.1 writes "not ok" for it, which Meson takes for a failure. */
        if (is_too_slow())
                return;
        states = calloc(SNAPSHOTS_MAX, sizeof(*states));
        more = calloc(SNAPSHOTS_MAX, sizeof(*more));
        assert_true(states && more);
        crash_open(&crash, features, lead);
        n = states_of(&crash, script_work, states);
        if (n == 0)
                print_message("no ptrace here\n");
        for (unsigned i = 0; i < n; i++) {
                unsigned n_more;

                must_finish(&crash, &states[i], false);
                must_finish(&crash, &states[i], true);
                if (!getenv("ORIEL_TEST_LONG") && i % 12 != 0)
                        continue;
                snapshot_restore(&crash, &states[i]);
                n_more = states_of(&crash, script_recover, more);
                for (unsigned k = 1; k < n_more; k++)
                        must_finish(&crash, &more[k], k % 2);
        }
        assert_true(n == 0 || n > 20);
        free(states);
        free(more);
        crash_close(&crash);
}

static void test_split(void **state)
{
        crash_everywhere(0, 0);
        crash_everywhere(0, 7);
}

static void test_split_in_order(void **state)
{
        crash_everywhere(IN_ORDER, 3);
}

static void test_packed(void **state)
{
        crash_everywhere(PACKED, 0);
        /* The first chain, or one of those after it, wraps. */
        crash_everywhere(PACKED, 2);
        crash_everywhere(PACKED, 3);
        crash_everywhere(PACKED, 7);
}

static void test_packed_in_order(void **state)
{
        crash_everywhere(PACKED | IN_ORDER, 3);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_split),
                counted_test(test_split_in_order),
                counted_test(test_packed),
                counted_test(test_packed_in_order),
        };

        return run_counted("virtqueue-crash", tests);
}
