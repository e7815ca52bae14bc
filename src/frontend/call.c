/* SPDX-License-Identifier: BSD-2-Clause */

/* One request on the main channel: its check against its row, the sending, and the wait for the reply or
 * acknowledgement where the row or need_reply asks for one. While it waits, requests on the back-end channel are
 * answered (frontend_serve()), because the reply may depend on them; deferred events are told when the outermost call
 * has ended. All on the owner's one thread. A refusal is -EREMOTEIO; an error after which the stream can't be
 * continued, a timeout included, drops the connection. A front-end that is nonblocking pauses instead of waiting, and
 * goes on with struct call where it was when the same call is made again. A callback may free the front-end meanwhile,
 * which end_call() does and reports as -ECANCELED. */

#include "base/cleanup.h"
#include "base/log.h"
#include "base/range.h"
#include "frontend/frontend.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/param.h>

/* Waits for either channel, and answers the back-end's requests, since our reply may depend on them. *@served: serving
 * failed, and has logged its error. */
static int wait_either(struct oriel_frontend *frontend, int64_t deadline, bool *served)
{
        struct pollfd fds[2] = {{.fd = frontend->main.fd, .events = POLLIN},
                                {.fd = may_serve(frontend) ? frontend->back.fd : -1, .events = POLLIN}};
        int left = poll_timeout(deadline);
        int r = poll(fds, ARRAY_SIZE(fds), frontend->nonblocking ? 0 : left);

        if (r < 0)
                return errno == EINTR ? 0 : -errno;
        /* A back-end that sends requests without end does not extend the deadline. */
        if (!fds[0].revents && (left == 0 || (r == 0 && !frontend->nonblocking)))
                return -ETIMEDOUT;
        r = fds[1].revents ? frontend_serve(frontend) : 0;
        *served = r < 0;
        return r == 0 && !fds[0].revents && frontend->nonblocking ? -EINPROGRESS : r;
}

/* Total size of the regions in @message, whose payload may be shorter than it claims. */
static uint64_t memory_told(const struct message *message)
{
        const struct oriel_wire_memory *table = &message->payload.memory;
        uint64_t size = 0;

        if (message->header.request == ORIEL_FRONTEND_ADD_MEM_REG &&
            message->header.size >= sizeof(struct oriel_wire_mem_reg))
                return message->payload.mem_reg.region.size;
        if (message->header.request != ORIEL_FRONTEND_SET_MEM_TABLE)
                return 0;
        for (unsigned i = 0; i < ORIEL_MAX_MEM_REGIONS; i++)
                if (message->header.size >=
                            offsetof(struct oriel_wire_memory, regions) + (i + 1) * sizeof(table->regions[0]) &&
                    !checked_add(size, table->regions[i].size, &size))
                        return UINT64_MAX;
        return size;
}

/* A back-end maps memory before it answers, and may touch all of it (DPDK takes 3 s for 256 MiB): its time is extended
 * by 1 ms for each 16 KiB, by 10 minutes at most. */
static int frontend_timeout_of(const struct oriel_frontend *frontend, const struct message *request)
{
        const uint64_t per_ms = 16 << 10, most = 600000;

        return (int)MIN((uint64_t)frontend->timeout_ms + MIN(memory_told(request) / per_ms, most), INT_MAX);
}

static int wait_reply(struct oriel_frontend *frontend, const struct oriel_message_row *row, uint32_t expected)
{
        struct complaint complaint = {""};
        bool reported = false;
        int r;

        while ((r = channel_receive(&frontend->main, expected, &complaint)) == 0) {
                r = wait_either(frontend, frontend->call.deadline, &reported);
                if (r == -EINPROGRESS)
                        return r;
                if (r < 0)
                        break;
        }
        if (r == 1)
                message_log(&frontend->log, "from the back-end", ORIEL_FROM_FRONTEND, &frontend->main.in);
        if (r == 1)
                r = message_check_reply(row, &frontend->main.in, &frontend->agreement, &complaint);
        if (r == 1)
                message_tolerate(row, &complaint, &frontend->main.tolerated, &frontend->log_budget, &frontend->log);
        if (r == -ETIMEDOUT)
                complain(&complaint, "%s: no reply within %d ms", row->name,
                         frontend_timeout_of(frontend, &frontend->call.request));
        if (r == -EMFILE)
                log_within(&frontend->log_budget, &frontend->log, ORIEL_LOG_ERROR, "%s", complaint.text);
        else if (r < 0 && !reported)
                log_error(&frontend->log, "%s; the connection ends", complaint.text[0] ? complaint.text : strerror(-r));
        return r;
}

