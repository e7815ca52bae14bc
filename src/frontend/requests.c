/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The front-end's requests, one function for each: what is sent, which file descriptors go with it, and what is
 * checked in the answer before anybody uses it.
 */
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/range.h"
#include "frontend/frontend.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <oriel/virtqueue.h>
#include <poll.h>
#include <string.h>

static void request_make(struct message *message, enum oriel_frontend_request id, const void *payload, uint32_t size,
                         int fd)
{
        message_init(message, id, 0);
        if (size)
                message_set(message, payload, size);
        if (fd >= 0)
                message->fds[message->n_fds++] = fd;
}

static int frontend_send_payload(struct oriel_frontend *frontend, enum oriel_frontend_request id, const void *payload,
                                 uint32_t size, int fd)
{
        return oriel_frontend_request(frontend, id, payload, size, fd, NULL, NULL);
}

int oriel_frontend_request(struct oriel_frontend *frontend, enum oriel_frontend_request id, const void *payload,
                           uint32_t size, int fd, void *reply, uint32_t *reply_size)
{
        struct message request, answer;

        if (size > ORIEL_MAX_PAYLOAD)
                return -EMSGSIZE;

        int r = fd_check_optional(fd);

        if (r < 0)
                return r;
        request_make(&request, id, payload, size, fd);
        r = frontend_call(frontend, &request, &answer);

        message_close_fds(&answer);
        if (r < 0 || !reply)
                return r;
        message_get(&answer, reply, *reply_size);
        *reply_size = answer.header.size;
        return 0;
}

int oriel_frontend_get_shmem_config(struct oriel_frontend *frontend, uint64_t sizes[ORIEL_MAX_SHMIDS])
{
        struct oriel_wire_shmem_config config;
        uint32_t size = sizeof(config);
        int r = oriel_frontend_request(frontend, ORIEL_FRONTEND_GET_SHMEM_CONFIG, NULL, 0, -1, &config, &size);

        if (r == 0)
                memcpy(sizes, config.sizes, sizeof(config.sizes));
        return r;
}

static uint32_t config_size(uint32_t size)
{
        return (uint32_t)offsetof(struct oriel_wire_config, payload) + size;
}

int oriel_frontend_get_config(struct oriel_frontend *frontend, uint32_t offset, void *data, uint32_t size)
{
        struct oriel_wire_config config = {.offset = offset, .size = size};
        uint32_t reply_size = sizeof(config);

        if (size > ORIEL_MAX_CONFIG)
                return -EMSGSIZE;

        int r = oriel_frontend_request(frontend, ORIEL_FRONTEND_GET_CONFIG, &config, config_size(size), -1, &config,
                                       &reply_size);

        if (r < 0)
                return r;
        if (reply_size != config_size(size) || config.offset != offset)
                return -EREMOTEIO;
        memcpy(data, config.payload, size);
        return 0;
}

int oriel_frontend_set_config(struct oriel_frontend *frontend, uint32_t offset, const void *data, uint32_t size,
                              enum oriel_config_flags flags)
{
        struct oriel_wire_config config = {.offset = offset, .size = size, .flags = flags};

        if (size > ORIEL_MAX_CONFIG)
                return -EMSGSIZE;
        memcpy(config.payload, data, size);
        return frontend_send_payload(frontend, ORIEL_FRONTEND_SET_CONFIG, &config, config_size(size), -1);
}

int oriel_frontend_reset_device(struct oriel_frontend *frontend)
{
        int r = frontend_send_payload(frontend, ORIEL_FRONTEND_RESET_DEVICE, NULL, 0, -1);

        if (r != -ECANCELED && r != -EINPROGRESS && r != -EBUSY)
                unmap_regions(frontend);
        return r;
}

/* ---- memory ---- */

static struct oriel_wire_memory_region to_wire(const struct oriel_frontend *frontend,
                                               const struct oriel_memory_region *region)
{
        struct oriel_wire_memory_region wire = {
                .guest_address = region->guest_address,
                .size = region->size,
                .user_address = region->user_address,
                .mmap_offset = region->mmap_offset,
        };

        if (agreed(&frontend->agreement, ORIEL_PROTOCOL_F_GPA_ADDRESSES))
                wire.user_address = region->guest_address;
        return wire;
}

