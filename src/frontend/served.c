/* SPDX-License-Identifier: BSD-2-Clause */

/* Serves the back-end's requests as they come: SHMEM_MAP and SHMEM_UNMAP, a changed configuration space, notifications
 * of vrings, IOTLB misses, shared objects. A handler's result is the acknowledgement, where one is asked for.
 *
 * What the owner has to be told because of a request, struct deferred_event, waits until no call of the front-end is
 * under way: an owner may then call the front-end again. */

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "frontend/frontend.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Limits on what a back-end can cause at once: requests served before the dispatch returns, and events (with fds)
 * kept. */
#define MAX_SERVED   64
#define MAX_DEFERRED 256

struct deferred_event {
        TAILQ_ENTRY(deferred_event) entry;
        void (*tell)(struct oriel_frontend *frontend, struct deferred_event *event);
        struct oriel_region *region;
        struct oriel_mapping *mapping;
        struct oriel_wire_mmap request;
        bool map;
        int error;
        unsigned vring;
        uint64_t iova;
        enum oriel_access access;
        int fd;
};

/* Removes the oldest event from the list. */
static struct deferred_event *take_deferred_event(struct oriel_frontend *frontend)
{
        struct deferred_event *event = TAILQ_FIRST(&frontend->deferred_events);

        if (event) {
                TAILQ_REMOVE(&frontend->deferred_events, event, entry);
                frontend->n_deferred--;
        }
        return event;
}

static void free_deferred_event(struct deferred_event *event)
{
        oriel_mapping_unref(event->mapping);
        fd_close(event->fd);
        free(event);
}

/* NULL without memory: the event is then lost. */
static struct deferred_event *defer_event(struct oriel_frontend *frontend,
                                          void (*tell)(struct oriel_frontend *frontend, struct deferred_event *event))
{
        struct deferred_event *event = calloc(1, sizeof(*event));

        if (!event)
                return NULL;
        event->tell = tell;
        event->fd = -1;
        TAILQ_INSERT_TAIL(&frontend->deferred_events, event, entry);
        frontend->n_deferred++;
        return event;
}

void tell_deferred_events(struct oriel_frontend *frontend)
{
        struct deferred_event *event;
        unsigned n = frontend->n_deferred;

        while (frontend->depth == 0 && !frontend->call.under_way && n-- > 0 &&
               (event = take_deferred_event(frontend))) {
                /* Events caused by it are told after it, not within. */
                frontend->depth++;
                event->tell(frontend, event);
                frontend->depth--;
                free_deferred_event(event);
        }
        /* Events that were added meanwhile wait for the next dispatch: a back-end that goes on asking would keep this
         * from ending. */
        if (frontend->depth == 0 && !frontend->call.under_way && frontend->n_deferred > 0)
                fd_event_wake(frontend->more_fd);
}

void forget_deferred_events(struct oriel_frontend *frontend)
{
        struct deferred_event *event;

        while ((event = take_deferred_event(frontend)))
                free_deferred_event(event);
}

/* ---- shared memory regions ---- */

static void tell_mapped(struct oriel_frontend *frontend, struct deferred_event *event)
{
        frontend->ops.mapped(frontend->userdata, event->region, event->mapping, event->fd);
}

static void tell_unmapped(struct oriel_frontend *frontend, struct deferred_event *event)
{
        frontend->ops.unmapped(frontend->userdata, event->region, event->mapping);
}

static void tell_refused(struct oriel_frontend *frontend, struct deferred_event *event)
{
        frontend->ops.refused(frontend->userdata, event->map, &event->request, event->error);
}

