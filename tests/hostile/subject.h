/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TESTS_HOSTILE_SUBJECT_H
#define TESTS_HOSTILE_SUBJECT_H

/* Our front-end as what a raw back-end speaks to. All is on the test's thread: what the back-end answers is sent before
 * the front-end asks. */

#include "tests/hostile/hostile.h"
#include "tests/session/session.h"

#include <linux/virtio_config.h>

#define F(name) ORIEL_FEATURE(ORIEL_PROTOCOL_F_##name)
#define IOMMU   ORIEL_FEATURE(VIRTIO_F_ACCESS_PLATFORM)
#define VIRTIO  (ORIEL_FEATURE(VIRTIO_F_VERSION_1) | ORIEL_FEATURE(ORIEL_F_PROTOCOL_FEATURES) | IOMMU)
#define WINDOW  (16 * PAGE)

struct subject {
        struct oriel_frontend *frontend;
        struct oriel_window *window;
        struct oriel_region *region;
        int main; /* the back-end's ends */
        int back;
        int fd; /* to pass */
        unsigned errors, warnings;
        char last_error[512];
        unsigned told; /* of deferred events */
};

/* @timeout_ms as in oriel_frontend_options. */
void subject_open(struct subject *subject, int timeout_ms);
void subject_close(struct subject *subject);

/* A new connection on which these protocol features were agreed on. */
void subject_connect(struct subject *subject, uint64_t features);
void subject_disconnect(struct subject *subject);

/* Put in place the back-end's answer to the next request. */
void subject_reply(struct subject *subject, uint32_t request, uint64_t value, uint32_t size);
/* Whether the front-end can still ask. */
bool subject_is_alive(struct subject *subject);
/* Read and drop what the front-end has sent so far. */
void subject_drain(struct subject *subject);

/* Exactly one error was logged, and has @field in it; forget it. */
void subject_expect_error(struct subject *subject, const char *name, const char *what, const char *field);

#endif
