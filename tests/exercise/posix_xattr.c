/* SPDX-License-Identifier: BSD-2-Clause */
/* Extended attributes of users: Linux's, as POSIX has none. */
#include "posix.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/xattr.h>

#define NAME "user.name"

static void set(const char *file, const char *name, const char *value, int flags)
{
        if (setxattr(file, name, value, strlen(value), flags) < 0) {
                if (errno == EOPNOTSUPP)
                        posix_skip("setxattr: EOPNOTSUPP");
                posix_fail("setxattr %s: %s", name, strerrorname_np(errno));
        }
}

static void expect_value(const char *file, const char *name, const char *value)
{
        char found[4096];
        ssize_t n = getxattr(file, name, found, sizeof(found));

        if (n < 0)
                posix_fail("getxattr %s: %s", name, strerrorname_np(errno));
        EQUAL(n, strlen(value));
        CHECK(memcmp(found, value, (size_t)n) == 0);
}

static void make_with_one(void)
{
        make_file("file", 0644);
        set("file", NAME, "value", 0);
}

/* How often @name is in the list of @file's. */
static int count_listed(const char *file, const char *name)
{
        char names[65536];
        ssize_t n = OK(listxattr(file, names, sizeof(names)));
        int count = 0;

        for (const char *at = names; at < names + n; at += strlen(at) + 1)
                count += strcmp(at, name) == 0;
        return count;
}

CASE("xattr.set", "what is set is what is got, of files and of directories")
{
        make_with_one();
        expect_value("file", NAME, "value");
        OK(mkdir("dir", 0755));
        set("dir", NAME, "of the directory", 0);
        expect_value("dir", NAME, "of the directory");
}

CASE("xattr.replaced", "a new value replaces the old one, be it shorter, longer or empty")
{
        make_with_one();
        set("file", NAME, "a much longer value than before", 0);
        expect_value("file", NAME, "a much longer value than before");
        set("file", NAME, "s", 0);
        expect_value("file", NAME, "s");
        set("file", NAME, "", 0);
        expect_value("file", NAME, "");
        EQUAL(count_listed("file", NAME), 1);
}

CASE("xattr.any-bytes", "a value may have every byte in it")
{
        char value[256], found[256];

        make_with_one();
        for (int i = 0; i < 256; i++)
                value[i] = (char)i;
        OK(setxattr("file", NAME, value, sizeof(value), 0));
        EQUAL(getxattr("file", NAME, found, sizeof(found)), 256);
        CHECK(memcmp(value, found, 256) == 0);
}

CASE("xattr.create", "XATTR_CREATE: EEXIST where it is there")
{
        make_with_one();
        FAILS(setxattr("file", NAME, "new", 3, XATTR_CREATE), EEXIST);
        expect_value("file", NAME, "value");
        OK(setxattr("file", "user.other", "new", 3, XATTR_CREATE));
        expect_value("file", "user.other", "new");
}

CASE("xattr.replace", "XATTR_REPLACE: ENODATA where it is not")
{
        make_with_one();
        FAILS(setxattr("file", "user.other", "new", 3, XATTR_REPLACE), ENODATA);
        EQUAL(count_listed("file", "user.other"), 0);
        OK(setxattr("file", NAME, "new", 3, XATTR_REPLACE));
        expect_value("file", NAME, "new");
}

CASE("xattr.bad-flags", "EINVAL for other flags")
{
        make_with_one();
        FAILS(setxattr("file", NAME, "x", 1, 99), EINVAL);
}

CASE("xattr.missing", "ENODATA for one that is not there")
{
        char value[8];

        make_with_one();
        FAILS(getxattr("file", "user.missing", value, sizeof(value)), ENODATA);
        FAILS(getxattr("file", "user.missing", NULL, 0), ENODATA);
        FAILS(removexattr("file", "user.missing"), ENODATA);
}

CASE("xattr.size", "a size of 0 asks for the size, and ERANGE is for less room than that")
{
        char value[8];

        make_with_one();
        EQUAL(getxattr("file", NAME, NULL, 0), 5);
        EQUAL(getxattr("file", NAME, value, 5), 5);
        FAILS(getxattr("file", NAME, value, 4), ERANGE);
        CHECK(listxattr("file", NULL, 0) >= (ssize_t)sizeof(NAME));
        FAILS(listxattr("file", value, 3), ERANGE);
}

CASE("xattr.removed", "what is removed is gone")
{
        char value[8];

        make_with_one();
        OK(removexattr("file", NAME));
        FAILS(getxattr("file", NAME, value, sizeof(value)), ENODATA);
        EQUAL(count_listed("file", NAME), 0);
        set("file", NAME, "again", XATTR_CREATE);
        expect_value("file", NAME, "again");
}

CASE("xattr.list", "each is listed, and once")
{
        char name[32];

        make_with_one();
        for (int i = 0; i < 20; i++) {
                snprintf(name, sizeof(name), "user.name-%d", i);
                set("file", name, "x", 0);
        }
        for (int i = 0; i < 20; i++) {
                snprintf(name, sizeof(name), "user.name-%d", i);
                EQUAL(count_listed("file", name), 1);
        }
        EQUAL(count_listed("file", NAME), 1);
}

