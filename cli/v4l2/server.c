/* SPDX-License-Identifier: BSD-2-Clause */

/* Serves the open files of the programs that "oriel v4l2" has started. A connection is an open file, and a session of
 * the device. A message on it is a call, and brings the socket for its answer.
 *
 * A DQBUF or DQEVENT that has to wait is kept in the file's list, and tried again after each step of the loop. A caller
 * that gives up, for example because of a signal, shuts its socket down: the answer can't be sent then, and the buffer
 * or event goes back to the head of its queue.
 *
 * The programs belong to the user that runs this process, and are not protected from each other. */

#include "cli/v4l2/server.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "channel/rights.h"
#include "cli/v4l2/protocol.h"
#include "cli/v4l2/ready.h"
#include "clients/media/session.h"
#include "program/accept.h"

#include <errno.h>
#include <oriel/socket.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

enum { TURN = 64 };

struct v4l2_watch {
        void (*ready)(struct v4l2_server *server, struct v4l2_watch *watch);
        int fd;
};

struct waiting {
        struct v4l2_watch watch; /* of the answer's socket */
        STAILQ_ENTRY(waiting) entry;
        struct v4l2_call call;
        pid_t pid;
};
STAILQ_HEAD(waiting_list, waiting);

struct v4l2_file {
        struct v4l2_watch watch;
        LIST_ENTRY(v4l2_file) entry;
        struct media_session *session;
        int error;   /* of opening the session; 0: there is one */
        bool closed; /* by the program; kept until no call waits */
        bool ended;  /* by the device: no call waits any more */
        struct waiting_list waiting;
        struct ready ready;
};

/* A mapping of the device. It ends when all processes have closed the answer's socket. */
struct lease {
        struct v4l2_watch watch;
        LIST_ENTRY(lease) entry;
        uint64_t address;
};

struct v4l2_server {
        struct media_client *client;
        int epoll_fd;
        struct v4l2_watch listener, device, events;
        int spare; /* for accept_or_refuse() */
        LIST_HEAD(file_list, v4l2_file) files;
        LIST_HEAD(lease_list, lease) leases;
};

static int add_watch(struct v4l2_server *server, struct v4l2_watch *watch, uint32_t events)
{
        struct epoll_event event = {.events = events, .data.ptr = watch};

        return epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, watch->fd, &event) < 0 ? -errno : 0;
}

/* ---- the memory of a program ---- */

static int memory_result(ssize_t n, size_t size)
{
        return n == (ssize_t)size ? 0 : n < 0 && errno == EPERM ? -EPERM : -EFAULT;
}

static int v4l2_read_memory(void *userdata, void *to, uint64_t from, size_t size)
{
        const struct iovec ours = {to, size}, theirs = {(void *)(uintptr_t)from, size};

        return memory_result(process_vm_readv(*(pid_t *)userdata, &ours, 1, &theirs, 1, 0), size);
}

static int write_memory(void *userdata, uint64_t to, const void *from, size_t size)
{
        const struct iovec ours = {(void *)(uintptr_t)from, size}, theirs = {(void *)(uintptr_t)to, size};

        return memory_result(process_vm_writev(*(pid_t *)userdata, &ours, 1, &theirs, 1, 0), size);
}

/* ---- calls ---- */

