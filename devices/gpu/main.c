/* SPDX-License-Identifier: BSD-2-Clause */

/* oriel-gpu: its own part of a device daemon, for daemon_main(). Before the sandbox it opens the files of pictures
 * and the listener for VNC, and starts the broker for the compositor and the render server, which both stay outside.
 * In the sandbox it makes the renderers, the device (device.c), and the sinks for pictures and VNC. SIGUSR1 orders a
 * picture. */

#include "base/cleanup.h"
#include "base/fd.h"
#include "daemon/daemon.h"
#include "daemon/options.h"
#include "devices/gpu/crossdomain/crossdomain.h"
#include "devices/gpu/device.h"
#include "devices/gpu/display/picture.h"
#include "devices/gpu/display/vnc.h"
#include "devices/gpu/options.h"
#include "devices/gpu/renderers/venus.h"
#include "program/report.h"

#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int server_fd = -1, broker_fd = -1, vnc_fd = -1;
static struct socket_file vnc_file;
static struct vnc *vnc;
static struct picture *picture;

static int gpu_start_broker(void)
{
        const char *path = gpu_command_line.wayland;

        broker_fd = path ? wayland_broker_start(path) : -1;
        return !path || broker_fd >= 0 ? STATUS_SUCCESS : fail("--wayland: %s: %s", path, strerror(-broker_fd));
}

/* Before the sandbox, in which nothing can be opened. */
static int open_picture(void)
{
        const char *path = gpu_command_line.screenshot;

        if (path && !picture_open)
                return fail("--screenshot: this oriel-gpu was built without libpng");

        int r = path ? picture_open(path, gpu_command_line.gpu.outputs, &picture) : 0;

        return r < 0 ? fail("--screenshot=%s: %s", path, r == -EINVAL ? "it is no regular file" : strerror(-r))
                     : STATUS_SUCCESS;
}

static int open_vnc(void)
{
        if (!gpu_command_line.vnc)
                return STATUS_SUCCESS;
        if (!vnc_listen)
                return fail("--vnc: this oriel-gpu was built without libvncserver");
        vnc_fd = vnc_listen(gpu_command_line.vnc, &vnc_file);
        return vnc_fd < 0 ? STATUS_FAILURE : STATUS_SUCCESS;
}

/* As the kernel names them, with a directory of their own, in which the server's namespace hides all but one: in
 * another directory, such as /dev, it would hide what the server needs. */
static bool is_render_node(const char *path)
{
        const char *name = strrchr(path, '/'), *const directory = "/dri";
        const size_t n = strlen(directory), above = (size_t)(name - path);
        struct stat st;

        return strncmp(name, "/renderD", strlen("/renderD")) == 0 && above >= n &&
               strncmp(name - n, directory, n) == 0 && stat(path, &st) == 0 && S_ISCHR(st.st_mode);
}

static int find_node(char **out)
{
        const char *path = gpu_command_line.render_node;

        *out = path ? realpath(path, NULL) : NULL;
        if (path && !*out)
                return fail("--render-node: %s: %s", path, strerror(errno));
        if (path && !is_render_node(*out))
                return fail("--render-node: %s: it is no render node, such as /dev/dri/renderD128", path);
        return STATUS_SUCCESS;
}

/* Starts the render server outside of the sandbox, in which there are neither programs nor a GPU. */
static int gpu_start_server(void)
{
        if (gpu_command_line.venus == GPU_OFF)
                return STATUS_SUCCESS;

        _cleanup_(freep) char *node = NULL;

        if (find_node(&node) != STATUS_SUCCESS)
                return STATUS_FAILURE;
        if (!venus_new)
                return gpu_command_line.venus == GPU_AUTO
                               ? STATUS_SUCCESS
                               : fail("Venus: this oriel-gpu was built without libvirglrenderer");

        const bool asked_for = gpu_command_line.venus == GPU_ON || node;
        bool of_node;

        server_fd = venus_start_server(gpu_command_line.render_server, node, &of_node);
        if (server_fd >= 0 || (server_fd == -ENOENT && !asked_for))
                return STATUS_SUCCESS;
        if (of_node)
                return fail("--render-node: no namespace with %s alone: %s (that takes root, or user namespaces)", node,
                            strerror(-server_fd));
        return fail("the render server %s: %s (its package is virgl-server; --venus=off does without)",
                    gpu_command_line.render_server ? gpu_command_line.render_server : "", strerror(-server_fd));
}

