/* SPDX-License-Identifier: BSD-2-Clause */

/* A virtio driver in user space: it brings a back-end up through the front-end library as a guest's driver and its VMM
 * would. The bring-up is a table of steps, each of which needs those before it and makes one request at most: so a
 * driver that does not wait (the option nonblocking) returns from any of them, and comes back to it with the same
 * arguments. A back-end after a reconnection goes through the steps that are not done once and for all. All calls
 * belong to one thread, which also dispatches the front-end.
 *
 * oriel_driver_new() owns the socket from its first line. When it fails, oriel_driver_free() undoes whatever was built,
 * and stops the queues first while the back-end is still there, but for a driver that does not wait. */

#include "driver/driver.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/range.h"
#include "base/struct.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <stdlib.h>

/* Used only where the caller names them: each of them changes the rest of the session. */
#define ONLY_WITH                                                                                               \
        (ORIEL_FEATURE(ORIEL_PROTOCOL_F_INBAND_NOTIFICATIONS) | ORIEL_FEATURE(ORIEL_PROTOCOL_F_GPA_ADDRESSES) | \
         ORIEL_FEATURE(ORIEL_PROTOCOL_F_GET_VRING_BASE_INFLIGHT) | ORIEL_FEATURE(ORIEL_PROTOCOL_F_PAGEFAULT))

#define DRIVER_STATUS (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK)

static bool driver_has(const struct oriel_driver *driver, unsigned feature)
{
        return driver->protocol_features & ORIEL_FEATURE(feature);
}

static int driver_set_status(struct oriel_driver *driver, uint8_t status)
{
        return driver_has(driver, ORIEL_PROTOCOL_F_STATUS) ? oriel_frontend_set_status(driver->frontend, status) : 0;
}

/* Guest memory is its own I/O address space: one entry covers all of it. */
static int driver_update_iotlb(struct oriel_driver *driver, uint8_t shmid, struct oriel_mapping *mapping, int fd)
{
        uint64_t user_address = driver_has(driver, ORIEL_PROTOCOL_F_GPA_ADDRESSES) ? 0 : (uintptr_t)driver->memory;

        return oriel_frontend_iotlb_update(driver->frontend, (struct oriel_range){0, driver->memory_size}, user_address,
                                           ORIEL_ACCESS_READ_WRITE);
}

static void iotlb_miss(void *userdata, uint64_t iova, enum oriel_access access)
{
        struct oriel_driver *driver = userdata;

        if (iova < driver->memory_size)
                request_for_event(driver, driver_update_iotlb, 0, NULL, -1);
}

static void driver_vring_call(void *userdata, unsigned vring)
{
        struct oriel_driver *driver = userdata;

        if (vring < driver->n_queues)
                fd_event_signal(driver->queues[vring].call_fd);
}

static void driver_vring_err(void *userdata, unsigned vring)
{
        struct oriel_driver *driver = userdata;

        if (vring < driver->n_queues)
                fd_event_signal(driver->queues[vring].err_fd);
}

static void driver_config_changed(void *userdata)
{
        /* Callers read the config space when they need it. */
}

static int driver_shared_object_add(void *userdata, const uint8_t uuid[16])
{
        const struct oriel_driver_options *options = &((struct oriel_driver *)userdata)->options;

        return options->shared_object_add ? options->shared_object_add(options->shared_object_userdata, uuid) : 0;
}

static int driver_shared_object_remove(void *userdata, const uint8_t uuid[16])
{
        const struct oriel_driver_options *options = &((struct oriel_driver *)userdata)->options;

        return options->shared_object_remove ? options->shared_object_remove(options->shared_object_userdata, uuid) : 0;
}

static int driver_shared_object_lookup(void *userdata, const uint8_t uuid[16])
{
        const struct oriel_driver_options *options = &((struct oriel_driver *)userdata)->options;

        return options->shared_object_lookup ? options->shared_object_lookup(options->shared_object_userdata, uuid)
                                             : -EOPNOTSUPP;
}

static int create_frontend(struct oriel_driver *driver)
{
        const struct oriel_frontend_ops ops = {
                .struct_size = sizeof(ops),
                .mapped = driver->options.windows_as_memory ? window_mapped : NULL,
                .unmapped = driver->options.windows_as_memory ? window_unmapped : NULL,
                .config_changed = driver_config_changed,
                .vring_call = driver_vring_call,
                .vring_err = driver_vring_err,
                .iotlb_miss = iotlb_miss,
                .shared_object_add = driver_shared_object_add,
                .shared_object_remove = driver_shared_object_remove,
                .shared_object_lookup = driver_shared_object_lookup,
        };
        const struct oriel_frontend_options options = {
                .struct_size = sizeof(options),
                .ops = &ops,
                .userdata = driver,
                .log = &driver->log,
                .timeout_ms = driver->options.timeout_ms,
                .dialect = driver->options.dialect,
        };

        return oriel_frontend_new(&options, &driver->frontend);
}

