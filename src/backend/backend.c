/* SPDX-License-Identifier: BSD-2-Clause */

/* The life of a back-end and of its connection: options, attach, dispatch, disconnect, and the calls that send
 * requests to the front-end. dispatch handles up to MAX_HANDLED messages; each passes the check of its row, then its
 * handler, then is answered or refused.
 *
 * All of it but the requests at the end belongs to the dispatching thread; those may come from any thread, as
 * requests.c has a lock. Callbacks may disconnect or free the back-end: while depth is above 0 that is only noted, and
 * dispatch does it when its handlers have returned. */

#include "backend/backend.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/range.h"
#include "base/struct.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/virtio_config.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Features that the library implements by itself, for any device. */
#define OWN_FEATURES                                                                                           \
        (ORIEL_FEATURE(ORIEL_PROTOCOL_F_MQ) | ORIEL_FEATURE(ORIEL_PROTOCOL_F_LOG_SHMFD) |                      \
         ORIEL_FEATURE(ORIEL_PROTOCOL_F_REPLY_ACK) | ORIEL_FEATURE(ORIEL_PROTOCOL_F_BACKEND_REQ) |             \
         ORIEL_FEATURE(ORIEL_PROTOCOL_F_BACKEND_SEND_FD) | ORIEL_FEATURE(ORIEL_PROTOCOL_F_INFLIGHT_SHMFD) |    \
         ORIEL_FEATURE(ORIEL_PROTOCOL_F_RESET_DEVICE) | ORIEL_FEATURE(ORIEL_PROTOCOL_F_INBAND_NOTIFICATIONS) | \
         ORIEL_FEATURE(ORIEL_PROTOCOL_F_CONFIGURE_MEM_SLOTS) |                                                 \
         ORIEL_FEATURE(ORIEL_PROTOCOL_F_GET_VRING_BASE_INFLIGHT) | ORIEL_FEATURE(ORIEL_PROTOCOL_F_GPA_ADDRESSES))

/* Features whose requests are passed to the device, if the device supports them. */
#define PASSED_FEATURES                                                               \
        (ORIEL_FEATURE(ORIEL_PROTOCOL_F_RARP) | ORIEL_FEATURE(ORIEL_PROTOCOL_F_MTU) | \
         ORIEL_FEATURE(ORIEL_PROTOCOL_F_CRYPTO_SESSION))

/* Features by which a notification, or its absence, would carry data. Linux 6.1 has no names for the last two. */
#define NOT_BY_EVENTFD                                                                         \
        (ORIEL_FEATURE(VIRTIO_F_NOTIFY_ON_EMPTY) | ORIEL_FEATURE(38 /* NOTIFICATION_DATA */) | \
         ORIEL_FEATURE(39 /* NOTIF_CONFIG_DATA */))

/* Features that the device's owner has to ask for: a userfaultfd is for the whole process, and its holder can fill any
 * of its memory. */
#define ASKED_FEATURES (ORIEL_FEATURE(ORIEL_PROTOCOL_F_HOST_NOTIFIER) | ORIEL_FEATURE(ORIEL_PROTOCOL_F_PAGEFAULT))

/* Messages handled in one dispatch, before the caller's loop goes on. */
#define MAX_HANDLED 64

static uint64_t implied_features(const struct oriel_backend *backend, bool shmem)
{
        const struct {
                bool has;
                unsigned feature;
        } rows[] = {
                {backend->ops.get_config, ORIEL_PROTOCOL_F_CONFIG},
                {backend->ops.set_status, ORIEL_PROTOCOL_F_STATUS},
                {backend->ops.get_shared_object, ORIEL_PROTOCOL_F_SHARED_OBJECT},
                {backend->ops.transfer_state && backend->ops.check_state, ORIEL_PROTOCOL_F_DEVICE_STATE},
                {shmem, ORIEL_PROTOCOL_F_SHMEM_MAP},
        };
        uint64_t features = OWN_FEATURES;

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
                if (rows[i].has)
                        features |= ORIEL_FEATURE(rows[i].feature);
        return features;
}

/* Returns whether there are any regions. */
static bool take_shmem_sizes(struct oriel_backend *backend, const uint64_t *sizes)
{
        bool any = false;

        for (unsigned i = 0; sizes && i < ORIEL_MAX_SHMIDS; i++) {
                backend->shmem_sizes[i] = sizes[i];
                any |= sizes[i] != 0;
        }
        return any;
}

