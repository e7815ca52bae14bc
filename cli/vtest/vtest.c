/* SPDX-License-Identifier: BSD-2-Clause */

/* "oriel vtest": lets Mesa programs of this host use a vhost-user gpu, without a virtual machine. Each program is a
 * client of the vtest protocol (client.c), and a context of the device. One poll loop serves signals, the listener,
 * all clients and the device's answers, and ends with a signal or when the back-end is gone. */

#include "cli/vtest/vtest.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "cli/commands.h"
#include "program/accept.h"
#include "program/options.h"
#include "program/report.h"
#include "program/signals.h"
#include "program/socket_file.h"

#include <errno.h>
#include <oriel/socket.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

enum { CLIENTS_MAX = 64, FIXED_FDS = 4, VENUS = 4 };

#define FEATURES                                                                         \
        (ORIEL_FEATURE(VIRTIO_GPU_F_VIRGL) | ORIEL_FEATURE(VIRTIO_GPU_F_RESOURCE_BLOB) | \
         ORIEL_FEATURE(VIRTIO_GPU_F_CONTEXT_INIT))

static struct {
        const char *listen, *connect;
        bool verbose;
} wanted = {.listen = "/tmp/.virgl_test"};

static const struct option_row rows[] = {
        {"connect", OPTION_STRING, &wanted.connect, "GPU", "the socket of a vhost-user gpu, such as oriel-gpu's"},
        {"listen", OPTION_STRING, &wanted.listen, "SOCKET",
         "where Mesa connects, VTEST_SOCKET_NAME (default: /tmp/.virgl_test)"},
        {"verbose", OPTION_FLAG, &wanted.verbose, NULL, "say more"},
};

static const struct program program = {
        .name = "oriel vtest",
        .operands = "",
        .summary =
                "Let Mesa programs of this host, started with VN_DEBUG=vtest and with virtio's Vulkan driver, use a\n"
                "vhost-user gpu: no virtual machine is needed. Runs until SIGINT, SIGTERM or SIGHUP, or until the\n"
                "back-end is gone.",
        .rows = rows,
        .n_rows = ARRAY_SIZE(rows),
};

struct vtest_server {
        struct vtest vtest;
        struct oriel_driver *driver;
        struct vtest_client *clients[CLIENTS_MAX];
        unsigned n_clients;
        int spare; /* for accept_or_refuse() */
};

/* ---- the device ---- */

static int read_capset(struct vtest *vtest)
{
        struct virtio_gpu_resp_capset_info info = {.capset_id = 0};
        int r;

        for (uint32_t i = 0; (r = gpu_client_get_capset_info(vtest->gpu, i, &info)) == 0 && info.capset_id != VENUS;
             i++)
                ;
        if (r < 0)
                return r;
        vtest->capset_size = info.capset_max_size;
        vtest->capset_version = info.capset_max_version;
        vtest->capset = calloc(1, ((size_t)info.capset_max_size + 3) & ~(size_t)3);
        if (!vtest->capset)
                return -ENOMEM;
        return gpu_client_get_capset(vtest->gpu, VENUS, vtest->capset_version, vtest->capset, vtest->capset_size);
}

static int vtest_connect_device(struct vtest_server *server)
{
        const struct oriel_log log = stderr_log(wanted.verbose);
        const struct oriel_driver_options options = {.struct_size = sizeof(options),
                                                     .log = &log,
                                                     .features = FEATURES,
                                                     .memory_size = UINT64_C(256) << 20,
                                                     .keep_fds = 1};
        int fd = oriel_socket_connect(wanted.connect);

        if (fd < 0)
                return fail("%s: %s", wanted.connect, socket_words(fd));

        int r = oriel_driver_new(&options, fd, &server->driver);

        if (r == 0)
                r = gpu_client_new(server->driver, &server->vtest.gpu);
        if (r == 0)
                r = read_capset(&server->vtest);
        if (r == -ENOENT || r == -EIO)
                return fail("%s: the device has no Venus: oriel-gpu --venus=on says why", wanted.connect);
        return r < 0 ? fail("%s: %s", wanted.connect, strerror(-r)) : STATUS_SUCCESS;
}

