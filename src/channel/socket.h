/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CHANNEL_SOCKET_H
#define CHANNEL_SOCKET_H

#include <sys/stat.h>

/* oriel_socket_listen(), which also tells what file was made in @file (NULL: nobody asks). */
int socket_listen(const char *path, struct stat *file);

#endif
