/* SPDX-License-Identifier: BSD-2-Clause */

/* The input is what QMP clients do, and what happens to the machine meanwhile: connections, bytes, commands made of the
 * server's own list (query-commands) with arguments of all types, answers that nobody takes, events. The machine below
 * is not there: what stands in for it is in machine.c. Each line that a client gets must be a
 * JSON object of the protocol's. */

#include "base/cleanup.h"
#include "fuzz/input.h"
#include "fuzz/machine.h"
#include "vmm/control/control.h"

#include <json.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { CLIENTS = 18, NAMES_MOST = 64 };

static struct {
        int listener;
        struct sockaddr_un address;
        socklen_t address_size;
        char *names[NAMES_MOST];
        unsigned n_names;
        unsigned asked; /* to quit or to reset */
} world;

/* ---- the clients ---- */

struct peer {
        int fd; /* 0: not there */
        char *line;
        size_t size;
};

static void check_line(const char *line)
{
        struct json_object *answer = json_tokener_parse(line);
        static const char *const members[] = {"QMP", "return", "error", "event"};
        unsigned n = 0;

        need(answer && json_object_is_type(answer, json_type_object));
        for (unsigned i = 0; i < ARRAY_SIZE(members); i++)
                n += json_object_object_get_ex(answer, members[i], NULL) ? 1 : 0;
        need(n == 1);
        json_object_put(answer);
}

static void learn_names(const char *line)
{
        struct json_object *answer = json_tokener_parse(line), *list;

        json_object_object_get_ex(answer, "return", &list);
        for (size_t i = 0; i < json_object_array_length(list) && world.n_names < NAMES_MOST; i++) {
                struct json_object *name = json_object_object_get(json_object_array_get_idx(list, i), "name");

                world.names[world.n_names] = strdup(json_object_get_string(name));
                need(world.names[world.n_names++]);
        }
        json_object_put(answer);
}

/* All that has come; whole lines are looked at. */
static void peer_read(struct peer *peer, void (*use)(const char *line))
{
        char *end;

        if (!peer->fd)
                return;
        for (;;) {
                peer->line = realloc(peer->line, peer->size + 65537);
                need(peer->line);

                ssize_t n = recv(peer->fd, peer->line + peer->size, 65536, MSG_DONTWAIT);

                if (n <= 0)
                        return;
                peer->size += (size_t)n;
                peer->line[peer->size] = '\0';
                while ((end = strstr(peer->line, "\r\n"))) {
                        *end = '\0';
                        use(peer->line);
                        peer->size -= (size_t)(end + 2 - peer->line);
                        memmove(peer->line, end + 2, peer->size + 1);
                }
        }
}

static void peer_open(struct peer *peer)
{
        if (peer->fd)
                return;
        peer->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        need(peer->fd > 0);
        if (connect(peer->fd, (void *)&world.address, world.address_size) < 0) {
                close(peer->fd);
                peer->fd = 0;
        }
}

static void peer_close(struct peer *peer)
{
        if (peer->fd)
                close(peer->fd);
        free(peer->line);
        *peer = (struct peer){0};
}

