/* SPDX-License-Identifier: BSD-2-Clause */

/* Puts the parts of a machine together, and decides what happens to what a vcpu can't do itself. machine_build() makes
 * KVM, buses and platform, begins the devices (each connects on its own thread), loads the kernel, and only then waits
 * for the back-ends.
 *
 * Functions named do_ run on a vcpu's thread, device_ ones on a device's; they tell the owner's thread by events_put()
 * and never wait for a back-end. Public functions belong to the owner's thread. A fault is first zero-filled, in every
 * window if its address is unknown; after FAULT_TRIES it takes the device away, or pauses the machine. */

#include "vmm/machine/machine.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/range.h"
#include "vmm/arch/arch.h"
#include "vmm/boot/loader.h"
#include "vmm/machine/events.h"
#include "vmm/machine/watch.h"
#include "vmm/platform/serial.h"
#include "vmm/virtio/guest_window.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* A fault without a cause that is found is tried again this often: its cause may be gone by then. Where a file goes on
 * to shrink and grow, every other fault finds it grown again, so that a few in a row say nothing. */
#define FAULT_TRIES 100

/* How long back-ends have for a reset, and threads for the end. */
#define RESET_MS 2000
#define END_MS   5000

struct fault_count {
        uint64_t pc, address;
        unsigned count;
};

struct machine {
        struct machine_options options;
        char *cmdline;
        struct oriel_log log;
        struct events events;

        struct kvm *kvm;
        struct bus *spaces[ARCH_SPACES];
        struct pci *pci;
        struct pci_space space;
        struct dma *dma;
        struct objects *objects;
        struct serial *serial;
        struct arch_platform *platform;

        struct virtio **devices;
        unsigned n_devices;
        struct fault_count faults[KVM_MAX_CPUS];
        struct watch watch;
};

/* ---- what vcpus can't do themselves ---- */

static void do_access(void *userdata, unsigned space, uint64_t address, void *data, unsigned size, bool write)
{
        struct machine *machine = userdata;

        bus_access(machine->spaces[space], address, data, size, write);
}

/* The window in which @address is, with the offset there, and its device; or NULL. */
static struct guest_window *window_at(struct machine *machine, uint64_t address, uint64_t *offset,
                                      struct virtio **device)
{
        struct guest_window *window = NULL;

        for (unsigned i = 0; !window && i < machine->n_devices; i++) {
                *device = machine->devices[i];
                window = virtio_window_at(*device, address, offset);
        }
        return window;
}

static bool do_read(void *userdata, uint64_t address, void *data, size_t size)
{
        struct virtio *device;
        uint64_t offset;
        struct guest_window *window = window_at(userdata, address, &offset, &device);

        return window && guest_window_read(window, offset, data, size);
}

/* Zero-fill where the instruction accesses a window, if that is known; else all windows, and then a file that has grown
 * is shown only when it is looked at again. */
static bool zero_fill_for(struct machine *machine, const struct arch_fault *fault, bool all)
{
        struct virtio *device;
        uint64_t offset;
        bool in_window = fault->found && window_at(machine, fault->address, &offset, &device);

        if (in_window && virtio_zero_fill_at(device, fault->address))
                return true;
        if (fault->source && window_at(machine, fault->source, &offset, &device) &&
            virtio_zero_fill_at(device, fault->source))
                return true;

        bool zero_filled = false;

        for (unsigned i = 0; all && !in_window && i < machine->n_devices; i++)
                zero_filled |= virtio_zero_fill(machine->devices[i]);
        return zero_filled;
}

static void do_inspect(void *userdata, unsigned vcpu, bool stuck)
{
        struct machine *machine = userdata;
        struct arch_fault fault;

        arch_get_fault(machine->kvm, vcpu, &fault);
        zero_fill_for(machine, &fault, stuck);
}

