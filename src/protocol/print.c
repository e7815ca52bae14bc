/* SPDX-License-Identifier: BSD-2-Clause */

/* Payloads as one line of words and numbers, for the tracer and for logs. A table has a printer for each form of
 * payload and the least size that it reads; a shorter payload is printed as bytes, so contents that a peer made up
 * never make a printer read past the end. Every printer copies its struct out first. As with snprintf(), the text is
 * cut where the caller's buffer ends, and the result is the length that the whole text has. */

#include "base/cleanup.h"

#include <inttypes.h>
#include <oriel/protocol.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Text that is cut at the end of the buffer; @length is that of the whole text. */
struct text {
        char *out;
        size_t size;
        size_t length;
};

static void __attribute__((format(printf, 2, 3))) print_put(struct text *text, const char *format, ...)
{
        size_t room = text->length < text->size ? text->size - text->length : 0;
        va_list args;

        va_start(args, format);
        int n = vsnprintf(room ? text->out + text->length : NULL, room, format, args);
        va_end(args);
        if (n > 0)
                text->length += (size_t)n;
}

static void put_names(struct text *text, uint64_t bits, const char *(*name)(unsigned bit))
{
        print_put(text, "0x%" PRIx64, bits);
        for (unsigned bit = 0; bit < 64; bit++)
                if (bits & ORIEL_FEATURE(bit)) {
                        const char *known = name(bit);

                        if (known)
                                print_put(text, " %s", known);
                        else
                                print_put(text, " bit%u", bit);
                }
}

static const char *common_feature_name(unsigned bit)
{
        return oriel_virtio_feature_name(0, bit);
}

static void print_u64(struct text *text, const void *data, size_t size)
{
        uint64_t value;

        memcpy(&value, data, sizeof(value));
        print_put(text, "0x%" PRIx64, value);
}

static void protocol_print_features(struct text *text, const void *data, size_t size)
{
        uint64_t value;

        memcpy(&value, data, sizeof(value));
        put_names(text, value, common_feature_name);
}

static void print_protocol_features(struct text *text, const void *data, size_t size)
{
        uint64_t value;

        memcpy(&value, data, sizeof(value));
        put_names(text, value, oriel_protocol_feature_name);
}

static void print_vring_state(struct text *text, const void *data, size_t size)
{
        struct vhost_vring_state state;

        memcpy(&state, data, sizeof(state));
        print_put(text, "vring %u num %u", state.index, state.num);
}

static void print_vring_addr(struct text *text, const void *data, size_t size)
{
        struct vhost_vring_addr addr;

        memcpy(&addr, data, sizeof(addr));
        print_put(text,
                  "vring %u flags 0x%x descriptor 0x%" PRIx64 " used 0x%" PRIx64 " available 0x%" PRIx64
                  " log 0x%" PRIx64,
                  addr.index, addr.flags, (uint64_t)addr.desc_user_addr, (uint64_t)addr.used_user_addr,
                  (uint64_t)addr.avail_user_addr, (uint64_t)addr.log_guest_addr);
}

static void print_vring_fd(struct text *text, const void *data, size_t size)
{
        uint64_t value;

        memcpy(&value, data, sizeof(value));
        print_put(text, "vring %u%s", (unsigned)(value & ORIEL_VRING_FD_INDEX),
                  value & ORIEL_VRING_FD_NONE ? " no fd" : "");
}

static void put_region(struct text *text, const struct oriel_wire_memory_region *region)
{
        print_put(text, "guest 0x%" PRIx64 " size 0x%" PRIx64 " user 0x%" PRIx64 " mmap_offset 0x%" PRIx64,
                  region->guest_address, region->size, region->user_address, region->mmap_offset);
}

static void print_memory(struct text *text, const void *data, size_t size)
{
        struct oriel_wire_memory memory = {0};
        size_t given;

        memcpy(&memory, data, size < sizeof(memory) ? size : sizeof(memory));
        given = (size - offsetof(struct oriel_wire_memory, regions)) / sizeof(memory.regions[0]);
        print_put(text, "regions %u", memory.num_regions);
        for (size_t i = 0; i < given && i < memory.num_regions && i < ORIEL_MAX_MEM_REGIONS; i++) {
                print_put(text, " [");
                put_region(text, &memory.regions[i]);
                print_put(text, "]");
        }
}

