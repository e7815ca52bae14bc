/* SPDX-License-Identifier: BSD-2-Clause */

/* Rings for the cases of this folder: where each lies in guest memory, and the requests that start it. Ring n has a
 * piece of PIECE bytes; back_ring() clears it, back_ring_addr() has the addresses for the peer, guest or user addresses
 * as negotiated. back_start_ring() and back_prepare() stop at the first answer that is not accepted and store the
 * request in b->at. Descriptors stay the caller's. */

#include "base/fd.h"
#include "conform/backend/backend.h"
#include "program/virtio_pmem.h"

#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <sys/eventfd.h>

/* Each ring has a piece of guest memory: descriptors, available ring, used ring and buffers at these offsets. */
#define PIECE  UINT64_C(0x10000)
#define DESC   UINT64_C(0)
#define AVAIL  UINT64_C(0x4000)
#define USED   UINT64_C(0x8000)
#define BUFFER UINT64_C(0xc000)

void events_close(struct backend_events *events)
{
        fd_close(events->kick);
        fd_close(events->call);
        fd_close(events->err);
}

struct backend_events events_open(void)
{
        return (struct backend_events){eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
                                       eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
}

struct ring back_ring(struct back_end *b, unsigned index)
{
        uint8_t *at = b->memory + index * PIECE;

        memset(at, 0, PIECE);
        return (struct ring){
                .desc = (struct vring_desc *)(at + DESC),
                .avail = (struct vring_avail *)(at + AVAIL),
                .used = (struct vring_used *)(at + USED),
                .guest = GUEST_ADDRESS + index * PIECE + BUFFER,
        };
}

unsigned back_taking_ring(const struct back_end *b)
{
        return b->options->virtio_id == VIRTIO_ID_NET;
}

struct vhost_vring_addr back_ring_addr(const struct back_end *b, unsigned index)
{
        uint64_t base = back_has(b, ORIEL_PROTOCOL_F_GPA_ADDRESSES) ? GUEST_ADDRESS : (uintptr_t)b->memory;
        uint64_t at = base + index * PIECE;

        return (struct vhost_vring_addr){
                .index = index,
                .desc_user_addr = at + DESC,
                .avail_user_addr = at + AVAIL,
                .used_user_addr = at + USED,
        };
}

static uint64_t fd_payload(unsigned index, int fd)
{
        return index | (fd < 0 ? ORIEL_VRING_FD_NONE : 0);
}

enum answer back_set_fd(struct back_end *b, enum oriel_frontend_request id, unsigned index, int fd)
{
        uint64_t payload = fd_payload(index, fd);

        return back_ask_fd(b, id, &payload, sizeof(payload), fd);
}

enum answer back_set_state(struct back_end *b, enum oriel_frontend_request id, unsigned index, uint32_t num)
{
        struct vhost_vring_state state = {index, num};

        return back_ask_with(b, id, &state, sizeof(state));
}

enum answer back_stop_ring(struct back_end *b, unsigned index, uint32_t *base)
{
        enum answer answer = back_set_state(b, ORIEL_FRONTEND_GET_VRING_BASE, index, 0);