/* The reason why @options can't be used, or NULL. */
static const char *find_fault(const struct oriel_backend_options *options)
{
        if (!options->ops->start || !options->ops->stop)
                return "ops: start and stop are needed";
        if (options->device_features & NOT_BY_EVENTFD)
                return "device_features: NOTIFY_ON_EMPTY, NOTIFICATION_DATA and NOTIF_CONFIG_DATA can't be offered";
        if (options->queues < 1 || options->queues > ORIEL_MAX_QUEUES)
                return "queues: 1 to 256";
        if (options->protocol_features & ~(PASSED_FEATURES | ASKED_FEATURES))
                return "protocol_features: RARP, MTU, CRYPTO_SESSION, HOST_NOTIFIER and PAGEFAULT alone are to be "
                       "asked for";
        if (!options->ops->message && options->protocol_features & PASSED_FEATURES)
                return "protocol_features: RARP, MTU and CRYPTO_SESSION need ops->message";
        for (unsigned i = 0; options->shmem_sizes && i < ORIEL_MAX_SHMIDS; i++)
                if (!is_aligned(options->shmem_sizes[i], (uint64_t)sysconf(_SC_PAGESIZE)))
                        return "shmem_sizes: not a multiple of the page size";
        return NULL;
}

/* Copies the caller's options and functions, and checks them. */
static int backend_take_options(struct oriel_backend_options *options, struct oriel_backend_ops *ops,
                                struct oriel_log *log, const struct oriel_backend_options *from)
{
        int r = STRUCT_TAKE(options, from, ORIEL_BACKEND_OPTIONS_LEAST);

        if (r == 0)
                r = log_take(log, options->log);
        if (r < 0)
                return r;
        options->log = log;
        r = STRUCT_TAKE(ops, options->ops, ORIEL_BACKEND_OPS_LEAST);
        options->ops = ops;

        const char *fault = r < 0 ? "ops: none, or its struct_size is no version's" : find_fault(options);

        if (fault)
                log_error(options->log, "a back-end can't be made: %s", fault);
        return fault && r == 0 ? -EINVAL : r;
}

static int backend_build(struct oriel_backend *backend, const struct oriel_backend_options *options)
{
        bool shmem = take_shmem_sizes(backend, options->shmem_sizes);

        backend->offered = implied_features(backend, shmem) | options->protocol_features;
        backend->offered &= ~options->without;
        if (backend->offered & ORIEL_FEATURE(ORIEL_PROTOCOL_F_PAGEFAULT) && !postcopy_possible())
                backend->offered &= ~ORIEL_FEATURE(ORIEL_PROTOCOL_F_PAGEFAULT);
        backend->offered =
                oriel_dialect_from_wire(backend->dialect, oriel_dialect_to_wire(backend->dialect, backend->offered));
        backend->device_features = options->device_features | ORIEL_FEATURE(ORIEL_F_PROTOCOL_FEATURES);
        if (backend->offered & ORIEL_FEATURE(ORIEL_PROTOCOL_F_LOG_SHMFD))
                backend->device_features |= ORIEL_FEATURE(VHOST_F_LOG_ALL);

        for (unsigned i = 0; i < options->queues; i++, backend->n_queues++) {
                int r = queue_init(backend, i);

                if (r < 0)
                        return r;
        }
        return memory_reset(backend);
}

DEFINE_CLEANUP(struct oriel_backend *, oriel_backend_free);

static void end_log(struct oriel_backend *backend)
{
        struct oriel_dirty_log *log = steal(backend->dirty_log);

        memory_set_log(backend);
        oriel_dirty_log_unref(log);
}

static void end_connection(struct oriel_backend *backend)
{
        backend->disconnect_wanted = false;
        if (backend->main.fd < 0)
                return;
        backend->depth++;
        log_info(&backend->log, "the session with the front-end has ended");
        /* First, so that no thread of the device waits for a front-end that is gone. */
        requests_close(&backend->requests);
        requests_deliver(&backend->requests);
        postcopy_unregister(backend);
        backend_reset(backend, true);
        channel_close(&backend->main);
        memory_reset(backend);
        end_log(backend);
        backend->log_fd = fd_close(backend->log_fd);
        postcopy_close(backend);
        inflight_close(&backend->inflight);
        backend->agreement = (struct agreement){.offers_protocol_features = true};
        backend->disconnect_wanted = false;
        backend->depth--;
}

