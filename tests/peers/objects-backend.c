/* SPDX-License-Identifier: BSD-2-Clause */

/* Two back-ends that share an object by whoever is at the other end of their sockets: objects-backend ONE OTHER. The
 * first names a file, the second finds it and reads it; each step is a line. */

#include "program/report.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <oriel/backend.h>
#include <oriel/socket.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const uint8_t uuid[16] = "0123456789abcde", unknown[16] = "nobody";
static struct oriel_backend *backends[2];

static int get_object(void *userdata, const uint8_t wanted[16])
{
        int fd;

        if (userdata || memcmp(wanted, uuid, sizeof(uuid)) != 0)
                return -ENOENT;
        fd = memfd_create("object", MFD_CLOEXEC);
        return write(fd, "an object", 9) == 9 ? fd : -EIO;
}

/* There is no driver. */
static int start(void *userdata, struct oriel_backend_queue *queue)
{
        return 0;
}

static void stop(void *userdata, struct oriel_backend_queue *queue)
{
}

static void say(const char *what, int r)
{
        char text[16] = "";

        if (r > 0 && pread(r, text, sizeof(text) - 1, 0) < 0)
                r = -errno;
        printf("%s: %s\n", what, r > 0 ? text : r == 0 ? "done" : strerror(-r));
        fflush(stdout);
        if (r > 0)
                close(r);
}

static int asked(int r, unsigned which, uint64_t ticket)
{
        return r < 0 ? r : oriel_backend_wait(backends[which], ticket);
}

static void *share(void *userdata)
{
        uint64_t ticket;

        for (unsigned i = 0; i < 2; i++)
                while (!(oriel_backend_protocol_features(backends[i]) & ORIEL_FEATURE(ORIEL_PROTOCOL_F_SHARED_OBJECT)))
                        usleep(10000);
        say("unknown", oriel_backend_shared_object_lookup(backends[1], unknown));
        say("named", asked(oriel_backend_shared_object_add(backends[0], uuid, &ticket), 0, ticket));
        say("found", oriel_backend_shared_object_lookup(backends[1], uuid));
        say("found again", oriel_backend_shared_object_lookup(backends[1], uuid));
        say("removed", asked(oriel_backend_shared_object_remove(backends[0], uuid, &ticket), 0, ticket));
        say("not found", oriel_backend_shared_object_lookup(backends[1], uuid));
        return NULL;
}

static int open_backend(unsigned which)
{
        static struct oriel_log log;
        const struct oriel_backend_ops ops = {
                .struct_size = sizeof(ops), .start = start, .stop = stop, .get_shared_object = get_object};
        const struct oriel_backend_options options = {
                .struct_size = sizeof(options),
                .ops = &ops,
                .userdata = which == 0 ? NULL : backends,
                .log = &log,
                .device_features = ORIEL_FEATURE(VIRTIO_F_VERSION_1),
                .queues = 1,
        };

        log = stderr_log(0);
        return oriel_backend_new(&options, &backends[which]);
}

int main(int argc, char **argv)
{
        int listeners[2], r = 0;
        pthread_t thread;

        if (argc != 3)
                return fail("Usage: objects-backend SOCKET SOCKET");
        for (unsigned i = 0; r >= 0 && i < 2; i++) {
                r = open_backend(i);
                if (r == 0)
                        r = listeners[i] = oriel_socket_listen(argv[i + 1]);
        }
        /* Both are there before either is served. */
        for (unsigned i = 0; r >= 0 && i < 2; i++)
                r = oriel_backend_attach(backends[i], oriel_socket_accept(listeners[i]));
        if (r == 0)
                r = -pthread_create(&thread, NULL, share, NULL);
        while (r == 0) {
                struct pollfd fds[2];

                for (unsigned i = 0; i < 2; i++)
                        fds[i] = (struct pollfd){oriel_backend_get_fd(backends[i]), POLLIN, 0};
                poll(fds, 2, -1);
                for (unsigned i = 0; r == 0 && i < 2; i++)
                        r = oriel_backend_dispatch(backends[i]);
        }
        return r == -ENOTCONN ? STATUS_SUCCESS : fail("%s", strerror(-r));
}
