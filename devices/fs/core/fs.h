/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_CORE_FS_H
#define DEVICES_FS_CORE_FS_H

#include <oriel/log.h>
#include <oriel/range.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/* A directory, served by FUSE requests: the core of virtio-fs. It knows FUSE and files; where requests come from, and
 * how a file gets into the guest's window, is its user's.
 *
 * The guest checks permissions, as virtio-fs always does ("default_permissions"; whoever mounts this through /dev/fuse
 * passes that option), so whatever the guest asks is done with this process's rights. What it creates belongs to the
 * user and group it names where this process may give files away. */
struct fs;

/* One request has at most this many unmaps, and one map, whose answers it has not waited for. */
#define FS_WINDOW_BATCH 64

/* How the window is changed. Submitted requests take effect in the order of their submission. Called from the thread
 * that handles the request, from several at once; a lock is held while submitting, so submit may wait for answers to
 * what was submitted before, but for nothing else. Each returns 0 or a negative errno; a failed submit has had no
 * effect and gives no ticket. */
struct fs_window_ops {
        /* Place [@fd_offset, @fd_offset + @window.size) of @fd, which may end before that, at @window. @fd is the
         * caller's and is closed after the call. @window overlaps nothing that was mapped and not unmapped. */
        int (*submit_map)(void *userdata, struct oriel_range window, int fd, uint64_t fd_offset, bool writable,
                          uint64_t *ticket);
        /* @window is exactly that of one map that was submitted. */
        int (*submit_unmap)(void *userdata, struct oriel_range window, uint64_t *ticket);
        /* The answer to @ticket: -EREMOTEIO if the front-end refused. Called once for each ticket, by the thread that
         * has it. */
        int (*wait)(void *userdata, uint64_t ticket);
};

/* How long the guest may believe what it was told, and whether its page cache is used (no FOPEN_DIRECT_IO). */
enum fs_cache {
        FS_CACHE_AUTO,     /* a second */
        FS_CACHE_ALWAYS,   /* a day, contents too */
        FS_CACHE_NEVER,    /* not at all */
        FS_CACHE_METADATA, /* names and attributes a day, contents not at all */
};

/* Whether to use what the guest's kernel may not be able to. */
enum fs_when {
        FS_NEVER,
        FS_AUTO,   /* where it can */
        FS_ALWAYS, /* else it can't mount */
};

/* What stands for a file that the guest has looked up: a descriptor, or a file handle that makes one at need. */
enum fs_handles {
        FS_HANDLES_NEVER,
        FS_HANDLES_PREFER, /* once descriptors get few, where the file system and this process's capabilities allow it
                            */
        FS_HANDLES_MANDATORY, /* else the file can't be looked up */
};

struct id_map;
struct xattr_map;

/* Which request it is, to whom it brings: its queue, and itself. */
struct fs_token {
        void *queue, *request;
};

/* Zero is the default of every field but the first. What is pointed to is the caller's and outlives the fs, but for
 * shared_dir. */
