/* SPDX-License-Identifier: BSD-2-Clause */

/* The host's end of the guest's console: the standard input and output, a pseudo-terminal, a file or a socket. A vcpu
 * only puts its bytes into a buffer; the main thread writes them, and reads what is typed, when the descriptors are
 * ready. A terminal is made raw for that time. Output that nobody takes is kept up to the buffer's size, and later
 * output is lost. */

#include "vmm/platform/console.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "program/accept.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

enum {
        OUTPUT_MAX = 1 << 20, /* that nobody has read yet */
        INPUT_MAX = 256,
        LAST_FLUSH_MS = 1000,
};

struct console {
        enum console_kind kind;
        int in, out;  /* borrowed with CONSOLE_STDIO; -1: there is none */
        int listener; /* -1 but with CONSOLE_SOCKET */
        int spare;    /* for accept_or_refuse() */
        int wake_fd;
        int slave; /* kept open: without it, a reader that leaves would be an error */
        char path[64];
        bool raw;
        struct termios before;
        int own_out; /* the same as standard output, where a write never waits; -1: there is none */
        bool is_socket;

        pthread_mutex_t lock; /* the output */
        uint8_t *output;
        size_t begin, size;

        uint8_t pending[INPUT_MAX]; /* read, and not taken yet */
        size_t n_pending;
        atomic_bool full; /* the guest takes no more */
        bool ended;
};

static int make_raw(struct console *console)
{
        struct termios raw;

        if (!isatty(console->in))
                return 0;
        if (tcgetattr(console->in, &console->before) < 0)
                return -errno;
        raw = console->before;
        cfmakeraw(&raw);
        raw.c_oflag |= OPOST; /* what this program itself prints keeps its lines */
        if (tcsetattr(console->in, TCSANOW, &raw) < 0)
                return -errno;
        console->raw = true;
        return 0;
}

/* Standard output is not made non-blocking, because other processes that have it share its flags: a terminal or a pipe
 * is opened anew, and a socket can be told with each write. A file never makes anybody wait. */
static void open_stdout(struct console *console)
{
        struct stat st;

        console->out = STDOUT_FILENO;
        if (fstat(STDOUT_FILENO, &st) < 0)
                return;
        console->is_socket = S_ISSOCK(st.st_mode);
        if (S_ISCHR(st.st_mode) || S_ISFIFO(st.st_mode))
                console->own_out = open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (console->own_out >= 0)
                console->out = console->own_out;
}

static int open_pty(struct console *console)
{
        struct termios raw;
        int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);

        if (fd < 0)
                return -errno;
        console->in = console->out = fd;
        if (grantpt(fd) < 0 || unlockpt(fd) < 0 || ptsname_r(fd, console->path, sizeof(console->path)) != 0)
                return -errno;
        console->slave = open(console->path, O_RDWR | O_NOCTTY | O_CLOEXEC);
        if (console->slave < 0 || tcgetattr(console->slave, &raw) < 0)
                return -errno;
        cfmakeraw(&raw);
        return tcsetattr(console->slave, TCSANOW, &raw) < 0 ? -errno : 0;
}

DEFINE_CLEANUP(struct console *, console_free);

int console_new(enum console_kind kind, int fd, struct console **out)
{
        _cleanup_(fd_closep) int own = fd;
        _cleanup_(console_freep) struct console *console = calloc(1, sizeof(*console));
        int r = 0;

        if (!console)
                return -ENOMEM;
        console->kind = kind;
        console->in = console->out = console->own_out = console->slave = console->listener = -1;
        console->spare = -1;
        if (kind == CONSOLE_FILE)
                console->out = fd_take(&own);
        else if (kind == CONSOLE_SOCKET)
                console->listener = fd_take(&own);
        console->spare = console->listener < 0 ? -1 : fd_dup(console->listener);
        console->is_socket = kind == CONSOLE_SOCKET;
        pthread_mutex_init(&console->lock, NULL);
        console->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (console->wake_fd < 0)
                return -errno;
        console->output = kind == CONSOLE_NONE ? NULL : malloc(OUTPUT_MAX);
        if (kind != CONSOLE_NONE && !console->output)
                return -ENOMEM;
        if (kind == CONSOLE_STDIO) {
                console->in = STDIN_FILENO;
                open_stdout(console);
                r = make_raw(console);
        } else if (kind == CONSOLE_PTY) {
                r = open_pty(console);
        }
        if (r < 0)
                return r;
        *out = steal(console);
        return 0;
}

void console_end(struct console *console)
{
        if (!console)
                return;
        for (size_t before = 0;
             console->kind != CONSOLE_PTY && console->out >= 0 && console->size > 0 && console->size != before;) {
                struct pollfd fd = {.fd = console->out, .events = POLLOUT};

                if (poll(&fd, 1, LAST_FLUSH_MS) != 1 || fd.revents & (POLLERR | POLLNVAL))
                        break;
                before = console->size;
                console_flush(console);
        }
        if (console->raw)
                tcsetattr(console->in, TCSANOW, &console->before);
        console->raw = false;
        if (console->kind != CONSOLE_STDIO)
                fd_close(console->out);
        console->in = console->out = -1;
        console->listener = fd_close(console->listener);
        console->spare = fd_close(console->spare);
        console->slave = fd_close(console->slave);
        console->own_out = fd_close(console->own_out);
}

