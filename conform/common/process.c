/* SPDX-License-Identifier: BSD-2-Clause */

/* The process of the peer that is tested. It gets a process group of its own and PR_SET_PDEATHSIG, so it ends with
 * this process and its descendants in the group can be stopped with it. process_runs() is the one place that waits
 * without blocking and notes the status; process_stop() sends SIGTERM, then SIGKILL to the whole group. Every
 * wait of the suite ends by a signal (signals_note()). */

#include "conform/common/process.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "channel/channel.h"
#include "program/signals.h"
#include "program/spawn.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define STOP_PATIENCE_MS 2000
#define LOOK_MS          2

static void process_run_child(char **command, int log, pid_t parent)
{
        int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

        spawn_follow(parent, SIGTERM);
        setpgid(0, 0);
        signal(SIGPIPE, SIG_DFL);
        dup2(null, STDIN_FILENO);
        dup2(log, STDOUT_FILENO);
        dup2(log, STDERR_FILENO);
        execvp(command[0], command);
        dprintf(STDERR_FILENO, "oriel: %s can't be run\n", command[0]);
        _exit(127);
}

int process_start(struct process *process, char **command, const char *log)
{
        _cleanup_(fd_closep) int output =
                open(log ? log : "/dev/null", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        pid_t self = getpid();

        if (output < 0)
                return -errno;

        pid_t pid = fork();

        if (pid < 0)
                return -errno;
        if (pid == 0)
                process_run_child(command, output, self);
        /* Parent and child both do it, so that the group exists whichever runs first. */
        setpgid(pid, pid);
        *process = (struct process){.pid = pid};
        return 0;
}

bool process_runs(struct process *process)
{
        if (process->pid > 0 && !process->ended && waitpid(process->pid, &process->status, WNOHANG) == process->pid)
                process->ended = true;
        return process->pid > 0 && !process->ended;
}

bool process_ends(struct process *process, int64_t deadline_ms)
{
        while (process_runs(process)) {
                if (now_ms() >= deadline_ms || signals_noted())
                        return false;
                usleep(LOOK_MS * 1000);
        }
        return true;
}

void process_stop(struct process *process)
{
        int64_t deadline = now_ms() + STOP_PATIENCE_MS;

        if (process->pid <= 0)
                return;
        kill(-process->pid, SIGTERM);
        while (process_runs(process) && now_ms() < deadline)
                usleep(LOOK_MS * 1000);
        /* Also those processes of its group that outlive it. */
        kill(-process->pid, SIGKILL);
        if (process_runs(process)) {
                waitpid(process->pid, &process->status, 0);
                process->ended = true;
        }
        process->pid = 0;
}

void process_describe(const struct process *process, char *out, size_t size)
{
        if (WIFSIGNALED(process->status))
                snprintf(out, size, "signal %d", WTERMSIG(process->status));
        else
                snprintf(out, size, "exit status %d", WEXITSTATUS(process->status));
}

/* ---- information of /proc ---- */

static void file_closep(FILE **file)
{
        if (*file)
                fclose(*file);
}

static void add_line(const char *line, const struct stat *st, struct mapped *out)
{
        unsigned long begin, end, offset, inode;
        unsigned device_major, device_minor;
        char access[5];

        if (sscanf(line, "%lx-%lx %4s %lx %x:%x %lu", &begin, &end, access, &offset, &device_major, &device_minor,
                   &inode) != 7)
                return;
        if (inode != st->st_ino || device_major != major(st->st_dev) || device_minor != minor(st->st_dev))
                return;
        out->count++;
        out->writable += access[1] == 'w';
        out->bytes += end - begin;
}

static int add_process(pid_t pid, const struct stat *st, struct mapped *out)
{
        char path[64], line[512];

        snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);

        _cleanup_(file_closep) FILE *file = fopen(path, "re");

        if (!file)
                return -errno;
        while (fgets(line, sizeof(line), file))
                add_line(line, st, out);
        return ferror(file) ? -EIO : 0;
}

/* The fifth word of /proc/PID/stat; the second may contain spaces and parentheses. */
static pid_t group_of(pid_t pid)
{
        char path[64], text[512] = "";
        int group = -1;

        snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);

        FILE *file = fopen(path, "re");

        if (!file)
                return -1;

        const char *rest = fgets(text, sizeof(text), file) ? strrchr(text, ')') : NULL;

        fclose(file);
        return rest && sscanf(rest, ") %*c %*d %d", &group) == 1 ? group : -1;
}

static void directory_closep(DIR **dir)
{
        if (*dir)
                closedir(*dir);
}

int process_find_mapped(pid_t pid, pid_t group, int fd, struct mapped *out)
{
        struct stat st;

        *out = (struct mapped){0};
        if (fstat(fd, &st) < 0)
                return -errno;

        int r = add_process(pid, &st, out);
        _cleanup_(directory_closep) DIR *dir = opendir("/proc");

        if (r < 0 || !dir)
                return r < 0 ? r : -errno;
        for (const struct dirent *entry; (entry = readdir(dir));) {
                pid_t other = isdigit((unsigned char)entry->d_name[0]) ? (pid_t)strtol(entry->d_name, NULL, 10) : 0;

                if (other > 0 && other != pid && group > 0 && group_of(other) == group)
                        add_process(other, &st, out);
        }
        return 0;
}

int process_count_fds(pid_t pid)
{
        char path[64];
        int n = 0;

        snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);

        _cleanup_(directory_closep) DIR *dir = opendir(path);

        if (!dir)
                return -errno;
        for (const struct dirent *entry; (entry = readdir(dir));)
                n += entry->d_name[0] != '.';
        return n;
}
