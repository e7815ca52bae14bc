/* SPDX-License-Identifier: BSD-2-Clause */
/* Permissions by mode, owner and group. */
#include "posix.h"

#include <stdio.h>

/* The access of @user to "it" is @expected: R_OK, W_OK, X_OK or'ed. */
static void expect_access(const struct user *user, int expected)
{
        become(user);
        for (int bit = 1; bit <= 4; bit <<= 1)
                if ((access("it", bit) == 0) != !!(expected & bit))
                        posix_fail("user %u, mode %04o: access(%d) says otherwise", user->uid, mode_of("it"), bit);

        static const struct {
                int flags, needs;
        } opens[] = {{O_RDONLY, R_OK}, {O_WRONLY, W_OK}, {O_RDWR, R_OK | W_OK}, {O_RDONLY | O_TRUNC, R_OK | W_OK}};

        for (size_t i = 0; i < sizeof(opens) / sizeof(opens[0]); i++) {
                int fd = open("it", opens[i].flags);

                if ((fd >= 0) != ((opens[i].needs & ~expected) == 0))
                        posix_fail("user %u, mode %04o: open(%#o) says otherwise", user->uid, mode_of("it"),
                                   opens[i].flags);
                if (fd < 0)
                        EQUAL(errno, EACCES);
                else
                        OK(close(fd));
        }
        become(&ROOT);
}

CASE("access.owner", "the owner has the owner's rights, even if others have more")
{
        make_file_of(&ALICE, "it", 0);
        for (mode_t mode = 0; mode < 8; mode++) {
                OK(chmod("it", mode << 6 | (~mode & 7) << 3 | (~mode & 7)));
                expect_access(&ALICE, (int)mode);
        }
}

CASE("access.group", "the group has the group's rights, even if others have more")
{
        make_file_of(&ALICE, "it", 0);
        for (mode_t mode = 0; mode < 8; mode++) {
                OK(chmod("it", (~mode & 7) << 6 | mode << 3 | (~mode & 7)));
                expect_access(&CAROL, (int)mode);
        }
}

CASE("access.supplementary-group", "a supplementary group is as good as the first")
{
        make_file_of(&ALICE, "it", 0);
        for (mode_t mode = 0; mode < 8; mode++) {
                OK(chmod("it", (~mode & 7) << 6 | mode << 3 | (~mode & 7)));
                expect_access(&DAVE, (int)mode);
        }
}

CASE("access.other", "all others have the others' rights")
{
        make_file_of(&ALICE, "it", 0);
        for (mode_t mode = 0; mode < 8; mode++) {
                OK(chmod("it", (~mode & 7) << 6 | (~mode & 7) << 3 | mode));
                expect_access(&BOB, (int)mode);
        }
}

CASE("access.root", "root may read and write whatever the mode, and run what anyone may run")
{
        need_root();
        make_file("it", 0);
        expect_access(&ROOT, R_OK | W_OK);
        OK(chmod("it", 0001));
        expect_access(&ROOT, R_OK | W_OK | X_OK);
}

CASE("access.real-user", "access() asks for the real user, AT_EACCESS for the effective one")
{
        make_file_of(&ALICE, "file", 0600);
        become(&ROOT);
        OK(setresuid(BOB.uid, 0, 0));
        FAILS(access("file", R_OK), EACCES);
        OK(faccessat(AT_FDCWD, "file", R_OK, AT_EACCESS));
}

CASE("access.bad-mode", "EINVAL for a mode that is none")
{
        make_file("file", 0644);
        FAILS(access("file", 64), EINVAL);
}

CASE("access.directory-search", "each directory of a path must be searchable")
{
        make_dir_of(&ALICE, "a", 0755);
        make_dir_of(&ALICE, "a/b", 0755);
        make_file_of(&ALICE, "a/b/file", 0644);
        for (mode_t mode = 0; mode < 8; mode++) {
                OK(chmod("a", 0700 | mode));
                become(&BOB);
                if (mode & 1)
                        OK(close(OK(open("a/b/file", O_RDONLY))));
                else
                        FAILS(open("a/b/file", O_RDONLY), EACCES);
                become(&ROOT);
        }
}

CASE("access.directory-read", "reading a directory needs its read right alone")
{
        make_dir_of(&ALICE, "dir", 0755);
        for (mode_t mode = 0; mode < 8; mode++) {
                OK(chmod("dir", 0700 | mode));
                become(&BOB);
                if (mode & 4)
                        OK(close(OK(open("dir", O_RDONLY | O_DIRECTORY))));
                else
                        FAILS(open("dir", O_RDONLY | O_DIRECTORY), EACCES);
                become(&ROOT);
        }
}

CASE("access.directory-write", "changing a directory needs its write and its search right")
{
        make_dir_of(&ALICE, "dir", 0755);
        for (mode_t mode = 0; mode < 8; mode++) {
                OK(chmod("dir", 0700 | mode));
                become(&BOB);
                if ((mode & 3) == 3) {
                        OK(mkdir("dir/new", 0755));
                        OK(rmdir("dir/new"));
                } else {
                        FAILS(mkdir("dir/new", 0755), EACCES);
                }
                become(&ROOT);
        }
}

CASE("access.kept-by-descriptor", "a descriptor keeps the rights it was opened with")
{
        char byte;

        make_dir_of(&ALICE, "dir", 0755);
        make_file_of(&ALICE, "dir/file", 0666);
        become(&BOB);

        int fd = OK(open("dir/file", O_RDWR));

        become(&ALICE);
        OK(chmod("dir/file", 0));
        OK(chmod("dir", 0));
        become(&BOB);
        EQUAL(write(fd, "x", 1), 1);
        EQUAL(pread(fd, &byte, 1, 0), 1);
        OK(ftruncate(fd, 0));
        FAILS(open("dir/file", O_RDONLY), EACCES);
}

