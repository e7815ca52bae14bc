/* SPDX-License-Identifier: BSD-2-Clause */
#include "trace/output.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Peers of a dialect know no features at and above their number for SHMEM_MAP. */
static const char *protocol_bit(const struct naming *naming, unsigned bit)
{
        unsigned shmem = naming->dialect ? naming->dialect->shmem_bit : ORIEL_PROTOCOL_F_SHMEM_MAP;

        if (bit == shmem)
                return oriel_protocol_feature_name(ORIEL_PROTOCOL_F_SHMEM_MAP);
        return bit < shmem ? oriel_protocol_feature_name(bit) : NULL;
}

const char *words_of_bit(const struct naming *naming, enum oriel_payload kind, unsigned bit, char unknown[8])
{
        const char *name = kind == ORIEL_PAYLOAD_FEATURES ? oriel_virtio_feature_name(naming->device_id, bit)
                                                          : protocol_bit(naming, bit);

        if (!name)
                snprintf(unknown, 8, "bit%u", bit % 64);
        return name ? name : unknown;
}

static void print_bits(const struct naming *naming, enum oriel_payload kind, uint64_t bits, char *out, size_t size)
{
        size_t at = (size_t)snprintf(out, size, "0x%" PRIx64, bits);
        char unknown[8];

        for (unsigned bit = 0; bit < 64 && at < size; bit++)
                if (bits & ORIEL_FEATURE(bit))
                        at += (size_t)snprintf(out + at, size - at, " %s", words_of_bit(naming, kind, bit, unknown));
}

void words_of_payload(const struct naming *naming, const struct trace_event *event, char *out, size_t size)
{
        const struct record *record = event->record;
        bool bits = event->payload == ORIEL_PAYLOAD_FEATURES || event->payload == ORIEL_PAYLOAD_PROTOCOL_FEATURES;
        uint64_t value;

        out[0] = '\0';
        if (event->acknowledges && event->result)
                snprintf(out, size, "refused %" PRIu64, event->result);
        else if (event->acknowledges)
                snprintf(out, size, "ok");
        else if (event->reply && event->payload == ORIEL_PAYLOAD_CONFIG && record->payload_bytes == 0)
                snprintf(out, size, "refused"); /* GET_CONFIG without a payload */
        else if (bits && record->payload_bytes == sizeof(value)) {
                memcpy(&value, record->payload, sizeof(value));
                print_bits(naming, event->payload, value, out, size);
        } else
                oriel_payload_print(event->payload, record->payload, record->payload_bytes, out, size);
}

void words_of_fd(const struct description *fd, char *out, size_t size)
{
        char bytes[40] = "";

        if (fd->has_size)
                snprintf(bytes, sizeof(bytes), ", %" PRIu64 " bytes", fd->size);
        snprintf(out, size, "%s%s%s%s, %s", fd->kind, fd->name ? " " : "", fd->name ? fd->name : "", bytes, fd->access);
}

const char *words_of_side(enum side side)
{
        return side == SIDE_FRONTEND ? "front-end" : "back-end";
}

void words_of_channel(unsigned channel, char *out, size_t size)
{
        if (channel < 2)
                snprintf(out, size, "%s", channel == 0 ? "main" : "back-end");
        else
                snprintf(out, size, "back-end %u", channel);
}
