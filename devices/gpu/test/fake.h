/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_GPU_TEST_FAKE_H
#define DEVICES_GPU_TEST_FAKE_H

#include "devices/gpu/core/renderer.h"

/* A renderer for tests: each host blob is a memfd, or of the kind that its blob_id names, and fences wait until they
 * are released. Commands have eight bytes: FAKE_FAIL is refused, others are counted. */

#define FAKE_CAPSET    4
#define FAKE_CAPS_SIZE 160
#define FAKE_FAIL      UINT64_C(0xbad)

enum fake_blob_id {
        FAKE_BLOB_SHM,
        FAKE_BLOB_OPAQUE,
        FAKE_BLOB_NO_FD,
        FAKE_BLOB_REFUSED,
        FAKE_BLOB_READ_ONLY, /* an fd that can't be mapped for writing */
        FAKE_BLOB_IDS,
};

/* A resource that can't be attached. */
#define FAKE_RESOURCE_REFUSED 99

struct fake_counts {
        unsigned contexts, blobs, attached, submitted, resets, freed;
};

struct gpu_renderer *fake_new(void);
/* Fences are done at once until they are held; releasing them signals all that wait, or those of @ring alone. */
void fake_hold_fences(struct gpu_renderer *renderer, bool hold);
void fake_signal(struct gpu_renderer *renderer, uint32_t context_id, uint32_t ring, uint64_t fence_id);
struct fake_counts fake_count(struct gpu_renderer *renderer);

#endif
