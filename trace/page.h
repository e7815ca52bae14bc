/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TRACE_PAGE_H
#define TRACE_PAGE_H

#include "protocol/message.h"

#include <stdio.h>

/* The HTML page: its head, then the JSON lines, then its foot. A browser shows the part that is there at any time, so a
 * page without its foot is readable too. */

void page_begin(FILE *file);
/* One JSON object in one line, without the line's end. */
void page_line(FILE *file, const char *json);
void page_end(FILE *file);

/* Makes a page from a recording: 0, -EPROTO and @why, which names the line, -ENODATA: it has no record, or another
 * negative errno. The last line may be incomplete, as after a tracer that was killed, and is then left out. */
int page_render(FILE *recording, FILE *file, struct complaint *why);

#endif
