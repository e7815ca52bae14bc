/* SPDX-License-Identifier: BSD-2-Clause */

/* A driver of virtio-gpu's displays in user space: gpu-display-driver SOCKET WIDTH HEIGHT. A picture of that size is
 * what output 0 shows; then each line of standard input is a command, which is done when "ok" or its result is printed:
 *
 *  pattern                  a colour of its own for each pixel: (7x % 256, 5y % 256, (x ^ y) % 256)
 *  fill X Y WIDTH HEIGHT N  one colour, 0xRRGGBB as a number
 *  frames N                 N times all of it, in the colours 1 to N
 *  off                      output 0 shows nothing
 *  info                     how the outputs are to be, and the size of the first one's EDID */

#include "base/cleanup.h"
#include "clients/gpu/client.h"
#include "program/report.h"

#include <errno.h>
#include <oriel/socket.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RESOURCE 1
#define FEATURES (ORIEL_FEATURE(VIRTIO_GPU_F_EDID) | ORIEL_FEATURE(VIRTIO_GPU_F_RESOURCE_BLOB))

struct display {
        struct gpu_client *client;
        uint32_t width, height;
        uint32_t *pixels;
};

static int ask(struct display *display, const void *fixed, size_t size, const void *payload, size_t payload_size)
{
        const struct gpu_client_command command = {fixed, size, payload, payload_size, 0, GPU_CLIENT_CONTROL};
        struct virtio_gpu_ctrl_hdr header;
        int r = gpu_client_call(display->client, &command, &header, sizeof(header));

        return r < 0 ? r : r == VIRTIO_GPU_RESP_OK_NODATA ? 0 : gpu_client_error((uint32_t)r);
}

static int set_scanout(struct display *display, uint32_t resource)
{
        const struct virtio_gpu_set_scanout set = {.hdr = {.type = VIRTIO_GPU_CMD_SET_SCANOUT},
                                                   .r = {0, 0, display->width, display->height},
                                                   .resource_id = resource};

        return ask(display, &set, sizeof(set), NULL, 0);
}

static int show(struct display *display, struct virtio_gpu_rect rect)
{
        const struct virtio_gpu_transfer_to_host_2d transfer = {
                .hdr = {.type = VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D},
                .r = rect,
                .offset = ((uint64_t)rect.y * display->width + rect.x) * 4,
                .resource_id = RESOURCE,
        };
        const struct virtio_gpu_resource_flush flush = {
                .hdr = {.type = VIRTIO_GPU_CMD_RESOURCE_FLUSH}, .r = rect, .resource_id = RESOURCE};
        int r = ask(display, &transfer, sizeof(transfer), NULL, 0);

        return r < 0 ? r : ask(display, &flush, sizeof(flush), NULL, 0);
}

static int fill(struct display *display, struct virtio_gpu_rect rect, uint32_t colour)
{
        for (uint32_t y = rect.y; y < rect.y + rect.height; y++)
                for (uint32_t x = rect.x; x < rect.x + rect.width; x++)
                        display->pixels[(size_t)y * display->width + x] = colour;
        return show(display, rect);
}

static int draw_pattern(struct display *display)
{
        for (uint32_t y = 0; y < display->height; y++)
                for (uint32_t x = 0; x < display->width; x++)
                        display->pixels[(size_t)y * display->width + x] =
                                (7 * x & 0xff) << 16 | (5 * y & 0xff) << 8 | ((x ^ y) & 0xff);
        return show(display, (struct virtio_gpu_rect){0, 0, display->width, display->height});
}

