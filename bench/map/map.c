/* SPDX-License-Identifier: BSD-2-Clause */

/* oriel bench map: round trips of SHMEM_MAP and SHMEM_UNMAP between a back-end, which is this process, and a front-end
 * in another one, with increasing numbers of live mappings, next to the floor: the least that two processes need for it
 * (floor.c). Round trips and the floor alternate in blocks, so that other load affects both, and medians are compared;
 * a pipeline of requests that are sent before their answers are awaited is measured too. The two processes are on
 * different CPUs or share one, by bind_cpu(). */

#include "bench/common/bench.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "bench/common/floor.h"
#include "program/report.h"

#include <errno.h>
#include <json.h>
#include <linux/virtio_config.h>
#include <oriel/backend.h>
#include <oriel/driver.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE     (UINT64_C(2) << 20)
#define STRIDE   (2 * SIZE) /* mappings have no neighbours, so that the kernel merges none */
#define PIPELINE 64
#define SPARE    PIPELINE /* places beyond the live ones, for the measurement */
#define BLOCK    50       /* round trips in a row before the other is measured */
#define BLOCKS   40
#define SAMPLES  (BLOCK * BLOCKS)

/* ---- the front-end's process ---- */

static void bench_map_run_frontend(int socket)
{
        const struct oriel_driver_options options = {.struct_size = sizeof(options), .hole = ORIEL_HOLE_ZERO};
        struct oriel_driver *driver;

        if (oriel_driver_new(&options, socket, &driver) < 0)
                _exit(1);

        struct oriel_frontend *frontend = oriel_driver_frontend(driver);
        int fds[3];

        do {
                oriel_frontend_get_fds(frontend, fds);

                struct pollfd polled[] = {{.fd = fds[0], .events = POLLIN},
                                          {.fd = fds[1], .events = POLLIN},
                                          {.fd = fds[2], .events = POLLIN}};

                poll(polled, ARRAY_SIZE(polled), -1);
        } while (oriel_frontend_dispatch(frontend) == 0);
        oriel_driver_free(driver);
}

/* ---- the back-end's process: this one ---- */

struct bench {
        struct oriel_backend *backend;
        atomic_bool started;
        pthread_t dispatcher;
        int connection; /* the back-end's own fd, to be shut down */
        int memfd;
        unsigned live;
        int floor;
        double map_ns[SAMPLES], unmap_ns[SAMPLES], floor_map_ns[SAMPLES], floor_unmap_ns[SAMPLES];
};

static int mapper_start(void *userdata, struct oriel_backend_queue *queue)
{
        struct bench *bench = userdata;

        atomic_store(&bench->started, true);
        return 0;
}

static void mapper_stop(void *userdata, struct oriel_backend_queue *queue)
{
}

static void *mapper_dispatch(void *userdata)
{
        struct bench *bench = userdata;
        struct pollfd fd = {.fd = oriel_backend_get_fd(bench->backend), .events = POLLIN};

        do
                poll(&fd, 1, -1);
        while (oriel_backend_dispatch(bench->backend) == 0);
        return NULL;
}

static int mapper_submit(struct bench *bench, bool map, unsigned index, uint64_t *ticket)
{
        const struct oriel_wire_mmap request = {
                .shm_offset = index * STRIDE, .len = SIZE, .flags = ORIEL_MMAP_READ_WRITE};

        return map ? oriel_backend_shmem_map(bench->backend, &request, bench->memfd, ticket)
                   : oriel_backend_shmem_unmap(bench->backend, &request, ticket);
}

static int64_t bench_map_measure_one(struct bench *bench, bool map)
{
        int64_t begin = now_ns();
        uint64_t ticket;
        int r = mapper_submit(bench, map, bench->live, &ticket);

        if (r == 0)
                r = oriel_backend_wait(bench->backend, ticket);
        return r < 0 ? r : now_ns() - begin;
}

/* Maps or unmaps @n places from @first on; all requests are sent before the first answer is awaited. */
static int pipeline_maps(struct bench *bench, bool map, unsigned first, unsigned n)
{
        uint64_t tickets[PIPELINE];
        int r = 0;

        for (unsigned i = 0; r == 0 && i < n; i++)
                r = mapper_submit(bench, map, first + i, &tickets[i]);
        for (unsigned i = 0; r == 0 && i < n; i++)
                r = oriel_backend_wait(bench->backend, tickets[i]);
        return r;
}

