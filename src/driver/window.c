/* SPDX-License-Identifier: BSD-2-Clause */

/* The windows of a driver: one for each shared memory region that the back-end has, as a region of the front-end placed
 * in a window of this process. With windows_as_memory each mapping is also announced to the back-end as guest memory
 * (ADD_MEM_REG), at guest addresses from FIRST_WINDOW on, so that buffers may lie in it. A mapping that the back-end
 * knows has its window as its data; only the dispatching thread reads and writes that. */

#include "base/cleanup.h"
#include "base/log.h"
#include "base/range.h"
#include "driver/driver.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/param.h>

/* Windows have guest addresses above all guest memory, at multiples of this. */
#define FIRST_WINDOW (UINT64_C(1) << 40)

static int create_window(struct oriel_driver *driver, uint8_t shmid, uint64_t size)
{
        struct driver_window *window = &driver->windows[shmid];
        int r = oriel_window_new(size, driver->options.hole, &window->window);

        if (r < 0)
                return r;

        const struct oriel_region_options options = {
                .struct_size = sizeof(options),
                .shmid = shmid,
                .size = size,
                .placement = oriel_window_placement(),
                .userdata = window->window,
                .allow_remote_files = driver->options.allow_remote_files,
                .keep_fds = (unsigned)MIN(driver->options.keep_fds, UINT_MAX),
        };

        r = oriel_region_new(&options, &window->region);
        if (r < 0)
                return r;
        oriel_frontend_set_region(driver->frontend, shmid, window->region);
        return 0;
}

int windows_create(struct oriel_driver *driver)
{
        uint64_t sizes[ORIEL_MAX_SHMIDS] = {0}, address = FIRST_WINDOW;
        int r = 0;

        if (driver->protocol_features & ORIEL_FEATURE(ORIEL_PROTOCOL_F_SHMEM_MAP))
                r = oriel_frontend_get_shmem_config(driver->frontend, sizes);
        for (unsigned i = 0; r == 0 && i < ORIEL_MAX_SHMIDS; i++) {
                if (sizes[i] == 0)
                        continue;
                if (sizes[i] > UINT64_MAX / 2 - address)
                        return -E2BIG;
                driver->windows[i].guest_address = address;
                address += sizes[i];
                r = create_window(driver, (uint8_t)i, sizes[i]);
        }
        return r;
}

static void driver_window_forget(void *userdata, struct oriel_mapping *mapping)
{
        oriel_mapping_set_data(mapping, NULL);
}

void windows_forget(struct oriel_driver *driver)
{
        for (unsigned i = 0; i < ORIEL_MAX_SHMIDS; i++)
                if (driver->windows[i].region)
                        oriel_region_each(driver->windows[i].region, driver_window_forget, NULL);
}

void windows_destroy(struct oriel_driver *driver)
{
        for (unsigned i = 0; i < ORIEL_MAX_SHMIDS; i++) {
                oriel_region_free(driver->windows[i].region);
                oriel_window_free(driver->windows[i].window);
        }
}

void *oriel_driver_window(const struct oriel_driver *driver, uint8_t shmid, uint64_t *size)
{
        const struct driver_window *window = &driver->windows[shmid];

        if (!window->window)
                return NULL;
        if (size)
                *size = oriel_window_size(window->window);
        return oriel_window_address(window->window);
}

struct oriel_region *oriel_driver_region(const struct oriel_driver *driver, uint8_t shmid)
{
        return driver->windows[shmid].region;
}

/* ---- mappings as memory ---- */

static struct oriel_memory_region as_region(const struct driver_window *window, const struct oriel_mapping_info *info)
{
        uint8_t *base = oriel_window_address(window->window);

        return (struct oriel_memory_region){
                .guest_address = window->guest_address + info->range.start,
                .size = info->range.size,
                .user_address = (uintptr_t)(base + info->range.start),
                .mmap_offset = info->fd_offset,
        };
}

/* ADD_MEM_REG of @mapping, whose file is @fd. */
static int window_announce(struct oriel_driver *driver, uint8_t shmid, struct oriel_mapping *mapping, int fd)
{
        struct driver_window *window = &driver->windows[shmid];
        struct oriel_mapping_info info = {.struct_size = sizeof(info)};

        oriel_mapping_get_info(mapping, &info);

        struct oriel_memory_region memory = as_region(window, &info);
        int r = oriel_frontend_add_mem_reg(driver->frontend, &memory, fd);

        if (r == 0) {
                driver->n_told++;
                oriel_mapping_set_data(mapping, window);
        } else if (r != -EINPROGRESS && !driver->slots_ran_out) {
                log_warning(&driver->log, "the back-end takes no more memory (%s): buffers in windows may not work",
                            strerror(-r));
                driver->slots_ran_out = true;
        }
        return r;
}

static int window_withdraw(struct oriel_driver *driver, uint8_t shmid, struct oriel_mapping *mapping, int fd)
{
        struct driver_window *window = &driver->windows[shmid];
        struct oriel_mapping_info info = {.struct_size = sizeof(info)};

        if (oriel_mapping_data(mapping) != window)
                return 0;
        oriel_mapping_get_info(mapping, &info);

        struct oriel_memory_region memory = as_region(window, &info);
        int r = oriel_frontend_rem_mem_reg(driver->frontend, &memory);

        if (r != -EINPROGRESS)
                oriel_mapping_set_data(mapping, NULL);
        return r;
}

void window_mapped(void *userdata, struct oriel_region *region, struct oriel_mapping *mapping, int fd)
{
        struct oriel_mapping_info info = {.struct_size = sizeof(info)};

        oriel_mapping_get_info(mapping, &info);
        /* Meanwhile it may have been unmapped, and another mapping may be in its place. */
        if (info.live)
                request_for_event(userdata, window_announce, oriel_region_shmid(region), mapping, fd);
}

void window_unmapped(void *userdata, struct oriel_region *region, struct oriel_mapping *mapping)
{
        request_for_event(userdata, window_withdraw, oriel_region_shmid(region), mapping, -1);
}
