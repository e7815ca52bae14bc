/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_CORE_STATE_H
#define DEVICES_FS_CORE_STATE_H

#include "base/lock.h"
#include "devices/fs/core/file_id.h"
#include "devices/fs/core/fs.h"
#include "devices/fs/core/ids.h"
#include "devices/fs/files/expire.h"
#include "devices/fs/files/inode.h"
#include "devices/fs/files/mounts.h"
#include "devices/fs/files/parked.h"
#include "devices/fs/files/room.h"
#include "devices/fs/locks/waiting.h"
#include "devices/fs/window/window.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

struct fs {
        struct fs_options options;
        int proc_fd;           /* /proc/self/fd, by which an O_PATH fd is opened for I/O */
        bool gives_away;       /* may create files for other users */
        atomic_bool ready;     /* from INIT to DESTROY */
        atomic_bool to_resume; /* the guest has not said INIT to us, and will not */
        uint64_t features;     /* of FUSE_INIT, as agreed on; changes only while nothing else is handled */
        struct dax_window window;

        /* A session begins and ends while nothing else is handled: for writing by those requests, for reading by all
         * others. */
        pthread_rwlock_t session;

        pthread_mutex_t lock; /* what follows; never held over a system call that can block */
        struct ids inodes;
        int known; /* how often, lately, what was looked up was known already: more often than not, if not negative */
        void *inodes_by_id; /* tsearch */
        struct ids handles;
        unsigned by_handle; /* inodes without a descriptor */
        unsigned held_fds;  /* descriptors of inodes, of owners of locks, and parked ones */
        struct parked parked;
        struct mounts mounts;
        struct waiting_locks waiting;
        struct expiring expiring;
        struct room room;
        struct retry retries[16]; /* of the last processes */
        unsigned next_retry;
        int64_t last_told_ns; /* of all of them; 0: never */
};

/* A system call's result as ours. */
static inline int sys_result(int result)
{
        return result < 0 ? -errno : result;
}

/* With the lock: how many descriptors the guest holds. */
static inline uint64_t fs_held(const struct fs *fs)
{
        return (uint64_t)fs->held_fds + fs->handles.n_used + atomic_load(&fs->window.shadows.n);
}

/* With the lock: may it hold one more? */
static inline bool fs_has_room(const struct fs *fs)
{
        return fs_held(fs) < fs->options.max_open;
}

/* With the lock: are descriptors getting few, so that what is looked up is to be known by its handle? */
static inline bool fs_saves_descriptors(const struct fs *fs)
{
        return fs->options.file_handles == FS_HANDLES_MANDATORY ||
               (fs->options.file_handles == FS_HANDLES_PREFER && fs_held(fs) >= fs->options.max_open / 2);
}

#endif
