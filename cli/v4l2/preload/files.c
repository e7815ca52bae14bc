/* SPDX-License-Identifier: BSD-2-Clause */

/* Replacements of the C library's functions for names, descriptors, ioctls and mappings. Those that concern the
 * device, by its name or by a node's descriptor, become calls to "oriel v4l2" (node.c); all others go to the C
 * library. v4l-utils recognize a V4L2 device by a file of sysfs (uevent); a memfd stands in for it, since the C++
 * library reads from the descriptor of a FILE. A mapping has a lease, which munmap() closes. */

#include "cli/v4l2/preload/node.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/videodev2.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { VIDEO_MAJOR = 81, LEASES = 512 };

enum path_kind { PATH_OTHER, PATH_DEVICE, PATH_UEVENT };

static enum path_kind path_kind(const char *path)
{
        const char *device = path ? node_device() : NULL;
        char uevent[64];

        if (!device)
                return PATH_OTHER;
        if (strcmp(path, device) == 0)
                return PATH_DEVICE;
        if (strncmp(path, "/sys/", 5) != 0)
                return PATH_OTHER;
        snprintf(uevent, sizeof(uevent), "/sys/dev/char/%d:%u/uevent", VIDEO_MAJOR, node_number());
        return strcmp(path, uevent) == 0 ? PATH_UEVENT : PATH_OTHER;
}

/* Forgets what is recorded of @fd: before it is closed, and when it is new, in case it was closed without close(2). */
static void forget(int fd)
{
        epoll_forget(fd);
        node_forget(fd);
}

static int open_device(int flags)
{
        const int fd = v4l2_node_open(flags);

        if (fd >= 0)
                forget(fd);
        return fd;
}

static int open_uevent(void)
{
        int fd = memfd_create("uevent", MFD_CLOEXEC);

        if (fd < 0)
                return -1;
        dprintf(fd, "MAJOR=%d\nMINOR=%u\nDEVNAME=video%u\n", VIDEO_MAJOR, node_number(), node_number());
        lseek(fd, 0, SEEK_SET);
        return fd;
}

/* Whether the path names a node in /proc/self/fd, or relative to that folder: the kernel can't open a socket by a
 * name. */
static bool is_opened_again(int folder, const char *path)
{
        struct statfs what;
        int fd;
        char rest;

        return path && node_is_used() &&
               (sscanf(path, "/proc/self/fd/%d%c", &fd, &rest) == 1 ||
                (sscanf(path, "%d%c", &fd, &rest) == 1 && fstatfs(folder, &what) == 0 &&
                 what.f_type == PROC_SUPER_MAGIC)) &&
               node_is(fd);
}

/* ---- names ---- */

EXPORT int openat(int folder, const char *path, int flags, ...)
{
        va_list arguments;
        mode_t mode;

        va_start(arguments, flags);
        mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
        va_end(arguments);
        switch (path_kind(path)) {
        case PATH_DEVICE:
                return open_device(flags);
        case PATH_UEVENT:
                return open_uevent();
        default:
                return is_opened_again(folder, path) ? open_device(flags) : REAL(openat)(folder, path, flags, mode);
        }
}

EXPORT int open(const char *path, int flags, ...)
{
        va_list arguments;
        mode_t mode;

        va_start(arguments, flags);
        mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
        va_end(arguments);
        return openat(AT_FDCWD, path, flags, mode);
}

int __open_2(const char *path, int flags);
int __openat_2(int folder, const char *path, int flags);

EXPORT int __open_2(const char *path, int flags)
{
        return openat(AT_FDCWD, path, flags);
}

EXPORT int __openat_2(int folder, const char *path, int flags)
{
        return openat(folder, path, flags);
}

EXPORT_AS(openat) int openat64(int folder, const char *path, int flags, ...);
EXPORT_AS(open) int open64(const char *path, int flags, ...);
EXPORT_AS(__open_2) int __open64_2(const char *path, int flags);
EXPORT_AS(__openat_2) int __openat64_2(int folder, const char *path, int flags);

EXPORT FILE *fopen(const char *path, const char *mode)
{
        return path_kind(path) == PATH_UEVENT ? fdopen(open_uevent(), mode) : REAL(fopen)(path, mode);
}
EXPORT_AS(fopen) FILE *fopen64(const char *path, const char *mode);

