/* SPDX-License-Identifier: BSD-2-Clause */
/* Directories: made, removed and read. */
#include "posix.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>

CASE("mkdir.new", "a new directory has the mode less the umask, is empty and belongs to its maker")
{
        umask(027);
        OK(mkdir("dir", 0777));
        CHECK(is_kind("dir", S_IFDIR));
        EQUAL(mode_of("dir"), 0750);
        EQUAL(stat_of("dir").st_uid, geteuid());
        OK(rmdir("dir"));
}

CASE("mkdir.links", "a directory's links are 2 and one for each below it, or always 1")
{
        OK(mkdir("dir", 0755));

        long empty = links_of("dir");

        CHECK(empty == 2 || empty == 1);
        OK(mkdir("dir/a", 0755));
        OK(mkdir("dir/b", 0755));
        make_file("dir/file", 0644);
        EQUAL(links_of("dir"), empty == 1 ? 1 : 4);
        OK(rmdir("dir/a"));
        EQUAL(links_of("dir"), empty == 1 ? 1 : 3);
}

CASE("mkdir.links-follow-rename", "a directory that is moved counts where it has gone")
{
        OK(mkdir("a", 0755));
        OK(mkdir("b", 0755));
        OK(mkdir("a/sub", 0755));

        long counts = links_of("a") == 1 ? 0 : 1;

        OK(rename("a/sub", "b/sub"));
        EQUAL(links_of("a"), 1 + counts);
        EQUAL(links_of("b"), 1 + 2 * counts);
}

CASE("rmdir.not-empty", "ENOTEMPTY or EEXIST for a directory with anything in it")
{
        OK(mkdir("dir", 0755));
        make_file("dir/file", 0644);
        FAILS(rmdir("dir"), ENOTEMPTY, EEXIST);
        OK(unlink("dir/file"));
        OK(mkdir("dir/sub", 0755));
        FAILS(rmdir("dir"), ENOTEMPTY, EEXIST);
        OK(rmdir("dir/sub"));
        OK(symlink("x", "dir/link"));
        FAILS(rmdir("dir"), ENOTEMPTY, EEXIST);
        OK(unlink("dir/link"));
        OK(rmdir("dir"));
        CHECK(!exists("dir"));
}

CASE("rmdir.link", "ENOTDIR for a link to a directory")
{
        OK(mkdir("dir", 0755));
        OK(symlink("dir", "link"));
        FAILS(rmdir("link"), ENOTDIR);
        CHECK(exists("dir"));
}

CASE("rmdir.open", "a directory that is open can be removed, and then has no entries")
{
        OK(mkdir("dir", 0755));

        DIR *dir = opendir("dir");
        struct stat st;

        CHECK(dir);
        OK(rmdir("dir"));
        OK(fstat(dirfd(dir), &st));
        CHECK(st.st_nlink == 0 || st.st_nlink == 1);
        CHECK(!readdir(dir));
        FAILS(openat(dirfd(dir), "new", O_WRONLY | O_CREAT, 0644), ENOENT);
        closedir(dir);
}

CASE("rmdir.made-again", "a directory of the same name is another directory")
{
        OK(mkdir("dir", 0755));
        make_file("dir/file", 0644);
        OK(unlink("dir/file"));
        OK(rmdir("dir"));
        OK(mkdir("dir", 0700));
        CHECK(!exists("dir/file"));
        EQUAL(mode_of("dir"), 0700);
}

CASE("unlink.directory", "EPERM or EISDIR for unlinking a directory")
{
        OK(mkdir("dir", 0755));
        FAILS(unlink("dir"), EPERM, EISDIR);
        CHECK(exists("dir"));
}

/* ---- readdir() ---- */

/* Marks[i] counts how often "name-i" is in @dir from here on; others are not counted. */
static void count_entries(DIR *dir, unsigned char *marks, unsigned n)
{
        const struct dirent *entry;

        while ((errno = 0, entry = readdir(dir))) {
                unsigned i;

                if (sscanf(entry->d_name, "name-%u", &i) == 1 && i < n)
                        marks[i]++;
        }
        EQUAL(errno, 0);
}

static void make_names(unsigned n)
{
        char name[32];

        OK(mkdir("dir", 0755));
        OK(chdir("dir"));
        for (unsigned i = 0; i < n; i++) {
                snprintf(name, sizeof(name), "name-%u", i);
                OK(close(OK(open(name, O_WRONLY | O_CREAT | O_EXCL, 0644))));
        }
        OK(chdir(".."));
}

