/* SPDX-License-Identifier: BSD-2-Clause */

/* The rules of --xattrmap. */

#include "base/cleanup.h"
#include "base/test.h"
#include "devices/fs/files/xattr_map.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct xattr_map *parse(const char *text)
{
        struct xattr_map *map = NULL;
        char why[128] = "";
        int r = xattr_map_parse(text, &map, why, sizeof(why));

        if (r < 0)
                print_error("%s: %s\n", text, why);
        assert_int_equal(r, 0);
        return map;
}

/* @host: "EPERM" or "ENOTSUP", or the name on the host. */
struct to_host {
        const char *guest, *host;
};

/* NULL: it is hidden. */
struct to_guest {
        const char *host, *guest;
};

static void check_to_host(const struct xattr_map *map, const struct to_host *rows, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                char host[XATTR_NAME_SIZE] = "";
                int r = xattr_to_host(map, rows[i].guest, host);
                const char *got = r == -EPERM ? "EPERM" : r == -ENOTSUP ? "ENOTSUP" : r == 0 ? host : "?";

                if (strcmp(got, rows[i].host) != 0)
                        fail_msg("the guest's %s: %s, not %s", rows[i].guest, got, rows[i].host);
        }
}

static void check_to_guest(const struct xattr_map *map, const struct to_guest *rows, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                const char *got = xattr_to_guest(map, rows[i].host);

                if (!got != !rows[i].guest || (got && strcmp(got, rows[i].guest) != 0))
                        fail_msg("the host's %s: %s, not %s", rows[i].host, got ? got : "hidden",
                                 rows[i].guest ? rows[i].guest : "hidden");
        }
}

#define CHECK(text, hosts, guests)                               \
        do {                                                     \
                struct xattr_map *map = parse(text);             \
                                                                 \
                check_to_host(map, hosts, ARRAY_SIZE(hosts));    \
                check_to_guest(map, guests, ARRAY_SIZE(guests)); \
                xattr_map_free(map);                             \
        } while (0)

static void test_no_map(void **state)
{
        const struct to_host hosts[] = {{"user.a", "user.a"}, {"trusted.b", "trusted.b"}};
        const struct to_guest guests[] = {{"user.a", "user.a"}, {"security.b", "security.b"}};

        check_to_host(NULL, hosts, ARRAY_SIZE(hosts));
        check_to_guest(NULL, guests, ARRAY_SIZE(guests));
        xattr_map_free(NULL);
}

static void test_prefix(void **state)
{
        const struct to_host all[] = {{"trusted.a", "user.p.trusted.a"},
                                      {"trusted.", "user.p.trusted."},
                                      {"trusted", "EPERM"},
                                      {"user.a", "EPERM"}};
        const struct to_guest all_back[] = {
                {"user.p.trusted.a", "trusted.a"}, {"user.p.", ""}, {"user.p", NULL}, {"trusted.a", NULL}};
        const struct to_host client[] = {{"trusted.a", "user.p.trusted.a"}, {"user.p.trusted.a", "EPERM"}};
        const struct to_guest client_back[] = {{"user.p.trusted.a", NULL}, {"trusted.a", NULL}};
        const struct to_host server[] = {{"trusted.a", "EPERM"}};
        const struct to_guest server_back[] = {{"user.p.trusted.a", "trusted.a"}, {"user.p.x", "x"}};

        CHECK(":prefix:all:trusted.:user.p.:", all, all_back);
        CHECK(":prefix:client:trusted.:user.p.:", client, client_back);
        CHECK(":prefix:server:trusted.:user.p.:", server, server_back);
}

static void test_ok(void **state)
{
        const struct to_host all[] = {{"user.a", "user.a"}, {"trusted.a", "EPERM"}};
        const struct to_guest all_back[] = {{"sys.a", "sys.a"}, {"user.a", NULL}};
        const struct to_host client[] = {{"user.a", "user.a"}};
        const struct to_guest client_back[] = {{"sys.a", NULL}, {"user.a", NULL}};
        const struct to_host server[] = {{"user.a", "EPERM"}};
        const struct to_guest server_back[] = {{"sys.a", "sys.a"}};

        CHECK(":ok:all:user.:sys.:", all, all_back);
        CHECK(":ok:client:user.:sys.:", client, client_back);
        CHECK(":ok:server:user.:sys.:", server, server_back);
}