void console_free(struct console *console)
{
        if (!console)
                return;
        console_end(console);
        fd_close(console->wake_fd);
        pthread_mutex_destroy(&console->lock);
        free(console->output);
        free(console);
}

const char *console_path(const struct console *console)
{
        return console->path[0] ? console->path : NULL;
}

bool console_is_terminal(const struct console *console)
{
        return console->raw;
}

/* ---- output ---- */

void console_output(struct console *console, const uint8_t *data, size_t size)
{
        if (!console->output)
                return;
        pthread_mutex_lock(&console->lock);

        bool first = console->size == 0;

        for (; size > 0 && console->size < OUTPUT_MAX; size--, data++)
                console->output[(console->begin + console->size++) % OUTPUT_MAX] = *data;
        pthread_mutex_unlock(&console->lock);
        if (first)
                fd_event_wake(console->wake_fd);
}

struct console_fds console_get_fds(struct console *console)
{
        pthread_mutex_lock(&console->lock);

        bool any = console->size > 0;

        pthread_mutex_unlock(&console->lock);

        int in = console->in < 0 ? console->listener : console->in;
        const bool full = atomic_load(&console->full);

        /* A client that leaves is noticed all the same, for the next one's sake. */
        if (console->ended || (full && console->kind != CONSOLE_SOCKET))
                in = -1;
        return (struct console_fds){
                .in = in,
                .in_events = full ? 0 : POLLIN,
                .out = any ? console->out : -1,
                .wake = console->wake_fd,
                .pending = console->n_pending > 0 && !full,
        };
}

/* Its input that the guest has not taken is lost; output that it has not read is for the next client. */
static void drop_client(struct console *console)
{
        console->in = console->out = fd_close(console->in);
        console->n_pending = 0;
        atomic_store(&console->full, false);
}

void console_flush(struct console *console)
{
        fd_event_clear(console->wake_fd);
        pthread_mutex_lock(&console->lock);

        size_t left = OUTPUT_MAX - console->begin, size = console->size < left ? console->size : left;
        uint8_t data[PIPE_BUF];

        if (size > sizeof(data))
                size = sizeof(data);
        if (size > 0)
                memcpy(data, console->output + console->begin, size);
        pthread_mutex_unlock(&console->lock);
        if (size == 0 || console->out < 0)
                return;

        ssize_t n = console->is_socket ? send(console->out, data, size, MSG_DONTWAIT | MSG_NOSIGNAL)
                                       : write(console->out, data, size);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n < 0 && console->kind == CONSOLE_SOCKET) {
                drop_client(console);
                return;
        }
        /* After an error that stays the output is lost. */
        if (n < 0)
                n = (ssize_t)size;
        pthread_mutex_lock(&console->lock);
        console->begin = (console->begin + (size_t)n) % OUTPUT_MAX;
        console->size -= (size_t)n;
        pthread_mutex_unlock(&console->lock);
}

/* ---- input ---- */

static int take_input(struct console *console, size_t (*input)(void *userdata, const uint8_t *data, size_t size),
                      void *userdata)
{
        /* Before it is asked: room that comes meanwhile is not missed. */
        atomic_store(&console->full, true);

        size_t taken = input(userdata, console->pending, console->n_pending);

        console->n_pending -= taken;
        memmove(console->pending, console->pending + taken, console->n_pending);
        if (console->n_pending == 0)
                atomic_store(&console->full, false);
        return 0;
}

int console_read(struct console *console, size_t (*input)(void *userdata, const uint8_t *data, size_t size),
                 void *userdata)
{
        if (console->kind == CONSOLE_SOCKET && atomic_load(&console->full)) {
                drop_client(console);
                return 0;
        }
        if (console->n_pending > 0)
                return take_input(console, input, userdata);
        if (console->in < 0) {
                int fd = accept_or_refuse(console->listener, &console->spare);

                console->in = console->out = fd < 0 ? -1 : fd;
                return 0;
        }

        ssize_t n = read(console->in, console->pending, sizeof(console->pending));

        if (n <= 0 && (n == 0 || (errno != EAGAIN && errno != EINTR))) {
                if (console->kind == CONSOLE_SOCKET) {
                        drop_client(console);
                        return 0;
                }
                console->ended = true;
                return -ENODATA;
        }
        if (n < 0)
                return 0;
        if (console->raw && memchr(console->pending, CONSOLE_ESCAPE, (size_t)n))
                return -ECANCELED;
        console->n_pending = (size_t)n;
        return take_input(console, input, userdata);
}

void console_resume(struct console *console)
{
        if (!atomic_exchange(&console->full, false))
                return;
        fd_event_wake(console->wake_fd);
}
