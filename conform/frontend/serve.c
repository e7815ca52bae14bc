/* SPDX-License-Identifier: BSD-2-Clause */

/* The main channel of the suite for front-ends: a back-end that accepts every request that it understands, offers one
 * shared memory region, and does nothing with its rings. front_handle() checks each request against its row, and keeps
 * the first violation for the cases to look at, but serves the request all the same where it can. Every request is
 * noted; one without a handler is acknowledged if that was asked for. State is that of struct front_end; one thread. */

#include "conform/frontend/frontend.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_fs.h>
#include <linux/virtio_ids.h>
#include <string.h>

#define MEM_SLOTS 509

#define OFFERED                                                                                           \
        (ORIEL_FEATURE(ORIEL_PROTOCOL_F_MQ) | ORIEL_FEATURE(ORIEL_PROTOCOL_F_REPLY_ACK) |                 \
         ORIEL_FEATURE(ORIEL_PROTOCOL_F_BACKEND_REQ) | ORIEL_FEATURE(ORIEL_PROTOCOL_F_CONFIG) |           \
         ORIEL_FEATURE(ORIEL_PROTOCOL_F_BACKEND_SEND_FD) | ORIEL_FEATURE(ORIEL_PROTOCOL_F_RESET_DEVICE) | \
         ORIEL_FEATURE(ORIEL_PROTOCOL_F_CONFIGURE_MEM_SLOTS) | ORIEL_FEATURE(ORIEL_PROTOCOL_F_STATUS) |   \
         ORIEL_FEATURE(ORIEL_PROTOCOL_F_SHMEM_MAP))
#define FEATURES (ORIEL_FEATURE(VIRTIO_F_VERSION_1) | ORIEL_FEATURE(ORIEL_F_PROTOCOL_FEATURES))

/* Each returns 0, with the reply if the row has one; otherwise the request is refused. */
#pragma GCC diagnostic ignored "-Wunused-parameter"

/* Checks the features against @offered; others are a violation, and refused. */
static int front_take_features(struct front_end *f, const struct message *request, uint64_t offered, const char *name)
{
        uint64_t more = request->payload.u64 & ~offered;

        if (more && !f->violation.text[0])
                complain(&f->violation, "%s: 0x%llx was not offered", name, (unsigned long long)more);
        return more ? -EINVAL : 0;
}

static int set_features(struct front_end *f, struct message *request, struct message *reply)
{
        f->agreement.virtio_features = request->payload.u64;
        return front_take_features(f, request, FEATURES, "SET_FEATURES");
}

static int set_protocol_features(struct front_end *f, struct message *request, struct message *reply)
{
        f->agreement.protocol_features = request->payload.u64 & OFFERED;
        return front_take_features(f, request, OFFERED, "SET_PROTOCOL_FEATURES");
}

/* All requests whose reply is one number. */
static int get_number(struct front_end *f, struct message *request, struct message *reply)
{
        const uint64_t numbers[] = {
                [ORIEL_FRONTEND_GET_FEATURES] = FEATURES,
                [ORIEL_FRONTEND_GET_PROTOCOL_FEATURES] = OFFERED,
                [ORIEL_FRONTEND_GET_QUEUE_NUM] = f->options->queues,
                [ORIEL_FRONTEND_GET_MAX_MEM_SLOTS] = MEM_SLOTS,
                [ORIEL_FRONTEND_GET_STATUS] = f->status,
        };

        message_set_u64(reply, numbers[request->header.request]);
        return 0;
}

static int set_backend_req_fd(struct front_end *f, struct message *request, struct message *reply)
{
        if (f->back.fd >= 0)
                channel_close(&f->back);
        return channel_init(&f->back, message_take_fd(request, 0));
}

/* Linux's virtio-fs driver refuses a device without request queues. */
static int get_config(struct front_end *f, struct message *request, struct message *reply)
{
        const struct virtio_fs_config fs = {.tag = "conform", .num_request_queues = 1};
        uint8_t space[ORIEL_MAX_CONFIG] = {0};
        struct oriel_wire_config config;

        message_get(request, &config, sizeof(config));
        if (f->options->virtio_id == VIRTIO_ID_FS)
                memcpy(space, &fs, sizeof(fs));
        if (config.offset > sizeof(space) || config.size > sizeof(space) - config.offset)
                return 0;
        memcpy(config.payload, space + config.offset, config.size);
        message_set(reply, &config, request->header.size);
        return 0;
}

static int set_mem_table(struct front_end *f, struct message *request, struct message *reply)
{
        return front_set_memory(f, request);
}

static int add_mem_reg(struct front_end *f, struct message *request, struct message *reply)
{
        return front_add_memory(f, request);
}

static int set_vring_addr(struct front_end *f, struct message *request, struct message *reply)
{
        f->vrings[request->payload.vring_addr.index % ORIEL_MAX_QUEUES].avail =
                request->payload.vring_addr.avail_user_addr;
        return 0;
}

