/* SPDX-License-Identifier: BSD-2-Clause */

/* A program that was compiled with the structs of another version: check-structs.py cuts those of the headers down to
 * what the first release needs, or adds a field "later" to each (-DGROWN), and runs this with the library of today.
 * Each struct is handed over at the end of a page, and what follows can't be read. For each it prints the result of its
 * call: as it is, with the later field set, and with sizes that no version has. */
#include <errno.h>
#include <linux/virtio_config.h>
#include <oriel/driver.h>
#include <oriel/worker.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#ifdef GROWN
#define LATER(object) ((object).later = later)
#else
#define LATER(object) ((void)later)
#endif

#define CHECK(true)                                          \
        do {                                                 \
                if (!(true)) {                               \
                        printf("%d: %s\n", __LINE__, #true); \
                        exit(1);                             \
                }                                            \
        } while (0)

#define PAGE 4096

/* A copy at the end of a page. @size: what is said, 0: what is true. */
static void *put_at_edge(const void *object, size_t true_size, size_t size)
{
        char *pages = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        CHECK(pages != MAP_FAILED && mprotect(pages + PAGE, PAGE, PROT_NONE) == 0);

        void *copy = memcpy(pages + PAGE - true_size, object, true_size);

        *(size_t *)copy = size ? size : true_size;
        return copy;
}
#define AT_EDGE(object, size) put_at_edge(&(object), sizeof(object), size)

static int handle_start(void *userdata, struct oriel_backend_queue *queue)
{
        return 0;
}

static void handle_stop(void *userdata, struct oriel_backend_queue *queue)
{
}

static ssize_t handle_request(void *userdata, struct oriel_backend_queue *queue, struct oriel_chain *chain)
{
        return 0;
}

static void ignore_line(void *userdata, enum oriel_log_level level, const char *line)
{
}

static const struct oriel_backend_ops backend_ops = {
        .struct_size = sizeof(backend_ops), .start = handle_start, .stop = handle_stop};

static int make_backend(const struct oriel_backend_ops *ops, uint64_t later, size_t size, struct oriel_backend **out)
{
        struct oriel_backend_options options = {
                .ops = ops,
                .device_features = ORIEL_FEATURE(VIRTIO_F_VERSION_1),
                .queues = 1,
        };

        LATER(options);
        return oriel_backend_new(AT_EDGE(options, size), out);
}

static int try_backend_options(uint64_t later, size_t size)
{
        struct oriel_backend *backend;
        int r = make_backend(&backend_ops, later, size, &backend);

        oriel_backend_free(backend);
        return r;
}

static int try_backend_ops(uint64_t later, size_t size)
{
        struct oriel_backend_ops ops = backend_ops;
        struct oriel_backend *backend;

        LATER(ops);

        int r = make_backend(AT_EDGE(ops, size), 0, 0, &backend);

        oriel_backend_free(backend);
        return r;
}

static int try_log(uint64_t later, size_t size)
{
        struct oriel_log log = {.write = ignore_line};
        struct oriel_backend_options options = {.ops = &backend_ops, .queues = 1};
        struct oriel_backend *backend;

        LATER(log);
        options.struct_size = sizeof(options);
        options.log = AT_EDGE(log, size);

        int r = oriel_backend_new(&options, &backend);

        oriel_backend_free(backend);
        return r;
}

static void *run_backend(void *userdata)
{
        struct oriel_backend *backend = userdata;
        struct pollfd fd = {.fd = oriel_backend_get_fd(backend), .events = POLLIN};

        while (oriel_backend_dispatch(backend) == 0)
                poll(&fd, 1, -1);
        return NULL;
}

/* The device comes up with a back-end whose options are cut too: what is not there is the default. */
static int try_driver_options(uint64_t later, size_t size)
{
        struct oriel_driver_options options = {0};
        struct oriel_backend *backend;
        struct oriel_driver *driver;
        pthread_t thread;
        uint64_t slots;
        int fds[2];

        LATER(options);
        CHECK(make_backend(&backend_ops, 0, 0, &backend) == 0);
        CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
        CHECK(oriel_backend_attach(backend, fds[0]) == 0);
        CHECK(pthread_create(&thread, NULL, run_backend, backend) == 0);

        int r = oriel_driver_new(AT_EDGE(options, size), fds[1], &driver);

        if (r == 0) {
                CHECK(oriel_driver_queue_count(driver) == 1 && oriel_driver_alloc(driver, 1 << 20));
                CHECK(oriel_frontend_get_max_mem_slots(oriel_driver_frontend(driver), &slots) == 0 &&
                      slots == ORIEL_MEM_SLOTS);
        }
        oriel_driver_free(driver);
        CHECK(pthread_join(thread, NULL) == 0);
        oriel_backend_free(backend);
        return r;
}

static int try_frontend_options(uint64_t later, size_t size)
{
        struct oriel_frontend_options options = {0};
        struct oriel_frontend *frontend;

        LATER(options);

        int r = oriel_frontend_new(AT_EDGE(options, size), &frontend);

        oriel_frontend_free(frontend);
        return r;
}

/* Where the options are cut, there is no room for ops in them, so that nothing is to be tried. */
static int try_frontend_ops(uint64_t later, size_t size)
{
        struct oriel_frontend_ops ops = {0};
        struct {
                size_t struct_size;
                void *ops;
        } options = {sizeof(options), NULL};
        struct oriel_frontend *frontend;

        LATER(ops);
        options.ops = AT_EDGE(ops, size);

        int r = oriel_frontend_new((void *)&options, &frontend);

        oriel_frontend_free(frontend);
        return r;
}

static int place(void *userdata, struct oriel_mapping *mapping, int fd)
{
        return 0;
}

static void take_away(void *userdata, struct oriel_mapping *mapping)
{
}

static void take_all_away(void *userdata, uint64_t size)
{
}

static const struct oriel_placement_ops placement_ops = {
        .struct_size = sizeof(placement_ops), .place = place, .remove = take_away, .remove_all = take_all_away};

/* The ops and options may be gone once the region is made. */
static int make_region(const struct oriel_placement_ops *placement, uint64_t later, size_t size,
                       struct oriel_region **out)
{
        struct oriel_region_options options = {.size = 16 * PAGE, .placement = placement};

        LATER(options);

        int r = oriel_region_new(AT_EDGE(options, size), out);

        if (r == 0) {
                int fd = memfd_create("file", MFD_CLOEXEC);

                CHECK(oriel_region_map(*out, (struct oriel_range){PAGE, PAGE}, fd, 0, ORIEL_ACCESS_READ) == 0);
                close(fd);
        }
        return r;
}

static int try_region_options(uint64_t later, size_t size)
{
        struct oriel_region *region;
        int r = make_region(&placement_ops, later, size, &region);

        oriel_region_free(region);
        return r;
}

static int try_placement_ops(uint64_t later, size_t size)
{
        struct oriel_placement_ops ops = placement_ops;
        struct oriel_region *region;

        LATER(ops);

        int r = make_region(AT_EDGE(ops, size), 0, 0, &region);

        oriel_region_free(region);
        return r;
}

/* The library fills in as much as there is room for, and zeros behind it. */
static int try_mapping_info(uint64_t later, size_t size)
{
        struct oriel_mapping_info info = {0}, *out;
        struct oriel_mapping *mapping;
        struct oriel_region *region;

        LATER(info);
        CHECK(make_region(&placement_ops, 0, 0, &region) == 0);
        mapping = oriel_region_find(region, PAGE);
        out = AT_EDGE(info, size);

        int r = oriel_mapping_get_info(mapping, out);

        CHECK(r < 0 || (out->range.start == PAGE && out->range.size == PAGE && out->struct_size == sizeof(info)));
#ifdef GROWN
        CHECK(r < 0 || (out->access == ORIEL_ACCESS_READ && out->live && out->references == 2 && out->later == 0));
#endif
        oriel_mapping_unref(mapping);
        oriel_region_free(region);
        return r;
}

static int try_ring(uint64_t later, size_t size)
{
        const struct oriel_memory_region row = {.size = 4 * PAGE};
        struct oriel_ring ring = {.size = 16, .descriptor = 0, .driver = PAGE, .device = 2 * PAGE};
        struct oriel_device_queue *queue;
        struct oriel_memory *none, *memory;
        void *host = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

        LATER(ring);
        CHECK(oriel_memory_new(1, 0, &none) == 0);
        CHECK(oriel_memory_add_mapped(none, &row, host, ORIEL_ACCESS_READ_WRITE, &memory) == 0);

        int r = oriel_device_queue_new(AT_EDGE(ring, size), memory, 0, &queue);

        oriel_device_queue_free(queue);
        oriel_memory_unref(memory);
        oriel_memory_unref(none);
        return r;
}

static int try_worker_options(uint64_t later, size_t size)
{
        struct oriel_worker_options options = {.handle = handle_request, .threads = 1};
        struct oriel_worker *worker;

        LATER(options);

        int r = oriel_worker_new(AT_EDGE(options, size), &worker);

        oriel_worker_free(worker);
        return r;
}

/* The least size, which is that of the struct cut short: no padding is at its end, that a later field could be in. */
#ifdef GROWN
#define ROW(name, NAME)                                          \
        {                                                        \
                "oriel_" #name, try_##name, ORIEL_##NAME##_LEAST \
        }
#else
#define ROW(name, NAME)                                                 \
        {                                                               \
                "oriel_" #name, try_##name, sizeof(struct oriel_##name) \
        }
#endif

static const struct {
        const char *name;
        int (*try)(uint64_t later, size_t size);
        size_t least;
} rows[] = {
        ROW(backend_ops, BACKEND_OPS),           ROW(backend_options, BACKEND_OPTIONS),
        ROW(driver_options, DRIVER_OPTIONS),     ROW(frontend_ops, FRONTEND_OPS),
        ROW(frontend_options, FRONTEND_OPTIONS), ROW(log, LOG),
        ROW(mapping_info, MAPPING_INFO),         ROW(placement_ops, PLACEMENT_OPS),
        ROW(region_options, REGION_OPTIONS),     ROW(ring, RING),
        ROW(worker_options, WORKER_OPTIONS),
};

int main(void)
{
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                printf("%s %zu %d %d", rows[i].name, rows[i].least, rows[i].try(0, 0), rows[i].try(1, 0));
                printf(" %d %d %d\n", rows[i].try(0, sizeof(size_t) - 1), rows[i].try(0, 1 << 20),
                       rows[i].try(0, SIZE_MAX));
        }
        return 0;
}
