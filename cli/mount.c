/* SPDX-License-Identifier: BSD-2-Clause */
#define FUSE_USE_VERSION 312
#include "cli/mount.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/options.h"
#include "base/signals.h"
#include "cli/commands.h"

#include <errno.h>
#include <fuse_log.h>
#include <fuse_lowlevel.h>
#include <linux/virtio_config.h>
#include <linux/virtio_fs.h>
#include <linux/virtio_ring.h>
#include <oriel/socket.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

static bool use_dax;
static bool readonly;
static bool verbose;

static const struct option_row rows[] = {
        {"dax", OPTION_FLAG, &use_dax, NULL, "answer reads and writes from the shared memory window where it can"},
        {"readonly", OPTION_FLAG, &readonly, NULL, "mount read-only"},
        {"verbose", OPTION_FLAG, &verbose, NULL, "say more"},
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

static void *unmount(void *userdata)
{
        struct mount *mount = userdata;

        fuse_session_unmount(mount->session);
        fd_event_signal(mount->unmounted);
        return NULL;
}

/* On a thread of its own, because an unmount can need this one to answer. */
static void begin_unmount(struct mount *mount)
{
        if (!mount->unmounting)
                mount->unmounting = pthread_create(&mount->unmounter, NULL, unmount, mount) == 0;
}

static int take_events(struct mount *mount, const struct pollfd *fds)
{
        int r = 0;

        if (fds[0].revents) {
                struct signalfd_siginfo info;

                if (read(mount->signals, &info, sizeof(info)) == (ssize_t)sizeof(info))
                        begin_unmount(mount);
        }
        if (fds[1].revents)
                mount->over = true;
        if (fds[2].revents)
                r = oriel_frontend_dispatch(oriel_driver_frontend(mount->driver));
        if (r == 0 && (fds[3].revents || fds[4].revents))
                r = mount_take_answers(mount);
        if (r == 0 && fds[5].revents) {
                r = mount_take_request(mount);
                if (r == -ENODEV) {
                        mount->over = true;
                        r = 0;
                }
        }
        return r;
}

static int run(struct mount *mount)
{
        int r = mount_take_answers(mount);

        while (r == 0 && !mount->over) {
                struct pollfd fds[] = {
                        {.fd = mount->signals, .events = POLLIN},
                        {.fd = mount->unmounted, .events = POLLIN},
                        {.fd = oriel_frontend_get_fd(oriel_driver_frontend(mount->driver)), .events = POLLIN},
                        {.fd = oriel_driver_call_fd(mount->driver, HIPRIO), .events = POLLIN},
                        {.fd = oriel_driver_call_fd(mount->driver, REQUESTS), .events = POLLIN},
                        {.fd = mount_free_slot(mount) ? mount->fuse_fd : -1, .events = POLLIN},
                };

                if (poll(fds, ARRAY_SIZE(fds), -1) > 0)
                        r = take_events(mount, fds);
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

/* A buffer in which a page begins behind the first @header bytes: the data of a request and of an answer, which a
 * back-end may pass on to a file that is open for direct I/O. */
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

static void quiet(enum fuse_log_level level, const char *format, va_list args)
{
        if (level > FUSE_LOG_ERR)
                return;

        char text[256];

        vsnprintf(text, sizeof(text), format, args);
        text[strcspn(text, "\n")] = '\0';
        report("%s", text);
}

/* The rights of a file are checked by the kernel, as in a guest. */
static int open_mount(struct mount *mount, const char *dir)
{
        const struct fuse_lowlevel_ops none = {0};
        char options[128];
        char *argv[] = {(char *)"oriel", (char *)"-o", options, NULL};
        struct fuse_args args = FUSE_ARGS_INIT(3, argv);

        snprintf(options, sizeof(options), "fsname=oriel,subtype=oriel,default_permissions%s%s",
                 geteuid() == 0 ? ",allow_other" : "", readonly ? ",ro" : "");
        fuse_set_log_func(quiet);
        mount->session = fuse_session_new(&args, &none, sizeof(none), NULL);
        fuse_opt_free_args(&args);
        if (!mount->session || fuse_session_mount(mount->session, dir) != 0)
                return -EIO;

        /* libfuse closes its own when it unmounts, and there may still be something to answer then. */
        mount->fuse_fd = fd_dup(fuse_session_fd(mount->session));
        return mount->fuse_fd < 0 ? mount->fuse_fd : fd_set_nonblocking(mount->fuse_fd, 1);
}

static void close_mount(struct mount *mount)
{
        bool mounted = mount->fuse_fd >= 0;

        if (mount->unmounting)
                pthread_join(mount->unmounter, NULL);
        /* Nobody answers any more: let go of all who wait, before the unmount could wait for them. */
        mount->fuse_fd = fd_close(mount->fuse_fd);
        if (mounted && !mount->unmounting)
                fuse_session_unmount(mount->session);
        if (mount->session)
                fuse_session_destroy(mount->session);
        oriel_driver_free(mount->driver);
        dax_free(mount->dax);
        fd_close(mount->signals);
        fd_close(mount->unmounted);
}

static int mount_and_run(struct mount *mount, const char *path, const char *dir, const struct oriel_log *log)
{
        int r = open_driver(mount, path, log);

        if (r < 0)
                return fail("%s: %s", path,
                            r == -ECONNREFUSED || r == -ENOENT ? "nobody listens there: start the back-end first"
                            : r == -ENODEV                     ? "it is no virtio-fs device"
                                                               : strerror(-r));
        if (use_dax && open_dax(mount) < 0)
                return fail(
                        "%s: it offers no shared memory window: start oriel-fs with --dax-window, or leave out --dax",
                        path);
        r = open_mount(mount, dir);
        if (r < 0)
                return fail("can't mount on %s", dir);
        printf("%s is mounted on %s\n", path, dir);
        fflush(stdout);

        r = run(mount);
        if (verbose)
                fprintf(stderr, "%llu requests answered from the window, %llu by the back-end\n",
                        (unsigned long long)mount->served, (unsigned long long)mount->forwarded);
        if (r == -ENOTCONN || r == -EPROTO)
                return fail("%s: the back-end is gone; %s is unmounted", path, dir);
        return r < 0 ? fail("%s: %s", dir, strerror(-r)) : STATUS_SUCCESS;
}

int command_mount(int argc, char **argv)
{
        static struct mount mount = {.fuse_fd = -1, .signals = -1, .unmounted = -1};
        char **operands;
        struct stat st;
        int status = options_parse(&program, argc, argv, &operands);

        if (status >= 0)
                return status;
        if (stat(operands[1], &st) < 0 || !S_ISDIR(st.st_mode))
                return fail("%s: it is not a directory to mount on", operands[1]);
        if (access("/dev/fuse", F_OK) < 0)
                return fail("/dev/fuse is not here: load the kernel's fuse module");

        struct oriel_log log = stderr_log(verbose);

        mount.signals = signals_open();
        mount.unmounted = eventfd(0, EFD_CLOEXEC);
        status = mount_and_run(&mount, operands[0], operands[1], &log);
        close_mount(&mount);
        return status;
}