static int driver_negotiate(struct oriel_driver *driver)
{
        const uint64_t objects =
                driver->options.shared_object_lookup ? 0 : ORIEL_FEATURE(ORIEL_PROTOCOL_F_SHARED_OBJECT);
        const uint64_t without = ONLY_WITH | objects | driver->options.without;
        const uint64_t wanted = (oriel_frontend_supported() & ~without) | driver->options.with;
        int r = oriel_frontend_negotiate(driver->frontend, wanted);

        if (r < 0)
                return r;

        uint64_t offered = oriel_frontend_device_features(driver->frontend);

        if (!(offered & ORIEL_FEATURE(VIRTIO_F_VERSION_1))) {
                log_error(&driver->log, "the back-end does not offer VIRTIO_F_VERSION_1");
                return -EOPNOTSUPP;
        }

        uint64_t features = offered & (driver->options.features | ORIEL_FEATURE(VIRTIO_F_VERSION_1));
        uint64_t protocol_features = oriel_frontend_protocol_features(driver->frontend);

        if (driver->was_up && (features != driver->features || protocol_features != driver->protocol_features)) {
                log_error(&driver->log, "the new back-end does not offer what the last one did");
                return -EOPNOTSUPP;
        }
        driver->features = features;
        driver->protocol_features = protocol_features;
        return 0;
}

static int driver_count_queues(struct oriel_driver *driver)
{
        unsigned offered = driver->options.queues;
        int r = driver_has(driver, ORIEL_PROTOCOL_F_MQ) ? oriel_frontend_get_queue_num(driver->frontend, &offered) : 0;

        if (r < 0)
                return r;
        driver->n_queues = driver->options.queues ? driver->options.queues : offered;
        if (driver->n_queues == 0 || offered < driver->n_queues) {
                log_error(&driver->log, "the back-end has %u queues, %u are needed", offered, driver->options.queues);
                return -EOPNOTSUPP;
        }
        return 0;
}

/* The memory for rings and indirect tables, in addition to what the caller's buffers need. */
static int size_memory(struct oriel_driver *driver)
{
        size_t sizes[3];
        uint64_t total, per_queue;

        oriel_ring_sizes(driver->options.queue_size, driver->features & ORIEL_FEATURE(VIRTIO_F_RING_PACKED), sizes);
        per_queue = sizes[0] + sizes[1] + sizes[2] + driver->options.queue_size * UINT64_C(256) + 4 * 4096;
        if (!checked_add(driver->options.memory_size, per_queue * driver->n_queues, &total) ||
            !checked_round_up(total, 2 << 20, &driver->memory_size) || driver->memory_size > SIZE_MAX) {
                log_error(&driver->log, "a driver can't be made: memory_size is more than there can be");
                return -EINVAL;
        }
        return 0;
}

/* Before SET_FEATURES the back-end does not know the ring format, so features are set before GET_INFLIGHT_FD, and again
 * at their place. */
static int set_features_for_inflight(struct oriel_driver *driver)
{
        driver->inflight = (struct oriel_wire_inflight){
                .num_queues = (uint16_t)driver->n_queues,
                .queue_size = driver->options.queue_size,
        };
        return driver_has(driver, ORIEL_PROTOCOL_F_INFLIGHT_SHMFD)
                       ? oriel_frontend_set_features(driver->frontend, driver->features)
                       : 0;
}

static int get_inflight(struct oriel_driver *driver)
{
        return driver_has(driver, ORIEL_PROTOCOL_F_INFLIGHT_SHMFD)
                       ? oriel_frontend_get_inflight_fd(driver->frontend, &driver->inflight, &driver->inflight_fd)
                       : 0;
}

static int leave_queues(struct oriel_driver *driver)
{
        int r = 0;

        for (unsigned i = 0; r == 0 && i < driver->n_queues; i++)
                r = queue_leave(driver, i);
        return r;
}

static int set_status_driver(struct oriel_driver *driver)
{
        return driver_set_status(driver, DRIVER_STATUS & ~VIRTIO_CONFIG_S_FEATURES_OK);
}

static int set_driver_features(struct oriel_driver *driver)
{
        return oriel_frontend_set_features(driver->frontend, driver->features);
}

