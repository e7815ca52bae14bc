/* SPDX-License-Identifier: BSD-2-Clause */

/* What the guest has looked up: the table of inodes, by number and by file. An inode has a descriptor of its file
 * (O_PATH), or a file handle that makes one. The guest counts its lookups and forgets them; requests that use an inode
 * have a reference of their own. */

#include "devices/fs/files/inode.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/syscalls.h"
#include "devices/fs/core/state.h"
#include "devices/fs/files/attributes.h"
#include "devices/fs/files/mounts.h"
#include "devices/fs/locks/lock.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <search.h>
#include <stdio.h>
#include <string.h>
#include <sys/param.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

USES_SYSCALLS(SYSCALL_AT(openat2, 0), SYSCALL_AT(openat, 0));

/* A guest may make as many files as the disk has room for; what we know of each stays until it forgets. */
static const uint32_t max_inodes = 1u << 24;

static int compare(uint64_t a, uint64_t b)
{
        return (a > b) - (a < b);
}

int inode_key_compare(const struct inode_key *a, const struct inode_key *b)
{
        int order = compare(a->number, b->number);

        if (order == 0)
                order = compare(a->device, b->device);
        if (order == 0)
                order = compare(a->mount, b->mount);
        return order;
}

int fs_reopen(struct fs *fs, int fd, int flags)
{
        return sys_result(openat(fs->proc_fd, fd_name(fd).text, flags | O_CLOEXEC | O_NOCTTY));
}

static int compare_ids(const void *a, const void *b)
{
        const struct inode_id *x = a, *y = b;
        int order = inode_key_compare(&x->key, &y->key);

        if (order != 0 || x->file == y->file)
                return order;
        if (!x->file || !y->file)
                return x->file ? 1 : -1;
        return file_id_compare(x->file, y->file);
}

struct fd_name fd_name(int fd)
{
        struct fd_name name;

        snprintf(name.text, sizeof(name.text), "%d", fd);
        return name;
}

static struct inode_key key_of(const struct statx *stat)
{
        return (struct inode_key){
                .device = (uint64_t)stat->stx_dev_major << 32 | stat->stx_dev_minor,
                .number = stat->stx_ino,
                .mount = stat->stx_mnt_id,
        };
}

/* A btrfs subvolume is on the mount that it is below, with a device number and inode numbers of its own.
 * Is the guest told that one begins here? */
static bool is_submount(const struct fs *fs, const struct statx *stat, const struct inode_key *parent)
{
        const struct inode_key key = key_of(stat);

        return fs->features & FUSE_SUBMOUNTS && S_ISDIR(stat->stx_mode) &&
               (key.mount != parent->mount || key.device != parent->device);
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
        pthread_mutex_lock(&fs->lock);

        struct inode *inode = ids_find(&fs->inodes, nodeid);

        if (inode)
                atomic_fetch_add(&inode->refs, 1);
        pthread_mutex_unlock(&fs->lock);
        return inode;
}

/* What is known of a file that is about to become an inode. */
struct found {
        int fd; /* O_PATH, or -1 once the inode has it */
        const struct statx *stat;
        bool submount;
        struct file_id file;
        bool asked;                /* for its handle */
        struct mount_point *mount; /* NULL: there is no handle that could take the descriptor's place */
};

/* With the lock: are descriptors getting few? */
static bool saves_descriptors(const struct fs *fs)
{
        return fs->options.file_handles == FS_HANDLES_MANDATORY ||
               (fs->options.file_handles == FS_HANDLES_PREFER && fs_held(fs) >= fs->options.max_open / 2);
}

/* With the lock: could a file that is looked up be known by its handle, or become so? */
static bool needs_file_id(const struct fs *fs)
{
        return fs->options.file_handles != FS_HANDLES_NEVER && (fs->by_handle > 0 || saves_descriptors(fs));
}

static bool has_room_for_new(struct fs *fs, unsigned handles)
{
        pthread_mutex_lock(&fs->lock);

        bool room = fs_held(fs) + handles + !saves_descriptors(fs) <= fs->options.max_open;

        pthread_mutex_unlock(&fs->lock);
        return room;
}

