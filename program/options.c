/* SPDX-License-Identifier: BSD-2-Clause */

/* The parser for tables of struct option_row, on getopt_long(3). Long options have their row's index as getopt's
 * value, so HELP and VERSION lie above any index, and a value that is no index is a row's letter. option_set() converts
 * one value by the kind of its row; both the command line and option_parts_parse() (NAME=VALUE,...) use it. Errors are
 * one line on stderr and STATUS_USAGE. Strings are not copied: they point into argv, or into the storage that the
 * caller gave. */

#include "program/options.h"
#include "base/cleanup.h"
#include "base/range.h"
#include "program/report.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <oriel/version.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define HELP    256 /* above every row's index */
#define VERSION 257

static bool parse_number(const char *text, uint64_t *out, const char **end)
{
        char *stop;

        if (!isdigit((unsigned char)text[0]))
                return false;
        errno = 0;
        *out = strtoull(text, &stop, 0);
        *end = stop;
        return errno == 0;
}

static bool parse_size(const char *text, uint64_t *out)
{
        static const char suffixes[] = "KMGT";
        uint64_t value;
        const char *end, *suffix;

        if (!parse_number(text, &value, &end))
                return false;
        if (*end == '\0') {
                *out = value;
                return true;
        }
        suffix = strchr(suffixes, toupper((unsigned char)*end));
        if (!suffix || (end[1] != '\0' && strcmp(end + 1, "iB") != 0))
                return false;
        return checked_mul(value, UINT64_C(1) << (10 * (suffix - suffixes + 1)), out);
}

static bool option_append(struct option_list *list, const char *value)
{
        if (list->n == OPTION_LIST_MAX)
                return false;
        list->values[list->n++] = value;
        return true;
}

/* Whether @value is one of the names in @choice. */
static bool is_name_of(const char *choice, const char *value)
{
        size_t size = strcspn(value, "|");

        if (value[size])
                return false;
        for (const char *name = choice; name; name = strchr(name, '|')) {
                name += *name == '|';
                if (strncasecmp(name, value, size) == 0 && (name[size] == '|' || name[size] == '\0'))
                        return true;
        }
        return false;
}

static bool option_choose(const struct option_row *row, const char *value)
{
        for (unsigned i = 0; row->choices[i]; i++) {
                if (!is_name_of(row->choices[i], value))
                        continue;
                *(unsigned *)row->target = i;
                return true;
        }
        return false;
}

static bool takes_value(const struct option_row *row)
{
        return row->kind != OPTION_FLAG && row->kind != OPTION_CLEAR;
}

/* @value NULL stands for the row's bare value. */
static bool option_set(const struct option_row *row, const char *value)
{
        if (!value)
                value = row->bare;
        uint64_t number;
        const char *end;

        switch (row->kind) {
        case OPTION_FLAG:
        case OPTION_CLEAR:
                *(bool *)row->target = row->kind == OPTION_FLAG;
                return true;
        case OPTION_CHOICE:
                return option_choose(row, value);
        case OPTION_STRING:
                *(const char **)row->target = value;
                return true;
        case OPTION_NUMBER:
                if (!parse_number(value, &number, &end) || *end || number > UINT_MAX)
                        return false;
                *(unsigned *)row->target = (unsigned)number;
                return true;
        case OPTION_SIZE:
                return parse_size(value, row->target);
        case OPTION_LIST:
                return option_append(row->target, value);
        }
        return false;
}

/* Describes, into @text, the values that @row accepts. */
static const char *option_expected(const struct option_row *row, char *text, size_t size)
{
        size_t at;

        if (row->kind != OPTION_CHOICE) {
                snprintf(text, size, "a %s",
                         row->kind == OPTION_SIZE   ? "size"
                         : row->kind == OPTION_LIST ? "value that there is room for"
                                                    : "number");
                return text;
        }
        at = (size_t)snprintf(text, size, "one of");
        for (unsigned i = 0; row->choices[i] && at < size; i++)
                at += (size_t)snprintf(text + at, size - at, "%s %.*s", i ? "," : "",
                                       (int)strcspn(row->choices[i], "|"), row->choices[i]);
        return text;
}

