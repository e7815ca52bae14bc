/* SPDX-License-Identifier: BSD-2-Clause */

/* A driver of virtio-pmem in user space: pmem-driver SOCKET COMMAND [ARGUMENT]...
 *
 *      read OFFSET SIZE        what the region has there, to standard output
 *      write OFFSET TEXT       into the region, and a flush
 *      flush N [TIMES]         so many at once
 *      odd                     what is no flush, and one that has no room for an answer
 *      poor                    as a driver that does not take SHMEM_REGION
 *      stay                    until standard input ends
 *
 * What a flush is answered with is printed, a line for each answer that differs from the one before. */

#include "program/report.h"
#include "program/virtio_pmem.h"

#include <errno.h>
#include <oriel/driver.h>
#include <oriel/socket.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST = 128 };

struct pmem {
        struct oriel_driver *driver;
        uint8_t *region;
        uint64_t size;
};

/* 1: it was answered with *@ret. */
static int collect(struct oriel_driver *driver, struct virtio_pmem_resp **resp, uint32_t *size)
{
        int r;

        while ((r = oriel_driver_collect(driver, 0, (void **)resp, size)) == 0)
                if ((r = oriel_driver_wait(driver, 0, -1)) < 0)
                        break;
        return r;
}

static int send_requests(struct pmem *pmem, unsigned n, const void *data, size_t size, size_t room)
{
        struct virtio_pmem_resp *resps = oriel_driver_alloc(pmem->driver, n * sizeof(*resps)), *resp;
        void *req = oriel_driver_alloc(pmem->driver, sizeof(struct virtio_pmem_req));
        int64_t before = -1;
        int r = resps && req ? 0 : -ENOMEM;

        if (r == 0)
                memcpy(req, data, size);
        for (unsigned i = 0; r == 0 && i < n; i++) {
                const struct iovec in = {req, size}, out = {&resps[i], room};

                resps[i].ret = 77;
                r = oriel_driver_submit(pmem->driver, 0, &in, size > 0, &out, room > 0, &resps[i]);
        }
        if (r == 0)
                r = oriel_driver_kick(pmem->driver, 0);
        for (unsigned i = 0; r >= 0 && i < n; i++) {
                uint32_t written = 0;

                r = collect(pmem->driver, &resp, &written);
                if (r == 1 && resp->ret != before)
                        printf("%d, %u bytes\n", (int)resp->ret, written);
                if (r == 1)
                        before = resp->ret;
        }
        return r < 0 ? r : 0;
}

static int flush(struct pmem *pmem, unsigned n, uint64_t times)
{
        const struct virtio_pmem_req req = {VIRTIO_PMEM_REQ_TYPE_FLUSH};
        int r = 0;

        for (uint64_t i = 0; r == 0 && i < times; i++)
                r = send_requests(pmem, n, &req, sizeof(req), sizeof(struct virtio_pmem_resp));
        return r;
}

static int odd(struct pmem *pmem)
{
        const struct virtio_pmem_req other = {99}, req = {VIRTIO_PMEM_REQ_TYPE_FLUSH};
        int r = send_requests(pmem, 1, &other, sizeof(other), sizeof(struct virtio_pmem_resp));

        if (r == 0)
                r = send_requests(pmem, 1, &req, 3, sizeof(struct virtio_pmem_resp));
        if (r == 0)
                r = send_requests(pmem, 1, &req, 0, sizeof(struct virtio_pmem_resp));
        return r == 0 ? send_requests(pmem, 1, &req, sizeof(req), 0) : r;
}

/* By this process's own loads: for a system call there is nothing behind the end of a file. */
static int read_region(struct pmem *pmem, uint64_t at, uint64_t n)
{
        for (uint64_t i = 0; i < n; i++)
                if (putchar(*(const volatile uint8_t *)(pmem->region + at + i)) == EOF)
                        return -EIO;
        return 0;
}

static int run(struct pmem *pmem, int argc, char **argv)
{
        const char *command = argv[2], *text = argc > 4 ? argv[4] : "";
        uint64_t at = argc > 3 ? strtoull(argv[3], NULL, 0) : 0, n = strtoull(text, NULL, 0);
        char byte;

        if (strcmp(command, "read") == 0 && at <= pmem->size && n <= pmem->size - at)
                return read_region(pmem, at, n);
        if (strcmp(command, "write") == 0 && at <= pmem->size && strlen(text) <= pmem->size - at) {
                memcpy(pmem->region + at, text, strlen(text));
                return flush(pmem, 1, 1);
        }
        if (strcmp(command, "flush") == 0 && at <= MOST)
                return flush(pmem, (unsigned)at, argc > 4 ? n : 1);
        if (strcmp(command, "odd") == 0)
                return odd(pmem);
        if (strcmp(command, "stay") != 0)
                return -EINVAL;
        printf("%llu bytes\n", (unsigned long long)pmem->size);
        fflush(stdout);
        return read(STDIN_FILENO, &byte, 1) < 0 ? -errno : 0;
}

int main(int argc, char **argv)
{
        bool poor = argc > 2 && strcmp(argv[2], "poor") == 0;
        const struct oriel_log log = stderr_log(0);
        const struct oriel_driver_options options = {
                .struct_size = sizeof(options),
                .log = &log,
                .queues = 1,
                .features = poor ? 0 : UINT64_C(1) << VIRTIO_PMEM_F_SHMEM_REGION,
        };
        struct pmem pmem = {0};
        int r = oriel_memory_survive_sigbus();

        if (r == 0)
                r = argc > 2 ? oriel_driver_new(&options, oriel_socket_connect(argv[1]), &pmem.driver) : -EINVAL;

        if (r == 0)
                pmem.region = oriel_driver_window(pmem.driver, VIRTIO_PMEM_SHMEM_REGION_ID, &pmem.size);
        if (r == 0)
                r = pmem.region ? run(&pmem, argc, argv) : -ENODEV;
        oriel_driver_free(pmem.driver);
        return r < 0 ? fail("%s", strerror(-r)) : finish_output(STATUS_SUCCESS);
}