static int describe(struct stat *out)
{
        memset(out, 0, sizeof(*out));
        out->st_mode = S_IFCHR | 0660;
        out->st_nlink = 1;
        out->st_uid = geteuid();
        out->st_gid = getegid();
        out->st_blksize = 4096;
        out->st_rdev = makedev(VIDEO_MAJOR, node_number());
        return 0;
}

EXPORT int fstat(int fd, struct stat *out)
{
        int r = REAL(fstat)(fd, out);

        return r == 0 && S_ISSOCK(out->st_mode) && node_is(fd) ? describe(out) : r;
}

EXPORT int fstatat(int folder, const char *path, struct stat *out, int flags)
{
        if (path_kind(path) == PATH_DEVICE)
                return describe(out);
        return flags & AT_EMPTY_PATH && !*path ? fstat(folder, out) : REAL(fstatat)(folder, path, out, flags);
}

EXPORT int stat(const char *path, struct stat *out)
{
        return path_kind(path) == PATH_DEVICE ? describe(out) : REAL(stat)(path, out);
}

EXPORT int lstat(const char *path, struct stat *out)
{
        return path_kind(path) == PATH_DEVICE ? describe(out) : REAL(lstat)(path, out);
}

static_assert(sizeof(struct stat) == sizeof(struct stat64), "there are not two kinds of files");
EXPORT_AS(fstat) int fstat64(int fd, struct stat64 *out);
EXPORT_AS(fstatat) int fstatat64(int folder, const char *path, struct stat64 *out, int flags);
EXPORT_AS(stat) int stat64(const char *path, struct stat64 *out);
EXPORT_AS(lstat) int lstat64(const char *path, struct stat64 *out);

/* Called by programs that were built with a C library before 2.33, which Debian 12 still has. */
int __fxstat(int version, int fd, struct stat *out);
int __xstat(int version, const char *path, struct stat *out);
int __lxstat(int version, const char *path, struct stat *out);

EXPORT int __fxstat(int version, int fd, struct stat *out)
{
        return fstat(fd, out);
}

EXPORT int __xstat(int version, const char *path, struct stat *out)
{
        return stat(path, out);
}

EXPORT int __lxstat(int version, const char *path, struct stat *out)
{
        return lstat(path, out);
}

EXPORT_AS(__fxstat) int __fxstat64(int version, int fd, struct stat64 *out);
EXPORT_AS(__xstat) int __xstat64(int version, const char *path, struct stat64 *out);
EXPORT_AS(__lxstat) int __lxstat64(int version, const char *path, struct stat64 *out);

EXPORT int statx(int folder, const char *path, int flags, unsigned mask, struct statx *out)
{
        if (path_kind(path) != PATH_DEVICE)
                return REAL(statx)(folder, path, flags, mask, out);
        memset(out, 0, sizeof(*out));
        out->stx_mask = STATX_TYPE | STATX_MODE;
        out->stx_mode = S_IFCHR | 0660;
        out->stx_rdev_major = VIDEO_MAJOR;
        out->stx_rdev_minor = node_number();
        return 0;
}

EXPORT int access(const char *path, int mode)
{
        return path_kind(path) == PATH_DEVICE ? 0 : REAL(access)(path, mode);
}

EXPORT int faccessat(int folder, const char *path, int mode, int flags)
{
        return path_kind(path) == PATH_DEVICE ? 0 : REAL(faccessat)(folder, path, mode, flags);
}

/* ---- descriptors ---- */

EXPORT int close(int fd)
{
        if (!node_is_lent())
                forget(fd);
        return REAL(close)(fd);
}

EXPORT int ioctl(int fd, unsigned long request, ...)
{
        va_list arguments;
        void *argument;

        va_start(arguments, request);
        argument = va_arg(arguments, void *);
        va_end(arguments);
        if (_IOC_TYPE(request) != 'V' || !node_is(fd))
                return REAL(ioctl)(fd, request, argument);

        const struct v4l2_call call = {.kind = V4L2_CALL_IOCTL,
                                       .flags = fcntl(fd, F_GETFL) & O_NONBLOCK ? V4L2_CALL_NONBLOCK : 0,
                                       .code = request,
                                       .argument = (uintptr_t)argument};
        struct v4l2_answer answer;

        return node_call(fd, &call, &answer, NULL, 0, NULL);
}

