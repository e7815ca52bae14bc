/* SPDX-License-Identifier: BSD-2-Clause */

/* A front-end and its driver in an epoll loop that has other things to do, and never waits for the back-end: it sends
 * standard input to the device, in requests, and prints what comes back: epoll SOCKET */
#include <errno.h>
#include <oriel/driver.h>
#include <oriel/socket.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define MOST     256 /* bytes of a request */
#define REQUESTS 4   /* at once */

struct request {
        char *in, *out; /* in memory that the device sees */
        bool busy;
};

struct client {
        int epoll_fd;
        struct oriel_driver *driver;
        struct request requests[REQUESTS];
        unsigned in_flight;
        bool at_end;
};

static int watch(struct client *client, int fd)
{
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

        return epoll_ctl(client->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

/* The device has called. Ask for the next call first: one that comes while this collects is then not lost. */
static int queue_ready(struct client *client)
{
        struct request *request;
        uint32_t written;
        int r;

        oriel_driver_rearm(client->driver, 0);
        while ((r = oriel_driver_collect(client->driver, 0, (void **)&request, &written)) > 0) {
                printf("%.*s", (int)written, request->in);
                request->busy = false;
                client->in_flight--;
        }
        return r;
}

static int send_text(struct client *client, const char *text, size_t size)
{
        struct request *request = client->requests;

        while (request->busy)
                request++;
        memcpy(request->out, text, size);

        const struct iovec out = {request->out, size}, in = {request->in, MOST};
        int r = oriel_driver_submit(client->driver, 0, &out, 1, &in, 1, request);

        if (r < 0)
                return r;
        request->busy = true;
        client->in_flight++;
        return oriel_driver_kick(client->driver, 0);
}

static int input_ready(struct client *client)
{
        char text[MOST];
        int r = 0;

        /* With all requests on their way, input waits for an answer. */
        while (r == 0 && client->in_flight == REQUESTS) {
                r = oriel_driver_wait(client->driver, 0, -1);
                if (r == 0)
                        r = queue_ready(client);
        }
        if (r < 0)
                return r;

        ssize_t size = read(STDIN_FILENO, text, sizeof(text));

        client->at_end = size <= 0;
        if (client->at_end)
                epoll_ctl(client->epoll_fd, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
        return client->at_end ? 0 : send_text(client, text, (size_t)size);
}

/* The device is up: only now is there a queue. */
static int begin(struct client *client)
{
        int r = watch(client, oriel_driver_call_fd(client->driver, 0));

        for (unsigned i = 0; i < REQUESTS; i++) {
                client->requests[i].in = oriel_driver_alloc(client->driver, MOST);
                client->requests[i].out = oriel_driver_alloc(client->driver, MOST);
        }
        oriel_driver_rearm(client->driver, 0); /* the first call is wanted too */
        return r < 0 ? r : watch(client, STDIN_FILENO);
}

/* The back-end has said something: an answer or a request, or that it is gone; or a time limit is over. */
static int frontend_ready(struct client *client)
{
        if (oriel_driver_state(client->driver) == ORIEL_DRIVER_UP)
                return oriel_frontend_dispatch(oriel_driver_frontend(client->driver));

        int r = oriel_driver_bring_up(client->driver);

        return r == 0 ? begin(client) : r == -EINPROGRESS ? 0 : r;
}

static int loop(struct client *client)
{
        int frontend = oriel_frontend_get_fd(oriel_driver_frontend(client->driver)), r = watch(client, frontend);
        struct epoll_event event;

        if (r == 0)
                r = frontend_ready(client); /* the first request: nothing is readable before it */
        while (r == 0 && !(client->at_end && client->in_flight == 0)) {
                if (epoll_wait(client->epoll_fd, &event, 1, -1) < 1)
                        continue;
                if (event.data.fd == frontend)
                        r = frontend_ready(client);
                else
                        r = event.data.fd == STDIN_FILENO ? input_ready(client) : queue_ready(client);
        }
        /* A loop that goes on would do this in its turn, as the bring-up. */
        while (r == 0 && (r = oriel_driver_stop(client->driver)) == -EINPROGRESS)
                r = epoll_wait(client->epoll_fd, &event, 1, -1) < 0 ? -errno : 0;
        return r;
}

int main(int argc, char **argv)
{
        const struct oriel_driver_options options = {.struct_size = sizeof(options), .nonblocking = true};
        struct client client = {.epoll_fd = epoll_create1(EPOLL_CLOEXEC)};

        if (argc != 2 || oriel_driver_new(&options, oriel_socket_connect(argv[1]), &client.driver) < 0)
                return 1;

        int r = loop(&client);

        oriel_driver_free(client.driver);
        close(client.epoll_fd);
        return r < 0;
}