/* The limit on descriptors that was reached is this process's: for the program, others' descriptors are used up. */
static int call_answer(int socket, int result, uint64_t offset, const int *fds, size_t n)
{
        struct v4l2_answer message = {.result = result == -EMFILE ? -ENFILE : result, .offset = offset};
        struct iovec iov = {&message, sizeof(message)};
        struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
        union {
                char bytes[CMSG_SPACE(V4L2_READY_FDS * sizeof(int))];
                struct cmsghdr align;
        } control;

        if (n > 0)
                rights_attach(&msg, &control, fds, n);
        return sendmsg(socket, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static void v4l2_end_lease(struct v4l2_server *server, struct v4l2_watch *watch)
{
        struct lease *lease = (struct lease *)watch;

        media_client_munmap(server->client, lease->address);
        fd_close_watched(server->epoll_fd, watch->fd);
        LIST_REMOVE(lease, entry);
        free(lease);
}

/* The device tells only that its mapping was refused, which this process did. */
static int error_of_mapping(const struct v4l2_server *server, int error)
{
        _cleanup_(fd_closep) int fd = error == -EREMOTEIO ? fd_dup(server->epoll_fd) : -1;

        return error == -EREMOTEIO && fd < 0 ? fd : error;
}

/* @socket is taken. */
static void v4l2_map_buffer(struct v4l2_server *server, struct v4l2_file *file, const struct v4l2_call *call,
                            int socket)
{
        _cleanup_(fd_closep) int fd = -1, ours = socket;
        struct lease *lease = calloc(1, sizeof(*lease));
        uint64_t offset = 0, address;
        int r = lease ? media_session_mmap(file->session, call->argument, call->size, call->flags & V4L2_CALL_WRITABLE,
                                           &fd, &offset, &address)
                      : -ENOMEM;

        if (r < 0) {
                call_answer(ours, error_of_mapping(server, r), 0, NULL, 0);
                free(lease);
                return;
        }
        *lease = (struct lease){.watch = {.ready = v4l2_end_lease, .fd = fd_take(&ours)}, .address = address};
        LIST_INSERT_HEAD(&server->leases, lease, entry);
        r = call_answer(lease->watch.fd, 0, offset, &fd, 1);
        if (r == 0)
                r = add_watch(server, &lease->watch, 0);
        if (r < 0)
                v4l2_end_lease(server, &lease->watch);
}

static void end_waiting(struct v4l2_server *server, struct v4l2_file *file, struct waiting *waiting)
{
        STAILQ_REMOVE(&file->waiting, waiting, waiting, entry);
        fd_close_watched(server->epoll_fd, waiting->watch.fd);
        free(waiting);
}

/* Does an ioctl and sends its answer. False: it has to wait, and nothing was sent. */
static bool try_ioctl(struct v4l2_file *file, const struct v4l2_call *call, pid_t pid, int socket)
{
        const struct media_program program = {.read = v4l2_read_memory, .write = write_memory, .userdata = &pid};
        const bool waits = !(call->flags & V4L2_CALL_NONBLOCK) && media_session_waits((uint32_t)call->code);
        int r = media_session_ioctl(file->session, &program, (uint32_t)call->code, call->argument);

        if (r == -EAGAIN && waits)
                return false;
        /* Before the answer, because the program may poll as soon as it has that. */
        ready_set(&file->ready, media_session_ready(file->session));
        if (call_answer(socket, r, 0, NULL, 0) < 0)
                media_session_put_back(file->session);
        return true;
}

static void try_waiting(struct v4l2_server *server, struct v4l2_file *file)
{
        struct waiting *waiting, *next;

        for (waiting = STAILQ_FIRST(&file->waiting); waiting; waiting = next) {
                next = STAILQ_NEXT(waiting, entry);

                struct pollfd gone = {.fd = waiting->watch.fd, .events = 0};

                if (poll(&gone, 1, 0) > 0 || try_ioctl(file, &waiting->call, waiting->pid, waiting->watch.fd))
                        end_waiting(server, file, waiting);
        }
}

static void waiting_gone(struct v4l2_server *server, struct v4l2_watch *watch)
{
        struct v4l2_file *file;
        struct waiting *waiting;

        LIST_FOREACH(file, &server->files, entry)
        STAILQ_FOREACH(waiting, &file->waiting, entry)
        if (&waiting->watch == watch) {
                end_waiting(server, file, waiting);
                return;
        }
}

/* @socket is taken. */
static void keep_waiting(struct v4l2_server *server, struct v4l2_file *file, const struct v4l2_call *call, pid_t pid,
                         int socket)
{
        struct waiting *waiting = calloc(1, sizeof(*waiting));

        if (!waiting) {
                call_answer(socket, -ENOMEM, 0, NULL, 0);
                fd_close(socket);
                return;
        }
        waiting->watch = (struct v4l2_watch){.ready = waiting_gone, .fd = socket};
        waiting->call = *call;
        waiting->pid = pid;
        STAILQ_INSERT_TAIL(&file->waiting, waiting, entry);
        if (add_watch(server, &waiting->watch, 0) < 0) {
                call_answer(socket, -ENOMEM, 0, NULL, 0);
                end_waiting(server, file, waiting);
        }
}

/* @socket is taken. */
static void serve_call(struct v4l2_server *server, struct v4l2_file *file, const struct v4l2_call *call, int socket)
{
        struct ucred who = {.pid = 0};
        socklen_t size = sizeof(who);

        if (!file->error && call->kind == V4L2_CALL_MMAP) {
                v4l2_map_buffer(server, file, call, socket);
                return;
        }
        if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &who, &size) < 0)
                call_answer(socket, -EINVAL, 0, NULL, 0);
        else if (file->error)
                call_answer(socket, file->error, 0, NULL, 0);
        else if (call->kind == V4L2_CALL_READY)
                call_answer(socket, 0, 0, file->ready.fds, V4L2_READY_FDS);
        else if (call->kind != V4L2_CALL_IOCTL)
                call_answer(socket, call->kind == V4L2_CALL_OPEN ? 0 : -EINVAL, 0, NULL, 0);
        else if (!try_ioctl(file, call, who.pid, socket)) {
                keep_waiting(server, file, call, who.pid, socket);
                return;
        }
        fd_close(socket);
}