static void say(const struct peer *peer, const char *text, size_t size)
{
        if (peer->fd && send(peer->fd, text, size, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
                return;
}

/* A value of any type; a string may be a device's path. */
static size_t put_value(struct input *input, char *to, size_t size)
{
        static const char *const values[] = {"true",
                                             "null",
                                             "\"x\"",
                                             "[1]",
                                             "{}",
                                             "1.5",
                                             "\"/machine/devices/0\"",
                                             "\"/machine/devices/1\"",
                                             "\"/machine/devices/1\"",
                                             "\"\\u0000\\ud800\"",
                                             "{\"a\":[[[[]]]]}"};
        unsigned i = take_choice(input, ARRAY_SIZE(values) + 4);

        if (i < ARRAY_SIZE(values))
                return (size_t)snprintf(to, size, "%s", values[i]);
        return (size_t)snprintf(to, size, "%lld", (long long)(take_number(input) - 2));
}

/* Some of the arguments that there are and one more; mostly of their own types. */
static size_t put_arguments(struct input *input, char *to, size_t size)
{
        static const char *const keys[] = {"path", "queue", "other"};
        unsigned which = take_byte(input);
        size_t at = (size_t)snprintf(to, size, "{");

        for (unsigned i = 0; i < ARRAY_SIZE(keys); i++) {
                if (!(which >> i & 1))
                        continue;
                at += (size_t)snprintf(to + at, size - at, "%s\"%s\":", at > 1 ? "," : "", keys[i]);
                if (which & 0x18)
                        at += (size_t)snprintf(to + at, size - at, i == 0 ? "\"/machine/devices/%u\"" : "%u",
                                               take_choice(input, 3));
                else
                        at += put_value(input, to + at, size - at);
        }
        return at + (size_t)snprintf(to + at, size - at, "}");
}

static void say_command(struct input *input, const struct peer *peer)
{
        static const char *const extra[] = {
                "", "", "\"id\":1,", "\"id\":{\"a\":[]},", "\"other\":1,", "\"execute\":2,"};
        char text[1024];
        size_t at = (size_t)snprintf(text, sizeof(text), "{%s", extra[take_choice(input, ARRAY_SIZE(extra))]);
        unsigned which = take_byte(input);

        if (world.n_names > 0 && which % 16 < 14)
                at += (size_t)snprintf(text + at, sizeof(text) - at, "\"execute\":\"%s\"",
                                       world.names[take_choice(input, world.n_names)]);
        else if (which % 16 == 14)
                at += (size_t)snprintf(text + at, sizeof(text) - at, "\"execute\":\"nonesuch\"");
        else
                at += (size_t)snprintf(text + at, sizeof(text) - at, "\"id\":2");
        if (which & 16) {
                at += (size_t)snprintf(text + at, sizeof(text) - at, ",\"arguments\":");
                at += which & 0x60 ? put_arguments(input, text + at, sizeof(text) - at)
                                   : put_value(input, text + at, sizeof(text) - at);
        }
        at += (size_t)snprintf(text + at, sizeof(text) - at, "}\n");
        need(at < sizeof(text));
        say(peer, text, at);
}

static void say_much(struct input *input, const struct peer *peer)
{
        static const char *const pieces[] = {"[", "{\"a\":", "\"", "x", " ", "1", "{\"execute\":\"query-commands\"}"};
        const char *piece = pieces[take_choice(input, ARRAY_SIZE(pieces))];
        size_t n = take_number(input) % 70000 / strlen(piece);
        char *text = malloc(n * strlen(piece) + 1);

        need(text);
        for (size_t i = 0; i < n; i++)
                memcpy(text + i * strlen(piece), piece, strlen(piece));
        say(peer, text, n * strlen(piece));
        free(text);
}

static void happen(struct input *input, struct control *control)
{
        struct machine_event event = {
                .kind = take_choice(input, MACHINE_UNMAP_REFUSED + 1),
                .request = {.shmid = take_byte(input), .shm_offset = take_number(input), .len = take_number(input)},
                .error = -(int)take_byte(input),
        };

        if (event.kind >= MACHINE_DEVICE_UP) {
                if (machine_device_count(NULL) == 0)
                        return;
                event.device = machine_get_device(NULL, take_choice(input, machine_device_count(NULL)));
        }
        snprintf(event.text, sizeof(event.text), "%s", take_byte(input) & 1 ? "why \"" : "");
        if (event.kind == MACHINE_FAULT && !machine_paused(NULL))
                machine_pause(NULL);
        /* Sometimes more than a client has room for. */
        for (unsigned n = take_byte(input) == 255 ? 500 : 1; n > 0; n--)
                control_event(control, &event);
}

static void count(void *counter)
{
        ++*(unsigned *)counter;
}

static void begin(void)
{
        if (world.listener > 0)
                return;
        world.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        world.address = (struct sockaddr_un){.sun_family = AF_UNIX};
        /* A name of the kernel's choice. */
        need(bind(world.listener, (void *)&world.address, sizeof(sa_family_t)) == 0);
        world.address_size = sizeof(world.address);
        need(getsockname(world.listener, (void *)&world.address, &world.address_size) == 0);
        need(listen(world.listener, CLIENTS) == 0);
}

static void step(struct input *input, struct control *control, struct peer *peers)
{
        unsigned which = take_byte(input);
        struct peer *peer = &peers[which < 200 ? which % 2 : which % CLIENTS];
        char bytes[64];

        switch (take_choice(input, 12)) {
        case 0:
                for (unsigned n = take_choice(input, CLIENTS); n > 0; n--)
                        peer_open(&peers[n]);
                peer_open(peer);
                break;
        case 1:
                say(peer, bytes, take(input, bytes, take_choice(input, sizeof(bytes))));
                break;
        case 2:
                say(peer, "{\"execute\":\"qmp_capabilities\"}", 30);
                break;
        case 3:
        case 4:
        case 5:
        case 6:
                say_command(input, peer);
                break;
        case 7:
                say_much(input, peer);
                break;
        case 8:
                happen(input, control);
                break;
        case 9:
                peer_read(peer, check_line);
                break;
        case 10:
                control_reset(control, "host-qmp-system-reset");
                break;
        default:
                peer_close(peer);
                break;
        }
        for (unsigned i = take_choice(input, 4) + 1; i > 0; i--)
                control_dispatch(control);
}

static struct control *control_begin(void)
{
        const struct control_ops ops = {.quit = count, .reset = count, .userdata = &world.asked};
        int listener = dup(world.listener);
        struct control *control;

        need(control_new(NULL, listener, &ops, NULL, &control) == 0);
        need(control_get_fd(control) >= 0);
        return control;
}

/* Asks the server for the names that it has. */
static void ask_names(void)
{
        static const char request[] = "{\"execute\":\"qmp_capabilities\"}";
        static const char question[] = "{\"execute\":\"query-commands\"}";
        struct control *control = control_begin();
        struct peer peer = {0};

        peer_open(&peer);
        control_dispatch(control);
        say(&peer, request, strlen(request));
        control_dispatch(control);
        peer_read(&peer, check_line);
        say(&peer, question, strlen(question));
        control_dispatch(control);
        peer_read(&peer, learn_names);
        need(world.n_names > 5);
        peer_close(&peer);
        control_free(control);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct input input = {data, size};
        struct peer peers[CLIENTS] = {{0}};
        struct control *control;

        begin();
        machine_stand_in(&input);
        if (world.n_names == 0)
                ask_names();
        control = control_begin();
        /* One client is there already. */
        peer_open(&peers[0]);
        control_dispatch(control);
        say(&peers[0], "{\"execute\":\"qmp_capabilities\"}", 30);
        control_dispatch(control);
        for (unsigned i = 0; i < 40 && input.size > 0; i++)
                step(&input, control, peers);
        control_shutdown(control, false, "host-signal");
        for (unsigned i = 0; i < CLIENTS; i++)
                peer_read(&peers[i], check_line);
        control_free(control);
        for (unsigned i = 0; i < CLIENTS; i++)
                peer_close(&peers[i]);
        return 0;
}
