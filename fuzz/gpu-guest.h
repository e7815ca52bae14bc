/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FUZZ_GPU_GUEST_H
#define FUZZ_GPU_GUEST_H

/* A guest of a gpu for fuzzing: memory of its own, and a front-end that maps nothing. */

#include "devices/gpu/core/gpu.h"
#include "fuzz/fds.h"

#include <errno.h>

/* It is the ops' userdata. */
struct gpu_guest {
        struct oriel_memory *memory; /* from address 0 */
        uint8_t *host;
};

static inline void gpu_guest_open(struct gpu_guest *guest, size_t size)
{
        const struct oriel_memory_region region = {0, size, 0, 0};
        struct oriel_memory *empty;

        guest->host = calloc(1, size);
        need(guest->host);
        need(oriel_memory_new(1, 0, &empty) == 0);
        need(oriel_memory_add_mapped(empty, &region, guest->host, ORIEL_ACCESS_READ_WRITE, &guest->memory) == 0);
        oriel_memory_unref(empty);
}

static inline void gpu_guest_close(struct gpu_guest *guest)
{
        oriel_memory_unref(guest->memory);
        free(guest->host);
}

static inline struct oriel_memory *gpu_guest_memory(void *userdata)
{
        return oriel_memory_ref(((struct gpu_guest *)userdata)->memory);
}

static inline int gpu_guest_map(void *userdata, struct oriel_range range, int fd, enum oriel_access access,
                                uint64_t *ticket)
{
        need(fd >= 0 && access != ORIEL_ACCESS_NONE);
        return -ENOSPC;
}

static inline int gpu_guest_unmap(void *userdata, struct oriel_range range, uint64_t *ticket)
{
        return -ENOTCONN;
}

static inline int gpu_guest_object_add(void *userdata, const uint8_t uuid[16], uint64_t *ticket)
{
        return -EOPNOTSUPP;
}

#endif