int oriel_backend_new(const struct oriel_backend_options *from, struct oriel_backend **out)
{
        struct oriel_backend_options options;
        struct oriel_backend_ops ops;
        struct oriel_log log;

        if (!out)
                return -EINVAL;
        *out = NULL;

        int r = backend_take_options(&options, &ops, &log, from);

        if (r < 0)
                return r;

        _cleanup_(freep) struct oriel_backend *blank =
                calloc(1, sizeof(*blank) + options.queues * sizeof(blank->queues[0]));

        if (!blank)
                return -ENOMEM;

        fd_event_prepare(&log);
        r = requests_init(&blank->requests, &blank->log, &blank->log_budget);
        if (r < 0)
                return r;
        pthread_mutex_init(&blank->memory_lock, NULL);
        requests_set_max_mappings(&blank->requests, options.max_mappings);

        _cleanup_(oriel_backend_freep) struct oriel_backend *backend = steal(blank);

        backend->ops = ops;
        backend->userdata = options.userdata;
        backend->log = log;
        backend->dialect = options.dialect;
        backend->max_mem_slots = options.max_mem_slots ? options.max_mem_slots : ORIEL_MEM_SLOTS;
        backend->main.fd = -1;
        backend->log_fd = -1;
        backend->fault_fd = -1;
        r = backend_build(backend, &options);
        if (r < 0)
                return r;
        *out = steal(backend);
        return 0;
}

static void backend_destroy(struct oriel_backend *backend)
{
        for (unsigned i = 0; i < backend->n_queues; i++)
                queue_destroy(&backend->queues[i]);
        requests_destroy(&backend->requests);
        oriel_memory_unref(backend->memory);
        pthread_mutex_destroy(&backend->memory_lock);
        free(backend);
}

void oriel_backend_free(struct oriel_backend *backend)
{
        if (!backend)
                return;
        if (backend->depth > 0) {
                backend->disconnect_wanted = backend->free_wanted = true;
                return;
        }
        end_connection(backend);
        backend_destroy(backend);
}

int oriel_backend_attach(struct oriel_backend *backend, int fd)
{
        int r = fd_check(fd);

        if (r < 0)
                return r;
        if (backend->main.fd >= 0 || backend->depth > 0) {
                fd_close(fd);
                return -EBUSY;
        }
        r = channel_check_socket(fd);
        if (r < 0) {
                fd_close(fd);
                return r;
        }
        r = channel_init(&backend->main, fd);

        if (r < 0) {
                channel_close(&backend->main);
                return r;
        }
        backend->agreement = (struct agreement){.offers_protocol_features = true};
        requests_agree(&backend->requests, &backend->agreement);
        backend->ends_connection = false;
        atomic_store(&backend->log_budget.used, 0);
        log_info(&backend->log, "a session with a front-end has begun");
        return 0;
}

int oriel_backend_get_fd(const struct oriel_backend *backend)
{
        return backend->main.fd;
}

uint64_t oriel_backend_protocol_features(const struct oriel_backend *backend)
{
        return backend->agreement.protocol_features;
}

/* The front-end would wait for a missing reply, so any error ends the connection. Only where the reply's fd can't be
 * sent (the device gave an invalid one), a reply without it is sent, which means failure. */
static int send_reply(struct oriel_backend *backend, struct message *reply)
{
        const struct oriel_message_row *row = oriel_message_find(ORIEL_FROM_FRONTEND, reply->header.request);
        const char *name = row ? row->name : "unknown request";

        int r = channel_send(&backend->main, reply, 0);

        if (r < 0 && r != -EAGAIN && !channel_is_lost(r) && reply->n_fds > 0) {
                log_within(&backend->log_budget, &backend->log, ORIEL_LOG_ERROR, "%s: the reply's fd can't be sent: %s",
                           name, strerror(-r));
                message_close_fds(reply);
                r = channel_send(&backend->main, reply, 0);
        }
        if (r == 0)
                message_log(&backend->log, "to the front-end", ORIEL_FROM_FRONTEND, reply);
        message_close_fds(reply);
        if (r < 0 && r != -ENOTCONN)
                log_error(&backend->log, "%s: the reply can't be sent: %s; the connection ends", name,
                          r == -EAGAIN || r == -ETIMEDOUT ? "the front-end does not read its replies" : strerror(-r));
        return r == -EAGAIN || r == -ETIMEDOUT ? -EPROTO : r;
}