int call_set_mem_table(struct oriel_frontend *frontend, const struct oriel_memory_region *regions, const int *fds,
                       unsigned n, struct message *reply)
{
        struct oriel_wire_memory wire = {.num_regions = n};
        struct message request;

        if (n > ORIEL_MAX_MEM_REGIONS)
                return -E2BIG;
        for (unsigned i = 0; i < n; i++) {
                int r = fd_check(fds[i]);

                if (r < 0)
                        return r;
                wire.regions[i] = to_wire(frontend, &regions[i]);
        }
        request_make(&request, ORIEL_FRONTEND_SET_MEM_TABLE, &wire,
                     (uint32_t)(offsetof(struct oriel_wire_memory, regions) + n * sizeof(wire.regions[0])), -1);
        request.n_fds = n;
        for (unsigned i = 0; i < n; i++)
                request.fds[i] = fds[i];
        return frontend_call(frontend, &request, reply);
}

int oriel_frontend_set_mem_table(struct oriel_frontend *frontend, const struct oriel_memory_region *regions,
                                 const int *fds, unsigned n)
{
        return call_set_mem_table(frontend, regions, fds, n, NULL);
}

int call_add_mem_reg(struct oriel_frontend *frontend, const struct oriel_memory_region *region, int fd,
                     struct message *reply)
{
        struct oriel_wire_mem_reg wire = {.region = to_wire(frontend, region)};
        struct message request;
        int r = fd_check(fd);

        if (r < 0)
                return r;
        request_make(&request, ORIEL_FRONTEND_ADD_MEM_REG, &wire, sizeof(wire), fd);
        return frontend_call(frontend, &request, reply);
}

int oriel_frontend_add_mem_reg(struct oriel_frontend *frontend, const struct oriel_memory_region *region, int fd)
{
        return call_add_mem_reg(frontend, region, fd, NULL);
}

int oriel_frontend_rem_mem_reg(struct oriel_frontend *frontend, const struct oriel_memory_region *region)
{
        struct oriel_wire_mem_reg wire = {.region = to_wire(frontend, region)};

        return frontend_send_payload(frontend, ORIEL_FRONTEND_REM_MEM_REG, &wire, sizeof(wire), -1);
}

int oriel_frontend_await_memory(struct oriel_frontend *frontend)
{
        uint64_t features;
        uint32_t size = sizeof(features);

        if (agreed(&frontend->agreement, ORIEL_PROTOCOL_F_REPLY_ACK))
                return 0;
        return oriel_frontend_request(frontend, ORIEL_FRONTEND_GET_FEATURES, NULL, 0, -1, &features, &size);
}

static bool back_end_asks(const struct oriel_frontend *frontend)
{
        struct pollfd fd = {.fd = frontend->back.fd, .events = POLLIN};

        return may_serve(frontend) && poll(&fd, 1, 0) > 0;
}

int oriel_frontend_await_mappings(struct oriel_frontend *frontend)
{
        int r = frontend->settle_deadline ? 0 : oriel_frontend_await_memory(frontend);

        if (r < 0)
                return r;
        if (frontend->settle_deadline == 0)
                frontend->settle_deadline = now_ms() + frontend->timeout_ms;
        while (back_end_asks(frontend) && now_ms() < frontend->settle_deadline) {
                r = oriel_frontend_dispatch(frontend);
                if (r < 0)
                        return r;
                if (frontend->nonblocking && back_end_asks(frontend))
                        return -EINPROGRESS;
        }
        frontend->settle_deadline = 0;
        return 0;
}

/* The structure has padding, which is sent: it is cleared, and the same for the same request. */
static int send_iotlb(struct oriel_frontend *frontend, uint8_t type, struct oriel_range iova, uint64_t user_address,
                      uint8_t perm)
{
        struct vhost_iotlb_msg msg;
        uint64_t result;
        uint32_t size = sizeof(result);

        memset(&msg, 0, sizeof(msg));
        msg.iova = iova.start;
        msg.size = iova.size;
        msg.uaddr = user_address;
        msg.perm = perm;
        msg.type = type;

        int r = oriel_frontend_request(frontend, ORIEL_FRONTEND_IOTLB_MSG, &msg, sizeof(msg), -1, &result, &size);

        return r < 0 ? r : result ? -EREMOTEIO : 0;
}

