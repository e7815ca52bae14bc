/* SPDX-License-Identifier: BSD-2-Clause */
/* Mappings, and that they and read() and write() are about the same bytes. */
#include "posix.h"

#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define PAGE ((size_t)sysconf(_SC_PAGESIZE))

static int new_file(off_t size)
{
        int fd = OK(open("file", O_RDWR | O_CREAT | O_EXCL, 0644));

        OK(ftruncate(fd, size));
        return fd;
}

static char *map(int fd, size_t size, int protection, int flags, off_t offset)
{
        return OK_IF_THERE((char *)mmap(NULL, size, protection, flags, fd, offset));
}

static char *map_shared(int fd, size_t size)
{
        return map(fd, size, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
}

CASE("mmap.reads-what-was-written", "a mapping shows what was written before and after it was made")
{
        int fd = new_file(8192);

        EQUAL(pwrite(fd, "before", 6, 5000), 6);

        const char *p = map_shared(fd, 8192);

        CHECK(memcmp(p + 5000, "before", 6) == 0);
        EQUAL(pwrite(fd, "after!", 6, 5000), 6);
        CHECK(memcmp(p + 5000, "after!", 6) == 0);
        EQUAL(p[0], 0);
}

CASE("mmap.is-read", "what is stored into a mapping is read at once, without msync")
{
        int fd = new_file(8192);
        char *p = map_shared(fd, 8192);

        memcpy(p + 100, "stored", 6);
        expect_bytes(fd, 100, "stored", 6);
        memcpy(p + 4093, "across", 6);
        expect_bytes(fd, 4093, "across", 6);
}

CASE("mmap.other-descriptor", "also through another descriptor, and by another process")
{
        int fd = new_file(8192);
        char *p = map_shared(fd, 8192);

        OK(close(fd));
        memcpy(p + 100, "stored", 6);
        IN_CHILD({
                int own = OK(open("file", O_RDWR));

                expect_bytes(own, 100, "stored", 6);
                EQUAL(pwrite(own, "back", 4, 200), 4);
        });
        CHECK(memcmp(p + 200, "back", 4) == 0);
}

CASE("mmap.two-mappings", "two mappings of one file show each other's stores, in all processes")
{
        int fd = new_file(8192);
        char *p = map_shared(fd, 8192), *q = map_shared(fd, 8192);

        p[10] = 'p';
        EQUAL(q[10], 'p');
        IN_CHILD(q[20] = 'q');
        EQUAL(p[20], 'q');
}

CASE("mmap.read-only-descriptor", "EACCES for a shared writable mapping of what is open to read alone")
{
        OK(close(new_file(4096)));

        int fd = OK(open("file", O_RDONLY));

        FAILS((long)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), EACCES);
        EQUAL(map(fd, 4096, PROT_READ, MAP_SHARED, 0)[0], 0);
}

CASE("mmap.write-only-descriptor", "EACCES for any mapping of what is open to write alone")
{
        OK(close(new_file(4096)));
        FAILS((long)mmap(NULL, 4096, PROT_READ, MAP_SHARED, OK(open("file", O_WRONLY)), 0), EACCES);
}

CASE("mmap.errors", "EINVAL for no length and an offset within a page, ENODEV or EACCES for a directory")
{
        int fd = new_file(4096), dir = OK(open(".", O_RDONLY));

        FAILS((long)mmap(NULL, 0, PROT_READ, MAP_SHARED, fd, 0), EINVAL);
        FAILS((long)mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 100), EINVAL);
        FAILS((long)mmap(NULL, 4096, PROT_READ, MAP_SHARED, dir, 0), ENODEV, EACCES);
}

CASE("mmap.private", "what is stored into a private mapping stays there")
{
        int fd = new_file(8192);
        char *p = map(fd, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);

        EQUAL(pwrite(fd, "file", 4, 0), 4);
        memcpy(p, "mine", 4);
        expect_bytes(fd, 0, "file", 4);
        CHECK(memcmp(p, "mine", 4) == 0);
        OK(munmap(p, 8192));
        expect_bytes(fd, 0, "file", 4);
}

CASE("mmap.private-of-read-only", "a private mapping may be written though the file may not")
{
        OK(close(new_file(4096)));

        char *p = map(OK(open("file", O_RDONLY)), 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);

        p[0] = 'x';
        EQUAL(p[0], 'x');
}

