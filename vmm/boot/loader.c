/* SPDX-License-Identifier: BSD-2-Clause */

/* The part of loading that all kernels share: where guest memory is in this process, reading files that the user named,
 * and placing command line and initrd. loader_place() sends from file to file with sendfile(2) where guest memory is
 * one, and reads the rest. It runs while no vcpu does, at addresses that its caller has checked; files may be truncated
 * at any time, which is an error with one line in loader->why. */

#include "vmm/boot/loader.h"

#include "base/range.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

int loader_fail(struct loader *loader, int error, const char *format, ...)
{
        va_list args;

        va_start(args, format);
        vsnprintf(loader->why, loader->why_size, format, args);
        va_end(args);
        return error;
}

static const struct oriel_memory_region *part_of(const struct loader *loader, struct oriel_range wanted)
{
        for (unsigned i = 0; i < loader->parts; i++) {
                const struct oriel_memory_region *part = &loader->memory[i];

                if (range_contains((struct oriel_range){part->guest_address, part->size}, wanted))
                        return part;
        }
        return NULL;
}

void *loader_memory_at(const struct loader *loader, uint64_t address, uint64_t size)
{
        const struct oriel_memory_region *part = part_of(loader, (struct oriel_range){address, size});

        return part ? (uint8_t *)(uintptr_t)part->user_address + (address - part->guest_address) : NULL;
}

uint64_t loader_low_end(const struct loader *loader)
{
        return loader->parts > 0 ? loader->memory[0].guest_address + loader->memory[0].size : 0;
}

int loader_file_size(struct loader *loader, int fd, const char *what, uint64_t *size)
{
        struct stat st;

        if (fstat(fd, &st) < 0) {
                int error = errno;

                return loader_fail(loader, -error, "can't read the %s: %s", what, strerror(error));
        }
        if (!S_ISREG(st.st_mode) || st.st_size < 0)
                return loader_fail(loader, -ENOEXEC, "the %s is not a regular file", what);
        *size = (uint64_t)st.st_size;
        return 0;
}

int loader_read(struct loader *loader, int fd, const char *what, struct oriel_range range, void *out)
{
        uint64_t end, done = 0;

        if (!checked_add(range.start, range.size, &end) || end > INT64_MAX)
                return loader_fail(loader, -ENOEXEC, "the %s is truncated", what);
        while (done < range.size) {
                ssize_t n = pread(fd, (uint8_t *)out + done, range.size - done, (off_t)(range.start + done));
                int error = errno;

                if (n < 0 && error == EINTR)
                        continue;
                if (n < 0)
                        return loader_fail(loader, -error, "can't read the %s: %s", what, strerror(error));
                if (n == 0)
                        return loader_fail(loader, -ENOEXEC, "the %s is truncated: %llu bytes at 0x%llx are missing",
                                           what, (unsigned long long)(range.size - done),
                                           (unsigned long long)(range.start + done));
                done += (uint64_t)n;
        }
        return 0;
}

/* From file to file, where the kernel can: that makes memory that nobody has touched yet, without clearing it first and
 * without a page fault for each page of it. How many bytes that were. */
static uint64_t loader_send(const struct loader *loader, int fd, struct oriel_range range, uint64_t address)
{
        const struct oriel_memory_region *part = part_of(loader, (struct oriel_range){address, 1});
        off_t from = (off_t)range.start, to = (off_t)(part->mmap_offset + (address - part->guest_address));
        uint64_t done = 0;
        ssize_t n = 1;

        if (loader->memory_fd < 0 || lseek(loader->memory_fd, to, SEEK_SET) < 0)
                return 0;
        for (; done < range.size && n > 0; done += n > 0 ? (uint64_t)n : 0)
                n = sendfile(loader->memory_fd, fd, &from, range.size - done);
        return done;
}

int loader_place(struct loader *loader, int fd, const char *what, struct oriel_range range, uint64_t address)
{
        uint64_t end, done;

        if (!checked_add(range.start, range.size, &end) || end > INT64_MAX)
                return loader_fail(loader, -ENOEXEC, "the %s is truncated", what);
        done = loader_send(loader, fd, range, address);
        range.start += done;
        range.size -= done;
        return loader_read(loader, fd, what, range, (uint8_t *)loader_memory_at(loader, address, 1) + done);
}

/* ---- what every kernel gets ---- */

int loader_put_cmdline(struct loader *loader, struct oriel_range room, uint64_t most)
{
        const char *cmdline = loader->image->cmdline;
        size_t size = strlen(cmdline);

        if (most > room.size - 1)
                most = room.size - 1;
        if (size > most)
                return loader_fail(loader, -E2BIG,
                                   "the command line is too long: it has %zu bytes, and this kernel takes %llu", size,
                                   (unsigned long long)most);
        memcpy(loader_memory_at(loader, room.start, room.size), cmdline, size + 1);
        return 0;
}

static int initrd_does_not_fit(struct loader *loader, uint64_t floor, uint64_t ceiling, uint64_t size)
{
        unsigned long long has = (size >> 20) + 1, most = ceiling > floor ? (ceiling - floor) >> 20 : 0;
        uint64_t end;

        if (!checked_add(floor, size, &end) || !checked_round_up(end, 1 << 20, &end) || end > ceiling)
                return loader_fail(loader, -E2BIG,
                                   "the initrd is too large: it has %llu MiB, and this kernel takes about %llu MiB",
                                   has, most);
        return loader_fail(loader, -ENOMEM,
                           "with this initrd it needs at least %llu MiB of memory, the guest has %llu MiB",
                           (unsigned long long)(end >> 20) + 1, (unsigned long long)(loader_low_end(loader) >> 20));
}

int loader_put_initrd(struct loader *loader, uint64_t floor, uint64_t ceiling, struct oriel_range *out)
{
        const int fd = loader->image->initrd_fd;
        struct oriel_range file = {0};

        *out = (struct oriel_range){0};
        if (fd < 0)
                return 0;

        int r = loader_file_size(loader, fd, "initrd", &file.size);

        if (r < 0 || file.size == 0)
                return r;

        uint64_t end = ceiling < loader_low_end(loader) ? ceiling : loader_low_end(loader);
        uint64_t start = end < file.size ? 0 : (end - file.size) & ~(uint64_t)(sysconf(_SC_PAGESIZE) - 1);

        if (start < floor || !loader_memory_at(loader, start, file.size))
                return initrd_does_not_fit(loader, floor, ceiling, file.size);
        *out = (struct oriel_range){start, file.size};
        return loader_place(loader, fd, "initrd", file, start);
}
