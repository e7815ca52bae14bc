/* SPDX-License-Identifier: BSD-2-Clause */

/* The requests GETLK, SETLK, SETLKW and INTERRUPT. FUSE_LK_FLOCK in the request distinguishes flock(2) locks, which
 * belong to an open handle (lock_whole()), from POSIX locks, which belong to a lock owner of a file (lock_part());
 * each kind is refused with -ENOSYS unless it was negotiated. A SETLKW that must wait goes to the list of waiting.c,
 * which takes the references of struct lock_wanted; otherwise take_lock() drops them. Every release or downgrade of
 * a lock calls waiting_wake(). */

#include "devices/fs/locks/lock.h"
#include "devices/fs/core/operations.h"
#include "devices/fs/core/state.h"
#include "devices/fs/files/handle.h"

#include <sys/file.h>

/* The guest's kernel does not send locks unless they were negotiated. */
static bool is_offered(const struct request *request)
{
        return request->fs->features & (request->in.lk.lk_flags & FUSE_LK_FLOCK ? FUSE_FLOCK_LOCKS : FUSE_POSIX_LOCKS);
}

static bool is_lock_type(uint32_t type)
{
        return type == F_RDLCK || type == F_WRLCK || type == F_UNLCK;
}

/* The end is the last byte; the largest offset stands for the end of the file, wherever that is. */
static int lock_read_range(const struct fuse_file_lock *lock, struct flock *range)
{
        if (lock->start > INT64_MAX || lock->end > INT64_MAX || lock->end < lock->start || !is_lock_type(lock->type))
                return -EINVAL;
        *range = (struct flock){
                .l_type = (short)lock->type,
                .l_whence = SEEK_SET,
                .l_start = (off_t)lock->start,
                .l_len = lock->end == INT64_MAX ? 0 : (off_t)(lock->end - lock->start + 1),
        };
        return 0;
}

static ssize_t reply_lock(struct request *request, const struct flock *range)
{
        const struct fuse_lk_out out = {
                .lk =
                        {
                                .start = (uint64_t)range->l_start,
                                .end = range->l_len == 0 ? (uint64_t)INT64_MAX
                                                         : (uint64_t)(range->l_start + range->l_len - 1),
                                .type = (uint32_t)range->l_type,
                                .pid = (uint32_t)range->l_pid,
                        },
        };

        return request_reply(request, &out, sizeof(out));
}

ssize_t op_getlk(struct request *request)
{
        const struct fuse_lk_in *in = &request->in.lk;
        struct flock range;

        if (!is_offered(request))
                return -ENOSYS;

        int r = lock_read_range(&in->lk, &range);

        if (r == 0)
                r = lock_find(&request->node, in->owner, &range);
        return r < 0 ? r : reply_lock(request, &range);
}

/* Takes the references of @wanted. */
static ssize_t take_lock(struct request *request, struct lock_wanted *wanted, bool wait)
{
        struct fs *fs = request->fs;
        int r = lock_try(wanted);

        if (r == -EAGAIN && wait && fs->options.answered) {
                r = waiting_add(fs, wanted, request->header.unique, request->answer, request->token);
                request->waits = r == 0;
        }
        if (!request->waits) {
                lock_owner_put(wanted->owner);
                handle_put(wanted->handle);
        }
        return r;
}

static ssize_t lock_part(struct request *request, bool wait)
{
        const struct fuse_lk_in *in = &request->in.lk;
        bool unlock = in->lk.type == F_UNLCK;
        struct lock_wanted wanted = {.pid = in->lk.pid};
        _cleanup_(node_put) struct node node = {.opened = -1};

        int r = node_get(request->fs, request->header.nodeid, &node);

        if (r == 0)
                r = lock_read_range(&in->lk, &wanted.range);
        if (r == 0)
                r = lock_owner_get(&node, in->owner, !unlock, &wanted.owner);
        /* An unknown owner has no lock. */
        if (r < 0 || !wanted.owner)
                return r;
        if (!unlock)
                lock_owner_uses(wanted.owner, in->fh);
        r = (int)take_lock(request, &wanted, wait);
        if (r == 0 && unlock && in->lk.start == 0 && in->lk.end == INT64_MAX)
                lock_owner_drop(request->fs, node.inode, in->owner);
        /* It may have been a lock for writing before. */
        if (r == 0 && in->lk.type != F_WRLCK)
                waiting_wake(&request->fs->waiting);
        return r;
}

static ssize_t lock_whole(struct request *request, bool wait)
{
        const struct fuse_lk_in *in = &request->in.lk;
        struct lock_wanted wanted = {
                .handle = handle_get(request->fs, in->fh, HANDLE_FILE),
                .operation = in->lk.type == F_UNLCK   ? LOCK_UN
                             : in->lk.type == F_RDLCK ? LOCK_SH
                                                      : LOCK_EX,
        };

        if (!wanted.handle)
                return -EBADF;
        if (!is_lock_type(in->lk.type)) {
                handle_put(wanted.handle);
                return -EINVAL;
        }

        ssize_t r = take_lock(request, &wanted, wait);

        /* Other requests may wait for a lock that became weaker, too. */
        if (r == 0)
                waiting_wake(&request->fs->waiting);
        return r;
}

ssize_t op_setlk(struct request *request)
{
        const bool wait = request->header.opcode == FUSE_SETLKW;

        if (!is_offered(request))
                return -ENOSYS;
        return request->in.lk.lk_flags & FUSE_LK_FLOCK ? lock_whole(request, wait) : lock_part(request, wait);
}

/* The named request may wait for a lock; all others will be answered anyway. */
ssize_t op_interrupt(struct request *request)
{
        waiting_interrupt(request->fs, request->in.interrupt.unique);
        return 0;
}