int oriel_frontend_iotlb_update(struct oriel_frontend *frontend, struct oriel_range iova, uint64_t user_address,
                                enum oriel_access access)
{
        return send_iotlb(frontend, VHOST_IOTLB_UPDATE, iova, user_address, (uint8_t)access);
}

int oriel_frontend_iotlb_invalidate(struct oriel_frontend *frontend, struct oriel_range iova)
{
        return send_iotlb(frontend, VHOST_IOTLB_INVALIDATE, iova, 0, 0);
}

int oriel_frontend_set_log_base(struct oriel_frontend *frontend, int fd, uint64_t offset, uint64_t size)
{
        struct oriel_wire_log log = {size, offset};
        uint64_t result = 0;
        uint32_t reply_size = sizeof(result);
        int r = oriel_frontend_request(frontend, ORIEL_FRONTEND_SET_LOG_BASE, &log, sizeof(log), fd, &result,
                                       &reply_size);

        return r < 0 ? r : result ? -EREMOTEIO : 0;
}

int oriel_frontend_set_log_fd(struct oriel_frontend *frontend, int fd)
{
        int r = fd_check(fd);

        return r < 0 ? r : frontend_send_payload(frontend, ORIEL_FRONTEND_SET_LOG_FD, NULL, 0, fd);
}

/* ---- vrings ---- */

static int send_vring_state(struct oriel_frontend *frontend, enum oriel_frontend_request id, unsigned vring,
                            uint32_t num)
{
        struct vhost_vring_state state = {vring, num};

        return frontend_send_payload(frontend, id, &state, sizeof(state), -1);
}

static int send_vring_fd(struct oriel_frontend *frontend, enum oriel_frontend_request id, unsigned vring, int fd)
{
        uint64_t payload = vring | (fd < 0 ? ORIEL_VRING_FD_NONE : 0);

        if (vring > ORIEL_VRING_FD_INDEX)
                return -EINVAL;
        return frontend_send_payload(frontend, id, &payload, sizeof(payload), fd);
}

int oriel_frontend_set_vring_num(struct oriel_frontend *frontend, unsigned vring, uint32_t num)
{
        return send_vring_state(frontend, ORIEL_FRONTEND_SET_VRING_NUM, vring, num);
}

int oriel_frontend_set_vring_addr(struct oriel_frontend *frontend, const struct vhost_vring_addr *addr)
{
        return frontend_send_payload(frontend, ORIEL_FRONTEND_SET_VRING_ADDR, addr, sizeof(*addr), -1);
}

int oriel_frontend_set_vring_base(struct oriel_frontend *frontend, unsigned vring, uint32_t base)
{
        return send_vring_state(frontend, ORIEL_FRONTEND_SET_VRING_BASE, vring, base);
}

int oriel_frontend_get_vring_base(struct oriel_frontend *frontend, unsigned vring, uint32_t *base)
{
        struct vhost_vring_state state = {vring, 0};
        uint32_t size = sizeof(state);
        int r = oriel_frontend_request(frontend, ORIEL_FRONTEND_GET_VRING_BASE, &state, sizeof(state), -1, &state,
                                       &size);

        if (r < 0)
                return r;
        if (state.index != vring) {
                log_error(&frontend->log, "GET_VRING_BASE: the reply is of vring %u, not %u; the connection ends",
                          state.index, vring);
                drop_connection(frontend);
                return -EPROTO;
        }
        *base = state.num;
        return 0;
}

int oriel_frontend_set_vring_kick(struct oriel_frontend *frontend, unsigned vring, int fd)
{
        return send_vring_fd(frontend, ORIEL_FRONTEND_SET_VRING_KICK, vring, fd);
}

int oriel_frontend_set_vring_call(struct oriel_frontend *frontend, unsigned vring, int fd)
{
        return send_vring_fd(frontend, ORIEL_FRONTEND_SET_VRING_CALL, vring, fd);
}

int oriel_frontend_set_vring_err(struct oriel_frontend *frontend, unsigned vring, int fd)
{
        return send_vring_fd(frontend, ORIEL_FRONTEND_SET_VRING_ERR, vring, fd);
}