struct fs_options {
        const char *shared_dir;
        bool readonly;
        enum fs_cache cache;
        bool writeback;        /* the guest may keep what was written for a while */
        bool allow_mmap;       /* shared mappings also where the guest's page cache is not used */
        bool allow_direct_io;  /* O_DIRECT is kept */
        bool preserve_noatime; /* O_NOATIME is kept also where it can't be had */
        bool no_readdirplus;
        bool no_submounts; /* the guest is not told where file systems are mounted in the share */
        bool killpriv_v2;  /* set-user-ID bits are cleared here, not by the guest */
        bool xattr;
        const struct xattr_map *xattr_map;      /* NULL: names are the same on both sides */
        enum fs_when posix_acl, security_label; /* need xattr */
        bool posix_lock, flock;                 /* the guest's locks are the host's, and other guests' */
        enum fs_handles file_handles;
        const struct id_map *uids, *gids; /* NULL: ids are the same on both sides */
        bool no_parked;                   /* a file is closed as soon as it is released */
        unsigned max_parked;              /* how many are not, 0: PARKED_MAX */
        unsigned max_open;                /* descriptors the guest may hold; 0: RLIMIT_NOFILE less a reserve */
        unsigned at_once;                 /* about how many requests are handled at a time: for that reserve */
        uint64_t window_size;             /* 0: no DAX */
        uint64_t dax_from;                /* files of at least this size are marked to be mapped (FUSE_ATTR_DAX) */
        const struct fs_window_ops *window_ops;
        void *window_userdata;
        bool insist; /* map files of a read-only share also where the front-end can't keep the guest from writing */
        /* May the request of @token wait for a lock? One that may has its answer later, and counts until then; one that
         * may not is answered with -ENOLCK. NULL: as many as want to. From fs_handle(), one at a time. */
        bool (*may_wait)(void *userdata, struct fs_token token);
        /* The request of @token, which waited, has its answer: @written bytes. From any thread, once for each. */
        void (*answered)(void *userdata, struct fs_token token, size_t written);
        /* The request of @token, which is begun now, is of a kind that may last: other answers should not wait for it.
         * From fs_handle(). */
        void (*lasts)(void *userdata, struct fs_token token);
        void *answered_userdata; /* of these three */
        struct oriel_log log;
};

/* Open the shared directory. Copies @options. Sets this process's umask to 0, because the guest has applied its own,
 * and its working directory to @proc_fd, which is that of /proc/self/fd and becomes the fs's, also on failure; -1:
 * opened here, where /proc is. -EINVAL: a window without ops, or of no whole number of pages. Else what opening the
 * directory says. */
int fs_new(const struct fs_options *options, int proc_fd, struct fs **out);

/* No request may be in progress. Tells nobody about mappings that are still there. NULL is accepted. */
void fs_free(struct fs *fs);

/* Handle one request: @in holds it, @out is where its answer goes; both may be guest memory, and @in may change
 * meanwhile. Returns how many bytes of @out were written, 0 for the requests that have no answer (FORGET), or a
 * negative errno where not even an error can be answered: @in has no whole header, or @out no room for one.
 * -EINPROGRESS: it waits for a lock that somebody else has; options.answered will be called with @token, and until then
 * @out, the array too, must stay as it is. That is so only where there is such a function.
 * Blocks for as long as the file system does. Any number of threads may call it at once; each gets a working directory
 * and umask of its own when it needs to. */
ssize_t fs_handle(struct fs *fs, const struct iovec *in, unsigned n_in, const struct iovec *out, unsigned n_out,
                  struct fs_token token);

/* What is done without a request. Each returns in how many milliseconds to do so again, or -1: when the eventfd beside
 * it, which is the fs's, is signalled. Each blocks for as long as the file systems do. Any thread; fs_expire() one at
 * a time. */

/* Try again to get the locks that requests wait for: they may be held by host programs, which tell nobody. */
int fs_retry_locks(struct fs *fs);
int fs_locks_fd(const struct fs *fs);

/* Bring what the guest has stored near the ends of files together with the files, where the front-end can't map the
 * files themselves. Host programs store without a word, too. */
int fs_sync(struct fs *fs);
int fs_sync_fd(const struct fs *fs);

/* Let go of what the guest does not have open and the host may want back: the space of files that were deleted, and
 * files that were kept open for the next who opens them. */
int fs_expire(struct fs *fs);
int fs_expire_fd(const struct fs *fs);

/* Requests that wait for locks wait no longer (-ENOLCK): those of @queue, all where it is NULL. */
void fs_give_up_locks(struct fs *fs, const void *queue);

/* Go on for a guest that was served by another process before: it will not say FUSE_INIT again. It still knows the
 * root, what it calls anything else by is unknown (ESTALE), so it looks names up anew. Its window is as the other has
 * left it. What it had agreed on with the other is taken to be all that the options want. Never waits. Nothing where
 * the guest has begun with us. */
void fs_resume(struct fs *fs);

/* Start over, as after a device reset: every file the guest held is let go, and the mappings, which are gone already,
 * are forgotten. A request that is in progress comes to no harm, but what it makes is part of the new session: the
 * caller lets them finish first. */
void fs_reset(struct fs *fs);

#endif