static int set_status_features_ok(struct oriel_driver *driver)
{
        return driver_set_status(driver, DRIVER_STATUS);
}

static int set_memory(struct oriel_driver *driver)
{
        const struct oriel_memory_region region = memory_as_region(driver);

        return oriel_frontend_set_mem_table(driver->frontend, &region, &driver->memory_fd, 1);
}

static int set_inflight(struct oriel_driver *driver)
{
        return driver->inflight_fd < 0
                       ? 0
                       : oriel_frontend_set_inflight_fd(driver->frontend, &driver->inflight, driver->inflight_fd);
}

/* Calls @function for each queue, from the one at which it returned -EINPROGRESS. */
static int each_queue(struct oriel_driver *driver, int (*function)(struct oriel_driver *driver, unsigned queue))
{
        int r = 0;

        while (r == 0 && driver->queue < driver->n_queues) {
                r = make_owed_requests(driver);
                if (r == 0)
                        r = function(driver, driver->queue);
                if (r == 0)
                        driver->queue++;
        }
        if (!is_unfinished(r))
                driver->queue = 0;
        return r;
}

static int start_queues(struct oriel_driver *driver)
{
        return each_queue(driver, queue_start);
}

static int set_status_driver_ok(struct oriel_driver *driver)
{
        return driver_set_status(driver, DRIVER_STATUS | VIRTIO_CONFIG_S_DRIVER_OK);
}

static int await_mappings(struct oriel_driver *driver)
{
        return oriel_frontend_await_mappings(driver->frontend);
}

/* The bring-up. Of a step that makes a request, nothing else needs to be undone when it is repeated. */
static const struct driver_step {
        int (*run)(struct oriel_driver *driver);
        bool once; /* not after a reconnection */
} driver_steps[] = {
        {driver_negotiate, false},
        {driver_count_queues, true},
        {size_memory, true},
        {memory_create, true},
        {queues_create, true},
        {windows_create, true},
        {set_features_for_inflight, true},
        {get_inflight, true},
        {leave_queues, false},
        {set_status_driver, false},
        {set_driver_features, false},
        {set_status_features_ok, false},
        {set_memory, false},
        {set_inflight, false},
        {start_queues, false},
        {set_status_driver_ok, false},
        {await_mappings, false},
};

/* Runs the steps that are left, and before each the requests that are owed. */
static int run_driver_steps(struct oriel_driver *driver)
{
        for (; driver->step < ARRAY_SIZE(driver_steps); driver->step++) {
                const struct driver_step *step = &driver_steps[driver->step];
                int r = make_owed_requests(driver);

                if (r == 0 && !(driver->was_up && step->once))
                        r = step->run(driver);
                if (r < 0)
                        return r;
        }

        int r = make_owed_requests(driver);

        /* A call of the owner's is in their way. */
        return r == 0 && !TAILQ_EMPTY(&driver->owed_requests) ? -EINPROGRESS : r;
}

/* Begins at the first step. */
static void begin_bring_up(struct oriel_driver *driver)
{
        driver->state = ORIEL_DRIVER_STARTING;
        driver->step = driver->queue = driver->queue_step = 0;
        forget_owed_requests(driver);
}

/* 0 once the device is up; an error other than -EINPROGRESS ends the bring-up. */
static int continue_bring_up(struct oriel_driver *driver)
{
        int r = oriel_frontend_set_nonblocking(driver->frontend, driver->options.nonblocking);

        if (r == 0)
                r = run_driver_steps(driver);
        if (r == 0 && !oriel_frontend_connected(driver->frontend))
                r = -ENOTCONN;
        if (is_unfinished(r))
                return -EINPROGRESS;
        driver->state = r == 0 ? ORIEL_DRIVER_UP : ORIEL_DRIVER_DOWN;
        driver->was_up |= r == 0;
        oriel_frontend_set_nonblocking(driver->frontend, false);
        forget_owed_requests(driver);
        return r;
}

/* Takes @fd. */
static int attach_driver(struct oriel_driver *driver, int fd)
{
        int r = create_frontend(driver);

        if (r < 0) {
                fd_close(fd);
                return r;
        }
        begin_bring_up(driver);
        return oriel_frontend_attach(driver->frontend, fd);
}

DEFINE_CLEANUP(struct oriel_driver *, oriel_driver_free);

