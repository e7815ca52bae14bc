/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_CORE_FS_H
#define DEVICES_FS_CORE_FS_H

#include <oriel/log.h>
#include <oriel/range.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/* A directory, served by FUSE requests: the core of virtio-fs. It knows FUSE and files; its user knows where requests
 * come from, and how a file gets into the guest's window.
 *
 * The guest checks permissions, as virtio-fs always does ("default_permissions"; a program that mounts this through
 * /dev/fuse passes that option), so this process's rights are used for whatever the guest asks. New files belong to
 * the user and group that the guest names, if this process may give files away. */
struct fs;

/* One request has at most this many unmaps, and one map, whose answers it has not waited for. */
#define FS_WINDOW_BATCH 64

/* Functions that change the window. Submitted requests take effect in the order of their submission. They are called
 * on threads that handle requests, several at once; a lock is held while submitting, so submit may wait for answers
 * to earlier submissions, but for nothing else. Each returns 0 or a negative errno; a failed submit has had no
 * effect and sets no ticket. */
struct fs_window_ops {
        /* Maps [@fd_offset, @fd_offset + @window.size) of @fd, which may end before that, at @window. @fd is the
         * caller's and is closed after the call. @window overlaps nothing that is mapped. */
        int (*submit_map)(void *userdata, struct oriel_range window, int fd, uint64_t fd_offset, bool writable,
                          uint64_t *ticket);
        /* @window is exactly that of one submitted map. */
        int (*submit_unmap)(void *userdata, struct oriel_range window, uint64_t *ticket);
        /* Waits for the answer to @ticket: -EREMOTEIO if the front-end refused. Called once for each ticket, by the
         * thread that has it. */
        int (*wait)(void *userdata, uint64_t ticket);
};

/* How long the guest may cache what it was told, and whether its page cache is used (no FOPEN_DIRECT_IO). */
enum fs_cache {
        FS_CACHE_AUTO,     /* a second */
        FS_CACHE_ALWAYS,   /* a day, contents too */
        FS_CACHE_NEVER,    /* not at all */
        FS_CACHE_METADATA, /* names and attributes a day, contents not at all */
};

/* Whether to use features that the guest's kernel may lack. */
enum fs_when {
        FS_NEVER,
        FS_AUTO,   /* if the kernel has it */
        FS_ALWAYS, /* otherwise the guest can't mount */
};

/* The representation of a file that the guest has looked up: a descriptor, or a file handle that is opened when
 * needed. */
enum fs_handles {
        FS_HANDLES_NEVER,
        FS_HANDLES_PREFER, /* when descriptors get few, if the file system and this process's capabilities allow it */
        FS_HANDLES_MANDATORY, /* otherwise the file can't be looked up */
};

struct id_map;
struct xattr_map;

/* Identifies a request for the fs's user: its queue, and the request itself. */
struct fs_token {
        void *queue, *request;
};

/* Zero is the default of every field but the first. Pointers are the caller's and outlive the fs, except for
 * shared_dir. */
