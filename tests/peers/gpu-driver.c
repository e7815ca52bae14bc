/* SPDX-License-Identifier: BSD-2-Clause */

/* A driver of virtio-gpu in user space: gpu-driver SOCKET CAPSET BLOBS SIZE creates a context of that capset and so
 * many host blobs with blob_id 0 in it, maps them all, writes each to its last byte through the window and reads it
 * back, and has them unmapped. It says how many could be made and mapped, in one line. */

#include "clients/gpu/client.h"
#include "program/report.h"

#include <errno.h>
#include <oriel/socket.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FEATURES                                                                         \
        (ORIEL_FEATURE(VIRTIO_GPU_F_VIRGL) | ORIEL_FEATURE(VIRTIO_GPU_F_RESOURCE_UUID) | \
         ORIEL_FEATURE(VIRTIO_GPU_F_RESOURCE_BLOB) | ORIEL_FEATURE(VIRTIO_GPU_F_CONTEXT_INIT))

static int list_capsets(struct gpu_client *client)
{
        struct virtio_gpu_resp_capset_info info;
        uint32_t i = 0;
        int r;

        while ((r = gpu_client_get_capset_info(client, i, &info)) == 0) {
                printf("capset %u, version %u, %u bytes\n", info.capset_id, info.capset_max_version,
                       info.capset_max_size);
                i++;
        }
        return r == -ENOENT ? 0 : r;
}

/* How many of @n there are. */
static uint32_t make(struct gpu_client *client, uint32_t n, uint64_t size, int *error)
{
        uint32_t made = 0;

        while (made < n && (*error = gpu_client_create_blob(client, 1, made + 1, 0, size)) == 0)
                made++;
        return made;
}

static uint32_t map(struct gpu_client *client, uint32_t n, uint64_t size, int *error)
{
        uint32_t mapped = 0;

        while (mapped < n && (*error = gpu_client_map(client, mapped + 1, mapped * size, NULL)) == 0)
                mapped++;
        return mapped;
}

static int fill_and_check(uint8_t *window, uint32_t n, uint64_t size)
{
        for (uint64_t i = 0; i < n; i++)
                memset(window + i * size, (int)(i % 251), size);
        for (uint64_t i = 0; i < n; i++)
                for (uint64_t at = 0; at < size; at += at + 4096 < size ? 4096 : size - at > 1 ? size - at - 1 : 1)
                        if (window[i * size + at] != i % 251)
                                return -EIO;
        return 0;
}

static int pass(struct gpu_client *client, uint32_t capset, uint32_t blobs, uint64_t size)
{
        uint64_t window_size;
        uint8_t *window = oriel_driver_window(gpu_client_driver(client), VIRTIO_GPU_SHM_ID_HOST_VISIBLE, &window_size);
        int r = list_capsets(client), made_error = 0, map_error = 0;

        if (r == 0)
                r = gpu_client_create_context(client, 1, capset, "gpu-driver");
        if (r < 0)
                return r;

        uint32_t made = make(client, blobs, size, &made_error), mapped = map(client, made, size, &map_error);

        r = fill_and_check(window, mapped, size);
        printf("%u made (%s), %u mapped (%s), %s\n", made, strerror(-made_error), mapped, strerror(-map_error),
               r == 0 ? "all right" : "wrong bytes");
        fflush(stdout);
        for (uint32_t i = 0; r == 0 && i < mapped; i++)
                r = gpu_client_unmap(client, i + 1);
        for (uint32_t i = 0; r == 0 && i < made; i++)
                r = gpu_client_unref(client, i + 1);
        return r == 0 ? gpu_client_destroy_context(client, 1) : r;
}

int main(int argc, char **argv)
{
        const struct oriel_log log = stderr_log(0);
        const struct oriel_driver_options options = {.struct_size = sizeof(options), .log = &log, .features = FEATURES};
        struct oriel_driver *driver = NULL;
        struct gpu_client *client = NULL;

        if (argc != 5)
                return fail("Usage: gpu-driver SOCKET CAPSET BLOBS SIZE");

        int r = oriel_driver_new(&options, oriel_socket_connect(argv[1]), &driver);

        if (r == 0)
                r = gpu_client_new(driver, &client);
        if (r == 0)
                r = pass(client, (uint32_t)atoi(argv[2]), (uint32_t)atoi(argv[3]), strtoull(argv[4], NULL, 0));
        gpu_client_free(client);
        oriel_driver_free(driver);
        return r < 0 ? fail("%s: %s", argv[1], strerror(-r)) : STATUS_SUCCESS;
}
