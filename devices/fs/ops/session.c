/* SPDX-License-Identifier: BSD-2-Clause */

/* The begin and the end of a session (INIT, DESTROY), the negotiation with the guest's kernel, and requests on the
 * file system as a whole: STATFS, SYNCFS. INIT ends a session that was not ended, finds what the front-end can map
 * (dax_window_try()), and answers with those of the kernel's flags that the options want. It runs alone: the
 * session's lock is held for writing. */

#include "base/fd.h"
#include "base/log.h"
#include "base/syscalls.h"
#include "devices/fs/core/operations.h"
#include "devices/fs/core/state.h"
#include "devices/fs/files/handle.h"
#include "devices/fs/files/inode.h"

#include <fcntl.h>
#include <sys/param.h>
#include <sys/vfs.h>
#include <unistd.h>

USES_SYSCALLS(SYSCALL(fstatfs), SYSCALL(syncfs));

/* The oldest kernel whose mapping requests we know. */
static const uint32_t oldest_minor = 31;

/* The most that one READ or WRITE moves, in pages of 4 KiB: 1 MiB. */
static const uint16_t max_pages = 256;

/* The flags that are wanted whatever the options. Left out, because they would be wrong here:
 *  - EXPORT_SUPPORT: the guest resolves "." and ".." itself;
 *  - HANDLE_KILLPRIV: only with the guest saying when (V2), as root's writes leave set-user-ID bits alone;
 *  - CACHE_SYMLINKS: a link that is replaced on the host would be followed for as long as its name is cached. */
static const uint64_t always_wanted = FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_AUTO_INVAL_DATA | FUSE_ASYNC_DIO |
                                      FUSE_PARALLEL_DIROPS | FUSE_MAX_PAGES | FUSE_INIT_EXT | FUSE_CREATE_SUPP_GROUP;
/* To clear set-user-ID bits here, it must be known who changes a file. With ATOMIC_O_TRUNC the guest leaves them to
 * an OPEN, which tells only with HANDLE_KILLPRIV_V2. FALLOCATE and COPY_FILE_RANGE tell it by their user, whom they
 * don't name with ALLOW_IDMAP. */
static const uint64_t wanted_for_killpriv = FUSE_HANDLE_KILLPRIV_V2 | FUSE_ATOMIC_O_TRUNC;
static const uint64_t wanted_without_killpriv = FUSE_ALLOW_IDMAP;
static const uint64_t wanted_for_window = FUSE_MAP_ALIGNMENT | FUSE_HAS_INODE_DAX;
static const uint64_t needed_for_acl = FUSE_POSIX_ACL | FUSE_DONT_MASK | FUSE_SETXATTR_EXT;

uint64_t features_wanted(const struct fs *fs)
{
        const struct fs_options *options = &fs->options;
        const struct {
                bool wanted;
                uint64_t flags;
        } rows[] = {
                {true, always_wanted},
                {fs->window.usable, wanted_for_window},
                {!options->no_readdirplus, FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO},
                {!options->no_submounts, FUSE_SUBMOUNTS},
                {options->writeback, FUSE_WRITEBACK_CACHE},
                {options->killpriv_v2, wanted_for_killpriv},
                {!options->killpriv_v2, wanted_without_killpriv},
                {options->allow_mmap, FUSE_DIRECT_IO_ALLOW_MMAP},
                {options->xattr, FUSE_SETXATTR_EXT},
                {options->posix_acl != FS_NEVER, needed_for_acl},
                {options->security_label != FS_NEVER, FUSE_SECURITY_CTX},
                {options->posix_lock, FUSE_POSIX_LOCKS},
                {options->flock, FUSE_FLOCK_LOCKS},
        };
        uint64_t flags = 0;

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
                flags |= rows[i].wanted ? rows[i].flags : 0;
        return flags;
}

static uint64_t offered_flags(const struct fuse_init_in *in)
{
        uint64_t flags = in->flags;

        if (flags & FUSE_INIT_EXT)
                flags |= (uint64_t)in->flags2 << 32;
        return flags;
}

/* Removes flags that are useless, or wrong, without all of those that they need. */
static uint64_t choose_flags(const struct fs *fs, const struct fuse_init_in *in)
{
        const struct {
                uint64_t needed, without;
        } rows[] = {
                {needed_for_acl, FUSE_POSIX_ACL | FUSE_DONT_MASK},
                {wanted_for_killpriv, FUSE_ATOMIC_O_TRUNC},
        };
        uint64_t flags = offered_flags(in) & features_wanted(fs);

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
                if ((flags & rows[i].needed) != rows[i].needed)
                        flags &= ~rows[i].without;
        return flags;
}

