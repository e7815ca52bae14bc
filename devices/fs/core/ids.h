/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_CORE_IDS_H
#define DEVICES_FS_CORE_IDS_H

#include <stdbool.h>
#include <stdint.h>

/* Numbers for the guest to name our objects by. A number is a slot and the slot's generation, so one that was given
 * back names nothing, even when its slot has a new owner; nor does one that was made up, or that another process gave
 * out before this one took its place: generations begin anywhere. The caller locks. */
struct ids {
        struct ids_slot *slots;
        uint32_t n_slots;
        uint32_t n_used;
        uint32_t free_list; /* 0: empty; slot 0 is never given out, and so 0 is no id */
        uint32_t first_generation;
        bool begins_with_one;
};

struct ids_slot {
        void *object; /* NULL: free */
        uint32_t generation;
        uint32_t next_free;
};

/* An empty table. With @begins_with_one the first id ever given is 1, whatever the rest is. */
void ids_init(struct ids *ids, bool begins_with_one);

/* -ENOMEM. */
int ids_add(struct ids *ids, void *object, uint64_t *id);

/* NULL: no such id. */
void *ids_find(const struct ids *ids, uint64_t id);
void *ids_remove(struct ids *ids, uint64_t id);

/* The first object in a slot from *@slot on; *@slot becomes the one after it. NULL: there is none. */
void *ids_next(const struct ids *ids, uint32_t *slot);

/* The objects are the caller's. */
void ids_done(struct ids *ids);

#endif
