/* SPDX-License-Identifier: BSD-2-Clause */

/* Tests of the console's ends that need no terminal: a file, and a socket with one client after the other. */

#include "vmm/platform/console.h"

#include "base/cleanup.h"
#include "base/test.h"

#include <fcntl.h>
#include <oriel/socket.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/param.h>
#include <sys/resource.h>
#include <unistd.h>

/* The guest, which has room for so many bytes. */
struct guest {
        char typed[64];
        size_t n, room;
};

static size_t take_typed(void *userdata, const uint8_t *data, size_t size)
{
        struct guest *guest = userdata;
        size_t n = MIN(size, guest->room);

        memcpy(guest->typed + guest->n, data, n);
        guest->n += n;
        guest->room -= n;
        return n;
}

/* As the owner's loop: serves the console until it has nothing to do. How often that was. */
static unsigned serve(struct console *console, struct guest *guest)
{
        for (unsigned times = 0;; times++) {
                struct console_fds fds = console_get_fds(console);
                struct pollfd polled[] = {
                        {.fd = fds.in, .events = fds.in_events},
                        {.fd = fds.out, .events = POLLOUT},
                        {.fd = fds.wake, .events = POLLIN},
                };

                if (poll(polled, 3, 0) == 0 && !fds.pending)
                        return times;
                assert_true(times < 100);
                if (polled[0].revents || fds.pending)
                        console_read(console, take_typed, guest);
                if (polled[1].revents || polled[2].revents)
                        console_flush(console);
        }
}

static void print_to(struct console *console, const char *text)
{
        console_output(console, (const uint8_t *)text, strlen(text));
}

static void expect_read(int fd, const char *text)
{
        char found[64] = "";

        assert_int_equal(read(fd, found, sizeof(found) - 1), (ssize_t)strlen(text));
        assert_string_equal(found, text);
}

static void test_file(void **state)
{
        struct console *console;
        struct guest guest = {.room = 0};
        int fd = memfd_create("console", MFD_CLOEXEC), seen = dup(fd);

        assert_int_equal(console_new(CONSOLE_FILE, fd, &console), 0);
        assert_false(console_is_terminal(console));
        assert_null(console_path(console));
        print_to(console, "one");
        serve(console, &guest);
        print_to(console, "two");
        console_end(console);
        assert_int_equal(fcntl(fd, F_GETFD), -1);
        lseek(seen, 0, SEEK_SET);
        expect_read(seen, "onetwo");
        /* It is nobody's any more. */
        print_to(console, "three");
        serve(console, &guest);
        console_free(console);
        close(seen);
}

static struct console *listen_at(char path[static 32])
{
        struct console *console;

        snprintf(path, 32, "/tmp/oriel-console-%d", (int)getpid());
        assert_int_equal(console_new(CONSOLE_SOCKET, oriel_socket_listen(path), &console), 0);
        return console;
}

/* One client after the other; who comes first gets what was printed before. */
static void test_socket(void **state)
{
        char path[32];
        struct guest guest = {.room = 64};
        struct console *console = listen_at(path);

        print_to(console, "boot");
        serve(console, &guest);

        int first = oriel_socket_connect(path), second = oriel_socket_connect(path);

        serve(console, &guest);
        expect_read(first, "boot");
        assert_int_equal(write(first, "ls\n", 3), 3);
        assert_int_equal(write(second, "no\n", 3), 3);
        serve(console, &guest);
        assert_string_equal(guest.typed, "ls\n");

        close(first);
        serve(console, &guest);
        assert_string_equal(guest.typed, "ls\nno\n");
        print_to(console, "more");
        serve(console, &guest);
        expect_read(second, "more");
        console_free(console);
        assert_int_equal(read(second, path, 1), 0);
        close(second);
        unlink(path);
}

/* A client that leaves is noticed also where its input is not looked at, as the guest takes none: by the output, or
 * without any. */
static void check_full(bool output)
{
        char path[32];
        struct guest guest = {.room = 2};
        struct console *console = listen_at(path);
        int first = oriel_socket_connect(path);

        assert_int_equal(write(first, "abcd", 4), 4);
        serve(console, &guest);
        assert_string_equal(guest.typed, "ab");
        assert_int_equal(console_get_fds(console).in_events, 0);
        close(first);
        if (output)
                print_to(console, "kept");
        serve(console, &guest);

        int second = oriel_socket_connect(path);

        guest.room = 64;
        console_resume(console);
        assert_int_equal(write(second, "e", 1), 1);
        serve(console, &guest);
        if (output)
                expect_read(second, "kept");
        assert_string_equal(guest.typed, "abe");
        close(second);
        console_free(console);
        unlink(path);
}

static void test_socket_full(void **state)
{
        check_full(true);
        check_full(false);
}

/* Where this process may have no more descriptors: the client is turned away, and the listener is quiet then. */
static void test_no_descriptor(void **state)
{
        char path[32];
        struct guest guest = {.room = 64};
        struct console *console = listen_at(path);
        int client = oriel_socket_connect(path), next = dup(client);
        struct rlimit before, none;

        getrlimit(RLIMIT_NOFILE, &before);
        none = before;
        none.rlim_cur = (rlim_t)next;
        close(next);
        setrlimit(RLIMIT_NOFILE, &none);
        serve(console, &guest);
        setrlimit(RLIMIT_NOFILE, &before);
        assert_int_equal(read(client, path + 31, 1), 0);
        close(client);
        console_free(console);
        unlink(path);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_file),
                counted_test(test_socket),
                counted_test(test_socket_full),
                counted_test(test_no_descriptor),
        };

        return run_counted("console", tests);
}
