/* SPDX-License-Identifier: BSD-2-Clause */

/* The sandbox of every daemon. sandbox_enter() clones a process with the namespaces that the mode asks for; the parent
 * writes the maps of users and groups, then one byte to a pipe, and the child, which waits for that byte, changes its
 * ids and its root. The parent keeps the pipe open, so that the child finds out if it ends early. It must run before
 * any thread is started.
 *
 * Order in the child: /proc/self/fd is opened before the root changes, PR_SET_PDEATHSIG is set again after the ids
 * have changed, and capabilities go last, by the daemon's call of sandbox_drop_capabilities(). */

#include "daemon/sandbox.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "daemon/id_range.h"
#include "program/report.h"
#include "program/sanitized.h"
#include "program/signals.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#if SANITIZED
/* The sanitizer's search for leaks does not work in a sandbox without /proc. */
int __lsan_is_turned_off(void);

static bool has_no_proc;

int __lsan_is_turned_off(void)
{
        return has_no_proc;
}
#endif

/* ---- capabilities ---- */

/* Calls @change for each part of --modcaps. False: a part is no capability, or has no sign. */
static bool for_each_change(const char *text, void (*change)(capng_act_t action, int capability))
{
        while (text && *text) {
                size_t size = strcspn(text, ":");
                char name[64];

                if (size < 2 || size > sizeof(name) || (text[0] != '+' && text[0] != '-'))
                        return false;
                memcpy(name, text + 1, size - 1);
                name[size - 1] = '\0';

                int capability = capng_name_to_capability(name);

                if (capability < 0)
                        return false;
                change(text[0] == '+' ? CAPNG_ADD : CAPNG_DROP, capability);
                text += size + (text[size] == ':');
        }
        return true;
}

static void change_nothing(capng_act_t action, int capability)
{
}

static void change_one(capng_act_t action, int capability)
{
        capng_update(action, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET, (unsigned)capability);
}

static bool maps_users(const struct sandbox_options *options)
{
        return options->uid_maps.n > 0 || options->gid_maps.n > 0;
}

static bool has_user_namespace(const struct sandbox_options *options)
{
        return options->mode == SANDBOX_NAMESPACE && (geteuid() != 0 || maps_users(options));
}

/* A user namespace without given ranges maps one id: its own. */
static bool maps_one(const struct option_list *maps)
{
        struct id_range range = {.count = 1};

        if (maps->n == 1)
                id_range_parse(maps->values[0], &range);
        return maps->n <= 1 && range.count == 1;
}

/* With only one user and one group in the namespace, there is no other user to act for, and all new files are its
 * own. */
static bool is_alone(const struct sandbox_options *options)
{
        return has_user_namespace(options) && maps_one(&options->uid_maps) && maps_one(&options->gid_maps);
}

int sandbox_drop_capabilities(const struct sandbox_options *options)
{
        bool had[CAP_LAST_CAP + 1] = {false};

        if (capng_get_caps_process() < 0)
                return -EPERM;

        for (int i = 0; i <= CAP_LAST_CAP; i++)
                had[i] = capng_have_capability(CAPNG_PERMITTED, (unsigned)i);
        capng_clear(CAPNG_SELECT_BOTH);
        for (int i = 0; i <= CAP_LAST_CAP; i++)
                if (options->capabilities & UINT64_C(1) << i)
                        change_one(CAPNG_ADD, i);
        for_each_change(options->modcaps, change_one);
        for (int i = 0; i <= CAP_LAST_CAP; i++)
                if (!had[i])
                        change_one(CAPNG_DROP, i);
        if (is_alone(options)) {
                change_one(CAPNG_DROP, CAP_SETUID);
                change_one(CAPNG_DROP, CAP_SETGID);
        }
        /* Dropping the bounding set needs CAP_SETPCAP. It concerns only programs that are executed, and none is. */
        return capng_apply(had[CAP_SETPCAP] ? CAPNG_SELECT_BOTH : CAPNG_SELECT_CAPS) < 0 ? -EPERM : 0;
}

/* ---- users ---- */

/* The kernel accepts less than a page of ranges. */
#define RANGES_MOST 4096

