/* SPDX-License-Identifier: BSD-2-Clause */

/* The fixed hardware of ACPI: PM1 event and control registers and the reset register, byte by byte, so that a guest's
 * access may have any size. One lock covers the registers and the level of the interrupt, which is told with it held
 * so that changes arrive in order. Power off and reset are called after it is released. */

#include "vmm/arch/x86/pm.h"
#include "vmm/arch/x86/layout.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

/* The two halves of the event block, and the bits by ACPI's names. */
enum { STATUS = LAYOUT_PM1_EVENT, ENABLE = LAYOUT_PM1_EVENT + 2, CONTROL = LAYOUT_PM1_CONTROL };
enum {
        GBL_EN = 1 << 5,
        PWRBTN_STS = 1 << 8,
        PWRBTN_EN = 1 << 8,
        RTC_EN = 1 << 10,
        SCI_EN = 1 << 0,
        BM_RLD = 1 << 1,
        SLP_TYP_SHIFT = 10,
        SLP_TYP = 7 << SLP_TYP_SHIFT,
        SLP_EN = 1 << 13,
};

struct pm {
        struct pm_ops ops;
        void *userdata;
        pthread_mutex_t lock; /* what follows */
        uint16_t status, enable, control;
        bool level;
};

/* The outcome of a register write. */
struct pm_request {
        bool off, reset;
};

static void pm_update_interrupt(struct pm *pm)
{
        bool level = (pm->status & pm->enable) != 0;

        if (level == pm->level)
                return;
        pm->level = level;
        pm->ops.interrupt(pm->userdata, level);
}

/* @value with @byte in place of its low or its high half. */
static uint16_t with_byte(uint16_t value, bool high, uint8_t byte)
{
        unsigned shift = high ? 8 : 0;

        return (uint16_t)((value & ~(0xffu << shift)) | (unsigned)byte << shift);
}

/* Registers are made of bytes, so that an access may have any size and place. */
static void write_byte(struct pm *pm, uint64_t offset, uint8_t byte, struct pm_request *request)
{
        bool high = offset & 1;

        switch (offset & ~UINT64_C(1)) {
        case STATUS: /* ones clear */
                pm->status &= (uint16_t)~with_byte(0, high, byte);
                break;
        case ENABLE:
                /* The bits of the global lock and of the clock are kept, since the driver looks whether they are. Their
                 * events never come.
                 */
                pm->enable = with_byte(pm->enable, high, byte) & (PWRBTN_EN | GBL_EN | RTC_EN);
                break;
        case CONTROL:
                pm->control = with_byte(pm->control, high, byte);
                if ((pm->control & SLP_EN) && (pm->control & SLP_TYP) >> SLP_TYP_SHIFT == LAYOUT_SLEEP_TYPE_OFF)
                        request->off = true;
                pm->control &= SLP_TYP | BM_RLD;
                break;
        default:
                if (offset == LAYOUT_PM_RESET && byte == LAYOUT_RESET_VALUE)
                        request->reset = true;
                break;
        }
}

static uint8_t read_byte(const struct pm *pm, uint64_t offset)
{
        unsigned value = 0;

        switch (offset & ~UINT64_C(1)) {
        case STATUS:
                value = pm->status;
                break;
        case ENABLE:
                value = pm->enable;
                break;
        case CONTROL:
                value = pm->control | SCI_EN;
                break;
        default:
                break;
        }
        return (uint8_t)(offset & 1 ? value >> 8 : value);
}

void pm_access(void *userdata, uint64_t offset, void *data, unsigned size, bool write)
{
        struct pm *pm = userdata;
        struct pm_request request = {0};
        uint8_t *bytes = data;

        pthread_mutex_lock(&pm->lock);
        for (unsigned i = 0; i < size && offset < LAYOUT_PM_SIZE; i++, offset++)
                if (write)
                        write_byte(pm, offset, bytes[i], &request);
                else
                        bytes[i] = read_byte(pm, offset);
        pm_update_interrupt(pm);
        pthread_mutex_unlock(&pm->lock);
        if (request.off)
                pm->ops.power_off(pm->userdata);
        else if (request.reset)
                pm->ops.reset(pm->userdata);
}

void pm_press_power_button(struct pm *pm)
{
        pthread_mutex_lock(&pm->lock);
        pm->status |= PWRBTN_STS;
        pm_update_interrupt(pm);
        pthread_mutex_unlock(&pm->lock);
}

void pm_reset(struct pm *pm)
{
        pthread_mutex_lock(&pm->lock);
        pm->status = pm->enable = pm->control = 0;
        pm_update_interrupt(pm);
        pthread_mutex_unlock(&pm->lock);
}

int pm_new(const struct pm_ops *ops, void *userdata, struct pm **out)
{
        struct pm *pm = calloc(1, sizeof(*pm));

        if (!pm)
                return -ENOMEM;
        pm->ops = *ops;
        pm->userdata = userdata;
        pthread_mutex_init(&pm->lock, NULL);
        *out = pm;
        return 0;
}

void pm_free(struct pm *pm)
{
        if (!pm)
                return;
        pthread_mutex_destroy(&pm->lock);
        free(pm);
}
