/* SPDX-License-Identifier: BSD-2-Clause */

/* The duties of a back-end with shared memory regions: GET_SHMEM_CONFIG has the right form and does not change, nothing
 * comes on the back-end channel before the device is started, mappings that the device makes at its start come before
 * the answer to the start, and SHMEM_MAP has the number of the specification. Each function is one case; the table at
 * the end has the text of what is sent and expected. */

#include "conform/backend/backend.h"

#include <inttypes.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <sys/socket.h>

#define SECTION  "VHOST_USER_GET_SHMEM_CONFIG"
#define QUIET_MS 200
#define LATE_MS  300
#define MAPS_MAX 4096

static enum verdict regions_unchanged(struct trial *trial)
{
        struct back_end *b = trial->back_end;
        struct oriel_wire_shmem_config first;

        if (expect(trial, "GET_SHMEM_CONFIG", back_ask_with(b, ORIEL_FRONTEND_GET_SHMEM_CONFIG, NULL, 0), BIT(DONE)) !=
            PASSED)
                return FAILED;
        first = b->reply.payload.shmem_config;
        if (back_expect(trial, back_prepare(b), ACCEPTED) != PASSED)
                return FAILED;
        if (expect(trial, "GET_SHMEM_CONFIG", back_ask_with(b, ORIEL_FRONTEND_GET_SHMEM_CONFIG, NULL, 0), BIT(DONE)) !=
            PASSED)
                return FAILED;
        for (unsigned i = 0; i < ORIEL_MAX_SHMIDS; i++)
                if (first.sizes[i] != b->reply.payload.shmem_config.sizes[i])
                        return fails(trial, "region %u had %" PRIu64 " bytes and has %" PRIu64, i, first.sizes[i],
                                     (uint64_t)b->reply.payload.shmem_config.sizes[i]);
        return PASSED;
}

/* A device without a started vring is suspended. */
static enum verdict quiet_before_start(struct trial *trial)
{
        struct back_end *b = trial->back_end;
        struct oriel_wire_header header;
        struct pollfd p = {.fd = b->back, .events = POLLIN};

        if (back_expect(trial, back_prepare(b), ACCEPTED) != PASSED)
                return FAILED;
        if (poll(&p, 1, QUIET_MS) <= 0)
                return PASSED;
        if (recv(b->back, &header, sizeof(header), MSG_DONTWAIT) != sizeof(header))
                return passes(trial, "it has closed the back-end channel");

        const struct oriel_message_row *row = oriel_message_find(ORIEL_FROM_BACKEND, header.request);

        return fails(trial, "%s came", row ? row->name : "an unknown request");
}

/* Acknowledges everything that comes on the back-end channel within @ms; returns how many of the requests map. */
static unsigned count_maps(struct back_end *b, struct channel *back, int ms)
{
        const int64_t deadline = now_ms() + ms;
        const uint64_t done = 0;
        unsigned maps = 0;
        struct message reply;

        while (maps < MAPS_MAX && wire_receive(back, poll_timeout(deadline), &b->why) == DONE) {
                maps += back->in.header.request == ORIEL_BACKEND_SHMEM_MAP;
                wire_init(&reply, back->in.header.request, &done, sizeof(done));
                reply.header.flags |= ORIEL_FLAG_REPLY;
                if (back->in.header.flags & ORIEL_FLAG_NEED_REPLY)
                        wire_send(back->fd, &reply, b->timeout_ms);
                channel_done(back);
        }
        return maps;
}

/* A front-end that lets the driver continue after placing the mappings before the last answer does not wait for
 * more. */
static enum verdict backend_map_at_start(struct trial *trial)
{
        const uint64_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK |
                                VIRTIO_CONFIG_S_DRIVER_OK;
        struct back_end *b = trial->back_end;
        _cleanup_(events_close) struct backend_events events = events_open();
        struct channel back;

        channel_init(&back, b->back);
        if (back_expect(trial, back_bring_up(b, 0, &events), ACCEPTED) != PASSED)
                return FAILED;
        if (back_has(b, ORIEL_PROTOCOL_F_STATUS))
                if (expect(trial, "SET_STATUS", back_ask_u64(b, ORIEL_FRONTEND_SET_STATUS, status), ACCEPTED) != PASSED)
                        return FAILED;

        unsigned n = count_maps(b, &back, 0), late = count_maps(b, &back, LATE_MS);

        return late > 0 ? fails(trial, "SHMEM_MAP came after the answer") : passes(trial, "SHMEM_MAP %u times", n);
}

/* A back-end that uses another number for SHMEM_MAP must be detected. */
static enum verdict regions_numbering(struct trial *trial)
{
        struct back_end *b = trial->back_end;
        uint64_t others = b->offered & (ORIEL_FEATURE(ORIEL_PROTOCOL_F_GET_VRING_BASE_INFLIGHT) |
                                        ORIEL_FEATURE(ORIEL_PROTOCOL_F_GPA_ADDRESSES));
        uint64_t features = b->agreement.protocol_features | others;

        if (!others || back_has(b, ORIEL_PROTOCOL_F_SHMEM_MAP))
                return skips(trial, "its number is not in doubt");
        if (expect(trial, "SET_PROTOCOL_FEATURES", back_ask_u64(b, ORIEL_FRONTEND_SET_PROTOCOL_FEATURES, features),
                   EITHER) != PASSED)
                return FAILED;

        enum answer answer = back_ask_with(b, ORIEL_FRONTEND_GET_SHMEM_CONFIG, NULL, 0);

        if (answer == DONE && b->reply.payload.shmem_config.num_regions > 0)
                return fails(trial, "it has regions, and offers bit 20 or 21 in place of 22");
        return PASSED;
}

/* For the first one, the check of the reply says which rule is broken. */
static const struct conform_case rows[] = {
        {"shmem-config", SECTION, back_try, ORIEL_PROTOCOL_F_SHMEM_MAP, ORIEL_FRONTEND_GET_SHMEM_CONFIG,
         "GET_SHMEM_CONFIG", "2056 bytes: as many sizes that are not 0 as num regions says, each in whole pages",
         BIT(DONE)},
        {"shmem-config-again", SECTION, regions_unchanged, ORIEL_PROTOCOL_F_SHMEM_MAP, 0,
         "GET_SHMEM_CONFIG before and after SET_FEATURES and SET_MEM_TABLE", "the same"},
        {"quiet-before-start", "Suspended device state", quiet_before_start, ORIEL_PROTOCOL_F_BACKEND_REQ, 0,
         "a back-end channel, features and memory, and no vring is started", "nothing comes on the back-end channel"},
        {"map-at-start", ROBUSTNESS, backend_map_at_start, ORIEL_PROTOCOL_F_SHMEM_MAP, 0,
         "vring 0 is started, the status is DRIVER_OK, and the driver asks for nothing",
         "SHMEM_MAP comes before the answer to the last of these, or not at all"},
        {"shmem-number", "Protocol features", regions_numbering, NO_FEATURE, 0,
         "GET_SHMEM_CONFIG to a back-end that offers bit 20 or 21 and not 22", "it has no regions"},
};

const struct conform_group backend_shmem_cases = GROUP(rows);
