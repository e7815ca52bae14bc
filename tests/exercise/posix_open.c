/* SPDX-License-Identifier: BSD-2-Clause */
/* open(), its flags, and what a descriptor allows. */
#include "posix.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/uio.h>

CASE("open.creates", "O_CREAT makes an empty file with the mode less the umask")
{
        umask(027);
        OK(close(OK(open("file", O_WRONLY | O_CREAT, 0666))));
        EQUAL(mode_of("file"), 0640);
        EQUAL(size_of("file"), 0);
        EQUAL(stat_of("file").st_uid, geteuid());
        EQUAL(links_of("file"), 1);
}

CASE("open.creates-with-no-rights", "the mode of a new file does not limit the descriptor that made it")
{
        char byte;
        int fd = OK(open("file", O_RDWR | O_CREAT, 0));

        EQUAL(mode_of("file"), 0);
        EQUAL(write(fd, "x", 1), 1);
        EQUAL(pread(fd, &byte, 1, 0), 1);
        OK(ftruncate(fd, 10));
}

CASE("open.creates-for-user-with-no-rights", "nor is a user limited who made it with mode 0 to write it")
{
        make_dir_of(&ALICE, "dir", 0700);
        become(&ALICE);
        OK(chdir("dir"));

        int fd = OK(open("file", O_RDWR | O_CREAT | O_EXCL, 0));

        EQUAL(write(fd, "x", 1), 1);
        FAILS(open("file", O_RDONLY), EACCES);
}

CASE("open.creates-special-bits", "set-user-ID and sticky may be asked for at creation")
{
        OK(close(OK(open("suid", O_WRONLY | O_CREAT, 04755))));
        EQUAL(mode_of("suid"), 04755);
        OK(mkdir("dir", 01777 & 07777));
        EQUAL(mode_of("dir"), 01755);
}

CASE("open.keeps", "O_CREAT leaves a file that is there as it is")
{
        put("file", "text");
        OK(chmod("file", 0600));
        OK(close(OK(open("file", O_WRONLY | O_CREAT, 0666))));
        expect_text("file", "text");
        EQUAL(mode_of("file"), 0600);
}

CASE("open.exclusive", "O_EXCL: EEXIST for whatever is there, a link not being followed")
{
        make_some();
        FAILS(open("file", O_RDWR | O_CREAT | O_EXCL, 0644), EEXIST);
        FAILS(open("dir", O_RDWR | O_CREAT | O_EXCL, 0644), EEXIST);
        FAILS(open("to-file", O_RDWR | O_CREAT | O_EXCL, 0644), EEXIST);
        FAILS(open("dangling", O_RDWR | O_CREAT | O_EXCL, 0644), EEXIST);
        CHECK(!exists("missing"));
}

CASE("open.exclusive-race", "of many that create with O_EXCL at once exactly one does")
{
        int counter = OK(open("counter", O_WRONLY | O_CREAT | O_APPEND, 0644));

        for (int round = 0; round < 10; round++) {
                pid_t pids[4];
                char name[16];

                snprintf(name, sizeof(name), "file-%d", round);
                for (int i = 0; i < 4; i++) {
                        pids[i] = posix_fork();
                        if (pids[i] != 0)
                                continue;
                        if (open(name, O_WRONLY | O_CREAT | O_EXCL, 0644) >= 0)
                                EQUAL(write(counter, "1", 1), 1);
                        else
                                EQUAL(errno, EEXIST);
                        _exit(0);
                }
                for (int i = 0; i < 4; i++)
                        posix_join(pids[i]);
                EQUAL(size_of("counter"), round + 1);
        }
}

CASE("open.creates-through-link", "O_CREAT makes what a dangling link names")
{
        OK(symlink("target", "link"));
        OK(close(OK(open("link", O_WRONLY | O_CREAT, 0644))));
        CHECK(is_kind("target", S_IFREG));
        CHECK(is_kind("link", S_IFLNK));
}

