/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_CORE_EXTENSIONS_H
#define DEVICES_FS_CORE_EXTENSIONS_H

#include "devices/fs/core/cursor.h"

#include <linux/limits.h>
#include <stdbool.h>
#include <stdint.h>

/* What a request that makes a file may carry at its end. */
struct extensions {
        bool has_group; /* the guest's user is also in this group, which is the directory's */
        uint32_t group;
        bool has_label; /* the security label for what is made */
        char label_name[XATTR_NAME_MAX + 1];
        struct cursor label; /* its value */
};

/* Take the extensions from the end of @data. @units is the header's total_extlen, in 8 bytes; kernels before 7.38 left
 * it 0 and sent a label all the same where it was agreed on (@features). -EINVAL. */
int extensions_read(struct cursor *data, uint16_t units, uint64_t features, struct extensions *out);

#endif
