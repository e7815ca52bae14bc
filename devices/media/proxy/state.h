/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_MEDIA_PROXY_STATE_H
#define DEVICES_MEDIA_PROXY_STATE_H

#include "devices/media/proxy/proxy.h"

/* Shared by the files of the proxy. All with the media's lock held, unless it says otherwise. */

enum { STREAM_TYPES = V4L2_BUF_TYPE_META_OUTPUT + 1 };

/* One event at a time; while it waits for a buffer of the driver's, the next one stays in the kernel. */
struct outlet {
        struct session_event event; /* the first member */
        bool late;                  /* it had to wait */
};

/* The queue of one type of buffers. */
struct proxy_stream {
        uint32_t memory; /* enum v4l2_memory */
        bool streaming;
        struct outlet done;
};

/* Memory for a plane of a buffer which guest and device can't share: contents are copied. */
struct proxy_shadow {
        LIST_ENTRY(proxy_shadow) entry;
        uint32_t type, index, plane;
        uint32_t size;
        uint8_t *node;             /* the device's: mapped from it, or for USERPTR anonymous memory */
        int fd;                    /* MMAP: a file for the guest */
        uint8_t *file;             /* the file, mapped */
        uint64_t number;           /* USERPTR, DMABUF: the number by which the driver knows it */
        struct guest_memory guest; /* USERPTR: the guest memory, while the device has the buffer */
};

struct proxy_session {
        struct proxy *proxy;
        struct node_session *session;
        int fd;
        int exported;        /* the file of the buffer that was exported last, or -1 */
        uint64_t generation; /* of its buffers */
        LIST_HEAD(shadow_list, proxy_shadow) shadows;
        struct outlet event;
        struct proxy_stream streams[STREAM_TYPES]; /* by enum v4l2_buf_type */
};

struct proxy {
        struct media_node node;
        int proc_fd, device_fd, epoll_fd, wake_fd;
        pthread_t thread; /* 0: not started */
        bool ending;
        bool copies; /* the log says that frames are copied */
        size_t held; /* bytes of shadows: at most the window's size */
};

/* ---- file.c ---- */

/* An ioctl of the device: 0 or a negative errno. */
int node_ioctl(const struct proxy_session *own, uint32_t code, void *payload);
/* Polls it for the conditions that its streams need now. */
int proxy_watch(struct proxy_session *own);

/* ---- ioctls.c ---- */

int proxy_call(struct proxy_session *own, struct media_call *call);

/* ---- buffer.c ---- */

/* The fields of a plane, in struct v4l2_plane or in struct v4l2_buffer itself. */
struct plane_fields {
        uint32_t *used, *length;
        unsigned long *number; /* userptr, fd or mem_offset: a union */
};
/* Returns how many planes there are. */
unsigned plane_fields(struct v4l2_buffer *buffer, struct v4l2_plane *planes, struct plane_fields out[MEDIA_MAX_PLANES]);

/* Makes an ioctl of the device with a buffer, which has as many planes as it says. No number of this process stays
 * in the fields, and fields that drivers don't change are as they were, whatever this driver does. */
int buffer_ioctl(const struct proxy_session *own, uint32_t code, struct v4l2_buffer *buffer, struct v4l2_plane *planes);
/* QBUF, PREPARE_BUF, QUERYBUF. */
int proxy_buffer_call(struct proxy_session *own, struct media_call *call);
/* After DQBUF: copies the contents to the guest. */
void proxy_buffer_done(struct proxy_session *own, struct v4l2_buffer *buffer, struct v4l2_plane *planes);
/* EXPBUF. */
int proxy_export(struct proxy_session *own, struct media_call *call);
int proxy_file(struct media_node *node, struct node_session *session, uint32_t offset, struct media_file *out);

/* ---- shadow.c ---- */

struct proxy_shadow *shadow_find(const struct proxy_session *own, const struct v4l2_buffer *buffer, uint32_t plane);
/* Makes a shadow for MMAP, of the device's memory at @offset. */
int shadow_map(struct proxy_session *own, const struct v4l2_buffer *buffer, uint32_t plane, uint32_t offset,
               uint32_t size, struct proxy_shadow **out);
/* Makes a shadow for USERPTR, of @guest, which is taken. */
int shadow_take(struct proxy_session *own, const struct v4l2_buffer *buffer, uint32_t plane, uint64_t number,
                struct guest_memory *guest);
/* Makes a shadow for DMABUF, which only keeps the number. -ENOMEM: the number is lost. */
int shadow_note(struct proxy_session *own, const struct v4l2_buffer *buffer, uint32_t plane, uint64_t number);
/* Copy @size bytes, at most its own: to the device, or to the guest. */
void shadow_push(struct proxy_shadow *shadow, size_t size);
void shadow_pull(struct proxy_session *own, struct proxy_shadow *shadow, size_t size);
/* The guest has the buffers of the type again: releases their guest memory. */
void shadows_let_go(struct proxy_session *own, uint32_t type);
/* Free those of the type; 0: all. */
void proxy_shadow_free(struct proxy_session *own, struct proxy_shadow *shadow);
void shadows_end(struct proxy_session *own, uint32_t type);

#endif
