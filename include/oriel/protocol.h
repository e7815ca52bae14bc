/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef ORIEL_PROTOCOL_H
#define ORIEL_PROTOCOL_H

/* The kernel's legacy ring helpers, which come along, are not C++. */
#if defined(__cplusplus) && !defined(VIRTIO_RING_NO_LEGACY)
#define VIRTIO_RING_NO_LEGACY
#endif
#include <linux/vhost_types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* vhost-user as data: what can be said, in the specification's names. Nothing here touches a socket or allocates; all
 * of it may be called from any thread. All numbers on the wire are in the machine's byte order. */

/* The bits of protocol features: "Protocol features". The bits as the specification numbers them; see struct
 * oriel_dialect for older numberings. */
enum oriel_protocol_feature {
        ORIEL_PROTOCOL_F_MQ = 0,
        ORIEL_PROTOCOL_F_LOG_SHMFD = 1,
        ORIEL_PROTOCOL_F_RARP = 2,
        ORIEL_PROTOCOL_F_REPLY_ACK = 3,
        ORIEL_PROTOCOL_F_MTU = 4,
        ORIEL_PROTOCOL_F_BACKEND_REQ = 5,
        ORIEL_PROTOCOL_F_CROSS_ENDIAN = 6,
        ORIEL_PROTOCOL_F_CRYPTO_SESSION = 7,
        ORIEL_PROTOCOL_F_PAGEFAULT = 8,
        ORIEL_PROTOCOL_F_CONFIG = 9,
        ORIEL_PROTOCOL_F_BACKEND_SEND_FD = 10,
        ORIEL_PROTOCOL_F_HOST_NOTIFIER = 11,
        ORIEL_PROTOCOL_F_INFLIGHT_SHMFD = 12,
        ORIEL_PROTOCOL_F_RESET_DEVICE = 13,
        ORIEL_PROTOCOL_F_INBAND_NOTIFICATIONS = 14,
        ORIEL_PROTOCOL_F_CONFIGURE_MEM_SLOTS = 15,
        ORIEL_PROTOCOL_F_STATUS = 16,
        ORIEL_PROTOCOL_F_XEN_MMAP = 17,
        ORIEL_PROTOCOL_F_SHARED_OBJECT = 18,
        ORIEL_PROTOCOL_F_DEVICE_STATE = 19,
        ORIEL_PROTOCOL_F_GET_VRING_BASE_INFLIGHT = 20,
        ORIEL_PROTOCOL_F_GPA_ADDRESSES = 21,
        ORIEL_PROTOCOL_F_SHMEM_MAP = 22,
};
#define ORIEL_PROTOCOL_FEATURES 23

#define ORIEL_FEATURE(bit) (UINT64_C(1) << (bit))

/* The virtio feature bit that says protocol features can be negotiated. */
#define ORIEL_F_PROTOCOL_FEATURES 30

