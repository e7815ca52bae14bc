/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef PROGRAM_SOCKET_FILE_H
#define PROGRAM_SOCKET_FILE_H

#include <sys/types.h>

/* The file of a socket that this process has made, which it removes unless it is another's by then. It is found by its
 * directory, wherever the working directory and the root are by then. Zero: none. */
struct socket_file {
        const char *name; /* in its directory; borrowed */
        int directory_fd;
        dev_t device;
        ino_t inode;
};

/* oriel_socket_listen(), and @file for what that has made. @path is borrowed. An error is reported in words. */
int socket_file_listen(struct socket_file *file, const char *path);

/* To be called before the listener is closed: an inode that nobody has open may be given to another's socket, which
 * would look like ours. */
void socket_file_remove(struct socket_file *file);

/* Leave the file to another process. */
void socket_file_forget(struct socket_file *file);

/* Why nobody could be connected to, a negative errno, in words for the user. */
const char *socket_words(int error);

#endif
