/* SPDX-License-Identifier: BSD-2-Clause */

/* Cross-domain messages that a guest sends, by whatever driver. */

#include "tests/peers/wayland-guest.h"

#include <errno.h>
#include <string.h>

int guest_send(struct guest *guest, const void *data, size_t size, const uint32_t *ids, const uint32_t *types,
               unsigned n)
{
        struct {
                struct cross_send_receive head;
                uint8_t data[CROSS_RING_SIZE];
        } send = {.head = {.header = {.command = CROSS_SEND, .size = (uint16_t)(sizeof(send.head) + size)},
                           .n_ids = n,
                           .data_size = (uint32_t)size}};

        if (size > sizeof(send.data) || n > CROSS_IDS_MAX)
                return -EMSGSIZE;
        for (unsigned i = 0; i < n; i++) {
                send.head.ids[i] = types[i] == CROSS_ID_BLOB ? guest_resource(guest, ids[i]) : ids[i];
                send.head.types[i] = types[i];
        }
        memcpy(send.data, data, size);
        return guest_submit(guest, &send, send.head.header.size);
}

int guest_write(struct guest *guest, uint32_t pipe, const void *data, size_t size, bool hang_up)
{
        struct {
                struct cross_read_write head;
                uint8_t data[CROSS_RING_SIZE];
        } write = {.head = {.header = {.command = CROSS_WRITE, .size = (uint16_t)(sizeof(write.head) + size)},
                            .id = pipe,
                            .hang_up = hang_up,
                            .data_size = (uint32_t)size}};

        if (size > sizeof(write.data))
                return -EMSGSIZE;
        if (size > 0)
                memcpy(write.data, data, size);
        return guest_submit(guest, &write, write.head.header.size);
}
