/* SPDX-License-Identifier: BSD-2-Clause */

/* The input is arguments of oriel-fs's --translate-uid, --uid-map and --xattrmap: text as it is, or rules made of the
 * options' own words, separators and numbers. Then ids and names go through the maps, and where a map has only shifts
 * in both directions, back again. */

#include "base/cleanup.h"
#include "daemon/id_range.h"
#include "devices/fs/core/idmap.h"
#include "devices/fs/files/xattr_map.h"
#include "fuzz/input.h"

#include <errno.h>
#include <stdio.h>

enum { TEXT_MAX = 1200 };

static const char *pick(struct input *input, const char *const *words, unsigned n)
{
        return words[take_choice(input, n)];
}

static char *take_text(struct input *input)
{
        size_t size = take_number(input) % TEXT_MAX;
        char *text = calloc(1, size + 1);

        need(text);
        take(input, text, size);
        return text;
}

static void check_why(int r, const char *why)
{
        need(r == 0 || r == -EINVAL);
        need((r < 0) == (why[0] != '\0') && !strchr(why, '\n'));
}

/* ---- ids ---- */

static void make_numbers(struct input *input, char *to, size_t size, unsigned n, char separator)
{
        size_t at = strlen(to);

        for (unsigned i = 0; i < n && at < size; i++)
                at += (size_t)snprintf(to + at, size - at, "%c%llu", separator, (unsigned long long)take_number(input));
}

static char *make_id_rule(struct input *input)
{
        static const char *const forms[] = {"guest", "host", "squash-guest", "squash-host", "forbid-guest", "map", ""};
        char *text = calloc(1, 128);

        need(text);
        snprintf(text, 32, "%s", pick(input, forms, ARRAY_SIZE(forms)));
        make_numbers(input, text, 128, 1 + take_choice(input, 4), ':');
        return text;
}

static void check_ids(const struct id_map *map, uint32_t guest)
{
        uint32_t host = 0;
        int r = id_to_host(map, guest, &host);

        need(r == 0 || r == -EPERM);
        need(guest != UINT32_MAX || (r == 0 && host == UINT32_MAX));
        need(id_to_guest(map, UINT32_MAX) == UINT32_MAX);
        id_to_guest(map, guest);
}

static void fuzz_ids(struct input *input)
{
        struct id_map *map = calloc(1, sizeof(*map)), single;
        char why[128];

        need(map);
        for (unsigned i = 0; i < 80 && input->size > 0; i++) {
                char *text = take_byte(input) % 8 == 0 ? take_text(input) : make_id_rule(input);
                uint32_t id = (uint32_t)take_number(input), host;

                why[0] = '\0';
                check_why(id_map_add(map, text, why, sizeof(why)), why);
                check_ids(map, id);
                /* A rule by itself: who "map" brings to the host comes back. */
                single = (struct id_map){0};
                why[0] = '\0';
                if (strncmp(text, "map:", 4) == 0 && id_map_add(&single, text, why, sizeof(why)) == 0 &&
                    id - single.to_host.rules[0].from < single.to_host.rules[0].count)
                        need(id_to_host(&single, id, &host) == 0 && id_to_guest(&single, host) == id);
                free(text);
        }
        need(map->to_host.n <= ID_MAP_MAX && map->to_guest.n <= ID_MAP_MAX);
        free(map);
}

static void fuzz_range(struct input *input)
{
        static const char separators[] = ":/,;-x0";
        char separator = separators[take_choice(input, sizeof(separators) - 1)];
        char built[128] = "", *text = NULL;
        struct id_range range;

        if (take_byte(input) & 1) {
                text = take_text(input);
        } else {
                make_numbers(input, built, sizeof(built) - 2, 3, separator);
                built[strlen(built)] = separator;
                text = strdup(built);
                need(text);
        }

        int r = id_range_parse(text, &range);

        need(r == 0 || r == -EINVAL);
        need(r < 0 || (range.count > 0 && range.inside + (uint64_t)range.count <= UINT32_MAX &&
                       range.outside + (uint64_t)range.count <= UINT32_MAX));
        free(text);
}

/* ---- extended attributes ---- */

static const char *const prefixes[] = {"", "user.", "trusted.", "security.", "user.virtiofs.", "system.posix_acl_"};

static char *make_xattr_rules(struct input *input)
{
        static const char *const kinds[] = {"prefix", "ok", "bad", "unsupported", "map", "other"};
        static const char *const scopes[] = {"client", "server", "all", "none"};
        static const char separators[] = ":/!|";
        char *text = calloc(1, 1 << 15);
        size_t at = 0;

        need(text);
        for (unsigned i = take_number(input) % 300; i > 0 && at < (1 << 15) - 300; i--) {
                char s = separators[take_choice(input, sizeof(separators) - 1)];
                const char *kind = pick(input, kinds, ARRAY_SIZE(kinds));

                at += (size_t)sprintf(text + at, "%c%s%c", s, kind, s);
                if (strcmp(kind, "map") != 0)
                        at += (size_t)sprintf(text + at, "%s%c", pick(input, scopes, ARRAY_SIZE(scopes)), s);
                at += (size_t)sprintf(text + at, "%s%c", pick(input, prefixes, ARRAY_SIZE(prefixes)), s);
                at += (size_t)sprintf(text + at, "%s%c ", pick(input, prefixes, ARRAY_SIZE(prefixes)), s);
        }
        return text;
}

static void check_name(const struct xattr_map *map, const char *name)
{
        char *host = malloc(XATTR_NAME_SIZE);
        const char *guest;

        need(host);

        int r = xattr_to_host(map, name, host);

        need(r == 0 || r == -EPERM || r == -ENOTSUP || r == -ERANGE);
        need(r < 0 || (strlen(host) < XATTR_NAME_SIZE && strlen(host) >= strlen(name)));
        guest = xattr_to_guest(map, name);
        need(!guest || (guest >= name && guest <= name + strlen(name)));
        free(host);
}

static void fuzz_xattrs(struct input *input)
{
        char *text = take_byte(input) & 1 ? take_text(input) : make_xattr_rules(input);
        struct xattr_map *map = NULL;
        char why[128] = "";

        check_why(xattr_map_parse(text, &map, why, sizeof(why)), why);
        free(text);
        for (unsigned i = 0; i < 10 && (map || i == 0); i++) {
                char *rest = take_text(input), name[TEXT_MAX + 64];

                snprintf(name, sizeof(name), "%s%s", pick(input, prefixes, ARRAY_SIZE(prefixes)), rest);
                if (strlen(name) < XATTR_NAME_SIZE)
                        check_name(map, name);
                free(rest);
        }
        xattr_map_free(map);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static void (*const kinds[])(struct input * input) = {fuzz_ids, fuzz_range, fuzz_xattrs};
        struct input input = {data, size};

        kinds[take_choice(&input, ARRAY_SIZE(kinds))](&input);
        return 0;
}
