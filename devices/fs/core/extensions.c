/* SPDX-License-Identifier: BSD-2-Clause */
#include "devices/fs/core/extensions.h"

#include "base/range.h"
#include "devices/fs/core/abi.h"

#include <errno.h>
#include <string.h>

/* Extensions before the first type are a list of labels, with their number in the place of the type. */
_Static_assert(sizeof(struct fuse_secctx_header) == 2 * sizeof(uint32_t), "as the header of every extension");

/* Reads one label at most: a file has one, and Linux sends one. */
static int read_labels(struct cursor *body, uint32_t n, struct extensions *out)
{
        struct fuse_secctx label;

        if (n == 0)
                return 0;
        if (n > 1 || !cursor_read(body, &label, sizeof(label)))
                return -EINVAL;

        ssize_t length = cursor_read_string(body, out->label_name, sizeof(out->label_name));

        if (length < 0 || label.size > body->left)
                return -EINVAL;
        out->label = *body;
        cursor_limit(&out->label, label.size);
        out->has_label = length > 0 && label.size > 0;
        return 0;
}

static int read_groups(struct cursor *body, struct extensions *out)
{
        struct fuse_supp_groups groups;

        if (!cursor_read(body, &groups, sizeof(groups)) || groups.nr_groups != 1 ||
            !cursor_read(body, &out->group, sizeof(out->group)))
                return -EINVAL;
        out->has_group = true;
        return 0;
}

static int extensions_read_one(struct cursor *all, struct extensions *out)
{
        struct {
                uint32_t size, type;
        } header;
        struct cursor body;

        if (!cursor_read(all, &header, sizeof(header)) || header.size < sizeof(header) ||
            header.size - sizeof(header) > all->left)
                return -EINVAL;
        body = *all;
        cursor_limit(&body, header.size - sizeof(header));
        cursor_skip(all, body.left);
        /* Not all kernels count the padding to whole units, and it may be missing at the end. */
        uint64_t padded;

        if (checked_round_up(header.size, sizeof(uint64_t), &padded))
                cursor_skip(all, padded - header.size < all->left ? padded - header.size : all->left);
        if (header.type <= FUSE_MAX_NR_SECCTX)
                return read_labels(&body, header.type, out);
        return header.type == FUSE_EXT_GROUPS ? read_groups(&body, out) : -EINVAL;
}

int extensions_read(struct cursor *data, uint16_t units, uint64_t features, struct extensions *out)
{
        struct cursor all = *data;
        int r = 0;

        *out = (struct extensions){0};
        if (units == 0 && !(features & FUSE_SECURITY_CTX))
                return 0;
        /* Extensions are everything that follows the names. */
        if (units > 0 && units * sizeof(uint64_t) != data->left)
                return -EINVAL;
        while (r == 0 && all.left > 0)
                r = extensions_read_one(&all, out);
        cursor_limit(data, 0);
        return r;
}
