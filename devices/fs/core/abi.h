/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_CORE_ABI_H
#define DEVICES_FS_CORE_ABI_H

/* FUSE of Linux 7.2 (7.45), as far as the headers of Debian 12 don't have it. Names and layouts are those of
 * linux/fuse.h, which is used for everything that it has itself. */

#include <linux/fuse.h>

#ifndef FUSE_CREATE_SUPP_GROUP
#define FUSE_CREATE_SUPP_GROUP (1ULL << 34)
#define FUSE_EXT_GROUPS        32
struct fuse_supp_groups {
        uint32_t nr_groups;
        uint32_t groups[];
};
#endif

#ifndef FUSE_DIRECT_IO_ALLOW_MMAP
#define FUSE_DIRECT_IO_ALLOW_MMAP (1ULL << 36)
#endif
#ifndef FUSE_ALLOW_IDMAP
#define FUSE_ALLOW_IDMAP (1ULL << 40)
#endif

#if FUSE_KERNEL_MINOR_VERSION < 39
#define FUSE_STATX 52

struct fuse_sx_time {
        int64_t tv_sec;
        uint32_t tv_nsec;
        int32_t __reserved;
};

struct fuse_statx {
        uint32_t mask;
        uint32_t blksize;
        uint64_t attributes;
        uint32_t nlink;
        uint32_t uid;
        uint32_t gid;
        uint16_t mode;
        uint16_t __spare0[1];
        uint64_t ino;
        uint64_t size;
        uint64_t blocks;
        uint64_t attributes_mask;
        struct fuse_sx_time atime;
        struct fuse_sx_time btime;
        struct fuse_sx_time ctime;
        struct fuse_sx_time mtime;
        uint32_t rdev_major;
        uint32_t rdev_minor;
        uint32_t dev_major;
        uint32_t dev_minor;
        uint64_t __spare2[14];
};

struct fuse_statx_in {
        uint32_t getattr_flags;
        uint32_t reserved;
        uint64_t fh;
        uint32_t sx_flags;
        uint32_t sx_mask;
};

struct fuse_statx_out {
        uint64_t attr_valid;
        uint32_t attr_valid_nsec;
        uint32_t flags;
        uint64_t spare[2];
        struct fuse_statx stat;
};
#endif
_Static_assert(sizeof(struct fuse_statx) == 256, "as struct statx");
_Static_assert(sizeof(struct fuse_statx_out) == 288, "linux/fuse.h");

#if FUSE_KERNEL_MINOR_VERSION < 45
#define FUSE_COPY_FILE_RANGE_64 53

struct fuse_copy_file_range_out {
        uint64_t bytes_copied;
};
#endif

/* The version that these parts make up, whatever the header says of itself. */
#define FS_KERNEL_MINOR_VERSION 45

#endif
