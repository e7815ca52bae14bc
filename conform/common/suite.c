/* SPDX-License-Identifier: BSD-2-Clause */

/* Runs a suite of conformance cases: chooses those that --only names, lets the suite's own function try each, and
 * reports as TAP and JSON. A verdict is made by passes(), fails() or skips(), which store its reason in trial->got;
 * expect() compares the answer of a peer with the set that is allowed, and adds a remark only where another answer
 * would have been right too. A case during which the user interrupts is not reported, and the plan ends with a
 * bail-out. */

#include "conform/common/suite.h"
#include "conform/common/process.h"
#include "program/outfile.h"
#include "program/report.h"
#include "program/signals.h"

#include <errno.h>
#include <fnmatch.h>
#include <json.h>
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
                /* Worth a remark only where another answer was allowed too. */
                if ((allowed & (BIT(DONE) | BIT(REFUSED))) == (BIT(DONE) | BIT(REFUSED)) || got == CLOSED)
                        return passes(trial, "%s", name);
                return PASSED;
        }
        return fails(trial, "%s: %s%s%s", what, name, trial->why[0] ? ": " : "", trial->why);
}

/* ---- TAP version 13 on standard output, each line as soon as its result is known ---- */

/* A double-quoted scalar of YAML. */
static void print_scalar(const char *key, const char *text)
{
        printf("  %s: \"", key);
        for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
                if (*c == '"' || *c == '\\')
                        printf("\\%c", *c);
                else if (*c < 0x20)
                        printf("\\x%02x", *c);
                else
                        putchar(*c);
        }
        printf("\"\n");
}

static void print_block(const struct trial *trial, enum verdict verdict)
{
        printf("  ---\n");
        if (verdict == FAILED) {
                print_scalar("section", trial->row->section);
                print_scalar("sent", trial->row->sends);
                print_scalar("expected", trial->row->expects);
        }
        if (trial->got[0])
                print_scalar("got", trial->got);
        for (unsigned i = 0; i < trial->n_measures; i++)
                printf("  %s: %.1f\n", trial->measures[i].name, trial->measures[i].value);
        printf("  ...\n");
}

static void report_case(const struct trial *trial, unsigned number, enum verdict verdict)
{
        printf("%s %u - %s", verdict == FAILED ? "not ok" : "ok", number, trial->row->name);
        if (verdict == SKIPPED)
                printf(" # SKIP %s", trial->got);
        printf("\n");
        if (verdict == FAILED || (verdict == PASSED && (trial->got[0] || trial->n_measures > 0)))
                print_block(trial, verdict);
        fflush(stdout);
}

/* ---- as one JSON object ---- */

/* {"suite", "peer", "about", "cases": [{"name", "section", "expects", "result", "got", "measures"}]} */
static struct json_object *begin_json(const struct suite *suite, const char *peer)
{
        struct json_object *report = json_object_new_object();

        json_object_object_add(report, "suite", json_object_new_string(suite->name));
        json_object_object_add(report, "peer", json_object_new_string(peer));
        json_object_object_add(report, "about", json_object_new_string(suite->about ? suite->about : ""));
        json_object_object_add(report, "cases", json_object_new_array());
        return report;
}

static void add_json_case(struct json_object *report, const struct trial *trial, enum verdict verdict)
{
        static const char *const results[] = {[PASSED] = "pass", [FAILED] = "fail", [SKIPPED] = "skip"};
        struct json_object *row = json_object_new_object(), *measures = json_object_new_object();

        for (unsigned i = 0; i < trial->n_measures; i++)
                json_object_object_add(measures, trial->measures[i].name,
                                       json_object_new_double(trial->measures[i].value));
        json_object_object_add(row, "name", json_object_new_string(trial->row->name));
        json_object_object_add(row, "section", json_object_new_string(trial->row->section));
        json_object_object_add(row, "expects", json_object_new_string(trial->row->expects));
        json_object_object_add(row, "result", json_object_new_string(results[verdict]));
        json_object_object_add(row, "got", json_object_new_string(trial->got));
        json_object_object_add(row, "measures", measures);
        json_object_array_add(json_object_object_get(report, "cases"), row);
}

/* Frees the report. 0 or a negative errno. */
static int suite_write_json(struct json_object *report, struct outfile *out)
{
        int r = outfile_begin(out);

        if (r == 0)
                r = json_object_to_fd(fileno(out->file), report, JSON_C_TO_STRING_PRETTY) < 0 ? -errno : 0;

        json_object_put(report);
        return r;
}

/* ---- running ---- */

static bool suite_wanted(const struct conform_options *options, const struct conform_case *row)
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
                        n += suite_wanted(options, &suite->groups[g].cases[i]);
        return n;
}

struct suite_run {
        const struct suite *suite;
        const struct conform_options *options;
        struct trial *trial;
        struct json_object *json;
        unsigned number;
        unsigned failed;
};

static void run_case(struct suite_run *run, const struct conform_case *row)
{
        struct trial *trial = run->trial;

        trial->row = row;
        trial->index = run->number++;
        trial->got[0] = '\0';
        trial->n_measures = 0;

        enum verdict verdict = run->suite->run(trial);

        if (signals_noted())
                return;
        run->failed += verdict == FAILED;
        report_case(trial, run->number, verdict);
        if (run->json)
                add_json_case(run->json, trial, verdict);
}

static void run_cases(struct suite_run *run)
{
        for (size_t g = 0; g < run->suite->n_groups; g++)
                for (size_t i = 0; i < run->suite->groups[g].n; i++) {
                        if (signals_noted())
                                return;
                        if (suite_wanted(run->options, &run->suite->groups[g].cases[i]))
                                run_case(run, &run->suite->groups[g].cases[i]);
                }
}

int suite_run(const struct suite *suite, const struct conform_options *options, struct trial *trial)
{
        struct suite_run run = {.suite = suite, .options = options, .trial = trial};
        unsigned n = count_wanted(suite, options);

        if (n == 0)
                return fail("--only: no case has a name like '%s'", options->only);
        if (options->json)
                run.json = begin_json(suite, options->name);
        printf("TAP version 13\n1..%u\n", n);
        if (suite->about)
                printf("# %s\n", suite->about);
        fflush(stdout);
        run_cases(&run);
        if (signals_noted())
                printf("Bail out! interrupted\n");
        fflush(stdout);
        if (run.json) {
                int r = suite_write_json(run.json, options->json);

                if (r < 0)
                        return fail("%s: %s", options->json->path, strerror(-r));
        }
        return run.failed > 0 || signals_noted() ? STATUS_FAILURE : STATUS_SUCCESS;
}
