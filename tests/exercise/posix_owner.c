/* SPDX-License-Identifier: BSD-2-Clause */
/* chmod(), chown(), whose a new file is, and when the set-ID bits go. */
#include "posix.h"

#include <stdio.h>

CASE("chmod.all-modes", "every mode can be set and is told")
{
        make_file("file", 0);
        OK(mkdir("dir", 0700));
        for (mode_t mode = 0; mode <= 07777; mode += mode < 01000 ? 7 : 0111) {
                OK(chmod("file", mode));
                EQUAL(mode_of("file"), mode);
                OK(chmod("dir", mode));
                EQUAL(mode_of("dir"), mode);
        }
        OK(chmod("dir", 0700));
}

CASE("chmod.by-descriptor", "fchmod changes the file that is open, whatever its name is now")
{
        int fd = OK(open("file", O_RDONLY | O_CREAT, 0644));
        struct stat st;

        OK(rename("file", "moved"));
        OK(fchmod(fd, 0611));
        EQUAL(mode_of("moved"), 0611);
        OK(unlink("moved"));
        OK(fchmod(fd, 0622));
        OK(fstat(fd, &st));
        EQUAL(st.st_mode & 07777, 0622);
}

CASE("chmod.not-owner", "EPERM for all but the owner and root")
{
        make_file_of(&ALICE, "file", 0666);
        make_dir_of(&ALICE, "dir", 0777);
        become(&BOB);
        FAILS(chmod("file", 0777), EPERM);
        FAILS(chmod("dir", 0777), EPERM);
        FAILS(fchmod(OK(open("file", O_RDWR)), 0777), EPERM);
        become(&CAROL);
        FAILS(chmod("file", 0777), EPERM);
        become(&ALICE);
        OK(chmod("file", 0640));
        become(&ROOT);
        EQUAL(mode_of("file"), 0640);
}

CASE("chmod.owner-without-rights", "the owner may change the mode though it gives him nothing")
{
        make_file_of(&ALICE, "file", 0);
        become(&ALICE);
        OK(chmod("file", 0400));
        OK(close(OK(open("file", O_RDONLY))));
}

CASE("chmod.sgid-of-others", "set-group-ID goes when the owner sets it and is not of the file's group")
{
        make_file_of(&ALICE, "file", 0644);
        OK(chown("file", ALICE.uid, BOB.gid));
        become(&ALICE);
        OK(chmod("file", 02755));
        EQUAL(mode_of("file"), 0755);
        become(&ROOT);
        OK(chmod("file", 02755));
        EQUAL(mode_of("file"), 02755);
}

CASE("chmod.sgid-of-own", "and stays when he is, be it by a supplementary group")
{
        make_file_of(&DAVE, "file", 0644);
        OK(chown("file", DAVE.uid, DAVE.also));
        become(&DAVE);
        OK(chmod("file", 02755));
        EQUAL(mode_of("file"), 02755);
}

CASE("chmod.while-open", "others who have the file open see the new mode")
{
        struct stat st;
        int fd = OK(open("file", O_RDWR | O_CREAT, 0644));

        OK(chmod("file", 0600));
        OK(fstat(fd, &st));
        EQUAL(st.st_mode & 07777, 0600);
        EQUAL(write(fd, "x", 1), 1);
}

/* ---- chown() ---- */

CASE("chown.root", "root gives a file to anyone, and -1 leaves owner or group as it is")
{
        make_file_of(&ALICE, "file", 0644);
        OK(chown("file", BOB.uid, (gid_t)-1));
        EQUAL(stat_of("file").st_uid, BOB.uid);
        EQUAL(stat_of("file").st_gid, ALICE.gid);
        OK(chown("file", (uid_t)-1, BOB.gid));
        EQUAL(stat_of("file").st_gid, BOB.gid);
        OK(chown("file", (uid_t)-1, (gid_t)-1));
        EQUAL(stat_of("file").st_uid, BOB.uid);
        OK(chown("file", 0, 0));
        EQUAL(stat_of("file").st_uid, 0);
}

CASE("chown.large", "ids have 32 bits")
{
        make_file("file", 0644);
        need_root();
        OK(chown("file", 4000000001u, 4000000002u));
        EQUAL(stat_of("file").st_uid, 4000000001u);
        EQUAL(stat_of("file").st_gid, 4000000002u);
}

CASE("chown.give-away", "EPERM for an owner who gives his file away, or takes another's")
{
        make_file_of(&ALICE, "file", 0666);
        become(&ALICE);
        FAILS(chown("file", BOB.uid, (gid_t)-1), EPERM);
        become(&BOB);
        FAILS(chown("file", BOB.uid, (gid_t)-1), EPERM);
        FAILS(chown("file", (uid_t)-1, BOB.gid), EPERM);
}