/* Cuts the next part off @at; two commas in it become one. @at is then behind it, or NULL. */
static char *cut_part(char **at)
{
        char *part = *at, *to = part, *from = part;

        for (; *from && (*from != ',' || from[1] == ','); from++) {
                if (*from == ',')
                        from++;
                *to++ = *from;
        }
        *at = *from ? from + 1 : NULL;
        *to = '\0';
        return part;
}

static const struct option_row *find_part(const struct option_row *rows, size_t n_rows, const char *name, size_t size)
{
        for (size_t i = 0; i < n_rows; i++)
                if (strlen(rows[i].name) == size && strncmp(rows[i].name, name, size) == 0)
                        return &rows[i];
        return NULL;
}

bool option_parts_parse(const struct option_row *rows, size_t n_rows, bool leading, const char *text, char *storage,
                        char *why, size_t why_size)
{
        char wanted[128], *at = memcpy(storage, text, strlen(text) + 1);

        for (bool first = true; at; first = false) {
                char *part = cut_part(&at), *value = strchr(part, '=');
                const struct option_row *row =
                        find_part(rows, n_rows, part, value ? (size_t)(value - part) : strlen(part));

                if (!row && first && leading) {
                        row = rows;
                        value = part;
                } else if (value) {
                        value++;
                }
                if (!row)
                        snprintf(why, why_size, "'%s' is not known", part);
                else if (!value && takes_value(row) && !row->bare)
                        snprintf(why, why_size, "%s needs a value", row->name);
                else if (value && !takes_value(row))
                        snprintf(why, why_size, "%s takes no value", row->name);
                else if (!option_set(row, value))
                        snprintf(why, why_size, "%s: '%s' is not %s", row->name, value,
                                 option_expected(row, wanted, sizeof(wanted)));
                else
                        continue;
                return false;
        }
        return true;
}

static void print_row(const struct option_row *row)
{
        const char *argument = row->argument ? row->argument : "";
        char left[64];

        snprintf(left, sizeof(left), "--%s%s%s%s", row->name,
                 row->bare       ? "[="
                 : row->argument ? "="
                                 : "",
                 argument, row->bare ? "]" : "");
        if (row->help)
                printf("  %-26s %s\n", left, row->help);
}

static const struct option_row help_row = {.name = "help", .help = "print this and exit"};
static const struct option_row version_row = {.name = "version", .help = "print the version and exit"};

static void options_print_help(const struct program *program)
{
        printf("Usage: %s%s%s%s\n\n%s\n\nOptions:\n", program->name, program->n_rows ? " [OPTION]..." : "",
               program->operands[0] ? " " : "", program->operands, program->summary);
        for (size_t i = 0; i < program->n_rows; i++)
                print_row(&program->rows[i]);
        print_row(&help_row);
        print_row(&version_row);
        printf("\nExit status: 0 on success, 1 on failure, 2 on wrong usage.\n");
}

/* A line of what completions/generate.py reads: the option, how many values it has, and what is known of them. */
static void row_describe(const struct option_row *row)
{
        if (!row->help)
                return;
        printf("option\t%s\t%.1s\t%s\t%s\t%.*s", row->name, row->letter ? &row->letter : "",
               !takes_value(row) ? "none"
               : row->bare       ? "optional"
                                 : "one",
               row->argument ? row->argument : "", (int)strcspn(row->help, "\n"), row->help);
        for (unsigned i = 0; row->choices && row->choices[i]; i++)
                printf("\t%.*s", (int)strcspn(row->choices[i], "|"), row->choices[i]);
        printf("\n");
}

