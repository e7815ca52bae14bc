/* SPDX-License-Identifier: BSD-2-Clause */

/* The table of handlers by request number, and the handlers that belong to no other file: features, config space,
 * status, reset, shared objects, device state. A handler runs on the dispatching thread, after the request has passed
 * all checks of its row (size, descriptors, feature), so it checks values only. Descriptors stay the message's unless
 * taken with message_take_fd(). Each change of the agreed features is handed to requests.c too, which other threads
 * use. */

#include "backend/backend.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/syscalls.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/virtio_config.h>
#include <string.h>
#include <sys/socket.h>

USES_SYSCALLS(SYSCALL(getsockopt));

/* Many handlers need only some of their parameters. */
#pragma GCC diagnostic ignored "-Wunused-parameter"

static int get_features(struct oriel_backend *backend, struct message *request, struct message *reply,
                        struct complaint *why)
{
        message_set_u64(reply, backend->device_features);
        return 0;
}

/* An IOMMU changes the meaning of guest addresses, so the memory table is emptied. */
static int change_address_meaning(struct oriel_backend *backend, uint64_t before)
{
        uint64_t changed = before ^ backend->agreement.virtio_features;

        return changed & ORIEL_FEATURE(VIRTIO_F_ACCESS_PLATFORM) ? memory_reset(backend) : 0;
}

static int set_features(struct oriel_backend *backend, struct message *request, struct message *reply,
                        struct complaint *why)
{
        uint64_t features = request->payload.u64, before = backend->agreement.virtio_features;

        if (features & ~backend->device_features) {
                complain(why, "SET_FEATURES: 0x%" PRIx64 " was not offered", features & ~backend->device_features);
                return -EINVAL;
        }
        backend->agreement.virtio_features = features;
        requests_agree(&backend->requests, &backend->agreement);

        int r = change_address_meaning(backend, before);

        if (backend->ops.set_features)
                backend->ops.set_features(backend->userdata, features);
        if (r == 0)
                memory_set_log(backend);
        for (unsigned i = 0; r == 0 && i < backend->n_queues; i++) {
                /* "Ring states": without protocol features there is no request to enable a ring. */
                if (!(features & ORIEL_FEATURE(ORIEL_F_PROTOCOL_FEATURES))) {
                        backend->queues[i].enabled = true;
                        r = queue_update(&backend->queues[i], why);
                }
        }
        return r;
}

static int set_owner(struct oriel_backend *backend, struct message *request, struct message *reply,
                     struct complaint *why)
{
        return 0;
}

static int reset_owner(struct oriel_backend *backend, struct message *request, struct message *reply,
                       struct complaint *why)
{
        int r = 0;

        for (unsigned i = 0; r == 0 && i < backend->n_queues; i++) {
                backend->queues[i].enabled = false;
                r = queue_update(&backend->queues[i], why);
        }
        return r;
}

static int get_protocol_features(struct oriel_backend *backend, struct message *request, struct message *reply,
                                 struct complaint *why)
{
        message_set_u64(reply, oriel_dialect_to_wire(backend->dialect, backend->offered));
        return 0;
}

/* Features that can't be used without others. */
static const struct {
        unsigned feature;
        uint64_t needs;
} dependencies[] = {
        {ORIEL_PROTOCOL_F_INBAND_NOTIFICATIONS,
         ORIEL_FEATURE(ORIEL_PROTOCOL_F_BACKEND_REQ) | ORIEL_FEATURE(ORIEL_PROTOCOL_F_REPLY_ACK)},
        {ORIEL_PROTOCOL_F_GET_VRING_BASE_INFLIGHT, ORIEL_FEATURE(ORIEL_PROTOCOL_F_INFLIGHT_SHMFD)},
};

static int set_protocol_features(struct oriel_backend *backend, struct message *request, struct message *reply,
                                 struct complaint *why)
{
        uint64_t wire = request->payload.u64, features = oriel_dialect_from_wire(backend->dialect, wire);

        if (features & ~backend->offered || oriel_dialect_to_wire(backend->dialect, features) != wire) {
                complain(why, "SET_PROTOCOL_FEATURES: 0x%" PRIx64 " was not offered",
                         wire & ~oriel_dialect_to_wire(backend->dialect, backend->offered));
                return -EINVAL;
        }
        for (size_t i = 0; i < ARRAY_SIZE(dependencies); i++)
                if (features & ORIEL_FEATURE(dependencies[i].feature) &&
                    (features & dependencies[i].needs) != dependencies[i].needs) {
                        complain(why, "SET_PROTOCOL_FEATURES: %s lacks the features it needs",
                                 oriel_protocol_feature_name(dependencies[i].feature));
                        backend->ends_connection = true;
                        return -EINVAL;
                }
        backend->agreement.protocol_features = features;
        requests_agree(&backend->requests, &backend->agreement);
        return 0;
}

static int get_queue_num(struct oriel_backend *backend, struct message *request, struct message *reply,
                         struct complaint *why)
{
        message_set_u64(reply, backend->n_queues);
        return 0;
}

