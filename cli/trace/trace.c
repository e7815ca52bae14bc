/* SPDX-License-Identifier: BSD-2-Clause */

/* "oriel trace": options, sockets and output of the tracer, which is in trace/. Front-ends are served one after the
 * other: for each, this connects to the back-end, and relay_run() passes the session on until it ends or a signal
 * comes. The recorder writes what was seen on a thread of its own. With --read, the page of a recording is made
 * instead, under another name, which replaces the old page when it is complete. */

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/limits.h"
#include "cli/commands.h"
#include "program/accept.h"
#include "program/options.h"
#include "program/outfile.h"
#include "program/report.h"
#include "program/signals.h"
#include "program/socket_file.h"
#include "trace/page.h"
#include "trace/recorder.h"
#include "trace/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <oriel/socket.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *listen_path;
static const char *connect_path;
static const char *output_path;
static const char *html_path;
static const char *read_path;
static const char *dialect;
static unsigned device_id;
static bool as_json;
static bool once;

static const struct option_row rows[] = {
        {"listen", OPTION_STRING, &listen_path, "SOCKET", "where front-ends connect to"},
        {"connect", OPTION_STRING, &connect_path, "SOCKET", "where the back-end listens"},
        {"json", OPTION_FLAG, &as_json, NULL, "print one JSON object on each line"},
        {"output", OPTION_STRING, &output_path, "FILE", "print there instead of on standard output; also -o",
         .letter = 'o'},
        {"html", OPTION_STRING, &html_path, "FILE", "write a page for a browser"},
        {"read", OPTION_STRING, &read_path, "FILE", "make the page of a recording of --json, and trace nothing"},
        {"once", OPTION_FLAG, &once, NULL, "end after the first front-end"},
        {"dialect", OPTION_STRING, &dialect, "NAME", "the peers' number for SHMEM: standard, shmem-21, shmem-20"},
        {"virtio-id", OPTION_NUMBER, &device_id, "N", "name the features of this device type too"},
};

static const struct program program = {
        .name = "oriel trace",
        .operands = "",
        .summary = "Stand between a vhost-user front-end and a back-end, pass on everything as it is, and print each\n"
                   "message of the main and the back-end channel. Serves one front-end after the other until SIGINT\n"
                   "or SIGTERM.",
        .rows = rows,
        .n_rows = ARRAY_SIZE(rows),
};

/* Drops the signal that ended the loop, and unblocks signals: the next one ends the process, which may be waiting
 * for the reader of its output. */
