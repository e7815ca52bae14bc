/* SPDX-License-Identifier: BSD-2-Clause */

/* Block 0 of an EDID (VESA E-EDID 1.4): vendor, one detailed timing, a name and the range of refresh rates. A mode that
 * a detailed timing has no room for (4095 each way, 655 MHz) is cut to it. */

#include "devices/gpu/core/edid.h"

#include <string.h>
#include <sys/param.h>

enum { BLANK_X = 80, BLANK_Y = 40, SYNC_X = 8, SYNC_Y = 4, REFRESH = 60, MM_PER_100_DOTS = 26 };

/* A word in the two's place of a descriptor: its low eight bits, and its four upper bits for a shared byte. */
static uint8_t low(uint32_t value)
{
        return (uint8_t)(value & 0xff);
}

static uint8_t upper(uint32_t high_half, uint32_t low_half)
{
        return (uint8_t)((high_half >> 8 & 0xf) << 4 | (low_half >> 8 & 0xf));
}

/* 3.10.2: detailed timing, with reduced blanking. */
static void add_timing(uint8_t *at, uint32_t width, uint32_t height)
{
        uint32_t clock = (width + BLANK_X) * (height + BLANK_Y) / 10000 * REFRESH; /* 10 kHz */
        uint32_t mm_x = width * MM_PER_100_DOTS / 100, mm_y = height * MM_PER_100_DOTS / 100;

        clock = MIN(clock, UINT16_MAX);
        at[0] = low(clock);
        at[1] = low(clock >> 8);
        at[2] = low(width);
        at[3] = BLANK_X;
        at[4] = upper(width, BLANK_X);
        at[5] = low(height);
        at[6] = BLANK_Y;
        at[7] = upper(height, BLANK_Y);
        at[8] = SYNC_X; /* front porch */
        at[9] = SYNC_X * 2;
        at[10] = SYNC_Y << 4 | SYNC_Y;
        at[12] = low(mm_x);
        at[13] = low(mm_y);
        at[14] = upper(mm_x, mm_y);
        at[17] = 0x18; /* digital, separate syncs */
}

/* 3.10.3: a descriptor of text, ended by a newline and filled with spaces. */
static void add_text(uint8_t *at, uint8_t tag, const char *text)
{
        size_t n = strlen(text);

        at[3] = tag;
        memset(at + 5, ' ', 13);
        memcpy(at + 5, text, MIN(n, 13U));
        if (n < 13)
                at[5 + n] = '\n';
}

void edid_make(uint8_t edid[EDID_SIZE], uint32_t width, uint32_t height, unsigned output)
{
        static const uint8_t header[] = {0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00};
        /* 3.7: sRGB. */
        static const uint8_t colours[] = {0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54};
        static const uint8_t range[] = {0, 0, 0, 0xfd, 0, 24, 75, 10, 255, 255, 1, '\n', ' ', ' ', ' ', ' ', ' ', ' '};
        uint8_t sum = 0;

        width = MIN(width, 4095);
        height = MIN(height, 4095);
        memset(edid, 0, EDID_SIZE);
        memcpy(edid, header, sizeof(header));
        /* 3.4.1: three letters of five bits, "ORL". */
        edid[8] = ('O' - '@') << 2 | ('R' - '@') >> 3;
        edid[9] = (('R' - '@') & 7) << 5 | ('L' - '@');
        edid[10] = 1;
        edid[12] = (uint8_t)(output + 1); /* serial number */
        edid[17] = 2026 - 1990;
        edid[18] = 1;
        edid[19] = 4;
        edid[20] = 0xa5; /* digital, 8 bits a colour, DisplayPort */
        edid[21] = (uint8_t)MIN(width * MM_PER_100_DOTS / 1000, 255);
        edid[22] = (uint8_t)MIN(height * MM_PER_100_DOTS / 1000, 255);
        edid[23] = 120;  /* gamma 2.2 */
        edid[24] = 0x06; /* sRGB; the first timing is the native one */
        memcpy(edid + 25, colours, sizeof(colours));
        memset(edid + 38, 0x01, 16); /* no standard timings */
        add_timing(edid + 54, width, height);
        memcpy(edid + 72, range, sizeof(range));
        add_text(edid + 90, 0xfc, "Oriel");
        edid[111] = 0x10; /* 3.10.3.11: a dummy */
        for (unsigned i = 0; i < EDID_SIZE - 1; i++)
                sum = (uint8_t)(sum + edid[i]);
        edid[EDID_SIZE - 1] = (uint8_t)-sum;
}
