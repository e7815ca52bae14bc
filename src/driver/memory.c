/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/range.h"
#include "driver/driver.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct oriel_memory_region memory_as_region(const struct oriel_driver *driver)
{
        return (struct oriel_memory_region){
                .guest_address = 0,
                .size = driver->memory_size,
                .user_address = (uintptr_t)driver->memory,
        };
}

static int make_table(struct oriel_driver *driver)
{
        struct oriel_memory_region region = memory_as_region(driver);
        struct oriel_memory *empty;
        int r = oriel_memory_new(1, false, &empty);

        if (r < 0)
                return r;
        r = oriel_memory_add_mapped(empty, &region, driver->memory, ORIEL_ACCESS_READ_WRITE, &driver->table);
        oriel_memory_unref(empty);
        return r;
}

/* Sealed, so that no process that gets it can truncate it. */
int memory_create(struct oriel_driver *driver)
{
        driver->memory_fd = memfd_create("oriel-guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (driver->memory_fd < 0 || ftruncate(driver->memory_fd, (off_t)driver->memory_size) < 0 ||
            fcntl(driver->memory_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
                return -errno;

        void *memory = mmap(NULL, driver->memory_size, PROT_READ | PROT_WRITE, MAP_SHARED, driver->memory_fd, 0);

        if (memory == MAP_FAILED)
                return -errno;
        driver->memory = memory;
        return make_table(driver);
}

void memory_destroy(struct oriel_driver *driver)
{
        oriel_memory_unref(driver->table);
        if (driver->memory)
                munmap(driver->memory, driver->memory_size);
        driver->memory_fd = fd_close(driver->memory_fd);
}

uint64_t memory_take(struct oriel_driver *driver, uint64_t size, uint64_t align)
{
        uint64_t start, end;

        if (!checked_round_up(driver->used, align, &start) || !checked_add(start, size, &end) ||
            end > driver->memory_size)
                return UINT64_MAX;
        driver->used = end;
        return start;
}

void *oriel_driver_alloc(struct oriel_driver *driver, size_t size)
{
        uint64_t at = driver->memory ? memory_take(driver, size, 64) : UINT64_MAX;

        return at == UINT64_MAX ? NULL : driver->memory + at;
}

static bool offset_in(const void *host, size_t size, const void *base, uint64_t length, uint64_t *out)
{
        struct oriel_range range = {(uintptr_t)host - (uintptr_t)base, size};

        *out = range.start;
        return base && (uintptr_t)host >= (uintptr_t)base && range_within(range, length);
}

int oriel_driver_address(const struct oriel_driver *driver, const void *host, size_t size, uint64_t *out)
{
        if (offset_in(host, size, driver->memory, driver->memory_size, out))
                return 0;
        for (unsigned i = 0; driver->options.windows_as_memory && i < ORIEL_MAX_SHMIDS; i++) {
                const struct driver_window *window = &driver->windows[i];

                if (window->window && offset_in(host, size, oriel_window_address(window->window),
                                                oriel_window_size(window->window), out)) {
                        *out += window->guest_address;
                        return 0;
                }
        }
        return -EFAULT;
}
