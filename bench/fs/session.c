/* SPDX-License-Identifier: BSD-2-Clause */

/* A session of "oriel bench fs": a back-end that is started for a measurement, the driver that brings it up, and the
 * CPU time and memory of the back-end's processes. session_open() builds the command line of the side, starts it on its
 * CPU with its output in a log, connects when the socket listens, and does FUSE_INIT; a program that ends meanwhile is
 * reported with the last line of its log. The descendants are found in /proc once it is up. One thread. */

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "bench/common/floor.h"
#include "bench/fs/fs.h"
#include "program/report.h"
#include "program/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/virtio_config.h>
#include <linux/virtio_fs.h>
#include <linux/virtio_ring.h>
#include <oriel/socket.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_ARGUMENTS 64
#define START_MS      60000

/* The features that Linux negotiates with a virtio-fs device; a feature of one side only would be measured instead.
 * In-flight tracking, by which a guest survives the end of its back-end, is such a feature. */
#define FEATURES (ORIEL_FEATURE(VIRTIO_RING_F_INDIRECT_DESC) | ORIEL_FEATURE(VIRTIO_RING_F_EVENT_IDX))
#define WITHOUT  ORIEL_FEATURE(ORIEL_PROTOCOL_F_INFLIGHT_SHMFD)

/* ---- the command line of a back-end ---- */

/* Options for both; bench_options has those for each side. */
static const char *const for_both[] = {"--tag=oriel-bench", "--sandbox=none"};

struct command_line {
        char words[1024], socket[320], share[320], window[48];
        char *argv[MAX_ARGUMENTS + 1];
        unsigned n;
};

static void arguments_add(struct command_line *line, const char *word)
{
        if (line->n < MAX_ARGUMENTS)
                line->argv[line->n++] = (char *)word;
        line->argv[line->n] = NULL;
}

/* Each back-end has a socket of its own, as several may be started by guests' processes: oriel-fs locks its socket's
 * name. */