static DIR *open_dir(const char *name)
{
        DIR *dir = opendir(name);

        if (!dir)
                posix_fail("opendir %s: %s", name, strerrorname_np(errno));
        return dir;
}

CASE("readdir.empty", "an empty directory has . and .. in it, once each")
{
        int dots = 0, others = 0;
        const struct dirent *entry;

        OK(mkdir("dir", 0755));

        DIR *dir = open_dir("dir");

        while ((entry = readdir(dir)))
                if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
                        dots++;
                else
                        others++;
        EQUAL(dots, 2);
        EQUAL(others, 0);
}

static void check_all_once(unsigned n)
{
        unsigned char *marks = calloc(n, 1);

        CHECK(marks);
        make_names(n);

        DIR *dir = open_dir("dir");

        count_entries(dir, marks, n);
        for (unsigned i = 0; i < n; i++)
                EQUAL(marks[i], 1);
        closedir(dir);
        free(marks);
}

CASE("readdir.all-once", "every entry is read, and once")
{
        check_all_once(100);
}

CASE("readdir.ten-thousand", "so it is with 10,000 of them")
{
        check_all_once(10000);
}

CASE("readdir.long-names", "and where the names are as long as can be")
{
        char name[NAME_MAX + 1];
        unsigned n = 0;
        const struct dirent *entry;

        OK(mkdir("dir", 0755));
        OK(chdir("dir"));
        for (unsigned i = 0; i < 100; i++) {
                snprintf(name, sizeof(name), "%0255u", i);
                make_file(name, 0644);
        }

        DIR *dir = open_dir(".");

        while ((entry = readdir(dir)))
                n += strlen(entry->d_name) == NAME_MAX;
        EQUAL(n, 100);
}

CASE("readdir.inodes", "d_ino is st_ino, d_type is the kind or unknown")
{
        const struct dirent *entry;

        make_some();
        OK(mkfifo("fifo", 0644));

        DIR *dir = open_dir(".");

        while ((entry = readdir(dir))) {
                struct stat st = stat_of(entry->d_name);

                if (strcmp(entry->d_name, "..") != 0)
                        EQUAL(entry->d_ino, st.st_ino);
                CHECK(entry->d_type == DT_UNKNOWN || entry->d_type == IFTODT(st.st_mode));
        }
}

CASE("readdir.removed-while-read", "what stays is read once while others are removed between")
{
        enum { N = 1000 };
        unsigned char marks[N] = {0};
        char name[32];
        const struct dirent *entry;

        make_names(N);
        OK(chdir("dir"));

        DIR *dir = open_dir(".");

        for (int i = 0; i < 10 && (entry = readdir(dir));) {
                unsigned seen;

                if (sscanf(entry->d_name, "name-%u", &seen) == 1) {
                        marks[seen]++;
                        i++;
                }
        }
        for (unsigned i = 0; i < N; i += 2) {
                snprintf(name, sizeof(name), "name-%u", i);
                OK(unlink(name));
        }
        count_entries(dir, marks, N);
        for (unsigned i = 0; i < N; i++)
                CHECK(i % 2 ? marks[i] == 1 : marks[i] <= 1);
}

CASE("readdir.made-while-read", "what was there is read once while others are made between")
{
        enum { N = 500, MORE = 1000 };
        unsigned char marks[MORE] = {0};
        char name[32];

        make_names(N);
        OK(chdir("dir"));

        DIR *dir = open_dir(".");

        CHECK(readdir(dir));
        for (unsigned i = N; i < MORE; i++) {
                snprintf(name, sizeof(name), "name-%u", i);
                make_file(name, 0644);
        }
        count_entries(dir, marks, MORE);

        unsigned missed = 0;

        for (unsigned i = 0; i < MORE; i++) {
                CHECK(marks[i] <= 1);
                missed += i < N && !marks[i];
        }
        /* The entry that was read first may have been one. */
        CHECK(missed <= 1);
}

CASE("readdir.removes-all", "a directory can be emptied by removing each entry as it is read")
{
        const struct dirent *entry;

        make_names(3000);
        OK(chdir("dir"));

        DIR *dir = open_dir(".");

        while ((entry = readdir(dir)))
                if (entry->d_name[0] != '.')
                        OK(unlink(entry->d_name));
        closedir(dir);
        OK(rmdir("../dir"));
}

