/* SPDX-License-Identifier: BSD-2-Clause */

/* oriel bench trace: what the tracer adds to a round trip, for GET_FEATURES on the main channel and for SHMEM_MAP on a
 * back-end channel. Peers and tracers are children; this process asks, directly and through the tracer in turns, BLOCK
 * round trips each, and compares medians. Where CPUs are not shared, the answering child is on another CPU than this
 * process. Children die with this process, and end_children() ends and waits for all of them. */

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "bench/common/bench.h"
#include "bench/common/floor.h"
#include "program/report.h"
#include "program/spawn.h"
#include "trace/recorder.h"
#include "trace/relay.h"

#include <errno.h>
#include <json.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define BLOCK   50 /* round trips in a row before the other is measured */
#define BLOCKS  40
#define SAMPLES (BLOCK * BLOCKS)

/* The other processes, all of which are ended by end_children(). */
static pid_t children[8];
static unsigned n_children;

/* Returns 0 in the child. */
static pid_t start_child(void)
{
        const pid_t self = getpid();
        pid_t pid = fork();

        if (pid == 0)
                spawn_follow(self, SIGKILL);
        if (pid > 0)
                children[n_children++] = pid;
        return pid < 0 ? -errno : pid;
}

static void end_children(void)
{
        for (unsigned i = 0; i < n_children; i++)
                kill(children[i], SIGKILL);
        while (n_children > 0)
                waitpid(children[--n_children], NULL, 0);
}

static void run_tracer(int frontend, int backend)
{
        struct recorder_options options = {.out = fopen("/dev/null", "we"), .listen = "a", .connect = "b"};
        struct recorder *recorder;

        if (bench_options.one_cpu)
                bind_cpu(false);
        if (!options.out || recorder_start(&options, &recorder) < 0)
                _exit(1);
        relay_run(frontend, backend, -1, recorder_log(recorder), 1);
        _exit(0);
}

enum { FRONTEND, BACKEND };

/* Makes the front-end's and the back-end's socket of one connection, with or without a tracer in between. */
static int connect_ends(bool traced, int ends[2])
{
        int front[2], back[2];

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, front) < 0)
                return -errno;
        ends[FRONTEND] = front[0];
        ends[BACKEND] = front[1];
        if (!traced)
                return 0;
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, back) < 0)
                return -errno;

        pid_t pid = start_child();

        if (pid == 0)
                run_tracer(front[1], back[0]);
        fd_close(front[1]);
        fd_close(back[0]);
        ends[BACKEND] = back[1];
        return pid < 0 ? pid : 0;
}

/* Starts a child that calls @serve with one end of a connection; the other end is *@ours. */
static int start_peer(bool traced, int end, void (*serve)(int socket), int *ours)
{
        int ends[2] = {-1, -1}, r = connect_ends(traced, ends);

        if (r < 0)
                return r;

        pid_t pid = start_child();

        if (pid == 0) {
                bind_cpu(!bench_options.one_cpu);
                serve(ends[end]);
                _exit(0);
        }
        fd_close(ends[end]);
        *ours = ends[!end];
        return pid < 0 ? pid : 0;
}

/* ---- GET_FEATURES, asked here and answered by a child ---- */

static void answer_features(int socket)
{
        struct reply reply = {
                {ORIEL_FRONTEND_GET_FEATURES, ORIEL_PROTOCOL_VERSION | ORIEL_FLAG_REPLY, sizeof(reply.u64)}, 0};
        struct oriel_wire_header header;

        while (recv(socket, &header, sizeof(header), MSG_WAITALL) == (ssize_t)sizeof(header) &&
               send(socket, &reply, sizeof(reply), MSG_NOSIGNAL) == (ssize_t)sizeof(reply))
                ;
}

static int64_t bench_trace_get_features(int socket)
{
        const struct oriel_wire_header header = {ORIEL_FRONTEND_GET_FEATURES, ORIEL_PROTOCOL_VERSION, 0};
        struct reply reply;
        int64_t begin = now_ns();

        if (send(socket, &header, sizeof(header), MSG_NOSIGNAL) != (ssize_t)sizeof(header) ||
            recv(socket, &reply, sizeof(reply), MSG_WAITALL) != (ssize_t)sizeof(reply))
                return -1;
        return now_ns() - begin;
}