static void make_command_line(struct command_line *line, const struct bench_place *place, int side, unsigned number,
                              uint64_t dax)
{
        const struct option_list *options = side == OWN ? &bench_options.own_options : &bench_options.peer_options;
        char *rest;

        line->n = 0;
        snprintf(line->words, sizeof(line->words), "%s", side == OWN ? "oriel-fs" : bench_options.peer);
        for (char *word = strtok_r(line->words, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
                arguments_add(line, word);
        snprintf(line->socket, sizeof(line->socket), "--socket-path=%s/%d-%u", place->path, getpid(), number);
        snprintf(line->share, sizeof(line->share), "--shared-dir=%s/share", place->path);
        snprintf(line->window, sizeof(line->window), "--dax-window=%" PRIu64, dax);
        arguments_add(line, line->socket);
        arguments_add(line, line->share);
        for (size_t i = 0; i < ARRAY_SIZE(for_both); i++)
                arguments_add(line, for_both[i]);
        for (unsigned i = 0; i < options->n; i++)
                arguments_add(line, options->values[i]);
        if (dax)
                arguments_add(line, line->window);
}

/* ---- starting ---- */

/* Binds this process, and those that it starts from now on, to the first CPU that it was given, or the last. */
static void place_on(bool last)
{
        static cpu_set_t given;
        static bool known;

        if (!known)
                known = sched_getaffinity(0, sizeof(given), &given) == 0;
        if (known)
                sched_setaffinity(0, sizeof(given), &given);
        bind_cpu(last);
}

void session_share_cpu(bool share)
{
        place_on(!share);
}

/* Copies the last line of the log. */
static void last_line(int log, char *line, size_t size)
{
        char text[240];
        off_t end = lseek(log, 0, SEEK_END), from = end > (off_t)sizeof(text) ? end - (off_t)sizeof(text) : 0;
        ssize_t n = pread(log, text, sizeof(text) - 1, from);

        while (n > 0 && text[n - 1] == '\n')
                n--;
        text[n > 0 ? n : 0] = '\0';

        const char *newline = strrchr(text, '\n');

        snprintf(line, size, "%s", newline ? newline + 1 : text);
}

static int tell_ended(const struct bench_session *session, const char *program, int status, int log)
{
        char line[256];

        last_line(log, line, sizeof(line));
        if (WIFEXITED(status) && WEXITSTATUS(status) == 127 && !line[0])
                report("%s: there is no program '%s'", session->name, program);
        else if (WIFSIGNALED(status))
                report("%s has been ended by signal %d before it could be used: %s", session->name, WTERMSIG(status),
                       line);
        else
                report("%s has ended with status %d before it could be used: %s", session->name, WEXITSTATUS(status),
                       line[0] ? line : "it said nothing");
        return -1;
}

/* Connects to its socket, as soon as it listens. -1 after a report. */
static int connect_when_there(struct bench_session *session, const struct bench_place *place,
                              const struct command_line *line, int log)
{
        const char *path = line->socket + strlen("--socket-path=");
        int64_t deadline = now_ns() + START_MS * INT64_C(1000000);
        int fd, status;

        while ((fd = oriel_socket_connect(path)) < 0) {
                if (fd != -ENOENT && fd != -ECONNREFUSED) {
                        report("%s: %s: %s", session->name, path, strerror(-fd));
                        return -1;
                }
                if (waitpid(session->pid, &status, WNOHANG) > 0) {
                        session->pid = 0;
                        return tell_ended(session, line->argv[0], status, log);
                }
                if (now_ns() > deadline) {
                        report("%s does not listen on its socket after %d s", session->name, START_MS / 1000);
                        return -1;
                }
                if (interrupted(place))
                        return -1;
                usleep(2000);
        }
        return fd;
}

static void keep_line(void *userdata, enum oriel_log_level level, const char *line)
{
        struct bench_session *session = userdata;

        snprintf(session->why, sizeof(session->why), ": %s", line);
}

static int bench_session_bring_up(struct bench_session *session, const struct bench_place *place, int fd)
{
        const struct oriel_log log = {sizeof(log), keep_line, session, ORIEL_LOG_WARNING};
        const struct oriel_driver_options options = {
                .struct_size = sizeof(options),
                .log = &log,
                .features = FEATURES,
                .without = WITHOUT,
                .queues = 1 + FUSE_CLIENT_QUEUE,
                .memory_size = (256 << 10) + load_memory(),
                .hole = ORIEL_HOLE_SINK,
        };
        int r = oriel_driver_new(&options, fd, &session->driver);

        if (r == 0)
                r = fuse_client_init(&session->fuse, session->driver);
        if (r == 0)
                r = load_new(session->driver, place->interrupt_fd, &session->load);
        if (r < 0) {
                report("%s can't be brought up: %s%s", session->name, strerror(-r), session->why);
                return -1;
        }
        session->window = oriel_driver_window(session->driver, VIRTIO_FS_SHMCAP_ID_CACHE, &session->window_size);
        return 0;
}

/* ---- its processes ---- */

/* Adds the children of known processes, until there are no new ones. */
static void find_processes(struct bench_session *session)
{
        session->pids[0] = session->pid;
        session->n_pids = 1;
        for (unsigned i = 0; i < session->n_pids; i++) {
                char path[64];

                snprintf(path, sizeof(path), "/proc/%d/task/%d/children", session->pids[i], session->pids[i]);

                FILE *file = fopen(path, "re");

                while (file && session->n_pids < MAX_PROCESSES &&
                       fscanf(file, "%d", &session->pids[session->n_pids]) == 1)
                        session->n_pids++;
                if (file)
                        fclose(file);
        }
}

int64_t session_cpu(const struct bench_session *session)
{
        int64_t sum = 0;

        for (unsigned i = 0; i < session->n_pids; i++) {
                struct timespec ts;
                clockid_t clock;

                if (clock_getcpuclockid(session->pids[i], &clock) == 0 && clock_gettime(clock, &ts) == 0)
                        sum += (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
        }
        return sum;
}

int process_memory(pid_t pid, uint64_t *rss, uint64_t *pss)
{
        char path[64], line[256];
        uint64_t kib;

        snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);

        FILE *file = fopen(path, "re");

        if (!file)
                return -errno;
        while (fgets(line, sizeof(line), file)) {
                if (sscanf(line, "Rss: %" SCNu64 " kB", &kib) == 1)
                        *rss += kib << 10;
                else if (sscanf(line, "Pss: %" SCNu64 " kB", &kib) == 1)
                        *pss += kib << 10;
        }
        fclose(file);
        return 0;
}

int session_memory(const struct bench_session *session, uint64_t *rss, uint64_t *pss)
{
        int r = 0;

        *rss = *pss = 0;
        for (unsigned i = 0; r == 0 && i < session->n_pids; i++)
                r = process_memory(session->pids[i], rss, pss);
        return r;
}

/* ---- the whole session ---- */

int session_open(struct bench_session *session, const struct bench_place *place, int side, uint64_t dax)
{
        static unsigned number;
        struct command_line line;
        char path[sizeof(place->path) + 32];

        *session = (struct bench_session){
                .name = side == OWN ? "oriel-fs" : "the peer",
        };
        make_command_line(&line, place, side, ++number, dax);
        snprintf(path, sizeof(path), "%s/log-%d-%u", place->path, getpid(), number);

        _cleanup_(fd_closep) int log = open(path, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);

        place_on(false);
        session->pid = log < 0 ? -errno : spawn_logged(line.argv, log);
        place_on(true);
        if (session->pid < 0) {
                report("%s can't be started: %s", session->name, strerror(-session->pid));
                return -1;
        }

        int fd = connect_when_there(session, place, &line, log);

        if (fd < 0 || bench_session_bring_up(session, place, fd) < 0)
                return -1;
        find_processes(session);
        return 0;
}

void session_close(struct bench_session *session)
{
        oriel_driver_free(session->driver);
        free(session->load);
        if (session->pid > 0) {
                kill(session->pid, SIGTERM);
                spawn_wait(session->pid);
        }
        *session = (struct bench_session){0};
}

int session_failed(const struct bench_session *session, const char *row, int error)
{
        const char *why = session->load ? session->load->why : "";

        if (error != -EINTR)
                report("%s: %s: %s", session->name, row, why[0] ? why : strerror(-error));
        return -1;
}
