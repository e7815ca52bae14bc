/* SPDX-License-Identifier: BSD-2-Clause */
/* Hard links, symbolic links, and files that have lost their last name. */
#include "posix.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

CASE("link.counts", "each link counts, and all are one file")
{
        char name[16];

        put("file", "text");
        for (int i = 1; i <= 50; i++) {
                snprintf(name, sizeof(name), "link-%d", i);
                OK(link("file", name));
                EQUAL(links_of("file"), i + 1);
                EQUAL(inode_of(name), inode_of("file"));
        }
        put("link-25", "other");
        expect_text("file", "other");
        OK(unlink("file"));
        EQUAL(links_of("link-1"), 50);
        OK(chmod("link-2", 0600));
        EQUAL(mode_of("link-50"), 0600);
}

CASE("link.last-goes", "a file is there as long as one of its links is")
{
        put("a", "text");
        OK(link("a", "b"));
        OK(unlink("a"));
        expect_text("b", "text");
        EQUAL(links_of("b"), 1);
}

CASE("link.directory", "EPERM for a link to a directory")
{
        OK(mkdir("dir", 0755));
        FAILS(link("dir", "link"), EPERM);
        EQUAL(exists("link"), 0);
}

CASE("link.of-symlink", "link() links the symbolic link; linkat() follows it if asked to")
{
        put("file", "text");
        OK(symlink("file", "symlink"));
        OK(linkat(AT_FDCWD, "symlink", AT_FDCWD, "one", 0));
        CHECK(is_kind("one", S_IFLNK));
        EQUAL(links_of("symlink"), 2);
        OK(linkat(AT_FDCWD, "symlink", AT_FDCWD, "two", AT_SYMLINK_FOLLOW));
        CHECK(is_kind("two", S_IFREG));
        EQUAL(inode_of("two"), inode_of("file"));
}

CASE("link.of-fifo", "a fifo can have several names")
{
        OK(mkfifo("fifo", 0644));
        OK(link("fifo", "link"));
        EQUAL(links_of("fifo"), 2);
        CHECK(is_kind("link", S_IFIFO));
}

CASE("link.across-directories", "links may be in different directories, which can then go")
{
        OK(mkdir("a", 0755));
        put("a/file", "text");
        OK(link("a/file", "link"));
        OK(unlink("a/file"));
        OK(rmdir("a"));
        expect_text("link", "text");
}

CASE("link.to-removed", "ENOENT for a link to an open file that has no name any more")
{
        char path[64];
        int fd = OK(open("file", O_RDWR | O_CREAT, 0644));

        OK(unlink("file"));
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        FAILS(linkat(AT_FDCWD, path, AT_FDCWD, "link", AT_SYMLINK_FOLLOW), ENOENT);
}

CASE("link.many", "a file may have a thousand links, or EMLINK says how many it may")
{
        char name[16];

        make_file("file", 0644);
        for (int i = 2; i <= 1000; i++) {
                snprintf(name, sizeof(name), "link-%d", i);
                if (link("file", name) < 0) {
                        EQUAL(errno, EMLINK);
                        posix_skip("EMLINK at %d links", i);
                }
        }
        EQUAL(links_of("file"), 1000);
}

/* ---- without a name ---- */

CASE("unlink.open", "a file that is open is there until it is closed")
{
        struct stat st;
        int fd = OK(open("file", O_RDWR | O_CREAT, 0644));

        EQUAL(write(fd, "text", 4), 4);
        OK(unlink("file"));
        CHECK(!exists("file"));
        OK(fstat(fd, &st));
        EQUAL(st.st_nlink, 0);
        EQUAL(st.st_size, 4);
        expect_bytes(fd, 0, "text", 4);
        EQUAL(pwrite(fd, "more", 4, 4), 4);
        OK(ftruncate(fd, 6));
        expect_bytes(fd, 0, "textmo", 6);
        OK(fchmod(fd, 0600));
        OK(fchown(fd, getuid(), getgid()));
        OK(futimens(fd, NULL));
        OK(fsync(fd));
}