int inode_room_for_new(struct fs *fs, unsigned handles)
{
        return has_room_for_new(fs, handles) || (room_make(fs) && has_room_for_new(fs, handles)) ? 0 : -ENFILE;
}

static struct file_id *copy_file_id(const struct file_id *file)
{
        const size_t size = file_id_size(file);
        struct file_id *copy = malloc(size);

        return copy ? memcpy(copy, file, size) : NULL;
}

static struct inode *make_inode(struct found *found)
{
        struct inode *inode = malloc(sizeof(*inode));

        if (!inode)
                return NULL;
        *inode = (struct inode){
                .id.key = key_of(found->stat),
                .refs = 1,
                .fd = -1,
                .type = found->stat->stx_mode & S_IFMT,
                .not_entered = found->submount,
        };
        return inode;
}

int64_t inode_now_ns(void)
{
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
        return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* With the lock. */
static void note_lookup(struct fs *fs, struct inode *inode)
{
        inode->lookups++;
        if (fs->last_told_ns == 0)
                return;

        int64_t now = inode_now_ns();

        if (now - fs->last_told_ns < RETRY_NS)
                inode->found_again_ns = now;
}

/* With the lock: a new inode in the table, which owns what was found from then on. */
static int insert(struct fs *fs, struct found *found, struct inode **out)
{
        bool by_handle = found->mount && saves_descriptors(fs);

        if ((!by_handle && !fs_has_room(fs)) || fs->inodes.n_used >= max_inodes)
                return -ENFILE;

        _cleanup_(freep) struct file_id *file = by_handle ? copy_file_id(&found->file) : NULL;
        _cleanup_(freep) struct inode *inode = make_inode(found);

        if (!inode || (by_handle && !file))
                return -ENOMEM;
        inode->id.file = file;

        int r = ids_add(&fs->inodes, inode, &inode->nodeid);

        if (r < 0)
                return r;
        if (!tsearch(inode, &fs->inodes_by_id, compare_ids)) {
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

/* With the lock: the table's reference becomes the caller's. */
static struct inode *detach(struct fs *fs, struct inode *inode)
{
        /* Who has been given up is not in the tree, and another file may have its place there by now. */
        if (inode->fd >= 0 || inode->mount)
                tdelete(inode, &fs->inodes_by_id, compare_ids);
        ids_remove(&fs->inodes, inode->nodeid);
        return inode;
}

int inode_give_up(struct fs *fs, struct inode *inode)
{
        tdelete(inode, &fs->inodes_by_id, compare_ids);
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
        /* Memory of that size has just been freed; if another thread was faster, it stays given up. */
        if (tsearch(inode, &fs->inodes_by_id, compare_ids)) {
                inode->mount = steal(*mount);
                fs->by_handle++;
        }
        return fd;
}

static struct inode *find_inode(struct fs *fs, const struct inode_id *id)
{
        struct inode **node = tfind(id, &fs->inodes_by_id, compare_ids);

        return node ? *node : NULL;
}

/* With the lock. */
static void note_known(struct fs *fs, bool known)
{
        const int most = 8;

        fs->known = known ? MIN(fs->known + 1, most) : MAX(fs->known - 1, -most);
}

/* Count a lookup of a file that has an inode; false: it has none. */
static bool count_known(struct fs *fs, const struct inode_id *id, uint64_t *nodeid)
{
        pthread_mutex_lock(&fs->lock);

        struct inode *inode = find_inode(fs, id);

        note_known(fs, inode);
        if (inode) {
                note_lookup(fs, inode);
                *nodeid = inode->nodeid;
        }
        pthread_mutex_unlock(&fs->lock);
        return inode;
}

/* The same for one that may have none, and gets one then. One that has a descriptor is known by its key alone. -EAGAIN:
 * its handle is needed. */
static int count_lookup(struct fs *fs, struct found *found, uint64_t *nodeid)
{
        struct inode_id id = {.key = key_of(found->stat)};
        int r = 0;

        pthread_mutex_lock(&fs->lock);

        struct inode *inode = find_inode(fs, &id);

        if (!inode && found->mount) {
                id.file = &found->file;
                inode = find_inode(fs, &id);
        }
        note_known(fs, inode);
        if (!inode && !found->asked && needs_file_id(fs))
                r = -EAGAIN;
        else if (!inode)
                r = insert(fs, found, &inode);
        if (r == 0) {
                note_lookup(fs, inode);
                *nodeid = inode->nodeid;
        }
        pthread_mutex_unlock(&fs->lock);
        return r;
}

static int find_file_id(struct fs *fs, struct found *found)
{
        int r = file_id_of(found->fd, &found->file);

        found->asked = true;
        if (r == 0)
                found->mount = mount_ref(fs, found->fd, found->stat);
        if (found->mount || fs->options.file_handles != FS_HANDLES_MANDATORY)
                return 0;
        return r < 0 ? r : -EOPNOTSUPP;
}

static int count_found(struct fs *fs, struct found *found, uint64_t *nodeid)
{
        int r = count_lookup(fs, found, nodeid);

        if (r != -EAGAIN)
                return r;
        r = find_file_id(fs, found);
        return r < 0 ? r : count_lookup(fs, found, nodeid);
}

static void tell_entry(struct fs *fs, const struct statx *stat, const struct inode_key *parent, uint64_t nodeid,
                       struct fuse_entry_out *entry)
{
        *entry = (struct fuse_entry_out){
                .nodeid = nodeid,
                .entry_valid = names_valid(fs),
                .attr_valid = attributes_valid(fs, stat),
                .attr = attributes_of(fs, stat),
        };
        if (is_submount(fs, stat, parent))
                entry->attr.flags |= FUSE_ATTR_SUBMOUNT;
}

/* Takes @fd, which is O_PATH. */
static int enter(struct fs *fs, int path_fd, const struct inode_key *parent, struct fuse_entry_out *entry)
{
        struct statx stat;
        struct found found = {.fd = path_fd, .stat = &stat};
        uint64_t nodeid = 0;
        int r = attributes_read(fs, path_fd, "", &stat);

        if (r == 0) {
                found.submount = is_submount(fs, &stat, parent);
                r = count_found(fs, &found, &nodeid);
        }
        if (r == -ENFILE && room_make(fs))
                r = count_found(fs, &found, &nodeid);
        mount_unref(fs, found.mount);
        fd_close(found.fd);
        if (r == 0)
                tell_entry(fs, &stat, parent, nodeid, entry);
        return r;
}

/* A guess. */
static bool may_be_new(struct fs *fs)
{
        pthread_mutex_lock(&fs->lock);

        bool guess = fs->known < 0;

        pthread_mutex_unlock(&fs->lock);
        return guess;
}

/* A file that is known by a descriptor needs no other. For one that isn't, this is a system call too many. */
static int look_up_known(struct fs *fs, int directory_fd, const struct inode_key *directory, const char *name,
                         struct fuse_entry_out *entry)
{
        struct statx stat;
        uint64_t nodeid;

        if (fs->options.file_handles == FS_HANDLES_MANDATORY || fs->window.shadows.enabled || may_be_new(fs))
                return -EAGAIN;

        int r = attributes_read(fs, directory_fd, name, &stat);

        if (r < 0)
                return r;
        if (!count_known(fs, &(struct inode_id){.key = key_of(&stat)}, &nodeid))
                return -EAGAIN;
        tell_entry(fs, &stat, directory, nodeid, entry);
        return 0;
}

static int look_up(struct fs *fs, int directory_fd, const struct inode_key *directory, const char *name,
                   struct fuse_entry_out *entry)
{
        /* A single name can't lead astray; that the kernel refuses links and anything above as well costs nothing. */
        const struct open_how how = {
                .flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
                .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
        };
        int r = look_up_known(fs, directory_fd, directory, name, entry);

        if (r != -EAGAIN)
                return r;

        int fd = (int)syscall(SYS_openat2, directory_fd, name, &how, sizeof(how));

        return fd < 0 ? -errno : enter(fs, fd, directory, entry);
}

/* What was found by a name, and has no link: the name was removed meanwhile, or it is on a file system that counts no
 * links, as many in user space. */
static void note_no_link(struct fs *fs, int directory_fd, const char *name, uint64_t nodeid)
{
        struct statx stat;

        if (attributes_read(fs, directory_fd, name, &stat) < 0 || stat.stx_nlink > 0)
                return;

        const struct inode_key found = key_of(&stat);

        pthread_mutex_lock(&fs->lock);

        struct inode *inode = ids_find(&fs->inodes, nodeid);

        if (inode && inode_key_compare(&inode->id.key, &found) == 0)
                inode->links_unknown = true;
        pthread_mutex_unlock(&fs->lock);
}

int inode_lookup(struct fs *fs, int directory_fd, const struct inode_key *directory, const char *name,
                 struct fuse_entry_out *entry)
{
        int r = look_up(fs, directory_fd, directory, name, entry);

        if (r == 0 && entry->attr.nlink == 0)
                note_no_link(fs, directory_fd, name, entry->nodeid);
        return r;
}

int inode_check_no_submount(struct fs *fs, int directory_fd, const struct inode_key *directory, const char *name)
{
        struct statx stat;

        if (!(fs->features & FUSE_SUBMOUNTS) || attributes_read(fs, directory_fd, name, &stat) < 0)
                return 0;
        return is_submount(fs, &stat, directory) ? -EBUSY : 0;
}

int inode_lookup_open(struct fs *fs, int fd, const struct inode_key *directory, struct fuse_entry_out *entry)
{
        int path_fd = openat(fs->proc_fd, fd_name(fd).text, O_PATH | O_CLOEXEC);

        return path_fd < 0 ? -errno : enter(fs, path_fd, directory, entry);
}

void inode_forget(struct fs *fs, uint64_t nodeid, uint64_t lookups)
{
        struct inode *gone = NULL;

        pthread_mutex_lock(&fs->lock);

        struct inode *inode = ids_find(&fs->inodes, nodeid);

        if (inode && nodeid != FUSE_ROOT_ID) {
                inode->lookups -= lookups < inode->lookups ? lookups : inode->lookups;
                if (inode->lookups == 0)
                        gone = detach(fs, inode);
        }
        pthread_mutex_unlock(&fs->lock);
        inode_put(fs, gone);
}

/* Whether files can be opened by handle at all: that takes CAP_DAC_READ_SEARCH. */
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
        struct found found = {.fd = open(fs->options.shared_dir, O_PATH | O_DIRECTORY | O_CLOEXEC), .stat = &stat};
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
                        /* The root's file system may have none where others below it do. */
                        fs->options.file_handles = r == -EOPNOTSUPP ? FS_HANDLES_PREFER : FS_HANDLES_NEVER;
                        r = 0;
                }
        }
        ids_init(&fs->inodes, true);
        if (r == 0 && fs->options.file_handles != FS_HANDLES_NEVER)
                fs->mounts.root = mount_ref(fs, found.fd, &stat);
        /* The first id there is: FUSE_ROOT_ID. */
        if (r == 0)
                r = insert(fs, &found, &root);
        if (r == 0)
                root->links_unknown = stat.stx_nlink == 0;
        fd_close(found.fd);
        return r;
}

static struct inode *detach_next(struct fs *fs, uint32_t *slot)
{
        pthread_mutex_lock(&fs->lock);

        struct inode *inode = ids_next(&fs->inodes, slot);

        if (inode)
                detach(fs, inode);
        pthread_mutex_unlock(&fs->lock);
        return inode;
}

void inodes_reset(struct fs *fs)
{
        uint32_t slot = FUSE_ROOT_ID + 1;
        struct inode *inode;

        while ((inode = detach_next(fs, &slot)))
                inode_put(fs, inode);
}

void inodes_done(struct fs *fs)
{
        struct inode *root = ids_find(&fs->inodes, FUSE_ROOT_ID);

        inodes_reset(fs);
        if (root)
                inode_put(fs, detach(fs, root));
        mount_unref(fs, fs->mounts.root);
        ids_done(&fs->inodes);
        free(fs->mounts.points);
}
