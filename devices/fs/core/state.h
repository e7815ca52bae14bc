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
        int proc_fd;           /* /proc/self/fd, through which an O_PATH fd is opened for I/O */
        bool gives_away;       /* may create files for other users */
        atomic_bool ready;     /* from INIT to DESTROY */
        atomic_bool to_resume; /* the guest has not sent INIT to this process, and will not */
        uint64_t features;     /* negotiated by FUSE_INIT; changes only while no other request is handled */
        struct dax_window window;

        /* A session begins and ends while nothing else is handled: those requests lock it for writing, all others
         * for reading. */
        pthread_rwlock_t session;

        pthread_mutex_t lock; /* of what follows; never held over a system call that can block */
        struct ids inodes;
        int known;          /* a balance of recent lookups: positive if most files were known already */
        void *inodes_by_id; /* tsearch */
        struct ids handles;
        unsigned by_handle; /* inodes without a descriptor */
        unsigned held_fds;  /* descriptors of inodes, of owners of locks, and parked ones */
        struct parked parked;
        struct mounts mounts;
        struct waiting_locks waiting;
        struct expiring expiring;
        struct room room;
        struct retry retries[16]; /* of the last processes that were told ESTALE */
        unsigned next_retry;
        int64_t last_told_ns; /* when any of them was; 0: never */
};

/* A system call's result as a result of ours. */
static inline int sys_result(int result)
{
        return result < 0 ? -errno : result;
}

/* With the lock: the number of descriptors that the guest holds. */
static inline uint64_t fs_held(const struct fs *fs)
{
        return (uint64_t)fs->held_fds + fs->handles.n_used + atomic_load(&fs->window.shadows.n);
}

/* With the lock: whether it may hold one more. */
static inline bool fs_has_room(const struct fs *fs)
{
        return fs_held(fs) < fs->options.max_open;
}

/* With the lock: whether descriptors are few, so that newly looked up files should be known by their handles. */
static inline bool fs_saves_descriptors(const struct fs *fs)
{
        return fs->options.file_handles == FS_HANDLES_MANDATORY ||
               (fs->options.file_handles == FS_HANDLES_PREFER && fs_held(fs) >= fs->options.max_open / 2);
}

#endif
