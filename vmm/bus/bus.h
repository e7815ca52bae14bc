/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VMM_BUS_BUS_H
#define VMM_BUS_BUS_H

#include <oriel/range.h>
#include <stdbool.h>
#include <stdint.h>

/* Which device a guest's access is for. Any thread; a device is called with its bus's lock held for reading, so it may
 * not add or remove. */
struct bus;

struct bus_device {
        struct oriel_range range;
        /* @offset is in the range; the access lies in it as a whole. Reads fill @data; what they leave is all ones. */
        void (*access)(void *userdata, uint64_t offset, void *data, unsigned size, bool write);
        void *userdata;
};

int bus_new(struct bus **out);
void bus_free(struct bus *bus);
/* @device is the caller's and stays until it is removed. -EEXIST: the range overlaps another's. */
int bus_add(struct bus *bus, const struct bus_device *device);
void bus_remove(struct bus *bus, const struct bus_device *device);
/* Reads of nothing are all ones, writes to nothing are dropped. */
void bus_access(struct bus *bus, uint64_t address, void *data, unsigned size, bool write);

#endif