static void close_signals(int fd)
{
        struct signalfd_siginfo info;
        sigset_t set;

        while (read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
                ;
        sigemptyset(&set);
        sigprocmask(SIG_SETMASK, &set, NULL);
}

/* ---- sessions ---- */

/* Serves one front-end, from its connection to its end. */
static int trace_serve(int frontend, int signals, struct record_log *log, unsigned *sessions)
{
        int backend = oriel_socket_connect(connect_path);

        if (backend < 0) {
                report("%s: %s; the front-end is sent away", connect_path, socket_words(backend));
                fd_close(frontend);
                return STATUS_FAILURE;
        }

        int r = relay_run(frontend, backend, signals, log, ++*sessions);

        return r < 0 ? fail("session %u: %s", *sessions, strerror(-r)) : STATUS_SUCCESS;
}

static int serve_all(int listener, int signals, struct record_log *log)
{
        _cleanup_(fd_closep) int spare = fd_dup(listener);
        unsigned sessions = 0;

        for (;;) {
                struct pollfd fds[] = {{.fd = signals, .events = POLLIN}, {.fd = listener, .events = POLLIN}};

                if (poll(fds, ARRAY_SIZE(fds), -1) < 0)
                        continue;
                if (fds[0].revents)
                        return STATUS_SUCCESS;

                int frontend = accept_or_refuse(listener, &spare);

                if (frontend < 0)
                        continue;

                int status = trace_serve(frontend, signals, log, &sessions);

                if (once)
                        return status;
        }
}

static int trace_record(struct outfile *out, struct outfile *page)
{
        const struct recorder_options options = {
                .out = out->file,
                .json = as_json,
                .page = page->file,
                .listen = listen_path,
                .connect = connect_path,
                .naming = {dialect ? oriel_dialect_find(dialect) : NULL, device_id},
        };
        _cleanup_(fd_closep) int signals = signals_open(), listener = -1;
        _cleanup_(socket_file_remove) struct socket_file file = {.name = NULL};
        struct recorder *recorder;

        if (signals < 0)
                return fail("signalfd: %s", strerror(-signals));
        listener = socket_file_listen(&file, listen_path);
        if (listener < 0)
                return STATUS_FAILURE;
        /* All descriptors that the peers pass are open here for a while. */
        limit_raise_fds();

        int r = outfile_begin(out);

        if (r == 0)
                r = outfile_begin(page);
        if (r == 0)
                r = recorder_start(&options, &recorder);
        if (r)
                return fail("%s", strerror(-r));

        int status = serve_all(listener, signals, recorder_log(recorder));

        socket_file_remove(&file);
        close_signals(signals);
        r = recorder_finish(recorder);
        return r < 0 ? fail("not all of the trace could be written: %s", strerror(-r)) : status;
}

/* ---- the page of a recording ---- */

/* A page that is being written. Until it is complete it has another name beside the target; a pipe or a device is
 * written directly. */
struct draft {
        FILE *file;
        char *target;
        char *name; /* NULL: the target is written */
};

static void close_file(FILE **file)
{
        if (*file)
                fclose(*file);
}

static void draft_close(struct draft *draft)
{
        close_file(&draft->file);
        if (draft->name)
                unlink(draft->name);
        free(draft->name);
        free(draft->target);
}

/* @was: the target's status, all zero if it does not exist. */
static int create_beside(struct draft *draft, const struct stat *was)
{
        if (was->st_nlink && access(draft->target, W_OK) < 0)
                return -errno;
        if (asprintf(&draft->name, "%s.%d", draft->target, getpid()) < 0) {
                draft->name = NULL;
                return -ENOMEM;
        }

        int fd = open(draft->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);

        if (fd < 0) {
                free(steal(draft->name));
                return -errno;
        }
        if (was->st_nlink)
                fchmod(fd, was->st_mode & 0777);
        draft->file = fdopen(fd, "w");
        if (!draft->file)
                fd_close(fd);
        return draft->file ? 0 : -ENOMEM;
}

static int draft_open(struct draft *draft, const char *path)
{
        struct stat was = {0};

        if (stat(path, &was) == 0 && !S_ISREG(was.st_mode)) {
                draft->file = fopen(path, "we");
                return draft->file ? 0 : -errno;
        }
        /* Replaces the file that a symbolic link points to, not the link. */
        draft->target = was.st_nlink ? realpath(path, NULL) : strdup(path);
        return draft->target ? create_beside(draft, &was) : -errno;
}

static int draft_finish(struct draft *draft)
{
        if (fflush(draft->file) != 0)
                return -errno;
        if (ferror(draft->file))
                return -EIO;
        if (!draft->name)
                return 0;
        if (rename(draft->name, draft->target) < 0)
                return -errno;
        free(steal(draft->name));
        return 0;
}

/* Makes the page of a recording. On failure, which is reported, an existing page stays as it was. */
static int render_page(const char *recording, const char *html)
{
        _cleanup_(close_file) FILE *from = fopen(recording, "re");
        _cleanup_(draft_close) struct draft draft = {.file = NULL};
        struct complaint why;

        if (!from)
                return fail("%s: %s", recording, strerror(errno));
        if (is_same_file(from, html))
                return fail("%s: the page can't replace the recording that it is made of", html);

        int r = draft_open(&draft, html);

        if (r < 0)
                return fail("%s: %s", html, strerror(-r));
        r = page_render(from, draft.file, &why);
        if (r == -EPROTO)
                return fail("%s: %s", recording, why.text);
        if (r == -ENODATA)
                return fail("%s: nothing was recorded", recording);
        if (r < 0)
                return fail("%s: %s", recording, strerror(-r));
        r = draft_finish(&draft);
        return r < 0 ? fail("%s: %s", html, strerror(-r)) : STATUS_SUCCESS;
}

/* ---- the command line ---- */

static int trace_run(void)
{
        _cleanup_(outfile_close) struct outfile out = {.file = stdout}, page = {.path = NULL};

        if (read_path)
                return render_page(read_path, html_path);
        if (outfile_open(&out, output_path) || outfile_open(&page, html_path))
                return STATUS_FAILURE;
        if (html_path && is_same_file(out.file, html_path))
                return fail("%s: the page and the text can't go to the same file", html_path);
        return trace_record(&out, &page);
}

static int trace_check_usage(void)
{
        const char *wrong = NULL;

        if (read_path && (listen_path || connect_path || output_path || as_json || once))
                wrong = "--read goes with --html only";
        else if (read_path && !html_path)
                wrong = "--html is missing";
        else if (!read_path && (!listen_path || !connect_path))
                wrong = "--listen and --connect are needed";
        else if (dialect && !oriel_dialect_find(dialect))
                wrong = "--dialect: standard, shmem-21 or shmem-20";
        return wrong ? options_wrong_usage(&program, "%s", wrong) : -1;
}

int command_trace(int argc, char **argv)
{
        int status = options_parse(&program, argc, argv, NULL);

        if (status < 0)
                status = trace_check_usage();
        return status < 0 ? trace_run() : status;
}
