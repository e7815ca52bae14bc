/* SPDX-License-Identifier: BSD-2-Clause */

/* Stands in for a machine, its devices and their windows, where QMP is fuzzed. What is mapped in a window is real,
 * in a region whose placement does nothing. */

#include "fuzz/machine.h"

#include "base/cleanup.h"
#include "vmm/virtio/guest_window.h"

#include <sys/mman.h>
#include <unistd.h>

enum { DEVICES = 3, PAGES = 16, PAGE = 4096 };

struct virtio {
        unsigned index;
};

struct guest_window {
        bool shown;
};

static struct {
        struct input *input;
        bool paused;
        struct virtio devices[DEVICES];
        unsigned n_devices;
        struct guest_window windows[2];
        struct oriel_region *region;
} world;

static int place_nothing(void *userdata, struct oriel_mapping *mapping, int fd)
{
        return 0;
}

static void remove_nothing(void *userdata, struct oriel_mapping *mapping)
{
}

static void remove_all(void *userdata, uint64_t size)
{
}

static void make_region(void)
{
        static const struct oriel_placement_ops placement = {
                .struct_size = sizeof(placement),
                .place = place_nothing,
                .remove = remove_nothing,
                .remove_all = remove_all,
        };
        const struct oriel_region_options options = {
                .struct_size = sizeof(options), .shmid = 1, .size = PAGES * PAGE, .placement = &placement};
        int fd = memfd_create("mapped", MFD_CLOEXEC);

        need(oriel_region_new(&options, &world.region) == 0);
        need(oriel_region_map(world.region, (struct oriel_range){0, PAGE}, fd, 0, ORIEL_ACCESS_READ) == 0);
        oriel_region_orphan_all(world.region);
        need(oriel_region_map(world.region, (struct oriel_range){PAGE, PAGE}, fd, PAGE, ORIEL_ACCESS_READ_WRITE) == 0);
        close(fd);
}

void machine_stand_in(struct input *input)
{
        if (!world.region)
                make_region();
        world.input = input;
        world.paused = false;
        world.n_devices = take_choice(input, DEVICES + 1);
        for (unsigned i = 0; i < DEVICES; i++)
                world.devices[i].index = i;
        world.windows[0].shown = true;
}

/* ---- vmm/machine/machine.h ---- */

bool machine_paused(struct machine *machine)
{
        return world.paused;
}

void machine_pause(struct machine *machine)
{
        need(!world.paused);
        world.paused = true;
}

void machine_resume(struct machine *machine)
{
        need(world.paused);
        world.paused = false;
}

void machine_press_power_button(struct machine *machine)
{
}

unsigned machine_device_count(const struct machine *machine)
{
        return world.n_devices;
}

struct virtio *machine_get_device(const struct machine *machine, unsigned index)
{
        need(index < world.n_devices);
        return &world.devices[index];
}

/* ---- vmm/virtio/virtio.h ---- */

void virtio_get_info(struct virtio *virtio, struct virtio_info *out)
{
        *out = (struct virtio_info){
                .name = "a back-end \"\n\xc3\xa4",
                .virtio_id = take_byte(world.input),
                .queues = 2,
                .windows = 2,
                .pci_number = take_byte(world.input),
                .connected = virtio->index & 1,
                .connections = (unsigned)take_number(world.input),
                .status = take_byte(world.input),
                .offered = take_number(world.input),
                .negotiated = take_number(world.input),
                .protocol_offered = take_number(world.input),
                .protocol_negotiated = take_number(world.input),
        };
}

bool virtio_get_queue(struct virtio *virtio, unsigned queue, struct virtio_queue_info *out)
{
        *out = (struct virtio_queue_info){.enabled = queue & 1,
                                          .size = (uint16_t)take_number(world.input),
                                          .vector = (uint16_t)take_number(world.input),
                                          .descriptor = take_number(world.input)};
        return queue < 2;
}

struct guest_window *virtio_get_window(struct virtio *virtio, unsigned index)
{
        return index < ARRAY_SIZE(world.windows) ? &world.windows[index] : NULL;
}

/* ---- vmm/virtio/guest_window.h ---- */

struct oriel_region *guest_window_region(struct guest_window *window)
{
        return world.region;
}

bool guest_window_look(struct guest_window *window, uint64_t offset, struct guest_window_view *out)
{
        *out = (struct guest_window_view){.range = {window->shown ? offset : 0, PAGE},
                                          .fd_offset = take_number(world.input),
                                          .lost = take_number(world.input),
                                          .name = "a \"file\"\x01\n"};
        return take_byte(world.input) & 1;
}

uint64_t guest_window_size(const struct guest_window *window)
{
        return PAGES * PAGE;
}

bool guest_window_shown(struct guest_window *window, uint64_t *address)
{
        *address = take_number(world.input);
        return window->shown;
}
