/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CLI_V4L2_SERVER_H
#define CLI_V4L2_SERVER_H

#include <oriel/driver.h>

/* The server of the programs' open files: connections to a socket, each a session of the device. */
struct v4l2_server;

/* @listener is a socket of type SOCK_SEQPACKET, the caller's as @driver is. -ENODEV: it is no media device. */
int v4l2_server_new(struct oriel_driver *driver, int listener, struct v4l2_server **out);
void v4l2_server_free(struct v4l2_server *server); /* NULL is accepted */

/* Poll it for reading and call v4l2_server_dispatch(), which waits for the device alone. */
int v4l2_server_fd(const struct v4l2_server *server);
/* 0 or a negative errno: the device is gone, and the server is to be freed. */
int v4l2_server_dispatch(struct v4l2_server *server);

#endif
