/* SPDX-License-Identifier: BSD-2-Clause */

/* Descriptors of cross-domain contexts: those that the compositor has sent, and pipes, both ways. */

#include "devices/gpu/test/test-desk.h"

#include "base/cleanup.h"
#include "base/fd.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAPPED VIRTIO_GPU_RESP_OK_MAP_INFO
#define UNSPEC VIRTIO_GPU_RESP_ERR_UNSPEC

/* ---- received descriptors ---- */

static int memfd_of(const char *text, int seals)
{
        int fd = memfd_create("keymap", MFD_CLOEXEC | MFD_ALLOW_SEALING);

        assert_int_equal(write(fd, text, strlen(text)), strlen(text));
        assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
        return fd;
}

static uint64_t inode_of(int fd)
{
        struct stat stat;

        assert_int_equal(fstat(fd, &stat), 0);
        return stat.st_ino;
}

static void test_received_blob(void **state)
{
        struct desk desk;
        int fds[3] = {memfd_of("keymap", F_SEAL_WRITE), memfd_of("buffer", 0), memfd_of("pages.", 0)};

        desk_open(&desk);

        int client = desk_begin(&desk, 1), other = desk_begin(&desk, 2);

        assert_int_equal(ftruncate(fds[2], PAGE), 0);
        desk_say(client, "k", 1, fds, 3);

        const struct cross_send_receive head = desk_next(&desk, 1)->receive.head;

        assert_int_equal(head.data_size, 1);
        assert_int_equal(head.n_ids, 3);
        for (unsigned i = 0; i < 3; i++) {
                const struct world_request *request = &desk.world.requests[i];

                assert_int_equal(head.types[i], CROSS_ID_BLOB);
                assert_int_equal(head.sizes[i], i == 2 ? PAGE : 6);
                /* The blob belongs to this context, has its size, and can be made once. */
                assert_int_equal(world_create_blob(&desk.world, 2, 70 + i, head.ids[i], PAGE), UNSPEC);
                assert_int_equal(world_create_blob(&desk.world, 1, 70 + i, head.ids[i] | UINT64_C(1) << 32, PAGE),
                                 UNSPEC);
                assert_int_equal(world_create_blob(&desk.world, 1, 70 + i, head.ids[i], PAGE + 1), UNSPEC);
                assert_int_equal(world_create_blob(&desk.world, 1, 70 + i, head.ids[i], PAGE), OK);
                assert_int_equal(world_create_blob(&desk.world, 1, 80 + i, head.ids[i], PAGE), UNSPEC);
                assert_int_equal(world_map(&desk.world, 70 + i, i * PAGE), MAPPED);
                /* If the last page is not whole, the front-end gets a copy with whole pages. */
                assert_true((request->inode == inode_of(fds[i])) == (i == 2));
                assert_int_equal(request->size, PAGE);
                assert_memory_equal(request->begin, i == 0 ? "keymap" : i == 1 ? "buffer" : "pages.", 6);
        }
        assert_int_equal(desk.world.requests[0].access, ORIEL_ACCESS_READ);
        assert_int_equal(desk.world.requests[1].access, ORIEL_ACCESS_READ_WRITE);
        assert_int_equal(world_create_blob(&desk.world, 1, 90, 0, PAGE), UNSPEC);
        fd_close_all(fds, 3);
        fd_close(client);
        fd_close(other);
        desk_close(&desk);
}

