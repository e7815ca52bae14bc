/* SPDX-License-Identifier: BSD-2-Clause */

/* "oriel run": options, console, control socket and signals of a machine, and the loop that serves them. The machine
 * itself is vmm/machine/machine.c. All this runs in a child; the process that the user has started becomes the
 * broker (cli/run/broker.c), which keeps the rights that the machine's process gives up, and exits with its status
 * without waiting for anything that a back-end can make that process wait for. */

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/limits.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/run/broker.h"
#include "cli/run/devices.h"
#include "program/options.h"
#include "program/report.h"
#include "program/sanitized.h"
#include "program/signals.h"
#include "vmm/arch/arch.h"
#include "vmm/control/control.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/sandbox.h"
#include "vmm/platform/console.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *kernel;
static const char *initrd;
static const char *cmdline = "";
static uint64_t memory = UINT64_C(1) << 30;
static bool huge_pages;
static unsigned cpus = 1;
static struct run_device_options devices;
static const char *console_name = "stdio";
static const char *control;
/* The sandbox's filter does not have the system calls of a sanitizer's runtime. */
static const char *sandbox = SANITIZED ? "off" : "on";
static bool verbose;

static const struct option_row rows[] = {
        {"kernel", OPTION_STRING, &kernel, "FILE", arch_kernels},
        {"initrd", OPTION_STRING, &initrd, "FILE", "an initial file system for it"},
        {"cmdline", OPTION_STRING, &cmdline, "TEXT", "the kernel's command line"},
        {"memory", OPTION_SIZE, &memory, "SIZE", "guest memory (default: 1G)"},
        {"hugepages", OPTION_FLAG, &huge_pages, NULL, "guest memory is of the host's huge pages of 2 MiB"},
        {"cpus", OPTION_NUMBER, &cpus, "N", "vcpus, 1 to 64 (default: 1)"},
        {"share", OPTION_LIST, &devices.shares, "SHARE",
         "DIR,tag=TAG[,dax=SIZE][,readonly][,request-queues=N][,threads=N][,option=OPTION]: a\n"
         "                             directory, by an oriel-fs of its own, which is started again if it ends;\n"
         "                             repeatable, and option too"},
        {"pmem", OPTION_LIST, &devices.pmems, "PMEM",
         "FILE[,readonly][,size=SIZE][,option=OPTION]: a disk image in the guest's memory, /dev/pmem0\n"
         "                             in Linux, by an oriel-pmem of its own; repeatable"},
        {"gpu", OPTION_LIST, &devices.gpus, "GPU",
         "[window=SIZE][,wayland=SOCKET][,vnc=ADDRESS][,option=OPTION]: a GPU, by an oriel-gpu of its\n"
         "                             own, which is started again if it ends",
         .bare = ""},
        {"camera", OPTION_LIST, &devices.cameras, "CAMERA",
         "source=WHAT|device=PATH[,format=FORMAT][,fps=N][,card=NAME][,window=SIZE][,option=OPTION]: a\n"
         "                             camera, or a V4L2 device of this host, by an oriel-media of its own;\n"
         "                             repeatable"},
        {"net", OPTION_LIST, &devices.nets, "NET",
         "[mode=passt|socket=PATH][,mac=MAC][,mtu=N][,pairs=N][,forward=tcp:HOST:GUEST][,option=OPTION]:\n"
         "                             a network, by a passt of its own, or by a back-end that listens at PATH; "
         "repeatable,\n"
         "                             and forward and option too",
         .bare = ""},
        {"disk", OPTION_LIST, &devices.disks, "DISK",
         "FILE[,format=raw|qcow2][,readonly][,queues=N][,option=OPTION]: a disk image, /dev/vda in\n"
         "                             Linux, by a qemu-storage-daemon of its own; repeatable"},
        {"vsock", OPTION_LIST, &devices.vsocks, "VSOCK",
         "uds=PATH[,cid=N][,option=OPTION]: sockets between host and guest, by a vhost-device-vsock\n"
         "                             of its own"},
        {"rng", OPTION_STRING, &devices.rng, "STATE",
         "on or off: random numbers of this host, by an oriel-rng (default: on where it is installed)"},
        {"device", OPTION_LIST, &devices.devices, "DEVICE",
         "socket=PATH[,virtio-id=N][,queues=N][,queue-size=N][,dialect=NAME]: a back-end that\n"
         "                             listens there (virtio-id: 26, a file system); repeatable"},
        {"allow-remote-files", OPTION_FLAG, &devices.allow_remote_files, NULL,
         "map files that a server in user space or another machine serves, too: the guest\n"
         "                             may wait for that one"},
        {"console", OPTION_STRING, &console_name, "WHERE",
         "the serial port: stdio, pty, file:PATH, unix:PATH (a socket) or none (default: stdio)"},
        {"control", OPTION_STRING, &control, "PATH", "a QMP server on this Unix socket"},
        {"sandbox", OPTION_STRING, &sandbox, "STATE",
         "on or off: give up what a running machine does not need (default: on)"},
        {"verbose", OPTION_FLAG, &verbose, NULL, "say more"},
};

