/* SPDX-License-Identifier: BSD-2-Clause */

/* The files that the guest has looked up: the table of inodes, by number and by file. An inode has a descriptor of
 * its file (O_PATH), or a file handle that opens one. The guest counts its lookups and forgets them; requests that
 * use an inode have a reference of their own. lookup.c turns names into inodes, and node.c gives them to requests. */

#include "devices/fs/files/inode.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "devices/fs/core/proc_fd.h"
#include "devices/fs/core/state.h"
#include "devices/fs/files/attributes.h"
#include "devices/fs/files/held.h"
#include "devices/fs/files/mounts.h"

#include <fcntl.h>
#include <search.h>
#include <string.h>
#include <sys/param.h>

/* A guest may make as many files as the disk has room for; an inode stays until the guest forgets it. */
static const uint32_t max_inodes = 1u << 24;

struct inode_key inode_key_of(const struct statx *stat)
{
        return (struct inode_key){
                .device = (uint64_t)stat->stx_dev_major << 32 | stat->stx_dev_minor,
                .number = stat->stx_ino,
                .mount = stat->stx_mnt_id,
        };
}

static int inode_compare_ids(const void *a, const void *b)
{
        const struct inode_id *x = a, *y = b;
        int order = inode_key_compare(&x->key, &y->key);

        if (order != 0 || x->file == y->file)
                return order;
        if (!x->file || !y->file)
                return x->file ? 1 : -1;
        return file_id_compare(x->file, y->file);
}

void inode_put(struct fs *fs, struct inode *inode)
{
        if (!inode || atomic_fetch_sub(&inode->refs, 1) > 1)
                return;
        fd_close(parked_take(fs, inode));
        fd_close(inode->fd);
        pthread_mutex_lock(&fs->lock);
        fs->held_fds -= inode->fd >= 0;
        fs->by_handle -= inode->mount != NULL;
        pthread_mutex_unlock(&fs->lock);
        mount_unref(fs, inode->mount);
        lock_owners_free(inode->owners);
        free(inode->id.file);
        free(inode);
}

struct inode *inode_get(struct fs *fs, uint64_t nodeid)
{
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&fs->lock);

        struct inode *inode = ids_find(&fs->inodes, nodeid);

        if (inode)
                atomic_fetch_add(&inode->refs, 1);
        return inode;
}

/* With the lock: whether a file that is looked up could be known by its handle, or should be. */
static bool needs_file_id(const struct fs *fs)
{
        return fs->options.file_handles != FS_HANDLES_NEVER && (fs->by_handle > 0 || fs_saves_descriptors(fs));
}

static struct file_id *copy_file_id(const struct file_id *file)
{
        const size_t size = file_id_size(file);
        struct file_id *copy = malloc(size);

        return copy ? memcpy(copy, file, size) : NULL;
}

/* With the lock. */
static void note_lookup(struct fs *fs, struct inode *inode)
{
        inode->lookups++;
        if (fs->last_told_ns == 0)
                return;

        int64_t now = coarse_now_ns();

        if (now - fs->last_told_ns < RETRY_NS)
                inode->found_again_ns = now;
}

/* With the lock: adds a new inode to the table. It takes the descriptor or the mount of @found. */
static int inode_insert(struct fs *fs, struct inode_found *found, struct inode **out)
{
        bool by_handle = found->mount && fs_saves_descriptors(fs);

        if ((!by_handle && !fs_has_room(fs)) || fs->inodes.n_used >= max_inodes)
                return -ENFILE;

        _cleanup_(freep) struct file_id *file = by_handle ? copy_file_id(&found->file) : NULL;
        _cleanup_(freep) struct inode *inode = malloc(sizeof(*inode));

        if (!inode || (by_handle && !file))
                return -ENOMEM;
        *inode = (struct inode){
                .id = {inode_key_of(found->stat), file},
                .refs = 1,
                .fd = -1,
                .type = found->stat->stx_mode & S_IFMT,
                .not_entered = found->submount,
        };

        int r = ids_add(&fs->inodes, inode, &inode->nodeid);

        if (r < 0)
                return r;
        if (!tsearch(inode, &fs->inodes_by_id, inode_compare_ids)) {
                ids_remove(&fs->inodes, inode->nodeid);
                return -ENOMEM;
        }
        if (by_handle) {
                inode->mount = steal(found->mount);
                file = NULL;
                fs->by_handle++;
        } else {
                inode->fd = fd_take(&found->fd);
                fs->held_fds++;
        }
        *out = steal(inode);
        return 0;
}

/* With the lock: removes the inode from the table, whose reference becomes the caller's. */
static struct inode *inode_detach(struct fs *fs, struct inode *inode)
{
        /* An inode that was given up is not in the tree, where another file may have its place by now. */
        if (inode->fd >= 0 || inode->mount)
                tdelete(inode, &fs->inodes_by_id, inode_compare_ids);
        ids_remove(&fs->inodes, inode->nodeid);
        return inode;
}

int inode_give_up(struct fs *fs, struct inode *inode)
{
        tdelete(inode, &fs->inodes_by_id, inode_compare_ids);
        fs->held_fds--;
        return fd_take(&inode->fd);
}

int inode_know_by_handle(struct fs *fs, struct inode *inode, const struct file_id *file, struct mount_point **mount)
{
        struct file_id *copy = copy_file_id(file);

        if (!copy)
                return -ENOMEM;

        int fd = inode_give_up(fs, inode);

        inode->id.file = copy;
        /* Memory of that size has just been freed; if another thread has taken it, the inode stays given up. */
        if (tsearch(inode, &fs->inodes_by_id, inode_compare_ids)) {
                inode->mount = steal(*mount);
                fs->by_handle++;
        }
        return fd;
}

