/* SPDX-License-Identifier: BSD-2-Clause */
/* Names and paths as such, and calls that start at a directory's descriptor. */
#include "posix.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

CASE("names.longest", "a name of NAME_MAX bytes is a name")
{
        const char *name = repeated('n', NAME_MAX);

        EQUAL(pathconf(".", _PC_NAME_MAX), NAME_MAX);
        put(name, "x");
        expect_text(name, "x");
        OK(rename(name, repeated('m', NAME_MAX)));
        CHECK(!exists(name));
        OK(unlink(repeated('m', NAME_MAX)));
        OK(mkdir(name, 0755));
        OK(rmdir(name));
        OK(symlink("anything", name));
}

CASE("names.longest-path", "a path of PATH_MAX - 1 bytes is a path")
{
        make_file("file", 0644);
        CHECK(exists(path_of_length(PATH_MAX - 1, "file")));
        close(OK(open(path_of_length(PATH_MAX - 1, "new"), O_WRONLY | O_CREAT, 0644)));
        OK(unlink(path_of_length(PATH_MAX - 2, "new")));
}

CASE("names.deep", "directories may be nested deeper than PATH_MAX, and are reached step by step")
{
        const char *name = repeated('d', 200);

        for (int i = 0; i < 30; i++) {
                OK(mkdir(name, 0755));
                OK(chdir(name));
        }
        put("file", "deep");
        expect_text("file", "deep");
        OK(unlink("file"));
        /* The way back, so that others can remove it. */
        for (int i = 0; i < 30; i++) {
                OK(chdir(".."));
                OK(rmdir(name));
        }
}

CASE("names.every-byte", "a name may have every byte in it but NUL and /")
{
        char name[3] = "n?";

        for (int byte = 1; byte < 256; byte++) {
                if (byte == '/')
                        continue;
                name[1] = (char)byte;
                put(name, "x");
                expect_text(name, "x");
                OK(unlink(name));
        }
}

CASE("names.not-utf8", "a name need not be UTF-8")
{
        make_file("\xff\xfe\x80", 0644);
        make_file("\xc3\x28", 0644);
        CHECK(exists("\xff\xfe\x80") && exists("\xc3\x28"));
}

CASE("names.case", "names that differ in case are different names")
{
        put("name", "lower");
        put("NAME", "upper");
        expect_text("name", "lower");
        expect_text("NAME", "upper");
}

CASE("names.composed", "a composed letter and its parts are different names")
{
        put("\xc3\xa4", "one");
        put("a\xcc\x88", "two");
        expect_text("\xc3\xa4", "one");
}

CASE("names.spaces-and-dots", "spaces and dots are kept wherever they are in a name")
{
        static const char *const names[] = {" ", "...", ". ", " .", "a.", ".a", "a ", "-", "*", "\\", "con", "a:b"};

        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
                put(names[i], names[i]);
                expect_text(names[i], names[i]);
        }
}

CASE("names.dot", ". is the directory itself")
{
        OK(mkdir("dir", 0755));
        EQUAL(inode_of("dir/."), inode_of("dir"));
        FAILS(mkdir("dir/.", 0755), EEXIST);
        FAILS(rmdir("dir/."), EINVAL);
        FAILS(rename("dir/.", "other"), EBUSY, EINVAL);
        FAILS(unlink("dir/."), EISDIR, EPERM);
}

CASE("names.dot-dot", ".. is the directory above")
{
        OK(mkdir("dir", 0755));
        OK(mkdir("dir/sub", 0755));
        EQUAL(inode_of("dir/sub/.."), inode_of("dir"));
        EQUAL(inode_of("dir/.."), inode_of("."));
        FAILS(mkdir("dir/..", 0755), EEXIST);
        FAILS(rmdir("dir/sub/.."), ENOTEMPTY, EEXIST, EINVAL, EBUSY);
        FAILS(rename("dir/..", "other"), EBUSY, EINVAL);
}

CASE("names.dot-dot-after-rename", ".. of a directory that was moved is the one it was moved to")
{
        OK(mkdir("a", 0755));
        OK(mkdir("b", 0755));
        OK(mkdir("a/moved", 0755));

        int fd = OK(open("a/moved", O_RDONLY | O_DIRECTORY));
        struct stat st;

        OK(rename("a/moved", "b/moved"));
        OK(fstatat(fd, "..", &st, 0));
        EQUAL(st.st_ino, inode_of("b"));
}

CASE("names.slashes", "several slashes are one, and one at the end is no name")
{
        OK(mkdir("dir///", 0755));
        make_file("dir//file", 0644);
        CHECK(exists("dir/file"));
        CHECK(exists("dir//"));
        FAILS(open("dir/new/", O_WRONLY | O_CREAT, 0644), EISDIR, ENOTDIR, ENOENT);
        FAILS(mknod("dir/new/", S_IFREG | 0644, 0), ENOENT, ENOTDIR);
        FAILS(link("dir/file", "dir/new/"), ENOENT, ENOTDIR);
        FAILS(symlink("file", "dir/new/"), ENOENT, ENOTDIR);
}

