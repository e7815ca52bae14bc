/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CONFORM_COMMON_SUITE_H
#define CONFORM_COMMON_SUITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A conformance suite as a table: each case is a row, and a function that tries it on the peer. */

#define NO_FEATURE 255
/* Instead of a section: undefined by the specification, but a peer should survive it. */
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
        uint8_t feature;   /* the protocol feature without which the case is skipped */
        uint32_t argument; /* for functions that serve several rows */
        const char *sends;
        const char *expects;
        unsigned allowed; /* the answers, for functions that serve rows with several */
        const void *with; /* for such a function: the data to send, or a function that makes it */
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

/* A measured value, for the report. */
struct measure {
        const char *name;
        double value;
};

/* One case being tried on one peer. */
struct trial {
        const struct conform_case *row;
        unsigned index;
        struct back_end *back_end;   /* one of the two is the peer, */
        struct front_end *front_end; /* the other is NULL */
        const char *why;             /* the peer's complaint about the last answer */
        char got[320];
        struct measure measures[4];
        unsigned n_measures;
};

/* Verdicts with their reason. A pass may have a remark too: "refused" where accepting was allowed as well. */
enum verdict conclude(struct trial *trial, enum verdict verdict, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
#define passes(trial, ...) conclude(trial, PASSED, __VA_ARGS__)
#define fails(trial, ...)  conclude(trial, FAILED, __VA_ARGS__)
#define skips(trial, ...)  conclude(trial, SKIPPED, __VA_ARGS__)
void measured(struct trial *trial, const char *name, double value);

/* The outcome of a request. */
enum answer {
        DONE,    /* acknowledged with 0, or answered with the reply it has */
        UNTOLD,  /* the connection continues, but without REPLY_ACK the result is unknown */
        REFUSED, /* acknowledged with an error, or with the reply that means failure */
        CLOSED,
        SILENT,
        BROKEN, /* an invalid answer */
};
#define BIT(answer) (1u << (answer))
#define ACCEPTED    (BIT(DONE) | BIT(UNTOLD))
#define TURNED_DOWN (BIT(REFUSED) | BIT(CLOSED) | BIT(UNTOLD))
#define EITHER      (ACCEPTED | TURNED_DOWN)

/* Fails unless @got is one of @allowed; trial->why has details. */
enum verdict expect(struct trial *trial, const char *what, enum answer got, unsigned allowed);
const char *answer_name(enum answer answer);

struct outfile;

struct conform_options {
        const char *socket;
        char **command; /* NULL-terminated; NULL: the peer runs already */
        const char *only;
        struct outfile *json; /* NULL: not wanted */
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
        /* Tries trial->row, with the set-up and the checks that every case needs. */
        enum verdict (*run)(struct trial *trial);
        const char *about; /* what the suite shows the peer, or the peer offers; may be NULL */
};

/* Print the cases, or run those that were selected, as TAP. Return the exit status. */
int suite_list(const struct suite *suite);
int suite_run(const struct suite *suite, const struct conform_options *options, struct trial *trial);

/* The two suites. Each returns the exit status. */
int conform_backend(const struct conform_options *options);
int conform_frontend(const struct conform_options *options);

#endif
