/* SPDX-License-Identifier: BSD-2-Clause */
/* Room, holes, copies in the kernel, advice, and what statvfs() tells. */
#include "posix.h"

#include <limits.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/statvfs.h>

static int new_file(void)
{
        return OK(open("file", O_RDWR | O_CREAT | O_EXCL, 0644));
}

/* @n bytes of 'x'. */
static int file_of(size_t n)
{
        char *data = malloc(n);
        int fd = new_file();

        CHECK(data);
        memset(data, 'x', n);
        EQUAL(write(fd, data, n), n);
        free(data);
        return fd;
}

/* [@from, @to) is @byte all over. */
static void expect_run(int fd, char byte, off_t from, off_t to)
{
        size_t size = (size_t)(to - from);
        char *expected = malloc(size + 1);

        CHECK(expected);
        memset(expected, byte, size);
        expect_bytes(fd, from, expected, size);
        free(expected);
}

CASE("fallocate.longer", "room is made, and the file is as long as the room")
{
        int fd = new_file();

        OK_IF_THERE(fallocate(fd, 0, 1000, 100000));
        EQUAL(size_of("file"), 101000);
        expect_run(fd, 0, 0, 101000);
        CHECK(stat_of("file").st_blocks * 512 >= 100000);
}

CASE("fallocate.keeps-data", "what is there stays, and the file is never made shorter")
{
        int fd = file_of(10000);

        OK_IF_THERE(fallocate(fd, 0, 0, 5000));
        EQUAL(size_of("file"), 10000);
        expect_run(fd, 'x', 0, 10000);
}

CASE("fallocate.keep-size", "FALLOC_FL_KEEP_SIZE makes room behind the end")
{
        int fd = file_of(10);

        OK_IF_THERE(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 100000));
        EQUAL(size_of("file"), 10);
        EQUAL(pwrite(fd, "y", 1, 50000), 1);
        EQUAL(size_of("file"), 50001);
        expect_run(fd, 0, 10, 50000);
}

CASE("fallocate.punch-hole", "a hole reads as zeros, to the byte, and the file stays as long")
{
        int fd = file_of(100000);

        OK_IF_THERE(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 5000, 50000));
        EQUAL(size_of("file"), 100000);
        expect_run(fd, 'x', 0, 5000);
        expect_run(fd, 0, 5000, 55000);
        expect_run(fd, 'x', 55000, 100000);
        OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 99000, 50000));
        EQUAL(size_of("file"), 100000);
        expect_run(fd, 0, 99000, 100000);
}

CASE("fallocate.zero-range", "so does a range that is made zeros, which may make the file longer")
{
        int fd = file_of(10000);

        OK_IF_THERE(fallocate(fd, FALLOC_FL_ZERO_RANGE, 1000, 2000));
        expect_run(fd, 'x', 0, 1000);
        expect_run(fd, 0, 1000, 3000);
        expect_run(fd, 'x', 3000, 10000);
        OK(fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 9000, 5000));
        EQUAL(size_of("file"), 10000);
        expect_run(fd, 0, 9000, 10000);
        OK(fallocate(fd, FALLOC_FL_ZERO_RANGE, 9000, 5000));
        EQUAL(size_of("file"), 14000);
        expect_run(fd, 0, 9000, 14000);
}

CASE("fallocate.errors", "EINVAL for no or a negative length, EFBIG for too much, ESPIPE or ENODEV for what is no file")
{
        int fd = new_file(), fds[2];

        FAILS(fallocate(fd, 0, 0, 0), EINVAL);
        FAILS(fallocate(fd, 0, -1, 10), EINVAL);
        FAILS(fallocate(fd, 0, 0, -1), EINVAL);
        FAILS(fallocate(fd, 0, LLONG_MAX - 10, 100), EFBIG, EOPNOTSUPP);
        FAILS(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 10), EOPNOTSUPP, EINVAL);
        OK(pipe(fds));
        FAILS(fallocate(fds[1], 0, 0, 10), ESPIPE);
        FAILS(fallocate(OK(open(".", O_RDONLY)), 0, 0, 10), EBADF, EISDIR, ENODEV);
        EQUAL(size_of("file"), 0);
}

CASE("fallocate.posix", "posix_fallocate makes room on any file system")
{
        int fd = file_of(10);

        EQUAL(posix_fallocate(fd, 0, 20000), 0);
        EQUAL(size_of("file"), 20000);
        expect_run(fd, 'x', 0, 10);
        expect_run(fd, 0, 10, 20000);
}

/* ---- holes ---- */

CASE("sparse.takes-no-room", "what was never written takes no room")
{
        int fd = new_file();

        EQUAL(pwrite(fd, "x", 1, 100 << 20), 1);
        OK(fsync(fd));
        CHECK(stat_of("file").st_blocks < 2048);
}