static const struct program program = {
        .name = "oriel run",
        .operands = "",
        .summary = "Run a virtual machine with KVM, whose devices are vhost-user back-ends: any device by --device,\n"
                   "directories by --share. Shared memory regions show up in the guest as windows (a PCI BAR).\n"
                   "On a terminal Ctrl-] ends the machine; SIGINT and SIGTERM do so anywhere.",
        .rows = rows,
        .n_rows = ARRAY_SIZE(rows),
};

/* The state of the loop. */
struct run {
        struct machine *machine;
        struct console *console;
        struct broker *broker;
        struct control *control;
        struct oriel_log log;
        int signals;
        bool reset_wanted; /* a client of --control asked for it */
        bool over;
        int status;
        const char *ended_by; /* the event's word for what ended it; NULL: the machine has ended by itself */
};

static void run_end(struct run *run, int status)
{
        run->over = true;
        run->status = status;
}

/* Ends the machine for a reason outside of it. */
static void end_by(struct run *run, const char *who)
{
        if (!run->over)
                run->ended_by = who;
        run_end(run, STATUS_SUCCESS);
}

/* ---- the console ---- */

static void terminal_output(void *userdata, const uint8_t *data, size_t size)
{
        struct run *run = userdata;

        console_output(run->console, data, size);
}

static void terminal_room(void *userdata)
{
        struct run *run = userdata;

        console_resume(run->console);
}

static size_t terminal_input(void *userdata, const uint8_t *data, size_t size)
{
        struct run *run = userdata;

        return machine_input(run->machine, data, size);
}

static void read_console(struct run *run)
{
        if (console_read(run->console, terminal_input, run) == -ECANCELED)
                end_by(run, "host-ui");
}

/* ---- what happens to the machine ---- */

static void machine_restart(struct run *run)
{
        char why[256];

        if (machine_reset(run->machine, why, sizeof(why)) < 0)
                run_end(run, fail("reset: %s", why));
}

static void say_device(const struct machine_event *event)
{
        struct virtio_info info;

        virtio_get_info(event->device, &info);
        if (event->kind == MACHINE_DEVICE_TAKEN)
                report("%s is taken away until its driver resets it: %s", info.name, event->text);
        else if (event->kind == MACHINE_DEVICE_DOWN)
                report("%s: %s; the device stands still until there is a back-end again", info.name, event->text);
        else if (info.connections > 1)
                report("%s: the back-end is there again", info.name);
}

static void run_handle(struct run *run, const struct machine_event *event)
{
        switch (event->kind) {
        case MACHINE_SHUTDOWN:
                run_end(run, STATUS_SUCCESS);
                break;
        case MACHINE_RESET:
                machine_restart(run);
                break;
        case MACHINE_FAILED:
                run_end(run, fail("%s", event->text));
                break;
        case MACHINE_FAULT:
                report("the machine is paused: %s", event->text);
                break;
        case MACHINE_DEVICE_TAKEN:
        case MACHINE_DEVICE_DOWN:
        case MACHINE_DEVICE_UP:
                say_device(event);
                break;
        case MACHINE_MAP_REFUSED:
        case MACHINE_UNMAP_REFUSED:
                break;
        }
}

static void handle_events(struct run *run)
{
        struct machine_event event;

        while (!run->over && machine_next_event(run->machine, &event)) {
                if (run->control)
                        control_event(run->control, &event);
                run_handle(run, &event);
        }
}

/* ---- what a client of --control asks for ---- */

static void want_quit(void *userdata)
{
        end_by(userdata, "host-qmp-quit");
}