static int set_backend_req_fd(struct oriel_backend *backend, struct message *request, struct message *reply,
                              struct complaint *why)
{
        int domain;

        /* Only a Unix socket: close() of a network socket can block (SO_LINGER). */
        if (channel_check_socket(request->fds[0]) < 0 ||
            getsockopt(request->fds[0], SOL_SOCKET, SO_DOMAIN, &domain, &(socklen_t){sizeof(domain)}) < 0 ||
            domain != AF_UNIX) {
                complain(why, "SET_BACKEND_REQ_FD: the fd is not a Unix stream socket");
                return -EINVAL;
        }
        return requests_open(&backend->requests, message_take_fd(request, 0));
}

static int get_config(struct oriel_backend *backend, struct message *request, struct message *reply,
                      struct complaint *why)
{
        struct oriel_wire_config config;

        message_get(request, &config, sizeof(config));
        memset(config.payload, 0, sizeof(config.payload));
        /* An empty payload means that the request failed. */
        if (backend->ops.get_config(backend->userdata, config.offset, config.payload, config.size) == 0)
                message_set(reply, &config, request->header.size);
        return 0;
}

static int set_config(struct oriel_backend *backend, struct message *request, struct message *reply,
                      struct complaint *why)
{
        struct oriel_wire_config config;

        message_get(request, &config, sizeof(config));
        if (!backend->ops.set_config)
                return -EOPNOTSUPP;
        return backend->ops.set_config(backend->userdata, config.offset, config.payload, config.size, config.flags);
}

/* Passes the request to the device unchanged. */
static int pass(struct oriel_backend *backend, struct message *request, struct message *reply, struct complaint *why)
{
        const struct oriel_message_row *row = oriel_message_find(ORIEL_FROM_FRONTEND, request->header.request);
        uint32_t size = request->header.size;
        int fd = message_take_fd(request, 0);

        if (!backend->ops.message) {
                fd_close(fd);
                complain(why, "%s: this device takes no such message", row->name);
                return -EOPNOTSUPP;
        }

        int r = backend->ops.message(backend->userdata, row->id, request->payload.bytes, &size, fd);

        if (r == 0 && row_replies(row, &backend->agreement)) {
                if (size > sizeof(reply->payload))
                        return -EMSGSIZE;
                message_set(reply, request->payload.bytes, size);
        }
        return r;
}

void backend_reset(struct oriel_backend *backend, bool disconnect)
{
        for (unsigned i = 0; i < backend->n_queues; i++)
                queue_reset(&backend->queues[i], disconnect);
        if (disconnect)
                requests_deliver(&backend->requests);
        requests_forget_mappings(&backend->requests);
        backend->status = 0;
        if (backend->ops.reset)
                backend->ops.reset(backend->userdata);
}

static int reset_device(struct oriel_backend *backend, struct message *request, struct message *reply,
                        struct complaint *why)
{
        backend_reset(backend, false);
        return 0;
}

static int set_status(struct oriel_backend *backend, struct message *request, struct message *reply,
                      struct complaint *why)
{
        if (request->payload.u64 > UINT8_MAX) {
                complain(why, "SET_STATUS: 0x%" PRIx64 " is no device status", request->payload.u64);
                return -EINVAL;
        }
        backend->status = (uint8_t)request->payload.u64;
        backend->ops.set_status(backend->userdata, backend->status);
        return 0;
}

static int get_status(struct oriel_backend *backend, struct message *request, struct message *reply,
                      struct complaint *why)
{
        message_set_u64(reply, backend->status);
        return 0;
}

static int get_shared_object(struct oriel_backend *backend, struct message *request, struct message *reply,
                             struct complaint *why)
{
        const struct oriel_wire_shared_object *object = &request->payload.shared_object;
        const bool named = request->header.size == sizeof(*object);
        int fd = named ? backend->ops.get_shared_object(backend->userdata, object->uuid) : -ENOENT;

        message_set(reply, &request->payload, request->header.size);
        if (fd >= 0)
                reply->fds[reply->n_fds++] = fd;
        return 0;
}

static int set_device_state_fd(struct oriel_backend *backend, struct message *request, struct message *reply,
                               struct complaint *why)
{
        uint64_t result = ORIEL_DEVICE_STATE_NO_FD;
        int fd = message_take_fd(request, 0);
        int r = -EBUSY;

        /* Device state is transferred only while all queues are stopped: "Suspended device state". */
        if (atomic_load(&backend->running) == 0)
                r = backend->ops.transfer_state(
                        backend->userdata, (enum oriel_device_state_direction)request->payload.device_state.direction,
                        fd_take(&fd));
        fd_close(fd);
        message_set_u64(reply, r < 0 ? result | 1 : result);
        return 0;
}

static int check_device_state(struct oriel_backend *backend, struct message *request, struct message *reply,
                              struct complaint *why)
{
        message_set_u64(reply, backend->ops.check_state(backend->userdata) < 0);
        return 0;
}

