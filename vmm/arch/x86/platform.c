/* SPDX-License-Identifier: BSD-2-Clause */

/* The serial port and power management, at their ports and in a page of memory. */

#include "vmm/platform/serial.h"

#include "base/cleanup.h"
#include "vmm/arch/x86/layout.h"
#include "vmm/arch/x86/pm.h"
#include "vmm/arch/x86/x86.h"
#include "vmm/bus/bus.h"
#include "vmm/kvm/kvm.h"

#include <errno.h>

struct arch_platform {
        struct kvm *kvm;
        struct pm *pm;
        struct bus_device devices[4];
};

const unsigned arch_serial_pin = LAYOUT_SERIAL_PIN;

static void pm_interrupt(void *userdata, bool level)
{
        struct arch_platform *platform = userdata;

        kvm_set_pin(platform->kvm, LAYOUT_SCI_PIN, level);
}

static void pm_power_off(void *userdata)
{
        struct arch_platform *platform = userdata;

        kvm_request_end(platform->kvm, KVM_END_SHUTDOWN, NULL);
}

static void pm_do_reset(void *userdata)
{
        struct arch_platform *platform = userdata;

        kvm_request_end(platform->kvm, KVM_END_RESET, NULL);
}

int arch_platform_new(struct kvm *kvm, struct bus *const spaces[static ARCH_SPACES], struct serial *serial,
                      struct arch_platform **out)
{
        static const struct pm_ops ops = {pm_interrupt, pm_power_off, pm_do_reset};
        struct arch_platform *platform = calloc(1, sizeof(*platform));
        int r = platform ? pm_new(&ops, platform, &platform->pm) : -ENOMEM;

        *out = platform;
        if (r < 0)
                return r;
        platform->kvm = kvm;

        const struct {
                unsigned space;
                struct bus_device device;
        } places[ARRAY_SIZE(platform->devices)] = {
                {X86_SPACE_PORTS, {{LAYOUT_SERIAL_PORT, 8}, serial_access, serial}},
                {ARCH_SPACE_MEMORY, {{LAYOUT_PLATFORM, 8}, serial_access, serial}},
                {X86_SPACE_PORTS, {{LAYOUT_PM_PORT, LAYOUT_PM_SIZE}, pm_access, platform->pm}},
                {ARCH_SPACE_MEMORY, {{LAYOUT_PLATFORM + 0x100, LAYOUT_PM_SIZE}, pm_access, platform->pm}},
        };

        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(places); i++) {
                platform->devices[i] = places[i].device;
                r = bus_add(spaces[places[i].space], &platform->devices[i]);
        }
        return r;
}

void arch_platform_free(struct arch_platform *platform)
{
        if (!platform)
                return;
        pm_free(platform->pm);
        free(platform);
}

void arch_platform_reset(struct arch_platform *platform)
{
        pm_reset(platform->pm);
}

void arch_platform_press_power_button(struct arch_platform *platform)
{
        pm_press_power_button(platform->pm);
}
