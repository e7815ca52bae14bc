/* SPDX-License-Identifier: BSD-2-Clause */

/* The start of a session: features, protocol features, and the back-end channel, in the order of
 * oriel_frontend_negotiate(). The results are kept in the agreement, against which every later message is checked. Also
 * all other requests that send or return a single number: queues, memory slots, status, MTU, device state. On the
 * owner's thread; each call waits for its reply in call.c. */

#include "base/cleanup.h"
#include "base/fd.h"
#include "frontend/frontend.h"

#include <errno.h>
#include <sys/socket.h>

uint64_t oriel_frontend_supported(void)
{
        return (ORIEL_FEATURE(ORIEL_PROTOCOL_FEATURES) - 1) &
               ~(ORIEL_FEATURE(ORIEL_PROTOCOL_F_XEN_MMAP) | ORIEL_FEATURE(ORIEL_PROTOCOL_F_CROSS_ENDIAN));
}

static int get_u64(struct oriel_frontend *frontend, enum oriel_frontend_request id, uint64_t *out)
{
        uint32_t size = sizeof(*out);

        return oriel_frontend_request(frontend, id, NULL, 0, -1, out, &size);
}

static int set_u64(struct oriel_frontend *frontend, enum oriel_frontend_request id, uint64_t value)
{
        return oriel_frontend_request(frontend, id, &value, sizeof(value), -1, NULL, NULL);
}

/* ---- the steps of oriel_frontend_negotiate(): of each the request is the only part that may have to be repeated ----
 */

static int negotiate_features(struct oriel_frontend *frontend, uint64_t wanted)
{
        int r = get_u64(frontend, ORIEL_FRONTEND_GET_FEATURES, &frontend->device_features);

        if (r == 0)
                frontend->agreement = (struct agreement){
                        .offers_protocol_features =
                                frontend->device_features & ORIEL_FEATURE(ORIEL_F_PROTOCOL_FEATURES),
                };
        return r;
}

static int negotiate_offer(struct oriel_frontend *frontend, uint64_t wanted)
{
        uint64_t wire;

        if (!frontend->agreement.offers_protocol_features)
                return 0;

        int r = get_u64(frontend, ORIEL_FRONTEND_GET_PROTOCOL_FEATURES, &wire);

        if (r == 0)
                frontend->offered = oriel_dialect_from_wire(frontend->dialect, wire);
        return r;
}

static int negotiate_protocol(struct oriel_frontend *frontend, uint64_t wanted)
{
        if (!frontend->agreement.offers_protocol_features)
                return 0;
        wanted &= frontend->offered & oriel_frontend_supported();

        int r = set_u64(frontend, ORIEL_FRONTEND_SET_PROTOCOL_FEATURES,
                        oriel_dialect_to_wire(frontend->dialect, wanted));

        if (r == 0)
                frontend->agreement.protocol_features = wanted;
        return r;
}

static int open_back_channel(struct oriel_frontend *frontend, uint64_t wanted)
{
        int fds[2];

        if (frontend->back.fd >= 0 || !agreed(&frontend->agreement, ORIEL_PROTOCOL_F_BACKEND_REQ))
                return 0;
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
                return -errno;
        frontend->back_peer_fd = fds[1];

        int r = channel_init(&frontend->back, fds[0]);

        return r < 0 ? r : frontend_watch(frontend, frontend->back.fd, &frontend->back);
}

static int send_back_channel(struct oriel_frontend *frontend, uint64_t wanted)
{
        return frontend->back_peer_fd < 0 ? 0
                                          : oriel_frontend_request(frontend, ORIEL_FRONTEND_SET_BACKEND_REQ_FD, NULL, 0,
                                                                   frontend->back_peer_fd, NULL, NULL);
}

static int set_owner(struct oriel_frontend *frontend, uint64_t wanted)
{
        frontend->back_peer_fd = fd_close(frontend->back_peer_fd);
        return oriel_frontend_request(frontend, ORIEL_FRONTEND_SET_OWNER, NULL, 0, -1, NULL, NULL);
}

