/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_GPU_DISPLAY_WIRE_H
#define DEVICES_GPU_DISPLAY_WIRE_H

#include <stdint.h>

/* QEMU's "Vhost-user-gpu Protocol", in this machine's byte order: requests of the back-end, some of which the
 * front-end answers. */
enum display_request {
        NOTHING, /* no request */
        GET_PROTOCOL_FEATURES,
        SET_PROTOCOL_FEATURES,
        GET_DISPLAY_INFO,
        CURSOR_POS,
        CURSOR_POS_HIDE,
        CURSOR_UPDATE,
        SCANOUT,
        UPDATE,
        GET_EDID = 11,
};

#define DISPLAY_FLAG_REPLY   4
#define DISPLAY_FEATURE_EDID UINT64_C(1)

struct display_header {
        uint32_t request, flags, size;
};

#endif
