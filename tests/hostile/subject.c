/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/hostile/subject.h"
#include "base/cleanup.h"
#include "base/fd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void count_error(void *userdata, enum oriel_log_level level, const char *line)
{
        struct subject *subject = userdata;

        subject->warnings += level == ORIEL_LOG_WARNING;
        if (level != ORIEL_LOG_ERROR)
                return;
        subject->errors++;
        snprintf(subject->last_error, sizeof(subject->last_error), "%s", line);
}

/* ---- ops: all is welcome ---- */

static void mapped(void *userdata, struct oriel_region *region, struct oriel_mapping *mapping, int fd)
{
        ((struct subject *)userdata)->told += fd >= 0;
}

static void unmapped(void *userdata, struct oriel_region *region, struct oriel_mapping *mapping)
{
        ((struct subject *)userdata)->told++;
}

static void refused(void *userdata, bool map, const struct oriel_wire_mmap *request, int error)
{
        ((struct subject *)userdata)->told += error < 0;
}

static void config_changed(void *userdata)
{
        ((struct subject *)userdata)->told++;
}

static void vring_event(void *userdata, unsigned vring)
{
        ((struct subject *)userdata)->told++;
}

static void iotlb_miss(void *userdata, uint64_t iova, enum oriel_access access)
{
        ((struct subject *)userdata)->told++;
}

static int host_notifier(void *userdata, unsigned vring, int fd, uint64_t offset, uint64_t size)
{
        return vring == 0 || fd < 0 ? 0 : -EINVAL;
}

static int object(void *userdata, const uint8_t uuid[16])
{
        return 0;
}

static int object_lookup(void *userdata, const uint8_t uuid[16])
{
        struct subject *subject = userdata;

        return uuid[0] ? fd_dup(subject->fd) : -ENOENT;
}

static int make_frontend(struct subject *subject, int timeout_ms)
{
        const struct oriel_log log = {sizeof(log), count_error, subject, ORIEL_LOG_WARNING};
        const struct oriel_frontend_ops ops = {
                .struct_size = sizeof(ops),
                .mapped = mapped,
                .unmapped = unmapped,
                .refused = refused,
                .config_changed = config_changed,
                .vring_call = vring_event,
                .vring_err = vring_event,
                .iotlb_miss = iotlb_miss,
                .host_notifier = host_notifier,
                .shared_object_add = object,
                .shared_object_remove = object,
                .shared_object_lookup = object_lookup,
        };
        const struct oriel_frontend_options options = {
                .struct_size = sizeof(options),
                .ops = &ops,
                .userdata = subject,
                .log = &log,
                .timeout_ms = timeout_ms,
        };

        return oriel_frontend_new(&options, &subject->frontend);
}

static int make_region(struct subject *subject)
{
        const struct oriel_region_options options = {
                .struct_size = sizeof(options),
                .size = WINDOW,
                .placement = oriel_window_placement(),
                .userdata = subject->window,
        };

        return oriel_region_new(&options, &subject->region);
}

void subject_open(struct subject *subject, int timeout_ms)
{
        *subject = (struct subject){.main = -1, .back = -1};
        subject->fd = make_memory(4 * PAGE);
        assert_int_equal(make_frontend(subject, timeout_ms), 0);
        assert_int_equal(oriel_window_new(WINDOW, ORIEL_HOLE_ZERO, &subject->window), 0);
        assert_int_equal(make_region(subject), 0);
        oriel_frontend_set_region(subject->frontend, 0, subject->region);
}

void subject_close(struct subject *subject)
{
        subject_disconnect(subject);
        oriel_frontend_free(subject->frontend);
        oriel_region_free(subject->region);
        oriel_window_free(subject->window);
        fd_close(subject->fd);
}

/* ---- a connection ---- */

void subject_reply(struct subject *subject, uint32_t request, uint64_t value, uint32_t size)
{
        struct raw raw;

        raw_init_u64s(&raw, request, &value, size);
        raw.header.flags |= ORIEL_FLAG_REPLY;
        assert_true(raw_send(subject->main, &raw));
}

/* The back-end's channel comes with one of the messages. */
static void find_back_channel(struct subject *subject)
{
        struct raw raw;

        while (raw_receive_keep(subject->main, &raw, 0) != OUTCOME_SILENCE)
                if (raw.header.request == ORIEL_FRONTEND_SET_BACKEND_REQ_FD && raw.n_fds == 1)
                        subject->back = raw.fds[0];
}

void subject_connect(struct subject *subject, uint64_t features)
{
        bool acknowledged = features & F(REPLY_ACK);
        int fds[2];

        assert_int_equal(make_socketpair(fds), 0);
        subject->main = fds[1];
        assert_int_equal(oriel_frontend_attach(subject->frontend, fds[0]), 0);
        subject_reply(subject, ORIEL_FRONTEND_GET_FEATURES, VIRTIO, 8);
        subject_reply(subject, ORIEL_FRONTEND_GET_PROTOCOL_FEATURES, features, 8);
        if (acknowledged && features & F(BACKEND_REQ))
                subject_reply(subject, ORIEL_FRONTEND_SET_BACKEND_REQ_FD, 0, 8);
        if (acknowledged)
                subject_reply(subject, ORIEL_FRONTEND_SET_OWNER, 0, 8);
        assert_int_equal(oriel_frontend_negotiate(subject->frontend, features), 0);
        assert_int_equal(oriel_frontend_protocol_features(subject->frontend), features);
        find_back_channel(subject);
        subject->errors = subject->warnings = 0;
        subject->told = 0;
}

void subject_disconnect(struct subject *subject)
{
        oriel_frontend_disconnect(subject->frontend);
        subject->main = fd_close(subject->main);
        subject->back = fd_close(subject->back);
}

bool subject_is_alive(struct subject *subject)
{
        uint64_t features;
        uint32_t size = sizeof(features);

        subject_reply(subject, ORIEL_FRONTEND_GET_FEATURES, 1234, 8);
        return oriel_frontend_request(subject->frontend, ORIEL_FRONTEND_GET_FEATURES, NULL, 0, -1, &features, &size) ==
                       0 &&
               features == 1234;
}

void subject_drain(struct subject *subject)
{
        enum outcome outcome;
        struct raw raw;

        do
                outcome = raw_receive(subject->main, &raw, 0);
        while (outcome == OUTCOME_ACCEPTED || outcome == OUTCOME_REFUSED);
}

void subject_expect_error(struct subject *subject, const char *name, const char *what, const char *field)
{
        if (subject->errors != 1 || !strstr(subject->last_error, field))
                fail_msg("%s, %s: %u errors, the last is '%s'", name, what, subject->errors, subject->last_error);
        subject->errors = 0;
}
