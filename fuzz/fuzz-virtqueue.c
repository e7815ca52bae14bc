/* SPDX-License-Identifier: BSD-2-Clause */

/* The input is a guest's memory: a few bytes that say what kind of queue it is, the ring, and everything the ring
 * names. Whatever is in it, the device's side must neither crash nor touch memory outside, and the driver's side
 * likewise. */

#include "base/cleanup.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <oriel/virtqueue.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MEMORY_SIZE  4096
#define OTHER_SIZE   512 /* a second region behind the first, elsewhere on the host */
#define GUEST        UINT64_C(0x1000)
#define REGION_BYTES 1024

struct options {
        uint8_t features;
        uint8_t size;
        uint8_t how; /* bit 0: in-flight tracking, 1: IOMMU, 2: the driver's side too, 5: patient, 6: a dirty log, 7: of
                        all */
        uint8_t order;
        uint32_t base;
};

static uint64_t features_of(uint8_t bits)
{
        static const unsigned features[] = {VIRTIO_F_RING_PACKED, VIRTIO_RING_F_INDIRECT_DESC, VIRTIO_RING_F_EVENT_IDX,
                                            VIRTIO_F_IN_ORDER};
        uint64_t set = 0;

        for (unsigned i = 0; i < ARRAY_SIZE(features); i++)
                set |= (uint64_t)(bits >> i & 1) << features[i];
        return set;
}

static void replace(struct oriel_memory **slot, struct oriel_memory *memory)
{
        oriel_memory_unref(*slot);
        *slot = memory;
}

static struct oriel_memory *make_memory(uint8_t *low, uint8_t *high, bool iommu)
{
        struct oriel_memory_region first = {GUEST, MEMORY_SIZE, GUEST, 0};
        struct oriel_memory_region second = {GUEST + MEMORY_SIZE, OTHER_SIZE, GUEST + MEMORY_SIZE, 0};
        struct oriel_memory *memory, *next;

        if (oriel_memory_new(2, iommu, &memory) < 0)
                abort();
        if (oriel_memory_add_mapped(memory, &first, low, ORIEL_ACCESS_READ_WRITE, &next) < 0)
                abort();
        replace(&memory, next);
        if (oriel_memory_add_mapped(memory, &second, high, ORIEL_ACCESS_READ_WRITE, &next) < 0)
                abort();
        replace(&memory, next);
        return memory;
}

/* Answer a miss as a front-end would, if it is one that it could. */
static bool answer_miss(struct oriel_device_queue *queue, struct oriel_memory **memory)
{
        struct oriel_memory *next;
        struct oriel_fault fault;

        oriel_device_queue_fault(queue, &fault);
        if (oriel_memory_iotlb_update(*memory, (struct oriel_range){fault.address & ~UINT64_C(63), 64},
                                      fault.address & ~UINT64_C(63), ORIEL_ACCESS_READ_WRITE, &next) < 0)
                return false;
        replace(memory, next);
        return oriel_device_queue_set_memory(queue, next) == 0;
}

/* Every byte that may be read is read, every one that may be written is written. */
static size_t touch(const struct oriel_chain *chain)
{
        const struct iovec *spans;
        unsigned n, sum = 0;
        size_t left = 8192;

        spans = oriel_chain_readable(chain, &n);
        for (unsigned i = 0; i < n; i++)
                for (size_t k = 0; k < spans[i].iov_len; k++)
                        sum += ((const volatile uint8_t *)spans[i].iov_base)[k];
        spans = oriel_chain_writable(chain, &n);
        for (unsigned i = 0; i < n; i++)
                for (size_t k = 0; k < spans[i].iov_len && left > 0; k++, left--)
                        ((volatile uint8_t *)spans[i].iov_base)[k] = (uint8_t)(sum + k);
        return oriel_chain_writable_size(chain);
}

static void play(struct oriel_device_queue *queue, struct oriel_memory **memory, uint8_t order)
{
        struct oriel_chain *kept[3] = {NULL}, *chain;

        for (unsigned i = 0; i < 200; i++) {
                unsigned slot = (i * 7 + order) % ARRAY_SIZE(kept);
                int r = oriel_device_queue_pop(queue, &chain);

                if (r == -EAGAIN ? !answer_miss(queue, memory) : r <= 0)
                        break;
                if (r == -EAGAIN)
                        continue;
                if (kept[slot] && oriel_device_queue_push(queue, kept[slot], touch(kept[slot])) == 0)
                        oriel_device_queue_needs_call(queue);
                kept[slot] = chain;
                if (oriel_chain_readable_size(chain) > (size_t)-1 / 2 || oriel_chain_id(chain) == UINT16_MAX)
                        abort();
                oriel_device_queue_want_kick(queue, i & 1);
        }
        for (unsigned i = 0; i < ARRAY_SIZE(kept); i++) {
                if (kept[i] && order & 0x80)
                        oriel_chain_drop(kept[i]);
                else if (kept[i])
                        oriel_device_queue_push(queue, kept[i], touch(kept[i]));
        }
        oriel_device_queue_base(queue);
        if (oriel_device_queue_in_use(queue) != 0 ||
            (oriel_device_queue_error(queue) < 0) != !!*oriel_device_queue_why(queue))
                abort();
}

