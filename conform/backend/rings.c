/* SPDX-License-Identifier: BSD-2-Clause */

/* Rings for the cases of this folder: where each lies in guest memory, and the requests that bring one up. Ring n has
 * a piece of PIECE bytes; back_ring() clears it, back_ring_addr() tells the peer of it, in guest or user addresses by
 * what was negotiated. back_start_ring() and back_prepare() stop at the first answer that is no yes and say in *at
 * which request that was. Descriptors stay the caller's. */

#include "conform/backend/backend.h"

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <string.h>

/* Each ring has a piece of guest memory: descriptors, available ring, used ring and buffers at these offsets. */
#define PIECE  UINT64_C(0x10000)
#define DESC   UINT64_C(0)
#define AVAIL  UINT64_C(0x4000)
#define USED   UINT64_C(0x8000)
#define BUFFER UINT64_C(0xc000)

/* SET_MEM_TABLE with all of our guest memory. */
static enum answer give_memory(struct back_end *b)
{
        struct oriel_wire_memory table = {
                .num_regions = 1,
                .regions[0] = {GUEST_ADDRESS, GUEST_SIZE, (uintptr_t)b->memory, 0},
        };

        if (back_has(b, ORIEL_PROTOCOL_F_GPA_ADDRESSES))
                table.regions[0].user_address = GUEST_ADDRESS;
        return back_ask_fd(b, ORIEL_FRONTEND_SET_MEM_TABLE, &table, offsetof(struct oriel_wire_memory, regions[1]),
                           b->memory_fd);
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

enum answer back_set_fd(struct back_end *b, enum oriel_frontend_request id, unsigned index, int fd)
{
        uint64_t payload = index | (fd < 0 ? ORIEL_VRING_FD_NONE : 0);

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

enum answer back_set_features(struct back_end *b)
{
        uint64_t features =
                b->features & (ORIEL_FEATURE(VIRTIO_F_VERSION_1) | ORIEL_FEATURE(ORIEL_F_PROTOCOL_FEATURES));

        return back_ask_with(b, ORIEL_FRONTEND_SET_FEATURES, &features, sizeof(features));
}

/* ---- bringing up ---- */

static enum answer set_num(struct back_end *b, const struct ring_plan *plan)
{
        return back_set_state(b, ORIEL_FRONTEND_SET_VRING_NUM, plan->index, RING_SIZE);
}

static enum answer set_base(struct back_end *b, const struct ring_plan *plan)
{
        return back_set_state(b, ORIEL_FRONTEND_SET_VRING_BASE, plan->index, plan->base);
}

static enum answer set_addr(struct back_end *b, const struct ring_plan *plan)
{
        struct vhost_vring_addr addr = back_ring_addr(b, plan->index);

        return back_ask_with(b, ORIEL_FRONTEND_SET_VRING_ADDR, &addr, sizeof(addr));
}

static enum answer set_call(struct back_end *b, const struct ring_plan *plan)
{
        return back_set_fd(b, ORIEL_FRONTEND_SET_VRING_CALL, plan->index, plan->call);
}

static enum answer set_err(struct back_end *b, const struct ring_plan *plan)
{
        return back_set_fd(b, ORIEL_FRONTEND_SET_VRING_ERR, plan->index, plan->err);
}

static enum answer set_kick(struct back_end *b, const struct ring_plan *plan)
{
        return back_set_fd(b, ORIEL_FRONTEND_SET_VRING_KICK, plan->index, plan->kick);
}

static enum answer set_enable(struct back_end *b, const struct ring_plan *plan)
{
        if (!b->agreement.offers_protocol_features)
                return DONE;
        return back_set_state(b, ORIEL_FRONTEND_SET_VRING_ENABLE, plan->index, 1);
}

enum answer back_start_ring(struct back_end *b, const struct ring_plan *plan, const char **at)
{
        static const struct {
                const char *name;
                enum answer (*take)(struct back_end *b, const struct ring_plan *plan);
        } steps[] = {
                {"SET_VRING_NUM", set_num},       {"SET_VRING_BASE", set_base}, {"SET_VRING_ADDR", set_addr},
                {"SET_VRING_CALL", set_call},     {"SET_VRING_ERR", set_err},   {"SET_VRING_KICK", set_kick},
                {"SET_VRING_ENABLE", set_enable},
        };
        enum answer answer = DONE;

        for (size_t i = 0; i < ARRAY_SIZE(steps) && BIT(answer) & ACCEPTED; i++) {
                *at = steps[i].name;
                answer = steps[i].take(b, plan);
        }
        return answer;
}

enum answer back_prepare(struct back_end *b, const char **at)
{
        enum answer answer = back_set_features(b);

        *at = "SET_FEATURES";
        if (!(BIT(answer) & ACCEPTED))
                return answer;
        *at = "SET_MEM_TABLE";
        return give_memory(b);
}
