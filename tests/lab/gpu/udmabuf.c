/* SPDX-License-Identifier: BSD-2-Clause */

/* In place of /dev/udmabuf where the kernel has none, to be preloaded: opened, it is a memfd; asked for a dmabuf of a
 * memfd's pages, it gives the memfd itself. Mesa's renderer on the CPU then has memory that can be shared, as it has it
 * where there is the device. */

#include <dlfcn.h>
#include <fcntl.h>
#include <linux/udmabuf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define REAL(name) ((__typeof__(&(name)))dlsym(RTLD_NEXT, #name))

static int open_in_place(const char *path)
{
        return strcmp(path, "/dev/udmabuf") == 0 ? memfd_create("udmabuf", MFD_CLOEXEC) : -1;
}

int open(const char *path, int flags, ...)
{
        int fd = open_in_place(path);
        va_list args;

        va_start(args, flags);
        if (fd < 0)
                fd = REAL(open)(path, flags, va_arg(args, mode_t));
        va_end(args);
        return fd;
}

int open64(const char *path, int flags, ...)
{
        int fd = open_in_place(path);
        va_list args;

        va_start(args, flags);
        if (fd < 0)
                fd = REAL(open64)(path, flags, va_arg(args, mode_t));
        va_end(args);
        return fd;
}

int ioctl(int fd, unsigned long request, ...)
{
        va_list args;
        void *argument;

        va_start(args, request);
        argument = va_arg(args, void *);
        va_end(args);
        if (request == UDMABUF_CREATE)
                return fcntl((int)((struct udmabuf_create *)argument)->memfd, F_DUPFD_CLOEXEC, 0);
        return REAL(ioctl)(fd, request, argument);
}
