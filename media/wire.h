/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MEDIA_WIRE_H
#define MEDIA_WIRE_H

#include <assert.h>
#include <endian.h>
#include <linux/videodev2.h>
#include <linux/virtio_ids.h>
#include <stdint.h>

/* The messages between a virtio-media device and its driver: VIRTIO 1.4, 5.22. All is little-endian, and V4L2's structs
 * are as 64-bit Linux has them. */

static_assert(__BYTE_ORDER == __LITTLE_ENDIAN && sizeof(struct v4l2_buffer) == 88 && sizeof(struct v4l2_plane) == 64,
              "V4L2's structs of this host are not those of the wire");

#ifndef VIRTIO_ID_MEDIA
#define VIRTIO_ID_MEDIA 48
#endif

enum media_queue_index {
        MEDIA_COMMAND_QUEUE,
        MEDIA_EVENT_QUEUE,
        MEDIA_QUEUES,
};

/* The shared memory region in which MMAP buffers are seen. */
enum { MEDIA_SHMID = 0 };

/* V4L2 itself has these two limits on what follows a struct: VIDEO_MAX_PLANES planes, V4L2_CID_MAX_CTRLS controls. */
enum {
        MEDIA_MAX_PLANES = VIDEO_MAX_PLANES,
        MEDIA_MAX_CONTROLS = V4L2_CID_MAX_CTRLS,
};

/* device_type of video nodes: Linux's enum vfl_devnode_type. */
enum { MEDIA_TYPE_VIDEO = 0 };

struct media_config {
        uint32_t device_caps; /* V4L2_CAP_* */
        uint32_t device_type;
        char card[32]; /* without a NUL, if it fills the field */
};
static_assert(sizeof(struct media_config) == 40, "struct virtio_media_config");

/* ---- the command queue ---- */

enum media_command {
        MEDIA_OPEN = 1,
        MEDIA_CLOSE = 2, /* has no answer */
        MEDIA_IOCTL = 3,
        MEDIA_MMAP = 4,
        MEDIA_MUNMAP = 5,
};

struct media_command_header {
        uint32_t command;
        uint32_t reserved;
};

struct media_answer_header {
        uint32_t status; /* 0, or an errno of Linux, positive */
        uint32_t reserved;
};

/* CLOSE, after the header. */
struct media_close {
        struct media_command_header header;
        uint32_t session;
        uint32_t reserved;
};
static_assert(sizeof(struct media_close) == 16, "struct virtio_media_cmd_close");

struct media_open_answer {
        struct media_answer_header header;
        uint32_t session;
        uint32_t reserved;
};
static_assert(sizeof(struct media_open_answer) == 16, "struct virtio_media_resp_open");

/* Followed by the payload (media/ioctls.h) if the ioctl is written by the driver, and by the lists of guest memory. The
 * answer is a header, followed by the payload if the device writes it. */
struct media_ioctl_command {
        struct media_command_header header;
        uint32_t session;
        uint32_t code; /* _IOC_NR() of the ioctl */
};
static_assert(sizeof(struct media_ioctl_command) == 16, "struct virtio_media_cmd_ioctl");

/* A piece of guest memory. Lists of them stand for what a pointer in a payload points to: the userptr of a buffer or of
 * a plane, the ptr of a control. Each covers exactly as many bytes as that has. */
struct media_piece {
        uint64_t address; /* guest physical */
        uint32_t size;
        uint32_t reserved;
};
static_assert(sizeof(struct media_piece) == 16, "struct virtio_media_sg_entry");

/* A virtio object (VIRTIO 1.4, 2.11), which stands for a descriptor: memory of another device, or a buffer that is
 * exported. */
struct media_object {
        uint8_t uuid[16];
};

enum { MEDIA_MMAP_READ_WRITE = 1 };

struct media_mmap {
        struct media_command_header header;
        uint32_t session;
        uint32_t flags;
        uint32_t offset; /* the mem_offset of VIDIOC_QUERYBUF */
};
static_assert(sizeof(struct media_mmap) == 20, "struct virtio_media_cmd_mmap");

struct media_mmap_answer {
        struct media_answer_header header;
        uint64_t address; /* in the region: a multiple of the page size */
        uint64_t size;    /* the buffer's, not rounded */
};
static_assert(sizeof(struct media_mmap_answer) == 24, "struct virtio_media_resp_mmap");

struct media_munmap {
        struct media_command_header header;
        uint64_t address;
};
static_assert(sizeof(struct media_munmap) == 16, "struct virtio_media_cmd_munmap");

/* ---- the event queue ---- */

enum media_event_type {
        MEDIA_EVENT_ERROR = 0, /* the session has ended, and the driver is to close it */
        MEDIA_EVENT_DQBUF = 1, /* stands for VIDIOC_DQBUF */
        MEDIA_EVENT_EVENT = 2, /* stands for VIDIOC_DQEVENT */
};

struct media_event_header {
        uint32_t event;
        uint32_t session;
};

struct media_event_error {
        struct media_event_header header;
        uint32_t error; /* an errno of Linux, positive */
        uint32_t reserved;
};
static_assert(sizeof(struct media_event_error) == 16, "struct virtio_media_event_error");

struct media_event_dqbuf {
        struct media_event_header header;
        struct v4l2_buffer buffer;                  /* its pointers have no meaning */
        struct v4l2_plane planes[MEDIA_MAX_PLANES]; /* always all */
};
static_assert(sizeof(struct media_event_dqbuf) == 608, "struct virtio_media_event_dqbuf");

struct media_event_event {
        struct media_event_header header;
        struct v4l2_event event;
};
static_assert(sizeof(struct media_event_event) == 144, "struct virtio_media_event_event");

/* Any event: the size that the driver's buffers need. */
union media_event {
        struct media_event_header header;
        struct media_event_error error;
        struct media_event_dqbuf dqbuf;
        struct media_event_event event;
};
static_assert(sizeof(union media_event) == 608, "the largest event");

#endif
