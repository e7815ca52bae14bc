/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CONFORM_COMMON_PROCESS_H
#define CONFORM_COMMON_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The peer's process, which the suite has started in a process group of its own. */
struct process {
        pid_t pid; /* 0: none */
        bool ended;
        int status; /* as of waitpid() */
};

/* Its output is appended to the file @log; NULL: discarded. It ends with this process. 0 or a negative errno. */
int process_start(struct process *process, char **command, const char *log);
bool process_runs(struct process *process);
/* Whether it ends before @deadline_ms, on the clock of now_ms(). */
bool process_ends(struct process *process, int64_t deadline_ms);
/* SIGTERM, and SIGKILL two seconds later, for its whole group. */
void process_stop(struct process *process);
/* Text for the way it ended: "signal 11", "exit status 1". */
void process_describe(const struct process *process, char *out, size_t size);

/* Open descriptors of @pid, or a negative errno. */
int process_count_fds(pid_t pid);

/* The mappings of a file. */
struct mapped {
        unsigned count;
        unsigned writable;
        uint64_t bytes;
};

/* The mappings of @fd's file by @pid, and by all processes of @group. -errno: can't be found out. */
int process_find_mapped(pid_t pid, pid_t group, int fd, struct mapped *out);

#endif
