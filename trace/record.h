/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TRACE_RECORD_H
#define TRACE_RECORD_H

#include "protocol/message.h"
#include "trace/describe.h"

#include <pthread.h>
#include <stdatomic.h>

/* The events that the relay has seen, on their way to the recorder. The relay never waits for it: records that are not
 * taken in time are dropped and counted. */

enum side {
        SIDE_FRONTEND,
        SIDE_BACKEND,
};

enum record_kind {
        RECORD_SESSION, /* a session began */
        RECORD_MESSAGE,
        RECORD_RAW,         /* from here on this direction is not parsed as vhost-user */
        RECORD_END,         /* this direction has ended */
        RECORD_SESSION_END, /* both peers are disconnected */
        RECORD_LOST,        /* records are missing here: count of them in header.size */
};

struct record {
        struct record *next;
        size_t weight; /* its share of the log's limit */
        enum record_kind kind;
        unsigned session;
        unsigned channel; /* 0: the main channel; n: the n-th back-end channel */
        enum side from;
        int64_t at_ns;         /* CLOCK_MONOTONIC; a message: when its last byte was here */
        uint64_t bytes;        /* RECORD_END: passed in this direction */
        struct complaint note; /* an anomaly that the relay found, or "" */
        struct oriel_wire_header header;
        uint32_t header_bytes; /* bytes of the header that arrived: fewer than its size if the stream ended inside it */
        uint32_t payload_bytes;
        unsigned n_fds;
        struct description *fds; /* n_fds of them, or NULL for want of memory */
        uint8_t payload[];
};

/* NULL for want of memory. */
struct record *record_new(enum record_kind kind, const void *payload, uint32_t payload_bytes);
void record_free(struct record *record);

struct record_log {
        pthread_mutex_t lock;
        pthread_cond_t filled;
        struct record *first, **last;
        atomic_size_t bytes; /* of all records that are not done, those that were taken included */
        unsigned lost;       /* since the last record that was kept; session and time of the last lost one: */
        unsigned lost_session;
        int64_t lost_at_ns;
        bool closed;
};

void record_log_init(struct record_log *log);
/* Frees the records that were not taken. */
void record_log_destroy(struct record_log *log);
/* Takes @record; NULL counts as lost. Never waits for the reader. */
void record_log_put(struct record_log *log, struct record *record);
/* Takes all records, as a list that is the caller's; waits until there is one. NULL: closed, and none is left. */
struct record *record_log_take(struct record_log *log);
/* Frees a record that was taken. It counts until then: a slow taker would otherwise hold twice the limit. */
void record_log_done(struct record_log *log, struct record *record);
void record_log_close(struct record_log *log);

#endif
