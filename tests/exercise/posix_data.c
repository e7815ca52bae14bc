/* SPDX-License-Identifier: BSD-2-Clause */
/* Reads return the bytes that were written: offsets, ends of files, holes. */
#include "posix.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>

static int new_file(void)
{
        return OK(open("file", O_RDWR | O_CREAT | O_EXCL, 0644));
}

CASE("write.offset", "write goes on where the last one ended, and pwrite moves nothing")
{
        int fd = new_file();

        EQUAL(write(fd, "abc", 3), 3);
        EQUAL(pwrite(fd, "Z", 1, 10), 1);
        EQUAL(write(fd, "def", 3), 3);
        EQUAL(lseek(fd, 0, SEEK_CUR), 6);
        expect_bytes(fd, 0, "abcdef\0\0\0\0Z", 11);
}

CASE("write.over", "what is written over is replaced, and the rest stays")
{
        int fd = new_file();

        EQUAL(write(fd, "abcdefgh", 8), 8);
        EQUAL(pwrite(fd, "XY", 2, 3), 2);
        expect_bytes(fd, 0, "abcXYfgh", 8);
}

CASE("write.hole", "what was never written reads as zeros")
{
        static const char zeros[100000];
        int fd = new_file();

        EQUAL(pwrite(fd, "x", 1, 100000), 1);
        expect_bytes(fd, 0, zeros, sizeof(zeros));
        EQUAL(size_of("file"), 100001);
}

CASE("write.vectors", "writev and readv are one write and one read")
{
        char a[3], b[5];
        int fd = new_file();
        struct iovec out[] = {{(void *)(uintptr_t) "abc", 3}, {NULL, 0}, {(void *)(uintptr_t) "defgh", 5}};
        struct iovec in[] = {{a, 3}, {b, 5}};

        EQUAL(writev(fd, out, 3), 8);
        EQUAL(preadv(fd, in, 2, 0), 8);
        CHECK(memcmp(a, "abc", 3) == 0 && memcmp(b, "defgh", 5) == 0);
        EQUAL(pwritev(fd, out, 3, 100), 8);
        expect_bytes(fd, 100, "abcdefgh", 8);
}

CASE("write.many-vectors", "IOV_MAX vectors are taken, and EINVAL is for more")
{
        static struct iovec vectors[IOV_MAX + 1];
        int fd = new_file();

        for (int i = 0; i <= IOV_MAX; i++)
                vectors[i] = (struct iovec){(void *)(uintptr_t) "abc", 3};
        EQUAL(writev(fd, vectors, IOV_MAX), 3 * IOV_MAX);
        FAILS(writev(fd, vectors, IOV_MAX + 1), EINVAL);
        EQUAL(size_of("file"), 3 * IOV_MAX);
}

CASE("write.nothing", "write of nothing makes no file longer")
{
        int fd = new_file();

        EQUAL(pwrite(fd, "", 0, 100), 0);
        EQUAL(size_of("file"), 0);
}

CASE("write.large", "a write of many megabytes is written, and read in one")
{
        enum { SIZE = 9 << 20 };
        unsigned char *data = malloc(SIZE);
        int fd = new_file();

        CHECK(data);
        for (size_t i = 0; i < SIZE; i++)
                data[i] = (unsigned char)(i * 31 + i / 4093);
        EQUAL(write(fd, data, SIZE), SIZE);
        expect_bytes(fd, 0, data, SIZE);
        EQUAL(size_of("file"), SIZE);
        free(data);
}

CASE("write.bytes", "single bytes from many writes come in order")
{
        char expected[3000];
        int fd = new_file();

        for (size_t i = 0; i < sizeof(expected); i++) {
                expected[i] = (char)('a' + i % 26);
                EQUAL(write(fd, expected + i, 1), 1);
        }
        expect_bytes(fd, 0, expected, sizeof(expected));
}

CASE("write.bad-buffer", "EFAULT for what is not the process's memory")
{
        int fd = new_file();
        void *none = OK(mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));

        FAILS(write(fd, none, 100), EFAULT);
        EQUAL(size_of("file"), 0);
        EQUAL(write(fd, "text", 4), 4);
        FAILS(pread(fd, none, 4, 0), EFAULT);
}

