/* SPDX-License-Identifier: BSD-2-Clause */

/* The parser of --xattrmap and the lookup by its rules. A rule is fields between separators; its first character is
 * the separator. parse_rule() cuts the fields in place, so the rules point into the map's copy of the text. "map" is
 * expanded to the rules that it stands for. The first rule wins whose key (guest to host) or prefix (host to guest)
 * begins the name; a name without a rule is denied. A map never changes after xattr_map_parse(), so lookups take no
 * lock. */

#include "devices/fs/files/xattr_map.h"

#include "base/cleanup.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MAX_RULES 256

enum kind {
        PREFIX,
        OK,
        BAD,
        UNSUPPORTED,
        MAP,
};

enum scope {
        CLIENT = 1,
        SERVER = 2,
        ALL = CLIENT | SERVER,
};

/* The strings point into the text of the map. */
struct rule {
        enum kind kind;
        enum scope scope;
        const char *key, *prepend;
};

struct xattr_map {
        char *text;
        size_t n;
        struct rule rules[MAX_RULES];
};

struct word {
        const char *name;
        unsigned value;
};

static const struct word kinds[] = {
        {"prefix", PREFIX}, {"ok", OK}, {"bad", BAD}, {"unsupported", UNSUPPORTED}, {"map", MAP},
};
static const struct word scopes[] = {{"client", CLIENT}, {"server", SERVER}, {"all", ALL}};

static bool find_word(const struct word *words, size_t n, const char *name, unsigned *value)
{
        for (size_t i = 0; i < n; i++) {
                if (strcmp(words[i].name, name) != 0)
                        continue;
                *value = words[i].value;
                return true;
        }
        return false;
}

/* Cuts the field at @at, which a @separator ends, and moves @at behind it. NULL: there is no separator. */
static char *cut_field(char **at, char separator)
{
        char *field = *at, *end = strchr(field, separator);

        if (!end)
                return NULL;
        *end = '\0';
        *at = end + 1;
        return field;
}

static const char *rules_append(struct xattr_map *map, enum kind kind, enum scope scope, const char *key,
                                const char *prepend)
{
        if (map->n == MAX_RULES)
                return "too many rules";
        if (strlen(key) > XATTR_NAME_MAX || strlen(prepend) > XATTR_NAME_MAX)
                return "a prefix is longer than a name can be";
        map->rules[map->n++] = (struct rule){kind, scope, key, prepend};
        return NULL;
}

/* Expands "map": with an empty key everything is renamed and the rest hidden; with another key, the names that the
 * renamed ones take on the host can't be used otherwise. */
static const char *append_map(struct xattr_map *map, const char *key, const char *prepend)
{
        const char *wrong = rules_append(map, PREFIX, ALL, key, prepend);

        if (key[0] == '\0')
                return wrong ? wrong : rules_append(map, BAD, ALL, "", "");
        if (!wrong)
                wrong = rules_append(map, BAD, CLIENT, prepend, "");
        if (!wrong)
                wrong = rules_append(map, BAD, SERVER, "", key);
        return wrong ? wrong : rules_append(map, OK, ALL, "", "");
}

static char *skip_space(char *at)
{
        while (isspace((unsigned char)*at))
                at++;
        return at;
}

/* Parses one rule at @at, and moves @at behind it and its white space. NULL, or the error. */
static const char *parse_rule(struct xattr_map *map, char **at)
{
        const char separator = *(*at)++;
        const char *name = cut_field(at, separator), *scope_name, *key, *prepend;
        unsigned kind, scope = ALL;

        if (!name || !find_word(kinds, ARRAY_SIZE(kinds), name, &kind))
                return "a rule is prefix, ok, bad, unsupported or map";
        if (kind != MAP) {
                scope_name = cut_field(at, separator);
                if (!scope_name || !find_word(scopes, ARRAY_SIZE(scopes), scope_name, &scope))
                        return "a rule's scope is client, server or all";
        }
        key = cut_field(at, separator);
        prepend = key ? cut_field(at, separator) : NULL;
        if (!prepend)
                return "a rule ends in its key, its prefix, and a separator";
        *at = skip_space(*at);
        if (kind != MAP)
                return rules_append(map, kind, scope, key, prepend);
        return **at ? "a map is the last rule" : append_map(map, key, prepend);
}

int xattr_map_parse(const char *text, struct xattr_map **out, char *why, size_t why_size)
{
        struct xattr_map *map = calloc(1, sizeof(*map));
        const char *wrong = NULL;

        if (!map || !(map->text = strdup(text))) {
                free(map);
                return -ENOMEM;
        }

        char *at = skip_space(map->text);

        while (*at && !wrong)
                wrong = parse_rule(map, &at);
        if (!wrong && map->n == 0)
                wrong = "there is no rule";
        if (wrong) {
                snprintf(why, why_size, "%s", wrong);
                xattr_map_free(map);
                return -EINVAL;
        }
        *out = map;
        return 0;
}

void xattr_map_free(struct xattr_map *map)
{
        if (map)
                free(map->text);
        free(map);
}

static int name_join(const char *prepend, const char *name, char host[XATTR_NAME_SIZE])
{
        int size = snprintf(host, XATTR_NAME_SIZE, "%s%s", prepend, name);

        return size < XATTR_NAME_SIZE ? 0 : -ERANGE;
}

static const struct rule *find_rule(const struct xattr_map *map, enum scope scope, const char *name)
{
        for (size_t i = 0; i < map->n; i++) {
                const struct rule *rule = &map->rules[i];
                const char *prefix = scope == CLIENT ? rule->key : rule->prepend;

                if (rule->scope & scope && strncmp(name, prefix, strlen(prefix)) == 0)
                        return rule;
        }
        return NULL;
}

int xattr_to_host(const struct xattr_map *map, const char *name, char host[XATTR_NAME_SIZE])
{
        const struct rule *rule = map ? find_rule(map, CLIENT, name) : NULL;

        if (!map || (rule && rule->kind == OK))
                return name_join("", name, host);
        if (rule && rule->kind == PREFIX)
                return name_join(rule->prepend, name, host);
        return rule && rule->kind == UNSUPPORTED ? -ENOTSUP : -EPERM;
}

const char *xattr_to_guest(const struct xattr_map *map, const char *name)
{
        const struct rule *rule = map ? find_rule(map, SERVER, name) : NULL;

        if (!map || (rule && rule->kind == OK))
                return name;
        return rule && rule->kind == PREFIX ? name + strlen(rule->prepend) : NULL;
}
