/* SPDX-License-Identifier: BSD-2-Clause */

/* The tracer's parts without its program: the tracker, which is given records of messages and must find what answers
 * what and which rule is broken; the description of descriptors; recordings, also cut short and made up; and the relay
 * between two sockets. */

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/test.h"
#include "trace/output.h"
#include "trace/recording.h"
#include "trace/relay.h"
#include "trace/tracker.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the tracker ---- */

struct session {
        struct tracker *tracker;
        struct trace_event event;
        int64_t at_ns;
};

static void open_session(struct session *session, const char *dialect)
{
        *session = (struct session){.tracker = tracker_new(dialect ? oriel_dialect_find(dialect) : NULL)};
        assert_non_null(session->tracker);
}

static void see(struct session *session, struct record *record)
{
        session->at_ns += 1000;
        record->at_ns = session->at_ns;
        record->session = 1;
        tracker_see(session->tracker, record, &session->event);
        record_free(record);
}

/* Records a message on the main channel, or on the back-end channel. */
static void say(struct session *session, unsigned channel, enum side from, uint32_t request, uint32_t flags,
                const void *payload, uint32_t size, unsigned n_fds)
{
        struct record *record = record_new(RECORD_MESSAGE, payload, size);

        assert_non_null(record);
        record->channel = channel;
        record->from = from;
        record->header = (struct oriel_wire_header){request, ORIEL_PROTOCOL_VERSION | flags, size};
        record->header_bytes = sizeof(record->header);
        record->n_fds = n_fds;
        see(session, record);
}

static void ask(struct session *session, uint32_t request, uint32_t flags)
{
        say(session, 0, SIDE_FRONTEND, request, flags, NULL, 0, 0);
}

static void tell_u64(struct session *session, uint32_t request, uint32_t flags, uint64_t value)
{
        say(session, 0, SIDE_FRONTEND, request, flags, &value, sizeof(value), 0);
}

static void answer(struct session *session, uint32_t request, uint64_t value)
{
        say(session, 0, SIDE_BACKEND, request, ORIEL_FLAG_REPLY, &value, sizeof(value), 0);
}

static void negotiate(struct session *session, uint64_t features)
{
        ask(session, ORIEL_FRONTEND_GET_FEATURES, 0);
        answer(session, ORIEL_FRONTEND_GET_FEATURES, ORIEL_FEATURE(ORIEL_F_PROTOCOL_FEATURES));
        tell_u64(session, ORIEL_FRONTEND_SET_PROTOCOL_FEATURES, 0, features);
        assert_int_equal(session->event.n_notes, 0);
        assert_int_equal(session->event.number, 3);
}

static void replies_are_matched_in_order(void **state)
{
        struct session session;

        open_session(&session, NULL);
        negotiate(&session, ORIEL_FEATURE(ORIEL_PROTOCOL_F_REPLY_ACK));
        ask(&session, ORIEL_FRONTEND_SET_OWNER, ORIEL_FLAG_NEED_REPLY);
        ask(&session, ORIEL_FRONTEND_SET_OWNER, 0);
        ask(&session, ORIEL_FRONTEND_SET_OWNER, ORIEL_FLAG_NEED_REPLY);
        answer(&session, ORIEL_FRONTEND_SET_OWNER, 0);
        assert_true(session.event.reply && session.event.acknowledges);
        assert_int_equal(session.event.answers, 4);
        assert_int_equal(session.event.latency_ns, 3000);
        assert_int_equal(session.event.result, 0);
        answer(&session, ORIEL_FRONTEND_SET_OWNER, 7);
        assert_int_equal(session.event.answers, 6);
        assert_int_equal(session.event.result, 7);
        assert_int_equal(session.event.n_notes, 0);
        answer(&session, ORIEL_FRONTEND_SET_OWNER, 0);
        assert_int_equal(session.event.answers, 0);
        assert_string_equal(session.event.notes[0].text, "SET_OWNER: a reply that no request waits for");
        tracker_free(session.tracker);
}

