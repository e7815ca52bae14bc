/* SPDX-License-Identifier: BSD-2-Clause */

/* Finds the meaning of each recorded message in its session. Requests are kept until their reply comes, in one array
 * for all channels; a reply belongs to the oldest request of its channel with the same number, and its latency is
 * counted from that one. The negotiated features are read from the messages themselves, and each message is checked
 * with src/protocol against its row; violations become notes of the event. After lost records a missing request or
 * reply is no violation. On the recorder's thread; needs nothing but the records, in their order. */

#include "trace/tracker.h"
#include "base/cleanup.h"

#include <stdio.h>
#include <string.h>

/* The most requests that are kept; the oldest is dropped for a further one, and its reply is not matched. */
#define MAX_PENDING 1024

struct tracked_request {
        unsigned number;
        unsigned channel;
        uint32_t id;
        const struct oriel_message_row *row;
        struct agreement agreement; /* when it was sent */
        int64_t at_ns;
        bool due; /* false: a reply may come, but need not */
};

struct tracker {
        const struct oriel_dialect *dialect;
        unsigned session;
        unsigned number;
        struct agreement agreement;
        bool gap; /* records were lost since the last request that was matched */
        struct tracked_request pending[MAX_PENDING];
        unsigned n_pending;
};

struct tracker *tracker_new(const struct oriel_dialect *dialect)
{
        struct tracker *tracker = calloc(1, sizeof(*tracker));

        if (tracker)
                tracker->dialect = dialect;
        return tracker;
}

void tracker_free(struct tracker *tracker)
{
        free(tracker);
}

static struct complaint *new_note(struct trace_event *event)
{
        return &event->notes[event->n_notes < EVENT_NOTES ? event->n_notes++ : EVENT_NOTES - 1];
}

/* ---- requests that wait ---- */

static void remove_pending(struct tracker *tracker, unsigned index)
{
        tracker->n_pending--;
        memmove(&tracker->pending[index], &tracker->pending[index + 1],
                (tracker->n_pending - index) * sizeof(tracker->pending[0]));
}

static void add_pending(struct tracker *tracker, const struct trace_event *event, bool due)
{
        if (tracker->n_pending == MAX_PENDING)
                remove_pending(tracker, 0);
        tracker->pending[tracker->n_pending++] = (struct tracked_request){
                .number = event->number,
                .channel = event->record->channel,
                .id = event->record->header.request,
                .row = event->row,
                .agreement = tracker->agreement,
                .at_ns = event->record->at_ns,
                .due = due,
        };
}

/* The oldest request that this reply can belong to, or n_pending. */
static unsigned find_pending(const struct tracker *tracker, const struct record *record)
{
        unsigned i = 0;

        while (i < tracker->n_pending &&
               (tracker->pending[i].channel != record->channel || tracker->pending[i].id != record->header.request))
                i++;
        return i;
}

/* Replies come in order, so an optional reply to a request before @index won't come any more. */
static void forget_optional(struct tracker *tracker, unsigned channel, unsigned index)
{
        while (index-- > 0)
                if (tracker->pending[index].channel == channel && !tracker->pending[index].due)
                        remove_pending(tracker, index);
}

static const struct tracked_request *oldest_due(const struct tracker *tracker, unsigned channel, unsigned before)
{
        for (unsigned i = 0; i < before; i++)
                if (tracker->pending[i].channel == channel && tracker->pending[i].due)
                        return &tracker->pending[i];
        return NULL;
}

unsigned tracker_unanswered(const struct tracker *tracker, unsigned index, const char **name)
{
        for (unsigned i = 0; i < tracker->n_pending; i++) {
                if (!tracker->pending[i].due || index-- > 0)
                        continue;
                *name = tracker->pending[i].row ? tracker->pending[i].row->name : "a request";
                return tracker->pending[i].number;
        }
        return 0;
}

/* ---- checks ---- */

/* The message for the checks of src/protocol, which need only the number of fds. */
static void make_message(const struct record *record, struct message *message)
{
        uint32_t n = record->payload_bytes < ORIEL_MAX_PAYLOAD ? record->payload_bytes : ORIEL_MAX_PAYLOAD;

        message_init(message, 0, 0);
        message->header = record->header;
        message->n_fds = record->n_fds;
        memcpy(message->payload.bytes, record->payload, n);
        memset(message->payload.bytes + n, 0, ORIEL_MAX_PAYLOAD - n);
}

static bool tracker_is_whole(const struct record *record)
{
        return record->header_bytes == sizeof(record->header) && record->payload_bytes == record->header.size;
}

static void check_flags(struct trace_event *event)
{
        uint32_t flags = event->record->header.flags;
        uint32_t unknown = flags & ~(ORIEL_FLAG_VERSION | ORIEL_FLAG_REPLY | ORIEL_FLAG_NEED_REPLY);

        if (unknown)
                complain(new_note(event), "%s: unknown flags 0x%x are set", event->name, unknown);
}

static void check_request(const struct tracker *tracker, struct trace_event *event, enum oriel_direction direction)
{
        const struct oriel_message_row *row;
        struct complaint complaint = {""};
        struct message message;

        make_message(event->record, &message);
        if (message_check_request(direction, &message, &tracker->agreement, &row, &complaint) != 0)
                *new_note(event) = complaint;
}

/* A request without a row has no reply in the specification; at most an acknowledgement is expected. */
static void check_reply(struct trace_event *event, const struct tracked_request *pending)
{
        struct complaint complaint = {""};
        struct message message;

        if (!pending->row)
                return;
        make_message(event->record, &message);
        if (message_check_reply(pending->row, &message, &pending->agreement, &complaint) != 0)
                *new_note(event) = complaint;
}

/* ---- negotiated features ---- */