/* The size of the payload that will be received: by the row, or that of an acknowledgement. */
static uint32_t expected_size(const struct oriel_message_row *row, bool full)
{
        if (!full)
                return sizeof(uint64_t);
        return row->reply_size.min == row->reply_size.max ? row->reply_size.max : UINT32_MAX;
}

/* 0: it has been sent, now or before. */
static int call_send(struct oriel_frontend *frontend, const struct oriel_message_row *row,
                     const struct message *request)
{
        struct call *call = &frontend->call;

        if (call->sent)
                return 0;

        int r = channel_send(&frontend->main, request, frontend->nonblocking ? 0 : call->deadline);

        if (r == -EAGAIN)
                r = now_ms() < call->deadline ? -EINPROGRESS : -ETIMEDOUT;
        if (r == -ETIMEDOUT)
                log_error(&frontend->log, "%s: the back-end does not read its requests; the connection ends",
                          row->name);
        if (r < 0)
                return r;
        message_log(&frontend->log, "to the back-end", ORIEL_FROM_FRONTEND, request);
        call->sent = true;
        call->deadline = now_ms() + frontend_timeout_of(frontend, request);
        return 0;
}

/* 0; -EINPROGRESS: it goes on when the call is repeated; -EREMOTEIO: the request was refused; an error that
 * channel_is_lost() knows; else the request could not be sent, for an invalid fd or a limit on fds, and the connection
 * is unchanged. */
static int frontend_exchange(struct oriel_frontend *frontend, const struct oriel_message_row *row,
                             const struct message *request, struct message *reply)
{
        bool full = row_replies(row, &frontend->agreement);
        bool answered = full || row_acknowledges(row, &request->header, &frontend->agreement);

        int r = call_send(frontend, row, request);

        if (r < 0 || !answered)
                return r;
        r = wait_reply(frontend, row, expected_size(row, full));
        if (r == -EMFILE)
                channel_done(&frontend->main);
        if (r == -EMFILE || r == -EINPROGRESS)
                return r;
        if (r < 0)
                return channel_is_lost(r) ? r : -ENOTCONN;
        if (full && reply) {
                *reply = frontend->main.in;
                frontend->main.in.n_fds = 0;
        }

        bool refused = !full && frontend->main.in.payload.u64 != 0;

        channel_done(&frontend->main);
        return refused ? -EREMOTEIO : 0;
}

static bool is_same_request(const struct message *a, const struct message *b)
{
        return memcmp(&a->header, &b->header, sizeof(a->header)) == 0 &&
               memcmp(a->payload.bytes, b->payload.bytes, a->header.size) == 0;
}

static void call_begin(struct oriel_frontend *frontend, const struct message *request)
{
        struct call *call = &frontend->call;

        if (call->under_way)
                return;
        call->under_way = true;
        call->sent = false;
        call->deadline = now_ms() + frontend->timeout_ms;
        call->request.header = request->header;
        memcpy(call->request.payload.bytes, request->payload.bytes, request->header.size);
}

enum oriel_frontend_request oriel_frontend_under_way(const struct oriel_frontend *frontend)
{
        return frontend->call.under_way ? frontend->call.request.header.request : 0;
}

int frontend_call(struct oriel_frontend *frontend, const struct message *request, struct message *reply)
{
        const struct oriel_message_row *row;
        struct complaint complaint = {""};
        struct message asking = *request;

        if (reply)
                message_init(reply, request->header.request, 0);
        if (frontend->main.fd < 0)
                return -ENOTCONN;
        if (frontend->call.under_way && !is_same_request(&frontend->call.request, request))
                return -EBUSY;
        if (message_check_request(ORIEL_FROM_FRONTEND, request, &frontend->agreement, &row, &complaint) < 0) {
                log_debug(&frontend->log, "%s", complaint.text);
                return -EOPNOTSUPP;
        }
        if (agreed(&frontend->agreement, ORIEL_PROTOCOL_F_REPLY_ACK) && !row_replies(row, &frontend->agreement))
                asking.header.flags |= ORIEL_FLAG_NEED_REPLY;

        call_begin(frontend, request);
        frontend->depth++;

        int r = frontend_exchange(frontend, row, &asking, reply);

        frontend->depth--;
        if (r == -EINPROGRESS && frontend->main.fd >= 0)
                return call_pause(frontend);
        if (r == -EINPROGRESS)
                r = -ENOTCONN;
        call_end(frontend);
        if (channel_is_lost(r)) {
                drop_connection(frontend);
                return end_call(frontend, r);
        }
        tell_deferred_events(frontend);
        return end_call(frontend, r);
}
