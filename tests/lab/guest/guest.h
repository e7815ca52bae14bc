/* SPDX-License-Identifier: BSD-2-Clause */
/* Shared by the guests' programs. */
#ifndef LAB_GUEST_H
#define LAB_GUEST_H

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static inline void __attribute__((noreturn, format(printf, 1, 2))) die(const char *format, ...)
{
        va_list args;

        va_start(args, format);
        vprintf(format, args);
        va_end(args);
        printf(" (errno %d)\n", errno);
        exit(1);
}

static inline int open_file(const char *path, int flags)
{
        int fd = open(path, flags, 0644);

        if (fd < 0)
                die("open %s", path);
        return fd;
}

static inline uint8_t *map_file(int fd, size_t size, int protection)
{
        void *p = mmap(NULL, size, protection, MAP_SHARED, fd, 0);

        if (p == MAP_FAILED)
                die("mmap %zu", size);
        return p;
}

/* False: it says no. */
static inline bool ask_host(const char *action)
{
        int console = open_file("/dev/console", O_RDWR);
        char answer[64] = {0};

        dprintf(console, "host: %s\n", action);
        if (read(console, answer, sizeof(answer) - 1) <= 0)
                die("no answer to %s", action);
        close(console);
        return strncmp(answer, "no", 2) != 0;
}

#endif
