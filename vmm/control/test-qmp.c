/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/test.h"
#include "vmm/control/qmp.h"

#include <errno.h>
#include <oriel/socket.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct world {
        struct qmp *qmp;
        char folder[64], path[96];
        unsigned adds;
};

static void do_add(struct qmp_call *call)
{
        struct world *world = call->userdata;
        int64_t a = json_object_get_int64(json_object_object_get(call->arguments, "a"));

        world->adds++;
        if (a < 0) {
                snprintf(call->error.text, sizeof(call->error.text), "below zero");
                return;
        }
        call->result = json_object_new_int64(a + json_object_get_int64(json_object_object_get(call->arguments, "b")));
}

static void do_much(struct qmp_call *call)
{
        char text[20001];

        memset(text, 'x', sizeof(text) - 1);
        text[sizeof(text) - 1] = '\0';
        call->result = json_object_new_string(text);
}

static void do_nothing(struct qmp_call *call)
{
        struct world *world = call->userdata;

        qmp_event(world->qmp, "NOTHING", json_object_new_object());
}

static const struct qmp_command commands[] = {
        {"add", do_add, {{"a", json_type_int, false}, {"b", json_type_int, true}}},
        {"much", do_much, {{0}}},
        {"nothing", do_nothing, {{0}}},
};

static void begin(struct world *world)
{
        struct json_object *version = json_object_new_string("1");

        *world = (struct world){0};
        strcpy(world->folder, "/tmp/oriel-qmp-XXXXXX");
        assert_non_null(mkdtemp(world->folder));
        snprintf(world->path, sizeof(world->path), "%s/socket", world->folder);

        const struct qmp_options options = {
                .listener = oriel_socket_listen(world->path),
                .version = version,
                .commands = commands,
                .n_commands = ARRAY_SIZE(commands),
                .userdata = world,
        };

        assert_int_equal(qmp_new(&options, &world->qmp), 0);
        json_object_put(version);
}

static void end(struct world *world)
{
        qmp_free(world->qmp);
        unlink(world->path);
        rmdir(world->folder);
}

static void turn(struct world *world)
{
        for (int i = 0; i < 5; i++)
                qmp_dispatch(world->qmp);
}

/* All that has come, up to @size bytes; -1: the connection is closed. */
static ssize_t receive(struct world *world, int fd, char *data, size_t size)
{
        size_t have = 0;

        for (int quiet = 0; quiet < 3 && have < size - 1;) {
                turn(world);

                ssize_t n = recv(fd, data + have, size - 1 - have, MSG_DONTWAIT);

                if (n == 0 || (n < 0 && errno != EAGAIN))
                        return -1;
                quiet = n < 0 ? quiet + 1 : 0;
                have += n < 0 ? 0 : (size_t)n;
        }
        data[have] = '\0';
        return (ssize_t)have;
}

