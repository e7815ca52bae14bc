/* SPDX-License-Identifier: BSD-2-Clause */

/* The fixtures of tests/session: a driver with an echo device, whose requests are made and checked here, and a
 * front-end with the same device, whose callbacks count what comes. The driver waits or does not, by the environment:
 * see session_driver_new(). */

#include "tests/session/session.h"
#include "base/cleanup.h"
#include "base/fd.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define USER_BASE UINT64_C(0x7f0000000000)
#define PATIENCE  20000

int make_socketpair(int fds[2])
{
        return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds);
}

int make_memory(size_t size)
{
        int fd = memfd_create("test", MFD_CLOEXEC);

        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, (off_t)size), 0);
        return fd;
}

struct oriel_memory_region region_at(uint64_t guest, uint64_t size)
{
        return (struct oriel_memory_region){.guest_address = guest, .size = size, .user_address = USER_BASE + guest};
}

/* ---- a driver and a device ---- */

static int continue_driver(struct oriel_driver *driver, int (*function)(struct oriel_driver *driver))
{
        struct pollfd p = {.fd = oriel_frontend_get_fd(oriel_driver_frontend(driver)), .events = POLLIN};
        int r;

        while ((r = function(driver)) == -EINPROGRESS)
                assert_int_equal(poll(&p, 1, PATIENCE), 1);
        return r;
}

int session_driver_new(const struct oriel_driver_options *from, int fd, struct oriel_driver **out)
{
        struct oriel_driver_options options = *from;

        options.nonblocking = getenv("SESSION_NONBLOCKING");

        int r = oriel_driver_new(&options, fd, out);

        if (r == 0 && options.nonblocking)
                r = continue_driver(*out, oriel_driver_bring_up);
        if (r < 0) {
                oriel_driver_free(*out);
                *out = NULL;
        }
        return r;
}

int session_driver_reconnect(struct oriel_driver *driver, int fd)
{
        int r = oriel_driver_reconnect(driver, fd);

        return r < 0 ? r : continue_driver(driver, oriel_driver_bring_up);
}

void session_driver_free(struct oriel_driver *driver)
{
        if (driver && getenv("SESSION_NONBLOCKING"))
                continue_driver(driver, oriel_driver_stop);
        oriel_driver_free(driver);
}

void session_open_driver(struct session *session, const struct oriel_driver_options *options, int fd)
{
        struct oriel_driver_options with_size = *options;

        with_size.struct_size = sizeof(with_size);
        assert_int_equal(session_driver_new(&with_size, fd, &session->driver), 0);
        for (unsigned i = 0; i < oriel_driver_queue_count(session->driver); i++) {
                session->in[i] = oriel_driver_alloc(session->driver, SESSION_BUFFER);
                session->out[i] = oriel_driver_alloc(session->driver, SESSION_BUFFER);
                assert_non_null(session->in[i]);
                assert_non_null(session->out[i]);
        }
}

void session_open(struct session *session, const struct session_options *options)
{
        int fds[2];

        *session = (struct session){0};
        session->echo = echo_new(&options->echo);
        assert_non_null(session->echo);
        assert_int_equal(make_socketpair(fds), 0);
        assert_int_equal(echo_serve(session->echo, fds[1]), 0);
        session_open_driver(session, &options->driver, fds[0]);
}

void session_close(struct session *session)
{
        session_driver_free(session->driver);
        if (session->echo)
                assert_int_equal(echo_join(session->echo), -ENOTCONN);
        echo_free(session->echo);
}

struct oriel_frontend *session_frontend(struct session *session)
{
        return oriel_driver_frontend(session->driver);
}

