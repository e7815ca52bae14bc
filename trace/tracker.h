/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TRACE_TRACKER_H
#define TRACE_TRACKER_H

#include "trace/record.h"

/* The meaning of a recorded message in its session: negotiated features, the request that a reply belongs to,
 * violations of the rules. Needs only the records, in order. */

#define EVENT_NOTES 6

struct trace_event {
        const struct record *record;
        unsigned number;  /* of the message in its session, from 1 */
        const char *name; /* the row's; "request 99" without one */
        char unknown[32];
        bool reply;
        const struct oriel_message_row *row; /* NULL: the specification has none */
        enum oriel_payload payload;          /* the form by which the payload is read */
        bool acknowledges;                   /* a reply that is only an acknowledgement */
        uint64_t result;                     /* of an acknowledgement: 0, or an error */
        unsigned answers;                    /* the number of the request; 0: unknown */
        int64_t latency_ns;                  /* of a reply: time since that request */
        struct complaint notes[EVENT_NOTES];
        unsigned n_notes;
};

struct tracker;

/* @dialect: the peers' numbering of protocol features; NULL: the standard. NULL for want of memory. */
struct tracker *tracker_new(const struct oriel_dialect *dialect);
void tracker_free(struct tracker *tracker);

/* The next record. Explains a message in @event, whose pointers are valid as long as @record. */
void tracker_see(struct tracker *tracker, const struct record *record, struct trace_event *event);

/* Requests of this session whose reply is due and has not come, on all channels: the number of the @index-th, and its
 * name; 0: there are no more. */
unsigned tracker_unanswered(const struct tracker *tracker, unsigned index, const char **name);

#endif
