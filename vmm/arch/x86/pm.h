/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VMM_ARCH_X86_PM_H
#define VMM_ARCH_X86_PM_H

#include <stdbool.h>
#include <stdint.h>

/* ACPI's fixed hardware: the power button, turning off and the reset register, at the offsets that
 * vmm/arch/x86/layout.h gives (LAYOUT_PM1_EVENT and on). ACPI 6.5, chapter 4.8.3. It knows no bus. Any thread. */
struct pm;

struct pm_ops {
        /* The level of the system control interrupt's pin has changed. Called with a lock held, in the order of the
         * changes. */
        void (*interrupt)(void *userdata, bool level);
        /* The guest wants to be off, or to begin anew. On the thread of its access, without the lock. */
        void (*power_off)(void *userdata);
        void (*reset)(void *userdata);
};

int pm_new(const struct pm_ops *ops, void *userdata, struct pm **out);
void pm_free(struct pm *pm); /* NULL is accepted */
/* As after power-on. */
void pm_reset(struct pm *pm);
/* As the access of a struct bus_device: of any size to the LAYOUT_PM_SIZE bytes of registers. What is not a register
 * reads as zeros. */
void pm_access(void *pm, uint64_t offset, void *data, unsigned size, bool write);
/* A guest that listens turns itself off. */
void pm_press_power_button(struct pm *pm);

#endif