void session_submit(struct session *session, unsigned queue, const struct echo_request *request, size_t size)
{
        size_t whole = sizeof(*request) + size;
        const struct iovec in[] = {{session->in[queue], sizeof(*request) / 2},
                                   {session->in[queue] + sizeof(*request) / 2, whole - sizeof(*request) / 2}};
        const struct iovec out[] = {{session->out[queue], SESSION_BUFFER / 2},
                                    {session->out[queue] + SESSION_BUFFER / 2, SESSION_BUFFER / 2}};

        assert_true(whole <= SESSION_BUFFER);
        memcpy(session->in[queue], request, sizeof(*request));
        assert_int_equal(oriel_driver_submit(session->driver, queue, in, 2, out, 2, session->in[queue]), 0);
        assert_int_equal(oriel_driver_kick(session->driver, queue), 0);
}

uint32_t session_collect(struct session *session, unsigned queue)
{
        uint32_t written;
        void *token;

        assert_int_equal(oriel_driver_wait(session->driver, queue, PATIENCE), 0);
        assert_int_equal(oriel_driver_collect(session->driver, queue, &token, &written), 1);
        assert_ptr_equal(token, session->in[queue]);
        return written;
}

struct echo_answer session_ask(struct session *session, unsigned queue, const struct echo_request *request)
{
        struct echo_answer answer;

        session_submit(session, queue, request, 0);
        assert_int_equal(session_collect(session, queue), sizeof(answer));
        memcpy(&answer, session->out[queue], sizeof(answer));
        return answer;
}

void session_invert(struct session *session, unsigned queue, size_t size)
{
        static unsigned seed;
        uint8_t *in = session->in[queue] + sizeof(struct echo_request);

        for (size_t i = 0; i < size; i++)
                in[i] = (uint8_t)(i * 7 + seed);
        seed++;
        memset(session->out[queue], 0, size);
        session_submit(session, queue, &(struct echo_request){.op = ECHO_INVERT}, size);
        assert_int_equal(session_collect(session, queue), size);
        for (size_t i = 0; i < size; i++)
                assert_int_equal(session->out[queue][i], (uint8_t)~in[i]);
}

void session_map(struct session *session, uint64_t offset, uint64_t size, uint64_t fd_offset, bool writable)
{
        const struct echo_request request = {
                .op = ECHO_MAP,
                .map = {.shm_offset = offset,
                        .len = size,
                        .fd_offset = fd_offset,
                        .flags = writable ? ORIEL_MMAP_READ_WRITE : 0},
        };

        assert_int_equal(session_ask(session, 0, &request).result, 0);
}

void session_unmap(struct session *session, uint64_t offset, uint64_t size)
{
        const struct echo_request request = {.op = ECHO_UNMAP, .map = MAP_AT(offset, size)};

        assert_int_equal(session_ask(session, 0, &request).result, 0);
}

/* ---- a front-end and a device ---- */

static void mapped(void *userdata, struct oriel_region *region, struct oriel_mapping *mapping, int fd)
{
        struct pair *pair = userdata;

        pair->mapped += mapping && fd >= 0;
}

static void unmapped(void *userdata, struct oriel_region *region, struct oriel_mapping *mapping)
{
        struct pair *pair = userdata;

        pair->unmapped += mapping != NULL;
}

static void refused(void *userdata, bool map, const struct oriel_wire_mmap *request, int error)
{
        struct pair *pair = userdata;

        pair->refused++;
        pair->last_refusal = error;
}

static void config_changed(void *userdata)
{
        struct pair *pair = userdata;

        pair->config_changes++;
}

static void vring_call(void *userdata, unsigned vring)
{
        struct pair *pair = userdata;

        pair->calls++;
        pair->vring = vring;
}

static void vring_err(void *userdata, unsigned vring)
{
        struct pair *pair = userdata;

        pair->errs++;
        pair->vring = vring;
}

static int host_notifier(void *userdata, unsigned vring, int fd, uint64_t offset, uint64_t size)
{
        struct pair *pair = userdata;

        if (size == 1)
                return -EINVAL;
        pair->notifiers++;
        pair->vring = vring;
        fd_close(pair->notifier_fd);
        pair->notifier_fd = fd < 0 ? -1 : fd_dup(fd);
        pair->notifier_offset = offset;
        pair->notifier_size = size;
        return 0;
}

