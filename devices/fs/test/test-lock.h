/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_TEST_TEST_LOCK_H
#define DEVICES_FS_TEST_TEST_LOCK_H

/* Locks of a guest, and the retries for waiting requests, as device.c does them. */

#include "devices/fs/test/test-requests.h"

/* A guest, and a thread that retries waiting requests. */
struct lock_guest {
        struct client client;
        pthread_t keeper;
        int stop_fd;
        bool polls; /* retries periodically, not only when it is woken */
};

/* Begins with @options, whose functions for answers are set here; @polls: also retry periodically, for locks that
 * host programs release. */
void lock_guest_begin(struct lock_guest *guest, struct fs_options options, bool polls);
void lock_guest_end(struct lock_guest *guest);

/* A request that may wait. Its memory stays valid until it is answered. */
struct lock_request {
        struct {
                struct fuse_in_header header;
                struct fuse_lk_in in;
        } request;
        struct iovec in, out;
        struct fuse_out_header answer;
        atomic_bool done;
};

#define WHOLE 0, INT64_MAX

/* A lock of @owner, of kind @type (F_RDLCK ...), from @start to @end. */
struct fuse_lk_in lock_part(uint64_t owner, uint32_t type, uint64_t start, uint64_t end);
struct fuse_lk_in lock_flock(uint64_t fh, uint32_t type);

/* SETLKW: -EINPROGRESS, or the answer. @queue is that of the request's token. */
ssize_t lock_wait(struct lock_guest *guest, struct lock_request *request, void *queue, uint64_t unique, uint64_t nodeid,
                  struct fuse_lk_in in);
/* Waits some seconds for the answer of a request that waited. */
int lock_answer(struct lock_request *request);
/* SETLK: the answer. */
ssize_t lock_set(struct lock_guest *guest, uint64_t nodeid, struct fuse_lk_in in);
/* GETLK: sets @found to the conflicting lock. */
ssize_t lock_get(struct lock_guest *guest, uint64_t nodeid, struct fuse_lk_in in, struct fuse_file_lock *found);
void lock_interrupt(struct lock_guest *guest, uint64_t unique);

/* A host program. */
struct lock_host {
        pid_t pid;
        int fd;
};

/* Starts a program that takes a lock of the kind @command (F_SETLK or F_OFD_SETLK, or 0 for flock(2)) on @name. */
struct lock_host lock_host_begin(struct client *client, const char *name, int command, short type, off_t start,
                                 off_t size);
void lock_host_end(struct lock_host *host);
/* The result of a host program that tries to get a lock, and releases it: 0 or an errno. */
int lock_host_try(struct client *client, const char *name, int command, short type, off_t start, off_t size);

#endif
