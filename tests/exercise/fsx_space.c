/* SPDX-License-Identifier: BSD-2-Clause */
/* Operations on a file's length and room, and copies that the kernel makes. */
#include "fsx.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <unistd.h>

#define PAGE ((size_t)4096)

/* Of a call that has failed: what to return if it need not be there. */
static int not_there(const char *call)
{
        if (errno != EOPNOTSUPP && errno != ENOSYS && errno != EXDEV)
                fail("%s: %s", call, strerror(errno));
        return errno;
}

static int resize(struct file *file, size_t size)
{
        note("%#zx -> %#zx", file->size, size);
        if (chance(2) ? ftruncate(file->fd, (off_t)size) < 0 : truncate(file->path, (off_t)size) < 0)
                fail("truncate: %s", strerror(errno));

        size_t least = size < file->size ? size : file->size;

        model_resize(file, size);
        check_part(file, least, 2 * PAGE);
        return 0;
}

static int truncate_down(struct run *run, struct file *file)
{
        /* Seldom to little: the rest is better off with something to work on. */
        size_t size = one_in(8) ? chance(file->size + 1) : file->size - chance(file->size / 4 + 1);

        return resize(file, one_in(4) ? size / PAGE * PAGE : size);
}

static int truncate_up(struct run *run, struct file *file)
{
        size_t more = one_in(8) ? chance(run->max - file->size + 1) : chance((run->max - file->size) / 8 + 1);

        return resize(file, file->size + more);
}

static int truncate_by_open(struct run *run, struct file *file)
{
        note("%#zx -> 0", file->size);
        file_close(file);
        file_open(file, O_TRUNC);
        model_resize(file, 0);
        return 0;
}

static int allocate(struct run *run, struct file *file)
{
        struct part part = any_part(run);

        note("%#zx +%#zx", part.offset, part.size);
        if (fallocate(file->fd, 0, (off_t)part.offset, (off_t)part.size) < 0)
                return not_there("fallocate");
        if (part.offset + part.size > file->size)
                model_resize(file, part.offset + part.size);
        check_part(file, part.offset, part.size);
        return 0;
}

static int allocate_keep_size(struct run *run, struct file *file)
{
        struct part part = any_part(run);

        note("%#zx +%#zx", part.offset, part.size);
        if (fallocate(file->fd, FALLOC_FL_KEEP_SIZE, (off_t)part.offset, (off_t)part.size) < 0)
                return not_there("fallocate");
        check_part(file, part.offset, part.size);
        return 0;
}

static void model_zero(struct file *file, struct part part)
{
        memset(file->bytes + part.offset, 0, part.size);
}

static int punch_hole(struct run *run, struct file *file)
{
        struct part part = any_part(run);

        note("%#zx +%#zx", part.offset, part.size);
        if (fallocate(file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)part.offset, (off_t)part.size) < 0)
                return not_there("punch hole");
        model_zero(file, part);
        check_part(file, part.offset, part.size);
        return 0;
}

static int zero_range(struct run *run, struct file *file)
{
        struct part part = any_part(run);
        bool keeps = one_in(2);

        note("%#zx +%#zx%s", part.offset, part.size, keeps ? ", size kept" : "");
        if (fallocate(file->fd, FALLOC_FL_ZERO_RANGE | (keeps ? FALLOC_FL_KEEP_SIZE : 0), (off_t)part.offset,
                      (off_t)part.size) < 0)
                return not_there("zero range");
        model_zero(file, part);
        if (!keeps && part.offset + part.size > file->size)
                model_resize(file, part.offset + part.size);
        check_part(file, part.offset, part.size);
        return 0;
}

/* ---- copies ---- */

static int copy(const struct file *from, struct file *to, struct part part, size_t at)
{
        off_t in = (off_t)part.offset, out = (off_t)at;

        note("%#zx +%#zx to %s %#zx", part.offset, part.size, from == to ? "itself at" : "the other at", at);

        ssize_t n = copy_file_range(from->fd, &in, to->fd, &out, part.size, 0);

        if (n < 0)
                return not_there("copy_file_range");
        if ((size_t)n > part.size || in != (off_t)part.offset + n || out != (off_t)at + n)
                fail("copied %zd, and then at %#llx and %#llx", n, (long long)in, (long long)out);
        if (part.size && n == 0)
                fail("nothing was copied");
        model_write(to, at, from->bytes + part.offset, (size_t)n);
        check_part(to, at, (size_t)n);
        return 0;
}

static int copy_within(struct run *run, struct file *file)
{
        struct part part = part_within(file);
        size_t at = chance(run->max);

        if (part.size > run->max - at)
                part.size = run->max - at;
        /* They must not overlap. */
        if (at < part.offset + part.size && part.offset < at + part.size)
                part.size = at < part.offset ? part.offset - at : at - part.offset;
        return part.size ? copy(file, file, part, at) : 0;
}

static int copy_between(struct run *run, struct file *file)
{
        const struct file *from = file == run->files ? &run->files[1] : run->files;
        struct part part = part_within(from);
        size_t at = chance(run->max);

        if (part.size > run->max - at)
                part.size = run->max - at;
        return part.size ? copy(from, file, part, at) : 0;
}

/* ---- holes ---- */

static void must_be_zeros(const struct file *file, size_t from, size_t to)
{
        for (size_t i = from; i < to; i++)
                if (file->bytes[i])
                        fail("%#zx is said to be in a hole, and is %#x", i, file->bytes[i]);
}

/* From a hole's start, or any place: nothing but zeros lies before the next data. */
static void check_data(const struct file *file, size_t from)
{
        off_t data = lseek(file->fd, (off_t)from, SEEK_DATA);

        if (data < 0 && errno != ENXIO)
                fail("SEEK_DATA %#zx: %s", from, strerror(errno));
        if (data >= 0 && ((size_t)data < from || (size_t)data >= file->size))
                fail("SEEK_DATA %#zx: %#llx", from, (long long)data);
        must_be_zeros(file, from, data < 0 ? file->size : (size_t)data);
}

static int seek(struct run *run, struct file *file)
{
        size_t from = chance(file->size);

        note("%#zx", from);
        /* It need not know of data that is in the kernel's memory alone. */
        if (fdatasync(file->fd) < 0)
                fail("fdatasync: %s", strerror(errno));
        if (!file->size)
                return 0;
        if (lseek(file->fd, (off_t)from, SEEK_DATA) < 0 && errno == EINVAL)
                return EINVAL;
        check_data(file, from);

        off_t hole = lseek(file->fd, (off_t)from, SEEK_HOLE);

        if (hole < (off_t)from || hole > (off_t)file->size)
                fail("SEEK_HOLE %#zx: %#llx %s", from, (long long)hole, hole < 0 ? strerror(errno) : "");
        if ((size_t)hole < file->size)
                check_data(file, (size_t)hole);
        return 0;
}

const struct operation space_operations[] = {
        {"truncate-down", 40, ALWAYS, truncate_down},
        {"truncate-up", 40, ALWAYS, truncate_up},
        {"truncate-by-open", 3, ALWAYS, truncate_by_open},
        {"allocate", 20, ALWAYS, allocate},
        {"allocate-keep-size", 20, ALWAYS, allocate_keep_size},
        {"punch-hole", 30, ALWAYS, punch_hole},
        {"zero-range", 30, ALWAYS, zero_range},
        {"copy-within", 30, ALWAYS, copy_within},
        {"copy-between", 30, ALWAYS, copy_between},
        {"seek", 30, ALWAYS, seek},
        {0},
};
