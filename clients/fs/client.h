/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CLIENTS_FS_CLIENT_H
#define CLIENTS_FS_CLIENT_H

#include <linux/fuse.h>
#include <oriel/driver.h>
#include <stdbool.h>

/* FUSE requests to a virtio-fs device through its first request queue, one after the other. */
struct fuse_client {
        struct oriel_driver *driver;
        uint8_t *in;
        uint8_t *out;
        uint64_t unique;
};

#define FUSE_CLIENT_QUEUE 1

/* Whether @error, of an answer's header, is 0 or a negative errno of a kernel's: there are none beyond 4095. */
static inline bool fuse_error_valid(int32_t error)
{
        return error <= 0 && error >= -4095;
}

/* Starts a session on @driver, which stays the caller's: FUSE_INIT. */
int fuse_client_init(struct fuse_client *client, struct oriel_driver *driver);

/* Sends one request of @args and then @data. The answer is cut to @out_size. Returns its size, or a negative errno: the
 * device's answer, or the driver's error. -EPROTO: its header is wrong. */
int fuse_call(struct fuse_client *client, uint32_t opcode, uint64_t nodeid, const void *args, size_t args_size,
              const void *data, size_t data_size, void *out, size_t out_size);

/* -ENOENT also for an answer that says so by node 0. */
int fuse_lookup(struct fuse_client *client, uint64_t parent, const char *name, struct fuse_entry_out *entry);
/* LOOKUP of each component of @path below the root. */
int fuse_walk(struct fuse_client *client, const char *path, struct fuse_entry_out *entry);
int fuse_open(struct fuse_client *client, uint64_t nodeid, uint32_t flags, uint64_t *fh);
int fuse_forget(struct fuse_client *client, uint64_t nodeid);
/* Forgets each of @nodeids once; a node that is listed twice, twice. */
int fuse_batch_forget(struct fuse_client *client, const uint64_t *nodeids, size_t n);
int fuse_setup_mapping(struct fuse_client *client, uint64_t nodeid, uint64_t fh, uint64_t file_offset, uint64_t size,
                       uint64_t window_offset, bool writable);
int fuse_remove_mapping(struct fuse_client *client, uint64_t window_offset, uint64_t size);

#endif