CASE("sparse.seek", "SEEK_DATA and SEEK_HOLE are right about what is data, or call all of it data")
{
        int fd = new_file();

        EQUAL(pwrite(fd, "x", 1, 1 << 20), 1);
        OK(ftruncate(fd, 2 << 20));
        OK(fsync(fd));

        off_t data = lseek(fd, 0, SEEK_DATA);

        if (data < 0 && errno == EINVAL)
                posix_skip("SEEK_DATA: EINVAL");
        CHECK(data >= 0 && data <= 1 << 20);

        off_t hole = OK(lseek(fd, 1 << 20, SEEK_HOLE));

        CHECK(hole > 1 << 20 && hole <= 2 << 20);
        EQUAL(lseek(fd, 2 << 20, SEEK_SET), 2 << 20);
        FAILS(lseek(fd, 2 << 20, SEEK_DATA), ENXIO);
        FAILS(lseek(fd, 3 << 20, SEEK_HOLE), ENXIO);
}

CASE("sparse.seek-at-end", "the end of a file is a hole")
{
        int fd = file_of(10000);

        EQUAL(lseek(fd, 0, SEEK_DATA), 0);
        EQUAL(lseek(fd, 5000, SEEK_HOLE), 10000);
        FAILS(lseek(fd, 10000, SEEK_DATA), ENXIO);
}

CASE("sparse.seek-new-data", "what has just been written is data")
{
        int fd = new_file();

        OK(ftruncate(fd, 1 << 20));
        EQUAL(pwrite(fd, "x", 1, 500000), 1);

        off_t data = OK(lseek(fd, 0, SEEK_DATA));

        CHECK(data <= 500000);
        EQUAL(lseek(fd, 500000, SEEK_DATA), 500000);
}

CASE("sparse.empty", "an empty file has no data")
{
        int fd = new_file();

        FAILS(lseek(fd, 0, SEEK_DATA), ENXIO);
        FAILS(lseek(fd, 0, SEEK_HOLE), ENXIO);
}

CASE("sparse.blocks", "a file's blocks grow as it is written and go when it is emptied")
{
        int fd = file_of(1 << 20);

        OK(fsync(fd));
        CHECK(stat_of("file").st_blocks >= 2048);
        OK(ftruncate(fd, 0));
        CHECK(stat_of("file").st_blocks < 256);
}

/* ---- copies ---- */

static ssize_t copy(int in, off_t from, int out, off_t to, size_t n)
{
        ssize_t done = copy_file_range(in, &from, out, &to, n, 0);

        if (done < 0 && (errno == EOPNOTSUPP || errno == ENOSYS || errno == EXDEV))
                posix_skip("copy_file_range: %s", strerrorname_np(errno));
        return done;
}

CASE("copy.between", "copy_file_range copies from one file to another and moves the offsets it is given")
{
        int in = file_of(100000), out = OK(open("to", O_RDWR | O_CREAT, 0644));

        EQUAL(copy(in, 1000, out, 500, 50000), 50000);
        EQUAL(size_of("to"), 50500);
        expect_run(out, 0, 0, 500);
        expect_run(out, 'x', 500, 50500);
        EQUAL(lseek(in, 0, SEEK_CUR), 100000);
        EQUAL(lseek(out, 0, SEEK_CUR), 0);
        OK(lseek(in, 0, SEEK_SET));
        EQUAL(copy_file_range(in, NULL, out, NULL, 100, 0), 100);
        EQUAL(lseek(in, 0, SEEK_CUR), 100);
        EQUAL(lseek(out, 0, SEEK_CUR), 100);
        expect_run(out, 'x', 0, 100);
}

CASE("copy.within", "within one file, where the ranges do not overlap: EINVAL where they do")
{
        int fd = new_file();

        EQUAL(write(fd, "abcdefgh", 8), 8);
        EQUAL(copy(fd, 0, fd, 8, 4), 4);
        expect_bytes(fd, 0, "abcdefghabcd", 12);
        FAILS(copy(fd, 0, fd, 2, 4), EINVAL);
}

CASE("copy.end", "at most what there is, and nothing from behind the end")
{
        int in = file_of(10), out = OK(open("to", O_RDWR | O_CREAT, 0644));

        EQUAL(copy(in, 4, out, 0, 100), 6);
        EQUAL(copy(in, 10, out, 0, 100), 0);
        EQUAL(copy(in, 1000, out, 0, 100), 0);
        EQUAL(size_of("to"), 6);
}

CASE("copy.fresh", "what has just been written is what is copied, and the copy is what is read at once")
{
        int in = file_of(20000), out = OK(open("to", O_RDWR | O_CREAT, 0644));

        EQUAL(copy(in, 0, out, 0, 20000), 20000);
        expect_run(out, 'x', 0, 20000);
        EQUAL(pwrite(in, "new", 3, 10000), 3);
        EQUAL(copy(in, 0, out, 0, 20000), 20000);
        expect_bytes(out, 10000, "new", 3);
}

