/* SPDX-License-Identifier: BSD-2-Clause */
/* A file system that is mounted read-only: run with --read-only on a directory in which someone has made a file "file"
 * that holds "text", a directory "dir", a symbolic link "to-file" and a fifo "fifo". Nothing may change there. */
#include "posix.h"

#include <stdio.h>
#include <sys/mman.h>
#include <sys/xattr.h>

CASE("readonly.read", "what is there can be read, and mapped")
{
        expect_text("file", "text");
        expect_text("to-file", "text");
        CHECK(is_kind("dir", S_IFDIR) && is_kind("to-file", S_IFLNK) && is_kind("fifo", S_IFIFO));

        int fd = OK(open("file", O_RDONLY));
        const char *p = OK_IF_THERE((char *)mmap(NULL, 4, PROT_READ, MAP_SHARED, fd, 0));

        CHECK(memcmp(p, "text", 4) == 0);
}

CASE("readonly.open", "EROFS for opening a file to write, to truncate or to create")
{
        FAILS(open("file", O_WRONLY), EROFS);
        FAILS(open("file", O_RDWR), EROFS);
        FAILS(open("to-file", O_WRONLY), EROFS);
        FAILS(open("file", O_RDONLY | O_TRUNC), EROFS);
        FAILS(open("new", O_WRONLY | O_CREAT, 0644), EROFS);
        FAILS(open("new", O_RDONLY | O_CREAT, 0644), EROFS);
        FAILS(open("dir", O_RDWR | O_TMPFILE, 0644), EROFS, EOPNOTSUPP);
        CHECK(!exists("new"));
}

CASE("readonly.open-existing", "O_CREAT is no harm for what is there and is only read, and O_EXCL says EEXIST")
{
        OK(close(OK(open("file", O_RDONLY | O_CREAT, 0644))));
        FAILS(open("file", O_RDONLY | O_CREAT | O_EXCL, 0644), EEXIST);
        FAILS(open("dir", O_WRONLY), EISDIR, EROFS);
}

CASE("readonly.make", "EROFS for whatever would be made")
{
        FAILS(mkdir("new", 0755), EROFS);
        FAILS(mkfifo("new", 0644), EROFS);
        FAILS(mknod("new", S_IFREG | 0644, 0), EROFS);
        FAILS(symlink("x", "new"), EROFS);
        FAILS(link("file", "new"), EROFS);
        FAILS(mkdir("dir/new", 0755), EROFS);
}

CASE("readonly.make-existing", "EEXIST or EROFS for what is there already")
{
        FAILS(mkdir("dir", 0755), EEXIST, EROFS);
        FAILS(symlink("x", "file"), EEXIST, EROFS);
}

CASE("readonly.remove", "EROFS for whatever would go, ENOENT for what is not there")
{
        FAILS(unlink("file"), EROFS);
        FAILS(unlink("to-file"), EROFS);
        FAILS(rmdir("dir"), EROFS);
        FAILS(unlink("missing"), ENOENT, EROFS);
        CHECK(exists("file") && exists("dir"));
}

CASE("readonly.rename", "EROFS for renaming")
{
        FAILS(rename("file", "new"), EROFS);
        FAILS(rename("file", "dir/file"), EROFS);
        FAILS(rename("dir", "new"), EROFS);
        FAILS(rename("missing", "new"), ENOENT, EROFS);
}

CASE("readonly.attributes", "EROFS for a new mode, owner or time, by name or by descriptor")
{
        int fd = OK(open("file", O_RDONLY));

        FAILS(chmod("file", 0600), EROFS);
        FAILS(fchmod(fd, 0600), EROFS);
        FAILS(chown("file", getuid(), getgid()), EROFS);
        FAILS(lchown("to-file", getuid(), getgid()), EROFS);
        FAILS(fchown(fd, getuid(), getgid()), EROFS);
        FAILS(utimensat(AT_FDCWD, "file", NULL, 0), EROFS);
        FAILS(futimens(fd, NULL), EROFS);
        FAILS(chmod("dir", 0700), EROFS);
}

CASE("readonly.truncate", "EROFS for truncating")
{
        FAILS(truncate("file", 0), EROFS);
        expect_text("file", "text");
}

CASE("readonly.xattr", "EROFS for extended attributes that would be set or removed")
{
        FAILS(setxattr("file", "user.new", "x", 1, 0), EROFS, EOPNOTSUPP);
        FAILS(removexattr("file", "user.new"), EROFS, EOPNOTSUPP);
}

CASE("readonly.access", "EROFS, or EACCES, for asking whether it could be written")
{
        OK(access("file", R_OK));
        if (access("file", W_OK) < 0)
                CHECK(errno == EROFS || errno == EACCES);
}

CASE("readonly.fifo", "a fifo is no matter of the file system's, and carries bytes")
{
        char byte;
        int fd = OK(open("fifo", O_RDWR | O_NONBLOCK));

        EQUAL(write(fd, "x", 1), 1);
        EQUAL(read(fd, &byte, 1), 1);
}

CASE("readonly.times", "reading marks nothing")
{
        struct stat before = stat_of("file"), after;

        tick();
        expect_text("file", "text");
        after = stat_of("file");
        EQUAL(compare_times(before.st_mtim, after.st_mtim), 0);
        EQUAL(compare_times(before.st_ctim, after.st_ctim), 0);
}

CASE("readonly.directory", "directories are read, and synced")
{
        int fd = OK(open("dir", O_RDONLY | O_DIRECTORY));

        OK(fsync(fd));
        FAILS(openat(fd, "new", O_WRONLY | O_CREAT, 0644), EROFS);
}