/* A guest gets none of these, and learns which ones they were. */
static void test_odd_descriptors(void **state)
{
        struct desk desk;
        int ends[2], pair[2], fds[11];
        unsigned n = 0;

        desk_open(&desk);

        int client = desk_begin(&desk, 1);

        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        fds[n++] = open("/dev/null", O_RDWR | O_CLOEXEC);
        fds[n++] = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
        fds[n++] = open("/sys/devices/system/cpu/online", O_RDONLY | O_CLOEXEC); /* it has a size */
        fds[n++] = open(desk.folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        fds[n++] = open(desk.address.sun_path, O_PATH | O_CLOEXEC);
        fds[n++] = eventfd(0, EFD_CLOEXEC);
        fds[n++] = memfd_create("empty", MFD_CLOEXEC);
        fds[n++] = memfd_of("good", 0);
        fds[n++] = ends[0];
        fds[n++] = pair[0];
        fds[n++] = memfd_create("huge", MFD_CLOEXEC);
        assert_int_equal(ftruncate(fds[n - 1], INT64_C(1) << 32), 0);
        desk_say(client, "odd", 3, fds, n);

        const struct cross_send_receive *head = &desk_next(&desk, 1)->receive.head;

        assert_int_equal(head->n_ids, n);
        for (unsigned i = 0; i < n; i++) {
                assert_int_equal(head->types[i], i == 7 ? CROSS_ID_BLOB : CROSS_ID_NONE);
                assert_int_equal(head->ids[i] != 0, i == 7);
        }
        fd_close_all(fds, n);
        fd_close(ends[1]);
        fd_close(pair[1]);
        fd_close(client);
        desk_close(&desk);
}

static void test_too_many_descriptors(void **state)
{
        struct desk desk;
        int fds[253];
        unsigned kept = 0;

        desk_open(&desk);

        int client = desk_begin(&desk, 1), memfd = memfd_of("many", 0);

        for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
                fds[i] = memfd;
        /* Descriptors that the guest makes no blobs of are kept, up to a limit. */
        for (unsigned i = 0; i < 4; i++) {
                desk_say(client, "28", 2, fds, CROSS_IDS_MAX);

                const struct cross_send_receive *head = &desk_next(&desk, 1)->receive.head;

                assert_int_equal(head->n_ids, CROSS_IDS_MAX);
                for (unsigned j = 0; j < CROSS_IDS_MAX; j++)
                        kept += head->types[j] == CROSS_ID_BLOB;
        }
        assert_int_equal(kept, CROSS_ITEMS_MAX);
        desk_say(client, "253", 3, fds, ARRAY_SIZE(fds));
        desk_expect_end(&desk, 1);
        fd_close(memfd);
        fd_close(client);
        desk_close(&desk);
}

/* ---- pipes ---- */

static void test_read_pipe(void **state)
{
        const uint32_t id = CROSS_READ_PIPE_START + 5;
        static char much[10000];
        const union cross_message *message;
        struct desk desk;
        char text[8];
        int fds[CROSS_IDS_MAX];
        size_t got = 0;
        unsigned n;

        desk_open(&desk);

        int client = desk_begin(&desk, 1);

        assert_int_equal(desk_send_id(&desk, 1, CROSS_ID_READ_PIPE, id), OK);
        assert_int_equal(desk_hear(client, text, sizeof(text), fds, &n), 2);
        assert_int_equal(n, 1);
        memset(much, 'm', sizeof(much));
        assert_int_equal(write(fds[0], much, sizeof(much)), sizeof(much));
        fd_close(fds[0]);
        do {
                message = desk_next(&desk, 1);
                assert_int_equal(message->read.head.header.command, CROSS_READ);
                assert_int_equal(message->read.head.id, id);
                assert_int_equal(message->read.head.hang_up, message->read.head.data_size == 0);
                for (uint32_t i = 0; i < message->read.head.data_size; i++)
                        assert_int_equal(message->read.data[i], 'm');
                got += message->read.head.data_size;
        } while (!message->read.head.hang_up);
        assert_int_equal(got, sizeof(much));
        /* Its id is free again; and another pipe does not disturb this one. */
        assert_int_equal(desk_send_id(&desk, 1, CROSS_ID_READ_PIPE, id), OK);
        assert_int_equal(desk_hear(client, text, sizeof(text), fds, &n), 2);
        desk_say(client, "between", 7, NULL, 0);
        desk_expect_bytes(&desk, 1, "between");
        assert_int_equal(write(fds[0], "x", 1), 1);
        assert_int_equal(desk_next(&desk, 1)->read.head.data_size, 1);
        /* A pipe outlives the compositor's connection. */
        fd_close(client);
        assert_int_equal(desk_next(&desk, 1)->receive.head.data_size, 0);
        assert_int_equal(write(fds[0], "yz", 2), 2);
        assert_int_equal(desk_next(&desk, 1)->read.head.data_size, 2);
        fd_close(fds[0]);
        desk_close(&desk);
}

static uint32_t write_pipe(struct desk *desk, uint32_t context_id, uint32_t id, const void *data, size_t size,
                           bool hang_up)
{
        static struct {
                struct cross_read_write head;
                uint8_t data[UINT16_MAX];
        } command;
        size_t whole = sizeof(command.head) + size;

        command.head = (struct cross_read_write){.header = {.command = CROSS_WRITE, .size = (uint16_t)whole},
                                                 .id = id,
                                                 .hang_up = hang_up,
                                                 .data_size = (uint32_t)size};
        memcpy(command.data, data, size);
        return desk_submit(desk, context_id, &command, whole, -1);
}

/* Gives the guest the end to write to of a pipe of the compositor's. Returns its id. */
static uint32_t give_pipe(struct desk *desk, uint32_t context_id, int client, int *reader)
{
        int ends[2];

        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        desk_say(client, "p", 1, &ends[1], 1);
        fd_close(ends[1]);
        *reader = ends[0];

        const struct cross_send_receive *head = &desk_next(desk, context_id)->receive.head;

        assert_int_equal(head->n_ids, 1);
        assert_int_equal(head->types[0], CROSS_ID_WRITE_PIPE);
        return head->ids[0];
}

static ssize_t read_soon(int fd, void *data, size_t size)
{
        struct pollfd ready = {.fd = fd, .events = POLLIN};

        assert_int_equal(poll(&ready, 1, SOON), 1);
        return read(fd, data, size);
}

static void test_write_pipe(void **state)
{
        struct desk desk;
        char text[16] = "";
        int reader;

        desk_open(&desk);

        int client = desk_begin(&desk, 1), other = desk_begin(&desk, 2);
        uint32_t id = give_pipe(&desk, 1, client, &reader);

        assert_int_equal(write_pipe(&desk, 2, id, "x", 1, false), UNSPEC);
        assert_int_equal(write_pipe(&desk, 1, id + 1, "x", 1, false), UNSPEC);
        assert_int_equal(write_pipe(&desk, 1, 0, "x", 1, false), UNSPEC);
        assert_int_equal(world_create_blob(&desk.world, 1, 7, id, PAGE), UNSPEC);
        assert_int_equal(write_pipe(&desk, 1, id, "clip", 4, false), OK);
        assert_int_equal(read_soon(reader, text, sizeof(text)), 4);
        assert_string_equal(text, "clip");
        assert_int_equal(write_pipe(&desk, 1, id, "board", 5, true), OK);
        assert_int_equal(read_soon(reader, text, sizeof(text)), 5);
        assert_int_equal(read_soon(reader, text, sizeof(text)), 0);
        assert_int_equal(write_pipe(&desk, 1, id, "x", 1, false), UNSPEC);
        fd_close(reader);
        /* Without data. */
        id = give_pipe(&desk, 1, client, &reader);
        assert_int_equal(write_pipe(&desk, 1, id, "", 0, true), OK);
        assert_int_equal(read_soon(reader, text, sizeof(text)), 0);
        fd_close(reader);
        /* More data than the command has, which does the pipe no harm; and a write to a pipe that is read. */
        id = give_pipe(&desk, 1, client, &reader);

        const struct cross_read_write lie = {
                .header = {.command = CROSS_WRITE, .size = sizeof(lie)}, .id = id, .data_size = 1};

        assert_int_equal(DESK_SUBMIT(&desk, 1, &lie), UNSPEC);
        assert_int_equal(write_pipe(&desk, 1, id, "", 0, true), OK);
        assert_int_equal(read_soon(reader, text, sizeof(text)), 0);
        fd_close(reader);
        assert_int_equal(desk_send_id(&desk, 1, CROSS_ID_READ_PIPE, CROSS_READ_PIPE_START), OK);
        assert_int_equal(write_pipe(&desk, 1, CROSS_READ_PIPE_START, "x", 1, false), UNSPEC);
        fd_close(client);
        fd_close(other);
        desk_close(&desk);
}

/* The compositor's end stays open, so that the same open file comes again, by the same number. */
static void test_pipe_that_comes_again(void **state)
{
        struct desk desk;
        int ends[2];
        char byte;

        desk_open(&desk);
        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);

        int client = desk_begin(&desk, 1);

        for (unsigned i = 0; i < 10; i++) {
                desk_say(client, "p", 1, &ends[1], 1);

                uint32_t id = desk_next(&desk, 1)->receive.head.ids[0];

                assert_int_equal(write_pipe(&desk, 1, id, "x", 1, true), OK);
                assert_int_equal(read_soon(ends[0], &byte, 1), 1);
        }
        fd_close_all(ends, 2);
        fd_close(client);
        desk_close(&desk);
}