static int print_info(struct display *display)
{
        const struct virtio_gpu_ctrl_hdr get = {.type = VIRTIO_GPU_CMD_GET_DISPLAY_INFO};
        const struct virtio_gpu_cmd_get_edid get_edid = {.hdr = {.type = VIRTIO_GPU_CMD_GET_EDID}};
        struct virtio_gpu_resp_display_info info = {.hdr = {.type = 0}};
        struct virtio_gpu_resp_edid edid = {.size = 0};
        const struct gpu_client_command command = {&get, sizeof(get), NULL, 0, 0, GPU_CLIENT_CONTROL},
                                        second = {&get_edid, sizeof(get_edid), NULL, 0, 0, GPU_CLIENT_CONTROL};
        int r = gpu_client_call(display->client, &command, &info, sizeof(info));

        if (r == VIRTIO_GPU_RESP_OK_DISPLAY_INFO)
                r = gpu_client_call(display->client, &second, &edid, sizeof(edid));
        if (r != VIRTIO_GPU_RESP_OK_EDID)
                return r < 0 ? r : gpu_client_error((uint32_t)r);
        for (unsigned i = 0; i < VIRTIO_GPU_MAX_SCANOUTS; i++)
                if (info.pmodes[i].enabled)
                        printf("%u: %ux%u ", i, info.pmodes[i].r.width, info.pmodes[i].r.height);
        printf("edid %u\n", edid.size);
        return 0;
}

static int do_line(struct display *display, const char *line)
{
        const struct virtio_gpu_rect all = {0, 0, display->width, display->height};
        struct virtio_gpu_rect rect;
        uint32_t n;
        int r = 0;

        if (strcmp(line, "info\n") == 0)
                return print_info(display);
        if (strcmp(line, "pattern\n") == 0)
                r = draw_pattern(display);
        else if (strcmp(line, "off\n") == 0)
                r = set_scanout(display, 0);
        else if (sscanf(line, "fill %u %u %u %u %u", &rect.x, &rect.y, &rect.width, &rect.height, &n) == 5)
                r = fill(display, rect, n);
        else if (sscanf(line, "frames %u", &n) == 1)
                for (uint32_t i = 1; r == 0 && i <= n; i++)
                        r = fill(display, all, i);
        else
                r = -EINVAL;
        if (r == 0)
                puts("ok");
        return r;
}

static int begin(struct display *display)
{
        const struct virtio_gpu_resource_create_2d create = {
                .hdr = {.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_2D},
                .resource_id = RESOURCE,
                .format = VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM,
                .width = display->width,
                .height = display->height,
        };
        const struct virtio_gpu_resource_attach_backing attach = {
                .hdr = {.type = VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING}, .resource_id = RESOURCE, .nr_entries = 1};
        struct oriel_driver *driver = gpu_client_driver(display->client);
        struct virtio_gpu_mem_entry entry = {.length = display->width * display->height * 4};

        display->pixels = oriel_driver_alloc(driver, entry.length);
        if (!display->pixels)
                return -ENOMEM;

        int r = oriel_driver_address(driver, display->pixels, entry.length, (uint64_t *)&entry.addr);

        if (r == 0)
                r = ask(display, &create, sizeof(create), NULL, 0);
        if (r == 0)
                r = ask(display, &attach, sizeof(attach), &entry, sizeof(entry));
        return r == 0 ? set_scanout(display, RESOURCE) : r;
}

static int serve(struct display *display)
{
        char line[200];
        int r = begin(display);

        while (r == 0 && fgets(line, sizeof(line), stdin)) {
                r = do_line(display, line);
                fflush(stdout);
        }
        return r;
}

int main(int argc, char **argv)
{
        const struct oriel_log log = stderr_log(0);
        const struct oriel_driver_options options = {
                .struct_size = sizeof(options), .log = &log, .features = FEATURES, .memory_size = 64 << 20};
        struct display display = {.width = argc == 4 ? (uint32_t)atoi(argv[2]) : 0,
                                  .height = argc == 4 ? (uint32_t)atoi(argv[3]) : 0};
        struct oriel_driver *driver = NULL;

        if (display.width == 0 || display.height == 0)
                return fail("Usage: gpu-display-driver SOCKET WIDTH HEIGHT");

        int r = oriel_driver_new(&options, oriel_socket_connect(argv[1]), &driver);

        if (r == 0)
                r = gpu_client_new(driver, &display.client);
        if (r == 0)
                r = serve(&display);
        gpu_client_free(display.client);
        oriel_driver_free(driver);
        return r < 0 ? fail("%s: %s", argv[1], strerror(-r)) : STATUS_SUCCESS;
}
