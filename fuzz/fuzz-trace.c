/* SPDX-License-Identifier: BSD-2-Clause */

/* The input is what oriel trace is given: messages made of the protocol's rows, some of them written over, which both
 * peers and a back-end channel have sent before the relay runs; or records as a relay could make them; or a recording.
 * The relay must pass on every byte. Each record is written as text and as JSON, and each line of JSON must be one that
 * is taken as a part of a recording. */

#include "base/cleanup.h"
#include "fuzz/input.h"
#include "trace/output.h"
#include "trace/page.h"
#include "trace/recording.h"
#include "trace/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <json.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEADER sizeof(struct oriel_wire_header)
/* Of CLOCK_MONOTONIC: eighteen years. */
#define MOST_NS ((UINT64_C(1) << 59) - 1)

enum { MESSAGES_MOST = 24, MESSAGE_MOST = HEADER + ORIEL_MAX_PAYLOAD };

static FILE *sink;
static int kinds[4]; /* of fds */

static void begin(void)
{
        if (sink)
                return;
        sink = fopen("/dev/null", "w");
        kinds[0] = memfd_create("a \xc3\xa4\x01 memfd", MFD_CLOEXEC);
        kinds[1] = open("/dev/null", O_WRONLY | O_CLOEXEC);
        kinds[2] = eventfd(0, EFD_CLOEXEC);
        kinds[3] = open("/", O_PATH | O_CLOEXEC);
        need(sink && kinds[0] > 0 && kinds[1] > 0 && kinds[2] > 0 && kinds[3] > 0);
}

/* ---- messages ---- */

/* A request or a reply of a row, in words of four bytes. Returns its size; @n_fds says how many fds it should have. */
static size_t make_message(struct input *input, bool main, uint8_t *to, unsigned *n_fds)
{
        enum oriel_direction direction = main ? ORIEL_FROM_FRONTEND : ORIEL_FROM_BACKEND;
        uint8_t how = take_byte(input), id = take_byte(input);
        const struct oriel_message_row *row = oriel_message_find(direction, id % (oriel_message_count(direction) + 2));
        const struct oriel_bounds none = {0, 8}, *size = !row ? &none : how & 1 ? &row->reply_size : &row->size;
        uint32_t span = size->max - size->min;
        struct oriel_wire_header header = {
                .request = row ? row->id : id,
                .flags = ORIEL_PROTOCOL_VERSION | (how & 1 ? ORIEL_FLAG_REPLY : 0) |
                         (how & 2 ? ORIEL_FLAG_NEED_REPLY : 0),
                .size = size->min,
        };

        if (how & 4)
                header.size += (uint32_t)take_number(input) % (span + 1);
        *n_fds = row ? (how & 1 ? row->reply_fds.max : row->fds.max) : how >> 5;
        if (how & 8)
                *n_fds = take_choice(input, 10);
        if ((how & 0x30) == 0x30)
                take(input, (uint8_t *)&header + take_choice(input, HEADER), 1);
        memcpy(to, &header, HEADER);
        if (header.size > ORIEL_MAX_PAYLOAD)
                header.size = ORIEL_MAX_PAYLOAD;
        memset(to + HEADER, 0, header.size);
        for (size_t at = HEADER; at + 4 <= HEADER + header.size && input->size > 0; at += 4) {
                uint64_t word = take_number(input);

                memcpy(to + at, &word, 4);
        }
        return HEADER + header.size;
}

/* ---- what is written of records ---- */

static void write_record(const struct setting *setting, struct tracker *tracker, const struct record *record,
                         FILE *recording)
{
        struct json_object *object;
        struct complaint why;
        struct trace_event event;
        const char *line;

        tracker_see(tracker, record, &event);
        output_text(sink, setting, tracker, &event);
        object = output_json(setting, tracker, &event);
        line = json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
        need(recording_check(line, strlen(line), &why) == 0);
        fprintf(recording, "%s\n", line);
        json_object_put(object);
}