/* ---- files ---- */

static void v4l2_file_free(struct v4l2_server *server, struct v4l2_file *file)
{
        while (!STAILQ_EMPTY(&file->waiting))
                end_waiting(server, file, STAILQ_FIRST(&file->waiting));
        media_session_free(file->session);
        ready_close(&file->ready);
        fd_close(file->watch.fd);
        LIST_REMOVE(file, entry);
        free(file);
}

/* Receives one message with one descriptor. -EPROTO: it is something else. -EMFILE: there was no room for the
 * descriptor. */
static int receive_call(int socket, struct v4l2_call *call, int *fd)
{
        struct iovec iov = {call, sizeof(*call)};
        union {
                char bytes[CMSG_SPACE(sizeof(int))];
                struct cmsghdr align;
        } control;
        struct msghdr msg = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = CMSG_LEN(sizeof(int))};
        ssize_t n = recvmsg(socket, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        struct cmsghdr *rights = n < 0 ? NULL : CMSG_FIRSTHDR(&msg);

        if (n < 0)
                return -errno;
        if (rights && rights->cmsg_type == SCM_RIGHTS && rights->cmsg_len == CMSG_LEN(sizeof(int)))
                memcpy(fd, CMSG_DATA(rights), sizeof(int));
        if (n != (ssize_t)sizeof(*call))
                return -EPROTO;
        return *fd >= 0 ? 0 : msg.msg_flags & MSG_CTRUNC ? -EMFILE : -EPROTO;
}

static void file_ready(struct v4l2_server *server, struct v4l2_watch *watch)
{
        struct v4l2_file *file = (struct v4l2_file *)watch;
        struct v4l2_call call;
        int socket = -1, r = receive_call(watch->fd, &call, &socket);

        if (r == 0) {
                serve_call(server, file, &call, socket);
                return;
        }
        fd_close(socket);
        if (r == -EAGAIN || r == -EINTR || r == -EMFILE)
                return;
        /* A DQBUF of another thread goes on, as in the kernel: v4l2_server_dispatch() frees the file after that. */
        file->watch.fd = fd_close_watched(server->epoll_fd, file->watch.fd);
        file->closed = true;
}

