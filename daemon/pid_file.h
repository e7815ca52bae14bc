/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DAEMON_PID_FILE_H
#define DAEMON_PID_FILE_H

/* How others know that this process is there: the locks that it holds on files. They belong to the process that was
 * started. The one in the sandbox gives its descriptors back by the _forget() functions, which leaves the locks. */

/* A pid file that this process has made, locked as long as it is open, and found by its directory, wherever the working
 * directory and the root are by then. Zero: none. */
struct pid_file {
        char *path; /* owned; NULL: none */
        const char *name;
        int fd, directory_fd;
};

/* Write the own pid to @path with ".pid" behind it. The exit status, with everything said: it fails also where another
 * process has that file locked. */
int pid_file_make(struct pid_file *file, const char *path);

/* Remove the file, unless its name is another's by then. */
void pid_file_remove(struct pid_file *file);

/* Leave the file to another process. */
void pid_file_forget(struct pid_file *file);

#define INHERITED_LOCKS_MAX 8

/* The inherited descriptors of regular files on which this process holds a POSIX lock, as libvirt passes its pid file.
 * Such a lock is gone as soon as one of them is closed. Zero: none. */
struct inherited_locks {
        int fds[INHERITED_LOCKS_MAX];
        unsigned n;
};

/* Close every descriptor but the standard ones, @kept_fd and those for @locks. The exit status, with everything said.
 */
int inherited_locks_keep(struct inherited_locks *locks, unsigned kept_fd);

/* Close those too. */
void inherited_locks_forget(struct inherited_locks *locks);

#endif