/* The descriptor is closed only after the owner was told, since closing may wait for the file's server. */
static int follow_refusal(struct oriel_frontend *frontend, bool map, struct message *request, int error)
{
        const struct oriel_wire_mmap wire = request->payload.mmap;

        log_debug(&frontend->log, "%s: shmid %u, offset 0x%llx, length 0x%llx: %s", map ? "SHMEM_MAP" : "SHMEM_UNMAP",
                  wire.shmid, (unsigned long long)wire.shm_offset, (unsigned long long)wire.len, strerror(-error));
        if (frontend->ops.refused) {
                struct deferred_event *event = defer_event(frontend, tell_refused);

                if (event) {
                        event->map = map;
                        event->request = wire;
                        event->error = error;
                        event->fd = message_take_fd(request, 0);
                }
        }
        return error;
}

static int shmem_map(struct oriel_frontend *frontend, struct message *request, struct message *reply)
{
        struct oriel_wire_mmap map = request->payload.mmap;
        struct oriel_region *region = frontend->regions[map.shmid];
        enum oriel_access access = map.flags & ORIEL_MMAP_READ_WRITE ? ORIEL_ACCESS_READ_WRITE : ORIEL_ACCESS_READ;
        struct oriel_range range = {map.shm_offset, map.len};
        int r = region ? oriel_region_map(region, range, request->fds[0], map.fd_offset, access) : -ENXIO;

        if (r < 0)
                return follow_refusal(frontend, true, request, r);
        if (frontend->ops.mapped) {
                struct deferred_event *event = defer_event(frontend, tell_mapped);

                if (event) {
                        event->region = region;
                        event->mapping = oriel_region_find(region, map.shm_offset);
                        event->fd = message_take_fd(request, 0);
                }
        }
        return 0;
}

static int shmem_unmap(struct oriel_frontend *frontend, struct message *request, struct message *reply)
{
        struct oriel_wire_mmap map = request->payload.mmap;
        struct oriel_region *region = frontend->regions[map.shmid];
        struct oriel_mapping *mapping =
                region && frontend->ops.unmapped ? oriel_region_find(region, map.shm_offset) : NULL;
        int r = region ? oriel_region_unmap(region, (struct oriel_range){map.shm_offset, map.len}) : -ENXIO;
        struct deferred_event *event = r == 0 && mapping ? defer_event(frontend, tell_unmapped) : NULL;

        if (event) {
                event->region = region;
                event->mapping = steal(mapping);
        }
        oriel_mapping_unref(mapping);
        return r < 0 ? follow_refusal(frontend, false, request, r) : 0;
}

/* ---- notifications ---- */

static void tell_config_changed(struct oriel_frontend *frontend, struct deferred_event *event)
{
        frontend->ops.config_changed(frontend->userdata);
}

static void tell_vring_call(struct oriel_frontend *frontend, struct deferred_event *event)
{
        frontend->ops.vring_call(frontend->userdata, event->vring);
}

static void tell_vring_err(struct oriel_frontend *frontend, struct deferred_event *event)
{
        frontend->ops.vring_err(frontend->userdata, event->vring);
}

static void tell_iotlb_miss(struct oriel_frontend *frontend, struct deferred_event *event)
{
        frontend->ops.iotlb_miss(frontend->userdata, event->iova, event->access);
}

static int config_change(struct oriel_frontend *frontend, struct message *request, struct message *reply)
{
        return frontend->ops.config_changed ? (defer_event(frontend, tell_config_changed) ? 0 : -ENOMEM) : -EOPNOTSUPP;
}

static int follow_vring(struct oriel_frontend *frontend, unsigned vring, bool wanted,
                        void (*tell)(struct oriel_frontend *frontend, struct deferred_event *event))
{
        struct deferred_event *event = wanted ? defer_event(frontend, tell) : NULL;

        if (event)
                event->vring = vring;
        return wanted ? (event ? 0 : -ENOMEM) : -EOPNOTSUPP;
}

static int served_vring_call(struct oriel_frontend *frontend, struct message *request, struct message *reply)
{
        return follow_vring(frontend, request->payload.vring_state.index, frontend->ops.vring_call, tell_vring_call);
}

static int served_vring_err(struct oriel_frontend *frontend, struct message *request, struct message *reply)
{
        return follow_vring(frontend, request->payload.vring_state.index, frontend->ops.vring_err, tell_vring_err);
}