CASE("unlink.open-twice", "a new file of that name is another file")
{
        int old = OK(open("file", O_RDWR | O_CREAT, 0644));

        EQUAL(write(old, "old", 3), 3);
        OK(unlink("file"));

        int new = OK(open("file", O_RDWR | O_CREAT | O_EXCL, 0644));

        EQUAL(write(new, "new!", 4), 4);
        expect_bytes(old, 0, "old", 3);
        expect_text("file", "new!");
}

CASE("unlink.other-process", "also where another process has it open")
{
        struct gate gone, checked;

        put("file", "text");
        gate_make(&gone);
        gate_make(&checked);

        pid_t pid = posix_fork();

        if (pid == 0) {
                int fd = OK(open("file", O_RDWR));

                gate_open(&checked);
                gate_wait(&gone);
                expect_bytes(fd, 0, "text", 4);
                _exit(0);
        }
        gate_wait(&checked);
        OK(unlink("file"));
        gate_open(&gone);
        posix_join(pid);
}

CASE("unlink.others-stay", "unlink takes the one name and leaves what else is there")
{
        make_some();
        OK(unlink("to-file"));
        CHECK(exists("file"));
        OK(unlink("dangling"));
        OK(unlink("loop"));
        OK(unlink("file"));
        CHECK(exists("dir"));
        FAILS(unlink("file"), ENOENT);
}

CASE("unlink.read-only-file", "a file's own mode does not keep it from being removed")
{
        make_dir_of(&BOB, "dir", 0755);
        make_file_of(&ALICE, "dir/file", 0400);
        become(&BOB);
        OK(unlink("dir/file"));
}

CASE("unlink.frees", "what a file has held is free again when its last user is gone")
{
        static char block[65536];
        int fd = OK(open("file", O_RDWR | O_CREAT, 0644));

        memset(block, 'x', sizeof(block));
        for (int i = 0; i < 64; i++)
                EQUAL(write(fd, block, sizeof(block)), sizeof(block));
        OK(fsync(fd));
        OK(unlink("file"));
        OK(close(fd));
        CHECK(!exists("file"));
}

/* ---- symbolic links ---- */

CASE("symlink.any-text", "a link holds any text as it is")
{
        static const char *const targets[] = {"x", "/", "//a//", "../../..", "a b", "\xff\n\t", "missing/../x"};
        char found[64];

        for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
                OK(symlink(targets[i], "link"));
                EQUAL(readlink("link", found, sizeof(found)), strlen(targets[i]));
                CHECK(memcmp(found, targets[i], strlen(targets[i])) == 0);
                EQUAL(size_of("link"), strlen(targets[i]));
                OK(unlink("link"));
        }
}

CASE("symlink.empty", "ENOENT for the empty text")
{
        FAILS(symlink("", "link"), ENOENT);
}

CASE("symlink.lengths", "a link holds 1 to PATH_MAX - 1 bytes")
{
        static const size_t lengths[] = {1,   2,    15,   16,   59,   60,   61,   100,  127,          128,         255,
                                         256, 1000, 1023, 1024, 2047, 2048, 4000, 4030, PATH_MAX - 2, PATH_MAX - 1};
        char found[PATH_MAX];

        for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
                const char *target = repeated('t', lengths[i]);

                if (symlink(target, "link") < 0)
                        posix_fail("of %zu bytes: %s", lengths[i], strerrorname_np(errno));
                if (readlink("link", found, sizeof(found)) != (ssize_t)lengths[i])
                        posix_fail("of %zu bytes: it has another length", lengths[i]);
                CHECK(memcmp(found, target, lengths[i]) == 0);
                EQUAL(size_of("link"), lengths[i]);
                OK(unlink("link"));
        }
}

CASE("symlink.too-long", "ENAMETOOLONG for a text of PATH_MAX bytes")
{
        FAILS(symlink(repeated('t', PATH_MAX), "link"), ENAMETOOLONG);
        CHECK(!exists("link"));
}

