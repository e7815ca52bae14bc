/* SPDX-License-Identifier: BSD-2-Clause */

/* Ids for objects: a table of slots, which doubles when it is full, and a list of its free slots. An id is a slot's
 * index and the slot's generation, which removal increments; the generations of new slots begin at a random number,
 * which makes ids of other processes, and guesses, miss. ids_find() takes one comparison. The caller locks. */

#include "devices/fs/core/ids.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/random.h>

static const uint32_t smallest_table = 64;

void ids_init(struct ids *ids, bool begins_with_one)
{
        *ids = (struct ids){.begins_with_one = begins_with_one};
        /* GRND_NONBLOCK: before the kernel has random numbers this fails, and zeros do as well then. */
        if (getrandom(&ids->first_generation, sizeof(ids->first_generation), GRND_NONBLOCK) < 0)
                ids->first_generation = 0;
}

/* Doubles the table. The new slots become the free list, lowest first. */
static int ids_grow(struct ids *ids)
{
        uint32_t n = ids->n_slots ? ids->n_slots * 2 : smallest_table;

        if (n <= ids->n_slots)
                return -ENOMEM;

        struct ids_slot *slots = reallocarray(ids->slots, n, sizeof(*slots));

        if (!slots)
                return -ENOMEM;

        uint32_t first = ids->n_slots ? ids->n_slots : 1;

        if (first == 1)
                slots[0] = (struct ids_slot){0};
        for (uint32_t i = first; i < n; i++)
                slots[i] = (struct ids_slot){
                        .generation = i == 1 && ids->begins_with_one ? 0 : ids->first_generation,
                        .next_free = i + 1 < n ? i + 1 : 0,
                };
        ids->slots = slots;
        ids->n_slots = n;
        ids->free_list = first;
        return 0;
}

static struct ids_slot *ids_find_slot(const struct ids *ids, uint64_t id)
{
        uint32_t index = (uint32_t)id;

        if (index >= ids->n_slots)
                return NULL;

        struct ids_slot *slot = &ids->slots[index];

        return slot->object && slot->generation == id >> 32 ? slot : NULL;
}

int ids_add(struct ids *ids, void *object, uint64_t *id)
{
        if (ids->free_list == 0) {
                int r = ids_grow(ids);

                if (r < 0)
                        return r;
        }

        uint32_t index = ids->free_list;
        struct ids_slot *slot = &ids->slots[index];

        ids->free_list = slot->next_free;
        ids->n_used++;
        slot->object = object;
        *id = (uint64_t)slot->generation << 32 | index;
        return 0;
}

void *ids_find(const struct ids *ids, uint64_t id)
{
        const struct ids_slot *slot = ids_find_slot(ids, id);

        return slot ? slot->object : NULL;
}

void *ids_remove(struct ids *ids, uint64_t id)
{
        struct ids_slot *slot = ids_find_slot(ids, id);

        if (!slot)
                return NULL;

        void *object = slot->object;

        slot->object = NULL;
        slot->generation++;
        slot->next_free = ids->free_list;
        ids->free_list = (uint32_t)(slot - ids->slots);
        ids->n_used--;
        return object;
}

void *ids_next(const struct ids *ids, uint32_t *slot)
{
        while (*slot < ids->n_slots) {
                void *object = ids->slots[(*slot)++].object;

                if (object)
                        return object;
        }
        return NULL;
}

void ids_done(struct ids *ids)
{
        free(ids->slots);
        *ids = (struct ids){0};
}
