/* SPDX-License-Identifier: BSD-2-Clause */

/* oriel bench gpu: a host blob's life (create, map, first touch, unmap, unref) on an oriel-gpu of its own, with more
 * and more of them live, next to the least that it could cost: another process makes a memfd and passes it over a
 * socket pair, and it is mapped, touched and unmapped here. The driver is in this process; blobs are Venus's with
 * blob_id 0, which need no Vulkan driver. */

#include "bench/common/bench.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "bench/common/floor.h"
#include "clients/gpu/client.h"
#include "program/report.h"
#include "program/spawn.h"

#include <errno.h>
#include <json.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

enum { VENUS = 4, SIZE = 4096, SAMPLES = 1000, BLOCK = 50, ROWS = 3 };
#define STRIDE UINT64_C(8192) /* so that mappings have no neighbours */

static unsigned live_counts[ROWS] = {0, 1000, 10000};

enum step { CREATE, MAP, TOUCH, UNMAP, STEPS };
static const char *const step_names[STEPS] = {"create", "map", "touch", "unmap"};

struct gpu_bench {
        struct gpu_client *gpu;
        uint8_t *window;
        uint32_t live;
        int floor;
        double ns[STEPS][SAMPLES], whole_ns[SAMPLES], floor_ns[SAMPLES];
        double linux_ns[SAMPLES], many_ns[SAMPLES / BLOCK];
        unsigned wrong; /* answers that were errors */
};

/* The ways that are compared with the floor. */
enum way { WHOLE, AS_LINUX, TOGETHER, WAYS };
static const char *const way_names[WAYS] = {"whole", "as_linux", "together"};

struct gpu_result {
        double us[STEPS], floor_us, way_us[WAYS];
};

/* ---- the floor ---- */

static void serve_files(int socket)
{
        uint64_t size;

        while (receive_with_fd(socket, &size, sizeof(size)) == -1) {
                int fd = memfd_create("floor", MFD_CLOEXEC);
                bool sent = fd >= 0 && ftruncate(fd, (off_t)size) == 0 && send_with_fd(socket, &size, sizeof(size), fd);

                fd_close(fd);
                if (!sent)
                        break;
        }
}

static int bench_gpu_measure_floor(struct gpu_bench *bench, double *ns)
{
        const int64_t begun = now_ns();
        uint64_t size = SIZE;
        int fd = send_with_fd(bench->floor, &size, sizeof(size), -1)
                         ? receive_with_fd(bench->floor, &size, sizeof(size))
                         : -2;

        if (fd < 0)
                return -EIO;

        uint8_t *memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

        fd_close(fd);
        if (memory == MAP_FAILED)
                return -errno;
        *(volatile uint8_t *)memory = 1;
        munmap(memory, SIZE);
        *ns = (double)(now_ns() - begun);
        return 0;
}

/* ---- a blob ---- */

static uint64_t bench_gpu_offset_of(uint32_t id)
{
        return id * STRIDE;
}

static int bench_gpu_make_blob(struct gpu_bench *bench, uint32_t id)
{
        int r = gpu_client_create_blob(bench->gpu, 1, id, 0, SIZE);

        return r < 0 ? r : gpu_client_map(bench->gpu, id, bench_gpu_offset_of(id), NULL);
}

static int do_step(struct gpu_bench *bench, enum step step, uint32_t id)
{
        int r = 0;

        switch (step) {
        case CREATE:
                return gpu_client_create_blob(bench->gpu, 1, id, 0, SIZE);
        case MAP:
                return gpu_client_map(bench->gpu, id, bench_gpu_offset_of(id), NULL);
        case TOUCH:
                *(volatile uint8_t *)(bench->window + bench_gpu_offset_of(id)) = 1;
                return 0;
        default:
                r = gpu_client_unmap(bench->gpu, id);
                return r < 0 ? r : gpu_client_unref(bench->gpu, id);
        }
}

static int bench_gpu_measure_one(struct gpu_bench *bench, unsigned sample)
{
        int64_t begun = now_ns(), before = begun;

        for (enum step step = CREATE; step < STEPS; step++) {
                int r = do_step(bench, step, bench->live + 1);
                int64_t now = now_ns();

                if (r < 0)
                        return r;
                bench->ns[step][sample] = (double)(now - before);
                before = now;
        }
        bench->whole_ns[sample] = (double)(before - begun);
        return 0;
}

/* ---- many blobs at a time ---- */

static void note_answer(void *userdata, const struct virtio_gpu_ctrl_hdr *answer, size_t size)
{
        struct gpu_bench *bench = userdata;

        bench->wrong += size == 0 || answer->type >= VIRTIO_GPU_RESP_ERR_UNSPEC;
}

static int send_one(struct gpu_bench *bench, const void *fixed, size_t size)
{
        const struct gpu_client_command command = {
                .fixed = fixed, .fixed_size = size, .room = sizeof(struct virtio_gpu_resp_map_info)};

        return gpu_client_send(bench->gpu, &command, note_answer, bench);
}