CASE("mmap.after-close", "a mapping stays when the file is closed and its name is gone")
{
        int fd = new_file(8192);
        char *p = map_shared(fd, 8192);

        p[5] = 'x';
        OK(close(fd));
        OK(unlink("file"));
        EQUAL(p[5], 'x');
        p[6] = 'y';
        OK(msync(p, 8192, MS_SYNC));
        EQUAL(p[6], 'y');
}

CASE("mmap.close-unsynced", "what was stored and never synced is there when all have let go of the file")
{
        int fd = new_file(8192);
        char *p = map_shared(fd, 8192);

        memcpy(p + 4000, "stored over pages", 17);
        OK(munmap(p, 8192));
        OK(close(fd));
        expect_bytes(OK(open("file", O_RDONLY)), 4000, "stored over pages", 17);
        for (size_t i = 0; i < 100; i++)
                EQUAL(size_of("file"), 8192);
}

CASE("mmap.exit-unsynced", "or when the process has ended that stored it")
{
        int fd = new_file(8192);

        IN_CHILD({
                char *p = map_shared(fd, 8192);

                memcpy(p + 100, "last words", 10);
        });
        expect_bytes(fd, 100, "last words", 10);
}

CASE("mmap.msync", "msync takes its three flags, and EINVAL is for what makes no sense")
{
        int fd = new_file(8192);
        char *p = map_shared(fd, 8192);

        p[0] = 'x';
        OK(msync(p, 8192, MS_ASYNC));
        OK(msync(p, 8192, MS_SYNC));
        OK(msync(p, 8192, MS_SYNC | MS_INVALIDATE));
        FAILS(msync(p, 8192, MS_SYNC | MS_ASYNC), EINVAL);
        FAILS(msync(p + 1, 100, MS_SYNC), EINVAL);
        OK(munmap(p, 8192));
        FAILS(msync(p, 8192, MS_SYNC), ENOMEM);
        expect_bytes(fd, 0, "x", 1);
}

CASE("mmap.rest-of-page", "behind the end of the file is a page's rest, of zeros, that is never written")
{
        int fd = new_file(100);
        char *p = map_shared(fd, 4096);

        EQUAL(p[100], 0);
        EQUAL(p[4095], 0);
        memcpy(p + 98, "abcdef", 6);
        OK(msync(p, 4096, MS_SYNC));
        OK(munmap(p, 4096));
        EQUAL(size_of("file"), 100);
        OK(ftruncate(fd, 200));
        expect_bytes(fd, 98, "ab\0\0\0\0", 6);
}

static sigjmp_buf on_sigbus;

static void jump(int number)
{
        siglongjmp(on_sigbus, 1);
}

/* Does a load from there end in SIGBUS? */
static bool is_out_of_file(const volatile char *p)
{
        signal(SIGBUS, jump);
        if (sigsetjmp(on_sigbus, 1) == 0) {
                (void)*p;
                return false;
        }
        return true;
}

CASE("mmap.behind-end", "SIGBUS for a whole page behind the end")
{
        int fd = new_file(100);
        const char *p = map(fd, 8 * PAGE, PROT_READ, MAP_SHARED, 0);

        CHECK(!is_out_of_file(p + 99));
        CHECK(is_out_of_file(p + PAGE));
        CHECK(is_out_of_file(p + 7 * PAGE));
}

CASE("mmap.truncated", "and for one that was cut off")
{
        int fd = new_file((off_t)(4 * PAGE));
        char *p = map_shared(fd, 4 * PAGE);

        memset(p, 'x', 4 * PAGE);
        OK(ftruncate(fd, 100));
        EQUAL(p[99], 'x');
        EQUAL(p[100], 0);
        CHECK(is_out_of_file(p + PAGE));
        CHECK(is_out_of_file(p + 3 * PAGE));
}

CASE("mmap.grown", "which is there again, of zeros, when the file is long enough")
{
        int fd = new_file((off_t)(4 * PAGE));
        char *p = map_shared(fd, 4 * PAGE);

        memset(p, 'x', 4 * PAGE);
        OK(ftruncate(fd, 0));
        OK(ftruncate(fd, (off_t)(4 * PAGE)));
        for (size_t i = 0; i < 4 * PAGE; i += 100)
                EQUAL(p[i], 0);
        EQUAL(pwrite(fd, "end", 3, (off_t)(3 * PAGE)), 3);
        CHECK(memcmp(p + 3 * PAGE, "end", 3) == 0);
}

