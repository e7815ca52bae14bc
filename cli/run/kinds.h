/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CLI_RUN_KINDS_H
#define CLI_RUN_KINDS_H

#include "cli/run/devices.h"

enum {
        DEFAULT_QUEUE_SIZE = 256,
        PROGRAM_OPTIONS = 24, /* option=OPTION, of a program that is started */
        ARGUMENTS = 24 + PROGRAM_OPTIONS,
        STRINGS = 16 + PROGRAM_OPTIONS /* of one device */
};

struct run_connection {
        struct broker *broker;
        unsigned item;
};

/* ---- values.c: what each kind of device is parsed with ---- */

/* Keeps a string for as long as the devices, and returns it. NULL: there was no memory for it. */
char *devices_keep(struct run_devices *to, char *string);
char *keep_format(struct run_devices *to, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Reports what is wrong with a value. The exit status. */
int devices_usage(const char *option, const char *value, const char *why);
void devices_add(struct run_devices *to, const struct machine_device *device, const struct broker_item *item);
/* Room for ARGUMENTS, NULL-terminated; kept. NULL: no memory. */
const char **new_arguments(struct run_devices *to);
/* Appends the options that the user names to @arguments, which has @n entries and room for more. False: an entry is
 * NULL, as there was no memory for it. */
bool add_options(struct run_devices *to, const struct option_list *options, const char **arguments, unsigned n);

/* A path at which a program is to listen, in run_devices.folder; kept. NULL, and an error was reported. */
const char *keep_socket(struct run_devices *to);
/* Whether @program is there; else it is reported which @package brings it. */
bool find_peer(const char *option, const char *program, const char *package);

/* ---- ours.c, others.c: one option's value. -1, or the exit status, and an error was reported ---- */

int parse_share(struct run_devices *to, const char *value);
int parse_pmem(struct run_devices *to, const char *value);
int parse_gpu(struct run_devices *to, const char *value);
int parse_camera(struct run_devices *to, const char *value);
int parse_rng(struct run_devices *to, const char *value);
int parse_net(struct run_devices *to, const char *value);
int parse_disk(struct run_devices *to, const char *value);
int parse_vsock(struct run_devices *to, const char *value);

#endif