static int message_acknowledge(struct oriel_backend *backend, const struct message *request, int result)
{
        struct message reply;

        message_init(&reply, request->header.request, ORIEL_FLAG_REPLY);
        message_set_u64(&reply, result < 0);
        return send_reply(backend, &reply);
}

/* Whether the answer to a request can report a failure. An unknown request is answered if its header asks for it. Where
 * this process has lost the fds of a request, a reply that is a number serves as well: the peer is not at fault. */
static bool can_refuse(const struct oriel_backend *backend, const struct oriel_message_row *row,
                       const struct message *request)
{
        const struct agreement *agreement = &backend->agreement;

        if (!row)
                return request->header.flags & ORIEL_FLAG_NEED_REPLY && agreed(agreement, ORIEL_PROTOCOL_F_REPLY_ACK);
        if (request->lost_fds && row_replies(row, agreement) && row->reply_payload == ORIEL_PAYLOAD_U64)
                return true;
        return row_acknowledges(row, &request->header, agreement);
}

/* For a request that its row or its handler refused: reports the failure if the answer can, else ends the
 * connection. */
static int message_refuse(struct oriel_backend *backend, const struct oriel_message_row *row,
                          const struct message *request, const struct complaint *why)
{
        bool told = !backend->ends_connection && can_refuse(backend, row, request);

        if (told)
                log_within(&backend->log_budget, &backend->log, ORIEL_LOG_ERROR, "%s", why->text);
        else
                log_error(&backend->log, "%s; the connection ends", why->text);
        return told ? message_acknowledge(backend, request, -EINVAL) : -EPROTO;
}

static int message_handle(struct oriel_backend *backend, struct message *request)
{
        const struct oriel_message_row *row;
        struct complaint why = {""};
        struct message reply;
        int r = message_check_request(ORIEL_FROM_FRONTEND, request, &backend->agreement, &row, &why);

        if (r == -EPROTO) {
                log_error(&backend->log, "%s; the connection ends", why.text);
                return r;
        }
        if (r < 0)
                return message_refuse(backend, row, request, &why);
        if (r == 1) {
                message_tolerate(row, &why, &backend->main.tolerated, &backend->log_budget, &backend->log);
                why = (struct complaint){""};
        }

        message_init(&reply, request->header.request, ORIEL_FLAG_REPLY);
        r = handler_find(row->id)(backend, request, &reply, &why);
        if (r < 0) {
                if (!why.text[0])
                        complain(&why, "%s: %s", row->name, strerror(-r));
                message_close_fds(&reply);
                return message_refuse(backend, row, request, &why);
        }
        if (r > 0)
                return 0;
        if (row_replies(row, &backend->agreement))
                return send_reply(backend, &reply);
        if (row_acknowledges(row, &request->header, &backend->agreement))
                return message_acknowledge(backend, request, 0);
        return 0;
}

static int message_receive(struct oriel_backend *backend)
{
        struct complaint complaint = {""};
        int r = channel_receive(&backend->main, UINT32_MAX, &complaint);

        if (r == 1)
                message_log(&backend->log, "from the front-end", ORIEL_FROM_FRONTEND, &backend->main.in);
        if (r < 0 && r != -ENOTCONN)
                log_error(&backend->log, "%s; the connection ends", complaint.text);
        return r;
}

/* Returns 1 after MAX_HANDLED messages. */
static int handle_some(struct oriel_backend *backend)
{
        int r = 1;

        for (int i = 0; i < MAX_HANDLED && r == 1 && !backend->disconnect_wanted; i++) {
                r = message_receive(backend);
                if (r != 1)
                        break;
                r = message_handle(backend, &backend->main.in);
                channel_done(&backend->main);
                if (r == 0)
                        r = 1;
        }
        return backend->disconnect_wanted ? -ENOTCONN : r;
}

int oriel_backend_dispatch(struct oriel_backend *backend)
{
        if (!backend)
                return -EINVAL;
        if (backend->depth > 0)
                return -EDEADLK;
        backend->depth++;

        int r = backend->main.fd < 0 ? -ENOTCONN : handle_some(backend);

        requests_deliver(&backend->requests);
        backend->depth--;
        if (r >= 0 && !backend->disconnect_wanted)
                return 0;
        end_connection(backend);
        if (backend->free_wanted) {
                backend_destroy(backend);
                return -ECANCELED;
        }
        return r == -EPROTO ? -EPROTO : -ENOTCONN;
}