static void describe_place(struct machine *machine, uint64_t address, char *out, size_t size)
{
        struct guest_window_view view;
        struct virtio_info info;
        struct virtio *device;
        uint64_t offset = 0;
        struct guest_window *window = window_at(machine, address, &offset, &device);

        if (!window) {
                snprintf(out, size, "which is in no window");
                return;
        }
        virtio_get_info(device, &info);
        if (!guest_window_look(window, offset, &view))
                snprintf(out, size, "offset 0x%" PRIx64 " of the window of shmid %u of %s, where nothing is mapped",
                         offset, oriel_region_shmid(guest_window_region(window)), info.name);
        else
                snprintf(out, size,
                         "offset 0x%" PRIx64 " of the window of shmid %u of %s, in the mapping 0x%" PRIx64 "+0x%" PRIx64
                         " of %s, which is %s",
                         offset, oriel_region_shmid(guest_window_region(window)), info.name, view.range.start,
                         view.range.size, view.name[0] ? view.name : "a file",
                         view.access == ORIEL_ACCESS_READ ? "read-only" : "read-write");
}

/* A back-end has mapped what the guest can't use, such as read-only what its driver writes to: it is that device that
 * goes. Where the address is not known, each that may be it: others go on, and so does the machine. */
static bool take_devices(struct machine *machine, const struct arch_fault *fault, const char *text)
{
        struct machine_event event = {.kind = MACHINE_DEVICE_TAKEN};
        bool any = false;
        uint64_t offset;

        snprintf(event.text, sizeof(event.text), "%s", text);
        for (unsigned i = 0; i < machine->n_devices; i++) {
                event.device = machine->devices[i];
                if (fault->found ? !virtio_window_at(event.device, fault->address, &offset)
                                 : !virtio_is_limited(event.device))
                        continue;
                events_put(&machine->events, &event);
                virtio_take_away(event.device);
                any = true;
        }
        return any;
}

static void describe_fault(struct machine *machine, unsigned vcpu, const struct arch_fault *fault, char *out,
                           size_t size)
{
        char place[384];

        if (fault->found) {
                describe_place(machine, fault->address, place, sizeof(place));
                snprintf(out, size,
                         "vcpu %u: the instruction at 0x%" PRIx64 " can't do its access to 0x%" PRIx64 ": %s", vcpu,
                         fault->pc, fault->address, place);
        } else {
                snprintf(out, size,
                         "vcpu %u: the instruction at 0x%" PRIx64
                         " can't do its access, to an address that could not be found out",
                         vcpu, fault->pc);
        }
}

/* No address is told, so it is looked for: first what can be zero-filled, then what is to be reported. */
static bool do_fault(void *userdata, unsigned vcpu)
{
        struct machine *machine = userdata;
        struct fault_count *count = &machine->faults[vcpu];
        struct machine_event event = {.kind = MACHINE_FAULT};
        struct arch_fault fault;

        arch_get_fault(machine->kvm, vcpu, &fault);
        if (zero_fill_for(machine, &fault, true)) {
                count->count = 0;
                return true;
        }
        if (count->pc != fault.pc || count->address != fault.address)
                *count = (struct fault_count){fault.pc, fault.address, 0};
        if (++count->count < FAULT_TRIES)
                return true;
        describe_fault(machine, vcpu, &fault, event.text, sizeof(event.text));
        count->count = 0;
        if (take_devices(machine, &fault, event.text))
                return true;
        kvm_request_pause(machine->kvm);
        events_put(&machine->events, &event);
        return true;
}

static void do_end(void *userdata, enum kvm_end end, const char *why)
{
        static const enum machine_event_kind kinds[] = {
                [KVM_END_SHUTDOWN] = MACHINE_SHUTDOWN, [KVM_END_RESET] = MACHINE_RESET,
                [KVM_END_CRASH] = MACHINE_FAILED,      [KVM_END_FAULT] = MACHINE_FAILED,
                [KVM_END_ERROR] = MACHINE_FAILED,
        };
        struct machine *machine = userdata;
        struct machine_event event = {.kind = kinds[end]};

        snprintf(event.text, sizeof(event.text), "%s", why ? why : "");
        events_put(&machine->events, &event);
}

