/* SPDX-License-Identifier: BSD-2-Clause */
#include "program/outfile.h"
#include "base/fd.h"
#include "program/report.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int open_or_create(const char *path, bool *created)
{
        int fd = open(path, O_WRONLY | O_CLOEXEC);

        if (fd >= 0 || errno != ENOENT)
                return fd;
        fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        *created = fd >= 0;
        /* @path is a dangling link, or another process has just created it. */
        if (fd < 0 && errno == EEXIST)
                fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
        return fd;
}

int outfile_open(struct outfile *out, const char *path)
{
        if (!path)
                return STATUS_SUCCESS;

        bool created = false;
        int fd = open_or_create(path, &created);
        FILE *file = fd < 0 ? NULL : fdopen(fd, "w");

        if (!file) {
                report("%s: %s", path, strerror(errno));
                fd_close(fd);
                return STATUS_FAILURE;
        }
        *out = (struct outfile){path, file, created};
        return STATUS_SUCCESS;
}

int outfile_begin(struct outfile *out)
{
        struct stat st;

        out->created = false;
        if (out->path && fstat(fileno(out->file), &st) == 0 && S_ISREG(st.st_mode) &&
            ftruncate(fileno(out->file), 0) < 0)
                return -errno;
        return 0;
}

void outfile_close(struct outfile *out)
{
        if (!out->path)
                return;
        if (out->created)
                unlink(out->path);
        fclose(out->file);
        out->path = NULL;
}

bool is_same_file(FILE *file, const char *path)
{
        struct stat ours, other;

        return fstat(fileno(file), &ours) == 0 && stat(path, &other) == 0 && S_ISREG(ours.st_mode) &&
               ours.st_dev == other.st_dev && ours.st_ino == other.st_ino;
}