/* All records of @log; a page of what was written; and the same with the input's bytes over it. */
static void write_records(struct input *input, struct record_log *log)
{
        struct setting setting = {
                .listen = "a",
                .connect = "b <i>",
                .naming = {.dialect = oriel_dialect_get(take_choice(input, 4)), .device_id = take_byte(input)},
                .began_ns = (int64_t)(take_number(input) & MOST_NS),
        };
        struct tracker *tracker = tracker_new(setting.naming.dialect);
        FILE *recording;
        char *text = NULL;
        size_t size = 0;
        struct complaint why;
        struct record *record;

        recording = open_memstream(&text, &size);
        need(tracker && recording);
        record_log_close(log);
        while ((record = record_log_take(log)))
                for (struct record *next; record; record = next) {
                        next = record->next;
                        write_record(&setting, tracker, record, recording);
                        record_log_done(log, record);
                }
        tracker_free(tracker);
        fclose(recording);
        for (unsigned round = 0; round < 2 && size > 0; round++) {
                recording = fmemopen(text, size, "r");
                need(recording);

                int r = page_render(recording, sink, &why);

                need(r == 0 || (round == 1 && (r == -EPROTO || r == -ENODATA)));
                fclose(recording);
                for (unsigned n = take_choice(input, 6); n > 0; n--)
                        take(input, text + take_number(input) % size, 1);
        }
        free(text);
}

/* ---- the kinds of input ---- */

/* One peer: its own end of a connection, and what it sends. */
struct peer {
        int fd;
        size_t sent;
        uint8_t bytes[MESSAGES_MOST * 512];
};

static void send_with_fds(struct peer *peer, const uint8_t *data, size_t size, const int *fds, unsigned n)
{
        union {
                struct cmsghdr align;
                char room[CMSG_SPACE(16 * sizeof(int))];
        } control = {0};
        struct iovec iov = {(void *)(uintptr_t)data, size};
        struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

        if (size == 0 || peer->sent + size > sizeof(peer->bytes))
                return;
        if (n > 0) {
                message.msg_control = &control;
                message.msg_controllen = CMSG_SPACE(n * sizeof(int));

                struct cmsghdr *c = CMSG_FIRSTHDR(&message);

                *c = (struct cmsghdr){
                        .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(n * sizeof(int))};
                memcpy(CMSG_DATA(c), fds, n * sizeof(int));
        }
        if (sendmsg(peer->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)size)
                return;
        memcpy(peer->bytes + peer->sent, data, size);
        peer->sent += size;
}

/* In one piece or two. SET_BACKEND_REQ_FD brings @channel. */
static void send_messages(struct input *input, struct peer *peer, bool main, int channel)
{
        static uint8_t bytes[MESSAGE_MOST];

        for (unsigned n = take_choice(input, MESSAGES_MOST); n > 0 && input->size > 0; n--) {
                int fds[16];
                unsigned n_fds;
                size_t size = make_message(input, main, bytes, &n_fds), first = size;

                for (unsigned i = 0; i < n_fds && i < ARRAY_SIZE(fds); i++)
                        fds[i] = kinds[(i + take_byte(input)) % ARRAY_SIZE(kinds)];
                if (main && bytes[0] == ORIEL_FRONTEND_SET_BACKEND_REQ_FD && channel >= 0)
                        fds[0] = channel;
                if (take_byte(input) % 4 == 1)
                        first = take_number(input) % size;
                send_with_fds(peer, bytes, first, fds, n_fds < ARRAY_SIZE(fds) ? n_fds : ARRAY_SIZE(fds));
                send_with_fds(peer, bytes + first, size - first, NULL, 0);
        }
}

static void check_passed_on(const struct peer *to, const struct peer *from)
{
        static uint8_t bytes[sizeof(from->bytes) + 1];
        size_t have = 0;

        for (ssize_t n = 1; n > 0; have += n > 0 ? (size_t)n : 0)
                n = recv(to->fd, bytes + have, sizeof(bytes) - have, MSG_DONTWAIT);
        need(have == from->sent && memcmp(bytes, from->bytes, have) == 0);
}

