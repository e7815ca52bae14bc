/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CLI_RUN_DEVICES_H
#define CLI_RUN_DEVICES_H

#include "cli/run/broker.h"
#include "program/options.h"
#include "vmm/machine/machine.h"

/* What the options of oriel run say that are about devices. */
struct run_device_options {
        struct option_list devices, shares, pmems, gpus, cameras;
        bool allow_remote_files;
};

/* The same for the machine and for the broker. */
struct run_devices {
        struct machine_device *devices;
        struct broker_item *items;
        struct run_connection *connections;
        char **strings; /* to be freed */
        unsigned n, n_strings;
        bool allow_remote_files;
};

/* -1, or the exit status: an error was reported. */
int run_devices_parse(struct run_devices *out, const struct run_device_options *options);
/* The machine's devices connect by way of @broker. */
void run_devices_use(struct run_devices *devices, struct broker *broker);
void run_devices_free(struct run_devices *devices);

#endif