static void accept_file(struct v4l2_server *server, struct v4l2_watch *watch)
{
        struct v4l2_file *file = calloc(1, sizeof(*file));
        int fd = accept_or_refuse(watch->fd, &server->spare);

        if (!file || fd < 0) {
                free(file);
                fd_close(fd);
                return;
        }
        *file = (struct v4l2_file){.watch = {.ready = file_ready, .fd = fd}};
        STAILQ_INIT(&file->waiting);
        LIST_INSERT_HEAD(&server->files, file, entry);
        file->error = ready_open(&file->ready);
        if (!file->error)
                file->error = media_session_new(server->client, &file->session);
        if (add_watch(server, &file->watch, EPOLLIN) < 0)
                v4l2_file_free(server, file);
}

/* ---- the device ---- */

static void event_came(void *userdata, const union media_event *event)
{
        struct v4l2_server *server = userdata;
        struct v4l2_file *file;

        LIST_FOREACH(file, &server->files, entry)
        if (file->session && media_session_id(file->session) == event->header.session) {
                if (media_session_event(file->session, event) < 0) {
                        /* The program's end reports a hang-up; file_ready() sees the end of this one. Waiting calls
                         * end in look_at_files(): this may be called while one of them is tried. */
                        shutdown(file->watch.fd, SHUT_RDWR);
                        file->ended = true;
                }
                return;
        }
}

static void device_ready(struct v4l2_server *server, struct v4l2_watch *watch)
{
        media_client_collect(server->client);
}

int v4l2_server_fd(const struct v4l2_server *server)
{
        return server->epoll_fd;
}

static void look_at_files(struct v4l2_server *server)
{
        struct v4l2_file *file, *next;

        for (file = LIST_FIRST(&server->files); file; file = next) {
                next = LIST_NEXT(file, entry);
                while (file->ended && !STAILQ_EMPTY(&file->waiting))
                        end_waiting(server, file, STAILQ_FIRST(&file->waiting));
                if (file->session) {
                        try_waiting(server, file);
                        ready_set(&file->ready, media_session_ready(file->session));
                }
                if (file->closed && STAILQ_EMPTY(&file->waiting))
                        v4l2_file_free(server, file);
        }
}

int v4l2_server_dispatch(struct v4l2_server *server)
{
        struct epoll_event event;

        /* One event at a time, because its handler may free the watch of another. Returns after TURN of them, for
         * signals. */
        for (unsigned i = 0;
             i < TURN && !media_client_error(server->client) && epoll_wait(server->epoll_fd, &event, 1, 0) == 1; i++) {
                struct v4l2_watch *watch = event.data.ptr;

                watch->ready(server, watch);
                media_client_collect(server->client);
                look_at_files(server);
        }
        return media_client_error(server->client);
}

int v4l2_server_new(struct oriel_driver *driver, int listener, struct v4l2_server **out)
{
        struct v4l2_server *server = calloc(1, sizeof(*server));

        if (!server)
                return -ENOMEM;
        server->spare = fd_dup(listener);
        server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        server->listener = (struct v4l2_watch){accept_file, listener};
        server->device = (struct v4l2_watch){device_ready, oriel_frontend_get_fd(oriel_driver_frontend(driver))};
        server->events = (struct v4l2_watch){device_ready, oriel_driver_call_fd(driver, MEDIA_EVENT_QUEUE)};

        int r = server->epoll_fd < 0 ? -errno : media_client_new(driver, event_came, server, &server->client);

        if (r == 0)
                r = add_watch(server, &server->listener, EPOLLIN);
        if (r == 0)
                r = add_watch(server, &server->device, EPOLLIN);
        if (r == 0)
                r = add_watch(server, &server->events, EPOLLIN);
        if (r == 0)
                r = media_client_collect(server->client);
        if (r < 0) {
                v4l2_server_free(server);
                return r;
        }
        *out = server;
        return 0;
}

void v4l2_server_free(struct v4l2_server *server)
{
        if (!server)
                return;
        while (!LIST_EMPTY(&server->files))
                v4l2_file_free(server, LIST_FIRST(&server->files));
        while (!LIST_EMPTY(&server->leases))
                v4l2_end_lease(server, &LIST_FIRST(&server->leases)->watch);
        media_client_free(server->client);
        fd_close(server->spare);
        fd_close(server->epoll_fd);
        free(server);
}