static struct inode *find_inode(struct fs *fs, const struct inode_id *id)
{
        struct inode **node = tfind(id, &fs->inodes_by_id, inode_compare_ids);

        return node ? *node : NULL;
}

/* With the lock. */
static void note_known(struct fs *fs, bool known)
{
        const int most = 8;

        fs->known = known ? MIN(fs->known + 1, most) : MAX(fs->known - 1, -most);
}

bool inode_count_known(struct fs *fs, const struct inode_id *id, uint64_t *nodeid)
{
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&fs->lock);

        struct inode *inode = find_inode(fs, id);

        note_known(fs, inode);
        if (inode) {
                note_lookup(fs, inode);
                *nodeid = inode->nodeid;
        }
        return inode;
}

/* Counts a lookup of a file, and makes its inode if it has none. An inode with a descriptor is found by its key
 * alone. -EAGAIN: the file's handle is needed. */
static int count_lookup(struct fs *fs, struct inode_found *found, uint64_t *nodeid)
{
        struct inode_id id = {.key = inode_key_of(found->stat)};
        int r = 0;

        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&fs->lock);

        struct inode *inode = find_inode(fs, &id);

        if (!inode && found->mount) {
                id.file = &found->file;
                inode = find_inode(fs, &id);
        }
        note_known(fs, inode);
        if (!inode && !found->asked && needs_file_id(fs))
                r = -EAGAIN;
        else if (!inode)
                r = inode_insert(fs, found, &inode);
        if (r == 0) {
                note_lookup(fs, inode);
                *nodeid = inode->nodeid;
        }
        return r;
}

static int find_file_id(struct fs *fs, struct inode_found *found)
{
        int r = file_id_of(found->fd, &found->file);

        found->asked = true;
        if (r == 0)
                found->mount = mount_ref(fs, found->fd, found->stat);
        if (found->mount || fs->options.file_handles != FS_HANDLES_MANDATORY)
                return 0;
        return r < 0 ? r : -EOPNOTSUPP;
}

int inode_count_found(struct fs *fs, struct inode_found *found, uint64_t *nodeid)
{
        int r = count_lookup(fs, found, nodeid);

        if (r != -EAGAIN)
                return r;
        r = find_file_id(fs, found);
        return r < 0 ? r : count_lookup(fs, found, nodeid);
}

void inode_forget(struct fs *fs, uint64_t nodeid, uint64_t lookups)
{
        struct inode *gone = NULL;

        pthread_mutex_lock(&fs->lock);

        struct inode *inode = ids_find(&fs->inodes, nodeid);

        if (inode && nodeid != FUSE_ROOT_ID) {
                inode->lookups -= lookups < inode->lookups ? lookups : inode->lookups;
                if (inode->lookups == 0)
                        gone = inode_detach(fs, inode);
        }
        pthread_mutex_unlock(&fs->lock);
        inode_put(fs, gone);
}

/* Whether files can be opened by handle, which takes CAP_DAC_READ_SEARCH: 0 or a negative errno. */
static int try_handles(struct fs *fs, int root_fd)
{
        struct file_id file;
        int r = file_id_of(root_fd, &file);

        if (r < 0)
                return r;

        _cleanup_(fd_closep) int mount_fd = fs_reopen(fs, root_fd, O_RDONLY);
        _cleanup_(fd_closep) int fd = mount_fd < 0 ? mount_fd : file_id_open(mount_fd, &file, O_PATH | O_CLOEXEC);

        return fd < 0 ? fd : 0;
}

int inodes_init(struct fs *fs)
{
        struct statx stat;
        struct inode_found found = {.fd = open(fs->options.shared_dir, O_PATH | O_DIRECTORY | O_CLOEXEC),
                                    .stat = &stat};
        struct inode *root;

        if (found.fd < 0)
                return -errno;

        int r = attributes_read(fs, found.fd, "", &stat);

        if (r == 0 && fs->options.file_handles != FS_HANDLES_NEVER) {
                r = try_handles(fs, found.fd);
                if (r < 0 && fs->options.file_handles == FS_HANDLES_MANDATORY)
                        log_error(&fs->options.log,
                                  "files can't be opened by handle, which takes CAP_DAC_READ_SEARCH and "
                                  "a file system that has handles");
                if (r < 0 && fs->options.file_handles == FS_HANDLES_PREFER) {
                        /* File systems below the root may have handles even if the root's has none. */
                        fs->options.file_handles = r == -EOPNOTSUPP ? FS_HANDLES_PREFER : FS_HANDLES_NEVER;
                        r = 0;
                }
        }
        ids_init(&fs->inodes, true);
        if (r == 0 && fs->options.file_handles != FS_HANDLES_NEVER)
                fs->mounts.root = mount_ref(fs, found.fd, &stat);
        /* The first id is FUSE_ROOT_ID. */
        if (r == 0)
                r = inode_insert(fs, &found, &root);
        if (r == 0)
                root->links_unknown = stat.stx_nlink == 0;
        fd_close(found.fd);
        return r;
}

void inodes_reset(struct fs *fs)
{
        uint32_t slot = FUSE_ROOT_ID + 1;
        struct inode *inode;

        do {
                pthread_mutex_lock(&fs->lock);
                inode = ids_next(&fs->inodes, &slot);
                if (inode)
                        inode_detach(fs, inode);
                pthread_mutex_unlock(&fs->lock);
                inode_put(fs, inode);
        } while (inode);
}

void inodes_done(struct fs *fs)
{
        struct inode *root = ids_find(&fs->inodes, FUSE_ROOT_ID);

        inodes_reset(fs);
        if (root)
                inode_put(fs, inode_detach(fs, root));
        mount_unref(fs, fs->mounts.root);
        ids_done(&fs->inodes);
}
