/* SPDX-License-Identifier: BSD-2-Clause */

/* The client's cache of mappings in the DAX window: one slot for each range of 2 MiB, found by node and index in a
 * tree. dax_find() never waits: a range that is not mapped yet takes the least recently used slot and has to be
 * requested by the caller (struct dax_ask), who uses FUSE_READ meanwhile; dax_asked() ends the request. The slot is not
 * reused before that, even if its file is forgotten. There is no lock: one thread uses a struct dax. */

#include "clients/fs/dax.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#define RANGE (UINT64_C(2) << 20)

enum slot_state {
        FREE,
        ASKED,
        FORGOTTEN, /* requested, for a file that was forgotten meanwhile: not in the tree */
        MAPPED,
};

/* One range of the window. */
struct range_slot {
        uint64_t nodeid; /* these two first, because the tree compares them */
        uint64_t index;  /* in the file, in ranges */
        enum slot_state state;
        uint64_t used; /* time of the last use; 0: never */
};

struct dax {
        uint8_t *window;
        uint64_t n_slots;
        uint64_t clock;
        uint64_t page;
        void *ranges; /* tsearch(), of the slots that are not free, by file and range */
        struct range_slot slots[];
};

int dax_new(uint8_t *window, uint64_t window_size, struct dax **out)
{
        uint64_t n = window_size / RANGE;
        struct dax *dax = calloc(1, sizeof(*dax) + n * sizeof(dax->slots[0]));

        if (!dax)
                return -ENOMEM;
        dax->window = window;
        dax->n_slots = n;
        dax->page = (uint64_t)sysconf(_SC_PAGESIZE);
        *out = dax;
        return 0;
}

static int compare_files(const void *a, const void *b)
{
        const struct range_slot *x = a, *y = b;

        return x->nodeid < y->nodeid ? -1 : x->nodeid > y->nodeid;
}

static int dax_compare_ranges(const void *a, const void *b)
{
        const struct range_slot *x = a, *y = b;

        if (x->nodeid != y->nodeid)
                return compare_files(a, b);
        return x->index < y->index ? -1 : x->index > y->index;
}

static void free_slot(struct dax *dax, struct range_slot *slot)
{
        if (slot->state == ASKED || slot->state == MAPPED)
                tdelete(slot, &dax->ranges, dax_compare_ranges);
        slot->state = FREE;
}

void dax_free(struct dax *dax)
{
        if (!dax)
                return;
        for (uint64_t i = 0; i < dax->n_slots; i++)
                free_slot(dax, &dax->slots[i]);
        free(dax);
}

static struct range_slot *dax_find_slot(struct dax *dax, uint64_t nodeid, uint64_t index)
{
        struct range_slot key = {.nodeid = nodeid, .index = index};
        struct range_slot *const *node = tfind(&key, &dax->ranges, dax_compare_ranges);

        return node ? *node : NULL;
}

/* The least recently used slot, NULL if all are being requested. */
static struct range_slot *oldest_slot(struct dax *dax)
{
        struct range_slot *oldest = NULL;

        for (uint64_t i = 0; i < dax->n_slots; i++)
                if (dax->slots[i].state != ASKED && dax->slots[i].state != FORGOTTEN &&
                    (!oldest || dax->slots[i].used < oldest->used))
                        oldest = &dax->slots[i];
        return oldest;
}

static uint64_t dax_offset_of(const struct dax *dax, const struct range_slot *slot)
{
        return (uint64_t)(slot - dax->slots) * RANGE;
}

static void ask_for(struct dax *dax, uint64_t nodeid, uint64_t index, struct dax_ask *ask)
{
        struct range_slot *slot = oldest_slot(dax);

        if (!slot)
                return;
        free_slot(dax, slot);
        *slot = (struct range_slot){nodeid, index, ASKED, ++dax->clock};
        if (!tsearch(slot, &dax->ranges, dax_compare_ranges)) {
                slot->state = FREE;
                return;
        }
        *ask = (struct dax_ask){nodeid, index * RANGE, dax_offset_of(dax, slot), RANGE, true};
}

/* Whether the file continues on the page after the byte before @end: only then is every byte before @end within the
 * file. Asks the kernel for a byte of the next page: EFAULT if it is behind the end. */
static bool goes_on_behind(const struct dax *dax, const struct range_slot *slot, uint64_t end)
{
        uint64_t next = (end + dax->page - 1) / dax->page * dax->page;
        uint8_t byte;
        struct iovec local = {&byte, 1}, remote = {dax->window + dax_offset_of(dax, slot) + next, 1};

        return next < RANGE && process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == 1;
}

uint8_t *dax_find(struct dax *dax, uint64_t nodeid, uint64_t offset, uint64_t size, struct dax_ask *ask)
{
        uint64_t index = offset / RANGE, within = offset % RANGE;
        struct range_slot *slot = dax_find_slot(dax, nodeid, index);

        ask->needed = false;
        if (!slot) {
                ask_for(dax, nodeid, index, ask);
                return NULL;
        }
        if (slot->state != MAPPED || size > RANGE - within || !goes_on_behind(dax, slot, within + size))
                return NULL;
        slot->used = ++dax->clock;
        return dax->window + dax_offset_of(dax, slot) + within;
}

void dax_asked(struct dax *dax, const struct dax_ask *ask, int error)
{
        struct range_slot *slot = &dax->slots[ask->window_offset / RANGE];

        if (slot->state == FORGOTTEN || (slot->state == ASKED && error))
                free_slot(dax, slot);
        else if (slot->state == ASKED)
                slot->state = MAPPED;
}

void dax_forget(struct dax *dax, uint64_t nodeid)
{
        struct range_slot key = {.nodeid = nodeid};
        struct range_slot *const *node;

        while ((node = tfind(&key, &dax->ranges, compare_files))) {
                struct range_slot *slot = *node;
                bool asked = slot->state == ASKED;

                free_slot(dax, slot);
                /* The request is not answered yet. */
                if (asked)
                        slot->state = FORGOTTEN;
        }
}
