/* SPDX-License-Identifier: BSD-2-Clause */

/* "oriel mount": mounts a virtio-fs back-end on this host by way of /dev/fuse. This file brings the device and the
 * mount up, runs the loop, and takes both down; relay.c passes requests and answers on, and clients/fs/dax.c knows
 * which ranges the window shows. libfuse only mounts and unmounts: none of its operations is used.
 * One thread does all this, except for the unmount: it can make the kernel send requests that the loop has to
 * answer, so it runs on a thread of its own, and an eventfd tells the loop that it is done. As the helper of
 * mount(8), the command forks, and the parent exits when the child has mounted. */

#define FUSE_USE_VERSION 312
#include "cli/mount/mount.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/mount/options.h"
#include "program/options.h"
#include "program/report.h"
#include "program/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_log.h>
#include <fuse_lowlevel.h>
#include <linux/virtio_config.h>
#include <linux/virtio_fs.h>
#include <linux/virtio_ring.h>
#include <oriel/socket.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* A mount that is still served this long after its unmount is reported as in use. */
#define DETACHED_MS 1000

static struct mount_options wanted;

static const struct option_row rows[] = {
        {"dax", OPTION_FLAG, &wanted.dax, NULL, "answer reads and writes from the shared memory window where it can"},
        {"readonly", OPTION_FLAG, &wanted.readonly, NULL, "mount read-only"},
        {"source", OPTION_STRING, &wanted.source, "NAME", "what mount(8) calls it (default: oriel)"},
        {"options", OPTION_LIST, &wanted.lists, "LIST", "-o LIST: mount(8)'s options, such as suid,dev,noatime",
         .letter = 'o'},
        {"verbose", OPTION_FLAG, &wanted.verbose, NULL, "say more"},
};

static const struct program program = {
        .name = "oriel mount",
        .operands = "SOCKET DIR",
        .summary = "Mount the virtio-fs back-end at SOCKET on DIR, on this host and without a virtual machine. Runs "
                   "until\n"
                   "SIGINT, SIGTERM, SIGHUP or an unmount of DIR, or until the back-end is gone.",
        .rows = rows,
        .n_rows = ARRAY_SIZE(rows),
        .min_operands = 2,
        .max_operands = 2,
};

/* ---- where it is mounted ---- */

static const char mounts[] = "/proc/self/mountinfo";

/* Notes the id of the mount on @dir, and opens mountinfo, which reports changes by POLLPRI. */
static void mount_place_open(struct mount_place *place, const char *dir)
{
        struct statx stat;

        *place = (struct mount_place){.fd = -1};
        /* A synchronizing statx() would send a request that this process itself has to answer. */
        if (statx(AT_FDCWD, dir, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_MNT_ID, &stat) < 0 ||
            !(stat.stx_mask & STATX_MNT_ID))
                return;
        place->id = stat.stx_mnt_id;
        place->fd = open(mounts, O_RDONLY | O_CLOEXEC);
}

/* Whether no line of mountinfo begins with the mount's id. */
static bool place_is_gone(const struct mount_place *place)
{
        FILE *file = fopen(mounts, "re");
        _cleanup_(freep) char *line = NULL;
        size_t size = 0;
        bool found = false;

        if (!file)
                return false;
        while (!found && getline(&line, &size, file) > 0)
                found = strtoull(line, NULL, 10) == place->id;
        fclose(file);
        return !found;
}

/* ---- what happens ---- */

static void *mount_unmount(void *userdata)
{
        struct mount *mount = userdata;

        fuse_session_unmount(mount->session);
        fd_event_wake(mount->unmounted);
        return NULL;
}

/* Unmounts on a thread of its own, because the unmount can send requests that this thread has to answer. */
static void begin_unmount(struct mount *mount)
{
        if (!mount->unmounting)
                mount->unmounting = pthread_create(&mount->unmounter, NULL, mount_unmount, mount) == 0;
}

static int mount_take_signal(struct mount *mount)
{
        struct signalfd_siginfo info;

        if (read(mount->signals, &info, sizeof(info)) == (ssize_t)sizeof(info))
                begin_unmount(mount);
        return 0;
}

