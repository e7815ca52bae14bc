/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/test.h"
#include "vmm/bus/bus.h"

#include <errno.h>
#include <string.h>

struct record {
        uint64_t offset;
        unsigned size, count;
        bool write;
};

static void take(void *userdata, uint64_t offset, void *data, unsigned size, bool write)
{
        struct record *record = userdata;

        *record = (struct record){offset, size, record->count + 1, write};
        if (!write)
                memset(data, 0x5a, size);
}

static void test_finds(void **state)
{
        struct record low = {0}, high = {0};
        const struct bus_device a = {{0x1000, 0x10}, take, &low}, b = {{0x1010, 0x100}, take, &high};
        const struct bus_device over = {{0x100f, 2}, take, &low}, nothing = {{0x5000, 0}, take, &low};
        struct bus *bus;
        uint32_t data = 0;

        assert_int_equal(bus_new(&bus), 0);
        assert_int_equal(bus_add(bus, &a), 0);
        assert_int_equal(bus_add(bus, &b), 0);
        assert_int_equal(bus_add(bus, &over), -EEXIST);
        assert_int_equal(bus_add(bus, &nothing), -EINVAL);
        bus_access(bus, 0x1014, &data, 4, false);
        assert_int_equal(high.offset, 4);
        assert_int_equal(data, 0x5a5a5a5a);
        bus_access(bus, 0x100c, &data, 4, true);
        assert_int_equal(low.offset, 0xc);
        assert_true(low.write);
        /* Across two, and where there is none. */
        bus_access(bus, 0x100e, &data, 4, false);
        assert_int_equal(data, UINT32_MAX);
        bus_access(bus, 0x0fff, &data, 4, true);
        bus_access(bus, UINT64_MAX - 3, &data, 4, false);
        assert_int_equal(low.count + high.count, 2);
        bus_remove(bus, &over);
        bus_remove(bus, &a);
        bus_access(bus, 0x1000, &data, 4, false);
        assert_int_equal(data, UINT32_MAX);
        bus_free(bus);
        bus_free(NULL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {counted_test(test_finds)};

        return run_counted("bus", tests);
}
