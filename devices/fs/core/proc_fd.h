/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_CORE_PROC_FD_H
#define DEVICES_FS_CORE_PROC_FD_H

struct fs;

/* The name of @fd in /proc/self/fd, relative to proc_fd. */
struct fd_name {
        char text[12];
};
struct fd_name fd_name(int fd);

/* Opens the file of @fd, which may be O_PATH, again. Returns an fd or a negative errno. */
int fs_reopen(struct fs *fs, int fd, int flags);

#endif