static void say(int fd, const char *text)
{
        assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static int join(struct world *world, bool negotiate)
{
        int fd = oriel_socket_connect(world->path);
        char data[512];

        assert_true(fd >= 0);
        assert_true(receive(world, fd, data, sizeof(data)) > 0);
        assert_string_equal(data, "{\"QMP\":{\"version\":\"1\",\"capabilities\":[]}}\r\n");
        if (negotiate) {
                say(fd, "{\"execute\":\"qmp_capabilities\"}\n");
                receive(world, fd, data, sizeof(data));
                assert_string_equal(data, "{\"return\":{}}\r\n");
        }
        return fd;
}

static void expect(struct world *world, int fd, const char *question, const char *answer)
{
        char data[2048];

        say(fd, question);
        assert_true(receive(world, fd, data, sizeof(data)) >= 0);
        assert_string_equal(data, answer);
}

#define ERROR(class, desc) "{\"error\":{\"class\":\"" class "\",\"desc\":\"" desc "\"}}\r\n"

static void test_negotiation(void **state)
{
        struct world world;
        int fd;

        begin(&world);
        fd = join(&world, false);
        expect(&world, fd, "{\"execute\":\"add\",\"arguments\":{\"a\":1}}",
               ERROR("CommandNotFound", "Expecting capabilities negotiation with 'qmp_capabilities'"));
        qmp_event(world.qmp, "EARLY", NULL);
        expect(&world, fd, "{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[]}}", "{\"return\":{}}\r\n");
        expect(&world, fd, "{\"execute\":\"qmp_capabilities\"}",
               ERROR("CommandNotFound", "Capabilities negotiation is already complete, command ignored"));
        assert_int_equal(world.adds, 0);
        fd_close(fd);
        end(&world);
}

static void test_commands(void **state)
{
        static const struct {
                const char *question, *answer;
        } cases[] = {
                {"{\"execute\":\"add\",\"arguments\":{\"a\":1}}", "{\"return\":1}\r\n"},
                {"{\"execute\":\"add\",\"arguments\":{\"a\":1,\"b\":2},\"id\":{\"x\":[1]}}",
                 "{\"return\":3,\"id\":{\"x\":[1]}}\r\n"},
                {"{\"execute\":\"add\",\"arguments\":{\"a\":-1},\"id\":5}",
                 "{\"error\":{\"class\":\"GenericError\",\"desc\":\"below zero\"},\"id\":5}\r\n"},
                {"{\"execute\":\"add\"}", ERROR("GenericError", "Parameter 'a' is missing")},
                {"{\"execute\":\"add\",\"arguments\":{\"a\":1,\"c\":2}}",
                 ERROR("GenericError", "Parameter 'c' is unexpected")},
                {"{\"execute\":\"add\",\"arguments\":{\"a\":\"1\"}}",
                 ERROR("GenericError", "Invalid parameter type for 'a', expected: integer")},
                {"{\"execute\":\"add\",\"arguments\":[]}",
                 ERROR("GenericError", "QMP input member 'arguments' must be an object")},
                {"{\"execute\":1}", ERROR("GenericError", "QMP input member 'execute' must be a string")},
                {"{\"arguments\":{}}", ERROR("GenericError", "QMP input lacks member 'execute'")},
                {"{\"execute\":\"add\",\"more\":1}", ERROR("GenericError", "QMP input member 'more' is unexpected")},
                {"[]", ERROR("GenericError", "QMP input must be a JSON object")},
                {"\"add\"\n", ERROR("GenericError", "QMP input must be a JSON object")},
                {"{\"execute\":\"sub\"}", ERROR("CommandNotFound", "The command sub has not been found")},
                {"{,}\n", ERROR("GenericError", "JSON parse error, invalid input")},
                {"}}}}\n", ERROR("GenericError", "JSON parse error, invalid input")},
                {"{\"execute\":\"query-commands\"}",
                 "{\"return\":[{\"name\":\"qmp_capabilities\"},{\"name\":\"query-commands\"},{\"name\":\"add\"},"
                 "{\"name\":\"much\"},{\"name\":\"nothing\"}]}\r\n"},
        };
        struct world world;
        int fd;

        begin(&world);
        fd = join(&world, true);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
                expect(&world, fd, cases[i].question, cases[i].answer);
        fd_close(fd);
        end(&world);
}

/* Byte by byte, and many at once. */
static void test_framing(void **state)
{
        static const char one[] = " \r\n\t{\"execute\": \"add\", \"arguments\": {\"a\": 20, \"b\": 22}}\n";
        char many[100 * sizeof(one)] = "", data[100 * 32];
        struct world world;
        int fd;

        begin(&world);
        fd = join(&world, true);
        for (size_t i = 0; i + 1 < sizeof(one); i++) {
                assert_int_equal(send(fd, one + i, 1, 0), 1);
                turn(&world);
        }
        expect(&world, fd, "", "{\"return\":42}\r\n");
        for (int i = 0; i < 100; i++)
                strcat(many, one);
        say(fd, many);
        assert_int_equal(receive(&world, fd, data, sizeof(data)), 100 * (ssize_t)strlen("{\"return\":42}\r\n"));
        assert_int_equal(world.adds, 101);
        fd_close(fd);
        end(&world);
}

static void test_events(void **state)
{
        struct world world;
        char data[1024];
        int a, b;

        begin(&world);
        a = join(&world, true);
        b = join(&world, true);
        say(a, "{\"execute\":\"nothing\"}");
        assert_true(receive(&world, a, data, sizeof(data)) > 0);
        assert_non_null(strstr(data, "\"event\":\"NOTHING\",\"data\":{}}\r\n{\"return\":{}}\r\n"));
        assert_true(receive(&world, b, data, sizeof(data)) > 0);
        assert_non_null(strstr(data, "\"event\":\"NOTHING\""));
        assert_non_null(strstr(data, "{\"timestamp\":{\"seconds\":"));
        fd_close(a);
        qmp_event(world.qmp, "MORE", NULL);
        assert_true(receive(&world, b, data, sizeof(data)) > 0);
        assert_non_null(strstr(data, "\"event\":\"MORE\"}"));
        fd_close(b);
        end(&world);
}

/* Input without end does not make the server grow. */
static void test_hostile(void **state)
{
        static char large[200000];
        struct world world;
        char data[4096];
        int fd, other;

        begin(&world);
        other = join(&world, true);
        fd = join(&world, true);
        memset(large, '[', 100);
        large[100] = '\n';
        large[101] = '\0';
        expect(&world, fd, large, ERROR("GenericError", "JSON parse error, invalid input"));
        memset(large, 'x', sizeof(large) - 1);
        large[0] = '"';
        for (size_t sent = 0; sent < sizeof(large) - 1; turn(&world)) {
                ssize_t n = send(fd, large + sent, sizeof(large) - 1 - sent, MSG_NOSIGNAL | MSG_DONTWAIT);

                if (n < 0)
                        break;
                sent += (size_t)n;
        }
        assert_int_equal(receive(&world, fd, data, sizeof(data)), -1);
        fd_close(fd);

        /* Nothing is done for who does not take his answers; then it goes on. */
        fd = join(&world, true);
        large[0] = '\0';
        for (int i = 0; i < 400; i++)
                strcat(large, "{\"execute\":\"much\"}\n");
        strcat(large, "{\"execute\":\"add\",\"arguments\":{\"a\":1}}\n");
        say(fd, large);
        turn(&world);
        turn(&world);
        assert_int_equal(world.adds, 0);
        expect(&world, other, "{\"execute\":\"add\",\"arguments\":{\"a\":1}}", "{\"return\":1}\r\n");
        for (int i = 0; i < 10000 && world.adds < 2; i++)
                receive(&world, fd, large, sizeof(large));
        assert_int_equal(world.adds, 2);
        fd_close(fd);
        fd_close(other);
        end(&world);
}

static void test_many_clients(void **state)
{
        struct world world;
        int fds[17];
        char data[16];

        begin(&world);
        for (int i = 0; i < 16; i++)
                fds[i] = join(&world, i % 2);
        fds[16] = oriel_socket_connect(world.path);
        assert_true(fds[16] >= 0);
        assert_int_equal(receive(&world, fds[16], data, sizeof(data)), -1);
        fd_close(fds[0]);
        turn(&world);
        fd_close(fds[16]);
        fds[16] = join(&world, true);
        for (int i = 1; i < 17; i++)
                fd_close(fds[i]);
        end(&world);
        qmp_free(NULL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_negotiation), counted_test(test_commands), counted_test(test_framing),
                counted_test(test_events),      counted_test(test_hostile),  counted_test(test_many_clients),
        };

        return run_counted("qmp", tests);
}