CASE("chown.own-group", "an owner may set a group that he is of, and no other")
{
        make_file_of(&DAVE, "file", 0644);
        become(&DAVE);
        OK(chown("file", (uid_t)-1, DAVE.also));
        EQUAL(stat_of("file").st_gid, DAVE.also);
        OK(chown("file", DAVE.uid, DAVE.gid));
        FAILS(chown("file", (uid_t)-1, BOB.gid), EPERM);
}

CASE("chown.clears-set-id", "an owner's chown takes the set-ID bits of a program")
{
        make_file_of(&DAVE, "file", 06755);
        become(&DAVE);
        OK(chown("file", (uid_t)-1, DAVE.also));
        EQUAL(mode_of("file"), 0755);
}

CASE("chown.clears-set-id-by-root", "root's too, or not: as the system likes")
{
        make_file_of(&ALICE, "file", 06755);
        OK(chown("file", BOB.uid, BOB.gid));
        CHECK(mode_of("file") == 0755 || mode_of("file") == 06755);
}

CASE("chown.keeps-mandatory-lock-bit", "set-group-ID without group execute is no program's, and stays")
{
        make_file_of(&ALICE, "file", 02644);
        OK(chown("file", ALICE.uid, ALICE.gid));
        EQUAL(mode_of("file"), 02644);
}

CASE("chown.keeps-directory-bits", "a directory's set-group-ID stays")
{
        make_dir_of(&ALICE, "dir", 02775);
        OK(chown("dir", BOB.uid, (gid_t)-1));
        EQUAL(mode_of("dir"), 02775);
}

CASE("chown.by-descriptor", "fchown changes what is open, named or not")
{
        struct stat st;

        need_root();

        int fd = OK(open("file", O_RDWR | O_CREAT, 0644));

        OK(unlink("file"));
        OK(fchown(fd, ALICE.uid, ALICE.gid));
        OK(fstat(fd, &st));
        EQUAL(st.st_uid, ALICE.uid);
        EQUAL(st.st_gid, ALICE.gid);
}

/* ---- whose is it? ---- */

static void expect_owner(const char *name, uid_t uid, gid_t gid)
{
        struct stat st = stat_of(name);

        if (st.st_uid != uid || st.st_gid != gid)
                posix_fail("%s belongs to %u:%u, not to %u:%u", name, st.st_uid, st.st_gid, uid, gid);
}

static void make_all_kinds(void)
{
        make_file("file", 0644);
        OK(mkdir("dir", 0755));
        OK(symlink("x", "link"));
        OK(mkfifo("fifo", 0644));
        OK(mknod("node", S_IFREG | 0644, 0));
}

static const char *const kinds[] = {"file", "dir", "link", "fifo", "node"};

CASE("owner.new", "what is made belongs to its maker and the maker's group")
{
        make_dir_of(&ALICE, "open", 0777);
        become(&BOB);
        OK(chdir("open"));
        make_all_kinds();
        for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
                expect_owner(kinds[i], BOB.uid, BOB.gid);
}

CASE("owner.new-in-sgid-directory", "in a set-group-ID directory it is the directory's group's")
{
        make_dir_of(&ALICE, "open", 02777);
        become(&BOB);
        OK(chdir("open"));
        make_all_kinds();
        for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
                expect_owner(kinds[i], BOB.uid, ALICE.gid);
        EQUAL(mode_of("dir"), 02755);
        EQUAL(mode_of("file"), 0644);
}

CASE("owner.sgid-directory-below", "and a directory below it hands that on")
{
        make_dir_of(&ALICE, "open", 02777);
        become(&BOB);
        OK(mkdir("open/a", 0755));
        OK(mkdir("open/a/b", 0755));
        make_file("open/a/b/file", 0644);
        expect_owner("open/a/b/file", BOB.uid, ALICE.gid);
        EQUAL(mode_of("open/a/b"), 02755);
}

CASE("owner.sgid-not-given", "a program made there by who is not of the group does not get the group's rights")
{
        make_dir_of(&ALICE, "open", 02777);
        become(&BOB);
        umask(0);
        OK(close(OK(open("open/file", O_WRONLY | O_CREAT, 02775))));
        expect_owner("open/file", BOB.uid, ALICE.gid);
        CHECK(!(mode_of("open/file") & S_ISGID));
}

CASE("owner.link-keeps", "a hard link changes neither owner nor group")
{
        make_dir_of(&BOB, "dir", 02777);
        make_file_of(&ALICE, "file", 0644);
        OK(link("file", "dir/link"));
        expect_owner("dir/link", ALICE.uid, ALICE.gid);
}