static int set_vring_base(struct front_end *f, struct message *request, struct message *reply)
{
        f->vrings[request->payload.vring_state.index % ORIEL_MAX_QUEUES].base = request->payload.vring_state.num;
        return 0;
}

static int get_vring_base(struct front_end *f, struct message *request, struct message *reply)
{
        uint32_t index = request->payload.vring_state.index;
        struct front_vring *vring = &f->vrings[index % ORIEL_MAX_QUEUES];
        struct vhost_vring_state state = {index, vring->base};

        f->stops += vring->started;
        vring->started = false;
        message_set(reply, &state, sizeof(state));
        return 0;
}

static int set_vring_kick(struct front_end *f, struct message *request, struct message *reply)
{
        f->vrings[request->payload.u64 & ORIEL_VRING_FD_INDEX].started = true;
        return 0;
}

static int set_vring_enable(struct front_end *f, struct message *request, struct message *reply)
{
        f->vrings[request->payload.vring_state.index % ORIEL_MAX_QUEUES].enabled = request->payload.vring_state.num;
        return 0;
}

static int reset_device(struct front_end *f, struct message *request, struct message *reply)
{
        f->stops++;
        memset(f->vrings, 0, sizeof(f->vrings));
        return 0;
}

static int set_status(struct front_end *f, struct message *request, struct message *reply)
{
        f->status = (uint8_t)request->payload.u64;
        return f->status == 0 ? reset_device(f, request, reply) : 0;
}

static int get_shmem_config(struct front_end *f, struct message *request, struct message *reply)
{
        struct oriel_wire_shmem_config config = {.num_regions = 1, .sizes[0] = f->options->region};

        message_set(reply, &config, sizeof(config));
        return 0;
}

/* Requests that are not here are only noted. */
static int (*const handlers[ORIEL_FRONTEND_REQUESTS])(struct front_end *f, struct message *request,
                                                      struct message *reply) = {
        [ORIEL_FRONTEND_GET_FEATURES] = get_number,
        [ORIEL_FRONTEND_SET_FEATURES] = set_features,
        [ORIEL_FRONTEND_GET_PROTOCOL_FEATURES] = get_number,
        [ORIEL_FRONTEND_SET_PROTOCOL_FEATURES] = set_protocol_features,
        [ORIEL_FRONTEND_GET_QUEUE_NUM] = get_number,
        [ORIEL_FRONTEND_GET_MAX_MEM_SLOTS] = get_number,
        [ORIEL_FRONTEND_SET_BACKEND_REQ_FD] = set_backend_req_fd,
        [ORIEL_FRONTEND_GET_CONFIG] = get_config,
        [ORIEL_FRONTEND_SET_MEM_TABLE] = set_mem_table,
        [ORIEL_FRONTEND_ADD_MEM_REG] = add_mem_reg,
        [ORIEL_FRONTEND_SET_VRING_ADDR] = set_vring_addr,
        [ORIEL_FRONTEND_SET_VRING_BASE] = set_vring_base,
        [ORIEL_FRONTEND_GET_VRING_BASE] = get_vring_base,
        [ORIEL_FRONTEND_SET_VRING_KICK] = set_vring_kick,
        [ORIEL_FRONTEND_SET_VRING_ENABLE] = set_vring_enable,
        [ORIEL_FRONTEND_RESET_DEVICE] = reset_device,
        [ORIEL_FRONTEND_SET_STATUS] = set_status,
        [ORIEL_FRONTEND_GET_STATUS] = get_number,
        [ORIEL_FRONTEND_GET_SHMEM_CONFIG] = get_shmem_config,
};

static void front_take_note(struct front_end *f, uint32_t id)
{
        if (f->n_order < MAX_ORDER)
                f->order[f->n_order++] = id;
        if (id < ORIEL_FRONTEND_REQUESTS)
                f->seen[id]++;
}

bool front_is_started(const struct front_end *f)
{
        for (unsigned i = 0; i < ORIEL_MAX_QUEUES; i++)
                if (f->vrings[i].started && f->vrings[i].enabled)
                        return true;
        return false;
}

void front_handle(struct front_end *f, struct message *request)
{
        const struct oriel_message_row *row;
        struct complaint complaint = {""};
        struct message reply;
        int r = message_check_request(ORIEL_FROM_FRONTEND, request, &f->agreement, &row, &complaint);

        front_take_note(f, request->header.request);
        if (r != 0 && !f->violation.text[0])
                f->violation = complaint;
        message_init(&reply, request->header.request, ORIEL_FLAG_REPLY);
        if (r >= 0 && handlers[row->id])
                r = handlers[row->id](f, request, &reply);
        if (f->at_start && front_is_started(f))
                f->at_start(f);
        if (!row)
                return;
        if (!row_replies(row, &f->agreement)) {
                if (!row_acknowledges(row, &request->header, &f->agreement))
                        return;
                message_set_u64(&reply, r < 0);
        }
        channel_send(&f->main, &reply, now_ms() + f->timeout_ms);
}