CASE("write.seen-by-others", "what a process has written all others read")
{
        struct gate written, read_too;

        gate_make(&written);
        gate_make(&read_too);

        int fd = new_file();
        pid_t pid = posix_fork();

        if (pid == 0) {
                int own = OK(open("file", O_RDWR));

                gate_wait(&written);
                expect_bytes(own, 0, "parent", 6);
                EQUAL(pwrite(own, "CHILD", 5, 0), 5);
                gate_open(&read_too);
                _exit(0);
        }
        EQUAL(write(fd, "parent", 6), 6);
        gate_open(&written);
        gate_wait(&read_too);
        expect_bytes(fd, 0, "CHILDt", 6);
        posix_join(pid);
}

CASE("write.negative-offset", "EINVAL for an offset before the start")
{
        char byte;
        int fd = new_file();

        FAILS(pwrite(fd, "x", 1, -1), EINVAL);
        FAILS(pread(fd, &byte, 1, -1), EINVAL);
        FAILS(lseek(fd, -1, SEEK_SET), EINVAL);
        FAILS(lseek(fd, -1, SEEK_END), EINVAL);
        FAILS(lseek(fd, 0, 99), EINVAL);
}

CASE("read.end", "a read ends with the file, and behind it is nothing")
{
        char bytes[10];
        int fd = new_file();

        EQUAL(write(fd, "abcdef", 6), 6);
        EQUAL(pread(fd, bytes, 10, 4), 2);
        EQUAL(pread(fd, bytes, 10, 6), 0);
        EQUAL(pread(fd, bytes, 10, 1000000), 0);
        EQUAL(pread(fd, bytes, 0, 0), 0);
}

CASE("read.offset", "read goes on where the last one ended, and lseek says where")
{
        char bytes[4];
        int fd = new_file();

        EQUAL(write(fd, "abcdefgh", 8), 8);
        EQUAL(lseek(fd, 2, SEEK_SET), 2);
        EQUAL(read(fd, bytes, 4), 4);
        CHECK(memcmp(bytes, "cdef", 4) == 0);
        EQUAL(lseek(fd, -3, SEEK_CUR), 3);
        EQUAL(lseek(fd, 2, SEEK_END), 10);
        EQUAL(read(fd, bytes, 4), 0);
        EQUAL(size_of("file"), 8);
}

/* ---- O_APPEND ---- */

CASE("append.at-end", "with O_APPEND each write goes to the end, wherever the offset was")
{
        put("file", "abc");

        int fd = OK(open("file", O_RDWR | O_APPEND)), other = OK(open("file", O_RDWR));

        OK(lseek(fd, 0, SEEK_SET));
        EQUAL(write(fd, "d", 1), 1);
        EQUAL(pwrite(other, "e", 1, 4), 1);
        EQUAL(write(fd, "f", 1), 1);
        EQUAL(lseek(fd, 0, SEEK_CUR), 6);
        expect_text("file", "abcdef");
        OK(ftruncate(fd, 1));
        EQUAL(write(fd, "z", 1), 1);
        expect_text("file", "az");
}

CASE("append.by-fcntl", "O_APPEND can be set and taken from an open file")
{
        put("file", "abc");

        int fd = OK(open("file", O_RDWR));

        OK(fcntl(fd, F_SETFL, O_APPEND));
        EQUAL(write(fd, "d", 1), 1);
        expect_text("file", "abcd");
        OK(fcntl(fd, F_SETFL, 0));
        OK(lseek(fd, 0, SEEK_SET));
        EQUAL(write(fd, "A", 1), 1);
        expect_text("file", "Abcd");
}