static void print_mem_reg(struct text *text, const void *data, size_t size)
{
        struct oriel_wire_mem_reg mem_reg;

        memcpy(&mem_reg, data, sizeof(mem_reg));
        put_region(text, &mem_reg.region);
}

static void print_log(struct text *text, const void *data, size_t size)
{
        struct oriel_wire_log log = {0};

        memcpy(&log, data, size < sizeof(log) ? size : sizeof(log));
        print_put(text, "log size 0x%" PRIx64 " log offset 0x%" PRIx64, log.size, log.offset);
}

static void print_iotlb(struct text *text, const void *data, size_t size)
{
        static const char *const types[] = {"?", "miss", "update", "invalidate", "access-fail"};
        static const char *const perms[] = {"none", "ro", "wo", "rw"};
        struct vhost_iotlb_msg iotlb = {0};

        memcpy(&iotlb, data, size < sizeof(iotlb) ? size : sizeof(iotlb));
        print_put(text, "%s iova 0x%" PRIx64 " size 0x%" PRIx64 " user 0x%" PRIx64 " %s",
                  iotlb.type < ARRAY_SIZE(types) ? types[iotlb.type] : "?", (uint64_t)iotlb.iova, (uint64_t)iotlb.size,
                  (uint64_t)iotlb.uaddr, perms[iotlb.perm & 3]);
}

static void print_config(struct text *text, const void *data, size_t size)
{
        struct oriel_wire_config config = {0};
        size_t given = size - offsetof(struct oriel_wire_config, payload);

        memcpy(&config, data, size < sizeof(config) ? size : sizeof(config));
        print_put(text, "offset %u size %u flags 0x%x ", config.offset, config.size, config.flags);
        for (size_t i = 0; i < given && i < ORIEL_MAX_CONFIG; i++)
                print_put(text, "%02x", config.payload[i]);
}

static void print_vring_area(struct text *text, const void *data, size_t size)
{
        struct oriel_wire_vring_area area;

        memcpy(&area, data, sizeof(area));
        print_vring_fd(text, &area.vring, sizeof(area.vring));
        print_put(text, " size 0x%" PRIx64 " offset 0x%" PRIx64, area.size, area.offset);
}

static void print_inflight(struct text *text, const void *data, size_t size)
{
        struct oriel_wire_inflight inflight = {0};

        memcpy(&inflight, data, size < sizeof(inflight) ? size : sizeof(inflight));
        print_put(text, "mmap size 0x%" PRIx64 " mmap offset 0x%" PRIx64 " queues %u queue size %u", inflight.mmap_size,
                  inflight.mmap_offset, inflight.num_queues, inflight.queue_size);
}

static void print_shared_object(struct text *text, const void *data, size_t size)
{
        const uint8_t *uuid = data;

        for (size_t i = 0; i < size; i++)
                print_put(text, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid[i]);
}

static void print_device_state(struct text *text, const void *data, size_t size)
{
        static const char *const directions[] = {"save", "load"};
        struct oriel_wire_device_state state;

        memcpy(&state, data, sizeof(state));
        print_put(text, "%s phase %u", state.direction < ARRAY_SIZE(directions) ? directions[state.direction] : "?",
                  state.phase);
}

static void print_mmap(struct text *text, const void *data, size_t size)
{
        struct oriel_wire_mmap map;

        memcpy(&map, data, sizeof(map));
        print_put(text, "shmid %u fd_offset 0x%" PRIx64 " shm_offset 0x%" PRIx64 " len 0x%" PRIx64, map.shmid,
                  map.fd_offset, map.shm_offset, map.len);
        if (map.flags & ~ORIEL_MMAP_READ_WRITE)
                print_put(text, " flags 0x%" PRIx64, map.flags);
        else
                print_put(text, " %s", map.flags ? "read-write" : "read-only");
}

