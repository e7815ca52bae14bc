/* SPDX-License-Identifier: BSD-2-Clause */
#include "trace/page.h"
#include "base/cleanup.h"
#include "trace/recording.h"

#include <errno.h>
#include <stdbool.h>

/* Built from trace/page. */
extern const char page_head[], page_foot[];

void page_begin(FILE *file)
{
        fputs(page_head, file);
}

/* The data must not be taken for markup: in JSON, '<' occurs only inside strings. */
void page_line(FILE *file, const char *json)
{
        for (; *json; json++)
                if (*json == '<')
                        fputs("\\u003c", file);
                else
                        putc(*json, file);
        putc('\n', file);
}

void page_end(FILE *file)
{
        fputs(page_foot, file);
}

int page_render(FILE *recording, FILE *file, struct complaint *why)
{
        _cleanup_(freep) char *line = NULL;
        size_t size = 0;
        ssize_t n;
        unsigned long number = 0, records = 0;

        page_begin(file);
        while ((n = getline(&line, &size, recording)) > 0) {
                bool whole = line[n - 1] == '\n';
                struct complaint what;

                number++;
                if (whole)
                        line[--n] = '\0';

                int r = recording_check(line, (size_t)n, &what);

                if (r == 0) {
                        page_line(file, line);
                        records++;
                } else if (r != -EPROTO)
                        return r;
                else if (whole) {
                        complain(why, "line %lu is not one that oriel trace --json writes: %s", number, what.text);
                        return -EPROTO;
                }
        }
        page_end(file);
        if (ferror(recording))
                return -EIO;
        return records ? 0 : -ENODATA;
}
