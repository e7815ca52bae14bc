/* SPDX-License-Identifier: BSD-2-Clause */
#define FUSE_USE_VERSION 312
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/options.h"
#include "base/range.h"
#include "cli/commands.h"
#include "cli/mount_dax.h"

#include <errno.h>
#include <fuse_log.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <linux/virtio_config.h>
#include <linux/virtio_fs.h>
#include <linux/virtio_ring.h>
#include <oriel/driver.h>
#include <oriel/socket.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define HIPRIO   0
#define REQUESTS 1
#define SLOTS    32
#define HEADROOM 4096                             /* for headers and arguments before the data */
#define BUFFER   ((UINT64_C(1) << 20) + HEADROOM) /* the kernel's longest request and answer: 256 pages */

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
                   "SIGINT, SIGTERM or an unmount of DIR, or until the back-end is gone.",
        .rows = rows,
        .n_rows = ARRAY_SIZE(rows),
        .min_operands = 2,
        .max_operands = 2,
};

/* One request of the kernel's, or of ours to map something, from the time it is read to the time it is answered. */
struct slot {
        uint8_t *in;
        uint8_t *out;
        bool busy;
        unsigned queue;
        struct dax_ask ask; /* needed: the request is ours */
};

struct mount {
        struct oriel_driver *driver;
        struct fuse_session *session;
        struct dax *dax; /* NULL without */
        int fuse_fd;
        int signals;
        int unmounted; /* an eventfd */
        pthread_t unmounter;
        bool unmounting;
        bool over;
        struct slot slots[SLOTS];
        uint64_t served, forwarded;
};

static struct slot *free_slot(struct mount *mount)
{
        for (int i = 0; i < SLOTS; i++)
                if (!mount->slots[i].busy)
                        return &mount->slots[i];
        return NULL;
}

static struct fuse_in_header header_of(const struct slot *slot)
{
        struct fuse_in_header header;

        memcpy(&header, slot->in, sizeof(header));
        return header;
}

/* ---- to the device ---- */

static int forward(struct mount *mount, struct slot *slot, size_t size)
{
        struct fuse_in_header header = header_of(slot);
        bool forget = header.opcode == FUSE_FORGET || header.opcode == FUSE_BATCH_FORGET;
        struct iovec in = {slot->in, size}, out = {slot->out, BUFFER};

        slot->queue = forget ? HIPRIO : REQUESTS;
        slot->busy = true;

        int r = oriel_driver_submit(mount->driver, slot->queue, &in, 1, &out, forget ? 0 : 1, slot);

        if (r == 0)
                r = oriel_driver_kick(mount->driver, slot->queue);
        if (r < 0)
                slot->busy = false;
        return r;
}

/* Ask for a range of the window, if there is a slot to ask with. */
static int ask_mapping(struct mount *mount, const struct dax_ask *ask)
{
        struct slot *slot = free_slot(mount);
        struct fuse_setupmapping_in args = {
                .fh = UINT64_MAX,
                .foffset = ask->file_offset,
                .len = ask->size,
                .flags = FUSE_SETUPMAPPING_FLAG_READ,
                .moffset = ask->window_offset,
        };
        /* The kernel counts its requests up from 0 in twos. */
        struct fuse_in_header header = {
                .len = sizeof(header) + sizeof(args),
                .opcode = FUSE_SETUPMAPPING,
                .unique = UINT64_C(1) << 63 | ask->window_offset,
                .nodeid = ask->nodeid,
        };

        if (!slot) {
                dax_asked(mount->dax, ask, -EAGAIN);
                return 0;
        }
        memcpy(slot->in, &header, sizeof(header));
        memcpy(slot->in + sizeof(header), &args, sizeof(args));
        slot->ask = *ask;
        return forward(mount, slot, header.len);
}

/* ---- to the kernel ---- */

static int answer(struct mount *mount, struct iovec *iov, int n)
{
        ssize_t written = writev(mount->fuse_fd, iov, n);

        /* Whoever asked may have been killed meanwhile, or the mount may be gone. */
        return written >= 0 || errno == ENOENT || errno == ENODEV ? 0 : -errno;
}

/* ---- reads and writes through the window ---- */

static int serve_read(struct mount *mount, struct slot *slot, const struct fuse_in_header *header)
{
        struct fuse_out_header out = {.unique = header->unique};
        struct fuse_read_in in;
        struct dax_ask ask;

        memcpy(&in, slot->in + sizeof(*header), sizeof(in));

        uint8_t *data = dax_find(mount->dax, header->nodeid, in.offset, in.size, &ask);

        if (!data)
                return ask.needed ? ask_mapping(mount, &ask) : 0;
        out.len = (uint32_t)(sizeof(out) + in.size);

        struct iovec iov[2] = {{&out, sizeof(out)}, {data, in.size}};
        int r = answer(mount, iov, 2);

        /* The file has become shorter: the device knows by how much. */
        return r == -EFAULT ? 0 : r < 0 ? r : 1;
}

