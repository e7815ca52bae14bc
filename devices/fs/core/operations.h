/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_CORE_OPERATIONS_H
#define DEVICES_FS_CORE_OPERATIONS_H

#include "devices/fs/core/request.h"

/* Returns the size of the answer without its header, which is written to out, or a negative errno. */
typedef ssize_t operation_handler(struct request *request);

/* How the node that a request names is got for it: see node_get() and its like. */
enum operation_node {
        NODE_BY_HANDLER, /* if at all, and when */
        NODE_KNOWN,
        NODE_LINKED,
        NODE_TO_READ,
};

/* What a request consists of, and what may come of it. */
struct operation {
        const char *name;
        size_t in_min, in_max;    /* the struct it starts with: a part that was not sent is zero */
        unsigned names;           /* how many follow */
        bool target;              /* the last of them is not a name but any string */
        bool free_name;           /* the first is no single name: of an attribute, or none at all */
        bool data;                /* more may follow */
        bool extended;            /* extensions may follow */
        size_t out_min;           /* room that its answer needs */
        bool changes;             /* refused if the share is read-only */
        bool silent;              /* has no answer */
        bool starts;              /* comes before INIT */
        bool quick;               /* is answered from the host's memory, where that has what it takes */
        enum operation_node node; /* is in request->node */
        operation_handler *handle;
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

/* In devices/fs/ops/. */
operation_handler op_batch_forget, op_copy_file_range, op_copy_file_range_64, op_create, op_destroy, op_fallocate,
        op_flush, op_forget, op_fsync, op_getattr, op_getlk, op_getxattr, op_init, op_interrupt, op_link, op_listxattr,
        op_lookup, op_lseek, op_mkdir, op_mknod, op_open, op_opendir, op_read, op_readdir, op_readlink, op_release,
        op_releasedir, op_removemapping, op_removexattr, op_rename, op_rename2, op_setattr, op_setlk, op_setupmapping,
        op_setxattr, op_statfs, op_statx, op_symlink, op_syncfs, op_unlink, op_write;

#endif
