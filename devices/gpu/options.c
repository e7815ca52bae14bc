/* SPDX-License-Identifier: BSD-2-Clause */
#include "devices/gpu/options.h"

#include "base/cleanup.h"
#include "base/range.h"
#include "daemon/options.h"

#include <stdio.h>
#include <unistd.h>

struct gpu_command_line gpu_command_line = {
        .gpu.window_size = UINT64_C(4) << 30,
        .resolution = "1280x800",
};

/* In the order of enum gpu_when. */
static const char *const whens[] = {"auto", "on", "off", NULL};

const struct option_row gpu_rows[] = {
        {"venus", OPTION_CHOICE, &gpu_command_line.venus, "WHEN",
         "Vulkan for the guest: on, off, auto (default: if there is a render server)", .choices = whens},
        {"render-server", OPTION_STRING, &gpu_command_line.render_server, "PATH",
         "the program that has the GPU (default: /usr/libexec/virgl_render_server)"},
        {"render-node", OPTION_STRING, &gpu_command_line.render_node, "PATH",
         "the GPU, of those in its directory, such as /dev/dri/renderD128 (default: the driver's choice)"},
        {"wayland", OPTION_STRING, &gpu_command_line.wayland, "SOCKET",
         "the compositor whose clients the guest's programs may be (default: none)"},
        {"window", OPTION_SIZE, &gpu_command_line.gpu.window_size, "SIZE",
         "how large the window is in which a guest sees the GPU's memory (default: 4G)"},
        {"max-mappings", OPTION_NUMBER, &gpu_command_line.max_mappings, "N",
         "how much may be in it at once (default: as many as the front-end is found to bear)"},
        {"outputs", OPTION_NUMBER, &gpu_command_line.gpu.outputs, "N",
         "how many displays there are, up to 16 (default: 0, which renders only)"},
        {"resolution", OPTION_STRING, &gpu_command_line.resolution, "WxH",
         "which a display prefers (default: 1280x800)"},
        {"vnc", OPTION_STRING, &gpu_command_line.vnc, "ADDRESS",
         "show the first display to VNC clients: HOST:PORT, :PORT of this host alone, or unix:PATH"},
        {"screenshot", OPTION_STRING, &gpu_command_line.screenshot, "FILE",
         "where SIGUSR1 has what the displays show written to, as PNG"},
};
const size_t gpu_n_rows = ARRAY_SIZE(gpu_rows);

int gpu_check_options(void)
{
        const struct gpu_command_line *line = &gpu_command_line;
        struct gpu_options *gpu = &gpu_command_line.gpu;
        char rest;

        if (gpu->window_size == 0 || !is_aligned(gpu->window_size, (uint64_t)sysconf(_SC_PAGESIZE)))
                return daemon_usage("--window: a size in whole pages, such as 4G");
        if (line->venus == GPU_OFF && line->render_node)
                return daemon_usage("--render-node: with --venus=off nothing renders");
        if (gpu->outputs == 0 && (line->screenshot || line->vnc))
                gpu->outputs = 1;
        if (gpu->outputs > GPU_OUTPUTS_MAX)
                return daemon_usage("--outputs: 16 at most");
        if (sscanf(line->resolution, "%5ux%5u%c", &gpu->width, &gpu->height, &rest) != 2 || gpu->width < 1 ||
            gpu->width > GPU_SIDE_MAX || gpu->height < 1 || gpu->height > GPU_SIDE_MAX)
                return daemon_usage("--resolution: two numbers up to 16384, such as 1280x800");
        return -1;
}