/* ---- SHMEM_MAP, asked here over the back-end channel that a child makes ---- */

static void serve_channel(int main_channel)
{
        const struct oriel_wire_header header = {ORIEL_FRONTEND_SET_BACKEND_REQ_FD, ORIEL_PROTOCOL_VERSION, 0};
        int fds[2];

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
                _exit(1);
        if (!send_with_fd(main_channel, &header, sizeof(header), fds[1]))
                _exit(1);
        fd_close(fds[1]);
        floor_serve(fds[0]);
}

/* *@socket: the back-end's end of the channel. *@main_channel has to stay open as long as that. */
static int start_maps(bool traced, int *main_channel, int *socket)
{
        struct oriel_wire_header header;
        int r = start_peer(traced, FRONTEND, serve_channel, main_channel);

        if (r < 0)
                return r;
        *socket = receive_with_fd(*main_channel, &header, sizeof(header));
        return *socket < 0 ? -EPROTO : 0;
}

/* ---- measuring ---- */

struct series {
        const char *name, *key;
        int sockets[2]; /* direct, traced */
        int memfd;      /* -1: GET_FEATURES */
        double ns[2][SAMPLES];
        double us[2];
};

static int64_t round_trip(const struct series *series, int way)
{
        return series->memfd < 0 ? bench_trace_get_features(series->sockets[way])
                                 : floor_map(series->sockets[way], series->memfd);
}

static int measure_calls(struct series *series)
{
        for (int block = 0; block < BLOCKS; block++)
                for (int way = 0; way < 2; way++)
                        for (int i = block * BLOCK; i < (block + 1) * BLOCK; i++) {
                                series->ns[way][i] = (double)round_trip(series, way);
                                if (series->ns[way][i] < 0)
                                        return -EIO;
                        }
        for (int way = 0; way < 2; way++)
                series->us[way] = median(series->ns[way], SAMPLES) / 1000;
        return 0;
}

static void print_trace(const struct series *series, size_t n)
{
        struct json_object *object = json_object_new_object();

        if (!bench_options.json)
                printf("%-14s %10s %10s %9s %13s\n", "round trip", "direct us", "traced us", "added us",
                       "a message us");
        for (size_t i = 0; i < n; i++) {
                double direct = series[i].us[0], traced = series[i].us[1], added = traced - direct;
                struct json_object *row = json_object_new_object();

                add_figure(row, "direct_us", direct);
                add_figure(row, "traced_us", traced);
                add_figure(row, "added_per_message_us", added / 2);
                json_object_object_add(object, series[i].key, row);
                if (!bench_options.json)
                        printf("%-14s %10.1f %10.1f %9.1f %13.1f\n", series[i].name, direct, traced, added, added / 2);
        }
        if (bench_options.json)
                printf("%s\n", json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN));
        json_object_put(object);
}

int bench_trace(void)
{
        static struct series series[] = {
                {.name = "GET_FEATURES", .key = "get_features", .sockets = {-1, -1}, .memfd = -1},
                {.name = "SHMEM_MAP", .key = "shmem_map", .sockets = {-1, -1}, .memfd = -1},
        };
        int mains[2] = {-1, -1}, r = 0;

        for (int way = 0; r == 0 && way < 2; way++) {
                r = start_peer(way, BACKEND, answer_features, &series[0].sockets[way]);
                if (r == 0)
                        r = start_maps(way, &mains[way], &series[1].sockets[way]);
        }
        series[1].memfd = memfd_create("oriel-bench", MFD_CLOEXEC);
        if (series[1].memfd < 0 || ftruncate(series[1].memfd, 2 << 20) < 0)
                r = -errno;
        bind_cpu(false);
        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(series); i++)
                r = measure_calls(&series[i]);
        end_children();
        fd_close(series[1].memfd);
        for (int way = 0; way < 2; way++) {
                fd_close(mains[way]);
                fd_close(series[0].sockets[way]);
                fd_close(series[1].sockets[way]);
        }
        if (r < 0)
                return fail("the benchmark failed: %s", strerror(-r));
        print_trace(series, ARRAY_SIZE(series));
        return STATUS_SUCCESS;
}