int oriel_frontend_set_vring_enable(struct oriel_frontend *frontend, unsigned vring, bool enable)
{
        return send_vring_state(frontend, ORIEL_FRONTEND_SET_VRING_ENABLE, vring, enable);
}

int oriel_frontend_vring_kick(struct oriel_frontend *frontend, unsigned vring)
{
        return send_vring_state(frontend, ORIEL_FRONTEND_VRING_KICK, vring, 0);
}

/* The back-end chooses size and place of the buffer, but it must have room for what was requested. */
static int take_inflight(struct oriel_frontend *frontend, struct message *reply, struct oriel_wire_inflight *inflight,
                         int *fd)
{
        bool packed = frontend->agreement.virtio_features & ORIEL_FEATURE(VIRTIO_F_RING_PACKED);
        struct oriel_wire_inflight got;
        uint64_t end;

        message_get(reply, &got, sizeof(got));
        if (reply->n_fds == 0 || got.num_queues != inflight->num_queues || got.queue_size != inflight->queue_size ||
            got.num_queues == 0 || !checked_add(got.mmap_offset, got.mmap_size, &end) || end > INT64_MAX ||
            got.mmap_size / got.num_queues < oriel_inflight_region_size(got.queue_size, packed)) {
                log_within(&frontend->log_budget, &frontend->log, ORIEL_LOG_ERROR,
                           "GET_INFLIGHT_FD: the buffer is not what was asked for");
                return -EREMOTEIO;
        }
        *inflight = got;
        *fd = message_take_fd(reply, 0);
        return 0;
}

int oriel_frontend_get_inflight_fd(struct oriel_frontend *frontend, struct oriel_wire_inflight *inflight, int *fd)
{
        struct message request, reply;

        request_make(&request, ORIEL_FRONTEND_GET_INFLIGHT_FD, inflight, sizeof(*inflight), -1);

        int r = frontend_call(frontend, &request, &reply);

        if (r == 0)
                r = take_inflight(frontend, &reply, inflight, fd);
        message_close_fds(&reply);
        return r;
}

int oriel_frontend_set_inflight_fd(struct oriel_frontend *frontend, const struct oriel_wire_inflight *inflight, int fd)
{
        int r = fd_check(fd);

        return r < 0 ? r
                     : frontend_send_payload(frontend, ORIEL_FRONTEND_SET_INFLIGHT_FD, inflight, sizeof(*inflight), fd);
}

/* ---- the rest ---- */

int oriel_frontend_get_shared_object(struct oriel_frontend *frontend, const uint8_t uuid[16])
{
        struct message request, reply;
        int fd = -1;

        request_make(&request, ORIEL_FRONTEND_GET_SHARED_OBJECT, uuid, 16, -1);

        int r = frontend_call(frontend, &request, &reply);

        if (r == 0)
                fd = message_take_fd(&reply, 0);
        message_close_fds(&reply);
        return r < 0 ? r : fd < 0 ? -ENOENT : fd;
}

int oriel_frontend_set_device_state_fd(struct oriel_frontend *frontend, enum oriel_device_state_direction direction,
                                       int fd, int *channel)
{
        struct oriel_wire_device_state state = {.direction = direction};
        struct message request, reply;

        int r = fd_check(fd);

        *channel = -1;
        if (r < 0)
                return r;
        request_make(&request, ORIEL_FRONTEND_SET_DEVICE_STATE_FD, &state, sizeof(state), fd);
        r = frontend_call(frontend, &request, &reply);

        if (r == 0 && reply.payload.u64 & ORIEL_DEVICE_STATE_ERROR)
                r = -EREMOTEIO;
        if (r == 0 && !(reply.payload.u64 & ORIEL_DEVICE_STATE_NO_FD))
                *channel = message_take_fd(&reply, 0);
        message_close_fds(&reply);
        return r;
}

int oriel_frontend_send_rarp(struct oriel_frontend *frontend, const uint8_t mac[6])
{
        uint64_t payload = 0;

        memcpy(&payload, mac, 6);
        return frontend_send_payload(frontend, ORIEL_FRONTEND_SEND_RARP, &payload, sizeof(payload), -1);
}