CASE("names.slash-behind-link", "a slash behind a link's name follows the link")
{
        OK(mkdir("dir", 0755));
        OK(symlink("dir", "link"));
        EQUAL(inode_of("link/"), inode_of("dir"));
        FAILS(unlink("link/"), ENOTDIR, EISDIR, EPERM);
        FAILS(rmdir("link/"), ENOTDIR);
        CHECK(is_kind("link", S_IFLNK));
}

CASE("names.getcwd", "the working directory is told by its present name")
{
        char before[PATH_MAX], after[PATH_MAX];

        OK(mkdir("dir", 0755));
        OK(chdir("dir"));
        CHECK(getcwd(before, sizeof(before)));
        OK(rename("../dir", "../moved"));
        CHECK(getcwd(after, sizeof(after)));
        CHECK(strcmp(strrchr(before, '/'), "/dir") == 0);
        CHECK(strcmp(strrchr(after, '/'), "/moved") == 0);
}

CASE("names.removed-directory", "in a directory that was removed there is nothing, and nothing can be made")
{
        OK(mkdir("dir", 0755));
        OK(chdir("dir"));
        OK(rmdir("../dir"));
        FAILS(open("file", O_WRONLY | O_CREAT, 0644), ENOENT);
        FAILS(mkdir("sub", 0755), ENOENT);
        FAILS(symlink("x", "link"), ENOENT);
        FAILS(mknod("fifo", S_IFIFO | 0644, 0), ENOENT);

        char path[PATH_MAX];

        errno = 0;
        CHECK(!getcwd(path, sizeof(path)) && errno == ENOENT);
}

/* ---- at a descriptor ---- */

static void check_at(int dir, const char *name, int error)
{
        struct stat st;
        char target[8];

        FAILS(openat(dir, name, O_RDONLY), error);
        FAILS(openat(dir, name, O_WRONLY | O_CREAT, 0644), error);
        FAILS(fstatat(dir, name, &st, 0), error);
        FAILS(fchmodat(dir, name, 0644, 0), error);
        FAILS(fchownat(dir, name, 0, 0, 0), error);
        FAILS(utimensat(dir, name, NULL, 0), error);
        FAILS(faccessat(dir, name, F_OK, 0), error);
        FAILS(mkdirat(dir, name, 0755), error);
        FAILS(mknodat(dir, name, S_IFREG | 0644, 0), error);
        FAILS(symlinkat("x", dir, name), error);
        FAILS(readlinkat(dir, name, target, sizeof(target)), error);
        FAILS(unlinkat(dir, name, 0), error);
        FAILS(unlinkat(dir, name, AT_REMOVEDIR), error);
        FAILS(linkat(dir, name, AT_FDCWD, "new", 0), error);
        FAILS(linkat(AT_FDCWD, "file", dir, name, 0), error);
        FAILS(renameat(dir, name, AT_FDCWD, "new"), error);
        FAILS(renameat(AT_FDCWD, "file", dir, name), error);
}

CASE("at.closed", "EBADF for a path that starts at what is no descriptor")
{
        make_file("file", 0644);
        check_at(9999, "name", EBADF);
}

CASE("at.file", "ENOTDIR for a path that starts at a file")
{
        make_file("file", 0644);
        check_at(OK(open("file", O_RDONLY)), "name", ENOTDIR);
}

CASE("at.removed", "ENOENT for a path that starts at a directory that was removed")
{
        OK(mkdir("dir", 0755));

        int dir = OK(open("dir", O_RDONLY));

        OK(rmdir("dir"));
        make_file("file", 0644);
        check_at(dir, "name", ENOENT);
}

CASE("at.moved", "a descriptor stays with its directory when that is moved")
{
        struct stat st;

        OK(mkdir("dir", 0755));
        OK(mkdir("other", 0755));

        int dir = OK(open("dir", O_RDONLY | O_DIRECTORY));

        OK(rename("dir", "other/moved"));
        OK(mkdirat(dir, "sub", 0755));
        CHECK(is_kind("other/moved/sub", S_IFDIR));
        OK(fstatat(dir, "sub", &st, 0));
        OK(unlinkat(dir, "sub", AT_REMOVEDIR));
}

CASE("at.two-directories", "rename and link from one directory's descriptor to another's")
{
        OK(mkdir("a", 0755));
        OK(mkdir("b", 0755));
        put("a/file", "text");

        int a = OK(open("a", O_PATH | O_DIRECTORY)), b = OK(open("b", O_PATH | O_DIRECTORY));

        OK(linkat(a, "file", b, "link", 0));
        EQUAL(links_of("a/file"), 2);
        OK(renameat(a, "file", b, "file"));
        CHECK(!exists("a/file"));
        expect_text("b/file", "text");
}

CASE("at.empty-path", "AT_EMPTY_PATH names what the descriptor is of")
{
        struct stat st;

        make_file("file", 0644);

        int fd = OK(open("file", O_PATH));

        OK(fstatat(fd, "", &st, AT_EMPTY_PATH));
        EQUAL(st.st_ino, inode_of("file"));
        FAILS(fstatat(fd, "", &st, 0), ENOENT);
}