CASE("append.many", "appends of several processes are all there, and whole")
{
        enum { WRITERS = 4, EACH = 200, SIZE = 37 };
        static char line[SIZE], all[WRITERS * EACH * SIZE];
        pid_t pids[WRITERS];
        int counts[WRITERS] = {0};

        make_file("file", 0644);
        for (int i = 0; i < WRITERS; i++) {
                pids[i] = posix_fork();
                if (pids[i] != 0)
                        continue;

                int fd = OK(open("file", O_WRONLY | O_APPEND));

                memset(line, 'a' + i, SIZE);
                for (int n = 0; n < EACH; n++)
                        EQUAL(write(fd, line, SIZE), SIZE);
                _exit(0);
        }
        for (int i = 0; i < WRITERS; i++)
                posix_join(pids[i]);

        EQUAL(size_of("file"), sizeof(all));
        EQUAL(read(OK(open("file", O_RDONLY)), all, sizeof(all)), sizeof(all));
        for (size_t at = 0; at < sizeof(all); at += SIZE) {
                CHECK(all[at] >= 'a' && all[at] < 'a' + WRITERS);
                counts[all[at] - 'a']++;
                for (size_t i = 1; i < SIZE; i++)
                        EQUAL(all[at + i], all[at]);
        }
        for (int i = 0; i < WRITERS; i++)
                EQUAL(counts[i], EACH);
}

/* ---- truncate() ---- */

CASE("truncate.shorter", "what is cut off is gone, and reads as zeros when the file is long again")
{
        static const char zeros[9000];
        static char data[10000];
        int fd = new_file();

        memset(data, 'x', sizeof(data));
        EQUAL(write(fd, data, sizeof(data)), sizeof(data));
        OK(ftruncate(fd, 1000));
        EQUAL(size_of("file"), 1000);
        OK(truncate("file", 10000));
        expect_bytes(fd, 0, data, 1000);
        expect_bytes(fd, 1000, zeros, 9000);
        OK(ftruncate(fd, 0));
        EQUAL(size_of("file"), 0);
}

CASE("truncate.within-page", "also within one page, and however often")
{
        char expected[64];
        int fd = new_file();

        for (int i = 1; i < 60; i++) {
                memset(expected, 'a' + i % 26, sizeof(expected));
                EQUAL(pwrite(fd, expected, 60, 0), 60);
                OK(ftruncate(fd, i));
                OK(ftruncate(fd, 60));
                memset(expected + i, 0, (size_t)(60 - i));
                expect_bytes(fd, 0, expected, 60);
        }
}

CASE("truncate.longer", "a file that is made longer has zeros at its end")
{
        static const char zeros[5000];

        put("file", "abc");
        OK(truncate("file", 5003));

        int fd = OK(open("file", O_RDONLY));

        expect_bytes(fd, 0, "abc", 3);
        expect_bytes(fd, 3, zeros, 5000);
}

CASE("truncate.offset-stays", "the offset stays where it was, behind the end if need be")
{
        int fd = new_file();

        EQUAL(write(fd, "abcdef", 6), 6);
        OK(ftruncate(fd, 2));
        EQUAL(lseek(fd, 0, SEEK_CUR), 6);
        EQUAL(write(fd, "x", 1), 1);
        expect_bytes(fd, 0, "ab\0\0\0\0x", 7);
}

CASE("truncate.errors",
     "EINVAL for a negative length, EISDIR for a directory, EINVAL for one that is not open to write")
{
        make_some();
        FAILS(truncate("file", -1), EINVAL);
        FAILS(truncate("dir", 0), EISDIR);
        FAILS(ftruncate(OK(open("file", O_RDONLY)), 0), EINVAL, EBADF);
}

CASE("truncate.through-link", "truncate follows a link")
{
        put("file", "text");
        OK(symlink("file", "link"));
        OK(truncate("link", 2));
        expect_text("file", "te");
}

/* ---- large offsets ---- */

static void check_at(off_t offset)
{
        char bytes[8] = "";
        int fd = new_file();

        if (pwrite(fd, "before", 6, offset - 3) < 0) {
                if (errno == EFBIG)
                        posix_skip("EFBIG at %#llx", (long long)offset);
                posix_fail("at %#llx: %s", (long long)offset, strerrorname_np(errno));
        }
        EQUAL(size_of("file"), offset + 3);
        expect_bytes(fd, offset - 3, "before", 6);
        EQUAL(lseek(fd, offset, SEEK_SET), offset);
        EQUAL(read(fd, bytes, 8), 3);
        CHECK(memcmp(bytes, "ore", 3) == 0);
        OK(ftruncate(fd, offset));
        EQUAL(size_of("file"), offset);
        expect_bytes(fd, offset - 3, "bef", 3);
        EQUAL(pread(fd, bytes, 1, 0), 1);
        EQUAL(bytes[0], 0);
}

