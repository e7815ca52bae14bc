/* SPDX-License-Identifier: BSD-2-Clause */

/* Block 0 of an EDID (VESA E-EDID 1.4): vendor, one detailed timing, a name and the range of refresh rates. A mode
 * beyond the limits of a detailed timing (4095 each way, 655 MHz) is cut to them. */

#include "devices/gpu/core/edid.h"

#include <string.h>
#include <sys/param.h>

enum { BLANK_X = 80, BLANK_Y = 40, SYNC_X = 8, SYNC_Y = 4, REFRESH = 60, MM_PER_100_DOTS = 26 };

struct edid {
        uint8_t header[8], vendor[2], product[2], serial[4], week, year, version[2];
        uint8_t input, size[2], gamma, features, colours[10], established[3], standard[16];
        uint8_t timing[18], descriptors[3][18], extensions, sum;
};
_Static_assert(sizeof(struct edid) == EDID_SIZE, "");

/* The same for every monitor. */
static const struct edid base = {
        .header = {0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00},
        /* 3.4.1: three letters of five bits, "ORL". */
        .vendor = {('O' - '@') << 2 | ('R' - '@') >> 3, (('R' - '@') & 7) << 5 | ('L' - '@')},
        .product = {1},
        .year = 2026 - 1990,
        .version = {1, 4},
        .input = 0xa5,    /* digital, 8 bits a colour, DisplayPort */
        .gamma = 120,     /* 2.2 */
        .features = 0x06, /* sRGB; the first timing is the native one */
        /* 3.7: sRGB. */
        .colours = {0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54},
        .standard = {[0 ... 15] = 0x01}, /* no such timings */
        /* 3.10.2: detailed timing, with reduced blanking and front porches; digital, separate syncs. */
        .timing = {0, 0, 0, BLANK_X, 0, 0, BLANK_Y, 0, SYNC_X, SYNC_X * 2, SYNC_Y << 4 | SYNC_Y, [17] = 0x18},
        /* 3.10.3: the range of rates, a name, and a dummy. */
        .descriptors = {{[3] = 0xfd, [5] = 24, 75, 10, 255, 255, 1, '\n', ' ', ' ', ' ', ' ', ' ', ' '},
                        {[3] = 0xfc, [5] = 'O', 'r', 'i', 'e', 'l', '\n', ' ', ' ', ' ', ' ', ' ', ' ', ' '},
                        {[3] = 0x10}},
};

/* The low eight bits of a value; and the upper four bits of two values, which share a byte of the timing. */
static uint8_t edid_low(uint32_t value)
{
        return (uint8_t)(value & 0xff);
}

static uint8_t edid_upper(uint32_t high_half, uint32_t low_half)
{
        return (uint8_t)((high_half >> 8 & 0xf) << 4 | (low_half >> 8 & 0xf));
}

void edid_make(uint8_t bytes[EDID_SIZE], uint32_t width, uint32_t height, unsigned output)
{
        struct edid edid = base;

        width = MIN(width, 4095);
        height = MIN(height, 4095);

        const uint32_t mm_x = width * MM_PER_100_DOTS / 100, mm_y = height * MM_PER_100_DOTS / 100;
        const uint32_t clock = MIN((width + BLANK_X) * (height + BLANK_Y) / 10000 * REFRESH, UINT16_MAX); /* 10 kHz */

        edid.serial[0] = (uint8_t)(output + 1);
        edid.size[0] = (uint8_t)MIN(mm_x / 10, 255);
        edid.size[1] = (uint8_t)MIN(mm_y / 10, 255);
        edid.timing[0] = edid_low(clock);
        edid.timing[1] = edid_low(clock >> 8);
        edid.timing[2] = edid_low(width);
        edid.timing[4] = edid_upper(width, BLANK_X);
        edid.timing[5] = edid_low(height);
        edid.timing[7] = edid_upper(height, BLANK_Y);
        edid.timing[12] = edid_low(mm_x);
        edid.timing[13] = edid_low(mm_y);
        edid.timing[14] = edid_upper(mm_x, mm_y);
        memcpy(bytes, &edid, EDID_SIZE);
        for (unsigned i = 0; i < EDID_SIZE - 1; i++)
                edid.sum = (uint8_t)(edid.sum - bytes[i]);
        bytes[EDID_SIZE - 1] = edid.sum;
}
