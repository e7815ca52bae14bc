/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef PROGRAM_OPTIONS_H
#define PROGRAM_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

/* Command lines as a table: the same rows parse and make --help. */

enum option_kind {
        OPTION_FLAG,   /* bool */
        OPTION_CLEAR,  /* bool, which becomes false */
        OPTION_STRING, /* const char *, points into argv */
        OPTION_NUMBER, /* unsigned */
        OPTION_SIZE,   /* uint64_t, bytes; with a suffix K, M, G or T */
        OPTION_LIST,   /* struct option_list: the option may be repeated */
        OPTION_CHOICE, /* unsigned: the index of the value in the row's choices */
};

#define OPTION_LIST_MAX 248 /* enough for one per function of a PCI bus */

/* The values point into argv. */
struct option_list {
        const char *values[OPTION_LIST_MAX];
        unsigned n;
};

struct option_row {
        const char *name; /* without the dashes */
        enum option_kind kind;
        void *target;               /* of the type given by @kind; holds the default */
        const char *argument;       /* how --help names it; NULL for a flag */
        const char *help;           /* NULL: --help does not name it */
        const char *const *choices; /* NULL-terminated; "|" separates synonyms within one, case is ignored */
        const char *bare;           /* the value if the option has no argument; NULL: an argument is required */
        char letter;                /* -o is the same option; 0: there is none */
};

struct program {
        const char *name;     /* "oriel probe" */
        const char *operands; /* "SOCKET", or "" */
        const char *summary;  /* one sentence and more for --help */
        const struct option_row *rows;
        size_t n_rows;
        int min_operands;
        int max_operands;
};

/* The only argument: prints the table for completions/generate.py. Not for users, so --help does not name it. */
#define OPTION_DESCRIBE "--describe-options"

/* Parses @argv, whose first element is skipped. Returns -1 and @operands, NULL-terminated, if the program is to
 * continue; else the exit status: --help, --version or OPTION_DESCRIBE was answered, or an error was reported in one
 * line on stderr. */
int options_parse(const struct program *program, int argc, char **argv, char ***operands);

/* What the program was built of, by tools/commit, or "" where that is not known. NULL in programs without commit.c. */
extern const char options_commit[] __attribute__((weak));

/* Prints the line of --version: the name, the version, and the commit where that is known. */
void options_print_version(const char *name);

/* Reports the usage error, followed by "(see PROGRAM --help)". Returns STATUS_USAGE. */
int options_wrong_usage(const struct program *program, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Parses the parts of one option's value: "NAME=VALUE", or NAME for a flag, separated by commas (two commas are one in
 * a value). With @leading the value of the first row may come first without its name. False: @why has the error. The
 * strings are in @storage, a copy of @text of at least strlen(text) + 1 bytes. */
bool option_parts_parse(const struct option_row *rows, size_t n_rows, bool leading, const char *text, char *storage,
                        char *why, size_t why_size);

#endif
