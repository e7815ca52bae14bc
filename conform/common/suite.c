/* SPDX-License-Identifier: BSD-2-Clause */

/* Runs a suite of conformance cases: chooses those that --only names, lets the suite's own function try each, and
 * reports as TAP and JSON. A verdict is made by passes(), fails() or skips(), which store its reason in trial->got;
 * expect() compares the answer of a peer with the set that is allowed, and adds a remark only where another answer
 * would have been right too. A case during which the user interrupts is not reported, and the plan ends with a
 * bail-out. */

#include "conform/common/suite.h"
#include "conform/common/process.h"
#include "conform/common/report.h"
#include "program/outfile.h"
#include "program/report.h"

#include <fnmatch.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum verdict conclude(struct trial *trial, enum verdict verdict, const char *format, ...)
{
        va_list args;

        va_start(args, format);
        vsnprintf(trial->got, sizeof(trial->got), format, args);
        va_end(args);
        return verdict;
}

void measured(struct trial *trial, const char *name, double value)
{
        if (trial->n_measures < sizeof(trial->measures) / sizeof(trial->measures[0]))
                trial->measures[trial->n_measures++] = (struct measure){name, value};
}

const char *answer_name(enum answer answer)
{
        static const char *const names[] = {
                [DONE] = "accepted",    [UNTOLD] = "not told",
                [REFUSED] = "refused",  [CLOSED] = "closed the connection",
                [SILENT] = "no answer", [BROKEN] = "a wrong answer",
        };

        return names[answer];
}

enum verdict expect(struct trial *trial, const char *what, enum answer got, unsigned allowed)
{
        const char *name = answer_name(got);

        if (BIT(got) & allowed) {
                /* Worth a remark only where another outcome would have been right too. */
                if ((allowed & (BIT(DONE) | BIT(REFUSED))) == (BIT(DONE) | BIT(REFUSED)) || got == CLOSED)
                        return passes(trial, "%s", name);
                return PASSED;
        }
        return fails(trial, "%s: %s%s%s", what, name, trial->why[0] ? ": " : "", trial->why);
}

static bool wanted(const struct conform_options *options, const struct conform_case *row)
{
        return !options->only || fnmatch(options->only, row->name, FNM_EXTMATCH) == 0;
}

int suite_list(const struct suite *suite)
{
        for (size_t g = 0; g < suite->n_groups; g++)
                for (size_t i = 0; i < suite->groups[g].n; i++) {
                        const struct conform_case *row = &suite->groups[g].cases[i];

                        printf("%s\n  section:  %s\n  sends:    %s\n  expects:  %s\n", row->name, row->section,
                               row->sends, row->expects);
                }
        return STATUS_SUCCESS;
}

static unsigned count_wanted(const struct suite *suite, const struct conform_options *options)
{
        unsigned n = 0;

        for (size_t g = 0; g < suite->n_groups; g++)
                for (size_t i = 0; i < suite->groups[g].n; i++)
                        n += wanted(options, &suite->groups[g].cases[i]);
        return n;
}

struct run {
        const struct suite *suite;
        const struct conform_options *options;
        struct trial *trial;
        struct json_object *json;
        unsigned number;
        unsigned failed;
};

static void run_case(struct run *run, const struct conform_case *row)
{
        struct trial *trial = run->trial;

        trial->row = row;
        trial->index = run->number++;
        trial->got[0] = '\0';
        trial->n_measures = 0;

        enum verdict verdict = run->suite->run(trial);

        if (process_interrupted())
                return;
        run->failed += verdict == FAILED;
        report_case(trial, run->number, verdict);
        if (run->json)
                report_json_case(run->json, trial, verdict);
}

static void run_cases(struct run *run)
{
        for (size_t g = 0; g < run->suite->n_groups; g++)
                for (size_t i = 0; i < run->suite->groups[g].n; i++) {
                        if (process_interrupted())
                                return;
                        if (wanted(run->options, &run->suite->groups[g].cases[i]))
                                run_case(run, &run->suite->groups[g].cases[i]);
                }
}

int suite_run(const struct suite *suite, const struct conform_options *options, struct trial *trial)
{
        struct run run = {.suite = suite, .options = options, .trial = trial};
        unsigned n = count_wanted(suite, options);

        if (n == 0)
                return fail("--only: no case has a name like '%s'", options->only);
        if (options->json)
                run.json = report_json_begin(suite->name, options->name);
        report_begin(n);
        run_cases(&run);
        if (process_interrupted())
                report_bail_out("interrupted");
        if (run.json) {
                int r = report_json_end(run.json, options->json);

                if (r < 0)
                        return fail("%s: %s", options->json->path, strerror(-r));
        }
        return run.failed > 0 || process_interrupted() ? STATUS_FAILURE : STATUS_SUCCESS;
}