static uint64_t payload_u64(const struct record *record)
{
        uint64_t value = 0;

        memcpy(&value, record->payload, record->payload_bytes < sizeof(value) ? record->payload_bytes : sizeof(value));
        return value;
}

static void learn_offer(struct tracker *tracker, const struct record *reply)
{
        tracker->agreement.offers_protocol_features = payload_u64(reply) & ORIEL_FEATURE(ORIEL_F_PROTOCOL_FEATURES);
}

static void learn_features(struct tracker *tracker, const struct record *request)
{
        tracker->agreement.virtio_features = payload_u64(request);
}

static void learn_protocol_features(struct tracker *tracker, const struct record *request)
{
        tracker->agreement.protocol_features = oriel_dialect_from_wire(tracker->dialect, payload_u64(request));
}

static void learn_postcopy(struct tracker *tracker, const struct record *request)
{
        tracker->agreement.postcopy = request->header.request == ORIEL_FRONTEND_POSTCOPY_LISTEN;
}

static void tracker_learn(struct tracker *tracker, const struct trace_event *event)
{
        static const struct {
                uint32_t id;
                bool reply;
                void (*learn)(struct tracker *tracker, const struct record *record);
        } lessons[] = {
                {ORIEL_FRONTEND_GET_FEATURES, true, learn_offer},
                {ORIEL_FRONTEND_SET_FEATURES, false, learn_features},
                {ORIEL_FRONTEND_SET_PROTOCOL_FEATURES, false, learn_protocol_features},
                {ORIEL_FRONTEND_POSTCOPY_LISTEN, false, learn_postcopy},
                {ORIEL_FRONTEND_POSTCOPY_END, false, learn_postcopy},
        };

        if (event->record->channel != 0)
                return;
        for (size_t i = 0; i < ARRAY_SIZE(lessons); i++)
                if (lessons[i].id == event->record->header.request && lessons[i].reply == event->reply)
                        lessons[i].learn(tracker, event->record);
}

/* ---- messages ---- */

static void see_request(struct tracker *tracker, struct trace_event *event, enum oriel_direction direction)
{
        const struct agreement *agreement = &tracker->agreement;
        const struct record *record = event->record;
        bool asks = record->header.flags & ORIEL_FLAG_NEED_REPLY;
        bool due = event->row ? row_replies(event->row, agreement) ||
                                        row_acknowledges(event->row, &record->header, agreement)
                              : asks && agreed(agreement, ORIEL_PROTOCOL_F_REPLY_ACK);

        event->payload = event->row ? event->row->payload : ORIEL_PAYLOAD_NONE;
        check_request(tracker, event, direction);
        if (due || asks)
                add_pending(tracker, event, due);
        tracker_learn(tracker, event);
}

static void see_match(struct tracker *tracker, struct trace_event *event, unsigned index)
{
        const struct tracked_request pending = tracker->pending[index];
        const struct tracked_request *skipped = oldest_due(tracker, event->record->channel, index);
        bool full = pending.row && row_replies(pending.row, &pending.agreement);

        event->answers = pending.number;
        event->latency_ns = event->record->at_ns - pending.at_ns;
        event->payload = full ? pending.row->reply_payload : ORIEL_PAYLOAD_U64;
        event->acknowledges = !full && event->record->payload_bytes == sizeof(uint64_t);
        event->result = event->acknowledges ? payload_u64(event->record) : 0;
        if (skipped)
                complain(new_note(event), "%s: answered before #%u %s, which was asked earlier", event->name,
                         skipped->number, skipped->row ? skipped->row->name : "");
        check_reply(event, &pending);
        remove_pending(tracker, index);
        forget_optional(tracker, event->record->channel, index);
        tracker->gap = false;
        tracker_learn(tracker, event);
}

static void see_reply(struct tracker *tracker, struct trace_event *event)
{
        unsigned index = find_pending(tracker, event->record);

        event->payload = event->row ? event->row->reply_payload : ORIEL_PAYLOAD_NONE;
        if (index < tracker->n_pending)
                see_match(tracker, event, index);
        else if (!tracker->gap)
                complain(new_note(event), "%s: a reply that no request waits for", event->name);
}

static void see_message(struct tracker *tracker, struct trace_event *event)
{
        const struct record *record = event->record;
        enum oriel_direction direction = record->channel == 0 ? ORIEL_FROM_FRONTEND : ORIEL_FROM_BACKEND;

        event->number = ++tracker->number;
        event->reply = (record->channel == 0) != (record->from == SIDE_FRONTEND);
        event->row = oriel_message_find(direction, record->header.request);
        snprintf(event->unknown, sizeof(event->unknown), "request %u", record->header.request);
        event->name = event->row ? event->row->name : event->unknown;
        if (record->note.text[0])
                *new_note(event) = record->note;
        if (!tracker_is_whole(record))
                return;
        check_flags(event);
        if (event->reply)
                see_reply(tracker, event);
        else
                see_request(tracker, event, direction);
}

static void begin_session(struct tracker *tracker, unsigned session)
{
        tracker->session = session;
        tracker->number = 0;
        tracker->n_pending = 0;
        tracker->gap = false;
        tracker->agreement = (struct agreement){.postcopy = false};
}

void tracker_see(struct tracker *tracker, const struct record *record, struct trace_event *event)
{
        if (record->session != tracker->session && record->kind != RECORD_LOST)
                begin_session(tracker, record->session);
        *event = (struct trace_event){.record = record, .name = "", .payload = ORIEL_PAYLOAD_NONE};
        if (record->kind == RECORD_LOST) {
                tracker->n_pending = 0;
                tracker->gap = true;
        }
        if (record->kind == RECORD_MESSAGE)
                see_message(tracker, event);
}