CASE("owner.rename-keeps", "nor does a rename into a set-group-ID directory")
{
        make_dir_of(&BOB, "dir", 02777);
        make_file_of(&ALICE, "file", 0644);
        OK(rename("file", "dir/file"));
        expect_owner("dir/file", ALICE.uid, ALICE.gid);
}

CASE("owner.umask", "the umask takes bits from all that is made, but from links")
{
        umask(0777);
        OK(close(OK(open("file", O_WRONLY | O_CREAT, 0666))));
        OK(mkdir("dir", 0777));
        OK(mkfifo("fifo", 0666));
        OK(mknod("node", S_IFREG | 0666, 0));
        EQUAL(mode_of("file"), 0);
        EQUAL(mode_of("dir"), 0);
        EQUAL(mode_of("fifo"), 0);
        EQUAL(mode_of("node"), 0);
}

/* ---- set-ID bits and changes of the contents ---- */

static void expect_cleared(mode_t before, mode_t after)
{
        if (mode_of("program") != after)
                posix_fail("the mode was %04o and is %04o, not %04o", before, mode_of("program"), after);
}

static const struct {
        mode_t before, after;
} set_id_modes[] = {{04777, 0777}, {02777, 0777}, {06777, 0777}, {04666, 0666}};

static void each_mode(void (*change)(int fd))
{
        for (size_t i = 0; i < sizeof(set_id_modes) / sizeof(set_id_modes[0]); i++) {
                become(&ROOT);
                make_file_of(&ALICE, "program", 0777);
                put("program", "text");
                OK(chmod("program", set_id_modes[i].before));
                become(&BOB);

                int fd = OK(open("program", O_RDWR));

                change(fd);
                expect_cleared(set_id_modes[i].before, set_id_modes[i].after);
                OK(close(fd));
                become(&ROOT);
                OK(unlink("program"));
        }
}

static void change_by_write(int fd)
{
        EQUAL(write(fd, "x", 1), 1);
}

static void change_by_pwrite(int fd)
{
        EQUAL(pwrite(fd, "x", 1, 100000), 1);
}

static void change_by_ftruncate(int fd)
{
        OK(ftruncate(fd, 2));
}

static void change_by_truncate(int fd)
{
        OK(truncate("program", 10));
}

static void change_by_open(int fd)
{
        OK(close(OK(open("program", O_WRONLY | O_TRUNC))));
}

static void change_by_allocation(int fd)
{
        OK_IF_THERE(fallocate(fd, 0, 0, 10000));
}

static void change_by_copy(int fd)
{
        int from = OK(open("program", O_RDONLY));
        off_t to = 4;

        if (copy_file_range(from, NULL, fd, &to, 4, 0) < 0)
                posix_skip("copy_file_range: %s", strerrorname_np(errno));
}

CASE("set-id.write", "set-user-ID and set-group-ID go when someone else writes the file")
{
        each_mode(change_by_write);
}

CASE("set-id.pwrite", "and when he makes it longer")
{
        each_mode(change_by_pwrite);
}

CASE("set-id.ftruncate", "and when he truncates it")
{
        each_mode(change_by_ftruncate);
}

CASE("set-id.truncate", "be it by its name")
{
        each_mode(change_by_truncate);
}

CASE("set-id.open-truncate", "or when he opens it")
{
        each_mode(change_by_open);
}

CASE("set-id.fallocate", "and when he gives it room")
{
        each_mode(change_by_allocation);
}

CASE("set-id.copy-file-range", "and when he copies into it")
{
        each_mode(change_by_copy);
}

CASE("set-id.root-writes", "root's writes leave them")
{
        make_file_of(&ALICE, "program", 06755);

        int fd = OK(open("program", O_RDWR));

        EQUAL(write(fd, "x", 1), 1);
        expect_cleared(06755, 06755);
}

CASE("set-id.no-change", "reading leaves them, and so do new times")
{
        make_file_of(&ALICE, "program", 06755);
        become(&ALICE);

        char byte;
        int fd = OK(open("program", O_RDONLY));

        EQUAL(read(fd, &byte, 1), 0);
        OK(futimens(fd, NULL));
        expect_cleared(06755, 06755);
}

CASE("set-id.lock-bit", "set-group-ID without group execute stays through a write")
{
        make_file_of(&ALICE, "program", 02666);
        OK(chown("program", ALICE.uid, BOB.gid));
        OK(chmod("program", 02666));
        become(&BOB);

        int fd = OK(open("program", O_WRONLY));

        EQUAL(write(fd, "x", 1), 1);
        expect_cleared(02666, 02666);
}