/* The requests of a front-end: "Front-end message types". */
enum oriel_frontend_request {
        ORIEL_FRONTEND_GET_FEATURES = 1,
        ORIEL_FRONTEND_SET_FEATURES = 2,
        ORIEL_FRONTEND_SET_OWNER = 3,
        ORIEL_FRONTEND_RESET_OWNER = 4,
        ORIEL_FRONTEND_SET_MEM_TABLE = 5,
        ORIEL_FRONTEND_SET_LOG_BASE = 6,
        ORIEL_FRONTEND_SET_LOG_FD = 7,
        ORIEL_FRONTEND_SET_VRING_NUM = 8,
        ORIEL_FRONTEND_SET_VRING_ADDR = 9,
        ORIEL_FRONTEND_SET_VRING_BASE = 10,
        ORIEL_FRONTEND_GET_VRING_BASE = 11,
        ORIEL_FRONTEND_SET_VRING_KICK = 12,
        ORIEL_FRONTEND_SET_VRING_CALL = 13,
        ORIEL_FRONTEND_SET_VRING_ERR = 14,
        ORIEL_FRONTEND_GET_PROTOCOL_FEATURES = 15,
        ORIEL_FRONTEND_SET_PROTOCOL_FEATURES = 16,
        ORIEL_FRONTEND_GET_QUEUE_NUM = 17,
        ORIEL_FRONTEND_SET_VRING_ENABLE = 18,
        ORIEL_FRONTEND_SEND_RARP = 19,
        ORIEL_FRONTEND_NET_SET_MTU = 20,
        ORIEL_FRONTEND_SET_BACKEND_REQ_FD = 21,
        ORIEL_FRONTEND_IOTLB_MSG = 22,
        ORIEL_FRONTEND_SET_VRING_ENDIAN = 23,
        ORIEL_FRONTEND_GET_CONFIG = 24,
        ORIEL_FRONTEND_SET_CONFIG = 25,
        ORIEL_FRONTEND_CREATE_CRYPTO_SESSION = 26,
        ORIEL_FRONTEND_CLOSE_CRYPTO_SESSION = 27,
        ORIEL_FRONTEND_POSTCOPY_ADVISE = 28,
        ORIEL_FRONTEND_POSTCOPY_LISTEN = 29,
        ORIEL_FRONTEND_POSTCOPY_END = 30,
        ORIEL_FRONTEND_GET_INFLIGHT_FD = 31,
        ORIEL_FRONTEND_SET_INFLIGHT_FD = 32,
        ORIEL_FRONTEND_GPU_SET_SOCKET = 33,
        ORIEL_FRONTEND_RESET_DEVICE = 34,
        ORIEL_FRONTEND_VRING_KICK = 35,
        ORIEL_FRONTEND_GET_MAX_MEM_SLOTS = 36,
        ORIEL_FRONTEND_ADD_MEM_REG = 37,
        ORIEL_FRONTEND_REM_MEM_REG = 38,
        ORIEL_FRONTEND_SET_STATUS = 39,
        ORIEL_FRONTEND_GET_STATUS = 40,
        ORIEL_FRONTEND_GET_SHARED_OBJECT = 41,
        ORIEL_FRONTEND_SET_DEVICE_STATE_FD = 42,
        ORIEL_FRONTEND_CHECK_DEVICE_STATE = 43,
        ORIEL_FRONTEND_GET_SHMEM_CONFIG = 44,
};
#define ORIEL_FRONTEND_REQUESTS 45

/* The requests of a back-end: "Back-end message types". */
enum oriel_backend_request {
        ORIEL_BACKEND_IOTLB_MSG = 1,
        ORIEL_BACKEND_CONFIG_CHANGE_MSG = 2,
        ORIEL_BACKEND_VRING_HOST_NOTIFIER_MSG = 3,
        ORIEL_BACKEND_VRING_CALL = 4,
        ORIEL_BACKEND_VRING_ERR = 5,
        ORIEL_BACKEND_SHARED_OBJECT_ADD = 6,
        ORIEL_BACKEND_SHARED_OBJECT_REMOVE = 7,
        ORIEL_BACKEND_SHARED_OBJECT_LOOKUP = 8,
        ORIEL_BACKEND_SHMEM_MAP = 9,
        ORIEL_BACKEND_SHMEM_UNMAP = 10,
};
#define ORIEL_BACKEND_REQUESTS 11

/* ---- wire structs ("Payload"); where linux/vhost_types.h has one, that one is used; as a part of
 * the protocol none can ever change ---- */

#define ORIEL_PROTOCOL_VERSION 1u
#define ORIEL_FLAG_VERSION     0x3u
#define ORIEL_FLAG_REPLY       0x4u
#define ORIEL_FLAG_NEED_REPLY  0x8u

#define ORIEL_MAX_FDS         8    /* in one message */
#define ORIEL_MAX_PAYLOAD     4096 /* nothing in the tables is longer */
#define ORIEL_MAX_CONFIG      256  /* bytes of config space in one message */
#define ORIEL_MAX_QUEUES      256  /* a vring index in SET_VRING_KICK has 8 bits */
#define ORIEL_MAX_SHMIDS      256
#define ORIEL_MAX_MEM_REGIONS 8   /* in SET_MEM_TABLE */
#define ORIEL_MEM_SLOTS       509 /* what GET_MAX_MEM_SLOTS says by default */

#define ORIEL_VRING_FD_INDEX     UINT64_C(0xff)  /* of the u64 of SET_VRING_KICK, _CALL, _ERR */
#define ORIEL_VRING_FD_NONE      UINT64_C(0x100) /* there: no fd comes along */
#define ORIEL_DEVICE_STATE_ERROR UINT64_C(0xff)  /* of the u64 reply to SET_DEVICE_STATE_FD */
#define ORIEL_DEVICE_STATE_NO_FD UINT64_C(0x100)

