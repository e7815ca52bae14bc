/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_FILES_MOUNTS_H
#define DEVICES_FS_FILES_MOUNTS_H

#include <stdint.h>
#include <sys/queue.h>

struct fs;
struct statx;

/* A file system on which files are opened by handle. */
struct mount_point {
        LIST_ENTRY(mount_point) entry;
        uint64_t id; /* STATX_MNT_ID */
        int fd;      /* open for reading */
        unsigned inodes;
};

/* The mounts in use: few, so a list. */
struct mounts {
        LIST_HEAD(mount_points, mount_point) points;
        struct mount_point *root; /* that of the shared directory stays, without an inode on it */
};

/* Returns the mount of the file that is open as @fd, for one more inode. NULL: none of its files can be opened for
 * reading. */
struct mount_point *mount_ref(struct fs *fs, int fd, const struct statx *stat);
/* Drops one inode's use. NULL is accepted. */
void mount_unref(struct fs *fs, struct mount_point *mount);

#endif