static int take_unmounted(struct mount *mount)
{
        mount->over = true;
        return 0;
}

static int take_message(struct mount *mount)
{
        return oriel_frontend_dispatch(oriel_driver_frontend(mount->driver));
}

static int take_request(struct mount *mount)
{
        int r = mount_take_request(mount);

        if (r != -ENODEV)
                return r;
        mount->over = true;
        return 0;
}

/* A mount of this host has changed. If it is this one that is gone, the kernel ends the session at once; if it has
 * not after DETACHED_MS, files are open, and say_detached() reports that. */
static int take_mounts_changed(struct mount *mount)
{
        bool gone = !mount->unmounting && place_is_gone(&mount->place);

        if (!gone)
                mount->say_detached_at = 0;
        else if (mount->say_detached_at == 0)
                mount->say_detached_at = now_ms() + DETACHED_MS;
        return 0;
}

static void say_detached(struct mount *mount)
{
        report("%s is unmounted, but in use: it is served until what is open there is closed", mount->dir);
        mount->say_detached_at = 0;
        mount->place.fd = fd_close(mount->place.fd);
}

static int mount_run(struct mount *mount)
{
        const struct {
                int fd;
                int (*take)(struct mount *mount);
        } sources[] = {
                {mount->signals, mount_take_signal},
                {mount->unmounted, take_unmounted},
                {oriel_frontend_get_fd(oriel_driver_frontend(mount->driver)), take_message},
                {oriel_driver_call_fd(mount->driver, HIPRIO), mount_take_answers},
                {oriel_driver_call_fd(mount->driver, REQUESTS), mount_take_answers},
                {mount->fuse_fd, take_request},
        };
        enum { N = ARRAY_SIZE(sources) };
        int r = mount_take_answers(mount);

        while (r == 0 && !mount->over) {
                struct pollfd fds[N + 1] = {[N] = {.fd = mount->place.fd, .events = POLLPRI}};

                for (size_t i = 0; i < N; i++)
                        fds[i] = (struct pollfd){.fd = sources[i].fd, .events = POLLIN};
                if (!mount_free_slot(mount))
                        fds[N - 1].fd = -1;

                int n = poll(fds, N + 1, mount->say_detached_at ? poll_timeout(mount->say_detached_at) : -1);

                for (size_t i = 0; n > 0 && r == 0 && !mount->over && i < N; i++)
                        if (fds[i].revents)
                                r = sources[i].take(mount);
                if (n > 0 && fds[N].revents)
                        take_mounts_changed(mount);
                if (mount->say_detached_at && now_ms() >= mount->say_detached_at && !mount->over)
                        say_detached(mount);
        }
        return r;
}

/* ---- bringing up and down ---- */

static int open_dax(struct mount *mount)
{
        uint64_t size;
        uint8_t *window = oriel_driver_window(mount->driver, VIRTIO_FS_SHMCAP_ID_CACHE, &size);

        return window ? dax_new(window, size, &mount->dax) : -ENXIO;
}

/* Allocates a buffer in which a page boundary follows the first @header bytes: the data of a request or an answer is
 * then aligned for a back-end that passes it to a file open for direct I/O. */
static uint8_t *alloc_buffer(struct oriel_driver *driver, size_t header)
{
        uint8_t *p = oriel_driver_alloc(driver, BUFFER + HEADROOM);

        return p ? p + (-((uintptr_t)p + header) & (HEADROOM - 1)) : NULL;
}

