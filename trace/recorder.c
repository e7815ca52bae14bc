/* SPDX-License-Identifier: BSD-2-Clause */

/* The thread that writes the trace, so that neither files nor formatting delay the relay. It takes all records there
 * are from the record log, feeds each to the tracker (which matches replies to requests) and writes it as text, JSON
 * or into the page; every record is flushed. The log, which has a lock, is all that both threads share: tracker and
 * files belong to the recorder's thread until recorder_finish() has joined it. Output files stay the caller's. */

#include "trace/recorder.h"
#include "base/cleanup.h"
#include "program/printable.h"
#include "trace/page.h"

#include <errno.h>
#include <json.h>
#include <string.h>

/* Large enough for the longest record, except with extreme file names. */
#define BUFFER_SIZE (128 << 10)

struct recorder {
        struct recorder_options options;
        struct setting setting;
        char *listen, *connect;
        struct record_log log;
        struct tracker *tracker;
        unsigned session;
        pthread_t thread;
};

static void recorder_write_json(struct recorder *recorder, const struct trace_event *event)
{
        struct json_object *object = output_json(&recorder->setting, recorder->tracker, event);
        const char *line =
                json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);

        if (object && recorder->options.json)
                fprintf(recorder->options.out, "%s\n", line);
        if (object && recorder->options.page)
                page_line(recorder->options.page, line);
        json_object_put(object);
}

static void write_record(struct recorder *recorder, const struct record *record)
{
        struct trace_event event;

        /* The record of the session's start may have been lost. */
        if (record->session != recorder->session) {
                recorder->session = record->session;
                recorder->setting.began_ns = record->at_ns;
        }
        tracker_see(recorder->tracker, record, &event);
        if (recorder->options.json || recorder->options.page)
                recorder_write_json(recorder, &event);
        if (!recorder->options.json)
                output_text(recorder->options.out, &recorder->setting, recorder->tracker, &event);
        /* A reader that follows the file, or looks after a crash, finds whole lines. */
        fflush(recorder->options.out);
        if (recorder->options.page)
                fflush(recorder->options.page);
}

static void *recorder_run(void *userdata)
{
        struct recorder *recorder = userdata;
        struct record *record;

        while ((record = record_log_take(&recorder->log))) {
                while (record) {
                        struct record *next = record->next;

                        write_record(recorder, record);
                        record_log_done(&recorder->log, record);
                        record = next;
                }
        }
        return NULL;
}

static void recorder_free(struct recorder *recorder)
{
        record_log_destroy(&recorder->log);
        tracker_free(recorder->tracker);
        free(recorder->listen);
        free(recorder->connect);
        free(recorder);
}

static char *printable_copy(const char *text)
{
        char *copy = strdup(text);

        if (copy)
                make_printable(copy);
        return copy;
}

int recorder_start(const struct recorder_options *options, struct recorder **out)
{
        struct recorder *recorder = calloc(1, sizeof(*recorder));

        if (!recorder)
                return -ENOMEM;
        recorder->options = *options;
        recorder->listen = printable_copy(options->listen);
        recorder->connect = printable_copy(options->connect);
        recorder->setting =
                (struct setting){.listen = recorder->listen, .connect = recorder->connect, .naming = options->naming};
        recorder->tracker = tracker_new(options->naming.dialect);
        record_log_init(&recorder->log);
        if (!recorder->listen || !recorder->connect || !recorder->tracker) {
                recorder_free(recorder);
                return -ENOMEM;
        }
        setvbuf(options->out, NULL, _IOFBF, BUFFER_SIZE);
        if (options->page) {
                setvbuf(options->page, NULL, _IOFBF, BUFFER_SIZE);
                page_begin(options->page);
        }

        int r = -pthread_create(&recorder->thread, NULL, recorder_run, recorder);

        if (r < 0) {
                recorder_free(recorder);
                return r;
        }
        *out = recorder;
        return 0;
}

struct record_log *recorder_log(struct recorder *recorder)
{
        return &recorder->log;
}

static int finish_file(FILE *file)
{
        return fflush(file) != 0 || ferror(file) ? -EIO : 0;
}

int recorder_finish(struct recorder *recorder)
{
        int r;

        record_log_close(&recorder->log);
        pthread_join(recorder->thread, NULL);
        r = finish_file(recorder->options.out);
        if (recorder->options.page) {
                page_end(recorder->options.page);
                r = finish_file(recorder->options.page) < 0 ? -EIO : r;
        }
        recorder_free(recorder);
        return r;
}