static void want_reset(void *userdata)
{
        struct run *run = userdata;

        run->reset_wanted = true;
}

static void serve_control(struct run *run)
{
        control_dispatch(run->control);
        if (run->reset_wanted && !run->over) {
                machine_restart(run);
                control_reset(run->control, "host-qmp-system-reset");
        }
        run->reset_wanted = false;
}

static void wait_once(struct run *run)
{
        struct console_fds console = console_get_fds(run->console);
        int control_fd = run->control ? control_get_fd(run->control) : -1;
        struct pollfd fds[] = {
                {.fd = run->signals, .events = POLLIN},
                {.fd = machine_get_fd(run->machine), .events = POLLIN},
                {.fd = console.in, .events = console.in_events},
                {.fd = console.out, .events = POLLOUT},
                {.fd = console.wake, .events = POLLIN},
                {.fd = control_fd, .events = POLLIN},
                {.fd = machine_get_timer_fd(run->machine), .events = POLLIN},
        };

        if (poll(fds, ARRAY_SIZE(fds), console.pending ? 0 : -1) < 0)
                return;
        if (fds[0].revents)
                end_by(run, "host-signal");
        if (fds[1].revents)
                handle_events(run);
        if (fds[2].revents || console.pending)
                read_console(run);
        if (fds[3].revents || fds[4].revents)
                console_flush(run->console);
        if (fds[5].revents && !run->over)
                serve_control(run);
        if (fds[6].revents)
                machine_tick(run->machine);
}

/* ---- setting up ---- */

static int run_open_file(const char *option, const char *path)
{
        int fd = open(path, O_RDONLY | O_CLOEXEC);

        if (fd < 0)
                report("--%s: %s: %s", option, path, strerror(errno));
        return fd;
}

/* The kind of console, or -1; @path is what follows the name of one that has a path. */
static int parse_console(const char **path)
{
        static const struct {
                const char *name;
                bool has_path;
        } kinds[] = {
                [CONSOLE_STDIO] = {"stdio", false}, [CONSOLE_PTY] = {"pty", false},   [CONSOLE_FILE] = {"file:", true},
                [CONSOLE_SOCKET] = {"unix:", true}, [CONSOLE_NONE] = {"none", false},
        };

        *path = NULL;
        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
                const size_t size = strlen(kinds[i].name);

                if (strncmp(console_name, kinds[i].name, size) != 0 || !console_name[size] == kinds[i].has_path)
                        continue;
                *path = kinds[i].has_path ? console_name + size : NULL;
                return (int)i;
        }
        return -1;
}

static int run_check_usage(void)
{
        const char *wrong = NULL, *path;

        if (!kernel)
                wrong = "--kernel is missing";
        else if (cpus < 1 || cpus > KVM_MAX_CPUS)
                wrong = "--cpus: 1 to 64";
        else if (memory < 16 << 20 || memory % (2 << 20) != 0 || memory > UINT64_C(1) << 40)
                wrong = "--memory: 16M to 1T, in steps of 2M";
        else if (parse_console(&path) < 0)
                wrong = "--console: stdio, pty, file:PATH, unix:PATH or none";
        else if (strcmp(sandbox, "on") != 0 && strcmp(sandbox, "off") != 0)
                wrong = "--sandbox: on or off";
        return wrong ? options_wrong_usage(&program, "%s", wrong) : -1;
}

static int make_machine(struct run *run, const struct run_devices *from, int kernel_fd, int initrd_fd)
{
        const struct machine_options options = {
                .memory = memory,
                .huge_pages = huge_pages,
                .cpus = cpus,
                .kernel = kernel,
                .kernel_fd = kernel_fd,
                .initrd_fd = initrd_fd,
                .cmdline = cmdline,
                .devices = from->devices,
                .n_devices = from->n,
                .allow_remote_files = devices.allow_remote_files,
                .output = terminal_output,
                .room = terminal_room,
                .userdata = run,
                .log = &run->log,
        };
        char why[256];

        return machine_new(&options, &run->machine, why, sizeof(why)) < 0 ? fail("%s", why) : STATUS_SUCCESS;
}

