/* SPDX-License-Identifier: BSD-2-Clause */

/* Every message of vhost-user as a row: what it carries, with how many descriptors, what has to be negotiated before it
 * may be sent, and what comes back. Both ends check messages by these rows before anything else looks at them, and the
 * tracer and the conformance suites read them too. The numbers are the standard's: other dialects are translated. */

#include "base/cleanup.h"
#include "protocol/payload.h"

#include <linux/virtio_config.h>

/* The words of a row: what is sent and with how many fds, what must be negotiated, and what is returned. */
#define SENDS(kind)     .payload = ORIEL_PAYLOAD_##kind, .size = PAYLOAD_SIZE_##kind
#define FDS(low, high)  .fds = {low, high}
#define NEEDS(bit)      .gate = ORIEL_GATE_PROTOCOL_FEATURE, .feature = ORIEL_PROTOCOL_F_##bit
#define NEEDS_VIRTIO(f) .gate = ORIEL_GATE_VIRTIO_FEATURE, .feature = f
#define NEEDS_OFFER     .gate = ORIEL_GATE_PROTOCOL_FEATURES
#define REPLIES(kind) \
        .reply = ORIEL_REPLY_ALWAYS, .reply_payload = ORIEL_PAYLOAD_##kind, .reply_size = PAYLOAD_SIZE_##kind
#define REPLIES_SIZED(kind, low, high) \
        .reply = ORIEL_REPLY_ALWAYS, .reply_payload = ORIEL_PAYLOAD_##kind, .reply_size = {low, high}
#define REPLIES_IN_POSTCOPY(kind) \
        .reply = ORIEL_REPLY_POSTCOPY, .reply_payload = ORIEL_PAYLOAD_##kind, .reply_size = PAYLOAD_SIZE_##kind
#define REPLY_FDS(low, high) .reply_fds = {low, high}

