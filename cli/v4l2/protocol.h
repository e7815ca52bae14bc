/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CLI_V4L2_PROTOCOL_H
#define CLI_V4L2_PROTOCOL_H

#include <stdint.h>

/* The protocol between the preloaded library and "oriel v4l2". An open file of the program is a connected socket
 * (SOCK_SEQPACKET): the kernel does dup(), fork(), execve() and close(), and the library knows such a descriptor by the
 * name of its peer. A call is one message on it, with a new socket for the answer, so that several threads and
 * processes may have calls on one file at once. Nothing is ever sent to the file itself.
 *
 * Pointers are passed as they are. "oriel v4l2" reads and writes the memory of the process that has made the answer's
 * socket (SO_PEERCRED), as the kernel does for a device. */

/* In the environment of the program: the socket to connect to, and the name of the device. */
#define V4L2_SOCKET_VARIABLE "ORIEL_V4L2_SOCKET"
#define V4L2_DEVICE_VARIABLE "V4L2_DEVICE"

enum v4l2_call_kind {
        V4L2_CALL_OPEN,  /* fails if the file has no session */
        V4L2_CALL_READY, /* the answer brings the descriptors of enum v4l2_ready */
        V4L2_CALL_IOCTL, /* code, argument */
        V4L2_CALL_MMAP,  /* argument: the offset; size. The file comes with the answer. The mapping lasts until the
                            answer's socket is closed by all who have it */
};

enum { V4L2_CALL_NONBLOCK = 1, V4L2_CALL_WRITABLE = 2 };

struct v4l2_call {
        uint32_t kind, flags;
        uint64_t code, argument, size;
};

struct v4l2_answer {
        int32_t result; /* 0 or a negative errno */
        uint32_t reserved;
        uint64_t offset; /* in the file that comes with it */
};

/* Indexes of descriptors, each of which is polled for its own condition. */
enum v4l2_ready { V4L2_READY_IN, V4L2_READY_OUT, V4L2_READY_PRI, V4L2_READY_ERR, V4L2_READY_FDS };

#endif
