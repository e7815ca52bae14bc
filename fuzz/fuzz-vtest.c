/* SPDX-License-Identifier: BSD-2-Clause */

/* The input is what a client of "oriel vtest" sends: commands of each kind with small numbers, some of them written
 * over or cut off, in pieces of any size. In place of the device are functions of this file, which answer, refuse or
 * are lost. Whatever comes, nothing is left when the client has gone, and no descriptor. */

#include "base/cleanup.h"
#include "base/fd.h"
#include "cli/vtest/vtest.h"
#include "fuzz/input.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/param.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PENDING_MOST = 16 };

static struct world {
        struct input *input;
        unsigned contexts, blobs;
        struct {
                gpu_client_done_fn done;
                void *userdata;
        } pending[PENDING_MOST];
        unsigned n_pending;
} world;

/* ---- the device ---- */

static int give_result(void)
{
        uint8_t choice = take_byte(world.input);

        return choice < 230 ? 0 : choice < 250 ? -EIO : -ENOTCONN;
}

struct oriel_driver *gpu_client_driver(const struct gpu_client *client)
{
        return NULL;
}

struct oriel_region *oriel_driver_region(const struct oriel_driver *driver, uint8_t shmid)
{
        need(shmid == VIRTIO_GPU_SHM_ID_HOST_VISIBLE);
        return NULL;
}

struct oriel_mapping *oriel_region_find(struct oriel_region *region, uint64_t offset)
{
        need(offset == 0);
        return take_byte(world.input) % 16 == 15 ? NULL : (void *)&world;
}

int oriel_mapping_fd(const struct oriel_mapping *mapping)
{
        static int fd = -1;

        need((const void *)mapping == &world);
        if (fd < 0)
                fd = memfd_create("fuzz", MFD_CLOEXEC);
        return fd;
}

void oriel_mapping_unref(struct oriel_mapping *mapping)
{
}

int gpu_client_create_context(struct gpu_client *client, uint32_t context_id, uint32_t capset_id, const char *name)
{
        int r = give_result();

        need(context_id > 0 && strlen(name) < 64);
        world.contexts += r == 0;
        return r;
}

int gpu_client_destroy_context(struct gpu_client *client, uint32_t context_id)
{
        need(world.contexts-- > 0);
        return 0;
}

int gpu_client_create(struct gpu_client *client, const struct gpu_client_blob *blob)
{
        int r = give_result();

        need(blob->resource_id > 0 && blob->context_id > 0);
        world.blobs += r == 0;
        return r;
}

int gpu_client_attach(struct gpu_client *client, uint32_t context_id, uint32_t resource_id)
{
        need(context_id > 0 && resource_id > 0);
        return give_result();
}

int gpu_client_map(struct gpu_client *client, uint32_t resource_id, uint64_t offset, uint32_t *map_info)
{
        need(resource_id > 0 && offset == 0);
        return give_result();
}

int gpu_client_unmap(struct gpu_client *client, uint32_t resource_id)
{
        return give_result();
}

int gpu_client_unref(struct gpu_client *client, uint32_t resource_id)
{
        need(world.blobs-- > 0);
        return 0;
}

static void answer_first(void)
{
        struct virtio_gpu_ctrl_hdr answer = {.type = VIRTIO_GPU_RESP_OK_NODATA};

        if (world.n_pending == 0)
                return;
        world.n_pending--;
        world.pending[world.n_pending].done(world.pending[world.n_pending].userdata, &answer, sizeof(answer));
}

/* All of it is looked at, as a device would. */
int gpu_client_send(struct gpu_client *client, const struct gpu_client_command *command, gpu_client_done_fn done,
                    void *userdata)
{
        static volatile uint8_t seen;

        for (size_t i = 0; i < command->payload_size; i++)
                seen = (uint8_t)(seen + ((const uint8_t *)command->payload)[i]);
        if (world.n_pending == PENDING_MOST)
                return -EAGAIN;
        if (take_byte(world.input) >= 250)
                return -EMSGSIZE;
        world.pending[world.n_pending].done = done;
        world.pending[world.n_pending++].userdata = userdata;
        return 0;
}