CASE("open.nofollow", "O_NOFOLLOW: ELOOP for a link at the end of the path, and only there")
{
        make_some();
        OK(symlink("dir", "to-dir"));
        make_file("dir/file", 0644);
        FAILS(open("to-file", O_RDONLY | O_NOFOLLOW), ELOOP);
        FAILS(open("dangling", O_RDONLY | O_NOFOLLOW), ELOOP);
        FAILS(open("to-file", O_WRONLY | O_CREAT | O_NOFOLLOW, 0644), ELOOP);
        OK(close(OK(open("to-dir/file", O_RDONLY | O_NOFOLLOW))));
}

CASE("open.path-of-link", "O_PATH and O_NOFOLLOW give the link itself")
{
        char target[16];
        struct stat st;

        OK(symlink("target", "link"));

        int fd = OK(open("link", O_PATH | O_NOFOLLOW));

        OK(fstat(fd, &st));
        CHECK(S_ISLNK(st.st_mode));
        EQUAL(readlinkat(fd, "", target, sizeof(target)), 6);
}

CASE("open.path", "what was opened with O_PATH can be neither read nor written")
{
        char byte;

        make_file("file", 0644);

        int fd = OK(open("file", O_PATH));

        FAILS(read(fd, &byte, 1), EBADF);
        FAILS(write(fd, "x", 1), EBADF);
        FAILS(ftruncate(fd, 0), EBADF, EINVAL);
        FAILS(fchmod(fd, 0600), EBADF);
}

CASE("open.directory-flag", "O_DIRECTORY: ENOTDIR for all else")
{
        make_some();
        FAILS(open("file", O_RDONLY | O_DIRECTORY), ENOTDIR);
        FAILS(open("to-file", O_RDONLY | O_DIRECTORY), ENOTDIR);
        OK(close(OK(open("dir", O_RDONLY | O_DIRECTORY))));
}

CASE("open.directory-to-write", "EISDIR for a directory that is opened for writing")
{
        OK(mkdir("dir", 0755));
        FAILS(open("dir", O_WRONLY), EISDIR);
        FAILS(open("dir", O_RDWR), EISDIR);
        FAILS(open("dir", O_RDONLY | O_TRUNC), EISDIR);
        FAILS(open("dir", O_RDONLY | O_CREAT, 0644), EISDIR);
}

CASE("open.directory-is-not-read", "EISDIR for reading a directory as a file")
{
        char byte;

        OK(mkdir("dir", 0755));

        int fd = OK(open("dir", O_RDONLY));

        FAILS(read(fd, &byte, 1), EISDIR);
        FAILS(pread(fd, &byte, 1, 0), EISDIR);
        FAILS(write(fd, "x", 1), EBADF);
        FAILS(ftruncate(fd, 0), EINVAL, EBADF);
        OK(fsync(fd));
}

CASE("open.truncates", "O_TRUNC empties a file and leaves owner and mode")
{
        put("file", "text");
        OK(chmod("file", 0610));
        OK(close(OK(open("file", O_WRONLY | O_TRUNC))));
        EQUAL(size_of("file"), 0);
        EQUAL(mode_of("file"), 0610);
}

CASE("open.truncates-for-others", "a file that is emptied by O_TRUNC is empty for those who have it open")
{
        char byte;

        put("file", "text");

        int fd = OK(open("file", O_RDWR));

        EQUAL(pread(fd, &byte, 1, 0), 1);
        OK(close(OK(open("file", O_WRONLY | O_TRUNC))));
        EQUAL(pread(fd, &byte, 1, 0), 0);
        EQUAL(write(fd, "y", 1), 1);
        expect_text("file", "y");
}

CASE("open.truncates-through-link", "O_TRUNC empties what a link names")
{
        put("file", "text");
        OK(symlink("file", "link"));
        OK(close(OK(open("link", O_WRONLY | O_TRUNC))));
        EQUAL(size_of("file"), 0);
        CHECK(is_kind("link", S_IFLNK));
}

CASE("open.access-mode", "EBADF for what the access mode does not allow")
{
        char byte;

        put("file", "text");

        int in = OK(open("file", O_RDONLY)), out = OK(open("file", O_WRONLY));

        FAILS(write(in, "x", 1), EBADF);
        FAILS(pwrite(in, "x", 1, 0), EBADF);
        FAILS(ftruncate(in, 0), EINVAL, EBADF);
        FAILS(fallocate(in, 0, 0, 10), EBADF);
        FAILS(read(out, &byte, 1), EBADF);
        FAILS(pread(out, &byte, 1, 0), EBADF);
        FAILS(copy_file_range(out, NULL, in, NULL, 1, 0), EBADF);
}

