/* SPDX-License-Identifier: BSD-2-Clause */
#include "conform/common/report.h"
#include "program/outfile.h"

#include <errno.h>
#include <json.h>
#include <stdio.h>

void report_begin(unsigned n)
{
        printf("TAP version 13\n1..%u\n", n);
        fflush(stdout);
}

void report_bail_out(const char *why)
{
        printf("Bail out! %s\n", why);
        fflush(stdout);
}

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

void report_case(const struct trial *trial, unsigned number, enum verdict verdict)
{
        printf("%s %u - %s", verdict == FAILED ? "not ok" : "ok", number, trial->row->name);
        if (verdict == SKIPPED)
                printf(" # SKIP %s", trial->got);
        printf("\n");
        if (verdict == FAILED || (verdict == PASSED && (trial->got[0] || trial->n_measures > 0)))
                print_block(trial, verdict);
        fflush(stdout);
}

struct json_object *report_json_begin(const char *suite, const char *peer)
{
        struct json_object *report = json_object_new_object();

        json_object_object_add(report, "suite", json_object_new_string(suite));
        json_object_object_add(report, "peer", json_object_new_string(peer));
        json_object_object_add(report, "cases", json_object_new_array());
        return report;
}

void report_json_case(struct json_object *report, const struct trial *trial, enum verdict verdict)
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

int report_json_end(struct json_object *report, struct outfile *out)
{
        int r = outfile_begin(out);

        if (r == 0)
                r = json_object_to_fd(fileno(out->file), report, JSON_C_TO_STRING_PRETTY) < 0 ? -errno : 0;

        json_object_put(report);
        return r;
}
