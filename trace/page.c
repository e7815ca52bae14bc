/* SPDX-License-Identifier: BSD-2-Clause */
#include "trace/page.h"
#include "base/cleanup.h"

#include <errno.h>
#include <json.h>
#include <stdbool.h>
#include <string.h>

/* Made of trace/page at build time. */
extern const char page_head[], page_foot[];

void page_begin(FILE *file)
{
        fputs(page_head, file);
}

/* Nothing in the data may look like markup: in JSON, '<' is found inside strings only. */
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

static bool is_record(const char *line)
{
        struct json_object *object = json_tokener_parse(line), *type;
        bool yes = object && json_object_is_type(object, json_type_object) &&
                   json_object_object_get_ex(object, "type", &type) && json_object_is_type(type, json_type_string);

        json_object_put(object);
        return yes;
}

long page_render(FILE *recording, FILE *file)
{
        _cleanup_(freep) char *line = NULL;
        size_t size = 0;
        ssize_t n;
        long number = 0;

        page_begin(file);
        while ((n = getline(&line, &size, recording)) > 0) {
                bool whole = line[n - 1] == '\n';

                number++;
                if (whole)
                        line[n - 1] = '\0';
                if (is_record(line))
                        page_line(file, line);
                else if (whole)
                        return number;
        }
        page_end(file);
        if (ferror(recording))
                return -EIO;
        return number ? 0 : -ENODATA;
}
