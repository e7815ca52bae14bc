/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_GPU_CROSSDOMAIN_WIRE_H
#define DEVICES_GPU_CROSSDOMAIN_WIRE_H

#include <stdint.h>

/* The cross-domain protocol (capset 5, version 1) of crosvm's rutabaga, as its clients in guests speak it: Sommelier,
 * wayland-proxy-virtwl, muvm. Commands come in SUBMIT_3D, each of the size that its header says. Answers lie at the
 * start of one of two guest blobs, the rings. All is little-endian. */

enum cross_command {
        CROSS_INIT = 1,
        CROSS_GET_IMAGE_REQUIREMENTS,
        CROSS_POLL,    /* asks for the next message: the fence on the channel's ring is for it */
        CROSS_SEND,    /* to the compositor */
        CROSS_RECEIVE, /* in the channel's ring: from the compositor. Without bytes and identifiers: it has ended */
        CROSS_READ,    /* in the channel's ring: from a pipe of CROSS_ID_READ_PIPE */
        CROSS_WRITE,   /* to a pipe of CROSS_ID_WRITE_PIPE */
};

enum cross_id_type {
        CROSS_ID_NONE, /* of a descriptor that a guest can't have */
        CROSS_ID_BLOB, /* sent: a resource; received: the blob_id to create one with */
        CROSS_ID_SYNC,
        CROSS_ID_READ_PIPE,  /* sent: the guest chooses the id, from CROSS_READ_PIPE_START on */
        CROSS_ID_WRITE_PIPE, /* received */
};
#define CROSS_READ_PIPE_START UINT32_C(0x80000000)

enum { CROSS_QUERY_RING, CROSS_CHANNEL_RING, CROSS_RINGS };
/* The bytes of a ring that are written, and its least size: clients count on a page of 4096. */
#define CROSS_RING_SIZE       4096
#define CROSS_IDS_MAX         28 /* as many descriptors as libwayland sends at once */
#define CROSS_CHANNEL_WAYLAND 1

struct cross_capset {
        uint32_t version, supported_channels, supports_dmabuf, supports_external_gpu_memory;
};
_Static_assert(sizeof(struct cross_capset) == 16, "");

struct cross_header {
        uint8_t command, ring;
        uint16_t size;
        uint32_t pad;
};

struct cross_init {
        struct cross_header header;
        uint32_t ring_ids[CROSS_RINGS], channel_type;
};
_Static_assert(sizeof(struct cross_init) == 20, "");

struct cross_get_image_requirements {
        struct cross_header header;
        uint32_t width, height, format, flags; /* DRM_FORMAT_, GBM_BO_USE_ */
};

struct cross_image_requirements {
        uint32_t strides[4], offsets[4];
        uint64_t modifier, size;
        uint32_t blob_id, map_info;
        int32_t memory_index, physical_device_index;
};
_Static_assert(sizeof(struct cross_image_requirements) == 64, "");

/* Followed by data. */
struct cross_send_receive {
        struct cross_header header;
        uint32_t n_ids, data_size;
        uint32_t ids[CROSS_IDS_MAX], types[CROSS_IDS_MAX], sizes[CROSS_IDS_MAX];
};
_Static_assert(sizeof(struct cross_send_receive) == 352, "");

struct cross_read_write {
        struct cross_header header;
        uint32_t id, hang_up, data_size, pad;
};
_Static_assert(sizeof(struct cross_read_write) == 24, "");

/* A message in the channel's ring. */
union cross_message {
        struct {
                struct cross_send_receive head;
                uint8_t data[CROSS_RING_SIZE - sizeof(struct cross_send_receive)];
        } receive;
        struct {
                struct cross_read_write head;
                uint8_t data[CROSS_RING_SIZE - sizeof(struct cross_read_write)];
        } read;
};
_Static_assert(sizeof(union cross_message) == CROSS_RING_SIZE, "");

#endif
