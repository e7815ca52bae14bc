/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VIRTQUEUE_INFLIGHT_H
#define VIRTQUEUE_INFLIGHT_H

/* The in-flight buffer's layout: vhost-user, "Inflight I/O tracking". All of it is in the machine's byte order. */

#include <assert.h>
#include <oriel/virtqueue.h>
#include <stddef.h>
#include <stdint.h>

#define INFLIGHT_VERSION 1

struct inflight_split_entry {
        uint8_t inflight;
        uint8_t padding[5];
        uint16_t next;
        uint64_t counter;
};
static_assert(sizeof(struct inflight_split_entry) == 16, "");

struct inflight_split_region {
        uint64_t features;
        uint16_t version;
        uint16_t desc_num;
        uint16_t last_batch_head;
        uint16_t used_idx;
        struct inflight_split_entry desc[];
};
static_assert(sizeof(struct inflight_split_region) == 16, "");

struct inflight_packed_entry {
        uint8_t inflight;
        uint8_t padding;
        uint16_t next;
        uint16_t last;
        uint16_t num;
        uint64_t counter;
        uint16_t id;
        uint16_t flags;
        uint32_t len;
        uint64_t addr;
};
static_assert(sizeof(struct inflight_packed_entry) == 32, "");

/* used_idx to old_used_wrap_counter, which are only valid together. */
union inflight_packed_used {
        struct {
                uint16_t index, old_index;
                uint8_t wrap, old_wrap;
        };
        uint64_t word;
};
static_assert(sizeof(union inflight_packed_used) == 8, "");

struct inflight_packed_region {
        uint64_t features;
        uint16_t version;
        uint16_t desc_num;
        uint16_t free_head;
        uint16_t old_free_head;
        union inflight_packed_used used; /* its last two bytes, and those below, are the padding */
        uint8_t padding[8];
        struct inflight_packed_entry desc[];
};
static_assert(offsetof(struct inflight_packed_region, used) == 16, "");
static_assert(sizeof(struct inflight_packed_region) == 32, "");

/* A request that was in flight when the last back-end ended. */
struct inflight_request {
        uint64_t counter;
        uint16_t entry;
};

/* The region is shared with the front-end, so it is read only to recover, and then from a copy; everything needed later
 * is kept here too. */
struct inflight {
        void *region; /* NULL: no tracking */
        uint64_t counter;
        struct inflight_request *requests; /* to be popped again, oldest first */
        unsigned n_requests, next_request;

        uint16_t last_batch_head; /* split */

        uint16_t free_head; /* packed */
        uint16_t *next;
        uint16_t *last;
        struct inflight_packed_region *copy; /* while there are requests */
};

void inflight_free(struct inflight *inflight);
/* Sorts the requests by counter. */
void inflight_sort(struct inflight *inflight);

/* Initializes queue->inflight.region, or recovers from it. -EPROTO: its contents are inconsistent and it is not
 * changed; @why says so. */
int inflight_split_start(struct oriel_device_queue *queue, const char **why);
void inflight_split_pop(struct oriel_device_queue *queue, struct oriel_chain *chain);
/* Undoes a pop. */
void inflight_split_unpop(struct oriel_device_queue *queue, const struct oriel_chain *chain);
/* Before and after the write of the used ring's index. */
void inflight_split_push(struct oriel_device_queue *queue, const struct oriel_chain *chain);
void inflight_split_pushed(struct oriel_device_queue *queue, const struct oriel_chain *chain);

int inflight_packed_start(struct oriel_device_queue *queue, const char **why);
/* Adds the descriptors of request @entry, from the copy. */
int inflight_packed_fetch(struct oriel_device_queue *queue, uint16_t entry);
void inflight_packed_pop(struct oriel_device_queue *queue, struct oriel_chain *chain);
void inflight_packed_unpop(struct oriel_device_queue *queue, const struct oriel_chain *chain);
void inflight_packed_push(struct oriel_device_queue *queue, const struct oriel_chain *chain);
void inflight_packed_pushed(struct oriel_device_queue *queue, const struct oriel_chain *chain);

#endif