static int grow_live(struct bench *bench, unsigned live)
{
        int r = 0;

        while (r == 0 && bench->live < live) {
                unsigned n = live - bench->live < PIPELINE ? live - bench->live : PIPELINE;

                r = pipeline_maps(bench, true, bench->live, n);
                bench->live += n;
        }
        return r;
}

static int bench_map_measure_block(struct bench *bench, int block)
{
        for (int i = block * BLOCK; i < (block + 1) * BLOCK; i++) {
                bench->map_ns[i] = (double)bench_map_measure_one(bench, true);
                bench->unmap_ns[i] = (double)bench_map_measure_one(bench, false);
                if (bench->map_ns[i] < 0 || bench->unmap_ns[i] < 0)
                        return -EIO;
        }
        for (int i = block * BLOCK; i < (block + 1) * BLOCK; i++) {
                bench->floor_map_ns[i] = (double)floor_map(bench->floor, bench->memfd);
                bench->floor_unmap_ns[i] = (double)floor_map(bench->floor, -1);
                if (bench->floor_map_ns[i] < 0 || bench->floor_unmap_ns[i] < 0)
                        return -EIO;
        }
        return 0;
}

struct result {
        unsigned live;
        double map_us, unmap_us, floor_map_us, floor_unmap_us, pipelined_us;
};

static int measure_pipeline(struct bench *bench, double *us)
{
        double ns[BLOCKS] = {0};

        for (int i = 0; i < BLOCKS; i++) {
                int64_t begin = now_ns();
                int r = pipeline_maps(bench, true, bench->live, PIPELINE);

                ns[i] = (double)(now_ns() - begin) / PIPELINE;
                if (r == 0)
                        r = pipeline_maps(bench, false, bench->live, PIPELINE);
                if (r < 0)
                        return r;
        }
        *us = median(ns, BLOCKS) / 1000;
        return 0;
}

static int measure_live(struct bench *bench, unsigned live, struct result *result)
{
        int r = grow_live(bench, live);

        for (int block = 0; r == 0 && block < BLOCKS; block++)
                r = bench_map_measure_block(bench, block);
        if (r == 0)
                r = measure_pipeline(bench, &result->pipelined_us);
        if (r < 0)
                return r;
        result->live = live;
        result->map_us = median(bench->map_ns, SAMPLES) / 1000;
        result->unmap_us = median(bench->unmap_ns, SAMPLES) / 1000;
        result->floor_map_us = median(bench->floor_map_ns, SAMPLES) / 1000;
        result->floor_unmap_us = median(bench->floor_unmap_ns, SAMPLES) / 1000;
        return 0;
}

/* ---- printing ---- */

static void mean_floor(const struct result *results, size_t n, double *map, double *unmap)
{
        *map = *unmap = 0;
        for (size_t i = 0; i < n; i++) {
                *map += results[i].floor_map_us / (double)n;
                *unmap += results[i].floor_unmap_us / (double)n;
        }
}

static void bench_map_print_json(const struct result *results, size_t n)
{
        struct json_object *object = json_object_new_object(), *floor = json_object_new_object();
        struct json_object *live = json_object_new_array();
        double map, unmap;

        mean_floor(results, n, &map, &unmap);
        add_figure(floor, "map_us", map);
        add_figure(floor, "unmap_us", unmap);
        for (size_t i = 0; i < n; i++) {
                struct json_object *row = json_object_new_object();

                json_object_object_add(row, "count", json_object_new_int((int)results[i].live));
                add_figure(row, "map_us", results[i].map_us);
                add_figure(row, "unmap_us", results[i].unmap_us);
                add_figure(row, "map_ratio", results[i].map_us / results[i].floor_map_us);
                add_figure(row, "unmap_ratio", results[i].unmap_us / results[i].floor_unmap_us);
                add_figure(row, "pipelined_map_us", results[i].pipelined_us);
                json_object_array_add(live, row);
        }
        json_object_object_add(object, "floor", floor);
        json_object_object_add(object, "live", live);
        printf("%s\n", json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN));
        json_object_put(object);
}