/* ---- the serial port ---- */

static void serial_output(void *userdata, const uint8_t *data, size_t size)
{
        struct machine *machine = userdata;

        if (machine->options.output)
                machine->options.output(machine->options.userdata, data, size);
}

static void serial_interrupt(void *userdata, bool level)
{
        struct machine *machine = userdata;

        kvm_set_pin(machine->kvm, arch_serial_pin, level);
}

static void serial_room(void *userdata)
{
        struct machine *machine = userdata;

        if (machine->options.room)
                machine->options.room(machine->options.userdata);
}

/* ---- building it ---- */

static int build_kvm(struct machine *machine, char *why, size_t why_size)
{
        static const struct kvm_exits exits = {do_access, do_fault, do_end, do_inspect, do_read};
        const struct kvm_options options = {
                .memory_size = machine->options.memory,
                .huge_pages = machine->options.huge_pages,
                .cpus = machine->options.cpus,
                .exits = &exits,
                .userdata = machine,
                .log = &machine->log,
        };
        int r = kvm_new(&options, &machine->kvm);

        if (r == -ENOENT || r == -ENODEV || r == -ENXIO)
                snprintf(why, why_size, "/dev/kvm: there is no KVM here: %s", arch_kvm_enable);
        else if (r == -EACCES || r == -EPERM)
                snprintf(why, why_size, "/dev/kvm: permission denied: add this user to the group kvm");
        else if (r == -EDQUOT)
                snprintf(why, why_size,
                         "--hugepages: %" PRIu64 " pages of 2 MiB are needed, and there are not so many free: "
                         "HugePages_Free in /proc/meminfo says how many, vm.nr_hugepages (sysctl) makes more",
                         options.memory_size >> 21);
        else if (r == -ENOSYS)
                snprintf(why, why_size, "/dev/kvm: it is no KVM, or one that lacks what is needed: %s has it all",
                         arch_kvm_needed);
        else if (r < 0)
                snprintf(why, why_size, "can't make a virtual machine of 0x%" PRIx64 " bytes and %u vcpus: %s",
                         options.memory_size, options.cpus, strerror(-r));
        return r;
}

static int build_buses(struct machine *machine)
{
        static const struct serial_ops serial_ops = {serial_output, serial_interrupt, serial_room};
        int r = 0;

        arch_pci_space(machine->kvm, &machine->space);
        for (unsigned i = 0; r == 0 && i < ARCH_SPACES; i++)
                r = bus_new(&machine->spaces[i]);
        if (r == 0)
                r = pci_new(machine->spaces[ARCH_SPACE_MEMORY], &machine->space, &machine->pci);
        if (r == 0)
                r = dma_new(&machine->dma);
        if (r == 0)
                r = objects_new(&machine->objects);
        if (r == 0)
                r = serial_new(&serial_ops, machine, &machine->serial);
        return r == 0 ? arch_platform_new(machine->kvm, machine->spaces, machine->serial, &machine->platform) : r;
}

static void device_connected(void *userdata, struct virtio *device, bool connected, const char *why)
{
        struct machine *machine = userdata;
        struct machine_event event = {
                .kind = connected ? MACHINE_DEVICE_UP : MACHINE_DEVICE_DOWN,
                .device = device,
        };

        snprintf(event.text, sizeof(event.text), "%s", why);
        events_put(&machine->events, &event);
}

static void device_refused(void *userdata, struct virtio *device, bool map, const struct oriel_wire_mmap *request,
                           int error)
{
        struct machine *machine = userdata;
        const struct machine_event event = {
                .kind = map ? MACHINE_MAP_REFUSED : MACHINE_UNMAP_REFUSED,
                .device = device,
                .request = *request,
                .error = error,
        };

        events_put(&machine->events, &event);
}

