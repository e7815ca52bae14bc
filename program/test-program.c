/* SPDX-License-Identifier: BSD-2-Clause */

/* Tests of what the programs share: text that is made printable, socket files that are removed only by their owner,
 * clients that are turned away where there are no descriptors, and programs whose starter has ended. */

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/test.h"
#include "program/accept.h"
#include "program/printable.h"
#include "program/socket_file.h"
#include "program/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <oriel/socket.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void test_printable(void **state)
{
        static const struct {
                const char *text, *shown;
        } cases[] = {
                {"plain", "plain"},
                {"\t\x7f\x1b", "???"},
                {"\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80"},
                {"\xff\xc0\x80", "???"},
                {"\xed\xa0\x80", "???"},
                {"\xe2\x82", "??"},
                {"\xf4\x90\x80\x80", "????"},
                {"a\xc2\x80\xc2\x9b"
                 "31mb\xc2\x9f\xc2\xa0",
                 "a??31mb?\xc2\xa0"},
                {"\xe2\x80\xaa\xe2\x80\xae\xe2\x81\xa6\xe2\x81\xa9x", "????x"},
                {"\xe2\x80\xa8\xe2\x80\x8e\xd8\x9c\xe2\x80\xa6", "???\xe2\x80\xa6"},
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                char text[32];

                snprintf(text, sizeof(text), "%s", cases[i].text);
                make_printable(text);
                assert_string_equal(text, cases[i].shown);
        }
}

/* Another process's socket, which takes the name of the next that listens as soon as that does; NULL: none. */
static const char *replaced_path;
static int replacing_fd = -1;

int listen(int fd, int backlog)
{
        const char *path = replaced_path;
        int r = (int)syscall(SYS_listen, fd, backlog);

        replaced_path = NULL;
        if (path) {
                assert_int_equal(unlink(path), 0);
                replacing_fd = oriel_socket_listen(path);
                assert_true(replacing_fd >= 0);
        }
        return r;
}

static void test_socket_file_that_is_replaced_at_once(void **state)
{
        char dir[] = "/tmp/oriel-test-XXXXXX", path[64];
        struct socket_file ours;

        assert_non_null(mkdtemp(dir));
        snprintf(path, sizeof(path), "%s/socket", dir);
        replaced_path = path;

        int listener = socket_file_listen(&ours, path);

        assert_true(listener >= 0 && replacing_fd >= 0);
        socket_file_remove(&ours);
        assert_int_equal(unlink(path), 0);
        fd_close(replacing_fd);
        fd_close(listener);
        rmdir(dir);
}

static void test_socket_files(void **state)
{
        char dir[] = "/tmp/oriel-test-XXXXXX", path[64], aside[64];
        struct socket_file ours, none = {.name = NULL};

        assert_non_null(mkdtemp(dir));
        snprintf(path, sizeof(path), "%s/socket", dir);
        snprintf(aside, sizeof(aside), "%s/aside", dir);
        socket_file_remove(&none);

        int listener = socket_file_listen(&ours, path);

        assert_true(listener >= 0);
        socket_file_remove(&ours);
        assert_int_equal(access(path, F_OK), -1);
        socket_file_remove(&ours);
        fd_close(listener);

        /* A socket of another process, or another link, also one to ours, is not removed. */
        listener = socket_file_listen(&ours, path);
        assert_int_equal(rename(path, aside), 0);

        int other = oriel_socket_listen(path);
        struct socket_file again = ours;

        again.directory_fd = fd_dup(ours.directory_fd);

        assert_true(listener >= 0 && other >= 0);
        socket_file_remove(&ours);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(symlink(aside, path), 0);
        socket_file_remove(&again);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(unlink(aside), 0);
        fd_close(other);
        fd_close(listener);
        rmdir(dir);
}