#define FRONTEND(request, ...) \
        [ORIEL_FRONTEND_##request] = {.id = ORIEL_FRONTEND_##request, .name = #request, __VA_ARGS__}
#define BACKEND(request, ...) [ORIEL_BACKEND_##request] = {.id = ORIEL_BACKEND_##request, .name = #request, __VA_ARGS__}

/* clang-format off */
static const struct oriel_message_row frontend_rows[ORIEL_FRONTEND_REQUESTS] = {
        FRONTEND(GET_FEATURES,          REPLIES(FEATURES)),
        FRONTEND(SET_FEATURES,          SENDS(FEATURES)),
        FRONTEND(SET_OWNER,             SENDS(NONE)),
        FRONTEND(RESET_OWNER,           SENDS(NONE)),
        FRONTEND(SET_MEM_TABLE,         SENDS(MEMORY), FDS(0, ORIEL_MAX_MEM_REGIONS), REPLIES_IN_POSTCOPY(MEMORY_BASES)),
        FRONTEND(SET_LOG_BASE,          SENDS(LOG), FDS(0, 1), .reply = ORIEL_REPLY_LOG_SHMFD,
                                        .reply_payload = ORIEL_PAYLOAD_U64, .reply_size = {0, 16}),
        FRONTEND(SET_LOG_FD,            SENDS(NONE), FDS(1, 1)),
        FRONTEND(SET_VRING_NUM,         SENDS(VRING_STATE)),
        FRONTEND(SET_VRING_ADDR,        SENDS(VRING_ADDR)),
        FRONTEND(SET_VRING_BASE,        SENDS(VRING_STATE)),
        FRONTEND(GET_VRING_BASE,        SENDS(VRING_INDEX), REPLIES(VRING_STATE)),
        FRONTEND(SET_VRING_KICK,        SENDS(VRING_FD), FDS(0, 1)),
        FRONTEND(SET_VRING_CALL,        SENDS(VRING_FD), FDS(0, 1)),
        FRONTEND(SET_VRING_ERR,         SENDS(VRING_FD), FDS(0, 1)),
        FRONTEND(GET_PROTOCOL_FEATURES, NEEDS_OFFER, REPLIES(PROTOCOL_FEATURES)),
        FRONTEND(SET_PROTOCOL_FEATURES, SENDS(PROTOCOL_FEATURES), NEEDS_OFFER),
        FRONTEND(GET_QUEUE_NUM,         NEEDS(MQ), REPLIES(U64)),
        FRONTEND(SET_VRING_ENABLE,      SENDS(VRING_STATE), NEEDS_OFFER),
        FRONTEND(SEND_RARP,             SENDS(U64), NEEDS(RARP)),
        FRONTEND(NET_SET_MTU,           SENDS(U64), NEEDS(MTU)),
        FRONTEND(SET_BACKEND_REQ_FD,    SENDS(NONE), FDS(1, 1), NEEDS(BACKEND_REQ)),
        FRONTEND(IOTLB_MSG,             SENDS(IOTLB), NEEDS_VIRTIO(VIRTIO_F_ACCESS_PLATFORM), REPLIES(U64)),
        FRONTEND(SET_VRING_ENDIAN,      SENDS(VRING_STATE), NEEDS(CROSS_ENDIAN)),
        FRONTEND(GET_CONFIG,            SENDS(CONFIG), NEEDS(CONFIG), REPLIES_SIZED(CONFIG, 0, PAYLOAD_MAX_CONFIG)),
        FRONTEND(SET_CONFIG,            SENDS(CONFIG), NEEDS(CONFIG)),
        FRONTEND(CREATE_CRYPTO_SESSION, SENDS(CRYPTO), NEEDS(CRYPTO_SESSION), REPLIES(CRYPTO)),
        FRONTEND(CLOSE_CRYPTO_SESSION,  SENDS(U64), NEEDS(CRYPTO_SESSION)),
        FRONTEND(POSTCOPY_ADVISE,       NEEDS(PAGEFAULT), REPLIES_SIZED(NONE, 0, 8), REPLY_FDS(0, 1)),
        FRONTEND(POSTCOPY_LISTEN,       NEEDS(PAGEFAULT)),
        FRONTEND(POSTCOPY_END,          NEEDS(PAGEFAULT), REPLIES(U64)),
        FRONTEND(GET_INFLIGHT_FD,       SENDS(INFLIGHT), NEEDS(INFLIGHT_SHMFD), REPLIES(INFLIGHT), REPLY_FDS(0, 1)),
        FRONTEND(SET_INFLIGHT_FD,       SENDS(INFLIGHT), FDS(1, 1), NEEDS(INFLIGHT_SHMFD)),
        FRONTEND(GPU_SET_SOCKET,        SENDS(NONE), FDS(1, 1)),
        FRONTEND(RESET_DEVICE,          NEEDS(RESET_DEVICE)),
        FRONTEND(VRING_KICK,            SENDS(VRING_INDEX), NEEDS(INBAND_NOTIFICATIONS)),
        FRONTEND(GET_MAX_MEM_SLOTS,     NEEDS(CONFIGURE_MEM_SLOTS), REPLIES(U64)),
        FRONTEND(ADD_MEM_REG,           SENDS(ADD_MEM_REG), FDS(0, 1), NEEDS(CONFIGURE_MEM_SLOTS),
                                        REPLIES_IN_POSTCOPY(MEM_REG)),
        FRONTEND(REM_MEM_REG,           SENDS(MEM_REG), FDS(0, 1), NEEDS(CONFIGURE_MEM_SLOTS)),
        FRONTEND(SET_STATUS,            SENDS(U64), NEEDS(STATUS)),
        FRONTEND(GET_STATUS,            NEEDS(STATUS), REPLIES(U64)),
        /* QEMU 11.1 sends no UUID. */
        FRONTEND(GET_SHARED_OBJECT,     .payload = ORIEL_PAYLOAD_SHARED_OBJECT, .size = {0, 16}, NEEDS(SHARED_OBJECT),
                                        REPLIES_SIZED(NONE, 0, 16), REPLY_FDS(0, 1)),
        FRONTEND(SET_DEVICE_STATE_FD,   SENDS(DEVICE_STATE), FDS(1, 1), NEEDS(DEVICE_STATE), REPLIES(U64), REPLY_FDS(0, 1)),
        FRONTEND(CHECK_DEVICE_STATE,    NEEDS(DEVICE_STATE), REPLIES(U64)),
        FRONTEND(GET_SHMEM_CONFIG,      NEEDS(SHMEM_MAP), REPLIES(SHMEM_CONFIG)),
};

static const struct oriel_message_row backend_rows[ORIEL_BACKEND_REQUESTS] = {
        BACKEND(IOTLB_MSG,               SENDS(IOTLB), NEEDS_VIRTIO(VIRTIO_F_ACCESS_PLATFORM)),
        BACKEND(CONFIG_CHANGE_MSG,       NEEDS(CONFIG)),
        BACKEND(VRING_HOST_NOTIFIER_MSG, SENDS(VRING_AREA), FDS(0, 1), NEEDS(HOST_NOTIFIER)),
        BACKEND(VRING_CALL,              SENDS(VRING_INDEX), NEEDS(INBAND_NOTIFICATIONS)),
        BACKEND(VRING_ERR,               SENDS(VRING_INDEX), NEEDS(INBAND_NOTIFICATIONS)),
        BACKEND(SHARED_OBJECT_ADD,       SENDS(SHARED_OBJECT), NEEDS(SHARED_OBJECT)),
        BACKEND(SHARED_OBJECT_REMOVE,    SENDS(SHARED_OBJECT), NEEDS(SHARED_OBJECT)),
        BACKEND(SHARED_OBJECT_LOOKUP,    SENDS(SHARED_OBJECT), NEEDS(SHARED_OBJECT), REPLIES(U64), REPLY_FDS(0, 1)),
        BACKEND(SHMEM_MAP,               SENDS(MMAP), FDS(1, 1), NEEDS(SHMEM_MAP)),
        BACKEND(SHMEM_UNMAP,             SENDS(MMAP), NEEDS(SHMEM_MAP)),
};
/* clang-format on */

static const struct {
        const struct oriel_message_row *rows;
        uint32_t count;
} directions[] = {
        [ORIEL_FROM_FRONTEND] = {frontend_rows, ARRAY_SIZE(frontend_rows)},
        [ORIEL_FROM_BACKEND] = {backend_rows, ARRAY_SIZE(backend_rows)},
};

const struct oriel_message_row *oriel_message_find(enum oriel_direction direction, uint32_t id)
{
        if (id >= oriel_message_count(direction))
                return NULL;

        const struct oriel_message_row *row = &directions[direction].rows[id];

        return row->name ? row : NULL;
}

uint32_t oriel_message_count(enum oriel_direction direction)
{
        return (size_t)direction < ARRAY_SIZE(directions) ? directions[direction].count : 0;
}