struct oriel_wire_header {
        uint32_t request;
        uint32_t flags;
        uint32_t size; /* of the payload */
};

struct oriel_wire_memory_region {
        uint64_t guest_address;
        uint64_t size;
        uint64_t user_address;
        uint64_t mmap_offset;
};

struct oriel_wire_memory {
        uint32_t num_regions;
        uint32_t padding;
        struct oriel_wire_memory_region regions[ORIEL_MAX_MEM_REGIONS];
};

struct oriel_wire_mem_reg {
        uint64_t padding;
        struct oriel_wire_memory_region region;
};

struct oriel_wire_log {
        uint64_t size;
        uint64_t offset;
};

struct oriel_wire_config {
        uint32_t offset;
        uint32_t size;
        uint32_t flags;
        uint8_t payload[ORIEL_MAX_CONFIG];
};

/* The flags of struct oriel_wire_config. */
enum oriel_config_flags {
        ORIEL_CONFIG_WRITABLE = 0,
        ORIEL_CONFIG_LIVE_MIGRATION = 1,
};

struct oriel_wire_vring_area {
        uint64_t vring; /* ORIEL_VRING_FD_INDEX, ORIEL_VRING_FD_NONE */
        uint64_t size;
        uint64_t offset;
};

/* GET_INFLIGHT_FD and SET_INFLIGHT_FD: the buffer, and the queues that it is for. */
struct oriel_wire_inflight {
        uint64_t mmap_size;
        uint64_t mmap_offset;
        uint16_t num_queues;
        uint16_t queue_size;
        uint32_t padding; /* the struct without it ends at byte 20, and peers send both sizes */
};

struct oriel_wire_shared_object {
        uint8_t uuid[16];
};

struct oriel_wire_device_state {
        uint32_t direction;
        uint32_t phase;
};

/* Which way SET_DEVICE_STATE_FD moves the device's state. */
enum oriel_device_state_direction {
        ORIEL_DEVICE_STATE_SAVE = 0,
        ORIEL_DEVICE_STATE_LOAD = 1,
};

/* SHMEM_MAP and SHMEM_UNMAP: the part of a file, and its place in the region @shmid. SHMEM_UNMAP does
 * not look at @fd_offset. */
struct oriel_wire_mmap {
        uint8_t shmid;
        uint8_t padding[7];
        uint64_t fd_offset;
        uint64_t shm_offset;
        uint64_t len;
        uint64_t flags;
};

#define ORIEL_MMAP_READ_WRITE UINT64_C(1) /* of the flags of struct oriel_wire_mmap; without it read-only */

struct oriel_wire_shmem_config {
        uint32_t num_regions;
        uint32_t padding;
        uint64_t sizes[ORIEL_MAX_SHMIDS]; /* bytes, by shmid; 0: no region */
};

/* ---- the tables; a program reads rows by the pointers that it is given, and makes none: a later version's are longer
 * at their end ---- */

/* The form of a payload; each has a row with its bounds, its check and its printer. */
enum oriel_payload {
        ORIEL_PAYLOAD_NONE,
        ORIEL_PAYLOAD_U64,
        ORIEL_PAYLOAD_FEATURES,
        ORIEL_PAYLOAD_PROTOCOL_FEATURES,
        ORIEL_PAYLOAD_VRING_STATE,
        ORIEL_PAYLOAD_VRING_INDEX, /* a vring state whose num is reserved */
        ORIEL_PAYLOAD_VRING_ADDR,
        ORIEL_PAYLOAD_VRING_FD,
        ORIEL_PAYLOAD_MEMORY,
        ORIEL_PAYLOAD_MEMORY_BASES, /* the same as a reply, without fds */
        ORIEL_PAYLOAD_MEM_REG,
        ORIEL_PAYLOAD_ADD_MEM_REG, /* a region with its fd, or in postcopy mode a u64 that acknowledges */
        ORIEL_PAYLOAD_LOG,         /* or a single u64 without LOG_SHMFD */
        ORIEL_PAYLOAD_IOTLB,
        ORIEL_PAYLOAD_CONFIG,
        ORIEL_PAYLOAD_VRING_AREA,
        ORIEL_PAYLOAD_INFLIGHT,
        ORIEL_PAYLOAD_SHARED_OBJECT,
        ORIEL_PAYLOAD_DEVICE_STATE,
        ORIEL_PAYLOAD_MMAP,
        ORIEL_PAYLOAD_SHMEM_CONFIG,
        ORIEL_PAYLOAD_CRYPTO,
};
#define ORIEL_PAYLOADS (ORIEL_PAYLOAD_CRYPTO + 1)

