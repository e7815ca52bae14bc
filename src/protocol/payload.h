/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef PROTOCOL_PAYLOAD_H
#define PROTOCOL_PAYLOAD_H

#include <oriel/protocol.h>

/* The bounds of each form of payload, for the rows of tables.c. */
#define EXACTLY(type)                      \
        {                                  \
                sizeof(type), sizeof(type) \
        }
#define PAYLOAD_MAX_CONFIG (offsetof(struct oriel_wire_config, payload) + ORIEL_MAX_CONFIG)
#define PAYLOAD_SIZE_NONE \
        {                 \
                0, 0      \
        }
#define PAYLOAD_SIZE_U64               EXACTLY(uint64_t)
#define PAYLOAD_SIZE_FEATURES          EXACTLY(uint64_t)
#define PAYLOAD_SIZE_PROTOCOL_FEATURES EXACTLY(uint64_t)
#define PAYLOAD_SIZE_VRING_STATE       EXACTLY(struct vhost_vring_state)
#define PAYLOAD_SIZE_VRING_INDEX       EXACTLY(struct vhost_vring_state)
#define PAYLOAD_SIZE_VRING_ADDR        EXACTLY(struct vhost_vring_addr)
#define PAYLOAD_SIZE_VRING_FD          EXACTLY(uint64_t)
#define PAYLOAD_SIZE_MEMORY                                                                   \
        {                                                                                     \
                offsetof(struct oriel_wire_memory, regions), sizeof(struct oriel_wire_memory) \
        }
#define PAYLOAD_SIZE_MEMORY_BASES PAYLOAD_SIZE_MEMORY
#define PAYLOAD_SIZE_ADD_MEM_REG                                    \
        {                                                           \
                sizeof(uint64_t), sizeof(struct oriel_wire_mem_reg) \
        }
#define PAYLOAD_SIZE_MEM_REG EXACTLY(struct oriel_wire_mem_reg)
#define PAYLOAD_SIZE_LOG                                        \
        {                                                       \
                sizeof(uint64_t), sizeof(struct oriel_wire_log) \
        }
#define PAYLOAD_SIZE_IOTLB                                                                 \
        {                                                                                  \
                offsetof(struct vhost_iotlb_msg, type) + 1, sizeof(struct vhost_iotlb_msg) \
        }
#define PAYLOAD_SIZE_CONFIG                                                     \
        {                                                                       \
                offsetof(struct oriel_wire_config, payload), PAYLOAD_MAX_CONFIG \
        }
#define PAYLOAD_SIZE_VRING_AREA EXACTLY(struct oriel_wire_vring_area)
#define PAYLOAD_SIZE_INFLIGHT                                                                     \
        {                                                                                         \
                offsetof(struct oriel_wire_inflight, padding), sizeof(struct oriel_wire_inflight) \
        }
#define PAYLOAD_SIZE_SHARED_OBJECT EXACTLY(struct oriel_wire_shared_object)
#define PAYLOAD_SIZE_DEVICE_STATE  EXACTLY(struct oriel_wire_device_state)
#define PAYLOAD_SIZE_MMAP          EXACTLY(struct oriel_wire_mmap)
#define PAYLOAD_SIZE_SHMEM_CONFIG  EXACTLY(struct oriel_wire_shmem_config)
#define PAYLOAD_SIZE_CRYPTO          \
        {                            \
                8, ORIEL_MAX_PAYLOAD \
        }

/* How serious a violation is: a wrong value in a field that nobody reads is harmless. */
enum payload_harm {
        PAYLOAD_HARMFUL,
        PAYLOAD_HARMLESS,
        PAYLOAD_HARMLESS_REPLY, /* but not a request */
};

/* Checks that the contents are consistent with themselves and with the number of fds, as far as the form alone tells.
 * The size is within the row's bounds already. NULL, or the name of the field that is wrong and why, with @harm. */
const char *payload_check(enum oriel_payload payload, const void *data, uint32_t size, unsigned n_fds,
                          enum payload_harm *harm);

#endif