CASE("copy.errors",
     "EBADF for appending or what is not open to read or write, EISDIR for directories, EINVAL for flags")
{
        int in = file_of(10), out = OK(open("to", O_WRONLY | O_CREAT | O_APPEND, 0644));

        FAILS(copy(in, 0, out, 0, 10), EBADF);
        FAILS(copy(out, 0, in, 0, 10), EBADF);
        FAILS(copy(OK(open(".", O_RDONLY)), 0, in, 0, 10), EISDIR, EINVAL);
        FAILS(copy_file_range(in, NULL, in, NULL, 1, 99), EINVAL);
}

CASE("copy.sendfile", "sendfile sends a file's contents into a pipe and another file")
{
        int in = file_of(5000), out = OK(open("to", O_RDWR | O_CREAT, 0644));
        off_t offset = 1000;

        EQUAL(sendfile(out, in, &offset, 3000), 3000);
        EQUAL(offset, 4000);
        expect_run(out, 'x', 0, 3000);
}

CASE("copy.splice", "splice moves between a file and a pipe")
{
        int in = file_of(5000), out = OK(open("to", O_RDWR | O_CREAT, 0644)), fds[2];
        off_t from = 0, to = 10;

        OK(pipe(fds));
        EQUAL(splice(in, &from, fds[1], NULL, 5000, 0), 5000);
        for (ssize_t done = 0; done < 5000;) {
                ssize_t n = OK(splice(fds[0], NULL, out, &to, (size_t)(5000 - done), 0));

                CHECK(n > 0);
                done += n;
        }
        expect_run(out, 0, 0, 10);
        expect_run(out, 'x', 10, 5010);
}

/* ---- advice ---- */

CASE("fadvise.all", "every advice is taken, and changes nothing that is read")
{
        static const int advice[] = {POSIX_FADV_NORMAL,   POSIX_FADV_SEQUENTIAL, POSIX_FADV_RANDOM,
                                     POSIX_FADV_WILLNEED, POSIX_FADV_DONTNEED,   POSIX_FADV_NOREUSE};
        int fd = file_of(50000);

        for (size_t i = 0; i < sizeof(advice) / sizeof(advice[0]); i++) {
                EQUAL(posix_fadvise(fd, 0, 0, advice[i]), 0);
                expect_run(fd, 'x', 0, 50000);
        }
        OK(readahead(fd, 0, 50000));
}

CASE("fadvise.errors", "EINVAL for advice that is none, ESPIPE for a pipe, EBADF for no descriptor")
{
        int fds[2], fd = new_file();

        OK(pipe(fds));
        EQUAL(posix_fadvise(fd, 0, 0, 99), EINVAL);
        EQUAL(posix_fadvise(fds[0], 0, 0, POSIX_FADV_NORMAL), ESPIPE);
        EQUAL(posix_fadvise(9999, 0, 0, POSIX_FADV_NORMAL), EBADF);
}

/* ---- statvfs() ---- */

CASE("statvfs.sane", "there is room, some of it free, and no more free than there is")
{
        struct statvfs st;

        OK(statvfs(".", &st));
        CHECK(st.f_bsize > 0 && st.f_frsize > 0);
        CHECK(st.f_blocks >= st.f_bfree && st.f_bfree >= st.f_bavail);
        CHECK(st.f_files >= st.f_ffree);
        EQUAL(st.f_namemax, NAME_MAX);
        CHECK(!(st.f_flag & ST_RDONLY));
}

CASE("statvfs.same", "it is told the same by a file's, a directory's name and a descriptor")
{
        struct statvfs by_dir, by_file, by_fd;
        int fd = new_file();

        OK(statvfs(".", &by_dir));
        OK(statvfs("file", &by_file));
        OK(fstatvfs(fd, &by_fd));
        EQUAL(by_dir.f_blocks, by_file.f_blocks);
        EQUAL(by_dir.f_blocks, by_fd.f_blocks);
        EQUAL(by_dir.f_bsize, by_fd.f_bsize);
        EQUAL(by_dir.f_fsid, by_fd.f_fsid);
}

CASE("statvfs.pathconf", "pathconf names the limits")
{
        EQUAL(pathconf(".", _PC_NAME_MAX), NAME_MAX);
        CHECK(pathconf(".", _PC_PATH_MAX) >= 255);
        CHECK(pathconf(".", _PC_LINK_MAX) >= 1);
        EQUAL(pathconf(".", _PC_NO_TRUNC), 1);
        EQUAL(pathconf(".", _PC_CHOWN_RESTRICTED), 1);
}
