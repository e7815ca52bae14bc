/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_GPU_CORE_EDID_H
#define DEVICES_GPU_CORE_EDID_H

#include <stdint.h>

#define EDID_SIZE 128

/* Makes the EDID (VESA E-EDID 1.4, block 0) of a monitor of @width x @height at 60 Hz, at output @output. */
void edid_make(uint8_t edid[EDID_SIZE], uint32_t width, uint32_t height, unsigned output);

#endif
