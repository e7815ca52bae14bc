/* SPDX-License-Identifier: BSD-2-Clause */
/* Operations on a file's contents: by calls, by mappings, and by the host. */
#include "fsx.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define PAGE ((size_t)4096)

static uint8_t *new_bytes(size_t size)
{
        void *bytes = NULL;

        if (posix_memalign(&bytes, PAGE, size + PAGE))
                fail("no memory");
        random_bytes(bytes, size);
        return bytes;
}

/* ---- by calls ---- */

static int write_part(struct run *run, struct file *file)
{
        struct part part = any_part(run);
        uint8_t *bytes = new_bytes(part.size);

        note("%#zx +%#zx", part.offset, part.size);

        ssize_t n = pwrite(file->fd, bytes, part.size, (off_t)part.offset);

        if ((size_t)n != part.size)
                fail("pwrite gave %zd: %s", n, strerror(errno));
        model_write(file, part.offset, bytes, part.size);
        check_part(file, part.offset, part.size);
        free(bytes);
        return 0;
}

static int write_vectors(struct run *run, struct file *file)
{
        struct part part = any_part(run);
        uint8_t *bytes = new_bytes(part.size);
        size_t first = chance(part.size);
        struct iovec iov[2] = {{bytes, first}, {bytes + first, part.size - first}};

        note("%#zx +%#zx +%#zx", part.offset, first, part.size - first);
        if ((size_t)pwritev(file->fd, iov, 2, (off_t)part.offset) != part.size)
                fail("pwritev: %s", strerror(errno));
        model_write(file, part.offset, bytes, part.size);
        check_part(file, part.offset, part.size);
        free(bytes);
        return 0;
}

static int read_part(struct run *run, struct file *file)
{
        struct part part = any_part(run);

        note("%#zx +%#zx", part.offset, part.size);
        check_part(file, part.offset, part.size);
        return 0;
}

/* By a descriptor of its own, or by this one for a while. */
static int append(struct run *run, struct file *file)
{
        size_t size = any_part(run).size;
        bool own = one_in(2);

        if (size > run->max - file->size)
                size = run->max - file->size;

        uint8_t *bytes = new_bytes(size);
        int fd = own ? open(file->path, O_WRONLY | O_APPEND) : file->fd;
        size_t at = file->size;

        note("%#zx +%#zx by %s descriptor", at, size, own ? "another" : "the same");
        if (fd < 0 || (!own && fcntl(fd, F_SETFL, O_APPEND) < 0))
                fail("O_APPEND: %s", strerror(errno));
        if ((size_t)write(fd, bytes, size) != size)
                fail("write: %s", strerror(errno));
        if (own ? close(fd) < 0 : fcntl(fd, F_SETFL, 0) < 0)
                fail("close: %s", strerror(errno));
        model_write(file, at, bytes, size);
        check_part(file, at, size);
        free(bytes);
        return 0;
}

static int reopen(struct run *run, struct file *file)
{
        file_close(file);
        file_open(file, 0);
        check_part(file, chance(file->size), PAGE);
        return 0;
}

static int sync_file(struct run *run, struct file *file)
{
        bool data_only = one_in(2);

        note("%s", data_only ? "fdatasync" : "fsync");
        if (data_only ? fdatasync(file->fd) < 0 : fsync(file->fd) < 0)
                fail("sync: %s", strerror(errno));
        check_host(file);
        return 0;
}

/* The kernel is to ask the file system again. */
static int drop_cache(struct run *run, struct file *file)
{
        if (fdatasync(file->fd) < 0)
                fail("fdatasync: %s", strerror(errno));
        posix_fadvise(file->fd, 0, 0, POSIX_FADV_DONTNEED);

        struct part part = part_within(file);

        note("%#zx +%#zx", part.offset, part.size);
        check_part(file, part.offset, part.size);
        return 0;
}

static int direct(struct run *run, struct file *file)
{
        bool writes = one_in(2);
        struct part part = any_part(run);
        int fd = open(file->path, (writes ? O_WRONLY : O_RDONLY) | O_DIRECT);

        if (fd < 0)
                return errno == EINVAL || errno == EOPNOTSUPP ? errno : (fail("O_DIRECT: %s", strerror(errno)), 0);
        part.offset -= part.offset % PAGE;
        part.size = (part.size + PAGE - 1) / PAGE * PAGE;
        if (part.size > run->max - part.offset)
                part.size = (run->max - part.offset) / PAGE * PAGE;
        note("%s %#zx +%#zx", writes ? "write" : "read", part.offset, part.size);

        uint8_t *bytes = new_bytes(part.size);
        size_t there = file->size > part.offset ? file->size - part.offset : 0;
        size_t expected = writes || there > part.size ? part.size : there;
        ssize_t n = writes ? pwrite(fd, bytes, part.size, (off_t)part.offset)
                           : pread(fd, bytes, part.size, (off_t)part.offset);

        if (n < 0 && errno == EINVAL) {
                close(fd);
                free(bytes);
                return EINVAL;
        }
        if ((size_t)n != expected)
                fail("%zd bytes, not %zu: %s", n, expected, strerror(errno));
        close(fd);
        if (writes)
                model_write(file, part.offset, bytes, part.size);
        else
                check_bytes(file, "O_DIRECT", part.offset, bytes, expected);
        check_part(file, part.offset, part.size);
        free(bytes);
        return 0;
}

/* ---- by mappings ---- */

