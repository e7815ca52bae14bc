/* SPDX-License-Identifier: BSD-2-Clause */
#include "queue.h"

#include <linux/virtio_ring.h>

/* x86 keeps the order of loads and of stores; the compiler is to do so too. */
static void barrier(void)
{
        __asm__ volatile("" : : : "memory");
}

/* A store before a load. */
static void full_barrier(void)
{
        __asm__ volatile("mfence" : : : "memory");
}

enum { USED_ALIGN = 4 };

static struct vring split(const struct virtqueue *queue)
{
        struct vring ring;

        vring_init(&ring, queue->size, (void *)(uintptr_t)queue->memory, USED_ALIGN);
        return ring;
}

struct packed {
        struct vring_packed_desc *ring;
        struct vring_packed_desc_event *driver, *device;
};

static struct packed packed(const struct virtqueue *queue)
{
        struct vring_packed_desc *ring = (void *)(uintptr_t)queue->memory;
        struct vring_packed_desc_event *events = (void *)&ring[queue->size];

        return (struct packed){ring, events, events + 1};
}

void queue_init(struct virtqueue *queue, uint16_t index, uint16_t size, bool is_packed)
{
        memset(queue, 0, sizeof(*queue));
        queue->index = index;
        queue->size = queue->n_free = size;
        queue->packed = is_packed;
        queue->next_wrap = queue->used_wrap = true;
        for (uint16_t i = 0; i < size; i++)
                queue->out[i].next = (uint16_t)(i + 1);
        /* It is polled. */
        if (is_packed)
                packed(queue).driver->flags = VRING_PACKED_EVENT_FLAG_DISABLE;
        else
                split(queue).avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
}

void queue_parts(const struct virtqueue *queue, uint64_t parts[3])
{
        struct vring vring = split(queue);
        struct packed packed_ring = packed(queue);

        parts[0] = (uint64_t)queue->memory;
        parts[1] = queue->packed ? (uint64_t)packed_ring.driver : (uint64_t)vring.avail;
        parts[2] = queue->packed ? (uint64_t)packed_ring.device : (uint64_t)vring.used;
}

void queue_want_interrupts(struct virtqueue *queue)
{
        if (queue->packed)
                packed(queue).driver->flags = VRING_PACKED_EVENT_FLAG_ENABLE;
        else
                split(queue).avail->flags = 0;
}

static uint16_t take_free(struct virtqueue *queue)
{
        uint16_t id = queue->free;

        queue->free = queue->out[id].next;
        return id;
}

static void give_back(struct virtqueue *queue, uint16_t id)
{
        queue->out[id].next = queue->free;
        queue->free = id;
}

/* ---- split ---- */

static void add_split(struct virtqueue *queue, const struct buffer *buffers, unsigned n, void *cookie)
{
        struct vring ring = split(queue);
        uint16_t head = queue->free, at = head;

        for (unsigned i = 0; i < n; i++) {
                bool last = i + 1 == n;

                at = take_free(queue);
                ring.desc[at].addr = buffers[i].address;
                ring.desc[at].len = buffers[i].size;
                ring.desc[at].flags = (uint16_t)((buffers[i].device_writes ? VRING_DESC_F_WRITE : 0) |
                                                 (last ? 0 : VRING_DESC_F_NEXT));
                ring.desc[at].next = last ? 0 : queue->free;
        }
        queue->out[head].cookie = cookie;
        queue->out[head].n = (uint16_t)n;
        ring.avail->ring[queue->next++ % queue->size] = head;
        barrier();
        *(volatile uint16_t *)&ring.avail->idx = queue->next;
}

