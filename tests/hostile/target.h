/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TESTS_HOSTILE_TARGET_H
#define TESTS_HOSTILE_TARGET_H

/* Our back-end as what a raw front-end speaks to. */

#include "tests/hostile/hostile.h"
#include "tests/session/session.h"

#include <linux/virtio_config.h>

#define F(name) ORIEL_FEATURE(ORIEL_PROTOCOL_F_##name)
#define PASSED  (F(RARP) | F(MTU) | F(CRYPTO_SESSION) | F(HOST_NOTIFIER))
#define NEVER   (F(PAGEFAULT) | F(XEN_MMAP) | F(CROSS_ENDIAN))
#define ALL     ((ORIEL_FEATURE(ORIEL_PROTOCOL_FEATURES) - 1) & ~NEVER)
#define VIRTIO  (ORIEL_FEATURE(VIRTIO_F_VERSION_1) | ORIEL_FEATURE(ORIEL_F_PROTOCOL_FEATURES))
#define IOMMU   ORIEL_FEATURE(VIRTIO_F_ACCESS_PLATFORM)
#define QUEUES  2

struct target {
        struct echo *echo;
        int socket;
        int fd; /* to pass */
};

void target_open(struct target *target);
void target_close(struct target *target);

/* A new connection with these features. */
void connect_to(struct target *target, uint64_t protocol_features, uint64_t features);
/* Ends the connection, whatever its outcome. */
void disconnect_from(struct target *target);
/* A request of one word. */
void say(struct target *target, uint32_t request, uint64_t value, uint32_t size);
/* Whether it answers another request. */
bool is_alive(struct target *target);

/* Each ends the test with words, if it does not end as it should. */
void expect_refused(struct target *target, enum outcome outcome, const char *name, const char *what);
void expect_closed(struct target *target, enum outcome outcome, const char *name, const char *what);
/* Exactly one error was logged, and it has @field in it. */
void expect_error(struct target *target, const char *name, const char *what, const char *field);

#endif
