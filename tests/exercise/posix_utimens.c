/* SPDX-License-Identifier: BSD-2-Clause */
/* Times that are set. */
#include "posix.h"

#include <stdint.h>
#include <sys/mman.h>

static void expect_times(const char *name, struct timespec atime, struct timespec mtime)
{
        struct stat st = stat_of(name);

        EQUAL(st.st_atim.tv_sec, atime.tv_sec);
        EQUAL(st.st_atim.tv_nsec, atime.tv_nsec);
        EQUAL(st.st_mtim.tv_sec, mtime.tv_sec);
        EQUAL(st.st_mtim.tv_nsec, mtime.tv_nsec);
}

CASE("utimens.exact", "times are kept to the nanosecond, of all kinds of files")
{
        const struct timespec times[2] = {{1234567890, 123456789}, {1345678901, 987654321}};

        make_some();
        OK(mkfifo("fifo", 0644));
        OK(utimensat(AT_FDCWD, "file", times, 0));
        OK(utimensat(AT_FDCWD, "dir", times, 0));
        OK(utimensat(AT_FDCWD, "fifo", times, 0));
        OK(utimensat(AT_FDCWD, "to-file", times, AT_SYMLINK_NOFOLLOW));
        expect_times("file", times[0], times[1]);
        expect_times("dir", times[0], times[1]);
        expect_times("fifo", times[0], times[1]);
        expect_times("to-file", times[0], times[1]);
}

CASE("utimens.by-descriptor", "futimens sets those of the open file, and writing does not undo it before")
{
        const struct timespec times[2] = {{1234567890, 1}, {1345678901, 2}};
        int fd = OK(open("file", O_RDWR | O_CREAT, 0644));

        EQUAL(write(fd, "text", 4), 4);
        OK(futimens(fd, times));
        OK(close(fd));
        expect_times("file", times[0], times[1]);
        tick();
        expect_times("file", times[0], times[1]);
}

CASE("utimens.after-mmap", "times that are set after a store to a mapping stay when that is written back later")
{
        const struct timespec times[2] = {{1234567890, 1}, {1345678901, 2}};
        int fd = OK(open("file", O_RDWR | O_CREAT, 0644));

        OK(ftruncate(fd, 4096));

        char *map = OK_IF_THERE((char *)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));

        map[10] = 'x';
        OK(msync(map, 4096, MS_SYNC));
        OK(munmap(map, 4096));
        OK(futimens(fd, times));
        OK(close(fd));
        expect_times("file", times[0], times[1]);
}

CASE("utimens.omit", "UTIME_OMIT leaves a time as it is")
{
        make_file("file", 0644);
        OK(utimensat(AT_FDCWD, "file", (struct timespec[]){{100, 1}, {200, 2}}, 0));
        OK(utimensat(AT_FDCWD, "file", (struct timespec[]){{0, UTIME_OMIT}, {300, 3}}, 0));
        expect_times("file", (struct timespec){100, 1}, (struct timespec){300, 3});
        OK(utimensat(AT_FDCWD, "file", (struct timespec[]){{400, 4}, {0, UTIME_OMIT}}, 0));
        expect_times("file", (struct timespec){400, 4}, (struct timespec){300, 3});
        OK(utimensat(AT_FDCWD, "file", (struct timespec[]){{0, UTIME_OMIT}, {0, UTIME_OMIT}}, 0));
        expect_times("file", (struct timespec){400, 4}, (struct timespec){300, 3});
}