/* The first rule for a name decides; a name without a rule is denied. */
static void test_bad_and_unsupported(void **state)
{
        const struct to_host hosts[] = {{"a.x", "EPERM"}, {"b.x", "ENOTSUP"}, {"c.x", "c.x"}, {"a", "a"}};
        const struct to_guest guests[] = {{"a.x", NULL}, {"b.x", NULL}, {"c.x", "c.x"}};
        const struct to_host ok_first[] = {{"a.x", "a.x"}};
        const struct to_guest ok_first_back[] = {{"a.x", "a.x"}};
        const struct to_host none[] = {{"a.x", "EPERM"}, {"b.x", "b.x"}};
        const struct to_guest none_back[] = {{"a.x", NULL}, {"b.x", "b.x"}};
        const struct to_host client_only[] = {{"a.x", "ENOTSUP"}, {"b.x", "b.x"}};
        const struct to_guest client_only_back[] = {{"a.x", "a.x"}};

        CHECK(":bad:all:a.:a.: :unsupported:all:b.:b.: :ok:all:::", hosts, guests);
        CHECK(":ok:all:::\n:bad:all:a.:a.:", ok_first, ok_first_back);
        CHECK(":ok:all:b.:b.:", none, none_back);
        CHECK(":unsupported:client:a.:: :ok:all:::", client_only, client_only_back);
}

/* The examples of the man page, which are those of virtiofsd's documentation: all names of the guest, and trusted
 * names alone. */
static void test_examples(void **state)
{
        const struct to_host hosts[] = {{"user.a", "user.guest.user.a"}, {"security.x", "user.guest.security.x"}};
        const struct to_guest guests[] = {{"user.guest.user.a", "user.a"}, {"user.a", NULL}, {"trusted.a", NULL}};
        const struct to_host trusted[] = {{"trusted.a", "user.guest.trusted.a"},
                                          {"user.guest.trusted.a", "EPERM"},
                                          {"user.guest.x", "EPERM"},
                                          {"user.a", "user.a"},
                                          {"security.capability", "security.capability"}};
        const struct to_guest trusted_back[] = {{"user.guest.trusted.a", "trusted.a"},
                                                {"trusted.a", NULL},
                                                {"user.a", "user.a"},
                                                {"security.capability", "security.capability"}};

        CHECK(":map::user.guest.:", hosts, guests);
        CHECK(":prefix:all::user.guest.: :bad:all:::", hosts, guests);
        CHECK("/prefix/all/trusted./user.guest./ /bad/server//trusted./ /bad/client/user.guest.// /ok/all///", trusted,
              trusted_back);
        /* The short form of the same. */
        CHECK(":map:trusted.:user.guest.:", trusted, trusted_back);
        /* A map may come after other rules, which then win. */
        const struct to_host after[] = {{"user.keep.a", "user.keep.a"}, {"user.a", "user.guest.user.a"}};
        const struct to_guest after_back[] = {{"user.keep.a", "user.keep.a"}, {"user.guest.user.a", "user.a"}};

        CHECK(":ok:all:user.keep.:user.keep.::map::user.guest.:", after, after_back);
}

/* Any separator, one for each rule, and any white space between them. */
static void test_separators(void **state)
{
        const struct to_host hosts[] = {{"a", "p:a"}, {"b.x", "b.x"}, {"c", "EPERM"}};
        const struct to_guest guests[] = {{"p:a", "a"}, {"b.x", "b.x"}, {"c", NULL}};

        CHECK("/prefix/all/a/p:/,ok,all,b.,b.,", hosts, guests);
        CHECK(" \t\n/prefix/all/a/p:/ \r\n\tXokXallXb.Xb.X  ", hosts, guests);
        /* White space in a rule is part of it. */
        const struct to_host space[] = {{"a", "p a"}};
        const struct to_guest space_back[] = {{"p a", "a"}};

        CHECK(":prefix:all:a:p :", space, space_back);
}

