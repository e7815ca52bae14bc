/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_CORE_REQUEST_H
#define DEVICES_FS_CORE_REQUEST_H

#include "devices/fs/core/abi.h"
#include "devices/fs/core/credentials.h"
#include "devices/fs/core/cursor.h"
#include "devices/fs/core/extensions.h"
#include "devices/fs/core/fs.h"
#include "devices/fs/files/inode.h"

#include <limits.h>
#include <stdbool.h>

/* A request that its row of the table allows, copied out of the guest's memory except for its data. */
struct request {
        struct fs *fs;
        struct fuse_in_header header;
        union {
                struct fuse_batch_forget_in batch_forget;
                struct fuse_copy_file_range_in copy_file_range;
                struct fuse_create_in create;
                struct fuse_fallocate_in fallocate;
                struct fuse_flush_in flush;
                struct fuse_forget_in forget;
                struct fuse_fsync_in fsync;
                struct fuse_getxattr_in getxattr;
                struct fuse_init_in init;
                struct fuse_interrupt_in interrupt;
                struct fuse_link_in link;
                struct fuse_lk_in lk;
                struct fuse_lseek_in lseek;
                struct fuse_mkdir_in mkdir;
                struct fuse_mknod_in mknod;
                struct fuse_open_in open;
                struct fuse_read_in read;
                struct fuse_release_in release;
                struct fuse_removemapping_in removemapping;
                struct fuse_rename_in rename;
                struct fuse_rename2_in rename2;
                struct fuse_setattr_in setattr;
                struct fuse_setupmapping_in setupmapping;
                struct fuse_setxattr_in setxattr;
                struct fuse_write_in write;
        } in;
        char name[NAME_MAX + 1];    /* one name in a directory: no '/', not "", "." or ".." */
        char second_name[PATH_MAX]; /* another, or a symbolic link's target */
        struct cursor data;         /* the rest of the request */
        struct cursor out;          /* for the answer, behind its header */
        struct cursor answer;       /* the same with the header */
        struct extensions extensions;
        struct fs_token token;
        struct node node; /* the node that it names, if its row says so */
        bool waits;       /* its answer comes later, from another thread */
};

/* Answers with @size bytes at @from. */
ssize_t request_reply(struct request *request, const void *from, size_t size);

/* Writes the header of an answer at @to: @result is the size of the payload, or a negative errno. Returns the size
 * of the whole answer. */
size_t answer_write(struct cursor *to, uint64_t unique, ssize_t result);

/* Until credentials_restore(), creates files for the request's user, if this process may, with the request's umask,
 * if it was negotiated that it is applied here. */
int act_as_caller(const struct request *request, uint32_t umask, struct credentials *saved);

#endif