/* ---- the loop ---- */

static void drop_client(struct vtest_server *server, unsigned i)
{
        vtest_client_free(server->clients[i]);
        server->clients[i] = server->clients[--server->n_clients];
}

static void vtest_accept_client(struct vtest_server *server, int listener)
{
        int fd = accept_or_refuse(listener, &server->spare);
        struct vtest_client *client = fd < 0 ? NULL : vtest_client_new(&server->vtest, fd);

        if (client)
                server->clients[server->n_clients++] = client;
}

static void serve_clients(struct vtest_server *server, const struct pollfd *fds)
{
        /* From the last to the first: drop_client() moves the last one into the free place. */
        for (unsigned i = server->n_clients; i > 0 && !server->vtest.error; i--) {
                const char *why = NULL;

                if (!fds[FIXED_FDS + i - 1].revents || vtest_client_serve(server->clients[i - 1], &why) >= 0)
                        continue;
                if (why)
                        report("a client is dropped: %s", why);
                drop_client(server, i - 1);
        }
}

static int serve_device(struct vtest_server *server)
{
        int r = oriel_frontend_dispatch(oriel_driver_frontend(server->driver));

        while (r == 0 && oriel_driver_rearm(server->driver, GPU_CLIENT_CONTROL)) {
                r = gpu_client_collect(server->vtest.gpu);
                if (r > 0)
                        r = 0;
        }
        return r;
}

static int vtest_run_loop(struct vtest_server *server, int listener, int signals)
{
        while (!server->vtest.error) {
                struct pollfd fds[FIXED_FDS + CLIENTS_MAX] = {
                        {.fd = signals, .events = POLLIN},
                        {.fd = oriel_frontend_get_fd(oriel_driver_frontend(server->driver)), .events = POLLIN},
                        {.fd = oriel_driver_call_fd(server->driver, GPU_CLIENT_CONTROL), .events = POLLIN},
                        {.fd = server->n_clients < CLIENTS_MAX ? listener : -1, .events = POLLIN},
                };

                for (unsigned i = 0; i < server->n_clients; i++)
                        fds[FIXED_FDS + i] =
                                (struct pollfd){.fd = vtest_client_fd(server->clients[i]), .events = POLLIN};

                /* Before poll(): the call fd does not signal again for answers that came while a client's command
                 * was waiting. */
                int r = serve_device(server);

                if (r < 0)
                        server->vtest.error = r;
                if (r < 0 || poll(fds, FIXED_FDS + server->n_clients, -1) < 0)
                        continue;
                if (fds[0].revents)
                        return STATUS_SUCCESS;
                serve_clients(server, fds);
                if (fds[3].revents)
                        vtest_accept_client(server, listener);
        }
        return fail("%s: the back-end is gone: %s", wanted.connect, strerror(-server->vtest.error));
}

static int vtest_run(struct vtest_server *server)
{
        _cleanup_(socket_file_remove) struct socket_file file = {.name = NULL};
        _cleanup_(fd_closep) int signals = signals_open(), listener = -1;

        if (signals < 0)
                return fail("signalfd: %s", strerror(-signals));
        if (vtest_connect_device(server) != STATUS_SUCCESS)
                return STATUS_FAILURE;
        listener = socket_file_listen(&file, wanted.listen);
        if (listener < 0)
                return STATUS_FAILURE;
        server->spare = fd_dup(listener);
        printf("waiting for clients on %s\n", wanted.listen);
        fflush(stdout);
        return vtest_run_loop(server, listener, signals);
}

int command_vtest(int argc, char **argv)
{
        struct vtest_server server = {.spare = -1};
        char **operands;
        int status = options_parse(&program, argc, argv, &operands);

        if (status >= 0)
                return status;
        if (!wanted.connect)
                return options_wrong_usage(&program, "--connect=GPU is needed");
        status = vtest_run(&server);
        while (server.n_clients > 0)
                drop_client(&server, 0);
        gpu_client_free(server.vtest.gpu);
        oriel_driver_free(server.driver);
        free(server.vtest.capset);
        fd_close(server.spare);
        return status;
}
