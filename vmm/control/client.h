/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VMM_CONTROL_CLIENT_H
#define VMM_CONTROL_CLIENT_H

#include <json.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

/* One connection that speaks JSON: values out of a stream of bytes, and lines into one. */
struct client {
        LIST_ENTRY(client) entry;
        int fd;
        bool negotiated;
        bool gone; /* to be freed */
        struct json_tokener *tokener;
        size_t value_size; /* bytes of the value that is not whole yet */
        char input[4096];  /* read, and not parsed yet */
        size_t input_begin, input_size;
        char *output; /* not taken by the peer yet */
        size_t output_begin, output_size, output_room;
};

/* Takes @fd. NULL without memory. */
struct client *client_new(int fd);
void client_free(struct client *client);

/* Take the next value: 1 and *@out, which is the caller's; 0: not whole yet; -EBADMSG: no JSON, and what follows up
 * to the next line is skipped; -ECONNRESET: the peer is gone, or too much came without a whole value. */
int client_next(struct client *client, struct json_object **out);
/* A line. A client that takes nothing is gone. */
void client_send(struct client *client, struct json_object *value);
void client_flush(struct client *client);
/* Whether so much waits to be taken that nothing more is to be done for it. */
bool client_is_full(const struct client *client);

#endif
