/* SPDX-License-Identifier: BSD-2-Clause */

/* The QMP server: it accepts clients, takes each one's commands one after the other, and sends events to all that have
 * negotiated. What a command does is in control.c and query.c, a client's buffers in client.c. One epoll instance
 * watches the listener and the clients; its owner calls qmp_dispatch() when that is readable. */

#include "vmm/control/qmp.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "program/accept.h"
#include "vmm/control/client.h"

#include <errno.h>
#include <oriel/socket.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/time.h>

enum { MAX_CLIENTS = 16, COMMANDS_AT_ONCE = 16, EVENTS_AT_ONCE = 8 };

LIST_HEAD(clients, client);

struct qmp {
        struct qmp_options options;
        struct oriel_log log;
        int epoll_fd;
        int spare; /* for accept_or_refuse() */
        struct clients clients;
        unsigned n_clients;
};

__attribute__((format(printf, 3, 4))) static void fail_with(struct qmp_error *error, const char *class,
                                                            const char *format, ...)
{
        va_list arguments;

        va_start(arguments, format);
        vsnprintf(error->text, sizeof(error->text), format, arguments);
        va_end(arguments);
        error->class = class;
}

/* ---- what is sent ---- */

static void send_object(struct client *client, const char *name, struct json_object *value, struct json_object *id)
{
        struct json_object *answer = json_object_new_object();

        json_object_object_add(answer, name, value);
        if (id)
                json_object_object_add(answer, "id", json_object_get(id));
        client_send(client, answer);
        json_object_put(answer);
}

static void qmp_send_error(struct client *client, const struct qmp_error *error, struct json_object *id)
{
        struct json_object *value = json_object_new_object();

        json_object_object_add(value, "class", json_object_new_string(error->class ? error->class : "GenericError"));
        json_object_object_add(value, "desc", json_object_new_string(error->text));
        send_object(client, "error", value, id);
}

static void qmp_greet(struct qmp *qmp, struct client *client)
{
        struct json_object *greeting = json_object_new_object();

        json_object_object_add(greeting, "version", json_object_get(qmp->options.version));
        json_object_object_add(greeting, "capabilities", json_object_new_array());
        send_object(client, "QMP", greeting, NULL);
}

static struct json_object *qmp_make_event(const char *name, struct json_object *data)
{
        struct json_object *event = json_object_new_object(), *stamp = json_object_new_object();
        struct timeval now;

        gettimeofday(&now, NULL);
        json_object_object_add(stamp, "seconds", json_object_new_int64(now.tv_sec));
        json_object_object_add(stamp, "microseconds", json_object_new_int64(now.tv_usec));
        json_object_object_add(event, "timestamp", stamp);
        json_object_object_add(event, "event", json_object_new_string(name));
        if (data)
                json_object_object_add(event, "data", data);
        return event;
}

/* ---- commands ---- */

static const struct qmp_argument *find_argument(const struct qmp_command *command, const char *name)
{
        for (size_t i = 0; i < QMP_MAX_ARGUMENTS && command->arguments[i].name; i++)
                if (strcmp(command->arguments[i].name, name) == 0)
                        return &command->arguments[i];
        return NULL;
}

static const char *qmp_type_name(enum json_type type)
{
        return type == json_type_int ? "integer" : json_type_to_name(type);
}

static bool check_arguments(const struct qmp_command *command, struct json_object *arguments, struct qmp_error *error)
{
        json_object_object_foreach(arguments, name, value)
        {
                const struct qmp_argument *argument = find_argument(command, name);

                if (!argument)
                        return fail_with(error, NULL, "Parameter '%.64s' is unexpected", name), false;
                if (json_object_get_type(value) != argument->type)
                        return fail_with(error, NULL, "Invalid parameter type for '%s', expected: %s", name,
                                         qmp_type_name(argument->type)),
                               false;
        }
        for (size_t i = 0; i < QMP_MAX_ARGUMENTS && command->arguments[i].name; i++)
                if (!command->arguments[i].optional &&
                    !json_object_object_get_ex(arguments, command->arguments[i].name, NULL))
                        return fail_with(error, NULL, "Parameter '%s' is missing", command->arguments[i].name), false;
        return true;
}

static const struct qmp_command *find_command(const struct qmp *qmp, const char *name)
{
        for (size_t i = 0; i < qmp->options.n_commands; i++)
                if (strcmp(qmp->options.commands[i].name, name) == 0)
                        return &qmp->options.commands[i];
        return NULL;
}