static void a_reply_out_of_order(void **state)
{
        struct session session;
        const char *name;

        open_session(&session, NULL);
        negotiate(&session, ORIEL_FEATURE(ORIEL_PROTOCOL_F_REPLY_ACK));
        ask(&session, ORIEL_FRONTEND_GET_FEATURES, 0);
        ask(&session, ORIEL_FRONTEND_SET_OWNER, ORIEL_FLAG_NEED_REPLY);
        answer(&session, ORIEL_FRONTEND_SET_OWNER, 0);
        assert_int_equal(session.event.answers, 5);
        assert_string_equal(session.event.notes[0].text,
                            "SET_OWNER: answered before #4 GET_FEATURES, which was asked earlier");
        assert_int_equal(tracker_unanswered(session.tracker, 0, &name), 4);
        assert_string_equal(name, "GET_FEATURES");
        assert_int_equal(tracker_unanswered(session.tracker, 1, &name), 0);
        tracker_free(session.tracker);
}

/* Without REPLY_ACK no acknowledgement is due; one that comes nevertheless is matched. */
static void a_reply_that_need_not_come(void **state)
{
        struct session session;
        const char *name;

        open_session(&session, NULL);
        negotiate(&session, 0);
        ask(&session, ORIEL_FRONTEND_SET_OWNER, ORIEL_FLAG_NEED_REPLY);
        assert_int_equal(tracker_unanswered(session.tracker, 0, &name), 0);
        ask(&session, ORIEL_FRONTEND_GET_FEATURES, 0);
        answer(&session, ORIEL_FRONTEND_GET_FEATURES, 0);
        assert_int_equal(session.event.n_notes, 0);
        ask(&session, ORIEL_FRONTEND_SET_OWNER, ORIEL_FLAG_NEED_REPLY);
        answer(&session, ORIEL_FRONTEND_SET_OWNER, 0);
        assert_int_equal(session.event.answers, 7);
        tracker_free(session.tracker);
}

/* The channels are independent: requests on both may have the same number. */
static void channels_are_apart(void **state)
{
        const struct oriel_wire_mmap map = {.len = 4096, .flags = 2};
        const uint64_t refused = 1;
        struct session session;

        open_session(&session, NULL);
        negotiate(&session, ORIEL_FEATURE(ORIEL_PROTOCOL_F_REPLY_ACK) | ORIEL_FEATURE(ORIEL_PROTOCOL_F_SHMEM_MAP));
        say(&session, 1, SIDE_BACKEND, ORIEL_BACKEND_SHMEM_MAP, ORIEL_FLAG_NEED_REPLY, &map, sizeof(map), 1);
        assert_string_equal(session.event.name, "SHMEM_MAP");
        assert_false(session.event.reply);
        assert_string_equal(session.event.notes[0].text, "SHMEM_MAP: flags are unknown");
        ask(&session, ORIEL_FRONTEND_GET_FEATURES, 0);
        say(&session, 1, SIDE_FRONTEND, ORIEL_BACKEND_SHMEM_MAP, ORIEL_FLAG_REPLY, &refused, sizeof(refused), 0);
        assert_int_equal(session.event.answers, 4);
        assert_int_equal(session.event.result, 1);
        assert_int_equal(session.event.n_notes, 0);
        tracker_free(session.tracker);
}

static void rules_follow_what_was_agreed_on(void **state)
{
        const uint64_t bit_21 = ORIEL_FEATURE(21);
        struct session session;

        open_session(&session, "shmem-21");
        negotiate(&session, bit_21);
        ask(&session, ORIEL_FRONTEND_GET_SHMEM_CONFIG, 0);
        assert_int_equal(session.event.n_notes, 0);
        tracker_free(session.tracker);

        open_session(&session, NULL);
        negotiate(&session, bit_21);
        ask(&session, ORIEL_FRONTEND_GET_SHMEM_CONFIG, 0);
        assert_string_equal(session.event.notes[0].text, "GET_SHMEM_CONFIG: feature SHMEM_MAP was not negotiated");
        tracker_free(session.tracker);

        open_session(&session, NULL);
        negotiate(&session, ORIEL_FEATURE(ORIEL_PROTOCOL_F_REPLY_ACK));
        ask(&session, 77, ORIEL_FLAG_NEED_REPLY);
        assert_string_equal(session.event.name, "request 77");
        answer(&session, 77, 1);
        assert_int_equal(session.event.answers, 4);
        assert_int_equal(session.event.n_notes, 0);
        tracker_free(session.tracker);
}

