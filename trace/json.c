/* SPDX-License-Identifier: BSD-2-Clause */

/* One record as a JSON object, for --json and for the page. Common fields come first, then those of the record's kind;
 * for payloads that a program would otherwise have to parse out of the text (features, mappings, regions)
 * add_contents() has a table of functions, each called only where the payload has its exact size. A payload may be
 * from a hostile peer: it is copied out before its fields are read. The object is the caller's. Runs on the recorder's
 * thread. */

#include "base/cleanup.h"
#include "trace/output.h"

#include <inttypes.h>
#include <json.h>
#include <oriel/version.h>
#include <string.h>
#include <time.h>

static void trace_json_add_string(struct json_object *object, const char *key, const char *value)
{
        json_object_object_add(object, key, json_object_new_string(value));
}

static void trace_json_add_number(struct json_object *object, const char *key, uint64_t value)
{
        json_object_object_add(object, key, json_object_new_uint64(value));
}

static void add_microseconds(struct json_object *object, const char *key, int64_t ns)
{
        char text[32];

        ns = ns < 0 ? 0 : ns;
        snprintf(text, sizeof(text), "%" PRId64 ".%" PRId64, ns / 1000, ns % 1000 / 100);
        json_object_object_add(object, key, json_object_new_double_s((double)ns / 1000, text));
}

static void add_hex(struct json_object *object, const char *key, const uint8_t *bytes, size_t n)
{
        static const char digits[] = "0123456789abcdef";
        char hex[2 * ORIEL_MAX_PAYLOAD + 1];

        n = n < ORIEL_MAX_PAYLOAD ? n : ORIEL_MAX_PAYLOAD;
        for (size_t i = 0; i < n; i++) {
                hex[2 * i] = digits[bytes[i] >> 4];
                hex[2 * i + 1] = digits[bytes[i] & 15];
        }
        json_object_object_add(object, key, json_object_new_string_len(hex, (int)(2 * n)));
}

static void add_place(struct json_object *object, const struct record *record)
{
        char channel[24];

        words_of_channel(record->channel, channel, sizeof(channel));
        trace_json_add_string(object, "channel", channel);
        trace_json_add_string(object, "from", words_of_side(record->from));
}

/* ---- fields that a program should not have to parse out of the text ---- */

static void add_features(struct json_object *object, const struct naming *naming, const struct trace_event *event)
{
        struct json_object *array = json_object_new_array();
        uint64_t bits;
        char unknown[8];

        memcpy(&bits, event->record->payload, sizeof(bits));
        for (unsigned bit = 0; bit < 64; bit++)
                if (bits & ORIEL_FEATURE(bit))
                        json_object_array_add(
                                array, json_object_new_string(words_of_bit(naming, event->payload, bit, unknown)));
        json_object_object_add(object, "features", array);
}

static void add_mapping(struct json_object *object, const struct naming *naming, const struct trace_event *event)
{
        struct json_object *mapping = json_object_new_object();
        struct oriel_wire_mmap map;

        memcpy(&map, event->record->payload, sizeof(map));
        trace_json_add_number(mapping, "shmid", map.shmid);
        trace_json_add_number(mapping, "fd_offset", map.fd_offset);
        trace_json_add_number(mapping, "shm_offset", map.shm_offset);
        trace_json_add_number(mapping, "len", map.len);
        trace_json_add_number(mapping, "flags", map.flags);
        json_object_object_add(object, "mapping", mapping);
}

static void add_regions(struct json_object *object, const struct naming *naming, const struct trace_event *event)
{
        struct json_object *array = json_object_new_array();
        struct oriel_wire_shmem_config config;

        memcpy(&config, event->record->payload, sizeof(config));
        for (unsigned i = 0; i < ORIEL_MAX_SHMIDS; i++) {
                if (!config.sizes[i])
                        continue;

                struct json_object *region = json_object_new_object();

                trace_json_add_number(region, "shmid", i);
                trace_json_add_number(region, "size", config.sizes[i]);
                json_object_array_add(array, region);
        }
        json_object_object_add(object, "regions", array);
}

static void add_contents(struct json_object *object, const struct naming *naming, const struct trace_event *event)
{
        static const struct {
                enum oriel_payload payload;
                size_t size;
                void (*add)(struct json_object *object, const struct naming *naming, const struct trace_event *event);
        } rows[] = {
                {ORIEL_PAYLOAD_FEATURES, sizeof(uint64_t), add_features},
                {ORIEL_PAYLOAD_PROTOCOL_FEATURES, sizeof(uint64_t), add_features},
                {ORIEL_PAYLOAD_MMAP, sizeof(struct oriel_wire_mmap), add_mapping},
                {ORIEL_PAYLOAD_SHMEM_CONFIG, sizeof(struct oriel_wire_shmem_config), add_regions},
        };

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
                if (rows[i].payload == event->payload && rows[i].size == event->record->payload_bytes)
                        rows[i].add(object, naming, event);
}

