/* SPDX-License-Identifier: BSD-2-Clause */
#include "frontend/frontend.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/struct.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

DEFINE_CLEANUP(struct oriel_frontend *, oriel_frontend_free);

static int watch(struct oriel_frontend *frontend, int fd, struct channel *channel)
{
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = channel};

        return epoll_ctl(frontend->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

/* The caller's, whole and possible. */
static int take_options(struct oriel_frontend_options *options, struct oriel_frontend_ops *ops, struct oriel_log *log,
                        const struct oriel_frontend_options *from)
{
        int r = STRUCT_TAKE(options, from, ORIEL_FRONTEND_OPTIONS_LEAST);

        if (r == 0)
                r = log_take(log, options->log);
        if (r == 0 && options->timeout_ms < 0) {
                log_error(log, "a front-end can't be made: timeout_ms is below 0");
                return -EINVAL;
        }
        if (r == 0 && options->ops) {
                r = STRUCT_TAKE(ops, options->ops, ORIEL_FRONTEND_OPS_LEAST);
                if (r < 0)
                        log_error(log, "a front-end can't be made: ops: its struct_size is no version's");
        }
        return r;
}

int oriel_frontend_new(const struct oriel_frontend_options *from, struct oriel_frontend **out)
{
        struct oriel_frontend_options options;
        struct oriel_frontend_ops ops = {0};
        struct oriel_log log;

        if (!out)
                return -EINVAL;
        *out = NULL;

        int r = take_options(&options, &ops, &log, from);

        if (r < 0)
                return r;

        _cleanup_(oriel_frontend_freep) struct oriel_frontend *frontend = calloc(1, sizeof(*frontend));

        if (!frontend)
                return -ENOMEM;
        fd_event_prepare(&log);
        TAILQ_INIT(&frontend->consequences);
        frontend->ops = ops;
        frontend->log = log;
        frontend->userdata = options.userdata;
        frontend->timeout_ms = options.timeout_ms ? options.timeout_ms : 5000;
        frontend->dialect = options.dialect;
        frontend->keep_mappings = options.keep_mappings;
        frontend->main.fd = frontend->back.fd = -1;
        frontend->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        frontend->more_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (frontend->epoll_fd < 0 || frontend->more_fd < 0)
                return -errno;

        r = watch(frontend, frontend->more_fd, NULL);
        if (r < 0)
                return r;
        *out = steal(frontend);
        return 0;
}

void oriel_frontend_free(struct oriel_frontend *frontend)
{
        if (!frontend)
                return;
        drop_connection(frontend);
        if (frontend->depth > 0) {
                frontend->free_wanted = true;
                return;
        }
        fd_close(frontend->epoll_fd);
        fd_close(frontend->more_fd);
        free(frontend);
}

int end_call(struct oriel_frontend *frontend, int r)
{
        if (frontend->depth > 0 || !frontend->free_wanted)
                return r;
        oriel_frontend_free(frontend);
        return -ECANCELED;
}

int oriel_frontend_attach(struct oriel_frontend *frontend, int fd)
{
        int r = fd_check(fd);

        if (r < 0)
                return r;
        if (frontend->main.fd >= 0) {
                fd_close(fd);
                return -EBUSY;
        }
        r = channel_check_socket(fd);
        if (r < 0) {
                fd_close(fd);
                return r;
        }
        r = channel_init(&frontend->main, fd);
        if (r == 0)
                r = watch(frontend, frontend->main.fd, &frontend->main);
        if (r < 0)
                channel_close(&frontend->main);
        else
                log_info(&frontend->log, "a session with a back-end has begun");
        atomic_store(&frontend->log_budget.used, 0);
        return r;
}

void unmap_regions(struct oriel_frontend *frontend)
{
        for (unsigned i = 0; i < ORIEL_MAX_SHMIDS; i++)
                if (frontend->regions[i])
                        oriel_region_unmap_all(frontend->regions[i]);
}

static void orphan_regions(struct oriel_frontend *frontend)
{
        for (unsigned i = 0; i < ORIEL_MAX_SHMIDS; i++)
                if (frontend->regions[i])
                        oriel_region_orphan_all(frontend->regions[i]);
}

void drop_connection(struct oriel_frontend *frontend)
{
        if (frontend->main.fd >= 0) {
                log_info(&frontend->log, "the session with the back-end has ended");
                channel_close(&frontend->main);
        }
        if (frontend->back.fd >= 0)
                channel_close(&frontend->back);
        frontend->agreement = (struct agreement){0};
        frontend->device_features = 0;
        frontend->offered = 0;
        frontend->unacknowledged = 0;
        if (frontend->keep_mappings)
                orphan_regions(frontend);
        else
                unmap_regions(frontend);
        forget_consequences(frontend);
}

void oriel_frontend_disconnect(struct oriel_frontend *frontend)
{
        drop_connection(frontend);
}

bool oriel_frontend_connected(const struct oriel_frontend *frontend)
{
        return frontend->main.fd >= 0;
}

int oriel_frontend_get_fd(const struct oriel_frontend *frontend)
{
        return frontend->epoll_fd;
}

void oriel_frontend_get_fds(const struct oriel_frontend *frontend, int fds[3])
{
        fds[0] = frontend->main.fd;
        fds[1] = frontend->back.fd;
        fds[2] = frontend->more_fd;
}

void oriel_frontend_set_region(struct oriel_frontend *frontend, uint8_t shmid, struct oriel_region *region)
{
        frontend->regions[shmid] = region;
}

/* Nothing is due on the main channel but the end of it. */
static int check_main(struct oriel_frontend *frontend)
{
        struct complaint complaint = {""};
        int r = channel_receive(&frontend->main, UINT32_MAX, &complaint);

        if (r == 1)
                complain(&complaint, "request %u: an unsolicited reply", frontend->main.in.header.request);
        if (r != 0 && r != -ENOTCONN)
                log_error(&frontend->log, "%s; the connection ends", complaint.text);
        return r == 1 ? -EPROTO : r;
}

static int dispatch_event(struct oriel_frontend *frontend, const void *source)
{
        if (source == &frontend->main)
                return check_main(frontend);
        if (source == &frontend->back)
                return serve(frontend);
        fd_event_clear(frontend->more_fd);
        return 0;
}

int oriel_frontend_dispatch(struct oriel_frontend *frontend)
{
        struct epoll_event events[3];
        int n, r = !frontend ? -EINVAL : frontend->main.fd < 0 ? -ENOTCONN : 0;

        if (r < 0)
                return r;
        n = epoll_wait(frontend->epoll_fd, events, ARRAY_SIZE(events), 0);

        frontend->depth++;
        for (int i = 0; i < n && r == 0; i++)
                r = dispatch_event(frontend, events[i].data.ptr);
        frontend->depth--;

        if (r < 0) {
                drop_connection(frontend);
                return end_call(frontend, r == -EPROTO ? -EPROTO : -ENOTCONN);
        }
        tell_consequences(frontend);
        return end_call(frontend, frontend->main.fd < 0 ? -ENOTCONN : 0);
}

/* ---- bringing up ---- */

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

static int open_back_channel(struct oriel_frontend *frontend)
{
        int fds[2];

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
                return -errno;

        _cleanup_(fd_closep) int theirs = fds[1];
        int r = channel_init(&frontend->back, fds[0]);

        if (r == 0)
                r = watch(frontend, frontend->back.fd, &frontend->back);
        if (r == 0)
                r = oriel_frontend_request(frontend, ORIEL_FRONTEND_SET_BACKEND_REQ_FD, NULL, 0, theirs, NULL, NULL);
        if (r < 0 && r != -ECANCELED && frontend->back.fd >= 0)
                channel_close(&frontend->back);
        return r;
}

static int negotiate_protocol(struct oriel_frontend *frontend, uint64_t wanted)
{
        uint64_t wire;
        int r = get_u64(frontend, ORIEL_FRONTEND_GET_PROTOCOL_FEATURES, &wire);

        if (r < 0)
                return r;
        frontend->offered = oriel_dialect_from_wire(frontend->dialect, wire);
        wanted &= frontend->offered & oriel_frontend_supported();
        r = set_u64(frontend, ORIEL_FRONTEND_SET_PROTOCOL_FEATURES, oriel_dialect_to_wire(frontend->dialect, wanted));
        if (r < 0)
                return r;
        frontend->agreement.protocol_features = wanted;
        return 0;
}

int oriel_frontend_negotiate(struct oriel_frontend *frontend, uint64_t wanted)
{
        int r = get_u64(frontend, ORIEL_FRONTEND_GET_FEATURES, &frontend->device_features);

        if (r < 0)
                return r;
        frontend->agreement = (struct agreement){
                .offers_protocol_features = frontend->device_features & ORIEL_FEATURE(ORIEL_F_PROTOCOL_FEATURES),
        };
        if (frontend->agreement.offers_protocol_features)
                r = negotiate_protocol(frontend, wanted);
        if (r == 0 && frontend->back.fd < 0 && agreed(&frontend->agreement, ORIEL_PROTOCOL_F_BACKEND_REQ))
                r = open_back_channel(frontend);
        return r < 0 ? r : oriel_frontend_request(frontend, ORIEL_FRONTEND_SET_OWNER, NULL, 0, -1, NULL, NULL);
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

        /* VIRTIO 1.2, 2.1: that is a reset. */
        if (status == 0 && r != -ECANCELED)
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
