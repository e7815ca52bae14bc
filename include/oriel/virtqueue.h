/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef ORIEL_VIRTQUEUE_H
#define ORIEL_VIRTQUEUE_H

#include <oriel/memory.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Both sides of a virtqueue, split and packed (VIRTIO 1.2, 2.7 and 2.8). Neither knows of vhost-user, sockets or
 * eventfds. No function blocks. A queue belongs to one thread at a time; different queues are independent.
 *
 * What the other side writes is read once, then checked. A ring that breaks a rule ends the queue: every later call on
 * it returns the same error, nothing more is read or written, and oriel_*_queue_why() says what was wrong. */

/* Where a ring is and how it is spoken. */
struct oriel_ring {
        size_t struct_size;
        uint16_t size;     /* entries: split a power of two up to 32768, packed 1 to 32768 */
        uint64_t features; /* negotiated virtio features: RING_PACKED, INDIRECT_DESC, EVENT_IDX, IN_ORDER */
        enum oriel_address_space space; /* of the three addresses below */
        uint64_t descriptor;            /* descriptor table, or descriptor ring */
        uint64_t driver;                /* available ring, or driver event suppression */
        uint64_t device;                /* used ring, or device event suppression */
        bool log_used;                  /* VHOST_VRING_F_LOG: mark writes to the device area ... */
        uint64_t log_address;           /* ... from this guest address on */
};
#define ORIEL_RING_LEAST offsetof(struct oriel_ring, log_used)

/* ---- the device's side ---- */

struct oriel_device_queue;
/* One buffer of the driver's, from pop to push. It holds a reference on the memory table it was translated with, so
 * its spans stay valid whatever happens to the table. */
struct oriel_chain;

/* Make the device's side of a queue. @memory is referenced. @base is where to go on, in the form of SET_VRING_BASE (the
 * specification's "vring descriptor index/indices"). A split queue's used index is read from the ring. A packed queue's
 * 0 is a new ring's where no descriptor was ever used. A ring that the IOTLB has no entry for is no error: pop returns
 * -EAGAIN until oriel_device_queue_set_memory() brings one that has. -EINVAL: size, alignment, or a base that can't be,
 * or a struct_size that no version has. -E2BIG: a later version's ring, with something set that this library knows
 * nothing of. -EFAULT: a part of the ring is not in @memory, or not in one piece of host memory. -ENOMEM. */
int oriel_device_queue_new(const struct oriel_ring *ring, struct oriel_memory *memory, uint32_t base,
                           struct oriel_device_queue **out);
/* Free the queue. Chains still out stay valid but can no longer be pushed. NULL is accepted. */
void oriel_device_queue_free(struct oriel_device_queue *queue);

/* Use another memory table from now on; the ring itself is found anew in it. On -EFAULT the queue has ended. Where the
 * ring's IOTLB entries are gone, nothing is popped until they are back; pushes still go where the ring was. */
int oriel_device_queue_set_memory(struct oriel_device_queue *queue, struct oriel_memory *memory);
/* Mark what the device writes in a dirty log. @log is referenced; NULL ends logging. @all: VHOST_F_LOG_ALL, mark what
 * is written to buffers too. A packed ring's used descriptors are marked at the descriptor ring's own guest address if
 * @all or log_used, as log_address is only that of the device's area. With an IOMMU, log_address is an IOVA. */
void oriel_device_queue_set_dirty_log(struct oriel_device_queue *queue, struct oriel_dirty_log *log, bool all);

/* Bytes of one queue's region in the in-flight buffer, a multiple of 64. vhost-user, "Inflight I/O tracking". */
size_t oriel_inflight_region_size(uint16_t queue_size, bool packed);
/* Whether nothing was tracked in @region yet. */
bool oriel_inflight_region_is_new(const void *region);
/* Track what is in flight in @region (host memory, oriel_inflight_region_size() bytes, the caller's) from now on. A
 * region that has version 0 is made; else it is recovered: requests that were in flight are given out again by pop,
 * oldest first, before new ones, and what the region says replaces @base. The next oriel_device_queue_needs_call() is
 * then true: the driver may not have heard of the last push. Call it before the first pop. -EINVAL: too late, or @size
 * or @region's alignment (8) is wrong. -EPROTO: the region's contents make no sense; it is untouched and the queue has
 * ended. While the ring waits for the IOTLB that comes out later, in oriel_device_queue_set_memory(). */