/* Nobody waits for the pipe, and data that it does not take has a limit; accepted data is not lost. */
static void test_pipe_that_nobody_reads(void **state)
{
        static char much[60000];
        struct desk desk;
        size_t fed = 0, got = 0;
        int reader;

        desk_open(&desk);

        int client = desk_begin(&desk, 1);
        uint32_t id = give_pipe(&desk, 1, client, &reader);

        while (write_pipe(&desk, 1, id, much, sizeof(much), false) == OK)
                fed += sizeof(much);
        assert_between(fed, 60000, 4 << 20);
        assert_int_equal(write_pipe(&desk, 1, id, much, 1, false), UNSPEC);
        fd_close(reader);
        /* A pipe that is read late gets everything. */
        id = give_pipe(&desk, 1, client, &reader);
        for (unsigned i = 0; i < 3; i++)
                assert_int_equal(write_pipe(&desk, 1, id, much, sizeof(much), i == 2), OK);
        for (ssize_t n; (n = read_soon(reader, much, sizeof(much))) > 0;)
                got += (size_t)n;
        assert_int_equal(got, 3 * sizeof(much));
        fd_close(reader);
        /* A pipe that is closed. */
        id = give_pipe(&desk, 1, client, &reader);
        fd_close(reader);
        for (unsigned i = 0; write_pipe(&desk, 1, id, "x", 1, false) == OK; i++) {
                assert_true(i < 10000);
                usleep(1000);
        }
        fd_close(client);
        desk_close(&desk);
}

/* ---- the end ---- */

static void test_reset_meanwhile(void **state)
{
        struct desk desk;
        int reader;

        desk_open(&desk);
        for (unsigned i = 0; i < 50; i++) {
                int client = desk_begin(&desk, 1);
                uint32_t id = give_pipe(&desk, 1, client, &reader);

                desk_ask(&desk, 1);
                desk_ask(&desk, 1);
                desk_say(client, "now", 3, NULL, 0);
                assert_int_equal(write_pipe(&desk, 1, id, "x", 1, false), OK);
                gpu_reset(desk.world.gpu);
                assert_int_equal(gpu_count(desk.world.gpu).fences, 0);
                fd_close(reader);
                fd_close(client);
        }
        desk_close(&desk);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_received_blob),
                counted_test(test_odd_descriptors),
                counted_test(test_too_many_descriptors),
                counted_test(test_read_pipe),
                counted_test(test_write_pipe),
                counted_test(test_pipe_that_comes_again),
                counted_test(test_pipe_that_nobody_reads),
                counted_test(test_reset_meanwhile),
        };

        /* For a broker's socket in this process; the daemon ignores it too. */
        signal(SIGPIPE, SIG_IGN);
        return run_counted("gpu-crossdomain-items", tests);
}
