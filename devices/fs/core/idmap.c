/* SPDX-License-Identifier: BSD-2-Clause */
#include "devices/fs/core/idmap.h"

#include "base/cleanup.h"
#include "daemon/id_range.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The forms of an argument. Its numbers are the source, the target and the count; "map" names the guest's first. */
static const struct form {
        const char *name;
        bool to_host, to_guest;
        enum id_kind kind;
} forms[] = {
        {"guest", true, false, ID_SHIFT},         {"host", false, true, ID_SHIFT},
        {"squash-guest", true, false, ID_SQUASH}, {"squash-host", false, true, ID_SQUASH},
        {"forbid-guest", true, false, ID_FORBID}, {"map", true, true, ID_SHIFT},
};

static const char *range_add(struct id_rules *rules, struct id_rule rule)
{
        if (!id_range_valid(rule.from, rule.count) || !id_range_valid(rule.to, rule.kind == ID_SHIFT ? rule.count : 1))
                return "a range has at least one id, and none above 4294967294";
        if (rules->n == ID_MAP_MAX)
                return "too many ranges";
        for (const struct id_rule *other = rules->rules; other < rules->rules + rules->n; other++)
                if (other->from < rule.from + rule.count && rule.from < other->from + other->count)
                        return "its range overlaps another's";
        rules->rules[rules->n++] = rule;
        return NULL;
}

static const struct form *find_form(const char *text, size_t size)
{
        for (size_t i = 0; i < ARRAY_SIZE(forms); i++)
                if (strlen(forms[i].name) == size && memcmp(forms[i].name, text, size) == 0)
                        return &forms[i];
        return NULL;
}

int id_map_add(struct id_map *map, const char *text, char *why, size_t why_size)
{
        const size_t name = strcspn(text, ":");
        const struct form *form = find_form(text, name);
        const char *wrong = NULL;
        uint32_t n[3] = {0};

        if (!form || text[name] == '\0')
                wrong = "it begins with guest:, host:, squash-guest:, squash-host:, forbid-guest: or map:";
        else if (!id_numbers_parse(text + name + 1, n, form->kind == ID_FORBID ? 2 : 3))
                wrong = form->kind == ID_FORBID ? "it ends in BASE:COUNT" : "it ends in SOURCE:TARGET:COUNT";
        if (!wrong && form->kind == ID_FORBID)
                wrong = range_add(&map->to_host, (struct id_rule){.from = n[0], .count = n[1], .kind = ID_FORBID});
        else if (!wrong && form->to_host)
                wrong = range_add(&map->to_host, (struct id_rule){n[0], n[1], n[2], form->kind});
        if (!wrong && form->to_guest)
                wrong = range_add(&map->to_guest, form->to_host ? (struct id_rule){n[1], n[0], n[2], form->kind}
                                                                : (struct id_rule){n[0], n[1], n[2], form->kind});
        if (wrong)
                snprintf(why, why_size, "%s", wrong);
        return wrong ? -EINVAL : 0;
}

static const struct id_rule *range_find(const struct id_rules *rules, uint32_t id)
{
        for (size_t i = 0; i < rules->n; i++)
                if (id - rules->rules[i].from < rules->rules[i].count)
                        return &rules->rules[i];
        return NULL;
}

static uint32_t apply(const struct id_rule *rule, uint32_t id)
{
        if (!rule)
                return id;
        return rule->kind == ID_SHIFT ? rule->to + (id - rule->from) : rule->to;
}

int id_to_host(const struct id_map *map, uint32_t guest, uint32_t *host)
{
        const struct id_rule *rule = map ? range_find(&map->to_host, guest) : NULL;

        if (rule && rule->kind == ID_FORBID)
                return -EPERM;
        *host = apply(rule, guest);
        return 0;
}

uint32_t id_to_guest(const struct id_map *map, uint32_t host)
{
        return map ? apply(range_find(&map->to_guest, host), host) : host;
}
