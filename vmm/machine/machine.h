/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VMM_MACHINE_MACHINE_H
#define VMM_MACHINE_MACHINE_H

#include "vmm/kvm/kvm.h"
#include "vmm/virtio/virtio.h"

/* A machine as small as Linux takes it: memory, vcpus, a serial port, power management, and virtio devices on PCI. It
 * belongs to one thread, which polls machine_get_fd() and machine_get_timer_fd(), and takes events; it has threads of
 * its own for vcpus and devices. */
struct machine;

struct machine_options {
        uint64_t memory;
        bool huge_pages; /* see struct kvm_options */
        unsigned cpus;
        const char *kernel;       /* for messages */
        int kernel_fd, initrd_fd; /* borrowed, until machine_end(); -1: no initrd */
        const char *cmdline;
        const struct machine_device *devices;
        unsigned n_devices;
        bool allow_remote_files; /* see oriel_region_map() */
        /* The guest has sent this through its serial port. On a vcpu's thread; must not block. */
        void (*output)(void *userdata, const uint8_t *data, size_t size);
        /* There is room for input again. Any thread. */
        void (*room)(void *userdata);
        void *userdata;
        const struct oriel_log *log; /* copied */
};

/* Connects to the back-ends, and loads the kernel. On failure @why is one line for the user, and *out, unless it is
 * NULL, has to be ended and freed all the same. */
int machine_new(const struct machine_options *options, struct machine **out, char *why, size_t why_size);
/* Stops all threads. It takes five seconds at most, and then is false: a thread waits for the server of a file that a
 * back-end has passed, past every signal, as the log says. Nothing of the machine may be freed then, and the process
 * can only exit. True without one. */
bool machine_end(struct machine *machine);
/* After machine_end(). May wait for such servers as well, which then is in nobody's way. NULL is accepted. */
void machine_free(struct machine *machine);

int machine_start(struct machine *machine);
void machine_pause(struct machine *machine);
void machine_resume(struct machine *machine);
bool machine_paused(struct machine *machine);
/* Power off and on again: devices reset, memory empty, kernel loaded anew; it runs, unless it was paused. On failure it
 * is only good to be freed. */
int machine_reset(struct machine *machine, char *why, size_t why_size);
/* Press the power button: the guest may shut down. */
void machine_press_power_button(struct machine *machine);
/* For the serial port: how many bytes were taken. */
size_t machine_input(struct machine *machine, const uint8_t *data, size_t size);

enum machine_event_kind {
        MACHINE_SHUTDOWN,      /* the guest has powered off */
        MACHINE_RESET,         /* the guest wants a reset: machine_reset() */
        MACHINE_FAILED,        /* it can't go on: @text */
        MACHINE_FAULT,         /* a guest's access can't be done, and the machine is paused: @text */
        MACHINE_DEVICE_TAKEN,  /* a guest's access to its window can't be done, and it waits to be reset: @text */
        MACHINE_DEVICE_UP,     /* a back-end has come */
        MACHINE_DEVICE_DOWN,   /* it is gone: @text */
        MACHINE_MAP_REFUSED,   /* its SHMEM_MAP, @request, with @error */
        MACHINE_UNMAP_REFUSED, /* its SHMEM_UNMAP */
};

struct machine_event {
        enum machine_event_kind kind;
        struct virtio *device;
        struct oriel_wire_mmap request;
        int error;
        char text[512];
};

/* Readable when there are events. */
int machine_get_fd(const struct machine *machine);
/* The next one, or false. Of many at once the last may be lost, but not those that end the machine. */
bool machine_next_event(struct machine *machine, struct machine_event *out);

/* Call machine_tick() once this is readable. -1: there is nothing to wait for. */
int machine_get_timer_fd(const struct machine *machine);
void machine_tick(struct machine *machine);

unsigned machine_device_count(const struct machine *machine);
struct virtio *machine_get_device(const struct machine *machine, unsigned index);

#endif