static void after_a_loss_nothing_is_suspected(void **state)
{
        struct session session;
        const char *name;

        open_session(&session, NULL);
        negotiate(&session, ORIEL_FEATURE(ORIEL_PROTOCOL_F_REPLY_ACK));
        ask(&session, ORIEL_FRONTEND_GET_FEATURES, 0);
        see(&session, record_new(RECORD_LOST, NULL, 0));
        assert_int_equal(tracker_unanswered(session.tracker, 0, &name), 0);
        answer(&session, ORIEL_FRONTEND_SET_OWNER, 0);
        assert_int_equal(session.event.n_notes, 0);
        tracker_free(session.tracker);
}

/* ---- descriptions ---- */

static void what_fds_are(void **state)
{
        struct description description;
        char words[128];
        int fd = memfd_create("a\n\xc2\x9b\xe2\x80\xae"
                              "b",
                              MFD_CLOEXEC);

        assert_int_equal(ftruncate(fd, 5), 0);
        describe_fd(fd, &description);
        words_of_fd(&description, words, sizeof(words));
        assert_string_equal(words, "memfd a???b, 5 bytes, read-write");
        description_clear(&description);
        fd_close(fd);

        fd = eventfd(0, EFD_CLOEXEC);
        describe_fd(fd, &description);
        words_of_fd(&description, words, sizeof(words));
        assert_string_equal(words, "eventfd, read-write");
        description_clear(&description);
        fd_close(fd);

        describe_fd(-1, &description);
        assert_string_equal(description.kind, "descriptor");
        description_clear(&description);
}

/* Cut between two characters; the file's own name is complete. */
static void a_long_name(void **state)
{
        char path[1024] = "/tmp/oriel-test-XXXXXX", own[202] = "", euros[199] = "";
        struct description description;

        memset(own, 'x', sizeof(own) - 1);
        for (size_t i = 0; i < sizeof(euros) - 1; i += 3)
                memcpy(euros + i, "\xe2\x82\xac", 3);
        assert_non_null(mkdtemp(path));

        size_t top = strlen(path), middle = top + 1 + strlen(euros);

        snprintf(path + top, sizeof(path) - top, "/%s", euros);
        assert_int_equal(mkdir(path, 0700), 0);
        snprintf(path + middle, sizeof(path) - middle, "/%s", own);

        int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);

        assert_true(fd >= 0);
        describe_fd(fd, &description);
        assert_int_equal(strlen(description.name), 3 + 51 + 1 + 201);
        assert_memory_equal(description.name, "\xe2\x80\xa6\xe2\x82\xac", 6);
        assert_string_equal(strrchr(description.name, '/') + 1, own);
        description_clear(&description);
        fd_close(fd);
        unlink(path);
        path[middle] = '\0';
        rmdir(path);
        path[top] = '\0';
        rmdir(path);
}

/* ---- the record log ---- */

static void what_is_not_taken_is_counted(void **state)
{
        static const uint8_t payload[ORIEL_MAX_PAYLOAD];
        struct record_log log;
        unsigned kept = 0, lost = 0, n = 20000;

        record_log_init(&log);
        for (unsigned i = 0; i < n; i++)
                record_log_put(&log, record_new(RECORD_MESSAGE, payload, sizeof(payload)));
        record_log_close(&log);

        struct record *record = record_log_take(&log);

        while (record) {
                struct record *next = record->next;

                if (record->kind == RECORD_LOST)
                        lost += record->header.size;
                else
                        kept++;
                record_free(record);
                record = next;
        }
        assert_true(lost > 0 && kept > 1000);
        assert_int_equal(kept + lost, n);
        assert_null(record_log_take(&log));
        record_log_destroy(&log);
}

/* A record as large as a peer can make it with little effort: hundreds of fds with names. */
static struct record *crowded_record(void)
{
        struct record *record = record_new(RECORD_MESSAGE, NULL, 0);