CASE("large.31-bits", "a file goes on beyond 2 GiB")
{
        check_at((off_t)1 << 31);
}

CASE("large.32-bits", "and beyond 4 GiB")
{
        check_at((off_t)1 << 32);
}

CASE("large.40-bits", "and beyond 1 TiB")
{
        check_at((off_t)1 << 40);
}

CASE("large.43-bits", "and beyond 8 TiB, if it can be so long")
{
        check_at((off_t)1 << 43);
}

CASE("large.63-bits", "EFBIG or EINVAL where no file goes, and nothing is harmed")
{
        int fd = new_file();

        EQUAL(write(fd, "text", 4), 4);
        FAILS(pwrite(fd, "xy", 2, LLONG_MAX - 1), EFBIG, EINVAL);
        FAILS(pwrite(fd, "x", 1, LLONG_MAX), EFBIG, EINVAL);
        if (ftruncate(fd, LLONG_MAX) == 0)
                OK(ftruncate(fd, 4));
        else
                CHECK(errno == EFBIG || errno == EINVAL);
        expect_text("file", "text");

        char byte;

        EQUAL(pread(fd, &byte, 1, LLONG_MAX - 4096), 0);
}

CASE("large.seek", "EOVERFLOW or EINVAL for a seek beyond what an offset can be")
{
        int fd = new_file();

        EQUAL(write(fd, "text", 4), 4);
        FAILS(lseek(fd, LLONG_MAX, SEEK_END), EOVERFLOW, EINVAL);
}

CASE("large.limit", "the process's own limit: EFBIG and SIGXFSZ, and what fits is written")
{
        int fd = new_file();

        signal(SIGXFSZ, SIG_IGN);
        OK(setrlimit(RLIMIT_FSIZE, &(struct rlimit){1000, 1000}));
        EQUAL(pwrite(fd, "abcdef", 6, 997), 3);
        FAILS(pwrite(fd, "x", 1, 1000), EFBIG);
        FAILS(ftruncate(fd, 1001), EFBIG);
        EQUAL(size_of("file"), 1000);
}

/* ---- syncing, and direct I/O ---- */

CASE("sync.all-kinds", "fsync, fdatasync, syncfs and sync_file_range succeed on a file, fsync on a directory")
{
        int fd = new_file();

        EQUAL(write(fd, "text", 4), 4);
        OK(fsync(fd));
        OK(fdatasync(fd));
        OK(syncfs(fd));
        OK(sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE));

        int dir = OK(open(".", O_RDONLY));

        OK(fsync(dir));
        OK(fdatasync(dir));
}

CASE("sync.open-flags", "O_SYNC and O_DSYNC write as any other")
{
        int fd = OK(open("file", O_RDWR | O_CREAT | O_SYNC, 0644));

        EQUAL(write(fd, "abc", 3), 3);
        OK(close(fd));
        fd = OK(open("file", O_RDWR | O_DSYNC));
        EQUAL(pwrite(fd, "d", 1, 3), 1);
        expect_bytes(fd, 0, "abcd", 4);
}

CASE("direct.same-file", "what is written with O_DIRECT is read without, and the other way about")
{
        char *buffer = aligned_alloc(4096, 8192);
        int fd = new_file(), direct = open("file", O_RDWR | O_DIRECT);

        CHECK(buffer);
        if (direct < 0)
                posix_skip("O_DIRECT: %s", strerrorname_np(errno));
        memset(buffer, 'd', 8192);
        EQUAL(pwrite(direct, buffer, 8192, 0), 8192);
        expect_bytes(fd, 0, buffer, 8192);
        EQUAL(pwrite(fd, "x", 1, 5000), 1);
        memset(buffer, 0, 8192);
        EQUAL(pread(direct, buffer, 8192, 0), 8192);
        EQUAL(buffer[5000], 'x');
        EQUAL(buffer[4999], 'd');
        OK(ftruncate(fd, 6000));
        EQUAL(pread(direct, buffer, 8192, 0), 6000);
        EQUAL(pread(direct, buffer, 4096, 8192), 0);
        free(buffer);
}
