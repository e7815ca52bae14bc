/* SPDX-License-Identifier: BSD-2-Clause */

/* The trace for a terminal: one line for each record, as a diagram with the front-end on the left, and further lines
 * for descriptors and for the tracker's notes. Payloads come in words (words.c); times are since the trace began, and
 * of an answer since its request. */

#include "trace/output.h"

#include <inttypes.h>

/* Prints " 1203 back-end front-end <- back-end ". The front-end is always on the left, as in a diagram. */
static void put_prefix(FILE *file, const struct setting *setting, const struct record *record)
{
        char channel[24];

        words_of_channel(record->channel, channel, sizeof(channel));
        fprintf(file, "%10" PRId64 " %-9s front-end %s back-end  ", (record->at_ns - setting->began_ns) / 1000, channel,
                record->from == SIDE_FRONTEND ? "->" : "<-");
}

static void put_more(FILE *file, const char *what, const char *text)
{
        fprintf(file, "%10s %s%s\n", "", what, text);
}

static void put_fds(FILE *file, const struct record *record)
{
        for (unsigned i = 0; record->fds && i < record->n_fds; i++) {
                char label[24], words[DESCRIBE_NAME_MAX + 128];

                snprintf(label, sizeof(label), "fd %u: ", i);
                words_of_fd(&record->fds[i], words, sizeof(words));
                put_more(file, label, words);
        }
        if (!record->fds && record->n_fds)
                put_more(file, "fds: ", "not described for want of memory");
}

static void put_message(FILE *file, const struct setting *setting, const struct trace_event *event)
{
        const struct record *record = event->record;
        char words[WORDS_SIZE];

        words_of_payload(&setting->naming, event, words, sizeof(words));
        put_prefix(file, setting, record);
        fprintf(file, "#%u %s", event->number, event->name);
        if (event->reply)
                fprintf(file, " reply");
        else if (record->header.flags & ORIEL_FLAG_NEED_REPLY)
                fprintf(file, " need_reply");
        if (event->answers)
                fprintf(file, " to #%u after %" PRId64 " us", event->answers, event->latency_ns / 1000);
        if (record->n_fds)
                fprintf(file, ", %u fd%s", record->n_fds, record->n_fds == 1 ? "" : "s");
        fprintf(file, "%s%s\n", words[0] ? ": " : "", words);
        put_fds(file, record);
        for (unsigned i = 0; i < event->n_notes; i++)
                put_more(file, "! ", event->notes[i].text);
}

static void put_session_end(FILE *file, const struct setting *setting, const struct tracker *tracker,
                            const struct record *record)
{
        const char *name;
        unsigned number;

        for (unsigned i = 0; (number = tracker_unanswered(tracker, i, &name)); i++) {
                char text[96];

                snprintf(text, sizeof(text), "#%u %s was never answered", number, name);
                put_more(file, "! ", text);
        }
        fprintf(file, "session %u ended after %" PRId64 " us\n", record->session,
                (record->at_ns - setting->began_ns) / 1000);
}

void output_text(FILE *file, const struct setting *setting, const struct tracker *tracker,
                 const struct trace_event *event)
{
        const struct record *record = event->record;

        switch (record->kind) {
        case RECORD_SESSION:
                fprintf(file, "session %u: %s <-> %s\n", record->session, setting->listen, setting->connect);
                break;
        case RECORD_MESSAGE:
                put_message(file, setting, event);
                break;
        case RECORD_RAW:
                put_prefix(file, setting, record);
                fprintf(file, "not vhost-user from here on, passed on unread: %s\n", record->note.text);
                break;
        case RECORD_END:
                put_prefix(file, setting, record);
                fprintf(file, "ended after %" PRIu64 " bytes%s%s\n", record->bytes, record->note.text[0] ? ": " : "",
                        record->note.text);
                break;
        case RECORD_SESSION_END:
                put_session_end(file, setting, tracker, record);
                break;
        case RECORD_LOST:
                fprintf(file, "%10s ! %u records are missing here: the output was not taken in time\n", "",
                        record->header.size);
                break;
        }
}
