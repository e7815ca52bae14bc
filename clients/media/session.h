/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CLIENTS_MEDIA_SESSION_H
#define CLIENTS_MEDIA_SESSION_H

#include "clients/media/client.h"

#include <sys/queue.h>

/* An open file of a media device, as a V4L2 program has it: ioctls, with pointers into the program's memory, and
 * mappings. The device has no DQBUF, DQEVENT and poll: its events are kept here, and these are answered from them. */
struct media_session;

/* The memory of the program that makes an ioctl. Both return 0 or -EFAULT. */
struct media_program {
        int (*read)(void *userdata, void *to, uint64_t from, size_t size);
        int (*write)(void *userdata, uint64_t to, const void *from, size_t size);
        void *userdata;
};

/* The conditions of poll(2). ERR: no queue is streaming. */
enum media_ready { MEDIA_READY_IN = 1, MEDIA_READY_OUT = 2, MEDIA_READY_PRI = 4, MEDIA_READY_ERR = 8 };

/* The device's error, negative, or -ENOMEM, -ENODEV. */
int media_session_new(struct media_client *client, struct media_session **out);
/* Mappings stay until media_client_munmap(). NULL is accepted. */
void media_session_free(struct media_session *session);
uint32_t media_session_id(const struct media_session *session);

/* An event of this session. -EPIPE: the device has ended the session. */
int media_session_event(struct media_session *session, const union media_event *event);
unsigned media_session_ready(const struct media_session *session);

/* ioctl(2) with the program's @argument: 0 or a negative errno. -EAGAIN of VIDIOC_DQBUF and VIDIOC_DQEVENT: there is
 * nothing yet. To wait, call it again after an event. */
int media_session_ioctl(struct media_session *session, const struct media_program *program, uint32_t code,
                        uint64_t argument);
/* Whether this ioctl waits in a file without O_NONBLOCK. */
bool media_session_waits(uint32_t code);
/* Put the buffer or event that the last ioctl has dequeued, if any, back to the head of its queue: the program has not
 * got the answer. */
void media_session_put_back(struct media_session *session);

/* mmap(2): *@fd, which is the caller's, shows the buffer from *@fd_offset on; *@address is for media_client_munmap().
 * -EINVAL: no such buffer, or it is smaller than @size. */
int media_session_mmap(struct media_session *session, uint64_t offset, uint64_t size, bool writable, int *fd,
                       uint64_t *fd_offset, uint64_t *address);

#endif