/* Copies the caller's options and checks them. */
static int driver_take_options(struct oriel_driver_options *options, struct oriel_log *log,
                               const struct oriel_driver_options *from)
{
        int r = STRUCT_TAKE(options, from, ORIEL_DRIVER_OPTIONS_LEAST);
        const char *fault = NULL;

        if (r == 0)
                r = log_take(log, options->log);
        if (r == 0 && options->timeout_ms < 0)
                fault = "timeout_ms is below 0";
        else if (r == 0 && options->queues > ORIEL_MAX_QUEUES)
                fault = "queues: 256 at most";
        if (fault)
                log_error(log, "a driver can't be made: %s", fault);
        return fault ? -EINVAL : r;
}

int oriel_driver_new(const struct oriel_driver_options *from, int fd, struct oriel_driver **out)
{
        struct oriel_driver_options options;
        struct oriel_log log;
        _cleanup_(fd_closep) int socket = fd;

        if (!out)
                return -EINVAL;
        *out = NULL;

        int r = fd_check(fd);

        if (r == 0)
                r = driver_take_options(&options, &log, from);
        if (r < 0)
                return r;

        _cleanup_(oriel_driver_freep) struct oriel_driver *driver = calloc(1, sizeof(*driver));

        if (!driver)
                return -ENOMEM;
        driver->options = options;
        driver->log = log;
        if (!driver->options.queue_size)
                driver->options.queue_size = 256;
        if (!driver->options.memory_size)
                driver->options.memory_size = 16 << 20;
        driver->memory_fd = driver->inflight_fd = -1;
        TAILQ_INIT(&driver->owed_requests);

        r = attach_driver(driver, fd_take(&socket));
        if (r == 0 && !driver->options.nonblocking)
                r = continue_bring_up(driver);
        if (r < 0)
                return r;
        *out = steal(driver);
        return 0;
}

void oriel_driver_free(struct oriel_driver *driver)
{
        if (!driver)
                return;
        if (!driver->options.nonblocking && driver->frontend && oriel_frontend_connected(driver->frontend) &&
            driver->queues)
                for (unsigned i = 0; i < driver->n_queues; i++)
                        if (driver->queues[i].ring && queue_stop(driver, i) < 0)
                                break;
        oriel_frontend_free(driver->frontend);
        forget_owed_requests(driver);
        windows_destroy(driver);
        queues_destroy(driver);
        memory_destroy(driver);
        fd_close(driver->inflight_fd);
        free(driver);
}

int oriel_driver_reconnect(struct oriel_driver *driver, int fd)
{
        int r = fd_check(fd);

        if (r == 0 && !driver->was_up) {
                fd_close(fd);
                r = -EINVAL;
        }
        if (r < 0)
                return r;
        oriel_frontend_disconnect(driver->frontend);
        windows_forget(driver);
        begin_bring_up(driver);
        r = oriel_frontend_attach(driver->frontend, fd);
        if (r < 0)
                driver->state = ORIEL_DRIVER_DOWN;
        return r < 0 || driver->options.nonblocking ? r : oriel_driver_bring_up(driver);
}

int oriel_driver_bring_up(struct oriel_driver *driver)
{
        if (driver->state == ORIEL_DRIVER_STOPPING)
                return -EINVAL;
        if (driver->state == ORIEL_DRIVER_UP && oriel_frontend_connected(driver->frontend))
                return 0;

        int r = driver->state == ORIEL_DRIVER_STARTING ? continue_bring_up(driver) : -ENOTCONN;

        if (r < 0 && r != -EINPROGRESS)
                oriel_frontend_disconnect(driver->frontend);
        return r;
}

int oriel_driver_stop(struct oriel_driver *driver)
{
        int r = 0;

        if (driver_state(driver) == ORIEL_DRIVER_STARTING)
                return -EINVAL;
        if (driver_state(driver) != ORIEL_DRIVER_DOWN) {
                driver->state = ORIEL_DRIVER_STOPPING;
                r = oriel_frontend_set_nonblocking(driver->frontend, driver->options.nonblocking);
                if (r == 0)
                        r = each_queue(driver, queue_stop);
                if (is_unfinished(r))
                        return -EINPROGRESS;
                oriel_frontend_disconnect(driver->frontend);
        }
        driver->state = ORIEL_DRIVER_DOWN;
        forget_owed_requests(driver);
        return r;
}

enum oriel_driver_state oriel_driver_state(const struct oriel_driver *driver)
{
        return driver_state(driver);
}

struct oriel_frontend *oriel_driver_frontend(struct oriel_driver *driver)
{
        return driver->frontend;
}

uint64_t oriel_driver_features(const struct oriel_driver *driver)
{
        return driver->features;
}

unsigned oriel_driver_queue_count(const struct oriel_driver *driver)
{
        return driver->was_up ? driver->n_queues : 0;
}
