/* SPDX-License-Identifier: BSD-2-Clause */

/* A client of the QMP socket: its bytes as JSON values, and the answers that wait until it takes them. Input is parsed
 * as it comes, by json-c, within limits for the length and the depth of a value; after a syntax error the rest of the
 * line is skipped. A client with more than 64 KiB of waiting output gets nothing more done, and one with 64 MiB counts
 * as gone. Nothing here blocks; all runs on the machine's main thread. */

#include "vmm/control/client.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/range.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

enum {
        MAX_VALUE = 64 << 10,
        MAX_DEPTH = 32,
        FULL = 64 << 10,       /* of output: answers wait to be taken before more is done */
        MAX_OUTPUT = 64 << 20, /* a query's answer can be long; beyond that nobody reads */
};

DEFINE_CLEANUP(struct client *, client_free);

struct client *client_new(int fd)
{
        _cleanup_(client_freep) struct client *client = calloc(1, sizeof(*client));

        if (!client) {
                fd_close(fd);
                return NULL;
        }
        client->fd = fd;
        client->tokener = json_tokener_new_ex(MAX_DEPTH);
        return client->tokener ? steal(client) : NULL;
}

void client_free(struct client *client)
{
        if (!client)
                return;
        if (client->tokener)
                json_tokener_free(client->tokener);
        fd_close(client->fd);
        free(client->output);
        free(client);
}

/* ---- input ---- */

static int client_fill(struct client *client)
{
        ssize_t n = recv(client->fd, client->input, sizeof(client->input), MSG_DONTWAIT);

        if (n < 0)
                return errno == EAGAIN || errno == EINTR ? 0 : -ECONNRESET;
        client->input_begin = 0;
        client->input_size = (size_t)n;
        return n == 0 ? -ECONNRESET : 1;
}

static void client_consume(struct client *client, size_t n)
{
        client->input_begin += n;
        client->input_size -= n;
}

static void skip_line(struct client *client)
{
        const char *from = client->input + client->input_begin, *end = memchr(from, '\n', client->input_size);

        client_consume(client, end ? (size_t)(end + 1 - from) : client->input_size);
        json_tokener_reset(client->tokener);
        client->value_size = 0;
}

/* Between values there may be blanks, with which a value would begin otherwise. */
static void skip_blanks(struct client *client)
{
        while (client->value_size == 0 && client->input_size > 0 &&
               strchr(" \t\r\n", client->input[client->input_begin]))
                client_consume(client, 1);
}

static int client_parse(struct client *client, struct json_object **out)
{
        struct json_object *value =
                json_tokener_parse_ex(client->tokener, client->input + client->input_begin, (int)client->input_size);
        enum json_tokener_error error = json_tokener_get_error(client->tokener);
        size_t taken = json_tokener_get_parse_end(client->tokener);

        if (error == json_tokener_continue) {
                client->value_size += client->input_size;
                client_consume(client, client->input_size);
                return client->value_size > MAX_VALUE ? -ECONNRESET : 0;
        }
        if (error != json_tokener_success) {
                skip_line(client);
                return -EBADMSG;
        }
        client_consume(client, taken);
        client->value_size = 0;
        *out = value;
        return 1;
}

int client_next(struct client *client, struct json_object **out)
{
        int r = 0;

        while (r == 0) {
                skip_blanks(client);
                if (client->input_size > 0) {
                        r = client_parse(client, out);
                        continue;
                }
                r = client_fill(client);
                if (r <= 0)
                        return r;
                r = 0;
        }
        return r;
}

/* ---- output ---- */

static size_t client_waiting(const struct client *client)
{
        return client->output_size - client->output_begin;
}

bool client_is_full(const struct client *client)
{
        return client_waiting(client) > FULL;
}

static bool client_make_room(struct client *client, size_t size)
{
        uint64_t room;

        if (client->output_begin > 0) {
                memmove(client->output, client->output + client->output_begin, client_waiting(client));
                client->output_size = client_waiting(client);
                client->output_begin = 0;
        }
        if (client->output_room - client->output_size >= size)
                return true;
        if (!checked_add(client->output_size, size, &room) || room > MAX_OUTPUT)
                return false;

        char *output = realloc(client->output, room * 2);

        if (!output)
                return false;
        client->output = output;
        client->output_room = room * 2;
        return true;
}

void client_send(struct client *client, struct json_object *value)
{
        size_t size;
        const char *text = json_object_to_json_string_length(
                value, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &size);

        if (!text || !client_make_room(client, size + 2)) {
                client->gone = true;
                return;
        }
        memcpy(client->output + client->output_size, text, size);
        memcpy(client->output + client->output_size + size, "\r\n", 2);
        client->output_size += size + 2;
        client_flush(client);
}

void client_flush(struct client *client)
{
        while (client_waiting(client) > 0) {
                ssize_t n = send(client->fd, client->output + client->output_begin, client_waiting(client),
                                 MSG_DONTWAIT | MSG_NOSIGNAL);

                if (n < 0) {
                        client->gone |= errno != EAGAIN && errno != EINTR;
                        return;
                }
                client->output_begin += (size_t)n;
        }
        client->output_begin = client->output_size = 0;
}