/* When the receiver answers. */
enum oriel_reply_rule {
        ORIEL_REPLY_WHEN_ASKED, /* an acknowledging u64, if REPLY_ACK is negotiated and need_reply is set */
        ORIEL_REPLY_ALWAYS,     /* the reply payload of the row */
        ORIEL_REPLY_POSTCOPY,   /* as ALWAYS after POSTCOPY_LISTEN, else WHEN_ASKED */
        ORIEL_REPLY_LOG_SHMFD,  /* as ALWAYS if LOG_SHMFD is negotiated, else WHEN_ASKED */
};

/* The agreement that a message needs before it may be sent. */
enum oriel_gate {
        ORIEL_GATE_NONE,
        ORIEL_GATE_PROTOCOL_FEATURES, /* the back-end offers VHOST_USER_F_PROTOCOL_FEATURES */
        ORIEL_GATE_PROTOCOL_FEATURE,  /* the row's protocol feature is negotiated */
        ORIEL_GATE_VIRTIO_FEATURE,    /* the row's virtio feature is acknowledged */
};

/* The least and the greatest. A part of rows, so it can't ever change. */
struct oriel_bounds {
        uint32_t min;
        uint32_t max;
};

/* A row of the tables: all that is known of a message without handling it. */
struct oriel_message_row {
        uint32_t id;
        const char *name; /* without VHOST_USER_ or VHOST_USER_BACKEND_ */
        enum oriel_payload payload;
        struct oriel_bounds size; /* of the request's payload, in bytes */
        struct oriel_bounds fds;
        enum oriel_gate gate;
        uint8_t feature; /* the bit that the gate speaks of */
        enum oriel_reply_rule reply;
        enum oriel_payload reply_payload; /* of a reply that is more than an acknowledgement */
        struct oriel_bounds reply_size;
        struct oriel_bounds reply_fds;
};

/* The end that sends the request. */
enum oriel_direction {
        ORIEL_FROM_FRONTEND, /* on the main channel */
        ORIEL_FROM_BACKEND,  /* on the back-end channel */
};

/* The row of request @id, NULL if the specification has none. */
const struct oriel_message_row *oriel_message_find(enum oriel_direction direction, uint32_t id);
/* One more than the highest request of a direction, whose rows are ids 1 to this - 1. */
uint32_t oriel_message_count(enum oriel_direction direction);

/* The name of a protocol feature's bit, such as "SHMEM_MAP", or NULL for a bit without a name. */
const char *oriel_protocol_feature_name(unsigned bit);
/* The name of a virtio feature bit for a device type (linux/virtio_ids.h; 0: only what all devices share), or NULL. */
const char *oriel_virtio_feature_name(uint32_t device_id, unsigned bit);

/* ---- dialects ---- */

/* A numbering of protocol features: the SHMEM bit moved while the specification was under review. A peer that means one
 * by a number must never be read as meaning the other, so an older numbering is spoken only to a peer for whom the user
 * named it. A row of the library's, as those of the tables above. */
struct oriel_dialect {
        const char *name;
        const char *peers; /* who speaks it */
        unsigned shmem_bit;
};

/* Find a dialect: rows by index, NULL past the end, of which row 0 is the standard; and by name, NULL: unknown. */
const struct oriel_dialect *oriel_dialect_get(unsigned index);
const struct oriel_dialect *oriel_dialect_find(const char *name);
/* Convert protocol features between the standard's numbering and a dialect's. What the other side can't express is
 * dropped. NULL: the standard. */
uint64_t oriel_dialect_to_wire(const struct oriel_dialect *dialect, uint64_t features);
uint64_t oriel_dialect_from_wire(const struct oriel_dialect *dialect, uint64_t wire);

/* ---- printing ---- */

/* Put a payload into words, without the message's name: "shmid 0 fd_offset 0x0 shm_offset 0x200000 len 0x1000 flags
 * read-only". Writes at most @size bytes with the NUL and returns the length of all of it, like snprintf. @data has
 * @data_size bytes, whatever the table says; a wrong size is printed as such. */
size_t oriel_payload_print(enum oriel_payload payload, const void *data, size_t data_size, char *out, size_t size);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
