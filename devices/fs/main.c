/* SPDX-License-Identifier: BSD-2-Clause */

/* oriel-fs: its own part of a device daemon, for daemon_main(). */

#include "daemon/daemon.h"
#include "devices/fs/device.h"
#include "devices/fs/options.h"
#include "program/report.h"

#include <linux/capability.h>
#include <string.h>
#include <sys/param.h>

static int fs_new_device(const struct daemon_start *start, void **out)
{
        const struct device_options options = {
                .fs = &fs_command_line.fs,
                .start = start,
                .tag = fs_command_line.tag,
                .request_queues = fs_command_line.request_queues,
                .poll_us = fs_command_line.poll_us,
                .threads = MIN(MAX(fs_command_line.thread_pool_size, 1u), 64u),
        };
        struct fs_device *device = NULL;
        int r = device_new(&options, &device);

        *out = device;
        return r < 0 ? fail("can't share %s: %s", fs_command_line.fs.shared_dir, strerror(-r)) : STATUS_SUCCESS;
}

static const char *const features[] = {"posix-acl-negotiation-mode", "security-label-negotiation-mode",
                                       "separate-options", NULL};

int main(int argc, char **argv)
{
        const struct daemon_device device = {
                .name = "oriel-fs",
                .type = "fs",
                .features = features,
                .summary = "Share a directory with a virtual machine: a vhost-user back-end for virtio-fs, with DAX.",
                .rows = fs_rows,
                .n_rows = fs_n_rows,
                /* For files of other users, and their attributes. */
                .capabilities = DAEMON_CAPABILITY(CAP_CHOWN) | DAEMON_CAPABILITY(CAP_DAC_OVERRIDE) |
                                DAEMON_CAPABILITY(CAP_FOWNER) | DAEMON_CAPABILITY(CAP_FSETID) |
                                DAEMON_CAPABILITY(CAP_SETGID) | DAEMON_CAPABILITY(CAP_SETUID) |
                                DAEMON_CAPABILITY(CAP_MKNOD) | DAEMON_CAPABILITY(CAP_SETFCAP),
                .check_options = fs_check_options,
                .check_files = fs_check_files,
                .new_device = fs_new_device,
                .backend = device_backend,
                .free_device = device_free,
        };

        return daemon_main(&device, argc, argv);
}