/* There is room for one object. */
static int object_add(void *userdata, const uint8_t uuid[16])
{
        struct pair *pair = userdata;

        if (pair->added > pair->removed)
                return -ENOSPC;
        memcpy(pair->objects, uuid, 16);
        pair->added++;
        return 0;
}

static int object_remove(void *userdata, const uint8_t uuid[16])
{
        struct pair *pair = userdata;

        if (pair->added == pair->removed || memcmp(pair->objects, uuid, 16) != 0)
                return -ENOENT;
        pair->removed++;
        return 0;
}

static int object_lookup(void *userdata, const uint8_t uuid[16])
{
        struct pair *pair = userdata;

        pair->lookups++;
        if (uuid[0] == 3)
                return 99999; /* an fd that is none */
        if (uuid[0] != 2)
                return -ENOENT;

        int fd = make_memory(PAGE);

        return pwrite(fd, "oriel", 5, 0) == 5 ? fd : -EIO;
}

void pair_open_raw(struct pair *pair, const struct echo_options *options, const struct oriel_dialect *dialect)
{
        const struct oriel_frontend_ops ops = {
                .struct_size = sizeof(ops),
                .mapped = mapped,
                .unmapped = unmapped,
                .refused = refused,
                .config_changed = config_changed,
                .vring_call = vring_call,
                .vring_err = vring_err,
                .host_notifier = host_notifier,
                .shared_object_add = object_add,
                .shared_object_remove = object_remove,
                .shared_object_lookup = object_lookup,
        };
        const struct oriel_frontend_options frontend = {
                .struct_size = sizeof(frontend),
                .ops = &ops,
                .userdata = pair,
                .dialect = dialect,
        };
        int fds[2];

        *pair = (struct pair){.notifier_fd = -1};
        pair->echo = echo_new(options);
        assert_non_null(pair->echo);
        assert_int_equal(make_socketpair(fds), 0);
        assert_int_equal(echo_serve(pair->echo, fds[1]), 0);
        assert_int_equal(oriel_frontend_new(&frontend, &pair->frontend), 0);
        assert_int_equal(oriel_frontend_attach(pair->frontend, fds[0]), 0);
}

void pair_open(struct pair *pair, const struct echo_options *options, uint64_t wanted)
{
        pair_open_raw(pair, options, options->dialect);
        assert_int_equal(oriel_frontend_negotiate(pair->frontend, wanted), 0);
}

void pair_close(struct pair *pair)
{
        oriel_frontend_free(pair->frontend);
        echo_join(pair->echo);
        echo_free(pair->echo);
        fd_close(pair->notifier_fd);
}

void pair_serve(struct pair *pair, atomic_bool *ended)
{
        struct pollfd p = {.fd = oriel_frontend_get_fd(pair->frontend), .events = POLLIN};

        while (!atomic_load(ended)) {
                poll(&p, 1, 1);
                assert_int_equal(oriel_frontend_dispatch(pair->frontend), 0);
        }
        /* Requests without an answer may still be on their way. */
        assert_int_equal(oriel_frontend_dispatch(pair->frontend), 0);
}

struct thread_call {
        struct oriel_backend *backend;
        int (*function)(struct oriel_backend *backend, void *argument);
        void *argument;
        atomic_bool ended;
        int result;
};

static void *run_call(void *userdata)
{
        struct thread_call *call = userdata;

        call->result = call->function(call->backend, call->argument);
        atomic_store(&call->ended, true);
        return NULL;
}

int pair_call(struct pair *pair, int (*function)(struct oriel_backend *backend, void *argument), void *argument)
{
        struct thread_call call = {echo_backend(pair->echo), function, argument, false, 0};
        pthread_t thread;

        assert_int_equal(pthread_create(&thread, NULL, run_call, &call), 0);
        pair_serve(pair, &call.ended);
        pthread_join(thread, NULL);
        return call.result;
}