void oriel_backend_disconnect(struct oriel_backend *backend)
{
        if (backend->depth > 0) {
                backend->disconnect_wanted = true;
                return;
        }
        end_connection(backend);
        if (backend->free_wanted)
                backend_destroy(backend);
}

/* ---- requests to the front-end ---- */

static int shmem_request(struct oriel_backend *backend, enum oriel_backend_request id,
                         const struct oriel_wire_mmap *map, int fd, uint64_t *ticket)
{
        if (!map)
                return -EINVAL;

        struct oriel_range range = {map->shm_offset, map->len};

        if (atomic_load(&backend->running) == 0)
                return -ESHUTDOWN;
        if (!range_within(range, backend->shmem_sizes[map->shmid]))
                return -ERANGE;
        return requests_submit(&backend->requests, id, map, sizeof(*map), fd, ticket);
}

int oriel_backend_shmem_map(struct oriel_backend *backend, const struct oriel_wire_mmap *map, int fd, uint64_t *ticket)
{
        int r = fd_check(fd);

        return r < 0 ? r : shmem_request(backend, ORIEL_BACKEND_SHMEM_MAP, map, fd, ticket);
}

int oriel_backend_shmem_unmap(struct oriel_backend *backend, const struct oriel_wire_mmap *map, uint64_t *ticket)
{
        return shmem_request(backend, ORIEL_BACKEND_SHMEM_UNMAP, map, -1, ticket);
}

int oriel_backend_wait(struct oriel_backend *backend, uint64_t ticket)
{
        return requests_wait(&backend->requests, ticket, NULL);
}

int oriel_backend_poll(struct oriel_backend *backend, uint64_t ticket)
{
        return requests_poll(&backend->requests, ticket);
}

int oriel_backend_on_answer(struct oriel_backend *backend, uint64_t ticket,
                            void (*answered)(void *userdata, int result), void *userdata)
{
        return answered ? requests_on_answer(&backend->requests, ticket, answered, userdata) : -EINVAL;
}

int oriel_backend_get_answer_fd(const struct oriel_backend *backend)
{
        return backend->requests.answer_fd;
}

void oriel_backend_set_max_mappings(struct oriel_backend *backend, size_t max)
{
        requests_set_max_mappings(&backend->requests, max);
}

size_t oriel_backend_mapping_count(struct oriel_backend *backend)
{
        return requests_count_mappings(&backend->requests);
}

int oriel_backend_config_changed(struct oriel_backend *backend, uint64_t *ticket)
{
        return requests_submit(&backend->requests, ORIEL_BACKEND_CONFIG_CHANGE_MSG, "", 0, -1, ticket);
}

int oriel_backend_host_notifier(struct oriel_backend *backend, unsigned queue, int fd, uint64_t offset, uint64_t size,
                                uint64_t *ticket)
{
        struct oriel_wire_vring_area area = {queue | (fd < 0 ? ORIEL_VRING_FD_NONE : 0), size, offset};

        int r = fd_check_optional(fd);

        if (r < 0)
                return r;
        if (queue >= backend->n_queues)
                return -EINVAL;
        return requests_submit(&backend->requests, ORIEL_BACKEND_VRING_HOST_NOTIFIER_MSG, &area, sizeof(area), fd,
                               ticket);
}

int oriel_backend_shared_object_add(struct oriel_backend *backend, const uint8_t uuid[16], uint64_t *ticket)
{
        return requests_submit(&backend->requests, ORIEL_BACKEND_SHARED_OBJECT_ADD, uuid, 16, -1, ticket);
}

int oriel_backend_shared_object_remove(struct oriel_backend *backend, const uint8_t uuid[16], uint64_t *ticket)
{
        return requests_submit(&backend->requests, ORIEL_BACKEND_SHARED_OBJECT_REMOVE, uuid, 16, -1, ticket);
}

int oriel_backend_shared_object_lookup(struct oriel_backend *backend, const uint8_t uuid[16])
{
        uint64_t ticket;
        int fd = -1, r;

        r = requests_submit(&backend->requests, ORIEL_BACKEND_SHARED_OBJECT_LOOKUP, uuid, 16, -1, &ticket);
        if (r == 0)
                r = requests_wait(&backend->requests, ticket, &fd);
        if (r < 0)
                fd = fd_close(fd);
        return r < 0 ? r : fd < 0 ? -ENOENT : fd;
}