int oriel_frontend_negotiate(struct oriel_frontend *frontend, uint64_t wanted)
{
        static int (*const steps[])(struct oriel_frontend * frontend, uint64_t wanted) = {
                negotiate_features, negotiate_offer,   negotiate_protocol,
                open_back_channel,  send_back_channel, set_owner,
        };

        while (frontend->negotiation_step < ARRAY_SIZE(steps)) {
                int r = steps[frontend->negotiation_step](frontend, wanted);

                if (r == -EINPROGRESS || r == -EBUSY || r == -ECANCELED)
                        return r;
                /* A channel whose other end did not reach the back-end is of no use. */
                if (r < 0 && frontend->back_peer_fd >= 0 && frontend->back.fd >= 0)
                        frontend_close(frontend, &frontend->back);
                if (r < 0) {
                        frontend->back_peer_fd = fd_close(frontend->back_peer_fd);
                        frontend->negotiation_step = 0;
                        return r;
                }
                frontend->negotiation_step++;
        }
        frontend->negotiation_step = 0;
        return 0;
}

uint64_t oriel_frontend_device_features(const struct oriel_frontend *frontend)
{
        return frontend->device_features;
}

uint64_t oriel_frontend_offered(const struct oriel_frontend *frontend)
{
        return frontend->offered;
}

uint64_t oriel_frontend_protocol_features(const struct oriel_frontend *frontend)
{
        return frontend->agreement.protocol_features;
}

int oriel_frontend_set_features(struct oriel_frontend *frontend, uint64_t features)
{
        if (frontend->agreement.offers_protocol_features)
                features |= ORIEL_FEATURE(ORIEL_F_PROTOCOL_FEATURES);
        if (features & ~frontend->device_features)
                return -EINVAL;

        int r = set_u64(frontend, ORIEL_FRONTEND_SET_FEATURES, features);

        if (r == 0)
                frontend->agreement.virtio_features = features;
        return r;
}

int oriel_frontend_get_queue_num(struct oriel_frontend *frontend, unsigned *out)
{
        uint64_t n;
        int r = get_u64(frontend, ORIEL_FRONTEND_GET_QUEUE_NUM, &n);

        if (r == 0)
                *out = n < ORIEL_MAX_QUEUES ? (unsigned)n : ORIEL_MAX_QUEUES;
        return r;
}

int oriel_frontend_get_max_mem_slots(struct oriel_frontend *frontend, uint64_t *out)
{
        return get_u64(frontend, ORIEL_FRONTEND_GET_MAX_MEM_SLOTS, out);
}

int oriel_frontend_set_status(struct oriel_frontend *frontend, uint8_t status)
{
        int r = set_u64(frontend, ORIEL_FRONTEND_SET_STATUS, status);

        /* VIRTIO 1.2, 2.1: writing status 0 is a reset. */
        if (status == 0 && r != -ECANCELED && r != -EINPROGRESS && r != -EBUSY)
                unmap_regions(frontend);
        return r;
}

int oriel_frontend_get_status(struct oriel_frontend *frontend, uint8_t *out)
{
        uint64_t status;
        int r = get_u64(frontend, ORIEL_FRONTEND_GET_STATUS, &status);

        if (r == 0)
                *out = (uint8_t)status;
        return r;
}

int oriel_frontend_net_set_mtu(struct oriel_frontend *frontend, uint64_t mtu)
{
        return set_u64(frontend, ORIEL_FRONTEND_NET_SET_MTU, mtu);
}

int oriel_frontend_check_device_state(struct oriel_frontend *frontend)
{
        uint64_t result;
        int r = get_u64(frontend, ORIEL_FRONTEND_CHECK_DEVICE_STATE, &result);

        return r < 0 ? r : result ? -EREMOTEIO : 0;
}