CASE("mmap.grows-by-write", "what write() adds to a file shows in a mapping that was there before")
{
        int fd = new_file(10);
        const char *p = map(fd, 4 * PAGE, PROT_READ, MAP_SHARED, 0);

        EQUAL(p[9], 0);
        for (off_t at = 10; at < (off_t)(3 * PAGE); at += 1000) {
                EQUAL(pwrite(fd, "grown", 5, at), 5);
                CHECK(memcmp(p + at, "grown", 5) == 0);
        }
}

CASE("mmap.hole", "holes map as zeros, can be stored into, and shine through when they are punched")
{
        int fd = new_file(1 << 20);
        char *p = map_shared(fd, 1 << 20);

        EQUAL(p[500000], 0);
        p[500000] = 'x';
        expect_bytes(fd, 500000, "x", 1);
        OK_IF_THERE(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 400000, 200000));
        EQUAL(p[500000], 0);
}

CASE("mmap.at-offset", "a mapping may begin at any page")
{
        int fd = new_file(1 << 20);

        EQUAL(pwrite(fd, "there", 5, (off_t)(5 * PAGE + 10)), 5);

        const char *p = map(fd, PAGE, PROT_READ, MAP_SHARED, (off_t)(5 * PAGE));

        CHECK(memcmp(p + 10, "there", 5) == 0);
}

CASE("mmap.large", "a large mapping is stored and read all over")
{
        enum { SIZE = 8 << 20 };
        int fd = new_file(SIZE);
        char *p = map_shared(fd, SIZE);

        for (size_t i = 0; i < SIZE; i += 4096)
                p[i + i / 4096 % 4096] = (char)(i / 4096 + 1);
        OK(msync(p, SIZE, MS_SYNC));
        OK(munmap(p, SIZE));
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        p = map_shared(fd, SIZE);
        for (size_t i = 0; i < SIZE; i += 4096)
                EQUAL(p[i + i / 4096 % 4096], (char)(i / 4096 + 1));
}

CASE("mmap.read-into-own", "read() into a mapping of the file itself, and write() from it, come to an end")
{
        int fd = new_file((off_t)(4 * PAGE));
        char *p = map_shared(fd, 4 * PAGE);

        memset(p, 'a', PAGE);
        EQUAL(pread(fd, p + 2 * PAGE, PAGE, 0), PAGE);
        EQUAL(p[3 * PAGE - 1], 'a');
        EQUAL(pwrite(fd, p, PAGE, (off_t)PAGE), PAGE);
        EQUAL(p[2 * PAGE - 1], 'a');
}

CASE("mmap.of-other-file-into-write", "write() of one file from a mapping of another")
{
        int fd = new_file((off_t)(4 * PAGE)), other = OK(open("other", O_RDWR | O_CREAT, 0644));
        char *p = map_shared(fd, 4 * PAGE);

        memset(p, 'm', 4 * PAGE);
        EQUAL(write(other, p + 10, 3 * PAGE), 3 * PAGE);
        expect_bytes(other, 0, p + 10, 3 * PAGE);
}

CASE("mmap.protect", "a mapping may be made read-only and writable again")
{
        int fd = new_file(8192);
        char *p = map(fd, 8192, PROT_READ, MAP_SHARED, 0);

        OK(mprotect(p, 8192, PROT_READ | PROT_WRITE));
        p[0] = 'x';
        OK(mprotect(p, 8192, PROT_READ));
        expect_bytes(fd, 0, "x", 1);
}

CASE("mmap.forked", "a child's mapping is the parent's")
{
        int fd = new_file(8192);
        volatile char *p = map_shared(fd, 8192);

        IN_CHILD(p[0] = 'c');
        EQUAL(p[0], 'c');
}

CASE("mmap.renamed-file", "a mapping stays with its file when that is renamed or replaced")
{
        int fd = new_file(8192);
        char *p = map_shared(fd, 8192);

        p[0] = 'x';
        OK(rename("file", "moved"));
        put("file", "another");
        p[1] = 'y';
        expect_bytes(fd, 0, "xy", 2);
        expect_text("file", "another");
        expect_bytes(OK(open("moved", O_RDONLY)), 0, "xy", 2);
}