CASE("symlink.followed", "a link is followed wherever it is in a path, also through others")
{
        OK(mkdir("dir", 0755));
        put("dir/file", "text");
        OK(symlink("dir", "a"));
        OK(symlink("a", "b"));
        OK(symlink("b/file", "c"));
        OK(symlink("../c", "dir/d"));
        expect_text("b/d", "text");
        OK(symlink("..", "dir/up"));
        expect_text("dir/up/b/up/a/file", "text");
}

CASE("symlink.chain", "at least 8 links, and here 40, are followed one after the other; ELOOP for more")
{
        char name[16], before[16] = "file";

        put("file", "text");
        for (int i = 1; i <= 41; i++) {
                snprintf(name, sizeof(name), "link-%d", i);
                OK(symlink(before, name));
                strcpy(before, name);
        }
        expect_text("link-40", "text");
        FAILS(open("link-41", O_RDONLY), ELOOP);
}

CASE("symlink.loops", "ELOOP where links lead to each other")
{
        OK(symlink("b", "a"));
        OK(symlink("a", "b"));
        FAILS(open("a", O_RDONLY), ELOOP);
        FAILS(open("a", O_WRONLY | O_CREAT, 0644), ELOOP);
        FAILS(open("b/x", O_RDONLY), ELOOP);
        CHECK(is_kind("a", S_IFLNK));
        OK(unlink("a"));
        FAILS(open("b", O_RDONLY), ENOENT);
}

CASE("symlink.changed", "a link that is made anew leads where the new one leads")
{
        put("one", "one");
        put("two", "two");
        OK(symlink("one", "link"));
        expect_text("link", "one");
        OK(unlink("link"));
        OK(symlink("two", "link"));
        expect_text("link", "two");
        OK(symlink("one", "new"));
        OK(rename("new", "link"));
        expect_text("link", "one");
}

CASE("symlink.readlink-short", "readlink fills what room there is, and does not end it")
{
        char found[8] = "-------";

        OK(symlink("target", "link"));
        EQUAL(readlink("link", found, 3), 3);
        CHECK(memcmp(found, "tar----", 7) == 0);
        FAILS(readlink("link", found, 0), EINVAL);
}

CASE("symlink.readlink-other", "EINVAL for reading as a link what is none")
{
        char found[8];

        make_some();
        OK(mkfifo("fifo", 0644));
        FAILS(readlink("file", found, sizeof(found)), EINVAL);
        FAILS(readlink("dir", found, sizeof(found)), EINVAL);
        FAILS(readlink("fifo", found, sizeof(found)), EINVAL);
}

CASE("symlink.owner", "a link belongs to who made it, and has an owner of its own")
{
        need_root();
        make_file("file", 0644);
        OK(symlink("file", "link"));
        OK(lchown("link", ALICE.uid, ALICE.gid));
        EQUAL(stat_of("link").st_uid, ALICE.uid);
        EQUAL(stat_of("link").st_gid, ALICE.gid);
        EQUAL(stat_of("file").st_uid, 0);
        OK(chown("link", BOB.uid, BOB.gid));
        EQUAL(stat_of("file").st_uid, BOB.uid);
        EQUAL(stat_of("link").st_uid, ALICE.uid);
}

CASE("symlink.times", "a link has times of its own")
{
        const struct timespec times[2] = {{1000000000, 0}, {1100000000, 0}};

        make_file("file", 0644);
        OK(symlink("file", "link"));
        OK(utimensat(AT_FDCWD, "link", times, AT_SYMLINK_NOFOLLOW));
        EQUAL(stat_of("link").st_mtim.tv_sec, 1100000000);
        CHECK(stat_of("file").st_mtim.tv_sec > 1100000000);
}

CASE("symlink.mode", "all may follow a link whatever the umask, and chmod is for what it names")
{
        umask(077);
        make_file("file", 0644);
        OK(symlink("file", "link"));
        OK(chmod("link", 0600));
        EQUAL(mode_of("file"), 0600);
        EQUAL(mode_of("link"), 0777);
}