        assert_non_null(record);
        record->n_fds = 253;
        record->fds = calloc(record->n_fds, sizeof(record->fds[0]));
        assert_non_null(record->fds);
        for (unsigned i = 0; i < record->n_fds; i++) {
                record->fds[i].name = malloc(DESCRIBE_NAME_MAX + 1);
                assert_non_null(record->fds[i].name);
                memset(record->fds[i].name, 'x', DESCRIBE_NAME_MAX);
                record->fds[i].name[DESCRIBE_NAME_MAX] = '\0';
        }
        return record;
}

static void the_limit_counts_names_and_what_was_taken(void **state)
{
        struct record_log log;
        unsigned kept = 0;

        record_log_init(&log);
        while (!log.lost && kept < 2000) {
                record_log_put(&log, crowded_record());
                kept++;
        }
        assert_true(log.lost == 1);
        assert_between(kept, (64 << 20) / (253 * (DESCRIBE_NAME_MAX + 128)), (64 << 20) / (253 * DESCRIBE_NAME_MAX));

        struct record *record = record_log_take(&log);

        record_log_put(&log, crowded_record());
        assert_int_equal(log.lost, 2);
        while (record) {
                struct record *next = record->next;

                record_log_done(&log, record);
                record = next;
        }
        assert_int_equal(log.bytes, 0);
        record_log_put(&log, crowded_record());
        assert_int_equal(log.lost, 0);
        record_log_destroy(&log);
}

/* ---- recordings ---- */

#define PLACE "\"session\":1,\"time_us\":1.5,\"channel\":\"main\",\"from\":\"front-end\""
#define MESSAGE_HEAD \
        "{\"type\":\"message\"," PLACE ",\"n\":1,\"kind\":\"reply\",\"name\":\"X\",\"request\":1,\"flags\":5,"
#define MESSAGE MESSAGE_HEAD "\"need_reply\":false,\"size\":0,\"text\":\"\",\"payload\":\"\""
#define MAPPING "{\"shmid\":0,\"fd_offset\":0,\"shm_offset\":0,\"len\":18446744073709551615,\"flags\":1}"

static void lines_of_recordings(void **state)
{
        static const struct {
                const char *line, *why;
        } cases[] = {
                {MESSAGE ",\"fds\":[],\"notes\":[]}", NULL},
                {MESSAGE ",\"fds\":[],\"notes\":[],\"mapping\":" MAPPING ",\"more\":null}", NULL},
                {MESSAGE ",\"fds\":[{\"kind\":\"a\",\"access\":\"b\"}],\"notes\":[\"c\"]}", NULL},
                {"{\"type\":\"lost\",\"session\":0,\"time_us\":0.0,\"records\":3}", NULL},
                {"{\"type\":\"message\",\"session\":1}", "time_us is missing"},
                {MESSAGE ",\"notes\":[]}", "fds is missing"},
                {MESSAGE ",\"fds\":{},\"notes\":[]}", "fds is not an array of objects like that of a descriptor"},
                {MESSAGE ",\"fds\":[{}],\"notes\":[]}", "fds is not an array of objects like that of a descriptor"},
                {MESSAGE ",\"fds\":[],\"notes\":[1]}", "notes is not an array of strings"},
                {MESSAGE ",\"fds\":[],\"notes\":[],\"features\":null}", "features is not an array of strings"},
                {MESSAGE ",\"fds\":[],\"notes\":[],\"reply_to\":1}", "latency_us is missing"},
                {MESSAGE ",\"fds\":[],\"notes\":[],\"mapping\":{\"shmid\":0}}",
                 "mapping is not an object like that of a mapping"},
                {MESSAGE ",\"fds\":[],\"notes\":[],\"regions\":[{\"shmid\":-1,\"size\":1}]}",
                 "regions is not an array of objects like that of a region"},
                {"{\"type\":\"end\"," PLACE ",\"bytes\":1.5,\"note\":\"\"}", "bytes is not a whole number"},
                {"{\"type\":\"lost\",\"session\":1,\"time_us\":1e99,\"records\":3}",
                 "time_us is not a time in microseconds"},
                {"{\"type\":\"raw\",\"session\":1,\"time_us\":1,\"channel\":\"main\",\"from\":\"me\"}",
                 "from is not front-end or back-end"},
                {"{\"type\":\"else\",\"session\":1,\"time_us\":1}", "it has no type that there is"},
                {"{\"type\":1}", "it has no type that there is"},
                {"[]", "it has no type that there is"},
                {"", "it is not one JSON object"},
                {"{\"type\":\"lost\"", "it is not one JSON object"},
                {"{} {}", "it is not one JSON object"},
                {"{'type':'lost'}", "it is not one JSON object"},
                {"{\"type\":\"lost\",\"session\":1,\"time_us\":NaN,\"records\":3}",
                 "time_us is not a time in microseconds"},
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct complaint why = {""};
                int r = recording_check(cases[i].line, strlen(cases[i].line), &why);

                assert_string_equal(why.text, cases[i].why ? cases[i].why : "");
                assert_int_equal(r, cases[i].why ? -EPROTO : 0);
        }
        assert_int_equal(recording_check("{}\0{}", 5, &(struct complaint){""}), -EPROTO);
}

