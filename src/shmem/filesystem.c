/* SPDX-License-Identifier: BSD-2-Clause */

/* Finds out who serves a file, as far as possible without a call to that server.
 *
 * fstat() and fstatfs() call the file system, and a server in user space (FUSE) need not answer; the thread then waits,
 * and the process can't even be killed. The kernel itself knows: whether a file is in memory (only such files have
 * seals), its device and mount numbers (fd_look()), and what is mounted (/proc/self/mountinfo).
 * The numbers are unique in the system, and in use for as long as the mount is in the table, which is read again when
 * poll() reports a change.
 *
 * A file may be on a mount that this process does not see, such as one of a back-end in a sandbox of its own, and the
 * files of a file system may have other device numbers than it is mounted with (btrfs, overlayfs). Then FIEMAP decides:
 * the kernel refuses it for file systems without extents on a disk, FUSE and NFS among them, and overlayfs passes it on
 * to the file below. Two cases are judged wrongly: cifs supports FIEMAP and asks its server, so a file of cifs counts
 * as local if it is below overlayfs or on a mount that this process does not see; and a file of tmpfs below overlayfs,
 * which has no extents, counts as remote. */

#include "shmem/filesystem.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

USES_SYSCALLS(SYSCALL_FCNTL(F_GET_SEALS));

struct mount_row {
        uint64_t id;
        dev_t device;
        enum served { BY_KERNEL, BY_OTHERS, BY_LAYERS } served;
};

static struct {
        pthread_mutex_t lock;
        unsigned users;
        int fd;
        struct mount_row *rows;
        size_t n, room;
        bool read;
} mounts = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1};

/* File systems whose files another process, machine or host serves. */
static const char *const served_by_others[] = {
        "fuse",     "fuseblk", "virtiofs", "nfs",   "nfs4", "cifs",   "smb3",   "9p",     "afs",    "ceph",   "coda",
        "orangefs", "lustre",  "gfs2",     "ocfs2", "gpfs", "beegfs", "vboxsf", "vmhgfs", "prl_fs", "autofs",
};

static enum served served_by(const char *type)
{
        for (size_t i = 0; i < ARRAY_SIZE(served_by_others); i++)
                if (strcmp(type, served_by_others[i]) == 0)
                        return BY_OTHERS;
        return strcmp(type, "overlay") == 0 || strcmp(type, "ecryptfs") == 0 ? BY_LAYERS : BY_KERNEL;
}

static void filesystem_add(const char *line)
{
        const char *type = strstr(line, " - ");
        char name[32];
        unsigned major, minor;
        uint64_t id;

        if (!type || sscanf(line, "%" SCNu64 " %*u %u:%u ", &id, &major, &minor) != 3 ||
            sscanf(type, " - %31s ", name) != 1)
                return;
        if (mounts.n == mounts.room) {
                size_t room = mounts.room ? 2 * mounts.room : 64;
                struct mount_row *rows = reallocarray(mounts.rows, room, sizeof(*rows));

                /* A mount for which there is no memory is missing from the table, and so unknown. */
                if (!rows)
                        return;
                mounts.rows = rows;
                mounts.room = room;
        }
        /* Subtypes, such as "fuse.sshfs" and "fuseblk.ntfs", are FUSE as well. */
        name[strcspn(name, ".")] = '\0';
        mounts.rows[mounts.n++] = (struct mount_row){id, makedev(major, minor), served_by(name)};
}

/* With the lock held. The buffer has to hold the longest line, with its paths and mount options. */
static void read_mounts(void)
{
        size_t room = 64 << 10, size = 0;
        char *text = malloc(room);
        off_t offset = 0;
        ssize_t n = 1;

        mounts.n = 0;
        while (text && (n = pread(mounts.fd, text + size, room - size - 1, offset)) > 0) {
                char *line = text, *end;

                offset += n;
                size += (size_t)n;
                text[size] = '\0';
                for (; (end = strchr(line, '\n')); line = end + 1) {
                        *end = '\0';
                        filesystem_add(line);
                }
                size = strlen(line);
                memmove(text, line, size);
                /* A line that does not fit into the whole buffer does not come from the kernel, and is skipped. */
                if (size == room - 1)
                        size = 0;
        }
        free(text);
        mounts.read = text && n == 0;
}

void filesystem_open_mounts(void)
{
        pthread_mutex_lock(&mounts.lock);
        if (mounts.users++ == 0)
                mounts.fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
        pthread_mutex_unlock(&mounts.lock);
}

void filesystem_close_mounts(void)
{
        pthread_mutex_lock(&mounts.lock);
        if (--mounts.users == 0) {
                mounts.fd = fd_close(mounts.fd);
                free(mounts.rows);
                mounts.rows = NULL;
                mounts.n = mounts.room = 0;
                mounts.read = false;
        }
        pthread_mutex_unlock(&mounts.lock);
}

static bool have_changed(void)
{
        struct pollfd fd = {.fd = mounts.fd, .events = POLLPRI};

        return poll(&fd, 1, 0) != 0;
}

/* A device may be mounted several times, but always as the same kind of file system. */
static bool filesystem_find(const struct statx *stat, enum served *out)
{
        const dev_t device = makedev(stat->stx_dev_major, stat->stx_dev_minor);
        bool found = false;

        pthread_mutex_lock(&mounts.lock);
        if (mounts.fd >= 0 && (have_changed() || !mounts.read))
                read_mounts();
        for (size_t i = 0; !found && i < mounts.n; i++) {
                found = mounts.rows[i].device == device ||
                        (stat->stx_mask & STATX_MNT_ID && mounts.rows[i].id == stat->stx_mnt_id);
                *out = mounts.rows[i].served;
        }
        pthread_mutex_unlock(&mounts.lock);
        return found;
}

static bool has_extents(int fd)
{
        struct fiemap none = {.fm_length = 1};

        return ioctl(fd, FS_IOC_FIEMAP, &none) == 0;
}

bool filesystem_is_remote(const struct statx *stat)
{
        enum served served;

        return filesystem_find(stat, &served) && served == BY_OTHERS;
}

bool filesystem_is_local(int fd, const struct statx *stat)
{
        enum served served;

        /* Inodes without a type (such as dmabufs) and files with seals are the kernel's own. */
        if ((stat->stx_mode & S_IFMT) == 0 || fcntl(fd, F_GET_SEALS) >= 0)
                return true;
        if (filesystem_find(stat, &served) && served != BY_LAYERS)
                return served == BY_KERNEL;
        return has_extents(fd);
}
