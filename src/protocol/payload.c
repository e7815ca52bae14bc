/* SPDX-License-Identifier: BSD-2-Clause */

/* Checks of the contents of payloads, one function for each form that has rules of its own: counts within bounds, the
 * size that a count requires, fds where a flag or the form requires them, reserved fields. payload_check() calls them
 * by a table, after message.c has checked size and number of fds against the row, and before any handler. A payload is
 * copied out before it is read, and may be shorter than its struct, whose rest is then 0. A violation is returned as
 * text, and with whether it may be tolerated. */

#include "protocol/payload.h"
#include "base/cleanup.h"
#include "base/range.h"

#include <assert.h>
#include <string.h>
#include <unistd.h>

/* The wire has no padding, so these are the sizes that peers send. */
static_assert(sizeof(struct oriel_wire_header) == 12, "header");
static_assert(sizeof(struct oriel_wire_memory) == 8 + 8 * 32, "memory");
static_assert(sizeof(struct oriel_wire_mem_reg) == 40, "mem_reg");
static_assert(sizeof(struct oriel_wire_log) == 16, "log");
static_assert(sizeof(struct oriel_wire_config) == 12 + 256, "config");
static_assert(sizeof(struct oriel_wire_vring_area) == 24, "vring_area");
static_assert(offsetof(struct oriel_wire_inflight, padding) == 20, "inflight");
static_assert(sizeof(struct oriel_wire_device_state) == 8, "device_state");
static_assert(sizeof(struct oriel_wire_mmap) == 40, "mmap");
static_assert(offsetof(struct oriel_wire_mmap, fd_offset) == 8, "mmap.fd_offset");
static_assert(offsetof(struct oriel_wire_mmap, flags) == 32, "mmap.flags");
static_assert(sizeof(struct oriel_wire_shmem_config) == 2056, "shmem_config");
static_assert(sizeof(struct vhost_vring_state) == 8, "vring_state");
static_assert(sizeof(struct vhost_vring_addr) == 40, "vring_addr");
static_assert(sizeof(struct vhost_iotlb_msg) == 32, "iotlb");

#define LOAD(type, data, size)               \
        ({                                   \
                type loaded = {0};           \
                memcpy(&loaded, data, size); \
                loaded;                      \
        })

static const char *check_vring_bits(uint64_t vring, unsigned n_fds, enum payload_harm *harm)
{
        if (!!(vring & ORIEL_VRING_FD_NONE) == (n_fds > 0))
                return n_fds ? "the invalid-fd flag comes with an fd" : "the fd is missing";
        *harm = PAYLOAD_HARMLESS;
        return vring & ~(ORIEL_VRING_FD_INDEX | ORIEL_VRING_FD_NONE) ? "reserved bits are set" : NULL;
}

static const char *check_vring_fd(const void *data, uint32_t size, unsigned n_fds, enum payload_harm *harm)
{
        return check_vring_bits(LOAD(uint64_t, data, size), n_fds, harm);
}

static const char *check_vring_area(const void *data, uint32_t size, unsigned n_fds, enum payload_harm *harm)
{
        return check_vring_bits(LOAD(struct oriel_wire_vring_area, data, size).vring, n_fds, harm);
}

static const char *check_vring_index(const void *data, uint32_t size, unsigned n_fds, enum payload_harm *harm)
{
        *harm = PAYLOAD_HARMLESS;
        return LOAD(struct vhost_vring_state, data, size).num ? "num is reserved and must be 0" : NULL;
}

static const char *check_memory_bases(const void *data, uint32_t size, unsigned n_fds, enum payload_harm *harm)
{
        struct oriel_wire_memory memory = LOAD(struct oriel_wire_memory, data, size);

        if (memory.num_regions > ORIEL_MAX_MEM_REGIONS)
                return "num_regions is above 8";
        if (size != offsetof(struct oriel_wire_memory, regions) + memory.num_regions * sizeof(memory.regions[0]))
                return "the payload size does not fit num_regions";
        return NULL;
}

static const char *payload_check_memory(const void *data, uint32_t size, unsigned n_fds, enum payload_harm *harm)
{
        const char *wrong = check_memory_bases(data, size, n_fds, harm);

        if (wrong)
                return wrong;
        return n_fds != LOAD(struct oriel_wire_memory, data, size).num_regions ? "the number of fds is not num_regions"
                                                                               : NULL;
}

