/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_FILES_ATTRIBUTES_H
#define DEVICES_FS_FILES_ATTRIBUTES_H

#include "devices/fs/core/abi.h"

#include <stdint.h>

struct fs;
struct statx;

/* How many seconds the guest may cache names. */
uint64_t names_valid(const struct fs *fs);
/* The same for attributes. Those of a file with set-user-ID bits may not be cached, whatever the policy: a writer
 * clears the bits, and a program that executes the file afterwards must not get its owner's rights. */
uint64_t attributes_valid(const struct fs *fs, const struct statx *stat);

/* statx() of @name in @fd, or of @fd itself if that is "", for the guest: with the times after its stores near the
 * file's end. The shadows are merged again up to the size that is returned. */
int attributes_read(struct fs *fs, int fd, const char *name, struct statx *stat);

struct fuse_attr attributes_of(const struct fs *fs, const struct statx *stat);
struct fuse_statx attributes_all(const struct fs *fs, const struct statx *stat);

#endif