/* A store that ends in an error instead of a signal where the file has become shorter, or is mapped read-only. */
static bool store(uint8_t *to, const uint8_t *from, size_t size)
{
        struct iovec local = {(void *)(uintptr_t)from, size}, remote = {to, size};

        return process_vm_writev(getpid(), &local, 1, &remote, 1, 0) == (ssize_t)size;
}

static int serve_write(struct mount *mount, struct slot *slot, const struct fuse_in_header *header)
{
        struct fuse_write_in in;
        struct dax_ask ask;
        uint64_t end;

        memcpy(&in, slot->in + sizeof(*header), sizeof(in));
        if (!checked_add(in.offset, in.size, &end) || !dax_reaches(mount->dax, header->nodeid, end))
                return 0;

        uint8_t *data = dax_find(mount->dax, header->nodeid, in.offset, in.size, &ask);

        if (!data)
                return ask.needed ? ask_mapping(mount, &ask) : 0;
        if (!store(data, slot->in + sizeof(*header) + sizeof(in), in.size))
                return 0;

        struct fuse_out_header out = {sizeof(out) + sizeof(struct fuse_write_out), 0, header->unique};
        struct fuse_write_out written = {.size = in.size};
        struct iovec iov[2] = {{&out, sizeof(out)}, {&written, sizeof(written)}};
        int r = answer(mount, iov, 2);

        return r < 0 ? r : 1;
}

static void note_forgets(struct mount *mount, const struct slot *slot, const struct fuse_in_header *header)
{
        struct fuse_batch_forget_in batch;
        struct fuse_forget_one one;

        if (header->opcode == FUSE_FORGET)
                dax_forget(mount->dax, header->nodeid);
        if (header->opcode != FUSE_BATCH_FORGET)
                return;
        memcpy(&batch, slot->in + sizeof(*header), sizeof(batch));
        for (uint32_t i = 0; i < batch.count; i++) {
                memcpy(&one, slot->in + sizeof(*header) + sizeof(batch) + i * sizeof(one), sizeof(one));
                dax_forget(mount->dax, one.nodeid);
        }
}

/* 1: answered here, 0: it is the device's. */
static int serve(struct mount *mount, struct slot *slot, const struct fuse_in_header *header)
{
        if (!mount->dax)
                return 0;
        if (header->opcode == FUSE_READ)
                return serve_read(mount, slot, header);
        if (header->opcode == FUSE_WRITE)
                return serve_write(mount, slot, header);
        note_forgets(mount, slot, header);
        return 0;
}

/* What an answer of the device's tells of a file's size. */
static void note_size(struct mount *mount, const struct slot *slot, uint32_t size)
{
        struct fuse_in_header header = header_of(slot);
        const uint8_t *body = slot->out + sizeof(struct fuse_out_header);
        size_t left = size - sizeof(struct fuse_out_header);
        struct fuse_entry_out entry;
        struct fuse_attr_out attr;
        struct fuse_write_in write;

        if ((header.opcode == FUSE_GETATTR || header.opcode == FUSE_SETATTR) && left >= sizeof(attr)) {
                memcpy(&attr, body, sizeof(attr));
                dax_set_size(mount->dax, header.nodeid, attr.attr.size);
        } else if ((header.opcode == FUSE_LOOKUP || header.opcode == FUSE_CREATE || header.opcode == FUSE_MKNOD) &&
                   left >= sizeof(entry)) {
                memcpy(&entry, body, sizeof(entry));
                dax_set_size(mount->dax, entry.nodeid, entry.attr.size);
        } else if (header.opcode == FUSE_WRITE && left >= sizeof(struct fuse_write_out)) {
                memcpy(&write, slot->in + sizeof(header), sizeof(write));
                dax_grow(mount->dax, header.nodeid, write.offset + write.size);
        }
}

/* ---- the loop ---- */

static int take_answer(struct mount *mount, struct slot *slot, uint32_t written)
{
        struct fuse_out_header header = {0};
        struct iovec iov = {slot->out, written};

        slot->busy = false;
        if (slot->queue == HIPRIO)
                return 0;
        if (written >= sizeof(header))
                memcpy(&header, slot->out, sizeof(header));
        if (slot->ask.needed) {
                slot->ask.needed = false;
                dax_asked(mount->dax, &slot->ask, written < sizeof(header) ? -EIO : header.error);
                return 0;
        }
        if (written < sizeof(header) || header.len != written) {
                header = (struct fuse_out_header){sizeof(header), -EIO, header_of(slot).unique};
                iov = (struct iovec){&header, sizeof(header)};
        } else if (mount->dax && header.error == 0) {
                note_size(mount, slot, written);
        }
        return answer(mount, &iov, 1);
}