int oriel_device_queue_set_inflight(struct oriel_device_queue *queue, void *region, size_t size);

/* Take the next buffer: 1 and @out, or 0 when the ring is empty. -EAGAIN: an address waits for the IOTLB;
 * oriel_device_queue_fault() has it, and nothing was consumed. -EFAULT, of a patient queue: an address is not in
 * memory, and nothing was consumed. -EPROTO: the ring is broken. -ENOMEM. */
int oriel_device_queue_pop(struct oriel_device_queue *queue, struct oriel_chain **out);
/* Whether the queue waits for memory: then a buffer that is not in memory does not end it, as memory may be about to be
 * told of, as of a mapping in another device's window that the driver knows of already. Not so at first. */
void oriel_device_queue_set_patient(struct oriel_device_queue *queue, bool patient);
/* Get the address that the last pop could not find, after -EAGAIN or -EFAULT. */
void oriel_device_queue_fault(const struct oriel_device_queue *queue, struct oriel_fault *out);

/* The spans that the driver wrote for the device to read, and those that the device may write. Zero spans: *count is 0.
 */
const struct iovec *oriel_chain_readable(const struct oriel_chain *chain, unsigned *count);
const struct iovec *oriel_chain_writable(const struct oriel_chain *chain, unsigned *count);
/* The bytes in all spans of either part. */
size_t oriel_chain_readable_size(const struct oriel_chain *chain);
size_t oriel_chain_writable_size(const struct oriel_chain *chain);
/* Copy @size bytes from @offset on in the readable part, or to there in the writable one. Return how many there were. A
 * driver may change what it lets the device read at any time: look at the copy. */
size_t oriel_chain_read(const struct oriel_chain *chain, size_t offset, void *data, size_t size);
size_t oriel_chain_write(struct oriel_chain *chain, size_t offset, const void *data, size_t size);
/* The descriptor index (split) or buffer id (packed) that names the buffer. */
uint16_t oriel_chain_id(const struct oriel_chain *chain);

/* Give @chain back with the first @written bytes of its writable part filled, and free it. @written above the writable
 * size is cut to it. With IN_ORDER a chain pushed early is held until those before it are pushed. Marks the dirty log.
 * Returns 0 or the error that ended the queue; @chain is freed either way. -ESHUTDOWN: the queue it was popped from is
 * gone; it is freed. -EINVAL: NULL, of another queue, or pushed or dropped already; nothing is done. (The last is known
 * of a chain that lies spare, which up to 256 do, and that no later pop has given out again: it is the caller's to
 * forget the pointer.) */
int oriel_device_queue_push(struct oriel_device_queue *queue, struct oriel_chain *chain, size_t written);
/* Give buffers back, many at once: the driver sees what was filled when it is flushed, all at once.
 * oriel_device_queue_push() flushes too, and so does oriel_device_queue_needs_call(). With in-flight tracking each is
 * seen at once. Flush before asking for oriel_device_queue_base(). */
int oriel_device_queue_fill(struct oriel_device_queue *queue, struct oriel_chain *chain, size_t written);
int oriel_device_queue_flush(struct oriel_device_queue *queue);
/* Undo a pop, for who finds no room for the buffer: the next pop finds it again, in the ring. Those popped after it
 * must have been given back so before. 0, and @chain is no more; -EINVAL: another one was popped after it, or as of
 * oriel_device_queue_push(), and nothing is done; -ESHUTDOWN and the error that ended the queue as there. */
int oriel_device_queue_unpop(struct oriel_device_queue *queue, struct oriel_chain *chain);
/* Free @chain without giving it back: the driver keeps waiting (a queue that is being stopped). NULL is accepted.
 * In-flight tracking keeps it for the next back-end. With IN_ORDER, nothing popped after it will reach the driver. */
