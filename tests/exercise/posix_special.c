/* SPDX-License-Identifier: BSD-2-Clause */
/* Fifos, sockets and devices have names in a file system too. */
#include "posix.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

CASE("fifo.carries", "a fifo carries bytes from one process to another")
{
        char bytes[8];

        OK(mkfifo("fifo", 0644));
        CHECK(is_kind("fifo", S_IFIFO));

        pid_t pid = posix_fork();

        if (pid == 0) {
                EQUAL(write(OK(open("fifo", O_WRONLY)), "through", 7), 7);
                _exit(0);
        }

        int fd = OK(open("fifo", O_RDONLY));

        EQUAL(read(fd, bytes, 8), 7);
        CHECK(memcmp(bytes, "through", 7) == 0);
        EQUAL(read(fd, bytes, 8), 0);
        posix_join(pid);
}

CASE("fifo.no-reader", "ENXIO for opening it to write without waiting while nobody reads")
{
        OK(mkfifo("fifo", 0644));
        FAILS(open("fifo", O_WRONLY | O_NONBLOCK), ENXIO);

        int in = OK(open("fifo", O_RDONLY | O_NONBLOCK)), out = OK(open("fifo", O_WRONLY | O_NONBLOCK));

        EQUAL(write(out, "x", 1), 1);
        FAILS(lseek(in, 0, SEEK_SET), ESPIPE);
        FAILS(pwrite(out, "x", 1, 0), ESPIPE);
        FAILS(ftruncate(out, 0), EINVAL);
}

CASE("fifo.permissions", "a fifo is opened by whom its mode allows")
{
        make_dir_of(&ALICE, "dir", 0755);
        OK(mkfifo("dir/fifo", 0600));
        OK(chown("dir/fifo", ALICE.uid, ALICE.gid));
        become(&BOB);
        FAILS(open("dir/fifo", O_RDONLY | O_NONBLOCK), EACCES);
        become(&ALICE);
        OK(close(OK(open("dir/fifo", O_RDONLY | O_NONBLOCK))));
}

CASE("fifo.attributes", "a fifo has a mode, times and an owner, and no size")
{
        OK(mkfifo("fifo", 0666));
        EQUAL(mode_of("fifo"), 0644);
        OK(chmod("fifo", 0600));
        EQUAL(mode_of("fifo"), 0600);
        EQUAL(size_of("fifo"), 0);
        EQUAL(links_of("fifo"), 1);
        FAILS(truncate("fifo", 0), EINVAL);
}

static struct sockaddr_un address_of(const char *name)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};

        snprintf(address.sun_path, sizeof(address.sun_path), "%s", name);
        return address;
}

CASE("socket.connects", "a socket that is bound to a name is reached by it")
{
        char bytes[8];
        struct sockaddr_un address = address_of("socket");
        int server = OK(socket(AF_UNIX, SOCK_STREAM, 0)), client = OK(socket(AF_UNIX, SOCK_STREAM, 0));

        FAILS(connect(client, (struct sockaddr *)&address, sizeof(address)), ENOENT);
        OK(bind(server, (struct sockaddr *)&address, sizeof(address)));
        CHECK(is_kind("socket", S_IFSOCK));
        FAILS(connect(client, (struct sockaddr *)&address, sizeof(address)), ECONNREFUSED);
        OK(listen(server, 1));
        OK(connect(client, (struct sockaddr *)&address, sizeof(address)));
        EQUAL(write(client, "hello", 5), 5);
        EQUAL(read(OK(accept(server, NULL, NULL)), bytes, 8), 5);
}

CASE("socket.not-opened", "ENXIO for opening it as a file")
{
        OK(mknod("socket", S_IFSOCK | 0644, 0));
        CHECK(is_kind("socket", S_IFSOCK));
        FAILS(open("socket", O_RDWR), ENXIO);
}

CASE("socket.not-a-socket", "ECONNREFUSED for connecting to what is a file")
{
        struct sockaddr_un address = address_of("file");
        int client = OK(socket(AF_UNIX, SOCK_STREAM, 0));

        make_file("file", 0644);
        FAILS(connect(client, (struct sockaddr *)&address, sizeof(address)), ECONNREFUSED);
}

CASE("socket.permissions", "EACCES for connecting to one that may not be written")
{
        struct sockaddr_un address = address_of("socket");
        int server = OK(socket(AF_UNIX, SOCK_STREAM, 0));

        need_root();
        OK(bind(server, (struct sockaddr *)&address, sizeof(address)));
        OK(listen(server, 1));
        OK(chmod("socket", 0600));
        become(&BOB);
        FAILS(connect(OK(socket(AF_UNIX, SOCK_STREAM, 0)), (struct sockaddr *)&address, sizeof(address)), EACCES);
}

CASE("device.numbers", "a device's node has the numbers that it was made with")
{
        static const unsigned numbers[][2] = {{1, 3}, {0, 0}, {255, 255}, {8, 300}, {4000, 1000000}};

        need_root();
        for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
                dev_t device = makedev(numbers[i][0], numbers[i][1]);

                for (int block = 0; block < 2; block++) {
                        if (mknod("node", (block ? S_IFBLK : S_IFCHR) | 0600, device) < 0)
                                posix_skip("mknod: %s", strerrorname_np(errno));
                        CHECK(is_kind("node", block ? S_IFBLK : S_IFCHR));
                        EQUAL(major(stat_of("node").st_rdev), numbers[i][0]);
                        EQUAL(minor(stat_of("node").st_rdev), numbers[i][1]);
                        EQUAL(mode_of("node"), 0600);
                        OK(unlink("node"));
                }
        }
}

CASE("device.not-by-users", "EPERM for a device's node made by who is not root")
{
        make_dir_of(&ALICE, "dir", 0755);
        become(&ALICE);
        FAILS(mknod("dir/node", S_IFCHR | 0600, makedev(1, 3)), EPERM);
        OK(mknod("dir/fifo", S_IFIFO | 0600, 0));
        OK(mknod("dir/file", S_IFREG | 0600, 0));
        OK(mknod("dir/zero", 0600, 0));
        CHECK(is_kind("dir/zero", S_IFREG));
}

CASE("device.directory", "EPERM or EINVAL for a directory by mknod")
{
        FAILS(mknod("dir", S_IFDIR | 0755, 0), EPERM, EINVAL);
}