/* Returns which option insists on a missing feature; NULL: none. */
static const char *session_missing(const struct fs *fs, uint64_t flags)
{
        if (fs->options.posix_acl == FS_ALWAYS && !(flags & FUSE_POSIX_ACL))
                return "--posix-acl=always, but the guest's kernel has no access lists with FUSE";
        if (fs->options.security_label == FS_ALWAYS && !(flags & FUSE_SECURITY_CTX))
                return "--security-label=always, but the guest's kernel sends no security labels";
        return NULL;
}

/* The guest sends both flags if its mount maps the files that are marked (dax=inode), and only the first if it maps
 * everything (dax=always). The latter must fail if nothing can be mapped, which an impossible alignment makes it do. */
static const uint16_t impossible_alignment = 63;

static uint16_t map_alignment(const struct fs *fs, uint64_t flags)
{
        if (!(flags & FUSE_MAP_ALIGNMENT))
                return 0;
        return fs->window.usable ? (uint16_t)__builtin_ctzll(fs->window.page) : impossible_alignment;
}

void session_forget(struct fs *fs)
{
        fs->ready = false;
        fs->to_resume = false;
        fs->features = 0;
        if (fs->options.answered)
                fs_give_up_locks(fs, NULL);
        handles_reset(fs);
        parked_clear(fs);
        inodes_reset(fs);
}

/* Ends the session, and unmaps what the guest has mapped. */
static void session_end(struct fs *fs)
{
        struct dax_window_batch batch = {0};

        session_forget(fs);
        if (fs->window.size == 0)
                return;
        dax_window_unmap(&fs->window, (struct oriel_range){0, fs->window.size}, &batch);
        dax_window_wait(&fs->window, &batch);
}

ssize_t op_init(struct request *request)
{
        struct fs *fs = request->fs;
        const struct fuse_init_in *in = &request->in.init;
        const struct fuse_init_out ours = {.major = FUSE_KERNEL_VERSION, .minor = FS_KERNEL_MINOR_VERSION};

        /* A newer major version: answer with ours and wait for another INIT. linux/fuse.h, "Version negotiation". */
        if (in->major > FUSE_KERNEL_VERSION)
                return request_reply(request, &ours, sizeof(ours));
        if (in->major < FUSE_KERNEL_VERSION || in->minor < oldest_minor)
                return -EPROTO;

        /* A guest that was restarted without a device reset has not sent DESTROY. */
        session_end(fs);
        dax_window_try(&fs->window);

        uint64_t flags = choose_flags(fs, in);
        const char *insisted = session_missing(fs, flags);

        if (insisted) {
                log_error(&fs->options.log, "%s", insisted);
                return -EOPNOTSUPP;
        }
        if (fs->window.size > 0 && (offered_flags(in) & wanted_for_window) == FUSE_MAP_ALIGNMENT)
                flags |= FUSE_MAP_ALIGNMENT;

        const struct fuse_init_out out = {
                .major = FUSE_KERNEL_VERSION,
                .minor = MIN(in->minor, (uint32_t)FS_KERNEL_MINOR_VERSION),
                .max_readahead = in->max_readahead,
                .flags = (uint32_t)flags,
                .flags2 = (uint32_t)(flags >> 32),
                .max_write = max_pages * 4096u,
                .max_pages = max_pages,
                .time_gran = 1,
                .map_alignment = map_alignment(fs, flags),
        };

        fs->features = flags;
        fs->ready = true;
        expiring_wake(&fs->expiring);
        return request_reply(request, &out, sizeof(out));
}

ssize_t op_destroy(struct request *request)
{
        session_end(request->fs);
        return 0;
}

/* Syncs all of the file system that the node is on. */
ssize_t op_syncfs(struct request *request)
{
        shadows_sync(&request->fs->window.shadows);

        _cleanup_(fd_closep) int fd = node_open(&request->node, O_RDONLY);

        return fd < 0 ? fd : sys_result(syncfs(fd));
}

ssize_t op_statfs(struct request *request)
{
        struct statfs stat;

        if (fstatfs(request->node.fd, &stat) < 0)
                return -errno;

        const struct fuse_statfs_out out = {
                .st =
                        {
                                .blocks = stat.f_blocks,
                                .bfree = stat.f_bfree,
                                .bavail = stat.f_bavail,
                                .files = stat.f_files,
                                .ffree = stat.f_ffree,
                                .bsize = (uint32_t)stat.f_bsize,
                                .namelen = (uint32_t)stat.f_namelen,
                                .frsize = (uint32_t)stat.f_frsize,
                        },
        };

        return request_reply(request, &out, sizeof(out));
}