struct fs_options {
        const char *shared_dir;
        bool readonly;
        enum fs_cache cache;
        bool writeback;        /* the guest may delay writes */
        bool allow_mmap;       /* shared mappings even if the guest's page cache is not used */
        bool allow_direct_io;  /* O_DIRECT is passed on */
        bool preserve_noatime; /* O_NOATIME is passed on even if that fails */
        bool no_readdirplus;
        bool no_submounts; /* the guest is not told where file systems are mounted in the share */
        bool killpriv_v2;  /* set-user-ID bits are cleared here, not by the guest */
        bool xattr;
        const struct xattr_map *xattr_map;      /* NULL: names are the same on both sides */
        enum fs_when posix_acl, security_label; /* need xattr */
        bool posix_lock, flock;                 /* the guest's locks are shared with the host and other guests */
        enum fs_handles file_handles;
        const struct id_map *uids, *gids; /* NULL: ids are the same on both sides */
        bool no_parked;                   /* files are closed as soon as they are released */
        unsigned max_parked;              /* the most files that are not; 0: PARKED_MAX */
        unsigned max_open;                /* descriptors the guest may hold; 0: RLIMIT_NOFILE less a reserve */
        unsigned at_once;                 /* about how many requests are handled at once: for that reserve */
        uint64_t window_size;             /* 0: no DAX */
        uint64_t dax_from;                /* files of at least this size are marked to be mapped (FUSE_ATTR_DAX) */
        const struct fs_window_ops *window_ops;
        void *window_userdata;
        bool insist; /* map files of a read-only share even if the front-end lets the guest write to them */
        /* Whether the request of @token may wait for a lock. If it may, it is answered later, and counts until then;
         * otherwise it is answered with -ENOLCK. NULL: all may. Called from fs_handle(), one at a time. */
        bool (*may_wait)(void *userdata, struct fs_token token);
        /* The request of @token, which waited, has its answer of @written bytes. Called from any thread, once for
         * each. */
        void (*answered)(void *userdata, struct fs_token token, size_t written);
        /* The request of @token, which begins now, is of a kind that may take long: other answers should not wait
         * for it. Called from fs_handle(). */
        void (*lasts)(void *userdata, struct fs_token token);
        void *answered_userdata; /* of the three above */
        struct oriel_log log;
};

/* Opens the shared directory. Copies @options. Sets this process's umask to 0, because the guest has applied its
 * own, and its working directory to @proc_fd, which is that of /proc/self/fd and becomes the fs's, even on failure;
 * -1: it is opened here, if there is a /proc. -EINVAL: a window without ops, or not of whole pages. Otherwise the
 * error of opening the directory. */
int fs_new(const struct fs_options *options, int proc_fd, struct fs **out);

/* No request may be in progress. Tells nobody of mappings that still exist. NULL is accepted. */
void fs_free(struct fs *fs);

/* Handles one request: @in holds it, @out is for its answer; both may be guest memory, and @in may change meanwhile.
 * Returns how many bytes of @out were written, 0 for requests without an answer (FORGET), or a negative errno if not
 * even an error can be answered: @in has no whole header, or @out no room for one. -EINPROGRESS: it waits for a lock
 * that another owner has; options.answered will be called with @token, and until then @out, the array too, must not
 * change. This happens only if there is such a function.
 * Blocks for as long as the file system does. Any number of threads may call it at once; each gets a working
 * directory and umask of its own when it needs to. */
ssize_t fs_handle(struct fs *fs, const struct iovec *in, unsigned n_in, const struct iovec *out, unsigned n_out,
                  struct fs_token token);

/* Work without a request. Each function returns after how many milliseconds to call it again, or -1: when the
 * eventfd of the function below it, which is the fs's, is signalled. Each blocks for as long as the file systems do.
 * Any thread; fs_expire() one at a time. */

/* Tries again to get the locks that requests wait for: host programs may hold them, and don't tell when they are
 * free. */
int fs_retry_locks(struct fs *fs);
int fs_locks_fd(const struct fs *fs);

/* Merges the guest's stores near the ends of files with the files, if the front-end can't map the files themselves.
 * Host programs store without telling, too. */
int fs_sync(struct fs *fs);
int fs_sync_fd(const struct fs *fs);

/* Closes files that the guest does not have open and the host may want back: deleted files, for their space, and
 * files that are kept open for the next open. */
int fs_expire(struct fs *fs);
int fs_expire_fd(const struct fs *fs);

/* Answers requests that wait for locks with -ENOLCK: those of @queue, all if it is NULL. */
void fs_give_up_locks(struct fs *fs, const void *queue);

/* Goes on for a guest that another process has served before: it will not send FUSE_INIT again. It still knows the
 * root; its other node ids are unknown (ESTALE), so it looks names up again. Its window is as the other process has
 * left it. The negotiated features are taken to be all that the options want. Never waits. Has no effect if the
 * guest has sent FUSE_INIT to this process. */
void fs_resume(struct fs *fs);

/* Starts over, as after a device reset: closes every file that the guest held, and forgets the mappings, which are
 * gone already. A request in progress is safe, but what it makes is part of the new session: the caller lets
 * requests finish first. */
void fs_reset(struct fs *fs);

#endif