static void bench_map_print_text(const struct result *results, size_t n)
{
        printf("%8s %9s %9s %7s %9s %9s %7s %13s\n", "live", "map us", "floor us", "ratio", "unmap us", "floor us",
               "ratio", "pipelined us");
        for (size_t i = 0; i < n; i++) {
                const struct result *r = &results[i];

                printf("%8u %9.1f %9.1f %7.2f %9.1f %9.1f %7.2f %13.1f\n", r->live, r->map_us, r->floor_map_us,
                       r->map_us / r->floor_map_us, r->unmap_us, r->floor_unmap_us, r->unmap_us / r->floor_unmap_us,
                       r->pipelined_us);
        }
}

/* ---- running ---- */

static int bench_map_make_backend(struct bench *bench)
{
        const uint64_t sizes[ORIEL_MAX_SHMIDS] = {(BENCH_MAP_MAX_LIVE + SPARE) * STRIDE};
        const struct oriel_backend_ops ops = {.struct_size = sizeof(ops), .start = mapper_start, .stop = mapper_stop};
        struct oriel_log log = stderr_log(0);
        const struct oriel_backend_options options = {
                .struct_size = sizeof(options),
                .ops = &ops,
                .userdata = bench,
                .log = &log,
                .device_features = ORIEL_FEATURE(VIRTIO_F_VERSION_1),
                .queues = 1,
                .shmem_sizes = sizes,
        };

        return oriel_backend_new(&options, &bench->backend);
}

static pid_t connect_frontend(struct bench *bench, bool other_cpu)
{
        pid_t pid = start_server(bench_map_run_frontend, &bench->connection, other_cpu);

        if (pid < 0)
                return pid;

        int r = oriel_backend_attach(bench->backend, bench->connection);

        if (r == 0)
                r = -pthread_create(&bench->dispatcher, NULL, mapper_dispatch, bench);
        return r < 0 ? r : pid;
}

static int bench_map_wait_started(struct bench *bench)
{
        for (int i = 0; i < 500 && !atomic_load(&bench->started); i++)
                usleep(10000);
        return atomic_load(&bench->started) ? 0 : -ETIMEDOUT;
}

static int bench_map_run_all(struct bench *bench, const unsigned *counts, size_t n, struct result *results)
{
        int r = bench_map_wait_started(bench);

        bind_cpu(false);
        for (size_t i = 0; r == 0 && i < n; i++)
                r = measure_live(bench, counts[i], &results[i]);
        return r;
}

int bench_map(void)
{
        static const unsigned all[] = {0, 500, 10000, BENCH_MAP_MAX_LIVE};
        static struct bench bench;
        const unsigned *counts = bench_options.live == UINT32_MAX ? all : &bench_options.live;
        size_t n = bench_options.live == UINT32_MAX ? ARRAY_SIZE(all) : 1;
        struct result results[ARRAY_SIZE(all)] = {0};
        pid_t floor_pid = start_server(floor_serve, &bench.floor, !bench_options.one_cpu), frontend_pid = -1;
        int r = floor_pid < 0 ? floor_pid : bench_map_make_backend(&bench);

        bench.memfd = memfd_create("oriel-bench", MFD_CLOEXEC);
        if (bench.memfd < 0 || ftruncate(bench.memfd, SIZE) < 0)
                r = -errno;
        if (r == 0)
                frontend_pid = connect_frontend(&bench, !bench_options.one_cpu);
        if (frontend_pid > 0) {
                r = bench_map_run_all(&bench, counts, n, results);
                shutdown(bench.connection, SHUT_RDWR);
                pthread_join(bench.dispatcher, NULL);
                waitpid(frontend_pid, NULL, 0);
        }
        oriel_backend_free(bench.backend);
        fd_close(bench.memfd);
        fd_close(bench.floor);
        if (floor_pid > 0)
                waitpid(floor_pid, NULL, 0);
        if (r < 0 || frontend_pid < 0)
                return fail("the benchmark failed: %s", strerror(r < 0 ? -r : -frontend_pid));
        if (bench_options.json)
                bench_map_print_json(results, n);
        else
                bench_map_print_text(results, n);
        return STATUS_SUCCESS;
}