static const char *check_add_mem_reg(const void *data, uint32_t size, unsigned n_fds, enum payload_harm *harm)
{
        if (size != sizeof(uint64_t) && size != sizeof(struct oriel_wire_mem_reg))
                return "the payload size is neither 8 nor 40";
        if ((size == sizeof(struct oriel_wire_mem_reg)) != (n_fds == 1))
                return n_fds ? "an fd comes with an acknowledgement" : "the fd is missing";
        return NULL;
}

static const char *check_log(const void *data, uint32_t size, unsigned n_fds, enum payload_harm *harm)
{
        if (size != sizeof(uint64_t) && size != sizeof(struct oriel_wire_log))
                return "the payload size is neither 8 nor 16";
        if ((size == sizeof(struct oriel_wire_log)) != (n_fds == 1))
                return n_fds ? "an fd comes without size and offset" : "the fd is missing";
        return NULL;
}

static const char *check_config(const void *data, uint32_t size, unsigned n_fds, enum payload_harm *harm)
{
        struct oriel_wire_config config = LOAD(struct oriel_wire_config, data, size);

        if (config.size > ORIEL_MAX_CONFIG)
                return "size is above 256";
        if (config.flags & ~(uint32_t)ORIEL_CONFIG_LIVE_MIGRATION)
                return "flags are unknown";
        /* A shorter reply is tolerated: it only has fewer bytes of the config space. */
        if (size >= offsetof(struct oriel_wire_config, payload) &&
            size < offsetof(struct oriel_wire_config, payload) + config.size)
                *harm = PAYLOAD_HARMLESS_REPLY;
        return size != offsetof(struct oriel_wire_config, payload) + config.size ? "the payload size does not fit size"
                                                                                 : NULL;
}

static const char *check_device_state(const void *data, uint32_t size, unsigned n_fds, enum payload_harm *harm)
{
        struct oriel_wire_device_state state = LOAD(struct oriel_wire_device_state, data, size);

        if (state.direction > ORIEL_DEVICE_STATE_LOAD)
                return "transfer direction is neither save nor load";
        return state.phase ? "migration phase is not 0 (stopped)" : NULL;
}

static const char *check_mmap(const void *data, uint32_t size, unsigned n_fds, enum payload_harm *harm)
{
        struct oriel_wire_mmap map = LOAD(struct oriel_wire_mmap, data, size);

        return map.flags & ~ORIEL_MMAP_READ_WRITE ? "flags are unknown" : NULL;
}

static const char *check_shmem_config(const void *data, uint32_t size, unsigned n_fds, enum payload_harm *harm)
{
        struct oriel_wire_shmem_config config = LOAD(struct oriel_wire_shmem_config, data, size);
        uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
        uint32_t regions = 0;

        for (unsigned i = 0; i < ORIEL_MAX_SHMIDS; i++) {
                if (!is_aligned(config.sizes[i], page))
                        return "a region's size is not a multiple of the page size";
                regions += config.sizes[i] != 0;
        }
        *harm = PAYLOAD_HARMLESS;
        return regions != config.num_regions ? "num_regions is not the number of sizes that are not 0" : NULL;
}

typedef const char *(*check_fn)(const void *data, uint32_t size, unsigned n_fds, enum payload_harm *harm);

static const check_fn checks[ORIEL_PAYLOADS] = {
        [ORIEL_PAYLOAD_VRING_FD] = check_vring_fd,
        [ORIEL_PAYLOAD_VRING_INDEX] = check_vring_index,
        [ORIEL_PAYLOAD_VRING_AREA] = check_vring_area,
        [ORIEL_PAYLOAD_MEMORY] = payload_check_memory,
        [ORIEL_PAYLOAD_MEMORY_BASES] = check_memory_bases,
        [ORIEL_PAYLOAD_ADD_MEM_REG] = check_add_mem_reg,
        [ORIEL_PAYLOAD_LOG] = check_log,
        [ORIEL_PAYLOAD_CONFIG] = check_config,
        [ORIEL_PAYLOAD_DEVICE_STATE] = check_device_state,
        [ORIEL_PAYLOAD_MMAP] = check_mmap,
        [ORIEL_PAYLOAD_SHMEM_CONFIG] = check_shmem_config,
};

const char *payload_check(enum oriel_payload payload, const void *data, uint32_t size, unsigned n_fds,
                          enum payload_harm *harm)
{
        check_fn check = (size_t)payload < ARRAY_SIZE(checks) ? checks[payload] : NULL;

        *harm = PAYLOAD_HARMFUL;
        return check ? check(data, size, n_fds, harm) : NULL;
}
