/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_GPU_CORE_EDID_H
#define DEVICES_GPU_CORE_EDID_H

#include <stdint.h>

#define EDID_SIZE 128

/* What a monitor says of itself (VESA E-EDID 1.4, block 0): one of @width x @height at 60 Hz, the @output'th of the
 * gpu. */
void edid_make(uint8_t edid[EDID_SIZE], uint32_t width, uint32_t height, unsigned output);

#endif
