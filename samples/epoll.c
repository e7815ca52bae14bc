/* SPDX-License-Identifier: BSD-2-Clause */

/* A front-end and its driver in an epoll loop that has other things to do: it sends standard input to the device, in
 * requests, and prints what comes back: epoll SOCKET */
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
        struct oriel_driver *driver;
        struct request requests[REQUESTS];
        unsigned in_flight;
        bool at_end;
};

/* What a descriptor of the loop is for. */
struct source {
        int fd;
        int (*ready)(struct client *client);
};

/* The back-end has said something: a request, or that it is gone. */
static int frontend_ready(struct client *client)
{
        return oriel_frontend_dispatch(oriel_driver_frontend(client->driver));
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
        return client->at_end ? 0 : send_text(client, text, (size_t)size);
}

static int watch(int epoll_fd, struct source *source)
{
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = source};

        return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, source->fd, &event);
}

static int loop(struct client *client)
{
        struct source sources[] = {
                {oriel_frontend_get_fd(oriel_driver_frontend(client->driver)), frontend_ready},
                {oriel_driver_call_fd(client->driver, 0), queue_ready},
                {STDIN_FILENO, input_ready},
        };
        int epoll_fd = epoll_create1(EPOLL_CLOEXEC), r = 0;

        for (unsigned i = 0; r == 0 && i < 3; i++)
                r = watch(epoll_fd, &sources[i]);
        oriel_driver_rearm(client->driver, 0); /* the first call is wanted too */
        while (r == 0 && !(client->at_end && client->in_flight == 0)) {
                struct epoll_event event;

                if (epoll_wait(epoll_fd, &event, 1, -1) < 1)
                        continue;

                struct source *source = event.data.ptr;

                r = source->ready(client);
                if (client->at_end)
                        epoll_ctl(epoll_fd, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
        }
        close(epoll_fd);
        return r;
}

int main(int argc, char **argv)
{
        const struct oriel_driver_options options = {.struct_size = sizeof(options)};
        struct client client = {0};

        if (argc != 2 || oriel_driver_new(&options, oriel_socket_connect(argv[1]), &client.driver) < 0)
                return 1;
        for (unsigned i = 0; i < REQUESTS; i++) {
                client.requests[i].in = oriel_driver_alloc(client.driver, MOST);
                client.requests[i].out = oriel_driver_alloc(client.driver, MOST);
        }

        int r = loop(&client);

        oriel_driver_free(client.driver);
        return r < 0;
}
