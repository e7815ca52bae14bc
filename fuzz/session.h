/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FUZZ_SESSION_H
#define FUZZ_SESSION_H

/* Shared by both halves of the session target: the input, and what a peer sends of it. */

#include "base/cleanup.h"
#include "base/fd.h"
#include "fuzz/input.h"
#include "protocol/message.h"

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <oriel/log.h>

#define PAGE    4096
#define WINDOW  (16 * PAGE)
#define QUEUES  2
#define HEADER  sizeof(struct oriel_wire_header)
#define MAX_FDS 9

#define VIRTIO                                                                                 \
        (ORIEL_FEATURE(VIRTIO_F_VERSION_1) | ORIEL_FEATURE(VIRTIO_F_RING_PACKED) |             \
         ORIEL_FEATURE(VIRTIO_RING_F_INDIRECT_DESC) | ORIEL_FEATURE(VIRTIO_RING_F_EVENT_IDX) | \
         ORIEL_FEATURE(VIRTIO_F_IN_ORDER) | ORIEL_FEATURE(VIRTIO_F_ACCESS_PLATFORM))

/* The bits of the first byte. */
#define TO_FRONTEND 1
#define AGREED      2 /* all features; to the front-end: on the back-end channel */
#define WITH_IOMMU  4
#define HELPED      8
#define PREPARED    16 /* with AGREED: the back-end has memory and a started vring; the front-end has a call under way */

struct script {
        struct input input;
        uint8_t how;
};

extern int kinds[4]; /* of fds: memory, /dev/null, an eventfd, a socket */
extern const struct oriel_log words;

/* The next message of the input. False: there is no more, or the peer is gone. */
bool send_next(struct script *script, int socket);
void send_u64(int socket, uint32_t request, uint32_t flags, uint64_t value);
void drain(int socket);
int get_object(void *userdata, const uint8_t uuid[16]);

/* The input is what a back-end says to the front-end. */
void fuzz_frontend(struct script *script);

#endif