/* ---- messages ---- */

static void add_fds(struct json_object *object, const struct record *record)
{
        struct json_object *array = json_object_new_array();

        for (unsigned i = 0; record->fds && i < record->n_fds; i++) {
                struct json_object *fd = json_object_new_object();

                trace_json_add_string(fd, "kind", record->fds[i].kind);
                if (record->fds[i].name)
                        trace_json_add_string(fd, "name", record->fds[i].name);
                if (record->fds[i].has_size)
                        trace_json_add_number(fd, "size", record->fds[i].size);
                trace_json_add_string(fd, "access", record->fds[i].access);
                json_object_array_add(array, fd);
        }
        json_object_object_add(object, "fds", array);
}

static void add_notes(struct json_object *object, const struct trace_event *event)
{
        struct json_object *array = json_object_new_array();

        for (unsigned i = 0; i < event->n_notes; i++)
                json_object_array_add(array, json_object_new_string(event->notes[i].text));
        json_object_object_add(object, "notes", array);
}

static void add_message(struct json_object *object, const struct setting *setting, const struct trace_event *event)
{
        const struct record *record = event->record;
        char words[WORDS_SIZE];

        words_of_payload(&setting->naming, event, words, sizeof(words));
        add_place(object, record);
        trace_json_add_number(object, "n", event->number);
        trace_json_add_string(object, "kind", event->reply ? "reply" : "request");
        trace_json_add_string(object, "name", event->name);
        trace_json_add_number(object, "request", record->header.request);
        trace_json_add_number(object, "flags", record->header.flags);
        json_object_object_add(object, "need_reply",
                               json_object_new_boolean((record->header.flags & ORIEL_FLAG_NEED_REPLY) != 0));
        trace_json_add_number(object, "size", record->header.size);
        trace_json_add_string(object, "text", words);
        add_hex(object, "payload", record->payload, record->payload_bytes);
        add_contents(object, &setting->naming, event);
        if (event->answers) {
                trace_json_add_number(object, "reply_to", event->answers);
                add_microseconds(object, "latency_us", event->latency_ns);
        }
        if (event->acknowledges)
                trace_json_add_number(object, "result", event->result);
        add_fds(object, record);
        add_notes(object, event);
}

/* ---- other records ---- */

static void add_session(struct json_object *object, const struct setting *setting)
{
        const struct oriel_dialect *dialect = setting->naming.dialect ? setting->naming.dialect : oriel_dialect_get(0);
        time_t now = time(NULL);
        struct tm utc;
        char text[32] = "";

        if (gmtime_r(&now, &utc))
                strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &utc);
        trace_json_add_string(object, "started", text);
        trace_json_add_string(object, "listen", setting->listen);
        trace_json_add_string(object, "connect", setting->connect);
        trace_json_add_string(object, "dialect", dialect->name);
        trace_json_add_string(object, "version", ORIEL_VERSION_STRING);
}

static void add_session_end(struct json_object *object, const struct tracker *tracker)
{
        struct json_object *array = json_object_new_array();
        const char *name;
        unsigned number;

        for (unsigned i = 0; (number = tracker_unanswered(tracker, i, &name)); i++)
                json_object_array_add(array, json_object_new_uint64(number));
        json_object_object_add(object, "unanswered", array);
}

static const char *const types[] = {
        [RECORD_SESSION] = "session", [RECORD_MESSAGE] = "message",         [RECORD_RAW] = "raw",
        [RECORD_END] = "end",         [RECORD_SESSION_END] = "session_end", [RECORD_LOST] = "lost",
};

struct json_object *output_json(const struct setting *setting, const struct tracker *tracker,
                                const struct trace_event *event)
{
        const struct record *record = event->record;
        struct json_object *object = json_object_new_object();

        if (!object)
                return NULL;
        trace_json_add_string(object, "type", types[record->kind]);
        trace_json_add_number(object, "session", record->session);
        add_microseconds(object, "time_us", record->at_ns - setting->began_ns);
        switch (record->kind) {
        case RECORD_SESSION:
                add_session(object, setting);
                break;
        case RECORD_MESSAGE:
                add_message(object, setting, event);
                break;
        case RECORD_RAW:
                add_place(object, record);
                trace_json_add_string(object, "note", record->note.text);
                add_hex(object, "payload", record->payload, record->payload_bytes);
                break;
        case RECORD_END:
                add_place(object, record);
                trace_json_add_number(object, "bytes", record->bytes);
                trace_json_add_string(object, "note", record->note.text);
                break;
        case RECORD_SESSION_END:
                add_session_end(object, tracker);
                break;
        case RECORD_LOST:
                trace_json_add_number(object, "records", record->header.size);
                break;
        }
        return object;
}