static int iotlb_msg(struct oriel_frontend *frontend, struct message *request, struct message *reply)
{
        struct vhost_iotlb_msg msg;

        message_get(request, &msg, sizeof(msg));
        if (msg.type == VHOST_IOTLB_ACCESS_FAIL) {
                log_within(&frontend->log_budget, &frontend->log, ORIEL_LOG_WARNING,
                           "IOTLB_MSG: the back-end failed to access 0x%llx", (unsigned long long)msg.iova);
                return 0;
        }
        if (msg.type != VHOST_IOTLB_MISS || msg.perm > VHOST_ACCESS_RW || !frontend->ops.iotlb_miss)
                return -EINVAL;

        struct deferred_event *event = defer_event(frontend, tell_iotlb_miss);

        if (!event)
                return -ENOMEM;
        event->iova = msg.iova;
        event->access = (enum oriel_access)msg.perm;
        return 0;
}

/* ---- requests that the owner answers ---- */

static int host_notifier(struct oriel_frontend *frontend, struct message *request, struct message *reply)
{
        struct oriel_wire_vring_area area = request->payload.vring_area;

        if (!frontend->ops.host_notifier)
                return -EOPNOTSUPP;
        return frontend->ops.host_notifier(frontend->userdata, (unsigned)(area.vring & ORIEL_VRING_FD_INDEX),
                                           request->n_fds ? request->fds[0] : -1, area.offset, area.size);
}

static int served_shared_object_add(struct oriel_frontend *frontend, struct message *request, struct message *reply)
{
        if (!frontend->ops.shared_object_add)
                return -EOPNOTSUPP;
        return frontend->ops.shared_object_add(frontend->userdata, request->payload.shared_object.uuid);
}

static int served_shared_object_remove(struct oriel_frontend *frontend, struct message *request, struct message *reply)
{
        if (!frontend->ops.shared_object_remove)
                return -EOPNOTSUPP;
        return frontend->ops.shared_object_remove(frontend->userdata, request->payload.shared_object.uuid);
}

static int served_shared_object_lookup(struct oriel_frontend *frontend, struct message *request, struct message *reply)
{
        int fd = frontend->ops.shared_object_lookup
                         ? frontend->ops.shared_object_lookup(frontend->userdata, request->payload.shared_object.uuid)
                         : -EOPNOTSUPP;

        message_set_u64(reply, fd < 0);
        if (fd >= 0)
                reply->fds[reply->n_fds++] = fd;
        return 0;
}

static int (*const handlers[ORIEL_BACKEND_REQUESTS])(struct oriel_frontend *frontend, struct message *request,
                                                     struct message *reply) = {
        [ORIEL_BACKEND_IOTLB_MSG] = iotlb_msg,
        [ORIEL_BACKEND_CONFIG_CHANGE_MSG] = config_change,
        [ORIEL_BACKEND_VRING_HOST_NOTIFIER_MSG] = host_notifier,
        [ORIEL_BACKEND_VRING_CALL] = served_vring_call,
        [ORIEL_BACKEND_VRING_ERR] = served_vring_err,
        [ORIEL_BACKEND_SHARED_OBJECT_ADD] = served_shared_object_add,
        [ORIEL_BACKEND_SHARED_OBJECT_REMOVE] = served_shared_object_remove,
        [ORIEL_BACKEND_SHARED_OBJECT_LOOKUP] = served_shared_object_lookup,
        [ORIEL_BACKEND_SHMEM_MAP] = shmem_map,
        [ORIEL_BACKEND_SHMEM_UNMAP] = shmem_unmap,
};

/* ---- the channel ---- */

/* Never waits: an answer that a back-end does not read ends the connection. An answer whose fd can't be sent (the owner
 * gave an invalid one) becomes a refusal. */