CASE("open.closed", "EBADF for a descriptor that was closed")
{
        char byte;
        int fd = OK(open("file", O_RDWR | O_CREAT, 0644));

        OK(close(fd));
        FAILS(close(fd), EBADF);
        FAILS(read(fd, &byte, 1), EBADF);
        FAILS(write(fd, &byte, 1), EBADF);
        FAILS(fsync(fd), EBADF);
        FAILS(ftruncate(fd, 0), EBADF);
        FAILS(lseek(fd, 0, SEEK_SET), EBADF);
}

CASE("open.separate-offsets", "each open has an offset of its own, a duplicate shares it")
{
        char bytes[4];

        put("file", "abcdefgh");

        int a = OK(open("file", O_RDONLY)), b = OK(open("file", O_RDONLY)), c = OK(dup(a));

        EQUAL(read(a, bytes, 4), 4);
        EQUAL(read(b, bytes, 1), 1);
        EQUAL(bytes[0], 'a');
        EQUAL(read(c, bytes, 1), 1);
        EQUAL(bytes[0], 'e');
}

CASE("open.many", "a file may be open many times")
{
        make_file("file", 0644);

        int last = -1;

        for (int i = 0; i < 200; i++)
                last = OK(open("file", O_RDWR));
        EQUAL(write(last, "x", 1), 1);
        expect_text("file", "x");
}

CASE("open.text-busy", "a program that runs is not written: ETXTBSY, if it is refused at all")
{
        put("program", "#!");
        OK(chmod("program", 0755));

        int fd = OK(open("program", O_WRONLY));

        if (fork() == 0) {
                execl("./program", "program", (char *)NULL);
                _exit(errno == ETXTBSY || errno == ENOEXEC || errno == ENOENT ? 0 : 1);
        }
        OK(close(fd));
}

/* ---- O_TMPFILE ---- */

CASE("tmpfile.nameless", "O_TMPFILE makes a file without a name")
{
        struct stat st;

        OK(mkdir("dir", 0755));

        int fd = OK_IF_THERE(open("dir", O_RDWR | O_TMPFILE, 0640));

        OK(fstat(fd, &st));
        EQUAL(st.st_nlink, 0);
        EQUAL(st.st_mode & 07777, 0640);
        EQUAL(write(fd, "text", 4), 4);
        expect_bytes(fd, 0, "text", 4);
        OK(rmdir("dir"));
}

CASE("tmpfile.linked", "a file of O_TMPFILE can be given a name")
{
        char path[64];
        int fd = OK_IF_THERE(open(".", O_RDWR | O_TMPFILE, 0644));

        EQUAL(write(fd, "text", 4), 4);
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        OK(linkat(AT_FDCWD, path, AT_FDCWD, "name", AT_SYMLINK_FOLLOW));
        expect_text("name", "text");
        EQUAL(links_of("name"), 1);
}

CASE("tmpfile.exclusive", "with O_EXCL it can't be given one")
{
        char path[64];
        int fd = OK_IF_THERE(open(".", O_RDWR | O_TMPFILE | O_EXCL, 0644));

        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        FAILS(linkat(AT_FDCWD, path, AT_FDCWD, "name", AT_SYMLINK_FOLLOW), ENOENT);
}

CASE("tmpfile.read-only", "EINVAL for O_TMPFILE that is not for writing")
{
        FAILS(open(".", O_RDONLY | O_TMPFILE, 0644), EINVAL);
}

CASE("tmpfile.of-user", "a nameless file belongs to who made it")
{
        struct stat st;

        make_dir_of(&ALICE, "dir", 0700);
        become(&ALICE);

        int fd = OK_IF_THERE(open("dir", O_RDWR | O_TMPFILE, 0644));

        OK(fstat(fd, &st));
        EQUAL(st.st_uid, ALICE.uid);
        EQUAL(st.st_gid, ALICE.gid);
}
