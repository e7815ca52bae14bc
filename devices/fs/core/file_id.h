/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_CORE_FILE_ID_H
#define DEVICES_FS_CORE_FILE_ID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Identifies a file among those that exist at one time. An open fd, or a mapping, keeps all three from being used
 * again. */
struct inode_key {
        uint64_t device;
        uint64_t number;
        uint64_t mount;
};

int inode_key_compare(const struct inode_key *a, const struct inode_key *b);

/* A file's handle, name_to_handle_at(2): identifies the file, its generation included, and opens it without a name.
 * The struct ends after @size bytes. */
struct file_id {
        uint32_t size;
        int32_t type;
        uint8_t bytes[128]; /* MAX_HANDLE_SZ */
};

static inline size_t file_id_size(const struct file_id *handle)
{
        return offsetof(struct file_id, bytes) + handle->size;
}

/* -EOPNOTSUPP: the file system has no handles. */
int file_id_of(int fd, struct file_id *out);
int file_id_compare(const struct file_id *a, const struct file_id *b);
/* Opens the file in the file system of @mount_fd. -ESTALE: the file is gone. */
int file_id_open(int mount_fd, const struct file_id *handle, int flags);

#endif