/* Of whole pages around @part, whose first byte is at *@at. NULL: this file system has no shared mappings. */
static uint8_t *map_part(const struct file *file, struct part part, uint8_t **at, size_t *length)
{
        size_t begin = part.offset / PAGE * PAGE;

        *length = part.offset + part.size - begin;

        uint8_t *p = mmap(NULL, *length, PROT_READ | PROT_WRITE, MAP_SHARED, file->fd, (off_t)begin);

        if (p == MAP_FAILED && errno != ENODEV)
                fail("mmap: %s", strerror(errno));
        *at = p + (part.offset - begin);
        return p == MAP_FAILED ? NULL : p;
}

static int map_write(struct run *run, struct file *file)
{
        struct part part = part_within(file);
        uint8_t *at, *p;
        size_t length;

        if (!part.size)
                return 0;

        uint8_t *bytes = new_bytes(part.size);
        unsigned sync = (unsigned)chance(3);

        note("%#zx +%#zx%s", part.offset, part.size, sync == 0 ? "" : sync == 1 ? ", MS_ASYNC" : ", MS_SYNC");
        p = map_part(file, part, &at, &length);
        if (!p) {
                free(bytes);
                return ENODEV;
        }
        memcpy(at, bytes, part.size);
        if (sync && msync(p, length, sync == 1 ? MS_ASYNC : MS_SYNC) < 0)
                fail("msync: %s", strerror(errno));
        if (munmap(p, length) < 0)
                fail("munmap: %s", strerror(errno));
        model_write(file, part.offset, bytes, part.size);
        check_part(file, part.offset, part.size);
        free(bytes);
        return 0;
}

static int map_read(struct run *run, struct file *file)
{
        struct part part = part_within(file);
        uint8_t *at, *p;
        size_t length;

        if (!part.size)
                return 0;
        note("%#zx +%#zx", part.offset, part.size);
        p = map_part(file, part, &at, &length);
        if (!p)
                return ENODEV;
        check_bytes(file, "mapping", part.offset, at, part.size);
        /* The last page reads as zeros behind the end, unless the reader has stored there. */
        munmap(p, length);
        return 0;
}

static int kept_write(struct run *run, struct file *file)
{
        struct part part = part_within(file);

        if (!keep_mapping(run, file))
                return ENODEV;
        if (!part.size)
                return 0;

        uint8_t *bytes = new_bytes(part.size);

        note("%#zx +%#zx", part.offset, part.size);
        memcpy(file->kept + part.offset, bytes, part.size);
        model_write(file, part.offset, bytes, part.size);
        check_part(file, part.offset, part.size);
        free(bytes);
        return 0;
}

static int kept_read(struct run *run, struct file *file)
{
        struct part part = part_within(file);

        if (!keep_mapping(run, file))
                return ENODEV;
        note("%#zx +%#zx", part.offset, part.size);
        check_bytes(file, "kept mapping", part.offset, file->kept + part.offset, part.size);
        return 0;
}

static int kept_new(struct run *run, struct file *file)
{
        drop_mapping(run, file);
        return keep_mapping(run, file) ? 0 : ENODEV;
}

/* ---- by the host ---- */

static void sleep_ms(long ms)
{
        nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static bool mount_sees(const struct file *file, uint8_t *found)
{
        struct stat st;
        ssize_t n = pread(file->fd, found, file->size + 1, 0);

        if (n < 0 || fstat(file->fd, &st) < 0)
                fail("read: %s", strerror(errno));
        return (size_t)st.st_size == file->size && (size_t)n == file->size &&
               memcmp(found, file->bytes, file->size) == 0;
}

/* Attributes are believed for a second, and contents as long as the attributes are the same. */
static void wait_for_mount(const struct file *file)
{
        uint8_t *found = malloc(file->size + 1);

        if (!found)
                fail("no memory");
        for (int i = 0; i < 150 && !mount_sees(file, found); i++)
                sleep_ms(20);
        check_all(file);
        free(found);
}

static int host_change(struct run *run, struct file *file)
{
        struct part part = any_part(run);
        bool cuts = one_in(3);
        uint8_t *bytes = new_bytes(part.size);
        int fd = open(file->host, O_WRONLY);

        if (fd < 0 || fsync(file->fd) < 0)
                fail("%s: %s", file->host, strerror(errno));
        check_host(file);
        /* Nothing would tell it from what was written in the same instant of the clock for files. */
        sleep_ms(25);
        if (cuts) {
                note("truncate %#zx", part.offset);
                if (ftruncate(fd, (off_t)part.offset) < 0)
                        fail("ftruncate: %s", strerror(errno));
                model_resize(file, part.offset);
        } else {
                note("pwrite %#zx +%#zx", part.offset, part.size);
                if ((size_t)pwrite(fd, bytes, part.size, (off_t)part.offset) != part.size)
                        fail("pwrite: %s", strerror(errno));
                model_write(file, part.offset, bytes, part.size);
        }
        close(fd);
        free(bytes);
        if (one_in(2)) {
                note(", reopened");
                file_close(file);
                file_open(file, 0);
        }
        wait_for_mount(file);
        return 0;
}

const struct operation contents_operations[] = {
        {"write", 200, ALWAYS, write_part},
        {"write-vectors", 40, ALWAYS, write_vectors},
        {"read", 150, ALWAYS, read_part},
        {"append", 40, ALWAYS, append},
        {"reopen", 40, ALWAYS, reopen},
        {"sync", 40, ALWAYS, sync_file},
        {"drop-cache", 40, ALWAYS, drop_cache},
        {"direct", 40, ALWAYS, direct},
        {"map-write", 100, WITH_MMAP, map_write},
        {"map-read", 100, WITH_MMAP, map_read},
        {"kept-write", 60, WITH_MMAP, kept_write},
        {"kept-read", 60, WITH_MMAP, kept_read},
        {"kept-new", 10, WITH_MMAP, kept_new},
        {"host-change", 3, WITH_HOST, host_change},
        {0},
};
