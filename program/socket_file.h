/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef PROGRAM_SOCKET_FILE_H
#define PROGRAM_SOCKET_FILE_H

#include <sys/types.h>

/* The file of a listening socket of this process, which is removed at the end unless another process has replaced it.
 * It is found by an open directory, so a change of the working directory or the root does not matter. Zero: none. */
struct socket_file {
        const char *name; /* in its directory; borrowed */
        int directory_fd;
        dev_t device;
        ino_t inode;
};

/* oriel_socket_listen(), and records the new file in @file. @path is borrowed. Errors are reported. */
int socket_file_listen(struct socket_file *file, const char *path);

/* To be called before the listener is closed: afterwards its inode number may be reused by another socket, which would
 * look like this one. */
void socket_file_remove(struct socket_file *file);

/* Leaves the file to another process. */
void socket_file_forget(struct socket_file *file);

/* Text for the user: why a connection failed, by a negative errno. */
const char *socket_words(int error);

#endif