static int open_driver(struct mount *mount, const char *path, const struct oriel_log *log)
{
        const struct oriel_driver_options options = {
                .struct_size = sizeof(options),
                .log = log,
                .features = ORIEL_FEATURE(VIRTIO_F_RING_PACKED) | ORIEL_FEATURE(VIRTIO_RING_F_INDIRECT_DESC) |
                            ORIEL_FEATURE(VIRTIO_RING_F_EVENT_IDX),
                .queue_size = QUEUE_SIZE,
                .memory_size = SLOTS * 2 * (BUFFER + HEADROOM) + WAITS * 2 * WAIT_BUFFER,
                .hole = ORIEL_HOLE_ZERO,
        };
        int fd = oriel_socket_connect(path);
        int r = fd < 0 ? fd : oriel_driver_new(&options, fd, &mount->driver);

        if (r == 0 && oriel_driver_queue_count(mount->driver) <= REQUESTS)
                r = -ENODEV;
        for (int i = 0; r == 0 && i < SLOTS; i++) {
                mount->slots[i].in =
                        alloc_buffer(mount->driver, sizeof(struct fuse_in_header) + sizeof(struct fuse_write_in));
                mount->slots[i].out = alloc_buffer(mount->driver, sizeof(struct fuse_out_header));
                r = mount->slots[i].in && mount->slots[i].out ? 0 : -ENOMEM;
        }
        for (int i = 0; r == 0 && i < WAITS; i++) {
                mount->waits[i].in = oriel_driver_alloc(mount->driver, WAIT_BUFFER);
                mount->waits[i].out = oriel_driver_alloc(mount->driver, WAIT_BUFFER);
                r = mount->waits[i].in && mount->waits[i].out ? 0 : -ENOMEM;
        }
        return r;
}

/* Reports errors of libfuse, which come in pieces, a line at a time. Messages of other levels are dropped. */
static void report_pieces(enum fuse_log_level level, const char *format, va_list args)
{
        static char text[512];
        size_t at = strlen(text);

        if (level > FUSE_LOG_ERR)
                return;
        vsnprintf(text + at, sizeof(text) - at, format, args);
        if (!strchr(text + at, '\n'))
                return;
        text[strcspn(text, "\n")] = '\0';
        report("%s", text);
        text[0] = '\0';
}

static int open_mount(struct mount *mount)
{
        const struct fuse_lowlevel_ops none = {0};
        char *argv[] = {(char *)"oriel", (char *)"-o", mount->options, NULL};
        struct fuse_args args = FUSE_ARGS_INIT(3, argv);

        fuse_set_log_func(report_pieces);
        mount->session = fuse_session_new(&args, &none, sizeof(none), NULL);
        fuse_opt_free_args(&args);
        if (!mount->session || fuse_session_mount(mount->session, mount->dir) != 0)
                return -EIO;
        mount_place_open(&mount->place, mount->dir);

        /* A duplicate, because libfuse closes its own descriptor when it unmounts, and answers may still be due
         * then. */
        mount->fuse_fd = fd_dup(fuse_session_fd(mount->session));
        return mount->fuse_fd < 0 ? mount->fuse_fd : fd_set_nonblocking(mount->fuse_fd, 1);
}

static void close_mount(struct mount *mount)
{
        bool mounted = mount->fuse_fd >= 0;

        if (mount->unmounting)
                pthread_join(mount->unmounter, NULL);
        /* Closing the connection fails all requests, for which the unmount would otherwise wait. */
        mount->fuse_fd = fd_close(mount->fuse_fd);
        if (mounted && !mount->unmounting)
                fuse_session_unmount(mount->session);
        if (mounted && mount->unmounting && mount->open_files > 0)
                report("%s was in use: what is open there (%llu) fails from now on: %s", mount->dir,
                       (unsigned long long)mount->open_files, strerror(ENOTCONN));
        mount->place.fd = fd_close(mount->place.fd);
        if (mount->session)
                fuse_session_destroy(mount->session);
        oriel_driver_free(mount->driver);
        dax_free(mount->dax);
        fd_close(mount->signals);
        fd_close(mount->unmounted);
}

static const char *why_no_driver(int error)
{
        switch (error) {
        case -ECONNREFUSED:
        case -ENOENT:
                return "nobody listens there: start the back-end first";
        case -ENODEV:
                return "it is no virtio-fs device";
        case -EAGAIN:
        case -ETIMEDOUT:
                return "the back-end is busy with another front-end, or does not answer";
        default:
                return strerror(-error);
        }
}

/* Tells the parent that the mount is there, and detaches from the terminal. */
static void go_into_background(int ready_fd)
{
        if (ready_fd < 0)
                return;

        int null = open("/dev/null", O_RDWR | O_CLOEXEC);

        setsid();
        for (int fd = STDIN_FILENO; null >= 0 && fd <= STDERR_FILENO; fd++)
                dup2(null, fd);
        fd_close(null);
        (void)!write(ready_fd, "", 1);
}