CASE("utimens.now", "UTIME_NOW sets one of them to now")
{
        struct timespec before, after;

        make_file("file", 0644);
        OK(utimensat(AT_FDCWD, "file", (struct timespec[]){{100, 1}, {200, 2}}, 0));
        clock_gettime(CLOCK_REALTIME, &before);
        tick();
        OK(utimensat(AT_FDCWD, "file", (struct timespec[]){{0, UTIME_NOW}, {300, 3}}, 0));
        tick();
        clock_gettime(CLOCK_REALTIME, &after);
        CHECK(compare_times(stat_of("file").st_atim, before) >= 0);
        CHECK(compare_times(stat_of("file").st_atim, after) <= 0);
        EQUAL(stat_of("file").st_mtim.tv_sec, 300);
        OK(utimensat(AT_FDCWD, "file", (struct timespec[]){{100, 1}, {0, UTIME_NOW}}, 0));
        CHECK(compare_times(stat_of("file").st_mtim, before) >= 0);
        EQUAL(stat_of("file").st_atim.tv_sec, 100);
}

CASE("utimens.both-now", "NULL sets both to now")
{
        make_file("file", 0644);
        OK(utimensat(AT_FDCWD, "file", (struct timespec[]){{100, 1}, {200, 2}}, 0));
        OK(utimensat(AT_FDCWD, "file", NULL, 0));

        struct stat st = stat_of("file");

        CHECK(st.st_mtim.tv_sec > 1000000000);
        CHECK(st.st_atim.tv_sec > 1000000000);
}

CASE("utimens.invalid", "EINVAL for what are no nanoseconds")
{
        make_file("file", 0644);
        FAILS(utimensat(AT_FDCWD, "file", (struct timespec[]){{1, 1000000000}, {1, 0}}, 0), EINVAL);
        FAILS(utimensat(AT_FDCWD, "file", (struct timespec[]){{1, 0}, {1, -1}}, 0), EINVAL);
}

CASE("utimens.far", "times before 1970 and after 2038 are kept, or cut off where the file system ends")
{
        static const time_t seconds[] = {
                0, -1, -1000000000, INT32_MAX, INT32_MAX + 1L, UINT32_MAX, UINT32_MAX + 1L, 13569465600};

        for (size_t i = 0; i < sizeof(seconds) / sizeof(seconds[0]); i++) {
                make_file("file", 0644);

                int fd = OK(open("file", O_RDWR));

                OK(futimens(fd, (struct timespec[]){{seconds[i], 5}, {seconds[i], 5}}));

                struct stat st = stat_of("file");

                if (st.st_mtim.tv_sec != seconds[i] || st.st_atim.tv_sec != seconds[i])
                        posix_fail("%lld became %lld", (long long)seconds[i], (long long)st.st_mtim.tv_sec);
                OK(close(fd));
                OK(unlink("file"));
        }
}

CASE("utimens.owner", "the owner may set any time, though the mode gives him nothing")
{
        make_file_of(&ALICE, "file", 0);
        become(&ALICE);
        OK(utimensat(AT_FDCWD, "file", (struct timespec[]){{1, 0}, {2, 0}}, 0));
        OK(utimensat(AT_FDCWD, "file", NULL, 0));
}

CASE("utimens.writer", "who may write may set both to now, and no other time: EPERM")
{
        make_file_of(&ALICE, "file", 0666);
        become(&BOB);
        OK(utimensat(AT_FDCWD, "file", NULL, 0));
        OK(utimensat(AT_FDCWD, "file", (struct timespec[]){{0, UTIME_NOW}, {0, UTIME_NOW}}, 0));
        FAILS(utimensat(AT_FDCWD, "file", (struct timespec[]){{1, 0}, {2, 0}}, 0), EPERM);
        FAILS(utimensat(AT_FDCWD, "file", (struct timespec[]){{0, UTIME_NOW}, {0, UTIME_OMIT}}, 0), EPERM);
}

CASE("utimens.other", "who may not write may set none: EACCES for now, EPERM for another")
{
        make_file_of(&ALICE, "file", 0644);
        become(&BOB);
        FAILS(utimensat(AT_FDCWD, "file", NULL, 0), EACCES);
        FAILS(utimensat(AT_FDCWD, "file", (struct timespec[]){{1, 0}, {2, 0}}, 0), EPERM);
}
