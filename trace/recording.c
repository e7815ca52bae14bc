/* SPDX-License-Identifier: BSD-2-Clause */
#include "trace/recording.h"
#include "base/cleanup.h"

#include <errno.h>
#include <json.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Thirty years. Far beyond that, adding a small number changes nothing, and the page would not get on. */
#define MAX_MICROSECONDS 1e15

enum form {
        TEXT,
        COUNT, /* an integer from 0 */
        TIME,  /* microseconds, a number from 0 */
        TRUTH,
        SIDE,
        REQUEST_OR_REPLY,
        TEXTS,
        COUNTS,
        MAPPING,
        REGIONS,
        FDS,
};

static const char *const form_words[] = {
        [TEXT] = "a string",
        [COUNT] = "a whole number",
        [TIME] = "a time in microseconds",
        [TRUTH] = "true or false",
        [SIDE] = "front-end or back-end",
        [REQUEST_OR_REPLY] = "request or reply",
        [TEXTS] = "an array of strings",
        [COUNTS] = "an array of whole numbers",
        [MAPPING] = "an object like that of a mapping",
        [REGIONS] = "an array of objects like that of a region",
        [FDS] = "an array of objects like that of a descriptor",
};

struct key {
        const char *name;
        enum form form;
        bool optional;
};

#define MAX_KEYS 20

/* Each ends with a key without a name. */
static const struct key common_keys[] = {{"session", COUNT, false}, {"time_us", TIME, false}, {NULL, TEXT, false}};
static const struct key reply_keys[] = {{"latency_us", TIME, false}, {NULL, TEXT, false}};
static const struct key mapping_keys[] = {{"shmid", COUNT, false},      {"fd_offset", COUNT, false},
                                          {"shm_offset", COUNT, false}, {"len", COUNT, false},
                                          {"flags", COUNT, false},      {NULL, TEXT, false}};
static const struct key region_keys[] = {{"shmid", COUNT, false}, {"size", COUNT, false}, {NULL, TEXT, false}};
static const struct key fd_keys[] = {{"kind", TEXT, false},
                                     {"access", TEXT, false},
                                     {"name", TEXT, true},
                                     {"size", COUNT, true},
                                     {NULL, TEXT, false}};

static const struct {
        const char *name;
        struct key keys[MAX_KEYS];
} types[] = {
        {"session",
         {{"started", TEXT, false},
          {"listen", TEXT, false},
          {"connect", TEXT, false},
          {"dialect", TEXT, false},
          {"version", TEXT, false}}},
        {"message",
         {{"channel", TEXT, false},
          {"from", SIDE, false},
          {"n", COUNT, false},
          {"kind", REQUEST_OR_REPLY, false},
          {"name", TEXT, false},
          {"request", COUNT, false},
          {"flags", COUNT, false},
          {"need_reply", TRUTH, false},
          {"size", COUNT, false},
          {"text", TEXT, false},
          {"payload", TEXT, false},
          {"fds", FDS, false},
          {"notes", TEXTS, false},
          {"reply_to", COUNT, true},
          {"latency_us", TIME, true},
          {"result", COUNT, true},
          {"features", TEXTS, true},
          {"mapping", MAPPING, true},
          {"regions", REGIONS, true}}},
        {"raw", {{"channel", TEXT, false}, {"from", SIDE, false}, {"note", TEXT, false}, {"payload", TEXT, false}}},
        {"end", {{"channel", TEXT, false}, {"from", SIDE, false}, {"bytes", COUNT, false}, {"note", TEXT, false}}},
        {"session_end", {{"unanswered", COUNTS, false}}},
        {"lost", {{"records", COUNT, false}}},
};

static bool has_form(struct json_object *value, enum form form);

static bool is_one_of(struct json_object *value, const char *a, const char *b)
{
        const char *text = json_object_is_type(value, json_type_string) ? json_object_get_string(value) : "";

        return strcmp(text, a) == 0 || strcmp(text, b) == 0;
}

static bool is_count(struct json_object *value)
{
        return json_object_is_type(value, json_type_int) && json_object_get_int64(value) >= 0;
}