static int mount_and_run(struct mount *mount, const char *path, int ready_fd)
{
        struct oriel_log log = stderr_log(wanted.verbose);
        int r = open_driver(mount, path, &log);

        if (r < 0)
                return fail("%s: %s", path, why_no_driver(r));
        if (wanted.dax && open_dax(mount) < 0)
                return fail(
                        "%s: it offers no shared memory window: start oriel-fs with --dax-window, or leave out --dax",
                        path);
        r = open_mount(mount);
        if (r < 0)
                return fail("can't mount on %s", mount->dir);
        if (ready_fd < 0) {
                printf("%s is mounted on %s\n", path, mount->dir);
                fflush(stdout);
        }
        go_into_background(ready_fd);

        r = mount_run(mount);
        if (wanted.verbose)
                fprintf(stderr, "%llu requests answered from the window, %llu by the back-end\n",
                        (unsigned long long)mount->served, (unsigned long long)mount->forwarded);
        if (r == -ENOTCONN || r == -EPROTO)
                return fail("%s: the back-end is gone; %s is unmounted", path, mount->dir);
        return r < 0 ? fail("%s: %s", mount->dir, strerror(-r)) : STATUS_SUCCESS;
}

static int serve_mount(const char *path, const char *dir, int ready_fd)
{
        static struct mount mount = {.fuse_fd = -1, .signals = -1, .unmounted = -1, .place = {.fd = -1}};
        _cleanup_(freep) char *options = mount_options_join(&wanted);

        if (!options)
                return fail("out of memory");
        mount.options = options;
        mount.dir = dir;
        mount.signals = signals_open();
        mount.unmounted = eventfd(0, EFD_CLOEXEC);
        if (mount.signals < 0 || mount.unmounted < 0)
                return fail("signalfd, eventfd: %s", strerror(mount.signals < 0 ? -mount.signals : errno));

        int status = mount_and_run(&mount, path, ready_fd);

        close_mount(&mount);
        return status;
}

/* Serves the mount in a child process, and returns when that has mounted or failed. */
static int serve_in_background(const char *path, const char *dir)
{
        int ready[2], status;
        char byte;

        if (pipe2(ready, O_CLOEXEC) < 0)
                return fail("a pipe: %s", strerror(errno));

        pid_t pid = fork();

        if (pid == 0) {
                fd_close(ready[0]);
                return serve_mount(path, dir, ready[1]);
        }
        fd_close(ready[1]);

        bool mounted = pid > 0 && read(ready[0], &byte, 1) == 1;

        fd_close(ready[0]);
        if (mounted)
                return STATUS_SUCCESS;
        if (pid < 0 || waitpid(pid, &status, 0) < 0)
                return fail("a process: %s", strerror(errno));
        return WIFEXITED(status) && WEXITSTATUS(status) != STATUS_SUCCESS ? WEXITSTATUS(status) : STATUS_FAILURE;
}

static int mount_command(int argc, char **argv, bool by_mount)
{
        char **operands;
        struct stat st;
        int status = options_parse(&program, argc, argv, &operands);

        if (status >= 0)
                return status;
        if (stat(operands[1], &st) < 0 || !S_ISDIR(st.st_mode))
                return fail("%s: it is not a directory to mount on", operands[1]);
        if (access("/dev/fuse", F_OK) < 0)
                return fail("/dev/fuse is not here: load the kernel's fuse module");

        /* The path as the table of mounts has it: "mount -a" looks there for mounts that exist already. */
        _cleanup_(freep) char *dir = realpath(operands[1], NULL);

        if (!dir)
                return fail("%s: %s", operands[1], strerror(errno));
        if (!wanted.source)
                wanted.source = by_mount ? operands[0] : "oriel";
        wanted.by_mount = by_mount;
        return by_mount ? serve_in_background(operands[0], dir) : serve_mount(operands[0], dir, -1);
}

int command_mount(int argc, char **argv)
{
        return mount_command(argc, argv, false);
}

int command_mount_helper(int argc, char **argv)
{
        return mount_command(argc, argv, true);
}
