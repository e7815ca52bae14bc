/* SPDX-License-Identifier: BSD-2-Clause */

/* The rings of the front-end's driver, which are read and never served: the memory table, and whether a ring has a
 * buffer. Only split rings, as packed ones are not offered. */

#include "base/fd.h"
#include "conform/frontend/frontend.h"

#include <endian.h>
#include <linux/virtio_ring.h>
#include <oriel/memory.h>

#define MAX_REGIONS 509

static int rings_memory_add(struct front_end *f, const struct oriel_wire_memory_region *wire, int fd)
{
        const struct oriel_memory_region region = {
                .guest_address = wire->guest_address,
                .size = wire->size,
                .user_address = wire->user_address,
                .mmap_offset = wire->mmap_offset,
        };
        struct oriel_memory *more = NULL;
        int r = f->memory ? 0 : oriel_memory_new(MAX_REGIONS, false, &f->memory);

        if (r == 0)
                r = oriel_memory_add(f->memory, &region, fd, &more);
        if (r < 0)
                return r;
        oriel_memory_unref(f->memory);
        f->memory = more;
        return 0;
}

void front_forget_memory(struct front_end *f)
{
        oriel_memory_unref(f->memory);
        f->memory = NULL;
}

int front_set_memory(struct front_end *f, const struct message *request)
{
        struct oriel_wire_memory table;
        int r = 0;

        front_forget_memory(f);
        message_get(request, &table, sizeof(table));
        for (unsigned i = 0; r == 0 && i < table.num_regions && i < request->n_fds; i++)
                r = rings_memory_add(f, &table.regions[i], request->fds[i]);
        return r;
}

int front_add_memory(struct front_end *f, const struct message *request)
{
        return rings_memory_add(f, &request->payload.mem_reg.region, request->fds[0]);
}

static bool has_buffer(const struct front_end *f, const struct front_vring *vring)
{
        const struct oriel_range index = {vring->avail + offsetof(struct vring_avail, idx), sizeof(__virtio16)};
        struct iovec span;

        if (!vring->started || !f->memory ||
            oriel_memory_translate(f->memory, ORIEL_ADDRESS_USER, index, ORIEL_ACCESS_READ, &span, 1, NULL) != 1 ||
            span.iov_len != index.size)
                return false;
        return le16toh(__atomic_load_n((const uint16_t *)span.iov_base, __ATOMIC_ACQUIRE)) != (uint16_t)vring->base;
}

int front_ring_with_buffer(const struct front_end *f)
{
        for (int i = 0; i < ORIEL_MAX_QUEUES; i++)
                if (has_buffer(f, &f->vrings[i]))
                        return i;
        return -1;
}