static int served_answer(struct oriel_frontend *frontend, struct message *reply)
{
        int r = channel_send(&frontend->back, reply, 0);

        if (r < 0 && r != -EAGAIN && !channel_is_lost(r) && reply->n_fds > 0) {
                log_within(&frontend->log_budget, &frontend->log, ORIEL_LOG_ERROR,
                           "%s: the answer's fd can't be sent: %s",
                           oriel_message_find(ORIEL_FROM_BACKEND, reply->header.request)->name, strerror(-r));
                message_close_fds(reply);
                message_set_u64(reply, 1);
                r = channel_send(&frontend->back, reply, 0);
        }
        if (r == 0)
                message_log(&frontend->log, "to the back-end", ORIEL_FROM_BACKEND, reply);
        message_close_fds(reply);
        if (r < 0 && r != -ENOTCONN)
                log_error(&frontend->log, "an answer can't be sent: %s; the connection ends",
                          r == -EAGAIN || r == -ETIMEDOUT ? "the back-end does not read its answers" : strerror(-r));
        return r == -EAGAIN || r == -ETIMEDOUT ? -EPROTO : r;
}

/* Whether need_reply is set and allowed; for an unknown request only the header says so. */
static bool served_asked(const struct oriel_frontend *frontend, const struct oriel_message_row *row,
                         const struct message *request)
{
        if (row)
                return row_replies(row, &frontend->agreement) ||
                       row_acknowledges(row, &request->header, &frontend->agreement);
        return request->header.flags & ORIEL_FLAG_NEED_REPLY &&
               agreed(&frontend->agreement, ORIEL_PROTOCOL_F_REPLY_ACK);
}

static int served_handle(struct oriel_frontend *frontend, struct message *request)
{
        const struct oriel_message_row *row;
        struct complaint complaint = {""};
        struct message reply;
        int r = message_check_request(ORIEL_FROM_BACKEND, request, &frontend->agreement, &row, &complaint);

        if (r == 1) {
                message_tolerate(row, &complaint, &frontend->back.tolerated, &frontend->log_budget, &frontend->log);
                r = 0;
        }
        if (r < 0) {
                bool kept = r == -EMFILE || (r != -EPROTO && served_asked(frontend, row, request));

                if (!kept) {
                        log_error(&frontend->log, "%s; the connection ends", complaint.text);
                        return -EPROTO;
                }
                log_within(&frontend->log_budget, &frontend->log, ORIEL_LOG_ERROR, "%s", complaint.text);
        }
        if (r == -EMFILE && row->id == ORIEL_BACKEND_SHMEM_MAP)
                follow_refusal(frontend, true, request, r);
        message_init(&reply, request->header.request, ORIEL_FLAG_REPLY);
        message_set_u64(&reply, 0);
        if (r == 0)
                r = handlers[row->id](frontend, request, &reply);
        if (r < 0)
                message_set_u64(&reply, 1);
        return served_asked(frontend, row, request) ? served_answer(frontend, &reply) : 0;
}

bool may_serve(const struct oriel_frontend *frontend)
{
        return frontend->back.fd >= 0 && frontend->n_deferred < MAX_DEFERRED;
}

int frontend_serve(struct oriel_frontend *frontend)
{
        struct complaint complaint = {""};
        int r = 0;

        for (int i = 0; i < MAX_SERVED && may_serve(frontend); i++) {
                r = channel_receive(&frontend->back, UINT32_MAX, &complaint);
                if (r != 1)
                        break;
                message_log(&frontend->log, "from the back-end", ORIEL_FROM_BACKEND, &frontend->back.in);
                r = served_handle(frontend, &frontend->back.in);
                channel_done(&frontend->back);
                if (r < 0)
                        break;
        }
        /* A back-end may close its own channel and continue with the main one. */
        if (r == -ENOTCONN) {
                frontend_close(frontend, &frontend->back);
                return 0;
        }
        if (r < 0 && complaint.text[0])
                log_error(&frontend->log, "%s; the connection ends", complaint.text);
        return r;
}
