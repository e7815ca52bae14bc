/* SPDX-License-Identifier: BSD-2-Clause */
/* Describes each file descriptor that passes the tracer in words: a memfd with its name and size, an eventfd, a file
 * with its path. The facts come from fd_look() and from the link in /proc/self/fd, as the descriptor belongs to a peer
 * and must not be read. A long name is cut at its begin. Descriptions are owned by the record that they belong to. */
#include "trace/describe.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/libc.h"
#include "program/printable.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The kernel's links in /proc/self/fd for files without a path. */
static const struct {
        const char *prefix, *suffix;
        const char *kind;
        bool named; /* the text between prefix and suffix is a name */
} links[] = {
        {"/memfd:", " (deleted)", "memfd", true},
        {"/dmabuf:", "", "dma-buf", true},
        {"anon_inode:[eventfd]", "", "eventfd", false},
        {"anon_inode:[userfaultfd]", "", "userfaultfd", false},
        {"anon_inode:", "", "anon_inode", true},
        {"socket:", "", "socket", false},
        {"pipe:", "", "pipe", false},
};

static bool ends_with(const char *text, const char *suffix)
{
        size_t n = strlen(text), m = strlen(suffix);

        return n >= m && strcmp(text + n - m, suffix) == 0;
}

/* Keeps the end of a long name, which tells more of a path than its begin, and contains the whole file name. */
static char *keep_name(const char *name)
{
        size_t n = strlen(name);
        char *kept;

        if (n <= DESCRIBE_NAME_MAX)
                return strdup(name);
        name += n - DESCRIBE_NAME_MAX;
        while (((unsigned char)*name & 0xc0) == 0x80)
                name++;
        return asprintf(&kept, "…%s", name) < 0 ? NULL : kept;
}

static bool describe_link(char *link, struct description *description)
{
        for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
                size_t prefix = strlen(links[i].prefix);

                if (strncmp(link, links[i].prefix, prefix) != 0 || !ends_with(link, links[i].suffix))
                        continue;
                description->kind = links[i].kind;
                link[strlen(link) - strlen(links[i].suffix)] = '\0';
                if (links[i].named)
                        description->name = keep_name(link + prefix);
                return true;
        }
        return false;
}

static const char *file_kind(mode_t mode)
{
        static const struct {
                mode_t type;
                const char *kind;
        } kinds[] = {
                {S_IFREG, "file"},         {S_IFDIR, "directory"}, {S_IFCHR, "character device"},
                {S_IFBLK, "block device"}, {S_IFIFO, "pipe"},      {S_IFSOCK, "socket"},
        };

        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
                if ((mode & S_IFMT) == kinds[i].type)
                        return kinds[i].kind;
        return "descriptor";
}

static const char *access_mode(int fd)
{
        static const char *const names[] = {
                [O_RDONLY] = "read-only", [O_WRONLY] = "write-only", [O_RDWR] = "read-write"};
        int flags = fcntl(fd, F_GETFL);

        if (flags < 0 || (flags & O_PATH) || (size_t)(flags & O_ACCMODE) >= ARRAY_SIZE(names))
                return "path only";
        return names[flags & O_ACCMODE];
}

void describe_fd(int fd, struct description *description)
{
        char path[32], link[PATH_MAX];
        struct statx st;

        *description = (struct description){.kind = "descriptor", .access = access_mode(fd)};
        if (fd_look(fd, &st) < 0)
                return;
        description->has_size = S_ISREG(st.stx_mode);
        description->size = st.stx_size;
        description->kind = file_kind(st.stx_mode);
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);

        ssize_t n = readlink(path, link, sizeof(link) - 1);

        if (n < 0)
                return;
        link[n] = '\0';
        make_printable(link);
        if (!describe_link(link, description))
                description->name = keep_name(link);
}

void description_clear(struct description *description)
{
        free(description->name);
        description->name = NULL;
}
