/* SPDX-License-Identifier: BSD-2-Clause */
#include "fsx.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE ((size_t)4096)

/* ---- what to operate on ---- */

struct part any_part(const struct run *run)
{
        /* Up to there, as often as any other. */
        static const size_t limits[] = {16, 512, PAGE, 4 * PAGE, 65536, 1 << 20};
        size_t size = 1 + chance(limits[chance(6)]), offset = chance(run->max);

        if (one_in(4)) {
                offset -= offset % PAGE;
                size = (size + PAGE - 1) / PAGE * PAGE;
        }
        if (size > run->max - offset)
                size = run->max - offset;
        return (struct part){offset, size};
}

struct part part_within(const struct file *file)
{
        static const size_t limits[] = {16, PAGE, 65536, 1 << 20};
        size_t offset = chance(file->size), size = 1 + chance(limits[chance(4)]);

        if (one_in(4))
                offset -= offset % PAGE;
        if (size > file->size - offset)
                size = file->size - offset;
        return (struct part){offset, size};
}

void random_bytes(uint8_t *bytes, size_t size)
{
        for (size_t i = 0; i < size; i++) {
                static uint64_t word;

                if (i % 8 == 0)
                        word = chance(UINT64_MAX);
                bytes[i] = (uint8_t)(word >> i % 8 * 8);
        }
}

/* ---- the file ---- */

void file_open(struct file *file, int flags)
{
        file->fd = open(file->path, O_RDWR | flags, 0644);
        if (file->fd < 0)
                fail("open %s: %s", file->path, strerror(errno));
}

void file_close(struct file *file)
{
        if (close(file->fd) < 0)
                fail("close: %s", strerror(errno));
        file->fd = -1;
}

bool keep_mapping(const struct run *run, struct file *file)
{
        if (file->kept)
                return true;

        void *p = mmap(NULL, run->max, PROT_READ | PROT_WRITE, MAP_SHARED, file->fd, 0);

        if (p == MAP_FAILED && errno != ENODEV)
                fail("mmap: %s", strerror(errno));
        file->kept = p == MAP_FAILED ? NULL : p;
        return file->kept;
}

void drop_mapping(const struct run *run, struct file *file)
{
        if (file->kept)
                munmap(file->kept, run->max);
        file->kept = NULL;
}

/* ---- the model ---- */

void model_write(struct file *file, size_t offset, const uint8_t *bytes, size_t size)
{
        if (!size)
                return;
        memmove(file->bytes + offset, bytes, size);
        if (offset + size > file->size)
                file->size = offset + size;
}

void model_resize(struct file *file, size_t size)
{
        if (size < file->size)
                memset(file->bytes + size, 0, file->size - size);
        file->size = size;
}

/* ---- the comparison ---- */

static void show(char text[3 * 16 + 1], const uint8_t *bytes, size_t size)
{
        text[0] = '\0';
        for (size_t i = 0; i < size && i < 16; i++)
                snprintf(text + 3 * i, 4, " %02x", bytes[i]);
}

static size_t count_wrong(const uint8_t *a, const uint8_t *b, size_t size)
{
        size_t n = 0;

        for (size_t i = 0; i < size; i++)
                n += a[i] != b[i];
        return n;
}

void check_bytes(const struct file *file, const char *by, size_t offset, const uint8_t *found, size_t size)
{
        const uint8_t *expected = file->bytes + offset;
        char a[3 * 16 + 1], b[3 * 16 + 1];
        size_t at = 0;

        if (memcmp(expected, found, size) == 0)
                return;
        while (expected[at] == found[at])
                at++;
        show(a, expected + at, size - at);
        show(b, found + at, size - at);
        fail("%s, by %s: at %#zx, of %zu bytes of %#zx +%#zx that are wrong the first; the file has "
             "%#zx\nexpected%s\nfound   %s",
             file->path, by, offset + at, count_wrong(expected, found, size), offset, size, file->size, a, b);
}

static void check_read(const struct file *file, int fd, const char *by, size_t offset, size_t size)
{
        uint8_t *found = malloc(size + 1);

        if (!found)
                fail("no memory");

        ssize_t n = pread(fd, found, size, (off_t)offset);
        size_t there = offset < file->size ? file->size - offset : 0;

        if (n < 0)
                fail("%s, by %s: pread %#zx +%#zx: %s", file->path, by, offset, size, strerror(errno));
        if ((size_t)n != (size < there ? size : there))
                fail("%s, by %s: pread %#zx +%#zx gave %#zx bytes, the file has %#zx", file->path, by, offset, size,
                     (size_t)n, file->size);
        check_bytes(file, by, offset, found, (size_t)n);
        free(found);
}

void check_part(const struct file *file, size_t offset, size_t size)
{
        /* Some of what is around it too. */
        size_t before = offset < PAGE ? offset : PAGE;

        check_read(file, file->fd, "read", offset - before, before + size + PAGE);
}

void check_size(const struct file *file)
{
        struct stat by_fd, by_name;

        if (fstat(file->fd, &by_fd) < 0 || stat(file->path, &by_name) < 0)
                fail("stat: %s", strerror(errno));
        if ((size_t)by_fd.st_size != file->size || by_fd.st_size != by_name.st_size)
                fail("%s has %#llx bytes by fstat, %#llx by stat, not %#zx", file->path,
                     (unsigned long long)by_fd.st_size, (unsigned long long)by_name.st_size, file->size);
        if (by_fd.st_ino != by_name.st_ino)
                fail("%s is another file", file->path);
}

void check_all(const struct file *file)
{
        check_size(file);
        check_read(file, file->fd, "read", 0, file->size + 1);
        if (file->kept)
                check_bytes(file, "kept mapping", 0, file->kept, file->size);
}

void check_host(const struct file *file)
{
        if (!file->host[0])
                return;

        int fd = open(file->host, O_RDONLY | O_CLOEXEC);

        if (fd < 0)
                fail("%s: %s", file->host, strerror(errno));
        check_read(file, fd, "the host", 0, file->size + 1);
        close(fd);
}