/* ---- the relay ---- */

struct run {
        int fds[2]; /* the relay's */
        struct record_log log;
        pthread_t thread;
        int peers[2]; /* by enum side */
};

static void *run_relay(void *userdata)
{
        struct run *run = userdata;

        assert_int_equal(relay_run(run->fds[SIDE_FRONTEND], run->fds[SIDE_BACKEND], -1, &run->log, 1), 0);
        return NULL;
}

static void start_relay(struct run *run)
{
        for (int side = 0; side < 2; side++) {
                int fds[2];

                assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
                run->fds[side] = fds[0];
                run->peers[side] = fds[1];
        }
        record_log_init(&run->log);
        assert_int_equal(pthread_create(&run->thread, NULL, run_relay, run), 0);
}

/* All its records; the caller gets the first. */
static struct record *end_relay(struct run *run)
{
        struct record *records;

        fd_close_all(run->peers, ARRAY_SIZE(run->peers));
        assert_int_equal(pthread_join(run->thread, NULL), 0);
        record_log_close(&run->log);
        records = record_log_take(&run->log);
        record_log_destroy(&run->log);
        return records;
}

static void records_of_a_session(void **state)
{
        const struct oriel_wire_header header = {ORIEL_FRONTEND_GET_FEATURES, ORIEL_PROTOCOL_VERSION, 0};
        static const enum record_kind kinds[] = {RECORD_SESSION, RECORD_MESSAGE, RECORD_END, RECORD_END,
                                                 RECORD_SESSION_END};
        struct run run;
        char got[sizeof(header)];
        size_t i = 0;

        start_relay(&run);
        assert_int_equal(send(run.peers[SIDE_FRONTEND], &header, sizeof(header), 0), sizeof(header));
        assert_int_equal(recv(run.peers[SIDE_BACKEND], got, sizeof(got), MSG_WAITALL), sizeof(got));
        assert_memory_equal(got, &header, sizeof(header));

        struct record *record = end_relay(&run);

        for (; record; i++) {
                struct record *next = record->next;

                assert_true(i < ARRAY_SIZE(kinds));
                assert_int_equal(record->kind, kinds[i]);
                record_free(record);
                record = next;
        }
        assert_int_equal(i, ARRAY_SIZE(kinds));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(replies_are_matched_in_order),
                counted_test(a_reply_out_of_order),
                counted_test(a_reply_that_need_not_come),
                counted_test(channels_are_apart),
                counted_test(rules_follow_what_was_agreed_on),
                counted_test(after_a_loss_nothing_is_suspected),
                counted_test(what_fds_are),
                counted_test(a_long_name),
                counted_test(what_is_not_taken_is_counted),
                counted_test(the_limit_counts_names_and_what_was_taken),
                counted_test(lines_of_recordings),
                counted_test(records_of_a_session),
        };

        return run_counted("trace", tests);
}
