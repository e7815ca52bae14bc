/* SPDX-License-Identifier: BSD-2-Clause */
#include "trace/describe.h"
#include "base/cleanup.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The bytes of the UTF-8 character that @text begins with; 0: it does not. RFC 3629, 4. */
static size_t utf8_length(const unsigned char *text)
{
        static const struct {
                unsigned char first, last, second_min, second_max;
                size_t length;
        } forms[] = {
                {0x20, 0x7e, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
                {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
                {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
        };

        for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
                if (text[0] < forms[i].first || text[0] > forms[i].last)
                        continue;
                if (forms[i].length > 1 && (text[1] < forms[i].second_min || text[1] > forms[i].second_max))
                        return 0;
                for (size_t j = 2; j < forms[i].length; j++)
                        if (text[j] < 0x80 || text[j] > 0xbf)
                                return 0;
                return forms[i].length;
        }
        return 0;
}

void make_printable(char *text)
{
        while (*text) {
                size_t n = utf8_length((const unsigned char *)text);

                if (n == 0)
                        *text = '?';
                text += n ? n : 1;
        }
}

/* How the kernel writes the links in /proc/self/fd of what is no file with a path. */
static const struct {
        const char *prefix, *suffix;
        const char *kind;
        bool named; /* what stands between prefix and suffix is a name */
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

static bool describe_link(char *link, struct description *description)
{
        for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
                size_t prefix = strlen(links[i].prefix);

                if (strncmp(link, links[i].prefix, prefix) != 0 || !ends_with(link, links[i].suffix))
                        continue;
                description->kind = links[i].kind;
                link[strlen(link) - strlen(links[i].suffix)] = '\0';
                if (links[i].named)
                        description->name = strdup(link + prefix);
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
        struct stat st = {0};

        *description = (struct description){.kind = "descriptor", .access = access_mode(fd)};
        if (fstat(fd, &st) < 0)
                return;
        description->has_size = S_ISREG(st.st_mode);
        description->size = (uint64_t)st.st_size;
        description->kind = file_kind(st.st_mode);
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);

        ssize_t n = readlink(path, link, sizeof(link) - 1);

        if (n < 0)
                return;
        link[n] = '\0';
        make_printable(link);
        if (!describe_link(link, description))
                description->name = strdup(link);
}

void description_clear(struct description *description)
{
        free(description->name);
        description->name = NULL;
}
