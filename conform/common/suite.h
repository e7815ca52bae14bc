/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CONFORM_COMMON_SUITE_H
#define CONFORM_COMMON_SUITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A conformance suite as a table: each case is a row, and a function that tries it on somebody's end. */

#define NO_FEATURE 255
/* In place of a section: what the specification leaves open and a peer should bear nevertheless. */
#define ROBUSTNESS "robustness"

enum verdict {
        PASSED,
        FAILED,
        SKIPPED,
};

struct trial;

struct conform_case {
        const char *name;
        const char *section; /* of the specification, by its title */
        enum verdict (*run)(struct trial *trial);
        uint8_t feature;   /* the protocol feature without which it is skipped */
        uint32_t argument; /* for functions that serve several rows */
        const char *sends;
        const char *expects;
        unsigned allowed; /* the answers, for functions that serve rows with several */
        const void *with; /* what such a function sends, or how it makes that */
};

#define WITH(type, ...)       \
        .with = &(const type) \
        {                     \
                __VA_ARGS__   \
        }

struct conform_group {
        const struct conform_case *cases;
        size_t n;
};
#define GROUP(rows)                    \
        {                              \
                rows, ARRAY_SIZE(rows) \
        }

/* What was measured besides, for the report. */
struct measure {
        const char *name;
        double value;
};

/* One case being tried on one peer. */
struct trial {
        const struct conform_case *row;
        unsigned index;
        struct back_end *back_end;   /* the peer is the one, */
        struct front_end *front_end; /* or the other */
        const char *why;             /* the complaint of that one about the last answer */
        char got[320];
        struct measure measures[4];
        unsigned n_measures;
};

/* Verdicts with their reason. A pass may have a remark too: "refused" where accepting would have been as good. */
enum verdict conclude(struct trial *trial, enum verdict verdict, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
#define passes(trial, ...) conclude(trial, PASSED, __VA_ARGS__)
#define fails(trial, ...)  conclude(trial, FAILED, __VA_ARGS__)
#define skips(trial, ...)  conclude(trial, SKIPPED, __VA_ARGS__)
void measured(struct trial *trial, const char *name, double value);

/* What a request came to. */
enum answer {
        DONE,    /* acknowledged with 0, or answered with the reply it has */
        UNTOLD,  /* it goes on, and without REPLY_ACK there is no knowing how it went */
        REFUSED, /* acknowledged with an error, or with the reply that says no */
        CLOSED,
        SILENT,
        BROKEN, /* answered with what is no answer */
};
#define BIT(answer) (1u << (answer))
#define ACCEPTED    (BIT(DONE) | BIT(UNTOLD))
#define TURNED_DOWN (BIT(REFUSED) | BIT(CLOSED) | BIT(UNTOLD))
#define EITHER      (ACCEPTED | TURNED_DOWN)

/* Fails unless @got, of which trial->why says more, is one of @allowed. */
enum verdict expect(struct trial *trial, const char *what, enum answer got, unsigned allowed);
const char *answer_name(enum answer answer);

struct outfile;

struct conform_options {
        const char *socket;
        char **command; /* NULL-terminated; NULL: the peer runs already */
        const char *only;
        struct outfile *json; /* NULL: none is wanted */
        const char *name;     /* of the peer, for --json */
        const char *log;
        const char *reset;
        unsigned timeout_s;
        unsigned start_timeout_s;
        unsigned virtio_id;
        unsigned queues;
        uint64_t region;
        bool list;
};

struct suite {
        const char *name;
        const struct conform_group *groups;
        size_t n_groups;
        /* Try trial->row, with what it needs before and after. */
        enum verdict (*run)(struct trial *trial);
};

/* Print the cases, or run those asked for, as TAP. Returns the exit status. */
int suite_list(const struct suite *suite);
int suite_run(const struct suite *suite, const struct conform_options *options, struct trial *trial);

/* The two suites. Each returns the exit status. */
int conform_backend(const struct conform_options *options);
int conform_frontend(const struct conform_options *options);

#endif