static void test_program_is_there(void **state)
{
        /* No program that is beside this one. */
        static const char *const found[] = {"/nowhere:/bin", "/bin", ":/bin", "/bin:"};
        const char *before = getenv("PATH");
        _cleanup_(freep) char *copy = before ? strdup(before) : NULL;
        _cleanup_(freep) char *here = getcwd(NULL, 0);

        for (size_t i = 0; i < ARRAY_SIZE(found); i++) {
                setenv("PATH", found[i], 1);
                assert_true(program_is_there("sh"));
                assert_false(program_is_there("no-such-program"));
        }
        unsetenv("PATH");
        assert_true(program_is_there("sh"));
        setenv("PATH", "/nowhere", 1);
        assert_false(program_is_there("sh"));
        /* An empty part, wherever it is, is the current directory. */
        assert_int_equal(chdir("/bin"), 0);
        setenv("PATH", "/nowhere:", 1);
        assert_true(program_is_there("sh"));
        setenv("PATH", "", 1);
        assert_true(program_is_there("sh"));
        assert_int_equal(chdir("/"), 0);
        assert_false(program_is_there("sh"));
        assert_int_equal(chdir(here), 0);
        if (copy)
                setenv("PATH", copy, 1);
}

static void test_clients_without_a_descriptor(void **state)
{
        char dir[] = "/tmp/oriel-test-XXXXXX", path[64], byte;
        struct socket_file file;
        struct rlimit limit, none;

        assert_non_null(mkdtemp(dir));
        snprintf(path, sizeof(path), "%s/socket", dir);

        int listener = socket_file_listen(&file, path), client = oriel_socket_connect(path);
        int spare = fd_dup(listener), accepted = accept_or_refuse(listener, &spare);
        int more[] = {oriel_socket_connect(path), oriel_socket_connect(path)};
        struct pollfd waiting = {.fd = listener, .events = POLLIN};

        assert_true(listener >= 0 && client >= 0 && accepted >= 0 && spare >= 0);
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
        none = limit;
        none.rlim_cur = (rlim_t)more[1] + 1;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
        for (size_t i = 0; i < ARRAY_SIZE(more); i++) {
                assert_int_equal(poll(&waiting, 1, 0), 1);
                assert_int_equal(accept_or_refuse(listener, &spare), -EMFILE);
                assert_int_equal(recv(more[i], &byte, 1, MSG_DONTWAIT), 0);
        }
        assert_int_equal(poll(&waiting, 1, 0), 0);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
        fd_close_all(more, ARRAY_SIZE(more));
        fd_close(client);
        fd_close(accepted);
        client = oriel_socket_connect(path);
        accepted = accept_or_refuse(listener, &spare);
        assert_true(client >= 0 && accepted >= 0);
        fd_close(client);
        fd_close(accepted);
        fd_close(spare);
        fd_close(listener);
        socket_file_remove(&file);
        rmdir(dir);
}

/* ---- a program whose starter has ended ---- */

static bool starter_ends;

/* The C library's, but that a child may run only once its parent has ended. */
pid_t fork(void)
{
        const pid_t self = getpid(), pid = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0);

        if (pid == 0 && starter_ends)
                while (getppid() == self)
                        usleep(1000);
        if (pid > 0 && starter_ends)
                _exit(0);
        return pid;
}

/* PR_SET_PDEATHSIG says nothing of an end that was before. */
static void test_starter_that_has_ended(void **state)
{
        char *const command[] = {(char *)"echo", (char *)"runs", NULL};
        char byte;
        int ends[2];

        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);

        const pid_t starter = fork();

        assert_true(starter >= 0);
        if (starter == 0) {
                starter_ends = true;
                spawn_logged(command, ends[1]);
                _exit(1);
        }
        fd_close(ends[1]);
        /* The end of all that have the other end. */
        assert_int_equal(read(ends[0], &byte, 1), 0);
        assert_int_equal(waitpid(starter, NULL, 0), starter);
        fd_close(ends[0]);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_printable),
                counted_test(test_socket_files),
                counted_test(test_socket_file_that_is_replaced_at_once),
                counted_test(test_program_is_there),
                counted_test(test_clients_without_a_descriptor),
                counted_test(test_starter_that_has_ended),
        };

        return run_counted("program", tests);
}
