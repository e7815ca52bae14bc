/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/cleanup.h"

#include <oriel/protocol.h>
#include <string.h>

static const struct oriel_dialect dialects[] = {
        {"standard", "the specification, QEMU 11.1, rust-vmm vhost 0.17, crosvm since 2026-08", 22},
        {"shmem-21", "rust-vmm vhost as of 2026-05, alioth", 21},
        {"shmem-20", "the patch series v1 to v13 as posted", 20},
};

const struct oriel_dialect *oriel_dialect_get(unsigned index)
{
        return index < ARRAY_SIZE(dialects) ? &dialects[index] : NULL;
}

const struct oriel_dialect *oriel_dialect_find(const char *name)
{
        for (size_t i = 0; i < ARRAY_SIZE(dialects); i++)
                if (strcmp(dialects[i].name, name) == 0)
                        return &dialects[i];
        return NULL;
}

/* The bits below the dialect's SHMEM bit mean the same in both numberings: peers of the dialect know no later ones. */
static uint64_t common_bits(const struct oriel_dialect *dialect)
{
        return ORIEL_FEATURE(dialect->shmem_bit) - 1;
}

static uint64_t dialect_translate(const struct oriel_dialect *dialect, uint64_t features, unsigned from, unsigned to)
{
        uint64_t shmem = features & ORIEL_FEATURE(from) ? ORIEL_FEATURE(to) : 0;

        return (features & common_bits(dialect)) | shmem;
}

static bool is_standard(const struct oriel_dialect *dialect)
{
        return !dialect || dialect->shmem_bit == ORIEL_PROTOCOL_F_SHMEM_MAP;
}

uint64_t oriel_dialect_to_wire(const struct oriel_dialect *dialect, uint64_t features)
{
        if (is_standard(dialect))
                return features;
        return dialect_translate(dialect, features, ORIEL_PROTOCOL_F_SHMEM_MAP, dialect->shmem_bit);
}

uint64_t oriel_dialect_from_wire(const struct oriel_dialect *dialect, uint64_t wire)
{
        if (is_standard(dialect))
                return wire;
        return dialect_translate(dialect, wire, dialect->shmem_bit, ORIEL_PROTOCOL_F_SHMEM_MAP);
}