static struct json_object *list_commands(const struct qmp *qmp)
{
        static const char *const own[] = {"qmp_capabilities", "query-commands"};
        struct json_object *list = json_object_new_array();

        for (size_t i = 0; i < ARRAY_SIZE(own) + qmp->options.n_commands; i++) {
                struct json_object *item = json_object_new_object();
                const char *name = i < ARRAY_SIZE(own) ? own[i] : qmp->options.commands[i - ARRAY_SIZE(own)].name;

                json_object_object_add(item, "name", json_object_new_string(name));
                json_object_array_add(list, item);
        }
        return list;
}

/* The three that the protocol itself has. True: it was one of them. */
static bool run_own(struct qmp *qmp, struct client *client, const char *name, struct json_object *id)
{
        struct qmp_error error = {0};

        if (strcmp(name, "qmp_capabilities") == 0 && !client->negotiated) {
                client->negotiated = true;
                send_object(client, "return", json_object_new_object(), id);
                return true;
        }
        if (!client->negotiated)
                fail_with(&error, "CommandNotFound", "Expecting capabilities negotiation with 'qmp_capabilities'");
        else if (strcmp(name, "qmp_capabilities") == 0)
                fail_with(&error, "CommandNotFound", "Capabilities negotiation is already complete, command ignored");
        else if (strcmp(name, "query-commands") == 0)
                return send_object(client, "return", list_commands(qmp), id), true;
        else
                return false;
        qmp_send_error(client, &error, id);
        return true;
}

static void qmp_command_run(struct qmp *qmp, struct client *client, const char *name, struct json_object *arguments,
                            struct json_object *id)
{
        const struct qmp_command *command = find_command(qmp, name);
        struct json_object *none = json_object_new_object();
        struct qmp_call call = {.userdata = qmp->options.userdata, .arguments = arguments ? arguments : none};

        if (!command)
                fail_with(&call.error, "CommandNotFound", "The command %.64s has not been found", name);
        else if (check_arguments(command, call.arguments, &call.error))
                command->run(&call);
        if (call.error.text[0])
                qmp_send_error(client, &call.error, id);
        else
                send_object(client, "return", call.result ? call.result : json_object_new_object(), id);
        json_object_put(none);
}

/* Take a request apart. False: @error says what is wrong with it. */
static bool qmp_dissect(struct json_object *request, const char **name, struct json_object **arguments,
                        struct json_object **id, struct qmp_error *error)
{
        if (!json_object_is_type(request, json_type_object))
                return fail_with(error, NULL, "QMP input must be a JSON object"), false;
        json_object_object_get_ex(request, "id", id);
        json_object_object_foreach(request, key, value)
        {
                if (strcmp(key, "id") == 0)
                        continue;
                if (strcmp(key, "arguments") == 0) {
                        if (!json_object_is_type(value, json_type_object))
                                return fail_with(error, NULL, "QMP input member 'arguments' must be an object"), false;
                        *arguments = value;
                } else if (strcmp(key, "execute") == 0) {
                        if (!json_object_is_type(value, json_type_string))
                                return fail_with(error, NULL, "QMP input member 'execute' must be a string"), false;
                        *name = json_object_get_string(value);
                } else {
                        return fail_with(error, NULL, "QMP input member '%.64s' is unexpected", key), false;
                }
        }
        if (!*name)
                return fail_with(error, NULL, "QMP input lacks member 'execute'"), false;
        return true;
}

static void qmp_handle(struct qmp *qmp, struct client *client, struct json_object *request)
{
        struct json_object *arguments = NULL, *id = NULL;
        struct qmp_error error = {0};
        const char *name = NULL;

        if (!qmp_dissect(request, &name, &arguments, &id, &error))
                qmp_send_error(client, &error, id);
        else if (!run_own(qmp, client, name, id))
                qmp_command_run(qmp, client, name, arguments, id);
}

/* ---- clients ---- */

/* Readable is looked at only while its answers are taken; writable only while some wait. */
static void qmp_watch(struct qmp *qmp, struct client *client, int operation)
{
        bool waits = client->output_size > client->output_begin;
        struct epoll_event event = {
                .events = (client_is_full(client) ? 0u : EPOLLIN) | (waits ? EPOLLOUT : 0u),
                .data.ptr = client,
        };

        epoll_ctl(qmp->epoll_fd, operation, client->fd, &event);
}

