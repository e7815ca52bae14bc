/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CLI_RUN_DEVICES_H
#define CLI_RUN_DEVICES_H

#include "cli/run/broker.h"
#include "program/options.h"
#include "vmm/machine/machine.h"

/* What --device, --share and --gpu of oriel run say, for the machine and for the broker. */
struct run_devices {
        struct machine_device *devices;
        struct broker_item *items;
        struct run_connection *connections;
        char **strings; /* to be freed */
        unsigned n, n_strings;
};

/* -1, or the exit status: an error was reported. */
int run_devices_parse(struct run_devices *out, const struct option_list *devices, const struct option_list *shares,
                      const struct option_list *gpus, bool allow_remote_files);
/* The machine's devices connect by way of @broker. */
void run_devices_use(struct run_devices *devices, struct broker *broker);
void run_devices_free(struct run_devices *devices);

#endif
