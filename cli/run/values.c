/* SPDX-License-Identifier: BSD-2-Clause */

/* Shared by the options of "oriel run" for devices: strings that live as long as the devices, arguments of programs, a
 * name for the folder of the sockets at which programs listen (the broker makes it), and the pair of entries that each
 * device becomes. */

#include "cli/run/kinds.h"

#include "base/cleanup.h"
#include "program/report.h"
#include "program/spawn.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

static int connect_item(void *userdata)
{
        const struct run_connection *connection = userdata;

        return broker_connect(connection->broker, connection->item);
}

char *devices_keep(struct run_devices *to, char *string)
{
        if (string)
                to->strings[to->n_strings++] = string;
        return string;
}

char *keep_format(struct run_devices *to, const char *format, ...)
{
        char *string = NULL;
        va_list arguments;

        va_start(arguments, format);
        if (vasprintf(&string, format, arguments) < 0)
                string = NULL;
        va_end(arguments);
        return devices_keep(to, string);
}

int devices_usage(const char *option, const char *value, const char *why)
{
        report("--%s %s: %s (see oriel run --help)", option, value, why);
        return STATUS_USAGE;
}

void devices_add(struct run_devices *to, const struct machine_device *device, const struct broker_item *item)
{
        to->devices[to->n] = *device;
        to->devices[to->n].connect = connect_item;
        to->devices[to->n].connect_userdata = &to->connections[to->n];
        to->items[to->n] = *item;
        to->connections[to->n].item = to->n;
        to->n++;
}

const char **new_arguments(struct run_devices *to)
{
        const char **arguments = calloc(ARGUMENTS, sizeof(const char *));

        devices_keep(to, (char *)(void *)arguments);
        return arguments;
}

bool add_options(struct run_devices *to, const struct option_list *options, const char **arguments, unsigned n)
{
        for (unsigned i = 0; i < options->n; i++)
                arguments[n++] = keep_format(to, "--%s", options->values[i]);
        for (unsigned i = 0; i < n; i++)
                if (!arguments[i])
                        return false;
        return true;
}

const char *keep_socket(struct run_devices *to)
{
        const char *base = getenv("XDG_RUNTIME_DIR");

        if (!to->folder[0]) {
                uint64_t number;

                if (getrandom(&number, sizeof(number), 0) != sizeof(number)) {
                        report("a random number: %s", strerror(errno));
                        return NULL;
                }
                if (!base || base[0] != '/' || access(base, W_OK | X_OK) < 0 || strlen(base) > 32 || strchr(base, ','))
                        base = "/tmp";
                snprintf(to->folder, sizeof(to->folder), "%s/oriel-run-%" PRIx64, base, number);
        }
        return keep_format(to, "%s/%u", to->folder, to->n);
}

bool find_peer(const char *option, const char *program, const char *package)
{
        if (program_is_there(program))
                return true;
        report("--%s: %s is not found: on Debian it is in the package %s", option, program, package);
        return false;
}
