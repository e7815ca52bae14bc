/* SPDX-License-Identifier: BSD-2-Clause */
/* Which calls mark which of a file's three times. */
#include "posix.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/uio.h>

enum { A = 1, M = 2, C = 4 };

/* Which times of @name, or of the open file @fd if that is not NULL, have gone on since. */
struct watch {
        const char *name;
        int fd;
        struct stat before;
};

static struct stat look(const struct watch *watch)
{
        struct stat st;

        if (watch->name)
                return stat_of(watch->name);
        OK(fstat(watch->fd, &st));
        return st;
}

/* Begins when the clock has gone on. */
static struct watch watch_name(const char *name)
{
        struct watch watch = {.name = name};

        watch.before = look(&watch);
        tick();
        return watch;
}

static struct watch watch_file(int fd)
{
        struct watch watch = {.fd = fd};

        watch.before = look(&watch);
        tick();
        return watch;
}

/* These of the times have gone on, and those of @kept have not. */
static void expect_marked(const struct watch *watch, int marked, int kept)
{
        struct stat now = look(watch);
        const struct {
                int bit;
                const char *name;
                struct timespec before, now;
        } times[] = {
                {A, "atime", watch->before.st_atim, now.st_atim},
                {M, "mtime", watch->before.st_mtim, now.st_mtim},
                {C, "ctime", watch->before.st_ctim, now.st_ctim},
        };

        for (int i = 0; i < 3; i++) {
                int order = compare_times(times[i].now, times[i].before);

                if ((marked & times[i].bit) && order <= 0)
                        posix_fail("%s: %s is not marked", watch->name ? watch->name : "the open file", times[i].name);
                if ((kept & times[i].bit) && order != 0)
                        posix_fail("%s: %s is marked", watch->name ? watch->name : "the open file", times[i].name);
        }
}

/* ---- what is new ---- */

CASE("times.new-file", "a new file has all three times of now, and marks its directory")
{
        OK(mkdir("dir", 0755));

        struct watch dir = watch_name("dir");

        make_file("dir/file", 0644);
        expect_marked(&dir, M | C, A);

        struct stat st = stat_of("dir/file");

        CHECK(compare_times(st.st_mtim, dir.before.st_mtim) > 0);
        CHECK(compare_times(st.st_atim, dir.before.st_mtim) > 0);
        CHECK(compare_times(st.st_ctim, dir.before.st_mtim) > 0);
}

CASE("times.clock", "a file's times are the system's clock's")
{
        struct timespec before, after;

        clock_gettime(CLOCK_REALTIME, &before);
        tick();
        make_file("file", 0644);
        tick();
        clock_gettime(CLOCK_REALTIME, &after);
        CHECK(compare_times(stat_of("file").st_mtim, before) >= 0);
        CHECK(compare_times(stat_of("file").st_mtim, after) <= 0);
}

static void make_directory(void)
{
        OK(mkdir("dir/new", 0755));
}

static void make_symlink(void)
{
        OK(symlink("x", "dir/new"));
}

static void make_fifo(void)
{
        OK(mkfifo("dir/new", 0644));
}

static void make_node(void)
{
        OK(mknod("dir/new", S_IFREG | 0644, 0));
}

static void make_link(void)
{
        OK(link("file", "dir/new"));
}

static void check_directory_marked(void (*change)(void))
{
        OK(mkdir("dir", 0755));
        make_file("file", 0644);

        struct watch dir = watch_name("dir");

        change();
        expect_marked(&dir, M | C, A);
}

CASE("times.mkdir", "mkdir marks the directory above")
{
        check_directory_marked(make_directory);
}

CASE("times.symlink", "symlink marks the directory")
{
        check_directory_marked(make_symlink);
}

CASE("times.mkfifo", "mkfifo marks the directory")
{
        check_directory_marked(make_fifo);
}

CASE("times.mknod", "mknod marks the directory")
{
        check_directory_marked(make_node);
}

CASE("times.link", "link marks the directory, and ctime of the file")
{
        make_file("file", 0644);

        struct watch file = watch_name("file");

        OK(mkdir("dir", 0755));

        struct watch dir = watch_name("dir");

        make_link();
        expect_marked(&dir, M | C, A);
        expect_marked(&file, C, M);
}

/* ---- what goes ---- */

CASE("times.unlink", "unlink marks the directory, and ctime of a file that has another link")
{
        OK(mkdir("dir", 0755));
        make_file("dir/file", 0644);
        OK(link("dir/file", "link"));

        struct watch dir = watch_name("dir"), file = watch_name("link");

        OK(unlink("dir/file"));
        expect_marked(&dir, M | C, A);
        expect_marked(&file, C, M);
}