CASE("readdir.rewind", "rewinddir() shows what the directory has by now")
{
        unsigned char marks[20] = {0};

        make_names(10);

        DIR *dir = open_dir("dir");

        count_entries(dir, marks, 20);
        make_file("dir/name-15", 0644);
        OK(unlink("dir/name-3"));
        memset(marks, 0, sizeof(marks));
        rewinddir(dir);
        count_entries(dir, marks, 20);
        for (unsigned i = 0; i < 20; i++)
                EQUAL(marks[i], i == 15 || (i < 10 && i != 3));
}

CASE("readdir.seek", "seekdir() goes back to where telldir() was, at every entry")
{
        enum { N = 300 };
        long places[N + 2];
        char names[N + 2][32];
        unsigned n = 0;
        const struct dirent *entry;

        make_names(N);

        DIR *dir = open_dir("dir");

        for (;; n++) {
                long place = telldir(dir);

                entry = readdir(dir);
                if (!entry)
                        break;
                CHECK(n < N + 2);
                places[n] = place;
                snprintf(names[n], sizeof(names[n]), "%.31s", entry->d_name);
        }
        EQUAL(n, N + 2);
        for (unsigned i = 0; i < n; i++) {
                unsigned at = (i * 7919) % n;

                seekdir(dir, places[at]);
                entry = readdir(dir);
                CHECK(entry && strcmp(entry->d_name, names[at]) == 0);
        }
}

CASE("readdir.seek-after-changes", "a place in a directory stays good while others are made and removed")
{
        enum { N = 200 };
        unsigned char before[N] = {0}, after[N] = {0};
        const struct dirent *entry;

        make_names(N);

        DIR *dir = open_dir("dir");

        for (int i = 0; i < N / 2; i++)
                CHECK(readdir(dir));

        long place = telldir(dir);

        count_entries(dir, before, N);
        for (int i = 0; i < 50; i++) {
                char name[32];

                snprintf(name, sizeof(name), "dir/new-%d", i);
                make_file(name, 0644);
        }
        seekdir(dir, place);
        count_entries(dir, after, N);
        CHECK(memcmp(before, after, N) == 0);
        rewinddir(dir);
        CHECK((entry = readdir(dir)));
}

CASE("readdir.two-readers", "two that read a directory have a place each")
{
        unsigned char one[50] = {0}, two[50] = {0};

        make_names(50);

        DIR *a = open_dir("dir"), *b = open_dir("dir");

        for (int i = 0; i < 10; i++)
                CHECK(readdir(a));
        count_entries(b, two, 50);
        rewinddir(a);
        count_entries(a, one, 50);
        CHECK(memcmp(one, two, 50) == 0);
}

CASE("readdir.small-buffer", "EINVAL where not one entry fits")
{
        char buffer[8];

        OK(mkdir("dir", 0755));

        int fd = OK(open("dir", O_RDONLY));

        FAILS(syscall(SYS_getdents64, fd, buffer, sizeof(buffer)), EINVAL);
}

CASE("readdir.not-directory", "ENOTDIR for reading a file's entries")
{
        char buffer[512];

        make_file("file", 0644);

        int fd = OK(open("file", O_RDONLY));

        FAILS(syscall(SYS_getdents64, fd, buffer, sizeof(buffer)), ENOTDIR);
}

CASE("readdir.needs-read", "EACCES where a directory may be searched but not read, and the other way about")
{
        make_dir_of(&ALICE, "dir", 0711);
        make_file("dir/name", 0644);
        become(&BOB);
        FAILS(open("dir", O_RDONLY), EACCES);
        CHECK(exists("dir/name"));
        become(&ALICE);
        OK(chmod("dir", 0744));
        become(&BOB);

        unsigned n = 0;
        DIR *dir = open_dir("dir");

        while (readdir(dir))
                n++;
        EQUAL(n, 3);
        FAILS(access("dir/name", F_OK), EACCES);
}

CASE("readdir.renamed-while-read", "a name that changes between is seen at least once, by the old or the new")
{
        unsigned char marks[100] = {0};

        make_names(100);

        DIR *dir = open_dir("dir");

        CHECK(readdir(dir));
        OK(rename("dir/name-50", "dir/other-50"));
        count_entries(dir, marks, 100);
        for (unsigned i = 0; i < 100; i++)
                CHECK(marks[i] <= 1);
}
