/* SPDX-License-Identifier: BSD-2-Clause */

/* Inodes in use by requests.
 *
 * A guest caches names for as long as it may. Meanwhile a name may have got another file on the host, and the
 * guest's next request goes to the old one, which may have no name any more: what is written there is lost. If Linux
 * is answered ESTALE, it looks up the path again, and every part of it; so that is the answer to a request that
 * comes by a path, which is one for a file that the guest does not have open. */

#include "base/clock.h"
#include "base/fd.h"
#include "base/syscalls.h"
#include "devices/fs/core/proc_fd.h"
#include "devices/fs/core/state.h"
#include "devices/fs/files/attributes.h"
#include "devices/fs/files/inode.h"

#include <fcntl.h>
#include <sys/stat.h>

USES_SYSCALLS(SYSCALL(fstat));

int node_get(struct fs *fs, uint64_t nodeid, struct node *node)
{
        *node = (struct node){.fs = fs, .inode = inode_get(fs, nodeid), .fd = -1, .opened = -1};
        if (!node->inode)
                return -ESTALE;
        node->fd = node->inode->fd;
        if (node->fd < 0 && !node->inode->mount)
                return -ESTALE;
        if (node->fd < 0)
                node->fd = node->opened =
                        file_id_open(node->inode->mount->fd, node->inode->id.file, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        return node->fd < 0 ? node->fd : 0;
}

void node_put(struct node *node)
{
        fd_close(node->opened);
        inode_put(node->fs, node->inode);
}

static bool has_handles(const struct node *node)
{
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&node->fs->lock);

        return node->inode->handles > 0;
}

/* If that can't be known (a file system that does not count links, overlayfs for files in a lower layer alone), it
 * is not gone. */
static bool is_gone(const struct node *node)
{
        struct stat stat;

        return !node->inode->links_unknown && !has_handles(node) && fstat(node->fd, &stat) == 0 && stat.st_nlink == 0;
}

int node_get_linked(struct fs *fs, uint64_t nodeid, struct node *node)
{
        int r = node_get(fs, nodeid, node);

        return r == 0 && is_gone(node) ? -ESTALE : r;
}

/* With the lock. */
static struct retry *find_retry(struct fs *fs, uint32_t pid)
{
        for (size_t i = 0; i < ARRAY_SIZE(fs->retries); i++)
                if (fs->retries[i].pid == pid && fs->retries[i].told_ns > 0)
                        return &fs->retries[i];
        return &fs->retries[fs->next_retry++ % ARRAY_SIZE(fs->retries)];
}

/* With the lock: whether @pid has looked a path up again and found @inode by that. If not, it is answered ESTALE
 * now. */
static bool take_retry(struct fs *fs, uint32_t pid, const struct inode *inode)
{
        const bool of_link = S_ISLNK(inode->type);
        const int64_t now = coarse_now_ns();
        struct retry *retry = find_retry(fs, pid);
        bool anew = retry->pid == pid && retry->told_ns > 0 && now - retry->told_ns < RETRY_NS &&
                    inode->found_again_ns >= retry->told_ns;

        *retry = (struct retry){pid, of_link, anew ? 0 : now};
        fs->last_told_ns = now;
        return anew;
}

/* @pid has found what it looked up again, so it will be answered ESTALE for the next file that is gone. A link may
 * only be on the way to that file. */
static void end_retry(struct fs *fs, uint32_t pid, bool by_link)
{
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&fs->lock);

        if (fs->last_told_ns == 0)
                return;
        for (size_t i = 0; i < ARRAY_SIZE(fs->retries); i++)
                if (fs->retries[i].pid == pid && (fs->retries[i].of_link || !by_link))
                        fs->retries[i].told_ns = 0;
}

int node_get_to_read(struct fs *fs, const struct fuse_in_header *request, struct node *node)
{
        int r = node_get_linked(fs, request->nodeid, node);

        if (r == 0)
                end_retry(fs, request->pid, request->opcode == FUSE_READLINK);
        if (r != -ESTALE || !node->inode || node->fd < 0)
                return r;
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&fs->lock);
        r = take_retry(fs, request->pid, node->inode) ? 0 : -ESTALE;
        return r;
}

int node_name_result(const struct node *node, int r)
{
        return r == -ENOENT && is_gone(node) ? -ESTALE : r;
}

int node_open(const struct node *node, int flags)
{
        mode_t type = node->inode->type;

        if (S_ISLNK(type))
                return -ELOOP;
        return S_ISREG(type) || S_ISDIR(type) ? fs_reopen(node->fs, node->fd, flags) : -ENXIO;
}

int node_attributes(const struct node *node, struct fuse_attr_out *out)
{
        struct statx stat;
        int r = attributes_read(node->fs, node->fd, "", &stat);

        if (r < 0)
                return r;
        *out = (struct fuse_attr_out){
                .attr_valid = attributes_valid(node->fs, &stat),
                .attr = attributes_of(node->fs, &stat),
        };
        return 0;
}

int node_statx(const struct node *node, struct fuse_statx_out *out)
{
        struct statx stat;
        int r = attributes_read(node->fs, node->fd, "", &stat);

        if (r < 0)
                return r;
        *out = (struct fuse_statx_out){
                .attr_valid = attributes_valid(node->fs, &stat),
                .stat = attributes_all(node->fs, &stat),
        };
        return 0;
}
