/* SPDX-License-Identifier: BSD-2-Clause */
#include "posix.h"

#include <grp.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

const struct user ROOT = {0, 0, 0};
const struct user ALICE = {61001, 62001, 0};
const struct user BOB = {61002, 62002, 0};
const struct user CAROL = {61003, 62001, 0};
const struct user DAVE = {61004, 62004, 62001};

void need_root(void)
{
        uid_t real, effective, saved;

        OK(getresuid(&real, &effective, &saved));
        if (saved != 0)
                posix_skip("not root");
}

void become(const struct user *user)
{
        need_root();
        /* The saved user stays root, who may become anybody again. */
        OK(setresuid(0, 0, 0));
        OK(setgroups(user->also ? 1 : 0, &user->also));
        OK(setresgid(user->gid, user->gid, 0));
        OK(setresuid(user->uid, user->uid, 0));
}

void gate_make(struct gate *gate)
{
        OK(pipe(gate->fds));
}

void gate_open(const struct gate *gate)
{
        EQUAL(write(gate->fds[1], "x", 1), 1);
}

void gate_wait(const struct gate *gate)
{
        char byte;

        EQUAL(read(gate->fds[0], &byte, 1), 1);
}

/* ---- files ---- */

void make_file(const char *name, mode_t mode)
{
        int fd = OK(open(name, O_WRONLY | O_CREAT | O_EXCL, 0600));

        OK(fchmod(fd, mode));
        OK(close(fd));
}

void make_dir(const char *name, mode_t mode)
{
        OK(mkdir(name, 0700));
        OK(chmod(name, mode));
}

static void give(const struct user *user, const char *name, mode_t mode)
{
        need_root();
        OK(chown(name, user->uid, user->gid));
        OK(chmod(name, mode));
}

void make_file_of(const struct user *user, const char *name, mode_t mode)
{
        make_file(name, 0600);
        give(user, name, mode);
}

void make_dir_of(const struct user *user, const char *name, mode_t mode)
{
        make_dir(name, 0700);
        give(user, name, mode);
}

void make_some(void)
{
        make_file("file", 0644);
        make_dir("dir", 0755);
        OK(symlink("file", "to-file"));
        OK(symlink("missing", "dangling"));
        OK(symlink("loop", "loop"));
}

void put(const char *name, const char *text)
{
        int fd = OK(open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644));

        EQUAL(write(fd, text, strlen(text)), strlen(text));
        OK(close(fd));
}

void expect_text(const char *name, const char *text)
{
        char found[4096] = "";
        int fd = OK(open(name, O_RDONLY));
        ssize_t n = OK(read(fd, found, sizeof(found) - 1));

        OK(close(fd));
        found[n] = '\0';
        if (strcmp(found, text) != 0)
                posix_fail("%s holds \"%.100s\", not \"%.100s\"", name, found, text);
}

void expect_bytes(int fd, off_t offset, const void *bytes, size_t size)
{
        unsigned char *found = malloc(size + 1);

        CHECK(found);

        ssize_t n = OK(pread(fd, found, size, offset));

        if ((size_t)n != size)
                posix_fail("at %lld: %zd bytes are there, not %zu", (long long)offset, n, size);
        for (size_t i = 0; i < size; i++)
                if (found[i] != ((const unsigned char *)bytes)[i])
                        posix_fail("at %lld: %#x is there, not %#x", (long long)offset + (long long)i, found[i],
                                   ((const unsigned char *)bytes)[i]);
        free(found);
}

struct stat stat_of(const char *name)
{
        struct stat st;

        if (lstat(name, &st) < 0)
                posix_fail("lstat %.200s: %s", name, strerrorname_np(errno));
        return st;
}

bool exists(const char *name)
{
        struct stat st;
        int r = lstat(name, &st);

        if (r < 0 && errno != ENOENT)
                posix_fail("lstat %.200s: %s", name, strerrorname_np(errno));
        return r == 0;
}

mode_t mode_of(const char *name)
{
        return stat_of(name).st_mode & 07777;
}

bool is_kind(const char *name, mode_t kind)
{
        return (stat_of(name).st_mode & S_IFMT) == kind;
}

off_t size_of(const char *name)
{
        return stat_of(name).st_size;
}

long links_of(const char *name)
{
        return (long)stat_of(name).st_nlink;
}

ino_t inode_of(const char *name)
{
        return stat_of(name).st_ino;
}

/* ---- names ---- */

const char *repeated(char byte, size_t n)
{
        static char kept[4][2 * PATH_MAX + 1];
        static unsigned next;
        char *text = kept[next++ % 4];

        CHECK(n < sizeof(kept[0]));
        memset(text, byte, n);
        text[n] = '\0';
        return text;
}

const char *path_of_length(size_t n, const char *name)
{
        static char path[2 * PATH_MAX + 1];
        size_t at = 0;

        CHECK(n < sizeof(path) && n >= strlen(name));
        /* An odd one is a slash more. */
        if ((n - strlen(name)) % 2) {
                memcpy(path, ".//", 3);
                at = 3;
        }
        for (; at < n - strlen(name); at += 2)
                memcpy(path + at, "./", 2);
        strcpy(path + at, name);
        EQUAL(strlen(path), n);
        return path;
}

/* ---- times ---- */

void tick(void)
{
        /* A kernel's clock for files may go on only a hundred times a second. */
        nanosleep(&(struct timespec){0, 25000000}, NULL);
}

int compare_times(struct timespec a, struct timespec b)
{
        if (a.tv_sec != b.tv_sec)
                return a.tv_sec < b.tv_sec ? -1 : 1;
        return a.tv_nsec < b.tv_nsec ? -1 : a.tv_nsec > b.tv_nsec;
}