CASE("times.unlink-open", "and ctime of a file that has none, but is open")
{
        OK(mkdir("dir", 0755));

        int fd = OK(open("dir/file", O_RDWR | O_CREAT, 0644));
        struct watch file = watch_file(fd);

        OK(unlink("dir/file"));
        expect_marked(&file, C, M);
}

CASE("times.rmdir", "rmdir marks the directory above")
{
        OK(mkdir("dir", 0755));
        OK(mkdir("dir/sub", 0755));

        struct watch dir = watch_name("dir");

        OK(rmdir("dir/sub"));
        expect_marked(&dir, M | C, A);
}

CASE("times.rename", "rename marks both directories")
{
        OK(mkdir("a", 0755));
        OK(mkdir("b", 0755));
        make_file("a/file", 0644);

        struct watch a = watch_name("a"), b = watch_name("b"), file = watch_name("a/file");

        OK(rename("a/file", "b/file"));
        expect_marked(&a, M | C, A);
        expect_marked(&b, M | C, A);
        file.name = "b/file";
        expect_marked(&file, 0, M);
}

CASE("times.rename-onto", "and ctime of a file that is replaced and has another link")
{
        make_file("file", 0644);
        make_file("old", 0644);
        OK(link("old", "link"));

        struct watch old = watch_name("link");

        OK(rename("file", "old"));
        expect_marked(&old, C, M);
}

/* ---- contents ---- */

CASE("times.write", "write marks mtime and ctime")
{
        int fd = OK(open("file", O_RDWR | O_CREAT, 0644));
        struct watch file = watch_file(fd);

        EQUAL(write(fd, "text", 4), 4);
        expect_marked(&file, M | C, A);
        file = watch_file(fd);
        EQUAL(pwrite(fd, "T", 1, 0), 1);
        expect_marked(&file, M | C, A);
        file = watch_file(fd);
        EQUAL(writev(fd, &(struct iovec){(void *)(uintptr_t) "more", 4}, 1), 4);
        expect_marked(&file, M | C, A);
}

CASE("times.write-within", "also a write over what is there, and the next one, and the next")
{
        static char data[65536];
        int fd = OK(open("file", O_RDWR | O_CREAT, 0644));

        EQUAL(write(fd, data, sizeof(data)), sizeof(data));
        EQUAL(pread(fd, data, sizeof(data), 0), sizeof(data));
        for (int i = 0; i < 5; i++) {
                struct watch file = watch_file(fd);

                EQUAL(pwrite(fd, "x", 1, 5000), 1);
                expect_marked(&file, M | C, 0);
        }
}

CASE("times.write-nothing", "write of nothing marks nothing")
{
        int fd = OK(open("file", O_RDWR | O_CREAT, 0644));
        struct watch file = watch_file(fd);

        EQUAL(write(fd, "", 0), 0);
        expect_marked(&file, 0, M | C);
}

CASE("times.read", "read marks atime, where it is older than mtime")
{
        char byte;

        put("file", "text");
        OK(utimensat(AT_FDCWD, "file", (struct timespec[]){{1000000000, 0}, {1000000001, 0}}, 0));

        struct watch file = watch_name("file");
        int fd = OK(open("file", O_RDONLY));

        /* A file system that can be mounted elsewhere too may answer from memory, and then tell nobody. */
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        EQUAL(read(fd, &byte, 1), 1);
        OK(close(fd));
        expect_marked(&file, A, M);
}

CASE("times.noatime", "O_NOATIME: it does not")
{
        char byte;

        put("file", "text");
        OK(utimensat(AT_FDCWD, "file", (struct timespec[]){{1000000000, 0}, {1000000001, 0}}, 0));

        struct watch file = watch_name("file");
        int fd = OK(open("file", O_RDONLY | O_NOATIME));

        EQUAL(read(fd, &byte, 1), 1);
        OK(close(fd));
        expect_marked(&file, 0, A | M);
}

CASE("times.readdir", "reading a directory marks its atime, where it is older than mtime")
{
        char buffer[512];

        OK(mkdir("dir", 0755));
        OK(utimensat(AT_FDCWD, "dir", (struct timespec[]){{1000000000, 0}, {1000000001, 0}}, 0));

        struct watch dir = watch_name("dir");
        int fd = OK(open("dir", O_RDONLY));

        CHECK(getdents64(fd, buffer, sizeof(buffer)) > 0);
        OK(close(fd));
        expect_marked(&dir, A, M);
}