/* All at once, as each takes as long as its back-end does. */
static int begin_devices(struct machine *machine)
{
        const struct virtio_events events = {device_connected, device_refused, machine};
        int r = 0;

        machine->devices = calloc(machine->options.n_devices + 1, sizeof(struct virtio *));
        if (!machine->devices)
                return -ENOMEM;
        for (unsigned i = 0; r == 0 && i < machine->options.n_devices; i++) {
                const struct virtio_options options = {
                        .device = machine->options.devices[i],
                        .devices = machine->options.n_devices,
                        .allow_remote_files = machine->options.allow_remote_files,
                        .kvm = machine->kvm,
                        .dma = machine->dma,
                        .objects = machine->objects,
                        .events = &events,
                        .log = &machine->log,
                };

                r = virtio_new(&options, &machine->devices[i]);
                machine->n_devices += r == 0;
        }
        return r;
}

static int plug_devices(struct machine *machine, char *why, size_t why_size)
{
        char reason[256];
        int r = 0;

        for (unsigned i = 0; r == 0 && i < machine->n_devices; i++) {
                r = virtio_wait(machine->devices[i], reason, sizeof(reason));
                if (r == 0)
                        r = virtio_plug(machine->devices[i], machine->pci, reason, sizeof(reason));
                if (r < 0)
                        snprintf(why, why_size, "%s: %s", machine->options.devices[i].name, reason);
        }
        return r;
}

static int machine_load(struct machine *machine, char *why, size_t why_size)
{
        const struct boot_image image = {
                .kernel_fd = machine->options.kernel_fd,
                .initrd_fd = machine->options.initrd_fd,
                .cmdline = machine->cmdline,
                .cpus = machine->options.cpus,
                .mmio64 = machine->space.mmio64,
        };
        char reason[200] = "";
        struct loader loader = {
                .memory_fd = kvm_memory_fd(machine->kvm),
                .image = &image,
                .why = reason,
                .why_size = sizeof(reason),
        };

        loader.parts = kvm_memory_regions(machine->kvm, loader.memory);

        int r = arch_load(machine->kvm, &loader);

        if (r < 0)
                snprintf(why, why_size, "%s: %s", machine->options.kernel, reason);
        return r;
}

static int machine_build(struct machine *machine, char *why, size_t why_size)
{
        int r = build_kvm(machine, why, why_size);

        if (r < 0)
                return r;
        r = build_buses(machine);
        if (r == 0)
                r = begin_devices(machine);
        if (r < 0) {
                snprintf(why, why_size, "%s", strerror(-r));
                return r;
        }
        /* The kernel first: its errors need no back-end. */
        r = machine_load(machine, why, why_size);
        return r == 0 ? plug_devices(machine, why, why_size) : r;
}

int machine_new(const struct machine_options *options, struct machine **out, char *why, size_t why_size)
{
        struct machine *machine = calloc(1, sizeof(*machine));
        int r = -ENOMEM;

        *out = machine;
        if (machine) {
                machine->options = *options;
                machine->watch.stop_fd = -1;
                machine->log = options->log ? *options->log : (struct oriel_log){0};
                machine->cmdline = strdup(options->cmdline);
                r = events_init(&machine->events);
        }
        if (r < 0 || !machine->cmdline) {
                snprintf(why, why_size, "%s", strerror(r < 0 ? -r : ENOMEM));
                return r < 0 ? r : -ENOMEM;
        }
        return machine_build(machine, why, why_size);
}

/* The device, the guest's processor or the machine itself whose thread is not back. */
static bool machine_say_waiting(struct machine *machine, const char *who)
{
        log_error(&machine->log,
                  "%s: a thread waits for the server of a file that a back-end has passed: what is left of this process"
                  " ends when that server answers or ends",
                  who);
        return false;
}

