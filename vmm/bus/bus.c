/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/bus/bus.h"

#include "base/range.h"

#include <errno.h>
#include <pthread.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

struct bus {
        pthread_rwlock_t lock;
        void *devices; /* tsearch, by range: overlapping ones are equal */
};

static int compare_devices(const void *a, const void *b)
{
        const struct bus_device *x = a, *y = b;

        return range_compare(x->range, y->range);
}

int bus_new(struct bus **out)
{
        struct bus *bus = calloc(1, sizeof(*bus));

        if (!bus)
                return -ENOMEM;
        pthread_rwlock_init(&bus->lock, NULL);
        *out = bus;
        return 0;
}

static void bus_forget(void *device)
{
}

void bus_free(struct bus *bus)
{
        if (!bus)
                return;
        tdestroy(bus->devices, bus_forget);
        pthread_rwlock_destroy(&bus->lock);
        free(bus);
}

int bus_add(struct bus *bus, const struct bus_device *device)
{
        if (!range_valid(device->range))
                return -EINVAL;
        pthread_rwlock_wrlock(&bus->lock);

        const struct bus_device **node = tsearch(device, &bus->devices, compare_devices);
        int r = !node ? -ENOMEM : *node == device ? 0 : -EEXIST;

        pthread_rwlock_unlock(&bus->lock);
        return r;
}

void bus_remove(struct bus *bus, const struct bus_device *device)
{
        pthread_rwlock_wrlock(&bus->lock);

        const struct bus_device **node = tfind(device, &bus->devices, compare_devices);

        if (node && *node == device)
                tdelete(device, &bus->devices, compare_devices);
        pthread_rwlock_unlock(&bus->lock);
}

void bus_access(struct bus *bus, uint64_t address, void *data, unsigned size, bool write)
{
        const struct bus_device key = {.range = {address, size}};

        if (!write)
                memset(data, 0xff, size);
        pthread_rwlock_rdlock(&bus->lock);

        const struct bus_device **node = tfind(&key, &bus->devices, compare_devices);

        /* An access that crosses a device's end is nobody's. */
        if (node && range_contains((*node)->range, key.range))
                (*node)->access((*node)->userdata, address - (*node)->range.start, data, size, write);
        pthread_rwlock_unlock(&bus->lock);
}