CASE("times.truncate", "truncate that changes the size marks mtime and ctime")
{
        put("file", "text");

        struct watch file = watch_name("file");

        OK(truncate("file", 2));
        expect_marked(&file, M | C, A);
        file = watch_name("file");
        OK(truncate("file", 2000));
        expect_marked(&file, M | C, A);
}

CASE("times.ftruncate-same", "ftruncate to the size that it has marks them too")
{
        int fd = OK(open("file", O_RDWR | O_CREAT, 0644));

        EQUAL(write(fd, "text", 4), 4);

        struct watch file = watch_file(fd);

        OK(ftruncate(fd, 4));
        expect_marked(&file, M | C, A);
}

CASE("times.open-truncate", "O_TRUNC marks mtime and ctime, of an empty file too")
{
        put("file", "text");
        for (int i = 0; i < 2; i++) {
                struct watch file = watch_name("file");

                OK(close(OK(open("file", O_WRONLY | O_TRUNC))));
                expect_marked(&file, M | C, A);
        }
}

CASE("times.open", "open, stat, access and close mark nothing")
{
        put("file", "text");

        struct watch file = watch_name("file");

        OK(close(OK(open("file", O_RDWR))));
        OK(close(OK(open("file", O_RDWR | O_CREAT, 0644))));
        OK(access("file", R_OK));
        expect_marked(&file, 0, A | M | C);
}

CASE("times.fallocate", "fallocate that makes a file longer marks mtime and ctime")
{
        int fd = OK(open("file", O_RDWR | O_CREAT, 0644));
        struct watch file = watch_file(fd);

        OK_IF_THERE(fallocate(fd, 0, 0, 10000));
        expect_marked(&file, M | C, A);
}

CASE("times.copy-file-range", "copy_file_range marks mtime and ctime of what it writes")
{
        put("from", "text");

        int in = OK(open("from", O_RDONLY)), out = OK(open("to", O_RDWR | O_CREAT, 0644));
        struct watch from = watch_file(in), to = watch_file(out);
        ssize_t n = copy_file_range(in, NULL, out, NULL, 4, 0);

        if (n < 0)
                posix_skip("copy_file_range: %s", strerrorname_np(errno));
        EQUAL(n, 4);
        expect_marked(&to, M | C, A);
        expect_marked(&from, 0, M | C);
}

CASE("times.mmap", "a store to a shared mapping marks mtime and ctime at the latest when it is written back")
{
        int fd = OK(open("file", O_RDWR | O_CREAT, 0644));

        OK(ftruncate(fd, 4096));

        char *map = OK_IF_THERE((char *)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
        struct watch file = watch_file(fd);

        map[10] = 'x';
        OK(msync(map, 4096, MS_SYNC));
        expect_marked(&file, M | C, 0);
}

/* ---- attributes ---- */

CASE("times.chmod", "chmod marks ctime alone, of files and of directories")
{
        make_some();

        struct watch file = watch_name("file"), dir = watch_name("dir");

        OK(chmod("file", 0600));
        OK(chmod("dir", 0700));
        expect_marked(&file, C, A | M);
        expect_marked(&dir, C, A | M);
}

CASE("times.chown", "chown marks ctime alone, of a link too")
{
        make_some();

        struct watch file = watch_name("file"), link = watch_name("to-file");

        OK(chown("file", getuid(), getgid()));
        OK(lchown("to-file", getuid(), getgid()));
        expect_marked(&file, C, A | M);
        expect_marked(&link, C, M);
}

CASE("times.utimens", "utimensat marks ctime")
{
        make_file("file", 0644);

        struct watch file = watch_name("file");

        OK(utimensat(AT_FDCWD, "file", (struct timespec[]){{1, 0}, {2, 0}}, 0));
        expect_marked(&file, C, 0);
}

CASE("times.failed", "a call that fails marks nothing")
{
        OK(mkdir("dir", 0755));
        make_file("dir/file", 0644);

        struct watch dir = watch_name("dir"), file = watch_name("dir/file");

        FAILS(mkdir("dir/file", 0755), EEXIST);
        FAILS(link("dir/missing", "dir/new"), ENOENT);
        FAILS(unlink("dir/missing"), ENOENT);
        FAILS(rmdir("dir"), ENOTEMPTY, EEXIST);
        expect_marked(&dir, 0, M | C);
        expect_marked(&file, 0, M | C);
}

CASE("times.ordered", "what is written later is never older")
{
        make_file("a", 0644);
        for (int i = 0; i < 20; i++) {
                put("a", "x");
                put("b", "x");
                CHECK(compare_times(stat_of("b").st_mtim, stat_of("a").st_mtim) >= 0);
        }
}