CASE("xattr.none", "a new file has none of users")
{
        make_file("file", 0644);
        if (listxattr("file", NULL, 0) < 0)
                posix_skip("listxattr: %s", strerrorname_np(errno));
        EQUAL(count_listed("file", NAME), 0);
}

CASE("xattr.by-descriptor", "the same by a descriptor, whatever the file's name is")
{
        char value[8];

        make_with_one();

        int fd = OK(open("file", O_RDWR));

        OK(unlink("file"));
        EQUAL(fgetxattr(fd, NAME, value, sizeof(value)), 5);
        OK(fsetxattr(fd, "user.other", "x", 1, 0));
        OK(fremovexattr(fd, NAME));
        FAILS(fgetxattr(fd, NAME, value, sizeof(value)), ENODATA);
        CHECK(flistxattr(fd, NULL, 0) >= (ssize_t)sizeof("user.other"));
}

CASE("xattr.of-link", "a link is followed, and can have none of users itself: EPERM")
{
        make_with_one();
        OK(symlink("file", "link"));
        expect_value("link", NAME, "value");
        FAILS(lsetxattr("link", NAME, "x", 1, 0), EPERM);
}

CASE("xattr.special", "EPERM for users' attributes of a fifo")
{
        make_with_one();
        OK(mkfifo("fifo", 0644));
        FAILS(setxattr("fifo", NAME, "x", 1, 0), EPERM);
}

CASE("xattr.long-name", "a name has up to 255 bytes: ERANGE for more")
{
        char name[300] = "user.";

        make_with_one();
        memset(name + 5, 'n', 250);
        set("file", name, "x", 0);
        expect_value("file", name, "x");
        EQUAL(count_listed("file", name), 1);
        name[255] = 'n';
        FAILS(setxattr("file", name, "x", 1, 0), ERANGE);
}

CASE("xattr.large", "a value of 2 KiB is kept; one above 64 KiB is E2BIG")
{
        static char value[65537], found[2048];

        make_with_one();
        memset(value, 'v', sizeof(value));
        OK(setxattr("file", NAME, value, 2048, 0));
        EQUAL(getxattr("file", NAME, found, sizeof(found)), 2048);
        CHECK(memcmp(value, found, sizeof(found)) == 0);
        FAILS(setxattr("file", NAME, value, sizeof(value), 0), E2BIG);
}

CASE("xattr.links-and-renames", "attributes are the file's, under all of its names")
{
        make_with_one();
        OK(link("file", "link"));
        OK(rename("file", "moved"));
        expect_value("moved", NAME, "value");
        set("link", NAME, "changed", 0);
        expect_value("moved", NAME, "changed");
        put("moved", "contents");
        expect_value("moved", NAME, "changed");
}

CASE("xattr.ctime", "setting and removing mark ctime alone")
{
        make_with_one();

        struct stat before = stat_of("file");

        tick();
        set("file", NAME, "new", 0);

        struct stat after = stat_of("file");

        CHECK(compare_times(after.st_ctim, before.st_ctim) > 0);
        CHECK(compare_times(after.st_mtim, before.st_mtim) == 0);
        tick();
        OK(removexattr("file", NAME));
        CHECK(compare_times(stat_of("file").st_ctim, after.st_ctim) > 0);
}

CASE("xattr.permissions", "users' attributes are read by who may read the file and set by who may write it: EACCES")
{
        char value[8];

        make_with_one();
        need_root();
        OK(chown("file", ALICE.uid, ALICE.gid));
        OK(chmod("file", 0644));
        become(&BOB);
        expect_value("file", NAME, "value");
        FAILS(setxattr("file", NAME, "x", 1, 0), EACCES);
        FAILS(removexattr("file", NAME), EACCES);
        become(&ALICE);
        OK(setxattr("file", NAME, "own", 3, 0));
        OK(chmod("file", 0600));
        become(&BOB);
        FAILS(getxattr("file", NAME, value, sizeof(value)), EACCES);
}

CASE("xattr.trusted", "trusted attributes are root's, and others do not see them")
{
        char value[8];

        make_with_one();
        need_root();
        if (setxattr("file", "trusted.name", "secret", 6, 0) < 0)
                posix_skip("trusted: %s", strerrorname_np(errno));
        EQUAL(getxattr("file", "trusted.name", value, sizeof(value)), 6);
        OK(chown("file", ALICE.uid, ALICE.gid));
        become(&ALICE);
        FAILS(getxattr("file", "trusted.name", value, sizeof(value)), ENODATA, EPERM);
        FAILS(setxattr("file", "trusted.name", "x", 1, 0), EPERM);
        EQUAL(count_listed("file", "trusted.name"), 0);
}

CASE("xattr.unknown", "EOPNOTSUPP for a name that begins with no class")
{
        make_with_one();
        FAILS(setxattr("file", "nothing.name", "x", 1, 0), EOPNOTSUPP);
        FAILS(setxattr("file", "user.", "x", 1, 0), EINVAL, EOPNOTSUPP);
}

CASE("xattr.sticky-directory", "in another's sticky directory users' attributes of it are the owner's to set: EPERM")
{
        make_dir_of(&ALICE, "sticky", 01777);
        set("sticky", NAME, "x", 0);
        become(&BOB);
        FAILS(setxattr("sticky", NAME, "y", 1, 0), EPERM);
}
