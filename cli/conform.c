/* SPDX-License-Identifier: BSD-2-Clause */

/* oriel conform: its command line, and the choice between the two suites. Rows fill one static struct conform_options,
 * of which each run uses a copy with the file of --json added. That file is opened before the suite runs. Signals are
 * caught from then on: they end waits (signals_noted()), and the suite stops the peer itself. */

#include "base/cleanup.h"
#include "cli/commands.h"
#include "conform/common/suite.h"
#include "program/options.h"
#include "program/outfile.h"
#include "program/report.h"
#include "program/signals.h"

#include <limits.h>
#include <linux/virtio_ids.h>
#include <string.h>

static const char *json_path;
static struct conform_options options = {
        .timeout_s = 5,
        .start_timeout_s = 60,
        .queues = 2,
        .region = UINT64_C(1) << 30,
};

static const struct option_row rows[] = {
        {"list", OPTION_FLAG, &options.list, NULL, "print the cases and what they expect"},
        {"only", OPTION_STRING, &options.only, "PATTERN", "run the cases whose names match, such as 'vring-*'"},
        {"json", OPTION_STRING, &json_path, "FILE", "write the results as JSON too"},
        {"name", OPTION_STRING, &options.name, "NAME", "what --json calls the peer (default: its command or socket)"},
        {"log", OPTION_STRING, &options.log, "FILE", "append what the command prints (default: to nothing)"},
        {"timeout", OPTION_NUMBER, &options.timeout_s, "S", "for each answer (default: 5)"},
        {"start-timeout", OPTION_NUMBER, &options.start_timeout_s, "S",
         "until the command listens, or has started the device (default: 60)"},
        {"listen", OPTION_STRING, &options.socket, "SOCKET", "frontend: where it connects to"},
        {"virtio-id", OPTION_NUMBER, &options.virtio_id, "N",
         "backend: its device, of which 1 has pairs of vrings and 16 cases of its own; frontend: whose config space to "
         "show (default: 26)"},
        {"queues", OPTION_NUMBER, &options.queues, "N", "frontend: queues to offer, 1 to 256 (default: 2)"},
        {"region", OPTION_SIZE, &options.region, "SIZE", "frontend: of the shared memory region (default: 1G)"},
        {"reset", OPTION_STRING, &options.reset, "COMMAND", "frontend: shell command that resets its device"},
};

static const struct program program = {
        .name = "oriel conform",
        .operands = "backend SOCKET [-- COMMAND...] | frontend -- COMMAND...",
        .summary = "Try another's end of vhost-user on each rule of the specification, and print TAP.\n"
                   "backend: connect to SOCKET as a front-end; COMMAND, if given, is run as often as need be.\n"
                   "frontend: be a back-end with a shared memory region, and run COMMAND, which connects to --listen.",
        .rows = rows,
        .n_rows = ARRAY_SIZE(rows),
        .min_operands = 1,
        .max_operands = INT_MAX,
};

static const char *last_part(const char *path)
{
        const char *slash = strrchr(path, '/');

        return slash ? slash + 1 : path;
}

static int check_numbers(void)
{
        if (options.timeout_s < 1 || options.timeout_s > 3600 || options.start_timeout_s < 1 ||
            options.start_timeout_s > 3600)
                return options_wrong_usage(&program, "--timeout and --start-timeout: 1 to 3600");
        if (options.queues < 1 || options.queues > 256)
                return options_wrong_usage(&program, "--queues: 1 to 256");
        if (options.region == 0 || options.region % (2 << 20) || options.region > UINT64_C(1) << 40)
                return options_wrong_usage(&program, "--region: a multiple of 2M up to 1T");
        return -1;
}

/* Opens the file of --json before the run, which may take many minutes. */
static int run_suite(int (*run)(const struct conform_options *options))
{
        _cleanup_(outfile_close) struct outfile json = {.path = NULL};
        struct conform_options all = options;

        if (!options.list && outfile_open(&json, json_path))
                return STATUS_FAILURE;
        all.json = json.path ? &json : NULL;
        signals_note();
        return run(&all);
}

static int run_backend(char **operands)
{
        if (!options.list && !operands[0])
                return options_wrong_usage(&program, "SOCKET is missing");
        options.socket = operands[0];
        if (operands[0] && operands[1])
                options.command = operands + 1;
        if (!options.name && options.socket)
                options.name = last_part(options.command ? options.command[0] : options.socket);
        return run_suite(conform_backend);
}

static int conform_run_frontend(char **operands)
{
        if (!options.list && (!options.socket || !operands[0]))
                return options_wrong_usage(&program, options.socket ? "COMMAND is missing" : "--listen is missing");
        options.command = operands;
        if (!options.virtio_id)
                options.virtio_id = VIRTIO_ID_FS;
        if (!options.name && operands[0])
                options.name = last_part(operands[0]);
        return run_suite(conform_frontend);
}

static const struct {
        const char *name;
        int (*run)(char **operands);
} sides[] = {
        {"backend", run_backend},
        {"frontend", conform_run_frontend},
};

int command_conform(int argc, char **argv)
{
        char **operands;
        int status = options_parse(&program, argc, argv, &operands);

        if (status < 0)
                status = check_numbers();
        if (status >= 0)
                return status;
        for (size_t i = 0; i < ARRAY_SIZE(sides); i++)
                if (strcmp(operands[0], sides[i].name) == 0)
                        return sides[i].run(operands + 1);
        return options_wrong_usage(&program, "'backend' or 'frontend' is needed");
}