static void test_malformed(void **state)
{
        static const struct {
                const char *text, *why;
        } rows[] = {
                {"", "there is no rule"},
                {"  \n", "there is no rule"},
                {":", "a rule is prefix, ok, bad, unsupported or map"},
                {"::", "a rule is prefix, ok, bad, unsupported or map"},
                {":ok", "a rule is prefix, ok, bad, unsupported or map"},
                {":OK:all:::", "a rule is prefix, ok, bad, unsupported or map"},
                {": ok:all:::", "a rule is prefix, ok, bad, unsupported or map"},
                {"ok:all:::", "a rule is prefix, ok, bad, unsupported or map"},
                {":ok:", "a rule's scope is client, server or all"},
                {":ok:all", "a rule's scope is client, server or all"},
                {":ok:both:::", "a rule's scope is client, server or all"},
                {":ok::::", "a rule's scope is client, server or all"},
                {":ok:all:", "a rule ends in its key, its prefix, and a separator"},
                {":ok:all::", "a rule ends in its key, its prefix, and a separator"},
                {":ok:all:key:prepend", "a rule ends in its key, its prefix, and a separator"},
                {":map:key:", "a rule ends in its key, its prefix, and a separator"},
                {":map::p: :ok:all:::", "a map is the last rule"},
                {":map:k:p: :ok:all:::", "a map is the last rule"},
                {":ok:all::: junk", "a rule is prefix, ok, bad, unsupported or map"},
                {":ok:all:::/bad/all/", "a rule ends in its key, its prefix, and a separator"},
        };

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                struct xattr_map *map = NULL;
                char why[128] = "";

                if (xattr_map_parse(rows[i].text, &map, why, sizeof(why)) != -EINVAL || strcmp(why, rows[i].why) != 0)
                        fail_msg("\"%s\": \"%s\", not \"%s\"", rows[i].text, why, rows[i].why);
                assert_null(map);
        }
}

/* A rule ":ok:all:" KEY ":" PREPEND ":" with a key of @size bytes. */
static int parse_long(size_t key, size_t prepend, char *why, size_t why_size)
{
        struct xattr_map *map = NULL;
        char text[1024];

        snprintf(text, sizeof(text), ":ok:all:%0*d:%0*d:", (int)key, 0, (int)prepend, 0);

        int r = xattr_map_parse(text, &map, why, why_size);

        if (r == 0)
                xattr_map_free(map);
        return r;
}

static void test_too_long(void **state)
{
        char why[128], name[XATTR_NAME_SIZE], host[XATTR_NAME_SIZE];

        assert_int_equal(parse_long(XATTR_NAME_MAX, XATTR_NAME_MAX, why, sizeof(why)), 0);
        assert_int_equal(parse_long(XATTR_NAME_MAX + 1, 1, why, sizeof(why)), -EINVAL);
        assert_string_equal(why, "a prefix is longer than a name can be");
        assert_int_equal(parse_long(1, XATTR_NAME_MAX + 1, why, sizeof(why)), -EINVAL);
        assert_string_equal(why, "a prefix is longer than a name can be");

        /* The longest name that a rule leaves room for. */
        struct xattr_map *map = parse(":map::user.:");

        memset(name, 'n', sizeof(name));
        name[XATTR_NAME_MAX - 5] = '\0';
        assert_int_equal(xattr_to_host(map, name, host), 0);
        assert_int_equal(strlen(host), XATTR_NAME_MAX);
        name[XATTR_NAME_MAX - 5] = 'n';
        name[XATTR_NAME_MAX - 4] = '\0';
        assert_int_equal(xattr_to_host(map, name, host), -ERANGE);
        xattr_map_free(map);
}

static void test_too_many(void **state)
{
        static const char rule[] = ":ok:all:a:a:";
        const size_t most = 256;
        char *text = malloc((most + 1) * (sizeof(rule) - 1) + 1), why[128];
        struct xattr_map *map = NULL;

        assert_non_null(text);
        for (size_t i = 0; i <= most; i++)
                memcpy(text + i * (sizeof(rule) - 1), rule, sizeof(rule));
        assert_int_equal(xattr_map_parse(text, &map, why, sizeof(why)), -EINVAL);
        assert_string_equal(why, "too many rules");
        text[most * (sizeof(rule) - 1)] = '\0';
        assert_int_equal(xattr_map_parse(text, &map, why, sizeof(why)), 0);
        xattr_map_free(map);
        /* A map with a key is four rules. */
        strcpy(text + (most - 3) * (sizeof(rule) - 1), ":map:k:p:");
        assert_int_equal(xattr_map_parse(text, &map, why, sizeof(why)), -EINVAL);
        assert_string_equal(why, "too many rules");
        free(text);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_no_map),    counted_test(test_prefix),     counted_test(test_ok),
                counted_test(test_examples),  counted_test(test_separators), counted_test(test_bad_and_unsupported),
                counted_test(test_malformed), counted_test(test_too_long),   counted_test(test_too_many),
        };

        return run_counted("fs-xattr-map", tests);
}