static bool is_time(struct json_object *value)
{
        bool number = json_object_is_type(value, json_type_double) || json_object_is_type(value, json_type_int);
        double time = number ? json_object_get_double(value) : -1;

        return time >= 0 && time <= MAX_MICROSECONDS;
}

static bool all_have_form(struct json_object *array, enum form form)
{
        if (!json_object_is_type(array, json_type_array))
                return false;
        for (size_t i = 0; i < json_object_array_length(array); i++)
                if (!has_form(json_object_array_get_idx(array, i), form))
                        return false;
        return true;
}

/* The first key that @object lacks, or that is of another form; NULL: it has them all. */
static const struct key *wrong_key(struct json_object *object, const struct key *keys)
{
        for (const struct key *key = keys; key->name; key++) {
                struct json_object *value;

                if (!json_object_object_get_ex(object, key->name, &value) ? !key->optional
                                                                          : !has_form(value, key->form))
                        return key;
        }
        return NULL;
}

static bool has_keys(struct json_object *object, const struct key *keys)
{
        return json_object_is_type(object, json_type_object) && !wrong_key(object, keys);
}

static bool all_have_keys(struct json_object *array, const struct key *keys)
{
        if (!json_object_is_type(array, json_type_array))
                return false;
        for (size_t i = 0; i < json_object_array_length(array); i++)
                if (!has_keys(json_object_array_get_idx(array, i), keys))
                        return false;
        return true;
}

static bool has_form(struct json_object *value, enum form form)
{
        switch (form) {
        case TEXT:
                return json_object_is_type(value, json_type_string);
        case COUNT:
                return is_count(value);
        case TIME:
                return is_time(value);
        case TRUTH:
                return json_object_is_type(value, json_type_boolean);
        case SIDE:
                return is_one_of(value, "front-end", "back-end");
        case REQUEST_OR_REPLY:
                return is_one_of(value, "request", "reply");
        case TEXTS:
                return all_have_form(value, TEXT);
        case COUNTS:
                return all_have_form(value, COUNT);
        case MAPPING:
                return has_keys(value, mapping_keys);
        case REGIONS:
                return all_have_keys(value, region_keys);
        case FDS:
                return all_have_keys(value, fd_keys);
        }
        return false;
}

/* Of its type, whose name is in @object. NULL: there is no such type. */
static const struct key *keys_of_type(struct json_object *object)
{
        struct json_object *type;

        if (!json_object_object_get_ex(object, "type", &type) || !json_object_is_type(type, json_type_string))
                return NULL;
        for (size_t i = 0; i < ARRAY_SIZE(types); i++)
                if (strcmp(json_object_get_string(type), types[i].name) == 0)
                        return types[i].keys;
        return NULL;
}

static int check_object(struct json_object *object, struct complaint *why)
{
        const struct key *keys = NULL, *wrong;

        if (json_object_is_type(object, json_type_object))
                keys = keys_of_type(object);
        if (!keys) {
                complain(why, "it has no type that there is");
                return -EPROTO;
        }
        wrong = wrong_key(object, common_keys);
        if (!wrong)
                wrong = wrong_key(object, keys);
        /* Who answers is who took that long. */
        if (!wrong && json_object_object_get_ex(object, "reply_to", NULL))
                wrong = wrong_key(object, reply_keys);
        if (!wrong)
                return 0;
        if (json_object_object_get_ex(object, wrong->name, NULL))
                complain(why, "%s is not %s", wrong->name, form_words[wrong->form]);
        else
                complain(why, "%s is missing", wrong->name);
        return -EPROTO;
}

int recording_check(const char *line, size_t length, struct complaint *why)
{
        struct json_tokener *tokener = json_tokener_new();

        if (!tokener)
                return -ENOMEM;
        /* No more than what a browser takes. */
        json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);

        struct json_object *object = json_tokener_parse_ex(tokener, line, (int)length);
        bool whole = json_tokener_get_error(tokener) == json_tokener_success &&
                     json_tokener_get_parse_end(tokener) == length;
        int r = -EPROTO;

        if (whole)
                r = check_object(object, why);
        else
                complain(why, "it is not one JSON object");
        json_object_put(object);
        json_tokener_free(tokener);
        return r;
}