static int get_shmem_config(struct oriel_backend *backend, struct message *request, struct message *reply,
                            struct complaint *why)
{
        struct oriel_wire_shmem_config config = {0};

        for (unsigned i = 0; i < ORIEL_MAX_SHMIDS; i++) {
                config.sizes[i] = backend->shmem_sizes[i];
                config.num_regions += config.sizes[i] != 0;
        }
        message_set(reply, &config, sizeof(config));
        return 0;
}

/* For rows whose feature is never offered; their gate refuses them before. */
static int not_offered(struct oriel_backend *backend, struct message *request, struct message *reply,
                       struct complaint *why)
{
        return -EOPNOTSUPP;
}

static const handler_fn handlers[ORIEL_FRONTEND_REQUESTS] = {
        [ORIEL_FRONTEND_GET_FEATURES] = get_features,
        [ORIEL_FRONTEND_SET_FEATURES] = set_features,
        [ORIEL_FRONTEND_SET_OWNER] = set_owner,
        [ORIEL_FRONTEND_RESET_OWNER] = reset_owner,
        [ORIEL_FRONTEND_SET_MEM_TABLE] = handle_set_mem_table,
        [ORIEL_FRONTEND_SET_LOG_BASE] = handle_set_log_base,
        [ORIEL_FRONTEND_SET_LOG_FD] = handle_set_log_fd,
        [ORIEL_FRONTEND_SET_VRING_NUM] = handle_set_vring_num,
        [ORIEL_FRONTEND_SET_VRING_ADDR] = handle_set_vring_addr,
        [ORIEL_FRONTEND_SET_VRING_BASE] = handle_set_vring_base,
        [ORIEL_FRONTEND_GET_VRING_BASE] = handle_get_vring_base,
        [ORIEL_FRONTEND_SET_VRING_KICK] = handle_set_vring_kick,
        [ORIEL_FRONTEND_SET_VRING_CALL] = handle_set_vring_call,
        [ORIEL_FRONTEND_SET_VRING_ERR] = handle_set_vring_err,
        [ORIEL_FRONTEND_GET_PROTOCOL_FEATURES] = get_protocol_features,
        [ORIEL_FRONTEND_SET_PROTOCOL_FEATURES] = set_protocol_features,
        [ORIEL_FRONTEND_GET_QUEUE_NUM] = get_queue_num,
        [ORIEL_FRONTEND_SET_VRING_ENABLE] = handle_set_vring_enable,
        [ORIEL_FRONTEND_SEND_RARP] = pass,
        [ORIEL_FRONTEND_NET_SET_MTU] = pass,
        [ORIEL_FRONTEND_SET_BACKEND_REQ_FD] = set_backend_req_fd,
        [ORIEL_FRONTEND_IOTLB_MSG] = handle_iotlb_msg,
        [ORIEL_FRONTEND_GET_CONFIG] = get_config,
        [ORIEL_FRONTEND_SET_CONFIG] = set_config,
        [ORIEL_FRONTEND_CREATE_CRYPTO_SESSION] = pass,
        [ORIEL_FRONTEND_CLOSE_CRYPTO_SESSION] = pass,
        [ORIEL_FRONTEND_POSTCOPY_ADVISE] = handle_postcopy_advise,
        [ORIEL_FRONTEND_POSTCOPY_LISTEN] = handle_postcopy_listen,
        [ORIEL_FRONTEND_POSTCOPY_END] = handle_postcopy_end,
        [ORIEL_FRONTEND_GET_INFLIGHT_FD] = handle_get_inflight_fd,
        [ORIEL_FRONTEND_SET_INFLIGHT_FD] = handle_set_inflight_fd,
        [ORIEL_FRONTEND_GPU_SET_SOCKET] = pass,
        [ORIEL_FRONTEND_RESET_DEVICE] = reset_device,
        [ORIEL_FRONTEND_VRING_KICK] = handle_vring_kick,
        [ORIEL_FRONTEND_GET_MAX_MEM_SLOTS] = handle_get_max_mem_slots,
        [ORIEL_FRONTEND_ADD_MEM_REG] = handle_add_mem_reg,
        [ORIEL_FRONTEND_REM_MEM_REG] = handle_rem_mem_reg,
        [ORIEL_FRONTEND_SET_STATUS] = set_status,
        [ORIEL_FRONTEND_GET_STATUS] = get_status,
        [ORIEL_FRONTEND_GET_SHARED_OBJECT] = get_shared_object,
        [ORIEL_FRONTEND_SET_DEVICE_STATE_FD] = set_device_state_fd,
        [ORIEL_FRONTEND_CHECK_DEVICE_STATE] = check_device_state,
        [ORIEL_FRONTEND_GET_SHMEM_CONFIG] = get_shmem_config,
};

handler_fn handler_find(uint32_t request)
{
        handler_fn handler = request < ARRAY_SIZE(handlers) ? handlers[request] : NULL;

        return handler ? handler : not_offered;
}
