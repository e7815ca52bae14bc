/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TRACE_PAGE_H
#define TRACE_PAGE_H

#include "protocol/message.h"

#include <stdio.h>

/* The HTML page: its head, then the JSON lines, then its foot. A browser shows what is there of it at any time, so a
 * page whose foot is missing can be read too. */

void page_begin(FILE *file);
/* One JSON object in one line, without the line's end. */
void page_line(FILE *file, const char *json);
void page_end(FILE *file);

/* From a recording: 0, -EPROTO and @why, which names the line, -ENODATA: there is no record in it, or another negative
 * errno. The last line may be cut off, as it is where the tracer was killed: it is left out. */
int page_render(FILE *recording, FILE *file, struct complaint *why);

#endif