static int gpu_check_files(void)
{
        int status = open_picture();

        if (status == STATUS_SUCCESS)
                status = open_vnc();
        if (status == STATUS_SUCCESS)
                status = gpu_start_broker();
        return status == STATUS_SUCCESS ? gpu_start_server() : status;
}

static int make_renderers(const struct daemon_start *start, struct gpu_renderer **out)
{
        int r = server_fd < 0 ? 0 : venus_new(server_fd, &start->log, out);

        if (r < 0)
                return fail("Venus: %s", strerror(-r));
        r = broker_fd < 0 ? 0 : crossdomain_new(broker_fd, *out ? out + 1 : out);
        return r < 0 ? fail("--wayland: %s", strerror(-r)) : STATUS_SUCCESS;
}

/* Starts the sinks other than a front-end's window. */
static int start_displays(struct gpu *gpu, const struct daemon_start *start)
{
        const struct gpu_options *options = &gpu_command_line.gpu;
        int r = picture ? picture_start(picture, gpu, &start->log) : 0;

        /* The socket's directory is outside of the sandbox, where another process removes the file. */
        if (daemon_options.sandbox.mode != SANDBOX_NONE)
                socket_file_forget(&vnc_file);
        if (r == 0 && vnc_fd >= 0)
                r = vnc_new(gpu, fd_take(&vnc_fd), options->width, options->height, &start->log, &vnc);
        return r;
}

static int gpu_new_device(const struct daemon_start *start, void **out)
{
        struct gpu_device_options options = {
                .gpu = gpu_command_line.gpu,
                .max_mappings = gpu_command_line.max_mappings,
                .log = start->log,
                .lines = start->lines,
                .dialect = start->dialect,
        };
        struct gpu_device *device = NULL;

        if (make_renderers(start, options.gpu.renderers) != STATUS_SUCCESS)
                return STATUS_FAILURE;

        int r = gpu_device_new(&options, &device);

        if (r == 0)
                r = start_displays(gpu_device_gpu(device), start);
        *out = device;
        return r < 0 ? fail("the device: %s", strerror(-r)) : STATUS_SUCCESS;
}

static int gpu_attach(void *device, int fd)
{
        return gpu_device_attach(device, fd);
}

static struct oriel_backend *gpu_backend(void *device)
{
        return gpu_device_backend(device);
}

static void gpu_signalled(void *device)
{
        if (picture)
                picture_take(picture);
}

static void gpu_free_device(void *device)
{
        if (vnc)
                vnc_free(steal(vnc));
        if (picture)
                picture_free(steal(picture));
        gpu_device_free(device);
}

static bool gpu_has_files(void)
{
        return vnc_file.name;
}

/* libvirt chooses a node for each back-end that says that it takes one, and starts no machine where there is none. */
static bool host_has_render_node(void)
{
        glob_t found;
        bool any = glob("/dev/dri/renderD*", GLOB_NOSORT, NULL, &found) == 0;

        globfree(&found);
        return any;
}

int main(int argc, char **argv)
{
        const char *const features[] = {host_has_render_node() ? "render-node" : NULL, NULL};
        const struct daemon_device device = {
                .name = "oriel-gpu",
                .type = "gpu",
                .features = features,
                .summary = "Give a virtual machine a GPU: a vhost-user back-end for virtio-gpu, with host memory in a "
                           "window.",
                .rows = gpu_rows,
                .n_rows = gpu_n_rows,
                .check_options = gpu_check_options,
                .check_files = gpu_check_files,
                .has_files = gpu_has_files,
                .new_device = gpu_new_device,
                .attach = gpu_attach,
                .backend = gpu_backend,
                .signalled = gpu_signalled,
                .free_device = gpu_free_device,
        };

        int status = daemon_main(&device, argc, argv);

        socket_file_remove(&vnc_file);
        return status;
}