static int send_begin(struct gpu_bench *bench, uint32_t id)
{
        const struct virtio_gpu_resource_create_blob create = {
                .hdr = {.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB, .ctx_id = 1},
                .resource_id = id,
                .blob_mem = VIRTIO_GPU_BLOB_MEM_HOST3D,
                .blob_flags = VIRTIO_GPU_BLOB_FLAG_USE_MAPPABLE,
                .size = SIZE,
        };
        const struct virtio_gpu_resource_map_blob map = {.hdr = {.type = VIRTIO_GPU_CMD_RESOURCE_MAP_BLOB},
                                                         .resource_id = id,
                                                         .offset = bench_gpu_offset_of(id)};
        int r = send_one(bench, &create, sizeof(create));

        return r < 0 ? r : send_one(bench, &map, sizeof(map));
}

static int send_end(struct gpu_bench *bench, uint32_t id)
{
        const struct virtio_gpu_resource_unmap_blob unmap = {.hdr = {.type = VIRTIO_GPU_CMD_RESOURCE_UNMAP_BLOB},
                                                             .resource_id = id};
        const struct virtio_gpu_resource_unref unref = {.hdr = {.type = VIRTIO_GPU_CMD_RESOURCE_UNREF},
                                                        .resource_id = id};
        int r = send_one(bench, &unmap, sizeof(unmap));

        return r < 0 ? r : send_one(bench, &unref, sizeof(unref));
}

static int collect_all(struct gpu_bench *bench)
{
        int r = gpu_client_kick(bench->gpu);

        while (r >= 0 && gpu_client_pending(bench->gpu) > 0) {
                r = gpu_client_wait(bench->gpu, 10000);
                if (r == 0)
                        r = gpu_client_collect(bench->gpu);
        }
        return r < 0 ? r : bench->wrong ? -EIO : 0;
}

/* One kick for all of them, then waits for all answers. */
static int send_all(struct gpu_bench *bench, int (*send)(struct gpu_bench *bench, uint32_t id))
{
        int r = 0;

        for (uint32_t i = 0; r == 0 && i < BLOCK; i++)
                r = send(bench, bench->live + 1 + i);
        return r < 0 ? r : collect_all(bench);
}

/* As Linux does it for each blob: create and map are sent together, and the end of a blob is not waited for before the
 * next one is created. Each has an id and an offset of its own, as in Linux. */
static int measure_linux(struct gpu_bench *bench, double *ns)
{
        int r = 0;

        for (uint32_t i = 0; r == 0 && i < BLOCK; i++) {
                const uint32_t id = bench->live + 1 + i;
                const int64_t begun = now_ns();

                r = send_begin(bench, id);
                if (r == 0)
                        r = collect_all(bench);
                if (r == 0)
                        r = do_step(bench, TOUCH, id);
                if (r == 0)
                        r = send_end(bench, id);
                if (r == 0)
                        r = gpu_client_kick(bench->gpu);
                ns[i] = (double)(now_ns() - begun);
        }
        return r < 0 ? r : collect_all(bench);
}

static int measure_many(struct gpu_bench *bench, double *ns)
{
        const int64_t begun = now_ns();
        int r = send_all(bench, send_begin);

        for (uint32_t i = 0; r == 0 && i < BLOCK; i++)
                r = do_step(bench, TOUCH, bench->live + 1 + i);
        if (r == 0)
                r = send_all(bench, send_end);
        *ns = (double)(now_ns() - begun) / BLOCK;
        return r;
}

static int bench_gpu_measure_row(struct gpu_bench *bench, unsigned live, struct gpu_result *result)
{
        const unsigned samples = bench_options.quick ? BLOCK : SAMPLES;
        int r = 0;

        for (; r == 0 && bench->live < live; bench->live++)
                r = bench_gpu_make_blob(bench, bench->live + 1);
        /* Allocates the client's buffers, and touches the first pages. */
        if (r == 0)
                r = measure_many(bench, &bench->many_ns[0]);
        /* In turns, so that other load of the machine affects both. */
        for (unsigned i = 0; r == 0 && i < samples; i++) {
                r = i / BLOCK % 2 ? bench_gpu_measure_floor(bench, &bench->floor_ns[i])
                                  : bench_gpu_measure_one(bench, i);
                if (r == 0)
                        r = i / BLOCK % 2 ? bench_gpu_measure_one(bench, i)
                                          : bench_gpu_measure_floor(bench, &bench->floor_ns[i]);
                if (r == 0 && i % BLOCK == 0)
                        r = measure_linux(bench, &bench->linux_ns[i]);
                if (r == 0 && i % BLOCK == 0)
                        r = measure_many(bench, &bench->many_ns[i / BLOCK]);
        }
        if (r < 0)
                return r;
        for (enum step step = CREATE; step < STEPS; step++)
                result->us[step] = median(bench->ns[step], samples) / 1000;
        result->floor_us = median(bench->floor_ns, samples) / 1000;
        result->way_us[WHOLE] = median(bench->whole_ns, samples) / 1000;
        result->way_us[AS_LINUX] = median(bench->linux_ns, samples) / 1000;
        result->way_us[TOGETHER] = median(bench->many_ns, samples / BLOCK) / 1000;
        return 0;
}