CASE("access.working-directory", "a working directory that is closed later can't be searched")
{
        make_dir_of(&ALICE, "dir", 0755);
        make_file_of(&ALICE, "dir/file", 0644);
        become(&BOB);
        OK(chdir("dir"));
        become(&ALICE);
        OK(chmod(".", 0700));
        become(&BOB);
        FAILS(open("file", O_RDONLY), EACCES);
}

CASE("access.chdir", "EACCES for going into a directory that may not be searched")
{
        make_dir_of(&ALICE, "dir", 0666);
        become(&BOB);
        FAILS(chdir("dir"), EACCES);
        become(&ALICE);
        FAILS(chdir("dir"), EACCES);
}

CASE("access.truncate", "EACCES for truncating by name what may not be written")
{
        make_file_of(&ALICE, "file", 0644);
        become(&BOB);
        FAILS(truncate("file", 0), EACCES);
        FAILS(open("file", O_RDONLY | O_TRUNC), EACCES);
        become(&ALICE);
        OK(chmod("file", 0444));
        FAILS(truncate("file", 0), EACCES);
}

CASE("access.execute", "a program runs for whom the mode says so, and else it is EACCES")
{
        put("script", "#!/bin/sh\nexit 0\n");
        need_root();
        OK(chown("script", ALICE.uid, ALICE.gid));
        OK(chmod("script", 0654));
        become(&BOB);
        FAILS(execl("./script", "script", (char *)NULL), EACCES);
        become(&ALICE);
        FAILS(execl("./script", "script", (char *)NULL), EACCES);
        EQUAL(access("script", X_OK), -1);
        become(&CAROL);
        OK(access("script", X_OK));
}

CASE("access.new-mode-at-once", "a right that was given or taken counts at once, for all")
{
        make_file_of(&ALICE, "file", 0600);
        for (int i = 0; i < 20; i++) {
                become(&ALICE);
                OK(chmod("file", i % 2 ? 0600 : 0604));
                become(&BOB);
                if (i % 2)
                        FAILS(open("file", O_RDONLY), EACCES);
                else
                        OK(close(OK(open("file", O_RDONLY))));
        }
}

CASE("access.new-owner-at-once", "so does a new owner")
{
        make_file_of(&ALICE, "file", 0600);
        become(&BOB);
        FAILS(open("file", O_RDONLY), EACCES);
        become(&ROOT);
        OK(chown("file", BOB.uid, BOB.gid));
        become(&BOB);
        OK(close(OK(open("file", O_RDONLY))));
        become(&ALICE);
        FAILS(open("file", O_RDONLY), EACCES);
}

/* ---- the sticky bit ---- */

static void make_sticky(const struct user *owner)
{
        make_dir_of(owner, "sticky", 01777);
        make_file_of(&ALICE, "sticky/file", 0666);
        make_dir_of(&ALICE, "sticky/dir", 0777);
}

CASE("sticky.unlink", "in a sticky directory an entry is removed only by its owner, the directory's, or root")
{
        make_sticky(&ROOT);
        become(&BOB);
        FAILS(unlink("sticky/file"), EPERM, EACCES);
        become(&CAROL);
        FAILS(unlink("sticky/file"), EPERM, EACCES);
        become(&ALICE);
        OK(unlink("sticky/file"));
}

CASE("sticky.rmdir", "and so is a directory")
{
        make_sticky(&ROOT);
        become(&BOB);
        FAILS(rmdir("sticky/dir"), EPERM, EACCES);
        become(&ALICE);
        OK(rmdir("sticky/dir"));
}

CASE("sticky.rename-from", "and renamed")
{
        make_sticky(&ROOT);
        make_dir_of(&BOB, "own", 0777);
        become(&BOB);
        FAILS(rename("sticky/file", "sticky/new"), EPERM, EACCES);
        FAILS(rename("sticky/file", "own/new"), EPERM, EACCES);
        FAILS(rename("sticky/dir", "own/new"), EPERM, EACCES);
        become(&ALICE);
        OK(rename("sticky/file", "sticky/new"));
}

CASE("sticky.rename-onto", "and replaced")
{
        make_sticky(&ROOT);
        make_file_of(&BOB, "sticky/bobs", 0666);
        make_dir_of(&BOB, "sticky/bobs-dir", 0777);
        become(&BOB);
        FAILS(rename("sticky/bobs", "sticky/file"), EPERM, EACCES);
        FAILS(rename("sticky/bobs-dir", "sticky/dir"), EPERM, EACCES);
        OK(rename("sticky/bobs", "sticky/new"));
}

CASE("sticky.directory-owner", "the directory's owner may do all of that")
{
        make_sticky(&BOB);
        become(&BOB);
        OK(rename("sticky/file", "sticky/new"));
        OK(unlink("sticky/new"));
        OK(rmdir("sticky/dir"));
}

CASE("sticky.root", "and so may root")
{
        make_sticky(&BOB);
        OK(unlink("sticky/file"));
        OK(rmdir("sticky/dir"));
}

CASE("sticky.links", "a symbolic link and a fifo are kept likewise")
{
        make_sticky(&ROOT);
        become(&ALICE);
        OK(symlink("file", "sticky/link"));
        OK(mkfifo("sticky/fifo", 0666));
        become(&BOB);
        FAILS(unlink("sticky/link"), EPERM, EACCES);
        FAILS(unlink("sticky/fifo"), EPERM, EACCES);
}

CASE("sticky.not-set", "without the bit whoever may write the directory may remove")
{
        make_sticky(&ROOT);
        OK(chmod("sticky", 0777));
        become(&BOB);
        OK(unlink("sticky/file"));
        OK(rmdir("sticky/dir"));
}
