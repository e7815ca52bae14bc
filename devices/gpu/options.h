/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_GPU_OPTIONS_H
#define DEVICES_GPU_OPTIONS_H

#include "devices/gpu/core/gpu.h"
#include "program/options.h"

enum gpu_when { GPU_AUTO, GPU_ON, GPU_OFF };

/* The command line of oriel-gpu. */
struct gpu_command_line {
        struct gpu_options gpu; /* what of it is the user's to say */
        const char *resolution;
        unsigned max_mappings;
        unsigned venus; /* enum gpu_when */
        const char *render_server;
        const char *render_node; /* NULL: whatever there is */
        const char *wayland;
        const char *screenshot; /* NULL: none */
        const char *vnc;        /* NULL: none */
};

extern struct gpu_command_line gpu_command_line;
extern const struct option_row gpu_rows[];
extern const size_t gpu_n_rows;

/* The exit status, with everything said, or -1. */
int gpu_check_options(void);

#endif
