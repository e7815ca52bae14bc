/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_CORE_EXTENSIONS_H
#define DEVICES_FS_CORE_EXTENSIONS_H

#include "devices/fs/core/cursor.h"

#include <linux/limits.h>
#include <stdbool.h>
#include <stdint.h>

/* Extensions at the end of a request that makes a file. */
struct extensions {
        bool has_group; /* the guest's user is also in this group, which is the directory's */
        uint32_t group;
        bool has_label; /* the security label of the new file */
        char label_name[XATTR_NAME_MAX + 1];
        struct cursor label; /* its value */
};

/* Takes the extensions from the end of @data. @units is the header's total_extlen, in 8 bytes; kernels before 7.38
 * left it 0, and sent a label nevertheless if labels were negotiated (@features). -EINVAL. */
int extensions_read(struct cursor *data, uint16_t units, uint64_t features, struct extensions *out);

#endif
