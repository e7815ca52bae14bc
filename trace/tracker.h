/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TRACE_TRACKER_H
#define TRACE_TRACKER_H

#include "trace/record.h"

/* What a recorded message means in its session: what was agreed on, which request a reply answers, what breaks the
 * rules. Needs only the records, in order. */

#define EVENT_NOTES 6

struct event {
        const struct record *record;
        unsigned number;  /* of the message in its session, from 1 */
        const char *name; /* the row's; "request 99" where there is none */
        char unknown[32];
        bool reply;
        const struct oriel_message_row *row; /* NULL: the specification has none */
        enum oriel_payload payload;          /* what the payload is to be read as */
        bool acknowledges;                   /* a reply that only says whether it went well */
        uint64_t result;                     /* then: 0, or why not */
        unsigned answers;                    /* the number of the request; 0: none is known */
        int64_t latency_ns;                  /* then: since that request */
        struct complaint notes[EVENT_NOTES];
        unsigned n_notes;
};

struct tracker;

/* @dialect: the peers' numbering of protocol features; NULL: the standard. NULL for want of memory. */
struct tracker *tracker_new(const struct oriel_dialect *dialect);
void tracker_free(struct tracker *tracker);

/* The next record. A message is explained in @event, whose pointers last as long as @record. */
void tracker_see(struct tracker *tracker, const struct record *record, struct event *event);

/* Requests of this session whose reply is due and has not come, by channel: the number of the @index-th, and its name;
 * 0: there are no more. */
unsigned tracker_unanswered(const struct tracker *tracker, unsigned index, const char **name);

#endif