static void options_describe(const struct program *program)
{
        printf("program\t%s\t%s\n", program->name, program->operands);
        for (size_t i = 0; i < program->n_rows; i++)
                row_describe(&program->rows[i]);
        row_describe(&help_row);
        row_describe(&version_row);
}

void options_print_version(const char *name)
{
        printf("%s %s", name, ORIEL_VERSION_STRING);
        if (options_commit && options_commit[0])
                printf(" (%s)", options_commit);
        printf("\n");
}

int options_wrong_usage(const struct program *program, const char *format, ...)
{
        char text[256];
        va_list args;

        va_start(args, format);
        vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        report("%s (see %s --help)", text, program->name);
        return STATUS_USAGE;
}

static void make_options(const struct program *program, struct option *options)
{
        for (size_t i = 0; i < program->n_rows; i++)
                options[i] = (struct option){
                        .name = program->rows[i].name,
                        .has_arg = !takes_value(&program->rows[i]) ? no_argument
                                   : program->rows[i].bare         ? optional_argument
                                                                   : required_argument,
                        .val = (int)i,
                };
        options[program->n_rows] = (struct option){.name = "help", .val = HELP};
        options[program->n_rows + 1] = (struct option){.name = "version", .val = VERSION};
        options[program->n_rows + 2] = (struct option){0};
}

/* Builds the option letters for getopt, such as ":ho:". */
static void make_letters(const struct program *program, char *out, size_t size)
{
        size_t at = (size_t)snprintf(out, size, ":hV");

        for (size_t i = 0; i < program->n_rows && at < size; i++)
                if (program->rows[i].letter)
                        at += (size_t)snprintf(out + at, size - at, "%c%s", program->rows[i].letter,
                                               takes_value(&program->rows[i]) ? ":" : "");
}

/* The row of a result of getopt: an index or a letter. */
static const struct option_row *options_find_row(const struct program *program, int c)
{
        size_t i = (size_t)c;

        if (i >= program->n_rows)
                for (i = 0; program->rows[i].letter != c; i++)
                        ;
        return &program->rows[i];
}

/* -1: all options were parsed. */
static int parse_all(const struct program *program, int argc, char **argv, const struct option *options)
{
        char letters[32];
        int c;

        make_letters(program, letters, sizeof(letters));
        optind = 0;
        while ((c = getopt_long(argc, argv, letters, options, NULL)) >= 0) {
                if (c == 'h' || c == HELP) {
                        options_print_help(program);
                        return STATUS_SUCCESS;
                }
                if (c == 'V' || c == VERSION) {
                        options_print_version(program->name);
                        return STATUS_SUCCESS;
                }
                if (c == ':')
                        return options_wrong_usage(program, "%s needs a value", argv[optind - 1]);
                if (c == '?')
                        return options_wrong_usage(program, "%s is not an option, or takes no value", argv[optind - 1]);

                const struct option_row *row = options_find_row(program, c);

                char wanted[128];

                if (!option_set(row, optarg))
                        return options_wrong_usage(program, "--%s: '%s' is not %s", row->name, optarg,
                                                   option_expected(row, wanted, sizeof(wanted)));
        }
        return -1;
}

int options_parse(const struct program *program, int argc, char **argv, char ***operands)
{
        _cleanup_(freep) struct option *options = calloc(program->n_rows + 3, sizeof(*options));

        if (argc == 2 && strcmp(argv[1], OPTION_DESCRIBE) == 0) {
                options_describe(program);
                return STATUS_SUCCESS;
        }
        if (!options)
                return fail("out of memory");
        make_options(program, options);

        int status = parse_all(program, argc, argv, options), n = argc - optind;

        if (status >= 0)
                return status;
        if (n < program->min_operands)
                return options_wrong_usage(program, "%s is missing", program->operands);
        if (n > program->max_operands)
                return options_wrong_usage(program, "'%s' is one argument too many",
                                           argv[optind + program->max_operands]);
        if (operands)
                *operands = argv + optind;
        return -1;
}
