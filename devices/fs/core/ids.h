/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_CORE_IDS_H
#define DEVICES_FS_CORE_IDS_H

#include <stdbool.h>
#include <stdint.h>

/* Ids by which the guest names objects. An id is a slot and the slot's generation, so an id that was given back
 * names nothing, even when its slot has a new object; nor does a guessed one, or one that another process has given
 * out before: generations begin at a random number. The caller locks. */
struct ids {
        struct ids_slot *slots;
        uint32_t n_slots;
        uint32_t n_used;
        uint32_t free_list; /* 0: empty; slot 0 is never used, so 0 is no id */
        uint32_t first_generation;
        bool begins_with_one;
};

struct ids_slot {
        void *object; /* NULL: free */
        uint32_t generation;
        uint32_t next_free;
};

/* Makes an empty table. With @begins_with_one the first id ever given is 1. */
void ids_init(struct ids *ids, bool begins_with_one);

/* -ENOMEM. */
int ids_add(struct ids *ids, void *object, uint64_t *id);

/* NULL: no such id. */
void *ids_find(const struct ids *ids, uint64_t id);
void *ids_remove(struct ids *ids, uint64_t id);

/* Returns the first object in a slot from *@slot on, and sets *@slot to the slot behind it. NULL: there is none. */
void *ids_next(const struct ids *ids, uint32_t *slot);

/* The objects are the caller's. */
void ids_done(struct ids *ids);

#endif
