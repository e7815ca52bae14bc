/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_CORE_OPERATIONS_H
#define DEVICES_FS_CORE_OPERATIONS_H

#include "devices/fs/core/request.h"

/* Returns the size of the answer without its header, which it has written to request->out, or a negative errno. */
typedef ssize_t operation_handler(struct request *request);

/* How the node that a request names is found for its handler: see node_get() and its variants. */
enum operation_node {
        NODE_BY_HANDLER, /* the handler does it, if needed */
        NODE_KNOWN,
        NODE_LINKED,
        NODE_TO_READ,
};

/* The parts of a request, and its effects. */
struct operation {
        const char *name;
        size_t in_min, in_max;    /* of the struct at its start: missing bytes are zero */
        unsigned names;           /* how many names follow */
        bool target;              /* the last of them is not a name but any string */
        bool free_name;           /* the first name is any string: of an attribute, or ignored */
        bool data;                /* more bytes may follow */
        bool extended;            /* extensions may follow */
        size_t out_min;           /* room that its answer needs */
        bool changes;             /* refused if the share is read-only */
        bool silent;              /* has no answer */
        bool starts;              /* begins or ends a session; allowed before INIT */
        bool quick;               /* answered from the host's memory, if that has what it needs */
        enum operation_node node; /* how request->node is found */
        operation_handler *handle;
};

/* NULL: not supported. */
const struct operation *operation_find(uint32_t opcode);

/* Parses the request in @data into @request. 0 or a negative errno. */
int operation_parse(const struct operation *operation, struct cursor *data, struct request *request);

/* The flags of FUSE_INIT that the options want. */
uint64_t features_wanted(const struct fs *fs);

/* Releases everything that the guest holds, except its mappings. */
void session_forget(struct fs *fs);

/* The flags of an answer to an open, by the cache policy. */
uint32_t open_reply_flags(const struct fs *fs, bool directory);

/* Gives the new file, in @directory_fd or open as @fd, the label of the request. 0 also without one. */
int label_new(const struct request *request, int directory_fd, int fd);

/* Removes a changed file's capabilities. The host's kernel does so by itself only if names of attributes are the
 * same on both sides. */
void drop_mapped_capability(const struct fs *fs, int fd);

/* In devices/fs/ops/. */
operation_handler op_batch_forget, op_copy_file_range, op_copy_file_range_64, op_create, op_destroy, op_fallocate,
        op_flush, op_forget, op_fsync, op_getattr, op_getlk, op_getxattr, op_init, op_interrupt, op_link, op_listxattr,
        op_lookup, op_lseek, op_mkdir, op_mknod, op_open, op_opendir, op_read, op_readdir, op_readlink, op_release,
        op_releasedir, op_removemapping, op_removexattr, op_rename, op_rename2, op_setattr, op_setlk, op_setupmapping,
        op_setxattr, op_statfs, op_statx, op_symlink, op_syncfs, op_unlink, op_write;

#endif
