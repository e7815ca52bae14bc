/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_FILES_ATTRIBUTES_H
#define DEVICES_FS_FILES_ATTRIBUTES_H

#include "devices/fs/core/abi.h"

#include <stdint.h>

struct fs;
struct statx;

/* How many seconds the guest may believe names. */
uint64_t names_valid(const struct fs *fs);
/* The same for the attributes of a file. Of one with set-user-ID bits it may not at all, whatever the policy: they are
 * taken away by whoever writes to it, and who executes it then must not be given its owner's rights. */
uint64_t attributes_valid(const struct fs *fs, const struct statx *stat);

/* statx() of @name in @fd, or of @fd itself where that is "", for the guest's eyes: the times after what it has stored
 * near the file's end, and the size before that is looked after again. */
int attributes_read(struct fs *fs, int fd, const char *name, struct statx *stat);

struct fuse_attr attributes_of(const struct fs *fs, const struct statx *stat);
struct fuse_statx attributes_all(const struct fs *fs, const struct statx *stat);

#endif
