/* SPDX-License-Identifier: BSD-2-Clause */
/* Operations on the file's names while it is open. */
#include "fsx.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE ((size_t)4096)

static void second_name(const struct file *file, char *name)
{
        if (snprintf(name, PATH_MAX, "%s.2", file->path) >= PATH_MAX)
                fail("the name is too long");
}

/* A file that lost its name is as it was, until @file's descriptor, which is still its own, is closed. */
static void check_nameless(const struct file *file)
{
        struct stat st;
        uint8_t byte = 0;
        size_t at = chance(file->size);

        if (fstat(file->fd, &st) < 0 || st.st_nlink != 0 || (size_t)st.st_size != file->size)
                fail("without a name: %lu links, %#llx bytes", (unsigned long)st.st_nlink, (long long)st.st_size);
        check_part(file, at, 2 * PAGE);
        if (file->size &&
            (pwrite(file->fd, &byte, 1, (off_t)at) != 1 || pread(file->fd, &byte, 1, (off_t)at) != 1 || byte))
                fail("without a name: pwrite %#zx", at);
}

/* Another file with what this one should hold takes its name. */
static int rename_over(struct run *run, struct file *file)
{
        char name[PATH_MAX];

        second_name(file, name);

        int fd = open(name, O_RDWR | O_CREAT | O_EXCL, 0644);

        if (fd < 0 || pwrite(fd, file->bytes, file->size, 0) != (ssize_t)file->size)
                fail("%s: %s", name, strerror(errno));
        if (rename(name, file->path) < 0)
                fail("rename: %s", strerror(errno));
        check_nameless(file);
        drop_mapping(run, file);
        file_close(file);
        file->fd = fd;
        if (one_in(2)) {
                file_close(file);
                file_open(file, 0);
        }
        check_all(file);
        return 0;
}

static int unlink_and_create(struct run *run, struct file *file)
{
        if (unlink(file->path) < 0)
                fail("unlink: %s", strerror(errno));
        check_nameless(file);

        int old = file->fd;

        file_open(file, O_CREAT | O_EXCL);
        drop_mapping(run, file);
        /* Its contents go with its last user, whoever has its name by then. */
        if (close(old) < 0)
                fail("close: %s", strerror(errno));
        model_resize(file, 0);
        return write(file->fd, "", 0) == 0 ? 0 : (fail("write: %s", strerror(errno)), 0);
}

/* Bytes written under one name are read under the other. */
static int hard_link(struct run *run, struct file *file)
{
        char name[PATH_MAX];
        struct part part = any_part(run);
        uint8_t *bytes = malloc(part.size);

        second_name(file, name);
        if (!bytes)
                fail("no memory");
        random_bytes(bytes, part.size);
        note("%#zx +%#zx", part.offset, part.size);
        if (link(file->path, name) < 0)
                fail("link: %s", strerror(errno));

        int fd = open(name, O_WRONLY);

        if (fd < 0 || (size_t)pwrite(fd, bytes, part.size, (off_t)part.offset) != part.size)
                fail("%s: %s", name, strerror(errno));
        close(fd);
        model_write(file, part.offset, bytes, part.size);
        /* Either name may go. */
        if (one_in(2) ? unlink(name) < 0 : rename(name, file->path) < 0 || unlink(name) < 0)
                fail("unlink: %s", strerror(errno));
        check_part(file, part.offset, part.size);
        free(bytes);
        return 0;
}

static int rename_away(struct run *run, struct file *file)
{
        char name[PATH_MAX];

        second_name(file, name);
        if (rename(file->path, name) < 0)
                fail("rename: %s", strerror(errno));
        check_part(file, chance(file->size), PAGE);
        if (rename(name, file->path) < 0)
                fail("rename back: %s", strerror(errno));
        return 0;
}

const struct operation names_operations[] = {
        {"rename-over", 8, ALWAYS, rename_over},
        {"unlink-and-create", 4, ALWAYS, unlink_and_create},
        {"hard-link", 15, ALWAYS, hard_link},
        {"rename-away", 15, ALWAYS, rename_away},
        {0},
};