/* The device has no read() and write(), which fail with EINVAL. */
EXPORT ssize_t read(int fd, void *data, size_t size)
{
        if (!node_is_here(fd))
                return REAL(read)(fd, data, size);
        errno = EINVAL;
        return -1;
}

EXPORT ssize_t write(int fd, const void *data, size_t size)
{
        if (!node_is_here(fd))
                return REAL(write)(fd, data, size);
        errno = EINVAL;
        return -1;
}

/* ---- mappings ---- */

/* The device keeps a mapping until its lease, a socket, is closed: by munmap(), or at the end of the last process
 * that has it. */
static struct {
        atomic_uintptr_t address; /* 0: free; TAKEN: being set or closed */
        int fd;
        ino_t inode; /* of @fd, by which it is found whether the program has closed it */
} leases[LEASES];

static const uintptr_t TAKEN = 1;

static void keep_lease(const void *address, int fd)
{
        struct stat what;

        fd = node_move_up(fd);
        for (unsigned i = 0; i < LEASES && REAL(fstat)(fd, &what) == 0; i++)
                if (atomic_compare_exchange_strong(&leases[i].address, &(uintptr_t){0}, TAKEN)) {
                        leases[i].fd = fd;
                        leases[i].inode = what.st_ino;
                        leases[i].address = (uintptr_t)address;
                        return;
                }
        REAL(close)(fd);
}

static void preload_end_lease(const void *address)
{
        struct stat what;

        for (unsigned i = 0; i < LEASES; i++) {
                if (!atomic_compare_exchange_strong(&leases[i].address, &(uintptr_t){(uintptr_t)address}, TAKEN))
                        continue;
                if (REAL(fstat)(leases[i].fd, &what) == 0 && what.st_ino == leases[i].inode)
                        REAL(close)(leases[i].fd);
                leases[i].address = 0;
        }
}

EXPORT void *mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
        if (flags & MAP_ANONYMOUS || !node_is_here(fd))
                return REAL(mmap)(address, size, protection, flags, fd, offset);

        const struct v4l2_call call = {.kind = V4L2_CALL_MMAP,
                                       .flags = protection & PROT_WRITE ? V4L2_CALL_WRITABLE : 0,
                                       .argument = (uint64_t)offset,
                                       .size = size};
        struct v4l2_answer answer;
        int file, lease;

        errno = EINVAL;
        if ((flags & MAP_TYPE) == MAP_PRIVATE || node_call(fd, &call, &answer, &file, 1, &lease) < 0)
                return MAP_FAILED;

        void *mapped = REAL(mmap)(address, size, protection, flags, file, (off_t)answer.offset);
        const int saved = errno;

        REAL(close)(file);
        if (mapped != MAP_FAILED)
                keep_lease(mapped, lease);
        else
                REAL(close)(lease);
        errno = saved;
        return mapped;
}
EXPORT_AS(mmap) void *mmap64(void *address, size_t size, int protection, int flags, int fd, off64_t offset);

EXPORT int munmap(void *address, size_t size)
{
        int r = REAL(munmap)(address, size);

        if (r == 0 && node_is_used())
                preload_end_lease(address);
        return r;
}

/* libv4l2 makes all its calls on a device by this function. */
EXPORT long syscall(long number, ...)
{
        va_list arguments;
        long a[6];

        va_start(arguments, number);
        for (unsigned i = 0; i < 6; i++)
                a[i] = va_arg(arguments, long);
        va_end(arguments);
        switch (number) {
        case SYS_openat:
                return openat((int)a[0], (const char *)a[1], (int)a[2], (mode_t)a[3]);
        case SYS_close:
                return close((int)a[0]);
        case SYS_ioctl:
                return ioctl((int)a[0], (unsigned long)a[1], (void *)a[2]);
        case SYS_mmap:
                return (long)mmap((void *)a[0], (size_t)a[1], (int)a[2], (int)a[3], (int)a[4], (off_t)a[5]);
        case SYS_munmap:
                return munmap((void *)a[0], (size_t)a[1]);
        case SYS_read:
                return read((int)a[0], (void *)a[1], (size_t)a[2]);
        case SYS_write:
                return write((int)a[0], (const void *)a[1], (size_t)a[2]);
        default:
                return REAL(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
        }
}