bool machine_end(struct machine *machine)
{
        const int64_t deadline = now_ms() + END_MS;
        bool ended = true;

        if (!machine)
                return true;
        for (unsigned i = 0; i < machine->n_devices; i++)
                virtio_quit(machine->devices[i]);
        if (!watch_stop_until(&machine->watch, deadline))
                ended = machine_say_waiting(machine, "the watch over windows");
        if (machine->kvm && !kvm_pause_until(machine->kvm, deadline))
                ended = machine_say_waiting(machine, "a vcpu");
        for (unsigned i = 0; i < machine->n_devices; i++)
                if (!virtio_join(machine->devices[i], deadline))
                        ended = machine_say_waiting(machine, machine->options.devices[i].name);
        return ended;
}

void machine_free(struct machine *machine)
{
        if (!machine)
                return;
        for (unsigned i = 0; i < machine->n_devices; i++)
                virtio_free(machine->devices[i]);
        free(machine->devices);
        pci_free(machine->pci);
        kvm_free(machine->kvm);
        dma_free(machine->dma);
        objects_free(machine->objects);
        serial_free(machine->serial);
        arch_platform_free(machine->platform);
        for (unsigned i = 0; i < ARCH_SPACES; i++)
                bus_free(machine->spaces[i]);
        events_done(&machine->events);
        free(machine->cmdline);
        free(machine);
}

/* ---- what its owner does ---- */

int machine_start(struct machine *machine)
{
        int r = watch_start(&machine->watch, machine->kvm, machine->devices, machine->n_devices);

        return r == 0 ? kvm_start(machine->kvm) : r;
}

void machine_pause(struct machine *machine)
{
        kvm_pause(machine->kvm);
}

void machine_resume(struct machine *machine)
{
        kvm_resume(machine->kvm);
}

bool machine_paused(struct machine *machine)
{
        return kvm_paused(machine->kvm);
}

int machine_reset(struct machine *machine, char *why, size_t why_size)
{
        bool paused = kvm_paused(machine->kvm);

        watch_stop(&machine->watch);
        kvm_pause(machine->kvm);
        int64_t deadline = now_ms() + RESET_MS;

        for (unsigned i = 0; i < machine->n_devices; i++)
                virtio_begin_reset(machine->devices[i]);
        for (unsigned i = 0; i < machine->n_devices; i++)
                virtio_finish_reset(machine->devices[i], deadline);
        /* Events of the machine before the reset are no longer of use. */
        events_forget(&machine->events);

        int r = kvm_reset(machine->kvm);

        if (r < 0) {
                snprintf(why, why_size, "the virtual machine can't be made anew: %s", strerror(-r));
                return r;
        }
        serial_reset(machine->serial);
        arch_platform_reset(machine->platform);
        memset(machine->faults, 0, sizeof(machine->faults));
        r = machine_load(machine, why, why_size);
        if (r < 0)
                return r;
        if (paused)
                kvm_request_pause(machine->kvm);
        r = machine_start(machine);
        if (r < 0)
                snprintf(why, why_size, "no thread for a vcpu: %s", strerror(-r));
        return r;
}

void machine_press_power_button(struct machine *machine)
{
        arch_platform_press_power_button(machine->platform);
}

size_t machine_input(struct machine *machine, const uint8_t *data, size_t size)
{
        return serial_input(machine->serial, data, size);
}

int machine_get_fd(const struct machine *machine)
{
        return machine->events.fd;
}

bool machine_next_event(struct machine *machine, struct machine_event *out)
{
        return events_take(&machine->events, out);
}

int machine_get_timer_fd(const struct machine *machine)
{
        return arch_platform_get_fd(machine->platform);
}

void machine_tick(struct machine *machine)
{
        arch_platform_dispatch(machine->platform);
}

unsigned machine_device_count(const struct machine *machine)
{
        return machine->n_devices;
}

struct virtio *machine_get_device(const struct machine *machine, unsigned index)
{
        return machine->devices[index];
}