static void print_shmem_config(struct text *text, const void *data, size_t size)
{
        struct oriel_wire_shmem_config config;

        memcpy(&config, data, sizeof(config));
        print_put(text, "regions %u", config.num_regions);
        for (unsigned i = 0; i < ORIEL_MAX_SHMIDS; i++)
                if (config.sizes[i])
                        print_put(text, " [shmid %u size 0x%" PRIx64 "]", i, config.sizes[i]);
}

static void print_bytes(struct text *text, const void *data, size_t size)
{
        const uint8_t *bytes = data;

        print_put(text, "%zu bytes", size);
        for (size_t i = 0; i < size && i < 16; i++)
                print_put(text, " %02x", bytes[i]);
}

/* Each printer, with the least size of payload that it may be given. */
static const struct {
        size_t size;
        void (*print)(struct text *text, const void *data, size_t size);
} printers[ORIEL_PAYLOADS] = {
        [ORIEL_PAYLOAD_NONE] = {0, print_bytes},
        [ORIEL_PAYLOAD_U64] = {sizeof(uint64_t), print_u64},
        [ORIEL_PAYLOAD_FEATURES] = {sizeof(uint64_t), protocol_print_features},
        [ORIEL_PAYLOAD_PROTOCOL_FEATURES] = {sizeof(uint64_t), print_protocol_features},
        [ORIEL_PAYLOAD_VRING_STATE] = {sizeof(struct vhost_vring_state), print_vring_state},
        [ORIEL_PAYLOAD_VRING_INDEX] = {sizeof(struct vhost_vring_state), print_vring_state},
        [ORIEL_PAYLOAD_VRING_ADDR] = {sizeof(struct vhost_vring_addr), print_vring_addr},
        [ORIEL_PAYLOAD_VRING_FD] = {sizeof(uint64_t), print_vring_fd},
        [ORIEL_PAYLOAD_MEMORY] = {offsetof(struct oriel_wire_memory, regions), print_memory},
        [ORIEL_PAYLOAD_MEMORY_BASES] = {offsetof(struct oriel_wire_memory, regions), print_memory},
        [ORIEL_PAYLOAD_ADD_MEM_REG] = {sizeof(struct oriel_wire_mem_reg), print_mem_reg},
        [ORIEL_PAYLOAD_MEM_REG] = {sizeof(struct oriel_wire_mem_reg), print_mem_reg},
        [ORIEL_PAYLOAD_LOG] = {sizeof(uint64_t), print_log},
        [ORIEL_PAYLOAD_IOTLB] = {offsetof(struct vhost_iotlb_msg, type) + 1, print_iotlb},
        [ORIEL_PAYLOAD_CONFIG] = {offsetof(struct oriel_wire_config, payload), print_config},
        [ORIEL_PAYLOAD_VRING_AREA] = {sizeof(struct oriel_wire_vring_area), print_vring_area},
        [ORIEL_PAYLOAD_INFLIGHT] = {offsetof(struct oriel_wire_inflight, padding), print_inflight},
        [ORIEL_PAYLOAD_SHARED_OBJECT] = {sizeof(struct oriel_wire_shared_object), print_shared_object},
        [ORIEL_PAYLOAD_DEVICE_STATE] = {sizeof(struct oriel_wire_device_state), print_device_state},
        [ORIEL_PAYLOAD_MMAP] = {sizeof(struct oriel_wire_mmap), print_mmap},
        [ORIEL_PAYLOAD_SHMEM_CONFIG] = {sizeof(struct oriel_wire_shmem_config), print_shmem_config},
        [ORIEL_PAYLOAD_CRYPTO] = {0, print_bytes},
};

size_t oriel_payload_print(enum oriel_payload payload, const void *data, size_t data_size, char *out, size_t size)
{
        struct text text = {out, size, 0};

        if (size)
                out[0] = '\0';
        if (payload == ORIEL_PAYLOAD_NONE && data_size == 0)
                return 0;
        if ((size_t)payload < ARRAY_SIZE(printers) && data_size >= printers[payload].size)
                printers[payload].print(&text, data, data_size);
        else
                print_bytes(&text, data, data_size);
        return text.length;
}
