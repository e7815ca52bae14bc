/* SPDX-License-Identifier: BSD-2-Clause */

/* A front-end and its driver in GLib's main loop: it asks the device of windows.c for pages of its file, half of them
 * by each queue, and prints them from the window: glib SOCKET COUNT */
#include <glib-unix.h>
#include <oriel/driver.h>
#include <oriel/socket.h>
#include <stdio.h>
#include <stdlib.h>

#define PAGE   4096
#define QUEUES 2

struct pages {
        uint32_t first, count;
};

struct request {
        struct client *client;
        unsigned queue;
        struct pages *out; /* in memory that the device sees */
        int32_t *in;
};

struct client {
        GMainLoop *loop;
        struct oriel_driver *driver;
        struct request requests[QUEUES];
        unsigned in_flight;
        int shown, error;
};

static void finish(struct client *client, int error)
{
        client->error = error;
        g_main_loop_quit(client->loop);
}

/* The back-end wants something mapped: that happens in here. */
static gboolean frontend_ready(gint fd, GIOCondition condition, gpointer data)
{
        struct client *client = data;
        int r = oriel_frontend_dispatch(oriel_driver_frontend(client->driver));

        (void)fd, (void)condition;
        if (r < 0)
                finish(client, r);
        return r == 0 ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}

static gboolean queue_ready(gint fd, GIOCondition condition, gpointer data)
{
        struct request *request = data, *done;
        struct client *client = request->client;
        uint32_t written;
        int r;

        (void)fd, (void)condition;
        oriel_driver_rearm(client->driver, request->queue);
        while ((r = oriel_driver_collect(client->driver, request->queue, (void **)&done, &written)) > 0) {
                client->shown += written == sizeof(*done->in) ? *done->in : 0;
                client->in_flight--;
        }
        if (r < 0 || client->in_flight == 0)
                finish(client, r);
        return G_SOURCE_CONTINUE;
}

static int ask(struct client *client, unsigned queue, struct pages pages)
{
        struct request *request = &client->requests[queue];
        int r;

        *request = (struct request){client, queue, oriel_driver_alloc(client->driver, sizeof(pages)),
                                    oriel_driver_alloc(client->driver, sizeof(int32_t))};
        *request->out = pages;

        const struct iovec out = {request->out, sizeof(pages)}, in = {request->in, sizeof(*request->in)};

        g_unix_fd_add(oriel_driver_call_fd(client->driver, queue), G_IO_IN, queue_ready, request);
        oriel_driver_rearm(client->driver, queue);
        r = oriel_driver_submit(client->driver, queue, &out, 1, &in, 1, request);
        if (r < 0)
                return r;
        client->in_flight++;
        return oriel_driver_kick(client->driver, queue);
}

int main(int argc, char **argv)
{
        const struct oriel_driver_options options = {.struct_size = sizeof(options), .queues = QUEUES};
        uint32_t count = argc == 3 ? (uint32_t)atoi(argv[2]) : 0;
        struct client client = {0};

        if (argc != 3 || oriel_driver_new(&options, oriel_socket_connect(argv[1]), &client.driver) < 0)
                return 1;
        client.loop = g_main_loop_new(NULL, FALSE);
        g_unix_fd_add(oriel_frontend_get_fd(oriel_driver_frontend(client.driver)), G_IO_IN, frontend_ready, &client);
        if (ask(&client, 0, (struct pages){0, count / 2}) < 0 ||
            ask(&client, 1, (struct pages){count / 2, count - count / 2}) < 0)
                return 1;
        g_main_loop_run(client.loop);
        if (client.error == 0)
                fwrite(oriel_driver_window(client.driver, 0, NULL), PAGE, (size_t)client.shown, stdout);
        oriel_driver_free(client.driver);
        g_main_loop_unref(client.loop);
        return client.error < 0 || client.shown != (int)count;
}
