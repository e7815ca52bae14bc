/* SPDX-License-Identifier: BSD-2-Clause */
#include "devices/fs/core/request.h"

#include "devices/fs/core/idmap.h"
#include "devices/fs/core/state.h"

ssize_t request_reply(struct request *request, const void *from, size_t size)
{
        return cursor_write(&request->out, from, size) ? (ssize_t)size : -EINVAL;
}

size_t answer_write(struct cursor *to, uint64_t unique, ssize_t result)
{
        const struct fuse_out_header header = {
                .len = (uint32_t)sizeof(header) + (result < 0 ? 0 : (uint32_t)result),
                .error = result < 0 ? (int32_t)result : 0,
                .unique = unique,
        };

        cursor_write(to, &header, sizeof(header));
        return header.len;
}

int act_as_caller(const struct request *request, uint32_t umask, struct credentials *saved)
{
        const struct fs *fs = request->fs;
        struct credentials_wanted wanted = {.umask = fs->features & FUSE_DONT_MASK ? umask : 0};

        *saved = (struct credentials){0};

        int r = id_to_host(fs->options.uids, request->header.uid, &wanted.uid);

        if (r == 0)
                r = id_to_host(fs->options.gids, request->header.gid, &wanted.gid);
        if (r == 0 && request->extensions.has_group) {
                wanted.has_group = true;
                r = id_to_host(fs->options.gids, request->extensions.group, &wanted.group);
        }
        if (r < 0)
                return r;
        return credentials_take(&wanted, fs->gives_away, saved);
}
