/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DAEMON_SOCKET_H
#define DAEMON_SOCKET_H

#include "program/socket_file.h"

#include <stdbool.h>

/* The socket to begin with, listening or connected, as the options name it. An fd, or a negative errno with everything
 * said. */
int daemon_open_socket(struct socket_file *file);

bool daemon_is_listening(int fd);

#endif
