/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

/* Each subcommand is a main() of its own, whose argv[0] is its name. */
int command_bench(int argc, char **argv);
int command_conform(int argc, char **argv);
int command_doctor(int argc, char **argv);
int command_mount(int argc, char **argv);
/* "oriel SOCKET DIR -o OPTIONS", as /sbin/mount.fuse calls a file system's program: it goes into the background. */
int command_mount_helper(int argc, char **argv);
int command_probe(int argc, char **argv);
int command_trace(int argc, char **argv);
int command_v4l2(int argc, char **argv);
int command_vtest(int argc, char **argv);

/* Those of the machine: NULL where it is not built, see vmm/arch/arch.h. */
int command_demo(int argc, char **argv) __attribute__((weak));
int command_run(int argc, char **argv) __attribute__((weak));

#endif
