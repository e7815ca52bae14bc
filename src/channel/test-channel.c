/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tests of the channel: messages and their file descriptors arrive whole, and what a peer cuts short, makes too long
 * or sends with too many descriptors is an error that leaks nothing.
 */
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/test.h"
#include "channel/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <oriel/socket.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* The channel under test, and its peer as a raw socket. */
struct pair {
        struct channel channel;
        int peer;
};

static void open_pair(struct pair *pair)
{
        int fds[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        assert_int_equal(channel_init(&pair->channel, fds[0]), 0);
        pair->peer = fds[1];
}

static void close_pair(struct pair *pair)
{
        channel_close(&pair->channel);
        pair->peer = fd_close(pair->peer);
}

static void raw_send(int fd, const void *data, size_t size, int n_fds)
{
        struct iovec iov = {(void *)data, size};
        char control[CMSG_SPACE(16 * sizeof(int))] = {0};
        struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
        int fds[16];

        for (int i = 0; i < n_fds; i++)
                fds[i] = STDERR_FILENO;
        if (n_fds > 0) {
                msg.msg_control = control;
                msg.msg_controllen = CMSG_SPACE((size_t)n_fds * sizeof(int));

                struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

                c->cmsg_level = SOL_SOCKET;
                c->cmsg_type = SCM_RIGHTS;
                c->cmsg_len = CMSG_LEN((size_t)n_fds * sizeof(int));
                memcpy(CMSG_DATA(c), fds, (size_t)n_fds * sizeof(int));
        }
        assert_int_equal(sendmsg(fd, &msg, MSG_NOSIGNAL), size);
}

static const struct {
        struct oriel_wire_header header;
        uint64_t u64;
} __attribute__((packed)) whole = {{2, 1, 8}, 42};

static int receive(struct pair *pair, struct complaint *complaint)
{
        complaint->text[0] = '\0';
        return channel_receive(&pair->channel, UINT32_MAX, complaint);
}

static void test_byte_by_byte(void **state)
{
        struct pair pair;
        struct complaint complaint;

        open_pair(&pair);
        for (size_t i = 0; i + 1 < sizeof(whole); i++) {
                raw_send(pair.peer, (const uint8_t *)&whole + i, 1, i == 0 ? 2 : 0);
                assert_int_equal(receive(&pair, &complaint), 0);
        }
        raw_send(pair.peer, (const uint8_t *)&whole + sizeof(whole) - 1, 1, 0);
        assert_int_equal(receive(&pair, &complaint), 1);
        assert_int_equal(pair.channel.in.n_fds, 2);
        assert_int_equal(pair.channel.in.payload.u64, 42);
        assert_true(fcntl(pair.channel.in.fds[0], F_GETFD) & FD_CLOEXEC);
        channel_done(&pair.channel);
        close_pair(&pair);
}

static void test_fds_stay_with_their_message(void **state)
{
        struct pair pair;
        struct complaint complaint;

        open_pair(&pair);
        for (int i = 0; i < 4; i++)
                raw_send(pair.peer, &whole, sizeof(whole), i);
        for (unsigned i = 0; i < 4; i++) {
                assert_int_equal(receive(&pair, &complaint), 1);
                assert_int_equal(pair.channel.in.n_fds, i);
                channel_done(&pair.channel);
        }
        assert_int_equal(receive(&pair, &complaint), 0);
        close_pair(&pair);
}

static void test_expected_replies(void **state)
{
        struct pair pair;
        struct complaint complaint;

        open_pair(&pair);
        raw_send(pair.peer, &whole, sizeof(whole), 0);
        raw_send(pair.peer, &whole, sizeof(whole), 0);
        assert_int_equal(channel_receive(&pair.channel, 8, &complaint), 1);
        channel_done(&pair.channel);
        assert_int_equal(channel_receive(&pair.channel, 4, &complaint), 1);
        channel_done(&pair.channel);
        raw_send(pair.peer, &whole, sizeof(whole), 0);
        assert_int_equal(channel_receive(&pair.channel, 16, &complaint), 1);
        channel_done(&pair.channel);
        raw_send(pair.peer, &whole, sizeof(whole), 0);
        raw_send(pair.peer, &whole, sizeof(whole), 0);
        assert_int_equal(channel_receive(&pair.channel, 16, &complaint), -EPROTO);
        close_pair(&pair);
}

/* Bytes that a broken peer sends before it closes, and a word of the expected complaint. */
static const struct {
        const void *data;
        size_t size;
        int fds;
        int late_fds; /* with one more byte */
        int result;
        const char *word;
} broken[] = {
        {&whole, 5, 0, 0, -EPROTO, "header"},
        {&whole, 12, 0, 0, -EPROTO, "0 of 8"},
        {&whole, 15, 3, 0, -EPROTO, "3 of 8"},
        {&whole, 15, 1, 1, -EPROTO, "first byte"},
        {&whole, 5, 0, 2, -EPROTO, "header"}, /* the kernel returns both pieces in one recvmsg() */
        {&whole, 20, 9, 0, -EPROTO, "more than 8"},
        {&(struct oriel_wire_header){1, 0, 0}, 12, 0, 0, -EPROTO, "version"},
        {&(struct oriel_wire_header){1, 1, 5000}, 12, 8, 0, -EPROTO, "above 4096"},
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12, 0, 0, -EPROTO, "version"},
        {&whole, 0, 0, 0, -ENOTCONN, "closed"},
};