const char *sandbox_check(const struct sandbox_options *options)
{
        struct id_range range;

        for (unsigned i = 0; i < options->uid_maps.n; i++)
                if (id_range_parse(options->uid_maps.values[i], &range) < 0)
                        return "--uid-map: a range is :INSIDE:OUTSIDE:COUNT:";
        for (unsigned i = 0; i < options->gid_maps.n; i++)
                if (id_range_parse(options->gid_maps.values[i], &range) < 0)
                        return "--gid-map: a range is :INSIDE:OUTSIDE:COUNT:";
        if (maps_users(options) && options->mode != SANDBOX_NAMESPACE)
                return "--uid-map and --gid-map are for --sandbox=namespace";
        if (!for_each_change(options->modcaps, change_nothing))
                return "--modcaps: a list such as +dac_read_search:-mknod is needed";
        return NULL;
}

static int daemon_sandbox_write_file(pid_t pid, const char *name, const char *text)
{
        char path[64];

        snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);

        _cleanup_(fd_closep) int fd = open(path, O_WRONLY | O_CLOEXEC);

        return fd < 0 || write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

/* newuidmap(1) and newgidmap(1) may map the ids that /etc/subuid and /etc/subgid grant to the user. Divides @ranges
 * into their arguments. */
static int run_helper(const char *program, pid_t pid, char *ranges)
{
        char number[12], *arguments[3 * OPTION_LIST_MAX + 3] = {strdupa(program), number};
        size_t n = 2;
        int status;

        snprintf(number, sizeof(number), "%d", (int)pid);
        /* Each number is followed by one character. */
        for (char *at = ranges; *at; at++) {
                arguments[n++] = at;
                at += strcspn(at, " \n");
                *at = '\0';
        }

        pid_t helper = fork();

        if (helper == 0) {
                execvp(program, arguments);
                report("%s: %s (package uidmap)", program, strerror(errno));
                _exit(STATUS_FAILURE);
        }
        if (helper < 0 || waitpid(helper, &status, 0) < 0)
                return -errno;
        return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EPERM;
}

/* The users or the groups. */
struct ids_to_map {
        const char *file, *helper;
        const struct option_list *maps;
        uint32_t own;
};

/* Whether only the process's own id is mapped, which needs no privilege. */
static bool is_own(const struct ids_to_map *kind, struct id_range *range)
{
        *range = (struct id_range){kind->own, kind->own, 1};
        if (kind->maps->n > 0)
                id_range_parse(kind->maps->values[0], range);
        return kind->maps->n <= 1 && range->outside == kind->own && range->count == 1;
}

static int map_ids(pid_t pid, const struct ids_to_map *kind)
{
        struct id_range range;
        const bool own = is_own(kind, &range);
        char text[OPTION_LIST_MAX * sizeof("4294967295 4294967295 4294967295\n")];
        size_t at = 0;

        /* The kernel's format: a line for each range. */
        for (unsigned i = 0; i < kind->maps->n || i == 0; i++) {
                if (!own)
                        id_range_parse(kind->maps->values[i], &range);
                at += (size_t)snprintf(text + at, sizeof(text) - at, "%u %u %u\n", range.inside, range.outside,
                                       range.count);
        }
        if (!own && geteuid() != 0)
                return run_helper(kind->helper, pid, text);
        return at < RANGES_MOST ? daemon_sandbox_write_file(pid, kind->file, text) : -E2BIG;
}

/* Maps the users and groups of @pid, which is in a new user namespace. An unprivileged user must not let a process
 * leave a group that denies it something: the kernel permits mapping one's own group only after setgroups() was denied
 * for good. */
static int map_users(const struct sandbox_options *options, pid_t pid)
{
        const struct ids_to_map users = {"uid_map", "newuidmap", &options->uid_maps, geteuid()},
                                groups = {"gid_map", "newgidmap", &options->gid_maps, getegid()};
        struct id_range range;
        int r = geteuid() != 0 && is_own(&groups, &range) ? daemon_sandbox_write_file(pid, "setgroups", "deny") : 0;

        if (r == 0)
                r = map_ids(pid, &users);
        return r == 0 ? map_ids(pid, &groups) : r;
}

/* The first id of the ranges, or root where a range has it. */
static uint32_t first_inside(const struct option_list *maps)
{
        struct id_range first = {0}, range;

        for (unsigned i = 0; i < maps->n; i++) {
                id_range_parse(maps->values[i], &range);
                if (i == 0 || range.inside == 0)
                        first = range;
        }
        return first.inside;
}

