/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_TEST_TEST_CLIENT_H
#define DEVICES_FS_TEST_TEST_CLIENT_H

/* The guest's side of the tests: a temporary directory with a fs on it, and FUSE requests made by hand. */

#include "base/test.h"
#include "devices/fs/core/fs.h"

#include <linux/fuse.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

/* A window that only records maps and unmaps. */
struct test_window {
        pthread_mutex_t lock;
        struct oriel_range live[256];
        uint64_t offsets[256];
        unsigned n_live;
        bool last_writable;
        unsigned maps, unmaps, waits; /* counts */
        unsigned outstanding, most_outstanding;
        unsigned violations;        /* an overlapping map, an unmap of no mapping, a ticket waited for twice */
        int fail_submit, fail_wait; /* errors for the next calls */
        uint64_t tickets;
};

struct client {
        struct fs *fs;
        char top[64]; /* the temporary directory: has "outside" and "share" */
        char share[80];
        int share_fd;
        uint64_t flags; /* of the INIT answer */
        uint32_t pid;   /* of the guest's process that sends requests */
        uint16_t map_alignment;
        size_t chunk; /* requests and answers are in spans of this size */
        struct test_window window;
};

struct test_body {
        const void *start;
        size_t start_size;
        const char *name, *second_name;
        const void *data;
        size_t data_size;
        uint16_t extension_units; /* as the header says: of the data, in 8 bytes */
};

/* Makes directory, file system and session; @options may be NULL, its shared_dir is ignored. Without window ops of
 * its own it uses client->window. */
void client_begin(struct client *client, const struct fs_options *options);
void client_end(struct client *client);
extern const struct fs_window_ops test_window_ops;

/* Sends one request. The payload of its answer goes to @out, at most @out_size. Returns its size or the answer's
 * error. */
ssize_t client_call(struct client *client, uint32_t opcode, uint64_t nodeid, const struct test_body *body, void *out,
                    size_t out_size);
ssize_t client_call_as(struct client *client, uint32_t uid, uint32_t gid, uint32_t opcode, uint64_t nodeid,
                       const struct test_body *body, void *out, size_t out_size);

/* Sends any bytes as a request. Returns the result of fs_handle(); all of @answer_size is copied back. */
ssize_t client_raw(struct client *client, const void *request, size_t size, void *answer, size_t answer_size);

/* All features that are off by default, as members of struct fs_options. */
#define EVERYTHING                                                                                         \
        .xattr = true, .posix_acl = FS_AUTO, .security_label = FS_AUTO, .posix_lock = true, .flock = true, \
        .killpriv_v2 = true, .allow_direct_io = true, .preserve_noatime = true, .allow_mmap = true, .writeback = true

#define BODY(...)    (&(const struct test_body){__VA_ARGS__})
#define START(value) .start = &(value), .start_size = sizeof(value)

/* Short forms. Each returns what client_call does. */
ssize_t client_init(struct client *client);
ssize_t client_init_as(struct client *client, uint64_t flags); /* FUSE_INIT_EXT and the kernel's other flags */
ssize_t client_lookup(struct client *client, uint64_t parent, const char *name, uint64_t *nodeid);
ssize_t client_forget(struct client *client, uint64_t nodeid, uint64_t lookups);
ssize_t client_open(struct client *client, uint32_t opcode, uint64_t nodeid, uint32_t flags, uint64_t *fh);
ssize_t client_release(struct client *client, uint32_t opcode, uint64_t fh);
ssize_t client_read(struct client *client, uint32_t opcode, uint64_t fh, uint64_t offset, void *to, uint32_t size);
ssize_t client_write(struct client *client, uint64_t fh, uint64_t offset, const void *from, uint32_t size,
                     uint32_t flags, uint32_t write_flags);
ssize_t client_setupmapping(struct client *client, uint64_t nodeid, uint64_t file_offset, uint64_t size,
                            uint64_t window_offset, uint64_t flags);
ssize_t client_removemapping(struct client *client, uint64_t window_offset, uint64_t size);

/* Makes a file on the host. */
void client_make_file(struct client *client, const char *name, const char *contents);
/* Starts a program in the share, which can't be opened for writing until it is killed. */
pid_t client_run_program(struct client *client, const char *name);
/* The number of this process's descriptors. */
int client_fds(void);

#endif