void oriel_chain_drop(struct oriel_chain *chain);

/* Whether what was pushed since the last call must be told to the driver. */
bool oriel_device_queue_needs_call(struct oriel_device_queue *queue);
/* Ask the driver to kick, or not to. Returns whether the ring has buffers now: after asking, look before sleeping. */
bool oriel_device_queue_want_kick(struct oriel_device_queue *queue, bool want);

/* Chains popped and neither pushed nor dropped. */
unsigned oriel_device_queue_in_use(const struct oriel_device_queue *queue);
/* Where to go on, in the form of GET_VRING_BASE. */
uint32_t oriel_device_queue_base(const struct oriel_device_queue *queue);
/* 0, or the error that ended the queue; and in words, "" if it has not ended. */
int oriel_device_queue_error(const struct oriel_device_queue *queue);
const char *oriel_device_queue_why(const struct oriel_device_queue *queue);

/* ---- the driver's side ---- */

struct oriel_driver_queue;

/* A piece of a buffer, by guest address (IOVA with an IOMMU). Passed in arrays and as a descriptor has it (VIRTIO 1.2,
 * 2.7.5), so it can't ever change. */
struct oriel_buffer {
        uint64_t address;
        uint32_t size;
};

/* How many bytes each part of a ring takes, in the order descriptor, driver, device. Each is to be 4096-aligned or at
 * least as the specification says (16/4/4 packed, 16/2/4 split). */
void oriel_ring_sizes(uint16_t size, bool packed, size_t sizes[3]);

/* Make the driver's side of a queue. @ring's addresses are found in @memory, which is referenced; the three areas are
 * zeroed. With INDIRECT_DESC, a buffer of more than one piece uses a table from @indirect (guest memory of
 * @indirect_entries * 16 bytes for each ring entry, the caller's, 16-byte aligned); @indirect_entries 0: never. */
int oriel_driver_queue_new(const struct oriel_ring *ring, struct oriel_memory *memory, uint64_t indirect,
                           unsigned indirect_entries, struct oriel_driver_queue **out);
/* Free the queue; tokens of buffers that are out are the caller's. NULL is accepted. */
void oriel_driver_queue_free(struct oriel_driver_queue *queue);

/* Make a buffer available: @readable pieces first, then @writable. @token, not NULL, comes back with it.
 * -EINVAL: no token, no pieces, one of no bytes, or more than the ring takes. -EAGAIN: no room now. */
int oriel_driver_queue_submit(struct oriel_driver_queue *queue, const struct oriel_buffer *readable,
                              unsigned n_readable, const struct oriel_buffer *writable, unsigned n_writable,
                              void *token);
/* Whether the device wants to be told of what was submitted since the last call. */
bool oriel_driver_queue_needs_kick(struct oriel_driver_queue *queue);

/* Take a used buffer: 1 with its token and the bytes written, 0: none. -EPROTO: the device broke a rule (an id that is
 * not out, more written than the buffer holds, an index that runs ahead). */
int oriel_driver_queue_collect(struct oriel_driver_queue *queue, void **token, uint32_t *written);
/* Ask the device to call, or not to. Returns whether used buffers are there now. */
bool oriel_driver_queue_want_call(struct oriel_driver_queue *queue, bool want);

/* Buffers submitted and not collected. Each call of oriel_driver_queue_forget takes one of their tokens back (for
 * freeing after the queue has stopped, which it does with the first), NULL when none is left. */
unsigned oriel_driver_queue_in_use(const struct oriel_driver_queue *queue);
void *oriel_driver_queue_forget(struct oriel_driver_queue *queue);
/* The base to hand to SET_VRING_BASE for a device that starts on this ring now: as if all that was collected had been
 * processed, and nothing else. Collect all there is before. */
uint32_t oriel_driver_queue_base(const struct oriel_driver_queue *queue);
/* 0, or the error that ended the queue; and in words, "" if it has not ended. */
int oriel_driver_queue_error(const struct oriel_driver_queue *queue);
const char *oriel_driver_queue_why(const struct oriel_driver_queue *queue);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