/* Enters the sandbox as the last step before the guest runs. */
static int start_machine(struct run *run)
{
        int r = strcmp(sandbox, "on") == 0 ? machine_sandbox_enter() : 0;

        if (r < 0)
                return fail("no sandbox: %s: --sandbox=off does without", strerror(-r));
        r = machine_start(run->machine);
        return r < 0 ? fail("no thread for a vcpu: %s", strerror(-r)) : STATUS_SUCCESS;
}

static int run_events(struct run *run)
{
        if (console_path(run->console))
                report("the console is at %s", console_path(run->console));
        if (console_is_terminal(run->console))
                report("Ctrl-] ends the machine");
        while (!run->over)
                wait_once(run);
        if (run->control && run->ended_by)
                control_shutdown(run->control, false, run->ended_by);
        return run->status;
}

static int start_control(struct run *run, int listener)
{
        const struct control_ops ops = {want_quit, want_reset, run};
        int r = listener < 0 ? 0 : control_new(run->machine, listener, &ops, &run->log, &run->control);

        return r < 0 ? fail("--control: %s", strerror(-r)) : STATUS_SUCCESS;
}

/* @listener: the console's, or -1. A file is continued. A pipe or a device must not make this process wait. */
static int open_console(struct run *run, int listener)
{
        const char *path;
        enum console_kind kind = (enum console_kind)parse_console(&path);
        _cleanup_(fd_closep) int fd =
                kind == CONSOLE_FILE
                        ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600)
                        : listener;

        if (kind == CONSOLE_FILE && fd < 0)
                return fail("--console: %s: %s", path, strerror(errno));

        int r = signals_open();

        run->signals = r;
        if (r >= 0)
                r = console_new(kind, fd_take(&fd), &run->console);
        if (r < 0)
                return fail("--console: %s", strerror(-r));
        broker_say_ready(run->broker, console_is_terminal(run->console));
        return STATUS_SUCCESS;
}

/* Steps that other processes can block come last: machine_end() has told that by then, and the broker has the
 * status. */
static void end_machine(struct run *run, int status)
{
        bool ended;

        control_free(run->control);
        ended = machine_end(run->machine);
        console_end(run->console);
        broker_say_end(run->broker, status);
        if (!ended) {
                /* The reader of standard output must not have to wait for this process either. */
                for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
                        fd_close(fd);
                _exit(status);
        }
        machine_free(run->machine);
        console_free(run->console);
}

static int run_machine(struct run *run, const struct run_devices *from, const struct broker_files *files)
{
        _cleanup_(fd_closep) int kernel_fd = run_open_file("kernel", kernel);
        _cleanup_(fd_closep) int initrd_fd = kernel_fd >= 0 && initrd ? run_open_file("initrd", initrd) : -1;
        _cleanup_(fd_closep) int control_fd = files->control.fd, console_fd = files->console.fd;

        if (kernel_fd < 0 || (initrd && initrd_fd < 0))
                return STATUS_FAILURE;

        int status = make_machine(run, from, kernel_fd, initrd_fd);

        /* Until here signals have their default action. */
        if (status == STATUS_SUCCESS)
                status = open_console(run, fd_take(&console_fd));
        if (status == STATUS_SUCCESS)
                status = start_control(run, fd_take(&control_fd));
        if (status == STATUS_SUCCESS)
                status = start_machine(run);
        if (status == STATUS_SUCCESS)
                status = run_events(run);
        end_machine(run, status);
        return status;
}

int command_run(int argc, char **argv)
{
        _cleanup_(run_devices_free) struct run_devices from = {0};
        int status = options_parse(&program, argc, argv, NULL);

        if (status < 0)
                status = run_check_usage();
        if (status < 0)
                status = run_devices_parse(&from, &devices);
        if (status >= 0)
                return status;
        /* Each mapping keeps a descriptor. */
        limit_raise_fds();
        /* With more arenas, the C library reads the number of CPUs from a file, which the sandbox forbids. */
        mallopt(M_ARENA_MAX, 2);

        struct run run = {.log = stderr_log(verbose), .signals = -1};
        struct broker_files files = {.folder = from.folder[0] ? from.folder : NULL, .control.path = control};

        if (parse_console(&files.console.path) != CONSOLE_SOCKET)
                files.console.path = NULL;

        status = broker_new(from.items, from.n, &files, &run.broker);
        if (!run.broker)
                return status;
        run_devices_use(&from, run.broker);
        status = run_machine(&run, &from, &files);
        broker_free(run.broker);
        fd_close(run.signals);
        return status;
}
