/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/mount_dax.h"
#include "base/cleanup.h"
#include "base/range.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>

#define RANGE (UINT64_C(2) << 20)

enum slot_state { FREE, ASKED, MAPPED };

/* One range of the window. */
struct slot {
        enum slot_state state;
        uint64_t nodeid;
        uint64_t index; /* in the file, in ranges */
        uint64_t used;  /* when last; 0: never */
};

struct file {
        uint64_t nodeid;
        uint64_t size;
};

struct dax {
        uint8_t *window;
        uint64_t n_slots;
        uint64_t clock;
        void *files; /* tsearch(), of struct file by nodeid */
        struct slot slots[];
};

static int compare(const void *a, const void *b)
{
        const struct file *x = a, *y = b;

        return x->nodeid < y->nodeid ? -1 : x->nodeid > y->nodeid;
}

int dax_new(uint8_t *window, uint64_t window_size, struct dax **out)
{
        uint64_t n = window_size / RANGE;
        struct dax *dax = calloc(1, sizeof(*dax) + n * sizeof(dax->slots[0]));

        if (!dax)
                return -ENOMEM;
        dax->window = window;
        dax->n_slots = n;
        *out = dax;
        return 0;
}

void dax_free(struct dax *dax)
{
        if (!dax)
                return;
        tdestroy(dax->files, free);
        free(dax);
}

static struct slot *find_slot(struct dax *dax, uint64_t nodeid, uint64_t index)
{
        for (uint64_t i = 0; i < dax->n_slots; i++) {
                struct slot *slot = &dax->slots[i];

                if (slot->state != FREE && slot->nodeid == nodeid && slot->index == index)
                        return slot;
        }
        return NULL;
}

/* The one that was not used for longest, NULL while all are being asked for. */
static struct slot *oldest_slot(struct dax *dax)
{
        struct slot *oldest = NULL;

        for (uint64_t i = 0; i < dax->n_slots; i++)
                if (dax->slots[i].state != ASKED && (!oldest || dax->slots[i].used < oldest->used))
                        oldest = &dax->slots[i];
        return oldest;
}

static uint64_t offset_of(const struct dax *dax, const struct slot *slot)
{
        return (uint64_t)(slot - dax->slots) * RANGE;
}

static void ask_for(struct dax *dax, uint64_t nodeid, uint64_t index, struct dax_ask *ask)
{
        struct slot *slot = oldest_slot(dax);

        if (!slot)
                return;
        *slot = (struct slot){ASKED, nodeid, index, ++dax->clock};
        *ask = (struct dax_ask){nodeid, index * RANGE, offset_of(dax, slot), RANGE, true};
}

uint8_t *dax_find(struct dax *dax, uint64_t nodeid, uint64_t offset, uint64_t size, struct dax_ask *ask)
{
        uint64_t index = offset / RANGE, within = offset % RANGE;
        struct slot *slot = find_slot(dax, nodeid, index);

        ask->needed = false;
        if (!slot) {
                ask_for(dax, nodeid, index, ask);
                return NULL;
        }
        if (slot->state != MAPPED || size > RANGE - within)
                return NULL;
        slot->used = ++dax->clock;
        return dax->window + offset_of(dax, slot) + within;
}

void dax_asked(struct dax *dax, const struct dax_ask *ask, int error)
{
        struct slot *slot = &dax->slots[ask->window_offset / RANGE];

        if (slot->state == ASKED)
                slot->state = error ? FREE : MAPPED;
}

static struct file *find_file(const struct dax *dax, uint64_t nodeid)
{
        struct file key = {.nodeid = nodeid}, *const *node = tfind(&key, &dax->files, compare);

        return node ? *node : NULL;
}

void dax_set_size(struct dax *dax, uint64_t nodeid, uint64_t size)
{
        struct file *file = find_file(dax, nodeid);

        if (!file) {
                file = malloc(sizeof(*file));
                if (!file)
                        return;
                file->nodeid = nodeid;
                if (!tsearch(file, &dax->files, compare)) {
                        free(file);
                        return;
                }
        }
        file->size = size;
}

void dax_grow(struct dax *dax, uint64_t nodeid, uint64_t size)
{
        struct file *file = find_file(dax, nodeid);

        if (file && file->size < size)
                file->size = size;
}

void dax_forget(struct dax *dax, uint64_t nodeid)
{
        struct file *file = find_file(dax, nodeid);

        if (file)
                tdelete(file, &dax->files, compare);
        free(file);
        for (uint64_t i = 0; i < dax->n_slots; i++)
                if (dax->slots[i].state == MAPPED && dax->slots[i].nodeid == nodeid)
                        dax->slots[i].state = FREE;
}

bool dax_reaches(const struct dax *dax, uint64_t nodeid, uint64_t end)
{
        const struct file *file = find_file(dax, nodeid);

        return file && file->size >= end;
}