        *base = answer == DONE ? b->reply.payload.vring_state.num : 0;
        if (answer == DONE && b->reply.payload.vring_state.index != index) {
                complain(&b->why, "GET_VRING_BASE of vring %u: the reply is about vring %u", index,
                         b->reply.payload.vring_state.index);
                return BROKEN;
        }
        return answer;
}

uint64_t back_least_features(const struct back_end *b)
{
        uint64_t features = ORIEL_FEATURE(VIRTIO_F_VERSION_1) | ORIEL_FEATURE(ORIEL_F_PROTOCOL_FEATURES);

        if (b->options->virtio_id == VIRTIO_ID_PMEM)
                features |= ORIEL_FEATURE(VIRTIO_PMEM_F_SHMEM_REGION);
        return b->features & (features | b->device_features);
}

enum answer back_set_features(struct back_end *b)
{
        return back_ask_u64(b, ORIEL_FRONTEND_SET_FEATURES, back_least_features(b));
}

/* ---- bringing up ---- */

enum answer back_start_ring(struct back_end *b, unsigned index, uint32_t base, const struct backend_events *events)
{
        const struct vhost_vring_state num = {index, RING_SIZE}, first = {index, base}, enabled = {index, 1};
        const struct vhost_vring_addr addr = back_ring_addr(b, index);
        const uint64_t call = fd_payload(index, events->call), err = fd_payload(index, events->err),
                       kick = fd_payload(index, events->kick);
        const struct {
                enum oriel_frontend_request id;
                const void *payload;
                uint32_t size;
                int fd;
        } steps[] = {
                {ORIEL_FRONTEND_SET_VRING_NUM, &num, sizeof(num), -1},
                {ORIEL_FRONTEND_SET_VRING_BASE, &first, sizeof(first), -1},
                {ORIEL_FRONTEND_SET_VRING_ADDR, &addr, sizeof(addr), -1},
                {ORIEL_FRONTEND_SET_VRING_CALL, &call, sizeof(call), events->call},
                {ORIEL_FRONTEND_SET_VRING_ERR, &err, sizeof(err), events->err},
                {ORIEL_FRONTEND_SET_VRING_KICK, &kick, sizeof(kick), events->kick},
                {ORIEL_FRONTEND_SET_VRING_ENABLE, &enabled, sizeof(enabled), -1},
        };
        enum answer answer = DONE;

        for (size_t i = 0; i < ARRAY_SIZE(steps) && BIT(answer) & ACCEPTED; i++) {
                const struct oriel_message_row *row = oriel_message_find(ORIEL_FROM_FRONTEND, steps[i].id);

                if (row->id == ORIEL_FRONTEND_SET_VRING_ENABLE && !b->agreement.offers_protocol_features)
                        return DONE;
                b->at = row->name;
                answer = back_ask_fd(b, steps[i].id, steps[i].payload, steps[i].size, steps[i].fd);
        }
        return answer;
}

void back_init_memory(struct back_end *b, struct message *message)
{
        uint64_t address = back_has(b, ORIEL_PROTOCOL_F_GPA_ADDRESSES) ? GUEST_ADDRESS : (uintptr_t)b->memory;
        const struct oriel_wire_memory table = {
                .num_regions = 1,
                .regions[0] = {GUEST_ADDRESS, GUEST_SIZE, address, 0},
        };

        wire_init(message, ORIEL_FRONTEND_SET_MEM_TABLE, &table, offsetof(struct oriel_wire_memory, regions[1]));
        wire_add_fd(message, b->memory_fd);
}

enum answer back_prepare(struct back_end *b)
{
        enum answer answer = back_set_features(b);
        struct message memory;

        b->at = "SET_FEATURES";
        if (!(BIT(answer) & ACCEPTED))
                return answer;
        b->at = "SET_MEM_TABLE";
        back_init_memory(b, &memory);
        return back_ask(b, &memory);
}

enum answer back_driver_ok(struct back_end *b)
{
        if (!back_has(b, ORIEL_PROTOCOL_F_STATUS))
                return DONE;
        b->at = "SET_STATUS";
        return back_ask_u64(b, ORIEL_FRONTEND_SET_STATUS,
                            VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK |
                                    VIRTIO_CONFIG_S_DRIVER_OK);
}

enum answer back_bring_up(struct back_end *b, uint32_t base, const struct backend_events *events)
{
        enum answer answer = back_prepare(b);
        struct ring ring = back_ring(b, 0);

        ring.avail->idx = ring.used->idx = (uint16_t)base;
        if (BIT(answer) & ACCEPTED)
                answer = back_start_ring(b, 0, base, events);
        return BIT(answer) & ACCEPTED ? back_driver_ok(b) : answer;
}

enum verdict back_expect(struct trial *trial, enum answer got, unsigned allowed)
{
        return expect(trial, trial->back_end->at, got, allowed);
}