static void *take_split(struct virtqueue *queue, uint32_t *written)
{
        struct vring ring = split(queue);

        if (*(volatile uint16_t *)&ring.used->idx == queue->used)
                return NULL;
        barrier();

        const struct vring_used_elem *used = &ring.used->ring[queue->used++ % queue->size];
        uint16_t id = (uint16_t)used->id, n = queue->out[id % queue->size].n;

        *written = used->len;
        if (used->id >= queue->size || n == 0)
                need(false, "the device used descriptor %u, which is out", used->id);
        queue->out[id].n = 0;
        for (uint16_t i = 0, at = id; i < n; i++) {
                uint16_t next = ring.desc[at].next;

                give_back(queue, at);
                at = next;
        }
        queue->n_free = (uint16_t)(queue->n_free + n);
        return queue->out[id].cookie;
}

/* ---- packed ---- */

static uint16_t packed_flags(bool wrap)
{
        return (uint16_t)(wrap ? 1 << VRING_PACKED_DESC_F_AVAIL : 1 << VRING_PACKED_DESC_F_USED);
}

static void advance(const struct virtqueue *queue, uint16_t *at, bool *wrap, uint16_t n)
{
        *at = (uint16_t)(*at + n);
        if (*at < queue->size)
                return;
        *at = (uint16_t)(*at - queue->size);
        *wrap = !*wrap;
}

/* The first one's flags make all of it available, so they come last. */
static void add_packed(struct virtqueue *queue, const struct buffer *buffers, unsigned n, void *cookie)
{
        struct vring_packed_desc *ring = packed(queue).ring, *first = &ring[queue->next];
        uint16_t id = take_free(queue), first_flags = 0;

        for (unsigned i = 0; i < n; i++) {
                struct vring_packed_desc *to = &ring[queue->next];
                uint16_t flags = (uint16_t)(packed_flags(queue->next_wrap) |
                                            (buffers[i].device_writes ? VRING_DESC_F_WRITE : 0) |
                                            (i + 1 == n ? 0 : VRING_DESC_F_NEXT));

                to->addr = buffers[i].address;
                to->len = buffers[i].size;
                to->id = id;
                if (i == 0)
                        first_flags = flags;
                else
                        to->flags = flags;
                advance(queue, &queue->next, &queue->next_wrap, 1);
        }
        queue->out[id].cookie = cookie;
        queue->out[id].n = (uint16_t)n;
        barrier();
        *(volatile uint16_t *)&first->flags = first_flags;
}

static void *take_packed(struct virtqueue *queue, uint32_t *written)
{
        const struct vring_packed_desc *used = &packed(queue).ring[queue->used];
        uint16_t both = 1 << VRING_PACKED_DESC_F_AVAIL | 1 << VRING_PACKED_DESC_F_USED;
        uint16_t flags = *(const volatile uint16_t *)&used->flags & both;

        if (flags != (queue->used_wrap ? both : 0))
                return NULL;
        barrier();

        uint16_t id = used->id, n = queue->out[id % queue->size].n;

        *written = used->len;
        if (id >= queue->size || n == 0)
                need(false, "the device used buffer %u, which is out", id);
        queue->out[id].n = 0;
        advance(queue, &queue->used, &queue->used_wrap, n);
        give_back(queue, id);
        queue->n_free = (uint16_t)(queue->n_free + n);
        return queue->out[id].cookie;
}

/* ---- */

bool queue_add(struct virtqueue *queue, const struct buffer *buffers, unsigned n, void *cookie)
{
        if (n > queue->n_free)
                return false;
        queue->n_free = (uint16_t)(queue->n_free - n);
        if (queue->packed)
                add_packed(queue, buffers, n, cookie);
        else
                add_split(queue, buffers, n, cookie);
        return true;
}

void queue_kick(const struct virtqueue *queue)
{
        full_barrier();

        bool wanted = queue->packed ? packed(queue).device->flags != VRING_PACKED_EVENT_FLAG_DISABLE
                                    : !(split(queue).used->flags & VRING_USED_F_NO_NOTIFY);

        if (wanted && queue->notify)
                write16(queue->notify, queue->index);
}

void *queue_take(struct virtqueue *queue, uint32_t *written)
{
        return queue->packed ? take_packed(queue, written) : take_split(queue, written);
}
