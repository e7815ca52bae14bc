/* SPDX-License-Identifier: BSD-2-Clause */

/* The check of a recording before a page is made of it: the page's scripts rely on the keys that output_json() writes,
 * and a recording may come from anyone. Each type of record has a table of its keys with the form of their values;
 * every line must be one strict JSON object with all keys that are not optional, and further keys are accepted. A
 * change of json.c needs a change of these tables, which the tests compare by checking real output. */

#include "trace/recording.h"
#include "base/cleanup.h"

#include <errno.h>
#include <json.h>
#include <stdbool.h>
#include <string.h>

/* Thirty years. For far larger values, adding a small number changes nothing, and the page's loops would not
 * advance. */
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

struct key {
        const char *name;
        enum form form;
        bool optional;
};

#define MAX_KEYS 20

/* Terminated by a key without a name. */
static const struct key common_keys[] = {{"session", COUNT}, {"time_us", TIME}, {NULL}};
static const struct key reply_keys[] = {{"latency_us", TIME}, {NULL}};
static const struct key mapping_keys[] = {{"shmid", COUNT}, {"fd_offset", COUNT}, {"shm_offset", COUNT},
                                          {"len", COUNT},   {"flags", COUNT},     {NULL}};
static const struct key region_keys[] = {{"shmid", COUNT}, {"size", COUNT}, {NULL}};
static const struct key fd_keys[] = {
        {"kind", TEXT}, {"access", TEXT}, {"name", TEXT, true}, {"size", COUNT, true}, {NULL}};

static const struct {
        const char *name;
        struct key keys[MAX_KEYS];
} types[] = {
        {"session", {{"started", TEXT}, {"listen", TEXT}, {"connect", TEXT}, {"dialect", TEXT}, {"version", TEXT}}},
        {"message",
         {{"channel", TEXT},
          {"from", SIDE},
          {"n", COUNT},
          {"kind", REQUEST_OR_REPLY},
          {"name", TEXT},
          {"request", COUNT},
          {"flags", COUNT},
          {"need_reply", TRUTH},
          {"size", COUNT},
          {"text", TEXT},
          {"payload", TEXT},
          {"fds", FDS},
          {"notes", TEXTS},
          {"reply_to", COUNT, true},
          {"latency_us", TIME, true},
          {"result", COUNT, true},
          {"features", TEXTS, true},
          {"mapping", MAPPING, true},
          {"regions", REGIONS, true}}},
        {"raw", {{"channel", TEXT}, {"from", SIDE}, {"note", TEXT}, {"payload", TEXT}}},
        {"end", {{"channel", TEXT}, {"from", SIDE}, {"bytes", COUNT}, {"note", TEXT}}},
        {"session_end", {{"unanswered", COUNTS}}},
        {"lost", {{"records", COUNT}}},
};

/* ---- forms ---- */

static bool is_text(struct json_object *value)
{
        return json_object_is_type(value, json_type_string);
}

static bool is_truth(struct json_object *value)
{
        return json_object_is_type(value, json_type_boolean);
}

static bool is_one_of(struct json_object *value, const char *a, const char *b)
{
        const char *text = is_text(value) ? json_object_get_string(value) : "";

        return strcmp(text, a) == 0 || strcmp(text, b) == 0;
}

static bool is_side(struct json_object *value)
{
        return is_one_of(value, "front-end", "back-end");
}

static bool is_request_or_reply(struct json_object *value)
{
        return is_one_of(value, "request", "reply");
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

/* A value is checked by @is, or is an object with @keys, or an array of such. */
static const struct {
        const char *words;
        bool (*is)(struct json_object *value);
        const struct key *keys;
        bool array;
} forms[] = {
        [TEXT] = {"a string", is_text},
        [COUNT] = {"a whole number", is_count},
        [TIME] = {"a time in microseconds", is_time},
        [TRUTH] = {"true or false", is_truth},
        [SIDE] = {"front-end or back-end", is_side},
        [REQUEST_OR_REPLY] = {"request or reply", is_request_or_reply},
        [TEXTS] = {"an array of strings", is_text, .array = true},
        [COUNTS] = {"an array of whole numbers", is_count, .array = true},
        [MAPPING] = {"an object like that of a mapping", .keys = mapping_keys},
        [REGIONS] = {"an array of objects like that of a region", .keys = region_keys, .array = true},
        [FDS] = {"an array of objects like that of a descriptor", .keys = fd_keys, .array = true},
};

static const struct key *wrong_key(struct json_object *object, const struct key *keys);

static bool has_form_alone(struct json_object *value, enum form form)
{
        if (forms[form].is)
                return forms[form].is(value);
        return json_object_is_type(value, json_type_object) && !wrong_key(value, forms[form].keys);
}

static bool has_form(struct json_object *value, enum form form)
{
        if (!forms[form].array)
                return has_form_alone(value, form);
        if (!json_object_is_type(value, json_type_array))
                return false;
        for (size_t i = 0; i < json_object_array_length(value); i++)
                if (!has_form_alone(json_object_array_get_idx(value, i), form))
                        return false;
        return true;
}

/* The first key that is missing in @object, or has a value of another form; NULL: none. */
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

/* ---- a line ---- */

/* The keys for the type that @object names. NULL: there is no such type. */
static const struct key *keys_of_type(struct json_object *object)
{
        struct json_object *type;

        if (!json_object_object_get_ex(object, "type", &type) || !is_text(type))
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
        /* A reply has the time that it took. */
        if (!wrong && json_object_object_get_ex(object, "reply_to", NULL))
                wrong = wrong_key(object, reply_keys);
        if (!wrong)
                return 0;
        if (json_object_object_get_ex(object, wrong->name, NULL))
                complain(why, "%s is not %s", wrong->name, forms[wrong->form].words);
        else
                complain(why, "%s is missing", wrong->name);
        return -EPROTO;
}

int recording_check(const char *line, size_t length, struct complaint *why)
{
        struct json_tokener *tokener = json_tokener_new();

        if (!tokener)
                return -ENOMEM;
        /* Accepts only what a browser's parser accepts. */
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
