/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_MEDIA_PROXY_STATE_H
#define DEVICES_MEDIA_PROXY_STATE_H

#include "devices/media/proxy/proxy.h"

/* Shared by the files of the proxy. All with the media's lock, unless they say otherwise. */

enum { STREAM_TYPES = V4L2_BUF_TYPE_META_OUTPUT + 1 };

/* One event at a time; the next stays in the kernel while this one waits for a buffer of the driver's. */
struct outlet {
        struct session_event event; /* the first member */
        bool late;                  /* it has had to wait */
};

/* The queue of one type of buffers. */
struct stream {
        uint32_t memory; /* enum v4l2_memory */
        bool streaming;
        struct outlet done;
};

/* Memory for a plane of a buffer which the guest and the device can't have in common: contents are copied. */
struct shadow {
        LIST_ENTRY(shadow) entry;
        uint32_t type, index, plane;
        uint32_t size;
        uint8_t *node;             /* the device's: mapped from it, or for USERPTR anonymous memory */
        int fd;                    /* MMAP: the guest's, */
        uint8_t *file;             /* mapped */
        uint64_t number;           /* USERPTR, DMABUF: the driver's own for it, and */
        struct guest_memory guest; /* USERPTR: what it is, while the device has the buffer */
};

struct proxy_session {
        struct proxy *proxy;
        struct media_session *session;
        int fd;
        int exported;        /* the buffer that was mapped last, or -1 */
        uint64_t generation; /* of its buffers */
        LIST_HEAD(shadow_list, shadow) shadows;
        struct outlet event;
        struct stream streams[STREAM_TYPES]; /* by enum v4l2_buf_type */
};

struct proxy {
        struct media_node node;
        int proc_fd, device_fd, epoll_fd, wake_fd;
        pthread_t thread; /* 0: not started */
        bool ending;
        bool copies; /* the log has it that frames are copied */
        size_t held; /* bytes of shadows: at most the window's size */
};

/* ---- file.c ---- */

/* An ioctl of the device: 0 or a negative errno. */
int node_ioctl(const struct proxy_session *own, uint32_t code, void *payload);
/* Have it polled for what its streams need now. */
int proxy_watch(struct proxy_session *own);

/* ---- ioctls.c ---- */

int proxy_call(struct proxy_session *own, struct media_call *call);

/* ---- buffer.c ---- */

/* The fields of a plane, which stand in struct v4l2_plane, or in struct v4l2_buffer itself. */
struct plane_fields {
        uint32_t *used, *length;
        unsigned long *number; /* userptr, fd or mem_offset: a union */
};
/* Returns how many there are. */
unsigned plane_fields(struct v4l2_buffer *buffer, struct v4l2_plane *planes, struct plane_fields out[MEDIA_MAX_PLANES]);

/* An ioctl of the device with a buffer, of whose planes there are as many as it says. Nothing of this process is left
 * in the fields, and what a driver does not change is as it was, whatever this one does. */
int buffer_ioctl(const struct proxy_session *own, uint32_t code, struct v4l2_buffer *buffer, struct v4l2_plane *planes);
/* QBUF, PREPARE_BUF, QUERYBUF. */
int proxy_buffer_call(struct proxy_session *own, struct media_call *call);
/* After DQBUF: the guest gets the contents. */
void proxy_buffer_done(struct proxy_session *own, struct v4l2_buffer *buffer, struct v4l2_plane *planes);
/* EXPBUF. */
int proxy_export(struct proxy_session *own, struct media_call *call);
int proxy_file(struct media_node *node, struct media_session *session, uint32_t offset, struct media_file *out);

/* ---- shadow.c ---- */

struct shadow *shadow_find(const struct proxy_session *own, const struct v4l2_buffer *buffer, uint32_t plane);
/* For MMAP, of the device's memory at @offset. */
int shadow_map(struct proxy_session *own, const struct v4l2_buffer *buffer, uint32_t plane, uint32_t offset,
               uint32_t size, struct shadow **out);
/* For USERPTR, of @guest, which is taken. */
int shadow_take(struct proxy_session *own, const struct v4l2_buffer *buffer, uint32_t plane, uint64_t number,
                struct guest_memory *guest);
/* For DMABUF, of which nothing is copied: for the number alone. -ENOMEM: it is lost. */
int shadow_note(struct proxy_session *own, const struct v4l2_buffer *buffer, uint32_t plane, uint64_t number);
/* @size bytes, at most its own: to the device, or to the guest. */
void shadow_push(struct shadow *shadow, size_t size);
void shadow_pull(struct proxy_session *own, struct shadow *shadow, size_t size);
/* The guest has the buffers of the type again. */
void shadows_let_go(struct proxy_session *own, uint32_t type);
/* End those of the type; 0: all. */
void proxy_shadow_free(struct proxy_session *own, struct shadow *shadow);
void shadows_end(struct proxy_session *own, uint32_t type);

#endif
