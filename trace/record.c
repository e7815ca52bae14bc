/* SPDX-License-Identifier: BSD-2-Clause */

/* The list of records between the relay's thread, which appends to it and never waits, and the recorder's, which takes
 * all of it at once. One lock covers the list. Each record counts by the memory that it takes, with the names of its
 * descriptors, from put until done; what goes beyond LIMIT is not kept but counted, and one RECORD_LOST with that
 * number precedes the next record that fits. The taker waits GATHER_NS before it takes, so that it is not woken for
 * every message. */

#include "trace/record.h"
#include "base/cleanup.h"

#include <string.h>
#include <time.h>

/* Bound on memory while the output is not read. */
#define LIMIT (UINT64_C(64) << 20)

/* Upper bound of malloc()'s overhead per block. */
#define PER_BLOCK 32

/* Time to gather records before taking them: a wake-up for each message would take CPU time from the peers. */
#define GATHER_NS (2 * 1000 * 1000)

struct record *record_new(enum record_kind kind, const void *payload, uint32_t payload_bytes)
{
        struct record *record = calloc(1, sizeof(*record) + payload_bytes);

        if (!record)
                return NULL;
        record->kind = kind;
        record->payload_bytes = payload_bytes;
        if (payload_bytes)
                memcpy(record->payload, payload, payload_bytes);
        return record;
}

void record_free(struct record *record)
{
        if (!record)
                return;
        for (unsigned i = 0; record->fds && i < record->n_fds; i++)
                description_clear(&record->fds[i]);
        free(record->fds);
        free(record);
}

void record_log_init(struct record_log *log)
{
        *log = (struct record_log){.first = NULL};
        log->last = &log->first;
        pthread_mutex_init(&log->lock, NULL);
        pthread_cond_init(&log->filled, NULL);
}

void record_log_destroy(struct record_log *log)
{
        while (log->first) {
                struct record *record = log->first;

                log->first = record->next;
                record_free(record);
        }
        pthread_cond_destroy(&log->filled);
        pthread_mutex_destroy(&log->lock);
}

static size_t record_weight(const struct record *record)
{
        size_t bytes = sizeof(*record) + record->payload_bytes + PER_BLOCK;

        if (!record->fds)
                return bytes;
        bytes += record->n_fds * sizeof(record->fds[0]) + PER_BLOCK;
        for (unsigned i = 0; i < record->n_fds; i++)
                if (record->fds[i].name)
                        bytes += strlen(record->fds[i].name) + 1 + PER_BLOCK;
        return bytes;
}

static void record_append(struct record_log *log, struct record *record)
{
        record->next = NULL;
        *log->last = record;
        log->last = &record->next;
        record->weight = record_weight(record);
        log->bytes += record->weight;
}

/* Appends a record that tells the reader where records are missing. */
static bool append_loss(struct record_log *log)
{
        struct record *loss = record_new(RECORD_LOST, NULL, 0);

        if (!loss)
                return false;
        loss->session = log->lost_session;
        loss->at_ns = log->lost_at_ns;
        loss->header.size = log->lost;
        log->lost = 0;
        record_append(log, loss);
        return true;
}

static void record_lose(struct record_log *log, const struct record *record)
{
        log->lost++;
        if (!record)
                return;
        log->lost_session = record->session;
        log->lost_at_ns = record->at_ns;
}

void record_log_put(struct record_log *log, struct record *record)
{
        pthread_mutex_lock(&log->lock);

        bool was_empty = !log->first, fits = record && log->bytes + record_weight(record) <= LIMIT;

        if (fits && log->lost)
                fits = append_loss(log);
        if (fits)
                record_append(log, steal(record));
        else
                record_lose(log, record);
        pthread_mutex_unlock(&log->lock);
        if (was_empty)
                pthread_cond_signal(&log->filled);
        record_free(record);
}

struct record *record_log_take(struct record_log *log)
{
        const struct timespec gather = {0, GATHER_NS};
        struct record *taken;

        pthread_mutex_lock(&log->lock);
        while (!log->first && !log->closed)
                pthread_cond_wait(&log->filled, &log->lock);
        if (!log->closed) {
                pthread_mutex_unlock(&log->lock);
                nanosleep(&gather, NULL);
                pthread_mutex_lock(&log->lock);
        }
        taken = log->first;
        log->first = NULL;
        log->last = &log->first;
        pthread_mutex_unlock(&log->lock);
        return taken;
}

void record_log_done(struct record_log *log, struct record *record)
{
        log->bytes -= record->weight;
        record_free(record);
}

void record_log_close(struct record_log *log)
{
        pthread_mutex_lock(&log->lock);
        log->closed = true;
        if (log->lost)
                append_loss(log);
        pthread_mutex_unlock(&log->lock);
        pthread_cond_signal(&log->filled);
}
