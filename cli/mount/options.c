/* SPDX-License-Identifier: BSD-2-Clause */

/* The -o option of "oriel mount", as mount(8) and fstab use it. mount_options_join() splits each list at its commas.
 * Options of the command itself go into struct mount_options, those for the boot scripts alone are dropped, and the
 * rest becomes one string for libfuse, which refuses options that it does not know. Every mount also gets a subtype,
 * default_permissions and fsname, and root's mounts get allow_other. */

#include "cli/mount/options.h"

#include "base/cleanup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Options in /etc/fstab that concern the boot scripts, not the mount. */
static const char *const not_ours[] = {"auto",  "noauto",  "nofail", "_netdev", "user",    "nouser",
                                       "users", "nousers", "owner",  "group",   "defaults"};
static const char *const not_ours_prefixes[] = {"x-", "X-", "comment="};

static bool is_part(const char *part, size_t size, const char *name)
{
        return strlen(name) == size && strncmp(part, name, size) == 0;
}

static bool is_left_out(const char *part, size_t size)
{
        for (size_t i = 0; i < ARRAY_SIZE(not_ours); i++)
                if (is_part(part, size, not_ours[i]))
                        return true;
        for (size_t i = 0; i < ARRAY_SIZE(not_ours_prefixes); i++)
                if (strncmp(part, not_ours_prefixes[i], strlen(not_ours_prefixes[i])) == 0)
                        return true;
        return size == 0;
}

/* mount.fuse3(8) adds "suid" and "dev" to the list by itself, so that these words don't tell whether the user trusts
 * the back-end with the host. "allow_suid" and "allow_dev" say so, in both forms of the command. Returns the word
 * for libfuse, "" for none, or NULL: another option. */
static const char *as_meant(const struct mount_options *options, const char *part, size_t size)
{
        static const char *const words[] = {"suid", "dev"};
        static const char *const own[] = {"allow_suid", "allow_dev"};

        for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
                if (is_part(part, size, own[i]))
                        return words[i];
                if (options->by_mount && is_part(part, size, words[i]))
                        return "";
        }
        return NULL;
}

/* True: @part is an option of the command, and was stored in @options. */
static bool take_own(struct mount_options *options, const char *part, size_t size)
{
        const struct {
                const char *name;
                bool *target, value;
        } rows[] = {
                {"dax", &options->dax, true},
                {"ro", &options->readonly, true},
                {"rw", &options->readonly, false},
                {"verbose", &options->verbose, true},
        };

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
                if (is_part(part, size, rows[i].name)) {
                        *rows[i].target = rows[i].value;
                        return true;
                }
        return false;
}

/* The length up to the next comma without a backslash before it. */
static size_t part_size(const char *part)
{
        size_t size = 0;

        while (part[size] && part[size] != ',')
                size += part[size] == '\\' && part[size + 1] ? 2 : 1;
        return size;
}

static void add_list(FILE *to, struct mount_options *options, const char *list)
{
        for (const char *part = list; *part;) {
                size_t size = part_size(part);
                const char *meant = as_meant(options, part, size);

                if (meant)
                        fprintf(to, "%s%s", *meant ? "," : "", meant);
                else if (!is_left_out(part, size) && !take_own(options, part, size))
                        fprintf(to, ",%.*s", (int)size, part);
                part += size + (part[size] == ',');
        }
}

static void add_escaped(FILE *to, const char *text)
{
        for (; *text; text++) {
                if (*text == ',' || *text == '\\')
                        putc('\\', to);
                putc(*text, to);
        }
}

/* default_permissions: the kernel checks the permissions of files, as it does in a guest. */
char *mount_options_join(struct mount_options *options)
{
        char *text = NULL;
        size_t size;
        FILE *to = open_memstream(&text, &size);

        if (!to)
                return NULL;
        fprintf(to, "subtype=oriel,default_permissions%s,fsname=", geteuid() == 0 ? ",allow_other" : "");
        add_escaped(to, options->source);
        for (unsigned i = 0; i < options->lists.n; i++)
                add_list(to, options, options->lists.values[i]);
        fputs(options->readonly ? ",ro" : "", to);
        if (fclose(to) == 0)
                return text;
        free(text);
        return NULL;
}