static int take_answers(struct mount *mount)
{
        void *token;
        uint32_t written;
        int r = 0;

        for (unsigned queue = HIPRIO; r >= 0 && queue <= REQUESTS; queue++)
                do
                        while ((r = oriel_driver_collect(mount->driver, queue, &token, &written)) == 1) {
                                r = take_answer(mount, token, written);
                                if (r < 0)
                                        return r;
                        }
                while (r == 0 && oriel_driver_sleep(mount->driver, queue));
        return r;
}

/* One request of the kernel's. -ENODEV: unmounted. */
static int take_request(struct mount *mount, struct slot *slot)
{
        ssize_t size = read(mount->fuse_fd, slot->in, BUFFER);

        if (size < 0)
                return errno == EINTR || errno == EAGAIN || errno == ENOENT ? 0 : -errno;

        struct fuse_in_header header = header_of(slot);

        /* virtio-fs has no way to interrupt; the kernel then simply waits on. */
        if (header.opcode == FUSE_INTERRUPT)
                return 0;
        slot->ask.needed = false;
        slot->busy = true;

        int r = serve(mount, slot, &header);

        slot->busy = false;
        mount->served += r == 1;
        mount->forwarded += r == 0;
        return r < 0 ? r : r == 1 ? 0 : forward(mount, slot, (size_t)size);
}

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

static int take_events(struct mount *mount, const struct pollfd *fds, struct slot *slot)
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
                r = take_answers(mount);
        if (r == 0 && fds[5].revents) {
                r = take_request(mount, slot->busy ? free_slot(mount) : slot);
                if (r == -ENODEV) {
                        mount->over = true;
                        r = 0;
                }
        }
        return r;
}

static int run(struct mount *mount)
{
        int r = take_answers(mount);

        while (r == 0 && !mount->over) {
                struct slot *slot = free_slot(mount);
                struct pollfd fds[] = {
                        {.fd = mount->signals, .events = POLLIN},
                        {.fd = mount->unmounted, .events = POLLIN},
                        {.fd = oriel_frontend_get_fd(oriel_driver_frontend(mount->driver)), .events = POLLIN},
                        {.fd = oriel_driver_call_fd(mount->driver, HIPRIO), .events = POLLIN},
                        {.fd = oriel_driver_call_fd(mount->driver, REQUESTS), .events = POLLIN},
                        {.fd = slot ? mount->fuse_fd : -1, .events = POLLIN},
                };

                if (poll(fds, ARRAY_SIZE(fds), -1) > 0)
                        r = take_events(mount, fds, slot);
        }
        return r;
}

/* ---- bringing up and down ---- */

static int open_signals(void)
{
        sigset_t set;

        sigemptyset(&set);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGHUP);
        sigprocmask(SIG_BLOCK, &set, NULL);

        int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);

        return fd < 0 ? -errno : fd;
}

static int open_dax(struct mount *mount)
{
        uint64_t size;
        uint8_t *window = oriel_driver_window(mount->driver, VIRTIO_FS_SHMCAP_ID_CACHE, &size);

        return window ? dax_new(window, size, &mount->dax) : -ENXIO;
}

static int open_driver(struct mount *mount, const char *path, const struct oriel_log *log)
{
        const struct oriel_driver_options options = {
                .struct_size = sizeof(options),
                .log = log,
                .features = ORIEL_FEATURE(VIRTIO_F_RING_PACKED) | ORIEL_FEATURE(VIRTIO_RING_F_INDIRECT_DESC) |
                            ORIEL_FEATURE(VIRTIO_RING_F_EVENT_IDX),
                .queue_size = 128,
                .memory_size = SLOTS * 2 * BUFFER,
                .hole = ORIEL_HOLE_SINK,
        };
        int fd = oriel_socket_connect(path);
        int r = fd < 0 ? fd : oriel_driver_new(&options, fd, &mount->driver);

        if (r == 0 && oriel_driver_queue_count(mount->driver) <= REQUESTS)
                r = -ENODEV;
        for (int i = 0; r == 0 && i < SLOTS; i++) {
                mount->slots[i].in = oriel_driver_alloc(mount->driver, BUFFER);
                mount->slots[i].out = oriel_driver_alloc(mount->driver, BUFFER);
                r = mount->slots[i].in && mount->slots[i].out ? 0 : -ENOMEM;
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
        fail("%s", text);
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

        mount.signals = open_signals();
        mount.unmounted = eventfd(0, EFD_CLOEXEC);
        status = mount_and_run(&mount, operands[0], operands[1], &log);
        close_mount(&mount);
        return status;
}