/* The driver's side clears the ring, so what the "device" did comes on top of that. */
static void play_driver(const struct oriel_ring *ring, struct oriel_memory *memory, uint8_t *low, const uint8_t *data,
                        size_t size)
{
        struct oriel_buffer buffers[2] = {{GUEST, 16}, {GUEST + 64, 32}};
        struct oriel_driver_queue *queue;
        uint32_t written;
        void *token;

        if (oriel_driver_queue_new(ring, memory, GUEST + 2048, 2, &queue) < 0)
                return;
        for (unsigned i = 0; i < 6; i++)
                oriel_driver_queue_submit(queue, buffers, i & 1, buffers + 1, 1, buffers);
        memcpy(low, data, size);
        while (oriel_driver_queue_collect(queue, &token, &written) == 1) {
                if (token != buffers || written > 32)
                        abort();
                oriel_driver_queue_submit(queue, buffers, 1, buffers + 1, 1, buffers);
                oriel_driver_queue_want_call(queue, written & 1);
                oriel_driver_queue_needs_kick(queue);
        }
        if (oriel_driver_queue_in_use(queue) > 6 + 6 ||
            (oriel_driver_queue_error(queue) < 0) != !!*oriel_driver_queue_why(queue))
                abort();
        oriel_driver_queue_base(queue);
        while (oriel_driver_queue_forget(queue))
                ;
        oriel_driver_queue_free(queue);
}

/* Of both regions, and of pages that are not in it. */
static struct oriel_dirty_log *dirty_log(void)
{
        static struct oriel_dirty_log *log;
        int fd;

        if (log)
                return log;
        fd = memfd_create("log", MFD_CLOEXEC);
        if (fd < 0 || ftruncate(fd, 4096) < 0 || oriel_dirty_log_new(fd, 0, 1, &log) < 0)
                abort();
        close(fd);
        return log;
}

static void play_device(const struct oriel_ring *ring, const struct options *options, struct oriel_memory **memory,
                        uint8_t *region)
{
        struct oriel_device_queue *queue;

        if (oriel_device_queue_new(ring, *memory, options->base, &queue) < 0)
                return;
        oriel_device_queue_set_patient(queue, options->how & 32);
        if (options->how & 64)
                oriel_device_queue_set_dirty_log(queue, dirty_log(), options->how & 128);
        if (!(options->how & 1) || oriel_device_queue_set_inflight(queue, region, REGION_BYTES) == 0)
                play(queue, memory, options->order);
        oriel_device_queue_free(queue);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct options options;
        struct oriel_memory *memory;
        struct oriel_ring ring;
        size_t sizes[3];
        uint8_t *low, *high, *region;

        if (size < sizeof(options) || size > sizeof(options) + MEMORY_SIZE)
                return 0;
        memcpy(&options, data, sizeof(options));
        data += sizeof(options);
        size -= sizeof(options);
        /* Memory of its own each, so that the address sanitizer sees every step outside. */
        low = aligned_alloc(4096, MEMORY_SIZE);
        high = aligned_alloc(64, OTHER_SIZE);
        region = aligned_alloc(64, REGION_BYTES);
        if (!low || !high || !region)
                abort();
        memset(low, 0, MEMORY_SIZE);
        memset(high, 0x11, OTHER_SIZE);
        memset(region, 0, REGION_BYTES);
        memcpy(low, data, size);
        if (size > MEMORY_SIZE - REGION_BYTES)
                memcpy(region, low + MEMORY_SIZE - REGION_BYTES, REGION_BYTES);

        ring = (struct oriel_ring){
                .struct_size = sizeof(ring),
                .size = options.size % 20,
                .features = features_of(options.features),
                .descriptor = GUEST,
                .log_used = options.how & 8,
        };
        oriel_ring_sizes(ring.size, options.features & 1, sizes);
        ring.driver = GUEST + ((sizes[0] + 15) & ~UINT64_C(15));
        ring.device = ring.driver + ((sizes[1] + 15) & ~UINT64_C(15));
        memory = make_memory(low, high, options.how & 2);
        play_device(&ring, &options, &memory, region);
        /* Once more on what that left, as a new back-end. */
        if (options.how & 16)
                play_device(&ring, &options, &memory, region);
        if (options.how & 4)
                play_driver(&ring, memory, low, data, size);
        oriel_memory_unref(memory);
        free(low);
        free(high);
        free(region);
        return 0;
}
