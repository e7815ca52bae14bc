/* SPDX-License-Identifier: BSD-2-Clause */

/* oriel-gpu: what of it is not any device daemon's. */

#include "daemon/daemon.h"
#include "devices/gpu/device.h"
#include "devices/gpu/options.h"
#include "program/report.h"

#include <string.h>

static int new_device(const struct daemon_start *start, void **out)
{
        const struct gpu_device_options options = {
                .gpu =
                        {
                                .window_size = gpu_command_line.window_size,
                                .outputs = gpu_command_line.outputs,
                                .width = gpu_command_line.width,
                                .height = gpu_command_line.height,
                        },
                .max_mappings = gpu_command_line.max_mappings,
                .log = start->log,
                .dialect = start->dialect,
        };
        struct gpu_device *device = NULL;
        int r = gpu_device_new(&options, &device);

        *out = device;
        return r < 0 ? fail("the device: %s", strerror(-r)) : STATUS_SUCCESS;
}

static int attach(void *device, int fd)
{
        return gpu_device_attach(device, fd);
}

static struct oriel_backend *backend(void *device)
{
        return gpu_device_backend(device);
}

static void free_device(void *device)
{
        gpu_device_free(device);
}

static const char *const features[] = {"render-node", NULL};

int main(int argc, char **argv)
{
        const struct daemon_device device = {
                .name = "oriel-gpu",
                .type = "gpu",
                .features = features,
                .summary = "Give a virtual machine a GPU: a vhost-user back-end for virtio-gpu, with host memory in a "
                           "window.",
                .rows = gpu_rows,
                .n_rows = gpu_n_rows,
                .check_options = gpu_check_options,
                .new_device = new_device,
                .attach = attach,
                .backend = backend,
                .free_device = free_device,
        };

        return daemon_main(&device, argc, argv);
}
