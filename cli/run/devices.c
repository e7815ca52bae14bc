/* SPDX-License-Identifier: BSD-2-Clause */

/* The options of "oriel run" for devices: --device here, others in ours.c and others.c. Each value becomes two entries
 * with the same index: the machine's device (struct machine_device), and the broker's item, which is a socket to
 * connect to or a program to start with its arguments. A device connects by connect_item(), which asks the broker.
 * Strings and argument lists live in struct run_devices, until run_devices_free(). */

#include "cli/run/kinds.h"

#include "base/cleanup.h"
#include "program/report.h"
#include "program/spawn.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_QUEUE_SIZE = 1024 };

/* ---- --device ---- */

static const char *run_check_device(const struct machine_device *device, const char *socket, const char *dialect)
{
        if (!socket)
                return "socket=PATH is missing";
        if (device->virtio_id < 1 || device->virtio_id > 63)
                return "virtio-id: 1 to 63";
        if (device->queues > ORIEL_MAX_QUEUES)
                return "queues: at most 256";
        if (device->queue_size < 2 || device->queue_size > MAX_QUEUE_SIZE ||
            device->queue_size & (device->queue_size - 1))
                return "queue-size: a power of two, 2 to 1024";
        if (dialect && !oriel_dialect_find(dialect))
                return "dialect: standard, shmem-21 or shmem-20";
        return NULL;
}

static int parse_device(struct run_devices *to, const char *value)
{
        struct machine_device device = {.virtio_id = VIRTIO_ID_FS, .queue_size = DEFAULT_QUEUE_SIZE};
        const char *socket = NULL, *dialect = NULL;
        const struct option_row rows[] = {
                {"socket", OPTION_STRING, &socket, NULL, NULL},
                {"virtio-id", OPTION_NUMBER, &device.virtio_id, NULL, NULL},
                {"queues", OPTION_NUMBER, &device.queues, NULL, NULL},
                {"queue-size", OPTION_NUMBER, &device.queue_size, NULL, NULL},
                {"dialect", OPTION_STRING, &dialect, NULL, NULL},
        };
        char *storage = devices_keep(to, malloc(strlen(value) + 1)), why[128];

        if (!storage)
                return fail("out of memory");
        if (!option_parts_parse(rows, ARRAY_SIZE(rows), true, value, storage, why, sizeof(why)))
                return devices_usage("device", value, why);

        const char *wrong = run_check_device(&device, socket, dialect);

        if (wrong)
                return devices_usage("device", value, wrong);
        device.name = keep_format(to, "socket %s", socket);
        device.dialect = dialect ? oriel_dialect_find(dialect) : NULL;
        if (!device.name)
                return fail("out of memory");
        devices_add(to, &device, &(struct broker_item){.socket = socket});
        return -1;
}

/* ---- */

int run_devices_parse(struct run_devices *out, const struct run_device_options *options)
{
        const struct {
                const struct option_list *values;
                int (*parse)(struct run_devices *to, const char *value);
        } kinds[] = {
                {&options->devices, parse_device}, {&options->shares, parse_share},   {&options->pmems, parse_pmem},
                {&options->gpus, parse_gpu},       {&options->cameras, parse_camera}, {&options->nets, parse_net},
                {&options->disks, parse_disk},     {&options->vsocks, parse_vsock},
        };
        unsigned most = 0;
        int status = -1;

        out->allow_remote_files = options->allow_remote_files;
        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
                most += kinds[i].values->n;
        out->devices = calloc(most + 1 /* rng */, sizeof(*out->devices));
        out->items = calloc(most + 1, sizeof(*out->items));
        out->connections = calloc(most + 1, sizeof(*out->connections));
        out->strings = calloc(most + 1, STRINGS * sizeof(*out->strings));
        if (!out->devices || !out->items || !out->connections || !out->strings)
                return fail("out of memory");
        if (most + (options->rng && strcmp(options->rng, "on") == 0) > PCI_MAX_FUNCTIONS) {
                report("devices: at most %d of all kinds", PCI_MAX_FUNCTIONS);
                return STATUS_USAGE;
        }
        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
                for (unsigned at = 0; status < 0 && at < kinds[i].values->n; at++)
                        status = kinds[i].parse(out, kinds[i].values->values[at]);
        /* The last, so that the others are where they would be without it. */
        return status < 0 ? parse_rng(out, options->rng) : status;
}

void run_devices_use(struct run_devices *devices, struct broker *broker)
{
        for (unsigned i = 0; i < devices->n; i++)
                devices->connections[i].broker = broker;
}

void run_devices_free(struct run_devices *devices)
{
        for (unsigned i = 0; i < devices->n_strings; i++)
                free(devices->strings[i]);
        free(devices->strings);
        free(devices->connections);
        free(devices->items);
        free(devices->devices);
}