int gpu_client_kick(struct gpu_client *client)
{
        return 0;
}

int gpu_client_wait(struct gpu_client *client, int ms)
{
        return 0;
}

int gpu_client_collect(struct gpu_client *client)
{
        answer_first();
        return 1;
}

/* ---- what the client sends ---- */

static size_t make_command(uint8_t *bytes)
{
        static const uint32_t kinds[] = {3,  7,  8,  10, 11, 15, 16, 17, 17, 18, 18, 18,
                                         19, 19, 20, 21, 22, 23, 23, 24, 24, 24, 99};
        uint32_t kind = kinds[take_byte(world.input) % ARRAY_SIZE(kinds)], n = take_byte(world.input) % 24;
        uint32_t words[2 + 24] = {n, kind};
        uint8_t odd = take_byte(world.input);

        for (uint32_t i = 0; i < n; i++)
                words[2 + i] = odd == 255 ? (uint32_t)take_number(world.input) : take_byte(world.input) & 15;
        /* Mostly a whole submission of one batch, or a blob of the host's. */
        if (kind == 24 && odd < 200 && n >= 10) {
                words[2] = 1;
                words[4] = 7;
                words[5] = odd & 3;
                words[6] = 7;
                words[7] = 1;
        }
        if (kind == 18 && odd < 200)
                words[2] = 2;
        if (odd >= 250 && odd < 255)
                words[0] = (uint32_t)take_number(world.input);
        memcpy(bytes, words, sizeof(words));
        return (2 + (size_t)n) * 4 / (kind == 8 ? 4 : 1) + (kind == 8 ? 6 : 0);
}

static void drain(int fd)
{
        union {
                char bytes[256];
                struct cmsghdr align;
        } control;
        char data[4096];

        for (;;) {
                struct iovec iov = {data, sizeof(data)};
                struct msghdr message = {.msg_iov = &iov,
                                         .msg_iovlen = 1,
                                         .msg_control = control.bytes,
                                         .msg_controllen = sizeof(control)};

                if (recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) <= 0)
                        return;

                struct cmsghdr *rights = CMSG_FIRSTHDR(&message);

                for (size_t i = 0; rights && i < (rights->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
                        int passed;

                        memcpy(&passed, CMSG_DATA(rights) + i * sizeof(int), sizeof(int));
                        close(passed);
                }
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static uint8_t capset[160];
        struct input input = {data, size};
        struct vtest vtest = {.capset = capset, .capset_size = sizeof(capset), .capset_version = 1};
        uint8_t bytes[128];
        int fds[2], r = 0;
        const char *why;

        world = (struct world){.input = &input};
        need(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);

        struct vtest_client *client = vtest_client_new(&vtest, fds[0]);

        need(client);
        while (r >= 0 && input.size > 0) {
                size_t n = make_command(bytes), first = take_byte(&input) % (n + 1);

                need(write(fds[1], bytes, first) == (ssize_t)first);
                r = first > 0 ? vtest_client_serve(client, &why) : 0;
                if (r >= 0 && n > first) {
                        need(write(fds[1], bytes + first, n - first) == (ssize_t)(n - first));
                        r = vtest_client_serve(client, &why);
                }
                if (take_byte(&input) % 4 == 3)
                        answer_first();
                drain(fds[1]);
        }
        /* A client that has lost its device gives nothing back. */
        bool lost = vtest.error;

        vtest_client_free(client);
        while (world.n_pending > 0)
                answer_first();
        need(lost || (world.contexts == 0 && world.blobs == 0));
        drain(fds[1]);
        close(fds[1]);

        int next = dup(fds[1] >= 0 ? STDERR_FILENO : -1);

        /* Descriptors are given out from the lowest on: none of before is still open. */
        need(next >= 0 && next <= fds[1]);
        close(next);
        return 0;
}
