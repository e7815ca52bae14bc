/* SPDX-License-Identifier: BSD-2-Clause */

/* Locks of a guest for tests, and the thread that retries waiting requests. */

#include "devices/fs/test/test-lock.h"

#include "base/fd.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void answered(void *userdata, struct fs_token token, size_t written)
{
        struct lock_request *request = token.request;

        if (written != sizeof(request->answer) || atomic_exchange(&request->done, true))
                abort();
}

static void *keep(void *userdata)
{
        struct lock_guest *guest = userdata;
        struct pollfd fds[] = {
                {.fd = guest->stop_fd, .events = POLLIN},
                {.fd = fs_locks_fd(guest->client.fs), .events = POLLIN},
        };
        bool some = false;

        for (;;) {
                int n = poll(fds, 2, some && guest->polls ? 5 : -1);

                if (fds[0].revents)
                        return NULL;
                if (n >= 0)
                        some = fs_retry_locks(guest->client.fs) > 0;
        }
}

void lock_guest_begin(struct lock_guest *guest, struct fs_options options, bool polls)
{
        options.answered = answered;
        client_begin(&guest->client, &options);
        guest->polls = polls;
        guest->stop_fd = eventfd(0, EFD_CLOEXEC);
        assert_true(guest->stop_fd >= 0);
        assert_int_equal(pthread_create(&guest->keeper, NULL, keep, guest), 0);
}

void lock_guest_end(struct lock_guest *guest)
{
        fd_event_signal(guest->stop_fd);
        pthread_join(guest->keeper, NULL);
        fd_close(guest->stop_fd);
        client_end(&guest->client);
}

struct fuse_lk_in lock_part(uint64_t owner, uint32_t type, uint64_t start, uint64_t end)
{
        return (struct fuse_lk_in){.owner = owner, .lk = {.start = start, .end = end, .type = type}};
}

struct fuse_lk_in lock_flock(uint64_t fh, uint32_t type)
{
        return (struct fuse_lk_in){.fh = fh, .lk_flags = FUSE_LK_FLOCK, .lk = {.end = INT64_MAX, .type = type}};
}

ssize_t lock_wait(struct lock_guest *guest, struct lock_request *request, void *queue, uint64_t unique, uint64_t nodeid,
                  struct fuse_lk_in in)
{
        *request = (struct lock_request){
                .request =
                        {{.len = sizeof(request->request), .opcode = FUSE_SETLKW, .unique = unique, .nodeid = nodeid},
                         in},
        };
        request->in = (struct iovec){&request->request, sizeof(request->request)};
        request->out = (struct iovec){&request->answer, sizeof(request->answer)};

        ssize_t r = fs_handle(guest->client.fs, &request->in, 1, &request->out, 1, (struct fs_token){queue, request});

        return r == sizeof(request->answer) ? request->answer.error : r;
}

int lock_answer(struct lock_request *request)
{
        for (int i = 0; i < 10000 && !atomic_load(&request->done); i++)
                usleep(1000);
        assert_true(atomic_load(&request->done));
        assert_int_equal(request->answer.len, sizeof(request->answer));
        assert_int_equal(request->answer.unique, request->request.header.unique);
        return request->answer.error;
}

ssize_t lock_set(struct lock_guest *guest, uint64_t nodeid, struct fuse_lk_in in)
{
        return client_call(&guest->client, FUSE_SETLK, nodeid, BODY(START(in)), NULL, 0);
}

ssize_t lock_get(struct lock_guest *guest, uint64_t nodeid, struct fuse_lk_in in, struct fuse_file_lock *found)
{
        struct fuse_lk_out out = {0};
        ssize_t r = client_call(&guest->client, FUSE_GETLK, nodeid, BODY(START(in)), &out, sizeof(out));

        *found = out.lk;
        return r;
}

void lock_interrupt(struct lock_guest *guest, uint64_t unique)
{
        const struct fuse_interrupt_in in = {.unique = unique};

        assert_int_equal(client_call(&guest->client, FUSE_INTERRUPT, 0, BODY(START(in)), NULL, 0), 0);
}

/* In a process of its own, because cmocka's asserts work in the test's process only. */
static int take(const char *path, int command, short type, off_t start, off_t size)
{
        struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = size};
        int fd = open(path, O_RDWR | O_CLOEXEC);
        int r = command ? fcntl(fd, command, &lock) : flock(fd, (type == F_RDLCK ? LOCK_SH : LOCK_EX) | LOCK_NB);

        return r < 0 ? errno : 0;
}

struct lock_host lock_host_begin(struct client *client, const char *name, int command, short type, off_t start,
                                 off_t size)
{
        const struct test_path path = client_path(client, name);
        struct lock_host host;
        int ends[2];
        char byte = 1;

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
        host.fd = ends[0];
        host.pid = fork();
        assert_true(host.pid >= 0);
        if (host.pid == 0) {
                close(ends[0]);
                byte = (char)take(path.text, command, type, start, size);
                if (write(ends[1], &byte, 1) == 1)
                        (void)!read(ends[1], &byte, 1);
                _exit(0);
        }
        close(ends[1]);
        assert_int_equal(read(host.fd, &byte, 1), 1);
        assert_int_equal(byte, 0);
        return host;
}

void lock_host_end(struct lock_host *host)
{
        close(host->fd);
        assert_int_equal(waitpid(host->pid, NULL, 0), host->pid);
}

int lock_host_try(struct client *client, const char *name, int command, short type, off_t start, off_t size)
{
        const struct test_path path = client_path(client, name);
        int status;
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0)
                _exit(take(path.text, command, type, start, size));
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        return WEXITSTATUS(status);
}
