/* SPDX-License-Identifier: BSD-2-Clause */

/* The platform's devices, and where they are: the serial port and power management at their ports and in a page of
 * memory, the clock at its ports. By callbacks they set KVM's pins, ask for the end of the machine, and get the host's
 * time. */

#include "vmm/platform/serial.h"

#include "base/cleanup.h"
#include "vmm/arch/x86/layout.h"
#include "vmm/arch/x86/pm.h"
#include "vmm/arch/x86/rtc.h"
#include "vmm/arch/x86/x86.h"
#include "vmm/bus/bus.h"
#include "vmm/kvm/kvm.h"

#include <errno.h>

struct arch_platform {
        struct kvm *kvm;
        struct pm *pm;
        struct rtc *rtc;
        struct bus_device devices[5];
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

static void rtc_interrupt(void *userdata, bool level)
{
        struct arch_platform *platform = userdata;

        kvm_set_pin(platform->kvm, LAYOUT_RTC_PIN, level);
}

static struct timespec rtc_now(void *userdata)
{
        struct timespec now;

        clock_gettime(CLOCK_REALTIME, &now);
        return now;
}

int arch_platform_new(struct kvm *kvm, struct bus *const spaces[static ARCH_SPACES], struct serial *serial,
                      struct arch_platform **out)
{
        static const struct pm_ops pm_ops = {pm_interrupt, pm_power_off, pm_do_reset};
        static const struct rtc_ops rtc_ops = {rtc_interrupt, rtc_now};
        struct arch_platform *platform = calloc(1, sizeof(*platform));

        *out = platform;
        if (!platform)
                return -ENOMEM;
        platform->kvm = kvm;

        int r = pm_new(&pm_ops, platform, &platform->pm);

        if (r == 0)
                r = rtc_new(&rtc_ops, platform, &platform->rtc);
        if (r < 0)
                return r;

        const struct {
                unsigned space;
                struct bus_device device;
        } places[ARRAY_SIZE(platform->devices)] = {
                {X86_SPACE_PORTS, {{LAYOUT_SERIAL_PORT, 8}, serial_access, serial}},
                {ARCH_SPACE_MEMORY, {{LAYOUT_PLATFORM, 8}, serial_access, serial}},
                {X86_SPACE_PORTS, {{LAYOUT_PM_PORT, LAYOUT_PM_SIZE}, pm_access, platform->pm}},
                {ARCH_SPACE_MEMORY, {{LAYOUT_PLATFORM + 0x100, LAYOUT_PM_SIZE}, pm_access, platform->pm}},
                {X86_SPACE_PORTS, {{LAYOUT_RTC_PORT, LAYOUT_RTC_SIZE}, rtc_access, platform->rtc}},
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
        rtc_free(platform->rtc);
        pm_free(platform->pm);
        free(platform);
}

void arch_platform_reset(struct arch_platform *platform)
{
        pm_reset(platform->pm);
        rtc_reset(platform->rtc);
}

int arch_platform_get_fd(const struct arch_platform *platform)
{
        return rtc_get_fd(platform->rtc);
}

void arch_platform_dispatch(struct arch_platform *platform)
{
        rtc_tick(platform->rtc);
}

void arch_platform_press_power_button(struct arch_platform *platform)
{
        pm_press_power_button(platform->pm);
}