static void qmp_serve(struct qmp *qmp, struct client *client)
{
        struct qmp_error error = {0};

        client_flush(client);
        for (unsigned i = 0;
             (i < COMMANDS_AT_ONCE || client->input_size > 0) && !client->gone && !client_is_full(client); i++) {
                struct json_object *request = NULL;
                int r = client_next(client, &request);

                if (r == 0)
                        break;
                if (r == 1) {
                        qmp_handle(qmp, client, request);
                        json_object_put(request);
                } else if (r == -EBADMSG) {
                        fail_with(&error, NULL, "JSON parse error, invalid input");
                        qmp_send_error(client, &error, NULL);
                } else {
                        client->gone = true;
                }
        }
        qmp_watch(qmp, client, EPOLL_CTL_MOD);
}

static void qmp_accept_client(struct qmp *qmp)
{
        int fd = accept_or_refuse(qmp->options.listener, &qmp->spare);

        if (fd < 0)
                return;
        if (qmp->n_clients == MAX_CLIENTS) {
                log_warning(&qmp->log, "QMP: a client is turned away: there are %d already", MAX_CLIENTS);
                fd_close(fd);
                return;
        }

        struct client *client = client_new(fd);

        if (!client)
                return;
        LIST_INSERT_HEAD(&qmp->clients, client, entry);
        qmp->n_clients++;
        qmp_greet(qmp, client);
        qmp_watch(qmp, client, EPOLL_CTL_ADD);
}

static void qmp_bury(struct qmp *qmp)
{
        for (struct client *client = LIST_FIRST(&qmp->clients), *next; client; client = next) {
                next = LIST_NEXT(client, entry);
                if (!client->gone)
                        continue;
                LIST_REMOVE(client, entry);
                client->fd = fd_close_watched(qmp->epoll_fd, client->fd);
                client_free(client);
                qmp->n_clients--;
        }
}

void qmp_dispatch(struct qmp *qmp)
{
        struct epoll_event events[EVENTS_AT_ONCE];
        int n = epoll_wait(qmp->epoll_fd, events, EVENTS_AT_ONCE, 0);

        for (int i = 0; i < n; i++) {
                if (events[i].data.ptr)
                        qmp_serve(qmp, events[i].data.ptr);
                else
                        qmp_accept_client(qmp);
        }
        /* Not before: events may name one twice. */
        qmp_bury(qmp);
}

void qmp_event(struct qmp *qmp, const char *name, struct json_object *data)
{
        struct json_object *event = qmp_make_event(name, data);
        struct client *client;

        for (client = LIST_FIRST(&qmp->clients); client; client = LIST_NEXT(client, entry)) {
                if (!client->negotiated || client->gone)
                        continue;
                client_send(client, event);
                qmp_watch(qmp, client, EPOLL_CTL_MOD);
        }
        json_object_put(event);
}

int qmp_get_fd(const struct qmp *qmp)
{
        return qmp->epoll_fd;
}

DEFINE_CLEANUP(struct qmp *, qmp_free);

int qmp_new(const struct qmp_options *options, struct qmp **out)
{
        _cleanup_(qmp_freep) struct qmp *qmp = calloc(1, sizeof(*qmp));
        struct epoll_event event = {.events = EPOLLIN};

        if (!qmp) {
                fd_close(options->listener);
                return -ENOMEM;
        }
        LIST_INIT(&qmp->clients);
        qmp->options = *options;
        qmp->spare = fd_dup(options->listener);
        qmp->options.version = json_object_get(options->version);
        if (options->log)
                qmp->log = *options->log;
        qmp->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        if (qmp->epoll_fd < 0)
                return -errno;

        int r = fd_set_nonblocking(options->listener, 1);

        if (r == 0 && epoll_ctl(qmp->epoll_fd, EPOLL_CTL_ADD, options->listener, &event) < 0)
                r = -errno;
        if (r < 0)
                return r;
        *out = steal(qmp);
        return 0;
}

void qmp_free(struct qmp *qmp)
{
        struct client *client;

        if (!qmp)
                return;
        for (client = LIST_FIRST(&qmp->clients); client; client = LIST_NEXT(client, entry)) {
                client_flush(client);
                client->gone = true;
        }
        qmp_bury(qmp);
        json_object_put(qmp->options.version);
        fd_close(qmp->options.listener);
        fd_close(qmp->spare);
        fd_close(qmp->epoll_fd);
        free(qmp);
}
