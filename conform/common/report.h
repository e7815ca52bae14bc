/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CONFORM_COMMON_REPORT_H
#define CONFORM_COMMON_REPORT_H

#include "conform/common/suite.h"

struct json_object;

/* TAP version 13 on standard output, each line as soon as it is known. */
void report_begin(unsigned n);
void report_case(const struct trial *trial, unsigned number, enum verdict verdict);
void report_bail_out(const char *why);

/* The same as one JSON object: {"suite", "peer", "cases": [{"name", "section", "result", "got", "measures"}]}. */
struct json_object *report_json_begin(const char *suite, const char *peer);
void report_json_case(struct json_object *report, const struct trial *trial, enum verdict verdict);
/* Written to @out, and freed. 0 or a negative errno. */
int report_json_end(struct json_object *report, struct outfile *out);

#endif
