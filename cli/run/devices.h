/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CLI_RUN_DEVICES_H
#define CLI_RUN_DEVICES_H

#include "cli/run/broker.h"
#include "program/options.h"
#include "vmm/machine/machine.h"

/* The values of oriel run's options for devices. */
struct run_device_options {
        struct option_list devices, shares, pmems, gpus, cameras, nets, disks, vsocks;
        const char *rng; /* NULL: on, where the program is installed */
        bool allow_remote_files;
};

/* The parsed devices: the same entries for the machine and for the broker. */
struct run_devices {
        struct machine_device *devices;
        struct broker_item *items;
        struct run_connection *connections;
        char **strings; /* to be freed */
        unsigned n, n_strings;
        bool allow_remote_files;
        char folder[64]; /* of the sockets at which programs will listen: a name that is free; "": none */
};

/* Returns -1, or the exit status, and an error was reported. */
int run_devices_parse(struct run_devices *out, const struct run_device_options *options);
/* Makes the machine's devices connect by way of @broker. */
void run_devices_use(struct run_devices *devices, struct broker *broker);
void run_devices_free(struct run_devices *devices);

#endif
