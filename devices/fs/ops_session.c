/* SPDX-License-Identifier: BSD-2-Clause */
#include "devices/fs/operations.h"
#include "devices/fs/state.h"

#include <sys/vfs.h>

/* The oldest kernel whose mapping requests we know. */
static const uint32_t oldest_minor = 31;

/* The most that one READ or WRITE moves, in pages of 4 KiB: 1 MiB. */
static const uint16_t max_pages = 256;

/* What we want of what the kernel offers. Not among it, because it would not be true here:
 * - HANDLE_KILLPRIV (both): root's writes leave set-user-ID bits alone, so the guest must clear them itself;
 * - DONT_MASK: a umask of one's own is a thread's only after unshare(CLONE_FS), and matters with ACLs alone;
 * - EXPORT_SUPPORT, POSIX_ACL, WRITEBACK_CACHE, locks, SUBMOUNTS: not implemented. */
static const uint64_t wanted_flags = FUSE_ASYNC_READ | FUSE_ATOMIC_O_TRUNC | FUSE_BIG_WRITES | FUSE_AUTO_INVAL_DATA |
                                     FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO | FUSE_ASYNC_DIO |
                                     FUSE_PARALLEL_DIROPS | FUSE_MAX_PAGES | FUSE_CACHE_SYMLINKS | FUSE_INIT_EXT;
static const uint64_t wanted_for_window = FUSE_MAP_ALIGNMENT | FUSE_HAS_INODE_DAX;

static uint64_t offered_flags(const struct fuse_init_in *in)
{
        uint64_t flags = in->flags;

        if (flags & FUSE_INIT_EXT)
                flags |= (uint64_t)in->flags2 << 32;
        return flags;
}

static uint64_t choose_flags(const struct fs *fs, const struct fuse_init_in *in)
{
        uint64_t wanted = wanted_flags | (fs->window.usable ? wanted_for_window : 0);

        return offered_flags(in) & wanted;
}

/* The guest names both for a mount that maps what we say (dax=inode), and the first alone for one that maps everything
 * (dax=always). The latter must fail if nothing can be mapped, and does if told of an alignment that it can't keep. */
static const uint16_t impossible_alignment = 63;

static uint16_t alignment(const struct fs *fs, uint64_t flags)
{
        if (!(flags & FUSE_MAP_ALIGNMENT))
                return 0;
        return fs->window.usable ? (uint16_t)__builtin_ctzll(fs->window.page) : impossible_alignment;
}

static bool wants_all_mapped(const struct fuse_init_in *in)
{
        return (offered_flags(in) & wanted_for_window) == FUSE_MAP_ALIGNMENT;
}

/* A newer major version: say ours and wait for another INIT. linux/fuse.h, "Version negotiation". */
static ssize_t offer_our_version(struct request *request)
{
        const struct fuse_init_out out = {.major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION};

        return reply(request, &out, sizeof(out));
}

ssize_t op_init(struct request *request)
{
        struct fs *fs = request->fs;
        const struct fuse_init_in *in = &request->in.init;

        if (in->major > FUSE_KERNEL_VERSION)
                return offer_our_version(request);
        if (in->major < FUSE_KERNEL_VERSION || in->minor < oldest_minor)
                return -EPROTO;

        /* A guest that was restarted without a device reset has not said goodbye. */
        session_end(fs);
        window_try(&fs->window);

        uint64_t flags = choose_flags(fs, in);

        if (fs->window.size > 0 && wants_all_mapped(in))
                flags |= FUSE_MAP_ALIGNMENT;

        const struct fuse_init_out out = {
                .major = FUSE_KERNEL_VERSION,
                .minor = in->minor < FUSE_KERNEL_MINOR_VERSION ? in->minor : FUSE_KERNEL_MINOR_VERSION,
                .max_readahead = in->max_readahead,
                .flags = (uint32_t)flags,
                .flags2 = (uint32_t)(flags >> 32),
                .max_write = max_pages * 4096u,
                .max_pages = max_pages,
                .time_gran = 1,
                .map_alignment = alignment(fs, flags),
        };

        fs->ready = true;
        return reply(request, &out, sizeof(out));
}

ssize_t op_destroy(struct request *request)
{
        session_end(request->fs);
        return 0;
}

/* Requests are not interrupted; the one that was named will be answered all the same. */
ssize_t op_interrupt(struct request *request)
{
        (void)request;
        return 0;
}

ssize_t op_statfs(struct request *request)
{
        _cleanup_(inode_putp) struct inode *inode = inode_get(request->fs, request->header.nodeid);
        struct statfs stat;

        if (!inode)
                return -ESTALE;
        if (fstatfs(inode->fd, &stat) < 0)
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

        return reply(request, &out, sizeof(out));
}
