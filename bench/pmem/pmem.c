/* SPDX-License-Identifier: BSD-2-Clause */

/* oriel bench pmem: a flush of an oriel-pmem of its own, after one page was written, next to the least that it could
 * cost: fdatasync(2) here after the same to a file of the same size beside the image. Both are scratch files in --dir,
 * and the two alternate. */

#include "bench/common/bench.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "bench/common/floor.h"
#include "program/report.h"
#include "program/spawn.h"
#include "program/virtio_pmem.h"

#include <errno.h>
#include <fcntl.h>
#include <json.h>
#include <oriel/driver.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SIZE = 16 << 20, PAGES = SIZE / 4096, SAMPLES = 1000, TOGETHER = 16 };

struct pmem_bench {
        char image[4096];
        int floor_fd;
        uint8_t *floor, *region;
        struct oriel_driver *driver;
        struct virtio_pmem_req *req;
        struct virtio_pmem_resp *resps;
        double one_ns[SAMPLES], many_ns[SAMPLES], floor_ns[SAMPLES];
};

/* ---- files ---- */

/* Opens a scratch file for reading and writing, with all of its blocks allocated. */
static int make_file(char *path, size_t size)
{
        const char *dir = bench_options.dirs.n ? bench_options.dirs.values[0] : getenv("TMPDIR");
        char page[4096] = "x";

        if ((size_t)snprintf(path, size, "%s/oriel-bench-XXXXXX", dir ? dir : "/tmp") >= size)
                return -ENAMETOOLONG;

        int fd = mkostemp(path, O_CLOEXEC);

        for (unsigned i = 0; fd >= 0 && i < PAGES; i++)
                if (write(fd, page, sizeof(page)) != sizeof(page)) {
                        unlink(path);
                        fd_close(fd);
                        return -ENOSPC;
                }
        return fd < 0 ? -errno : fd;
}

static int make_floor(struct pmem_bench *bench)
{
        char path[sizeof(bench->image)];

        bench->floor_fd = make_file(path, sizeof(path));
        if (bench->floor_fd < 0)
                return bench->floor_fd;
        unlink(path);
        bench->floor = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, bench->floor_fd, 0);
        return bench->floor == MAP_FAILED ? -errno : 0;
}

/* ---- the measurements ---- */

static int bench_pmem_measure_floor(struct pmem_bench *bench, unsigned i, double *ns)
{
        bench->floor[i % PAGES * 4096]++;

        const int64_t begun = now_ns();
        int r = fdatasync(bench->floor_fd) < 0 ? -errno : 0;

        *ns = (double)(now_ns() - begun);
        return r;
}

static int collect_flush(struct pmem_bench *bench)
{
        struct virtio_pmem_resp *resp;
        uint32_t size;
        int r = oriel_driver_collect(bench->driver, 0, (void **)&resp, &size);

        while (r == 0) {
                r = oriel_driver_wait(bench->driver, 0, 60000);
                if (r == 0)
                        r = oriel_driver_collect(bench->driver, 0, (void **)&resp, &size);
        }
        return r < 0 ? r : size == sizeof(*resp) && resp->ret == 0 ? 0 : -EIO;
}

/* Sends @n at once; @ns: time for each of them. */
static int measure_flush(struct pmem_bench *bench, unsigned i, unsigned n, double *ns)
{
        int r = 0;

        bench->region[i % PAGES * 4096]++;

        const int64_t begun = now_ns();

        for (unsigned at = 0; r == 0 && at < n; at++) {
                const struct iovec in = {bench->req, sizeof(*bench->req)},
                                   out = {&bench->resps[at], sizeof(*bench->resps)};

                bench->resps[at].ret = 1;
                r = oriel_driver_submit(bench->driver, 0, &in, 1, &out, 1, &bench->resps[at]);
        }
        if (r == 0)
                r = oriel_driver_kick(bench->driver, 0);
        for (unsigned at = 0; r == 0 && at < n; at++)
                r = collect_flush(bench);
        *ns = (double)(now_ns() - begun) / n;
        return r;
}

static int measure_flushes(struct pmem_bench *bench, unsigned samples)
{
        int r = 0;

        for (unsigned i = 0; r == 0 && i < samples; i++) {
                r = bench_pmem_measure_floor(bench, i, &bench->floor_ns[i]);
                if (r == 0)
                        r = measure_flush(bench, i, 1, &bench->one_ns[i]);
                if (r == 0)
                        r = measure_flush(bench, i, TOGETHER, &bench->many_ns[i]);
        }
        return r;
}

static int bench_pmem_bring_up(struct pmem_bench *bench, int socket)
{
        const struct oriel_driver_options options = {
                .struct_size = sizeof(options), .queues = 1, .features = ORIEL_FEATURE(VIRTIO_PMEM_F_SHMEM_REGION)};
        uint64_t size;
        int r = oriel_driver_new(&options, socket, &bench->driver);

        if (r < 0)
                return r;
        bench->region = oriel_driver_window(bench->driver, VIRTIO_PMEM_SHMEM_REGION_ID, &size);
        bench->req = oriel_driver_alloc(bench->driver, sizeof(*bench->req));
        bench->resps = oriel_driver_alloc(bench->driver, TOGETHER * sizeof(*bench->resps));
        if (!bench->region || !bench->req || !bench->resps)
                return -ENOMEM;
        bench->req->type = VIRTIO_PMEM_REQ_TYPE_FLUSH;
        return 0;
}

static void print_flushes(struct pmem_bench *bench, unsigned samples)
{
        const double floor = median(bench->floor_ns, samples) / 1000, one = median(bench->one_ns, samples) / 1000,
                     many = median(bench->many_ns, samples) / 1000;
        struct json_object *object;

        if (!bench_options.json) {
                printf("fdatasync us  flush us ratio  of %d at once us ratio\n", TOGETHER);
                printf("%12.1f %9.1f %5.2f %19.1f %5.2f\n", floor, one, one / floor, many, many / floor);
                return;
        }
        object = json_object_new_object();
        add_figure(object, "fdatasync", floor);
        add_figure(object, "flush", one);
        add_figure(object, "together", many);
        printf("%s\n", json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN));
        json_object_put(object);
}

static int bench_pmem_run(struct pmem_bench *bench)
{
        const char *const arguments[] = {"--image", bench->image, NULL};
        const unsigned samples = bench_options.quick ? 20 : SAMPLES;
        int socket = -1;
        pid_t pid = spawn_with_socket("oriel-pmem", arguments, &socket);
        int r = pid < 0 ? pid : make_floor(bench);

        if (r < 0)
                fd_close(socket);
        else
                r = bench_pmem_bring_up(bench, socket);
        if (r == 0)
                r = measure_flushes(bench, samples);
        oriel_driver_free(bench->driver);
        if (pid >= 0)
                spawn_wait(pid);
        if (r < 0)
                return fail("oriel-pmem: %s", strerror(-r));
        print_flushes(bench, samples);
        return STATUS_SUCCESS;
}

int bench_pmem(void)
{
        static struct pmem_bench bench;
        int fd = make_file(bench.image, sizeof(bench.image));

        if (fd < 0)
                return fail("%s: %s", bench.image, strerror(-fd));
        fd_close(fd);

        int status = bench_pmem_run(&bench);

        unlink(bench.image);
        return status;
}