static void test_broken_framing(void **state)
{
        struct complaint complaint;

        for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
                struct pair pair;

                open_pair(&pair);
                if (broken[i].size)
                        raw_send(pair.peer, broken[i].data, broken[i].size, broken[i].fds);
                if (broken[i].late_fds)
                        raw_send(pair.peer, "x", 1, broken[i].late_fds);
                pair.peer = fd_close(pair.peer);
                assert_int_equal(receive(&pair, &complaint), broken[i].result);
                if (!strstr(complaint.text, broken[i].word))
                        fail_msg("case %zu: '%s' lacks '%s'", i, complaint.text, broken[i].word);
                close_pair(&pair);
        }
}

static void test_peer_that_does_not_read(void **state)
{
        struct pair pair;
        struct message message;
        int r, sent = 0;

        open_pair(&pair);
        message_init(&message, 2, 0);
        message_set_u64(&message, 42);
        do
                r = channel_send(&pair.channel, &message, 0);
        while (r == 0 && ++sent < 100000);
        assert_int_equal(r, -EAGAIN);
        assert_int_equal(channel_send(&pair.channel, &message, now_ms() + 20), -ETIMEDOUT);
        pair.peer = fd_close(pair.peer);
        assert_int_equal(channel_send(&pair.channel, &message, 0), -ENOTCONN);
        close_pair(&pair);
}

static void test_sockets(void **state)
{
        char dir[] = "/tmp/oriel-test-XXXXXX", path[64], too_long[200];

        assert_non_null(mkdtemp(dir));
        snprintf(path, sizeof(path), "%s/s", dir);
        memset(too_long, 'x', sizeof(too_long) - 1);
        too_long[sizeof(too_long) - 1] = '\0';
        assert_int_equal(oriel_socket_connect(too_long), -ENAMETOOLONG);
        assert_int_equal(oriel_socket_connect(path), -ENOENT);

        int listener = oriel_socket_listen(path);

        assert_true(listener >= 0);
        assert_int_equal(oriel_socket_listen(path), -EADDRINUSE);

        int a = oriel_socket_connect(path), b = oriel_socket_accept(listener);

        assert_true(a >= 0 && b >= 0);
        /* connect() does not wait: the queue of one is soon full. */
        int waiting[8], n = 0;

        do
                waiting[n] = oriel_socket_connect(path);
        while (waiting[n] >= 0 && ++n < 8);
        assert_between(n, 1, 7);
        assert_int_equal(waiting[n], -EAGAIN);
        fd_close_all(waiting, (size_t)n);
        fd_close(a);
        fd_close(b);
        fd_close(listener);
        assert_int_equal(oriel_socket_connect(path), -ECONNREFUSED);
        listener = oriel_socket_listen(path);
        assert_true(listener >= 0);
        fd_close(listener);
        unlink(path);

        /* A file that is no socket is not removed. */
        fd_close(open(path, O_CREAT | O_CLOEXEC | O_WRONLY, 0600));
        assert_int_equal(oriel_socket_listen(path), -EADDRINUSE);
        assert_int_equal(unlink(path), 0);
        rmdir(dir);
}

/* 0, or the line that was not as it should be. As a process that a service manager has started. */
static int take_inherited(void)
{
        char pid[16];
        int listener = socket(AF_UNIX, SOCK_STREAM, 0);

        snprintf(pid, sizeof(pid), "%d", (int)getpid());
        if (oriel_socket_inherited() != -ENOENT)
                return __LINE__;
        setenv("LISTEN_PID", pid, 1);
        setenv("LISTEN_FDS", "0", 1);
        if (oriel_socket_inherited() != -ENOENT)
                return __LINE__;
        setenv("LISTEN_FDS", "1", 1);
        if (dup2(listener, 3) != 3 || oriel_socket_inherited() != 3 || fcntl(3, F_GETFD) != FD_CLOEXEC)
                return __LINE__;
        setenv("LISTEN_PID", "1", 1);
        if (oriel_socket_inherited() != -ENOENT)
                return __LINE__;
        setenv("LISTEN_PID", pid, 1);
        close(3);
        return oriel_socket_inherited() == -EBADF ? 0 : __LINE__;
}

static void test_inherited(void **state)
{
        int status;
        pid_t child = fork();

        assert_true(child >= 0);
        if (child == 0)
                _exit(take_inherited() & 0xff);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_byte_by_byte),
                counted_test(test_fds_stay_with_their_message),
                counted_test(test_expected_replies),
                counted_test(test_broken_framing),
                counted_test(test_peer_that_does_not_read),
                counted_test(test_sockets),
                counted_test(test_inherited),
        };

        return run_counted("channel", tests);
}