static void fuzz_relay(struct input *input, struct record_log *log)
{
        static struct peer peers[2], channel;
        int ends[2], pair[2], relayed[2];
        uint8_t how = take_byte(input);

        for (unsigned i = 0; i < 2; i++) {
                need(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
                peers[i].fd = pair[0];
                peers[i].sent = 0;
                relayed[i] = pair[1];
        }
        need(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
        channel.fd = ends[0];
        channel.sent = 0;
        send_messages(input, &channel, false, -1);
        send_messages(input, &peers[0], true, how & 1 ? ends[1] : -1);
        send_messages(input, &peers[1], true, -1);
        close(ends[1]);
        shutdown(channel.fd, SHUT_WR);
        for (unsigned i = 0; i < 2; i++)
                shutdown(peers[i].fd, how >> (1 + i) & 1 ? SHUT_RDWR : SHUT_WR);
        need(relay_run(relayed[0], relayed[1], how & 8 ? kinds[1] : -1, log, 1) == 0);
        if ((how & 0xe) == 0) {
                check_passed_on(&peers[1], &peers[0]);
                check_passed_on(&peers[0], &peers[1]);
        }
        for (unsigned i = 0; i < 2; i++)
                close(peers[i].fd);
        close(channel.fd);
}

static void fuzz_records(struct input *input, struct record_log *log)
{
        static uint8_t bytes[MESSAGE_MOST];

        for (unsigned i = 0; i < 60 && input->size > 0; i++) {
                uint8_t how = take_byte(input);
                unsigned channel = how % 4 == 3 ? take_choice(input, 4) : 0, n_fds;
                size_t size = make_message(input, channel == 0, bytes, &n_fds);
                uint32_t payload = (uint32_t)(size - HEADER);
                struct record *record;

                if (how & 0x40)
                        payload = (uint32_t)take_number(input) % (payload + 1);
                record = record_new(how & 0x30 ? RECORD_MESSAGE : take_choice(input, RECORD_LOST + 1), bytes + HEADER,
                                    payload);
                need(record);
                memcpy(&record->header, bytes, HEADER);
                record->header_bytes = how & 0x80 ? take_choice(input, HEADER + 1) : HEADER;
                record->session = 1 + (how % 4 == 2 ? take_choice(input, 2) : 0);
                record->channel = channel;
                record->from = (how >> 2 ^ bytes[4] >> 2) & 1 ? SIDE_BACKEND : SIDE_FRONTEND;
                record->at_ns = (int64_t)(take_number(input) & MOST_NS);
                record->n_fds = n_fds;
                record->fds = n_fds && how & 8 ? calloc(n_fds, sizeof(*record->fds)) : NULL;
                for (unsigned fd = 0; record->fds && fd < n_fds; fd++)
                        describe_fd(fd == 9 ? -1 : kinds[fd % ARRAY_SIZE(kinds)], &record->fds[fd]);
                record_log_put(log, record);
        }
}

/* Lines that may be a recording's. */
static void fuzz_lines(struct input *input, struct record_log *log)
{
        size_t size;
        uint8_t *text = take_block(input, 4096, &size);
        FILE *recording = fmemopen(text, size ? size : 1, "r");
        struct complaint why;

        need(recording);
        recording_check((char *)text, size, &why);
        page_render(recording, sink, &why);
        fclose(recording);
        free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static void (*const all[])(struct input * input, struct record_log * log) = {fuzz_relay, fuzz_records,
                                                                                     fuzz_records, fuzz_lines};
        struct input input = {data, size};
        struct record_log log;

        begin();
        record_log_init(&log);
        all[take_choice(&input, ARRAY_SIZE(all))](&input, &log);
        write_records(&input, &log);
        record_log_destroy(&log);
        return 0;
}
