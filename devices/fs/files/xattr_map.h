/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_FILES_XATTR_MAP_H
#define DEVICES_FS_FILES_XATTR_MAP_H

#include <linux/limits.h>
#include <stdbool.h>
#include <stddef.h>

/* The names of the guest's extended attributes on the host: the rules of --xattrmap, which are those of virtiofsd. */
struct xattr_map;

#define XATTR_NAME_SIZE (XATTR_NAME_MAX + 1)

/* -EINVAL and the reason in @why; -ENOMEM. */
int xattr_map_parse(const char *text, struct xattr_map **out, char *why, size_t why_size);
void xattr_map_free(struct xattr_map *map); /* NULL is accepted, and passes every name through, as below */

/* Translates the guest's @name to the host's. -EPERM or -ENOTSUP: a rule denies it; -EPERM also without a rule.
 * -ERANGE: it is too long. */
int xattr_to_host(const struct xattr_map *map, const char *name, char host[XATTR_NAME_SIZE]);
/* Translates the host's @name to the guest's, which is its end; NULL: it is hidden. */
const char *xattr_to_guest(const struct xattr_map *map, const char *name);

#endif
