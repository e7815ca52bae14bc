/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_GPU_OPTIONS_H
#define DEVICES_GPU_OPTIONS_H

#include "devices/gpu/core/gpu.h"
#include "program/options.h"

enum gpu_when { GPU_AUTO, GPU_ON, GPU_OFF };

/* The command line of oriel-gpu. */
struct gpu_command_line {
        struct gpu_options gpu; /* only the fields that have options are set */
        const char *resolution;
        unsigned max_mappings;
        unsigned venus; /* enum gpu_when */
        const char *render_server;
        const char *render_node; /* NULL: the driver's choice */
        const char *wayland;
        const char *screenshot; /* NULL: none */
        const char *vnc;        /* NULL: none */
};

extern struct gpu_command_line gpu_command_line;
extern const struct option_row gpu_rows[];
extern const size_t gpu_n_rows;

/* Returns -1, or the exit status, and an error was reported. */
int gpu_check_options(void);

#endif
