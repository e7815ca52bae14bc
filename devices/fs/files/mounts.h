/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_FILES_MOUNTS_H
#define DEVICES_FS_FILES_MOUNTS_H

#include <stdint.h>
#include <sys/queue.h>

struct fs;
struct statx;

/* A file system that files are opened on by handle. */
struct mount_point {
        LIST_ENTRY(mount_point) entry;
        uint64_t id; /* STATX_MNT_ID */
        int fd;      /* open for reading */
        unsigned inodes;
};

/* Those in use; few, so they are looked through. */
struct mounts {
        LIST_HEAD(mount_points, mount_point) points;
        struct mount_point *root; /* that of the shared directory stays, so that no file has to stand in for it */
};

/* The mount of the file that is open as @fd, for one inode more. NULL: nothing of it can be opened for reading. */
struct mount_point *mount_ref(struct fs *fs, int fd, const struct statx *stat);
/* For one inode less. NULL is accepted. */
void mount_unref(struct fs *fs, struct mount_point *mount);

#endif