/* ---- printing ---- */

static void bench_gpu_print_json(const struct gpu_result *results, unsigned n)
{
        struct json_object *rows = json_object_new_array();

        for (unsigned i = 0; i < n; i++) {
                struct json_object *row = json_object_new_object();

                json_object_object_add(row, "live", json_object_new_int((int)live_counts[i]));
                for (enum step step = CREATE; step < STEPS; step++)
                        add_figure(row, step_names[step], results[i].us[step]);
                add_figure(row, "floor", results[i].floor_us);
                for (enum way way = WHOLE; way < WAYS; way++)
                        add_figure(row, way_names[way], results[i].way_us[way]);
                json_object_array_add(rows, row);
        }
        printf("%s\n", json_object_to_json_string_ext(rows, JSON_C_TO_STRING_PLAIN));
        json_object_put(rows);
}

static void bench_gpu_print_text(const struct gpu_result *results, unsigned n)
{
        printf("%6s", "live");
        for (enum step step = CREATE; step < STEPS; step++)
                printf(" %6s us", step_names[step]);
        printf(" %6s us", "floor");
        for (enum way way = WHOLE; way < WAYS; way++)
                printf(" %9s us ratio", way_names[way]);
        printf("\n");
        for (unsigned i = 0; i < n; i++) {
                printf("%6u", live_counts[i]);
                for (enum step step = CREATE; step < STEPS; step++)
                        printf(" %9.1f", results[i].us[step]);
                printf(" %9.1f", results[i].floor_us);
                for (enum way way = WHOLE; way < WAYS; way++)
                        printf(" %12.1f %5.2f", results[i].way_us[way], results[i].way_us[way] / results[i].floor_us);
                printf("\n");
        }
}

/* ---- running ---- */

static int bench_gpu_run(struct gpu_bench *bench, int socket, struct gpu_result *results, unsigned n)
{
        const struct oriel_driver_options options = {.struct_size = sizeof(options),
                                                     .features = ORIEL_FEATURE(VIRTIO_GPU_F_VIRGL) |
                                                                 ORIEL_FEATURE(VIRTIO_GPU_F_RESOURCE_BLOB) |
                                                                 ORIEL_FEATURE(VIRTIO_GPU_F_CONTEXT_INIT)};
        struct oriel_driver *driver;
        uint64_t size;
        int r = oriel_driver_new(&options, socket, &driver);

        if (r == 0)
                r = gpu_client_new(driver, &bench->gpu);
        if (r == 0)
                r = gpu_client_create_context(bench->gpu, 1, VENUS, "bench");
        bench->window = r == 0 ? oriel_driver_window(driver, VIRTIO_GPU_SHM_ID_HOST_VISIBLE, &size) : NULL;
        for (unsigned i = 0; r == 0 && i < n; i++)
                r = bench_gpu_measure_row(bench, live_counts[i], &results[i]);
        gpu_client_free(bench->gpu);
        oriel_driver_free(driver);
        return r;
}

/* Starts it on the CPU of the floor's server, with its render server, and binds this process to the other one. */
static pid_t start_gpu(int *socket)
{
        static const char *const arguments[] = {"--venus=on", NULL};
        cpu_set_t before;
        const bool known = sched_getaffinity(0, sizeof(before), &before) == 0;

        bind_cpu(!bench_options.one_cpu);

        pid_t pid = spawn_with_socket("oriel-gpu", arguments, socket);

        if (known)
                sched_setaffinity(0, sizeof(before), &before);
        bind_cpu(false);
        return pid;
}

/* The number of rows for which the render server has enough descriptors: a blob needs two. The last row has fewer blobs
 * if necessary. */
static unsigned count_rows(void)
{
        struct rlimit limit;
        unsigned n = bench_options.quick ? 1 : ROWS;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return n;

        const uint64_t most = limit.rlim_max < 1000 ? 0 : (limit.rlim_max - 1000) / 2;

        for (unsigned i = 0; i < ROWS; i++)
                if (live_counts[i] > most)
                        live_counts[i] = (unsigned)(most / 1000 * 1000);
        while (n > 1 && live_counts[n - 1] <= live_counts[n - 2])
                n--;
        return n;
}

int bench_gpu(void)
{
        static struct gpu_bench bench;
        const unsigned n = count_rows();
        struct gpu_result results[ROWS] = {{{0}}};
        int socket = -1;
        pid_t floor = start_server(serve_files, &bench.floor, !bench_options.one_cpu);
        pid_t gpu = start_gpu(&socket);

        if (floor < 0 || gpu < 0)
                return fail("oriel-gpu: %s", strerror(-(gpu < 0 ? gpu : floor)));

        int r = bench_gpu_run(&bench, socket, results, n);

        fd_close(bench.floor);
        spawn_wait(gpu);
        spawn_wait(floor);
        if (r < 0)
                return fail("oriel-gpu, with Venus: %s", strerror(-r));
        if (bench_options.json)
                bench_gpu_print_json(results, n);
        else
                bench_gpu_print_text(results, n);
        return STATUS_SUCCESS;
}
