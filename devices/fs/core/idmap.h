/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_CORE_IDMAP_H
#define DEVICES_FS_CORE_IDMAP_H

#include <stddef.h>
#include <stdint.h>

/* Translates users of the guest to users of the host and back; groups likewise. Both directions have their own
 * rules. Ids without a rule don't change. Zero is the map without rules. */

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

/* Adds the rule @text, an argument of --translate-uid or --translate-gid. 0, or -EINVAL and the reason in @why. */
int id_map_add(struct id_map *map, const char *text, char *why, size_t why_size);

/* @map may be NULL, which has no rules. -EPERM: a rule forbids the id. -1, which is no id, does not change. */
int id_to_host(const struct id_map *map, uint32_t guest, uint32_t *host);
uint32_t id_to_guest(const struct id_map *map, uint32_t host);

#endif