/* The ids of the daemon outside may not exist inside. */
static int sandbox_become(const struct sandbox_options *options)
{
        if (!maps_users(options))
                return 0;

        uid_t uid = options->uid_maps.n > 0 ? first_inside(&options->uid_maps) : geteuid();
        gid_t gid = options->gid_maps.n > 0 ? first_inside(&options->gid_maps) : getegid();

        /* A change to a user other than root would drop the namespace's capabilities. */
        prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
        /* Denied where only the own group is mapped: then the groups from outside remain. */
        if (setgroups(0, NULL) < 0 && errno != EPERM)
                return -errno;
        if (setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
                return -errno;
        return 0;
}

/* ---- files ---- */

/* A detached mount has no parent: not even a compromised process gets from it to the rest of /proc. Needs
 * CAP_SYS_ADMIN. */
static int open_proc(bool must_be_detached)
{
        int fd = (int)syscall(SYS_open_tree, AT_FDCWD, "/proc/self/fd", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

        if (fd < 0 && !must_be_detached)
                fd = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                report("/proc/self/fd: %s", strerror(errno));
        return fd < 0 ? -errno : fd;
}

static int sandbox_failed(const char *what)
{
        int error = errno;

        report("--sandbox: %s: %s (--sandbox=none does without)", what, strerror(error));
        return -error;
}

/* An initramfs can't be replaced by pivot_root(2) (EINVAL), so it is covered. */
static int cover_root(void)
{
        if (mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 || chdir("/") < 0)
                return sandbox_failed("covering the root");
        return 0;
}

/* Device nodes, which the guest's root may create in the share, open no device here, and no program can be executed.
 * Only these mounts are concerned: the host and the front-end use the files as before. */
static int restrict_mounts(const char *dir)
{
        struct mount_attr attributes = {.attr_set = MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC};

        return (int)syscall(SYS_mount_setattr, AT_FDCWD, dir, AT_RECURSIVE, &attributes, sizeof(attributes));
}

/* Makes @dir the root, and hides the rest. File systems that are mounted below it later still appear (MS_SLAVE). */
static int sandbox_pivot(const char *dir)
{
        /* Any directory will do for mounting the empty one, as all else is hidden. */
        const char *root = dir ? dir : "/proc";

        if (mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0)
                return sandbox_failed("making mounts one's own");
        if (dir && mount(dir, dir, NULL, MS_BIND | MS_REC, NULL) < 0)
                return sandbox_failed("mounting the shared directory");
        if (dir && restrict_mounts(dir) < 0)
                return sandbox_failed("mounting the shared directory without devices");
        /* An empty directory in which nothing can be created. */
        if (!dir && mount("empty", root, "tmpfs", MS_RDONLY | MS_NODEV | MS_NOSUID | MS_NOEXEC, "size=4k") < 0)
                return sandbox_failed("mounting an empty directory");
        if (chdir(root) < 0)
                return sandbox_failed(root);
        if (syscall(SYS_pivot_root, ".", ".") < 0)
                return errno == EINVAL ? cover_root() : sandbox_failed("pivot_root");
        if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
                return sandbox_failed("leaving the old root");
        return 0;
}

static int enter_namespace(const struct sandbox_options *options, int *proc_fd)
{
        _cleanup_(fd_closep) int fd = open_proc(true);
        int r = fd < 0 ? fd : sandbox_pivot(options->root);

        if (r == 0)
                *proc_fd = fd_take(&fd);
        return r;
}

/* Nothing can be created in a removed directory. */
static int enter_removed_directory(void)
{
        char path[] = "/tmp/oriel-XXXXXX";
        int r;

        if (!mkdtemp(path))
                return -1;
        r = chdir(path);
        rmdir(path);
        return r;
}

static int enter_chroot(const struct sandbox_options *options, int *proc_fd)
{
        _cleanup_(fd_closep) int fd = open_proc(false);

        if (fd < 0)
                return fd;
        if (options->root ? chdir(options->root) < 0 : enter_removed_directory() < 0)
                return sandbox_failed("chroot");
        if (chroot(".") < 0 || chdir("/") < 0)
                return sandbox_failed("chroot");
        *proc_fd = fd_take(&fd);
        return 0;
}

/* ---- processes ---- */

/* Time to complete work after a signal, on a slow disk perhaps; and after SIGKILL. */
enum { ASKED_MS = 10000, KILLED_MS = 1000 };

static bool has_hung_up(int fd)
{
        struct pollfd hangup = {.fd = fd};

        return poll(&hangup, 1, 0) == 1;
}

/* In the new process, which waits until the parent has mapped its ids. */
static int sandbox_settle(const struct sandbox_options *options, int ready_fd, int *proc_fd)
{
        char byte;
        int r;

        /* When the parent ends, this process is killed. */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
#if SANITIZED
        has_no_proc = true;
#endif
        if (read(ready_fd, &byte, 1) != 1)
                return -ECHILD;
        r = sandbox_become(options);
        if (r < 0) {
                report("--uid-map, --gid-map: %s", strerror(-r));
                return r;
        }
        /* The change of ids has reset this. If the parent has ended before, there is no signal: the pipe shows it. */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (has_hung_up(ready_fd))
                return -ECHILD;
        return options->mode == SANDBOX_NAMESPACE ? enter_namespace(options, proc_fd) : enter_chroot(options, proc_fd);
}

static pid_t start_process(const struct sandbox_options *options)
{
        unsigned long flags = SIGCHLD;

        if (options->mode == SANDBOX_NAMESPACE)
                flags |= CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;
        if (has_user_namespace(options))
                flags |= CLONE_NEWUSER;

        pid_t pid = (pid_t)syscall(SYS_clone, flags, NULL, NULL, NULL, 0);

        return pid < 0 ? sandbox_failed(options->mode == SANDBOX_NAMESPACE ? "making namespaces" : "a process") : pid;
}

pid_t sandbox_enter(const struct sandbox_options *options, int *proc_fd)
{
        int ready[2];

        if (options->mode == SANDBOX_NONE) {
                *proc_fd = open_proc(false);
                return *proc_fd < 0 ? *proc_fd : 0;
        }
        if (pipe2(ready, O_CLOEXEC) < 0)
                return sandbox_failed("a pipe");

        pid_t pid = start_process(options);

        if (pid == 0) {
                int r;

                fd_close(ready[1]);
                r = sandbox_settle(options, ready[0], proc_fd);
                fd_close(ready[0]);
                /* The parent does the cleaning up. */
                if (r < 0)
                        _exit(STATUS_FAILURE);
                return 0;
        }
        fd_close(ready[0]);

        int r = pid > 0 && has_user_namespace(options) ? map_users(options, pid) : 0;

        if (r < 0)
                report("the users of the sandbox can't be mapped: %s", strerror(-r));
        /* Without the byte, the child ends. */
        if (pid > 0 && r == 0 && write(ready[1], "", 1) != 1)
                report("the sandbox: %s", strerror(errno));
        /* Kept open while this process lives: the child detects its end by the pipe. */
        if (pid < 0 || r < 0)
                fd_close(ready[1]);
        return pid;
}

int sandbox_supervise(pid_t pid, int signals)
{
        _cleanup_(fd_closep) int pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
        struct pollfd fds[] = {{.fd = pid_fd, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
        struct signalfd_siginfo info;
        int64_t expiry = -1;
        bool killed = false;
        int status;

        /* Without it, the blocked signals could not be passed on. */
        if (pid_fd < 0) {
                report("pidfd_open: %s", strerror(errno));
                kill(pid, SIGKILL);
        }
        while (pid_fd >= 0 && !fds[0].revents) {
                int n = poll(fds, ARRAY_SIZE(fds), poll_timeout(expiry));

                if (n == 0 && killed)
                        return fail("the process in the sandbox does not end, and was killed: it waits for a disk or"
                                    " for the server of a file");
                if (n == 0) {
                        kill(pid, SIGKILL);
                        killed = true;
                        expiry = now_ms() + KILLED_MS;
                }
                if (n <= 0 || !fds[1].revents || read(signals, &info, sizeof(info)) != sizeof(info))
                        continue;
                kill(pid, (int)info.ssi_signo);
                if (expiry < 0 && signal_asks_end(info.ssi_signo))
                        expiry = now_ms() + ASKED_MS;
        }
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return STATUS_FAILURE;
        if (WIFEXITED(status))
                return WEXITSTATUS(status);
        return fail("the process in the sandbox was ended by signal %d%s", WTERMSIG(status),
                    WTERMSIG(status) == SIGSYS ? ", a system call that it has no use for" : "");
}
