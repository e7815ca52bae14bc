/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/cleanup.h"
#include "cli/commands.h"
#include "program/kernel_check.h"
#include "program/options.h"
#include "program/report.h"

#include <oriel/memory.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
        const char *help;
} commands[] = {
        {"bench", command_bench, "measure mapping against the floor, and oriel-fs against another"},
        {"conform", command_conform, "try another's end of vhost-user on each rule of the specification"},
        {"demo", command_demo, "read a directory through a shared memory window and check every byte"},
        {"doctor", command_doctor, "say what of this host serves which feature, and what is missing"},
        {"mount", command_mount, "mount a virtio-fs back-end on this host, without a virtual machine"},
        {"probe", command_probe, "print what a back-end offers"},
        {"run", command_run, "run a virtual machine whose devices are vhost-user back-ends"},
        {"trace", command_trace, "print what a front-end and a back-end say to each other"},
        {"v4l2", command_v4l2, "let programs of this host use a virtio-media back-end as /dev/videoN"},
        {"vtest", command_vtest, "let Mesa programs of this host use a vhost-user gpu"},
};

static int main_print_help(void)
{
        printf("Usage: oriel COMMAND [OPTION]... [ARGUMENT]...\n\n"
               "vhost-user with VIRTIO Shared Memory Regions.\n\nCommands:\n");
        for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
                if (commands[i].run)
                        printf("  %-8s %s\n", commands[i].name, commands[i].help);
        printf("\noriel COMMAND --help tells more.\n\nExit status: 0 on success, 1 on failure, 2 on wrong usage.\n");
        return STATUS_SUCCESS;
}

/* The table of each command, which prints it as it prints --help. */
static int main_describe(void)
{
        for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
                char *argv[] = {"oriel", OPTION_DESCRIBE, NULL};

                if (!commands[i].run)
                        continue;
                printf("command\t%s\t%s\n", commands[i].name, commands[i].help);
                if (commands[i].run(2, argv) != STATUS_SUCCESS)
                        return STATUS_FAILURE;
        }
        return STATUS_SUCCESS;
}

int main(int argc, char **argv)
{
        signal(SIGPIPE, SIG_IGN);
        /* With a limit on the size of files (RLIMIT_FSIZE), a write beyond it fails with EFBIG, and does not end the
         * process. */
        signal(SIGXFSZ, SIG_IGN);
        oriel_memory_survive_sigbus();
        if (argc < 2) {
                report("a command is missing (see oriel --help)");
                return STATUS_USAGE;
        }
        if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
                return finish_output(main_print_help());
        if (strcmp(argv[1], OPTION_DESCRIBE) == 0)
                return finish_output(main_describe());
        if (strcmp(argv[1], "--version") == 0) {
                options_print_version("oriel");
                return finish_output(STATUS_SUCCESS);
        }
        for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
                if (strcmp(argv[1], commands[i].name) != 0)
                        continue;
                if (!commands[i].run)
                        return fail("'%s' is not there: there is no virtual machine for this architecture", argv[1]);
                return kernel_check() < 0 ? STATUS_FAILURE : finish_output(commands[i].run(argc - 1, argv + 1));
        }
        if (strchr(argv[1], '/'))
                return kernel_check() < 0 ? STATUS_FAILURE : command_mount_helper(argc, argv);
        report("'%s' is not a command (see oriel --help)", argv[1]);
        return STATUS_USAGE;
}
