/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_CORE_OPERATIONS_H
#define DEVICES_FS_CORE_OPERATIONS_H

#include "devices/fs/core/request.h"

/* What a request consists of, and what may come of it. */
struct operation {
        const char *name;
        size_t in_min, in_max; /* the struct it starts with: a part that was not sent is zero */
        unsigned names;        /* how many follow */
        bool target;           /* the last of them is not a name but any string */
        bool free_name;        /* the first is no single name: of an attribute, or none at all */
        bool data;             /* more may follow */
        bool extended;         /* extensions may follow */
        size_t out_min;        /* room that its answer needs */
        bool changes;          /* refused if the share is read-only */
        bool silent;           /* has no answer */
        bool starts;           /* comes before INIT */
        bool quick;            /* is answered from the host's memory, where that has what it takes */
        /* Returns the size of the answer without its header, which is written to out, or a negative errno. */
        ssize_t (*handle)(struct request *request);
};

/* NULL: not one of ours. */
const struct operation *operation_find(uint32_t opcode);

/* 0, or what is wrong with the request in @data, which @request gets the parts of. */
int operation_parse(const struct operation *operation, struct cursor *data, struct request *request);

/* Of FUSE_INIT's flags, what the options want. */
uint64_t features_wanted(const struct fs *fs);

/* Let everything go that the guest holds, but for what it has mapped. */
void session_forget(struct fs *fs);

/* What the guest is told of what it has opened, by the cache policy. */
uint32_t open_reply_flags(const struct fs *fs, bool directory);

/* Give what has just been made in @directory_fd, or is open as @fd, the label that came with the request; 0 where none
 * did. */
int label_new(const struct request *request, int directory_fd, int fd);

/* What the host's kernel does by itself only where names of attributes are the same on both sides: who changes a file
 * takes its capabilities away. */
void drop_mapped_capability(const struct fs *fs, int fd);

ssize_t op_batch_forget(struct request *request);
ssize_t op_copy_file_range(struct request *request);
ssize_t op_copy_file_range_64(struct request *request);
ssize_t op_create(struct request *request);
ssize_t op_destroy(struct request *request);
ssize_t op_fallocate(struct request *request);
ssize_t op_flush(struct request *request);
ssize_t op_forget(struct request *request);
ssize_t op_fsync(struct request *request);
ssize_t op_fsyncdir(struct request *request);
ssize_t op_getattr(struct request *request);
ssize_t op_getlk(struct request *request);
ssize_t op_getxattr(struct request *request);
ssize_t op_init(struct request *request);
ssize_t op_interrupt(struct request *request);
ssize_t op_link(struct request *request);
ssize_t op_listxattr(struct request *request);
ssize_t op_lookup(struct request *request);
ssize_t op_lseek(struct request *request);
ssize_t op_mkdir(struct request *request);
ssize_t op_mknod(struct request *request);
ssize_t op_open(struct request *request);
ssize_t op_opendir(struct request *request);
ssize_t op_read(struct request *request);
ssize_t op_readdir(struct request *request);
ssize_t op_readdirplus(struct request *request);
ssize_t op_readlink(struct request *request);
ssize_t op_release(struct request *request);
ssize_t op_releasedir(struct request *request);
ssize_t op_removemapping(struct request *request);
ssize_t op_removexattr(struct request *request);
ssize_t op_rename(struct request *request);
ssize_t op_rename2(struct request *request);
ssize_t op_rmdir(struct request *request);
ssize_t op_setattr(struct request *request);
ssize_t op_setlk(struct request *request);
ssize_t op_setlkw(struct request *request);
ssize_t op_setupmapping(struct request *request);
ssize_t op_setxattr(struct request *request);
ssize_t op_statfs(struct request *request);
ssize_t op_statx(struct request *request);
ssize_t op_symlink(struct request *request);
ssize_t op_syncfs(struct request *request);
ssize_t op_tmpfile(struct request *request);
ssize_t op_unlink(struct request *request);
ssize_t op_write(struct request *request);

#endif
