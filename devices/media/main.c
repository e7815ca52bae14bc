/* SPDX-License-Identifier: BSD-2-Clause */

/* oriel-media: its own part of a device daemon, for daemon_main(). Before the sandbox it opens the camera's source
 * or finds the V4L2 device, of which it keeps an O_PATH descriptor, or starts the decoder's broker, which stays
 * outside. In the sandbox it makes the node for one of these, and the device (device.c) around it. */

#include "base/cleanup.h"
#include "base/fd.h"
#include "daemon/daemon.h"
#include "daemon/options.h"
#include "devices/media/camera/camera.h"
#include "devices/media/decoder/broker.h"
#include "devices/media/decoder/decoder.h"
#include "devices/media/device.h"
#include "devices/media/options.h"
#include "devices/media/proxy/proxy.h"
#include "program/report.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static struct camera_source *source;
static struct media_config device_config;
static int device_fd = -1; /* O_PATH */

/* Each session opens the device anew; between sessions it is not in use. */
static int media_check_device(const char *path)
{
        const int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);

        if (fd < 0)
                return fail("--device=%s: %s", path, strerror(errno));

        const int r = proxy_config(fd, &device_config);

        fd_close(fd);
        device_fd = open(path, O_PATH | O_CLOEXEC);
        if (r == -ENOTTY || r == -ENODEV)
                return fail("--device=%s: it is no V4L2 device with streaming", path);
        return r < 0 || device_fd < 0 ? fail("--device=%s: %s", path, strerror(r < 0 ? -r : errno)) : STATUS_SUCCESS;
}

static int broker = -1;
static unsigned codecs;

static int media_start_broker(void)
{
        const int r = codec_broker_start(daemon_options.seccomp, &codecs);

        if (r < 0)
                return fail("--decoder: oriel-media-codec: %s", r == -EPIPE ? "it does not run" : strerror(-r));
        broker = r;
        codecs &= decoder_codecs(media_command_line.codecs);
        return codecs ? STATUS_SUCCESS : fail("--codecs: there is none of these");
}

/* Before the sandbox, in which nothing can be opened. O_NONBLOCK: a FIFO may have no writer yet. */
static int media_check_files(void)
{
        const struct media_command_line *line = &media_command_line;
        const char *why = "";

        if (line->device)
                return media_check_device(line->device);
        if (line->decoder)
                return media_start_broker();
        if (strcmp(line->source, "pattern") == 0)
                return pattern_new(&source) < 0 ? fail("--source: %s", strerror(ENOMEM)) : STATUS_SUCCESS;

        const bool is_stdin = strcmp(line->source, "-") == 0 || strncmp(line->source, "fd:", 3) == 0;
        const int fd =
                is_stdin ? fd_dup(STDIN_FILENO) : open(line->source, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);

        if (fd < 0)
                return fail("--source=%s: %s", line->source, strerror(is_stdin ? -fd : errno));

        const int r = file_source_new(fd, line->format, &source, &why);

        return r < 0 ? fail("--source=%s: %s", line->source, r == -EINVAL ? why : strerror(-r)) : STATUS_SUCCESS;
}

static int media_new_device(const struct daemon_start *start, void **out)
{
        const struct media_command_line *line = &media_command_line;
        struct media_device_options options = {
                .window_size = line->window,
                .max_mappings = line->max_mappings,
                .objects = line->objects,
                .log = start->log,
                .lines = start->lines,
                .dialect = start->dialect,
        };
        struct media_device *device = NULL;
        int r = line->decoder  ? decoder_new(fd_take(&broker), codecs, line->card, &options.node)
                : line->device ? proxy_new(fd_take(start->proc_fd), fd_take(&device_fd), &device_config, line->card,
                                           &options.node)
                               : camera_new(steal(source), line->card, line->fps, &options.node);

        if (r == 0)
                r = media_device_new(&options, &device);
        *out = device;
        return r < 0 ? fail("the device: %s", strerror(-r)) : STATUS_SUCCESS;
}

static struct oriel_backend *media_backend(void *device)
{
        return media_device_backend(device);
}

static void media_free_device(void *device)
{
        media_device_free(device);
}

int main(int argc, char **argv)
{
        const struct daemon_device device = {
                .name = "oriel-media",
                .type = "media",
                .summary = "Give a virtual machine a camera, a V4L2 device of this host, or a decoder: a vhost-user "
                           "back-end "
                           "for virtio-media, with buffers in a window.",
                .rows = media_rows,
                .n_rows = media_n_rows,
                .check_options = media_check_options,
                .check_files = media_check_files,
                .new_device = media_new_device,
                .backend = media_backend,
                .free_device = media_free_device,
        };

        return daemon_main(&device, argc, argv);
}
