/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DAEMON_PID_FILE_H
#define DAEMON_PID_FILE_H

/* The locks on files by which others see that this process runs. They belong to the process that was started. The one
 * in the sandbox closes its descriptors by the _forget() functions, which keeps the locks. */

/* A pid file that this process has made, locked while it is open. It is found by an open directory, so a change of the
 * working directory or the root does not matter. Zero: none. */
struct pid_file {
        char *path; /* owned; NULL: none */
        const char *name;
        int fd, directory_fd;
};

/* Writes the own pid to @path with ".pid" appended. The exit status, with the error reported: fails also where another
 * process has the file locked. */
int pid_file_make(struct pid_file *file, const char *path);

/* Removes the file, unless the name belongs to another file by now. */
void pid_file_remove(struct pid_file *file);

/* Leaves the file to another process. */
void pid_file_forget(struct pid_file *file);

#define INHERITED_LOCKS_MAX 8

/* Inherited descriptors of regular files on which this process holds a POSIX lock, as libvirt passes its pid file. Such
 * a lock ends as soon as one of them is closed. Zero: none. */
struct inherited_locks {
        int fds[INHERITED_LOCKS_MAX];
        unsigned n;
};

/* Closes all descriptors but the standard ones, @kept_fd and those for @locks. The exit status, with the error
 * reported. */
int inherited_locks_keep(struct inherited_locks *locks, unsigned kept_fd);

/* Closes those too. */
void inherited_locks_forget(struct inherited_locks *locks);

#endif
