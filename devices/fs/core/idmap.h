/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_CORE_IDMAP_H
#define DEVICES_FS_CORE_IDMAP_H

#include <stddef.h>
#include <stdint.h>

/* Which user of the host a user of the guest is, and the other way round; the same for groups. Both directions have
 * rules of their own. Ids that no rule is about stay as they are. Zero is the map without rules. */

#define ID_MAP_MAX 64

enum id_kind {
        ID_SHIFT,  /* one to one */
        ID_SQUASH, /* all to one */
        ID_FORBID,
};

struct id_rule {
        uint32_t from, to, count;
        enum id_kind kind;
};

struct id_rules {
        struct id_rule rules[ID_MAP_MAX];
        size_t n;
};

struct id_map {
        struct id_rules to_host, to_guest;
};

/* Add what @text, an argument of --translate-uid or --translate-gid, says. 0, or -EINVAL and what is wrong in @why. */
int id_map_add(struct id_map *map, const char *text, char *why, size_t why_size);

/* @map may be NULL, which has no rules. -EPERM: the rules forbid it. -1, which is no id, stays as it is. */
int id_to_host(const struct id_map *map, uint32_t guest, uint32_t *host);
uint32_t id_to_guest(const struct id_map *map, uint32_t host);

#endif
