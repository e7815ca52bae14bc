/* SPDX-License-Identifier: BSD-2-Clause */

/* The start of a device, as a front-end does it. Two cases run while it starts the device, because they send SHMEM_MAP
 * before the driver is ready: early_rows. One of them maps from within the answer to the start, and checks by the
 * driver's rings that no buffer is there before the front-end has answered. The others check afterwards the messages
 * that came until then (f->order, f->seen): rows. */

#include "conform/frontend/frontend.h"

#define LOOK_MS       20
#define MAPS_AT_START 32
#define NEGOTIATE_MS  2000 /* time for a front-end's requests before its driver starts */

/* The front-end may still be sending requests, or have sent all and wait for its driver. */
static enum verdict map_before_start(struct trial *trial)
{
        struct front_end *f = trial->front_end;
        const struct oriel_wire_mmap map = front_place(trial, 0, PAGE);
        int64_t deadline = now_ms() + NEGOTIATE_MS;

        f->pause_at = ORIEL_FRONTEND_GET_SHMEM_CONFIG;
        while (f->seen[f->pause_at] == 0 && !front_is_started(f) && now_ms() < deadline)
                if (front_step(f, deadline) < 0)
                        return fails(trial, "closed the connection before it was sent");
        f->pause_at = 0;
        if (f->back.fd < 0 || !agreed(&f->agreement, ORIEL_PROTOCOL_F_SHMEM_MAP))
                return skips(trial, "SHMEM_MAP is not negotiated");
        if (front_is_started(f))
                return skips(trial, "the device was started at once");

        enum answer answer = front_map(f, &map, f->file);

        if (answer == SILENT)
                answer = front_take(f, ORIEL_BACKEND_SHMEM_MAP, (int)f->options->start_timeout_s * 1000);
        return expect(trial, "SHMEM_MAP", answer, BIT(DONE) | BIT(REFUSED) | BIT(UNTOLD));
}

/* Maps the case's file, one page for each request. */
static void send_maps(struct front_end *f)
{
        struct oriel_wire_mmap map = f->page;
        struct message request;

        f->at_start = NULL;
        for (unsigned i = 0; i < MAPS_AT_START; i++, map.shm_offset += PAGE) {
                front_init_map(&request, &map, f->file);
                if (front_send(f, &request, true) == DONE)
                        f->placed[f->n_placed++] = map;
        }
}

/* Takes the next answer, and checks whether the driver continues before it. */
static enum verdict take_at_start(struct trial *trial, unsigned number, int64_t deadline)
{
        struct front_end *f = trial->front_end;
        int ring = -1;

        while (ring < 0 && !f->replied && now_ms() < deadline) {
                ring = front_ring_with_buffer(f);
                if (front_step(f, now_ms() + (ring < 0)) < 0)
                        return fails(trial, "closed the connection");
        }
        if (!f->replied)
                return ring < 0 ? fails(trial, "SHMEM_MAP %u: no answer", number)
                                : fails(trial, "a buffer is in vring %d before SHMEM_MAP %u is answered", ring, number);
        f->replied = false;
        return f->reply.header.request == ORIEL_BACKEND_SHMEM_MAP
                       ? PASSED
                       : fails(trial, "SHMEM_MAP %u: the answer is to request %u", number, f->reply.header.request);
}

/* The driver may read a region as soon as the device is started. */
static enum verdict frontend_map_at_start(struct trial *trial)
{
        struct front_end *f = trial->front_end;
        int64_t deadline = now_ms() + (int64_t)f->options->start_timeout_s * 1000;
        enum verdict verdict = PASSED;

        front_drop(f);
        if (front_connect(f, false) < 0)
                return fails(trial, "it does not connect again");
        f->began_with = f->process.pid;
        f->at_start = send_maps;
        while (f->at_start)
                if (now_ms() >= deadline || front_step(f, now_ms() + LOOK_MS) < 0)
                        return fails(trial, "it does not start the device");
        if (!agreed(&f->agreement, ORIEL_PROTOCOL_F_REPLY_ACK))
                return skips(trial, "REPLY_ACK is not negotiated");
        for (unsigned i = 0; verdict == PASSED && i < MAPS_AT_START; i++)
                verdict = take_at_start(trial, i, deadline);
        return verdict;
}

static enum verdict start_order(struct trial *trial)
{
        const struct front_end *f = trial->front_end;

        /* SET_OWNER depends on nothing, and may come at any time before the device is started. */
        unsigned first = f->n_order > 1 && f->order[0] == ORIEL_FRONTEND_SET_OWNER;

        if (f->n_order == 0 || f->order[first] != ORIEL_FRONTEND_GET_FEATURES)
                return fails(trial, "request %u came first", f->n_order ? f->order[first] : 0);
        if (f->seen[ORIEL_FRONTEND_SET_FEATURES] == 0)
                return fails(trial, "the device was started without SET_FEATURES");
        if (f->seen[ORIEL_FRONTEND_SET_MEM_TABLE] + f->seen[ORIEL_FRONTEND_ADD_MEM_REG] == 0)
                return fails(trial, "the device was started without memory");
        return PASSED;
}

static enum verdict start_rules(struct trial *trial)
{
        const struct front_end *f = trial->front_end;

        return f->violation.text[0] ? fails(trial, "%s", f->violation.text) : PASSED;
}

static enum verdict start_came(struct trial *trial)
{
        const struct front_end *f = trial->front_end;
        const struct oriel_message_row *row = oriel_message_find(ORIEL_FROM_FRONTEND, trial->row->argument);

        return f->seen[row->id] ? PASSED : fails(trial, "%s did not come", row->name);
}

static const struct conform_case early_rows[] = {
        {"map-before-start", ROBUSTNESS, map_before_start, ORIEL_PROTOCOL_F_SHMEM_MAP, 0,
         "SHMEM_MAP before the driver has started the device", "accepted or refused; the process lives"},
        {"map-at-start", ROBUSTNESS, frontend_map_at_start, ORIEL_PROTOCOL_F_SHMEM_MAP, 0,
         "SHMEM_MAP 32 times before the answer to what starts the first vring",
         "each answered before there is a buffer in a ring: a driver may read a region as soon as it has started it"},
};

static const struct conform_case rows[] = {
        {"start-order", "Communication", start_order, NO_FEATURE, 0, "nothing; what came until the device was started",
         "GET_FEATURES first, but for SET_OWNER; SET_FEATURES and memory before the start"},
        {"start-rules", "Protocol features", start_rules, NO_FEATURE, 0,
         "nothing; what came until the device was started",
         "each message is as its row wants it, was negotiated, and sets only what was offered"},
        {"backend-channel", "Back-end communication", start_came, ORIEL_PROTOCOL_F_BACKEND_REQ,
         ORIEL_FRONTEND_SET_BACKEND_REQ_FD, "nothing; what came until the device was started", "SET_BACKEND_REQ_FD"},
        {"asks-for-regions", "VHOST_USER_GET_SHMEM_CONFIG", start_came, ORIEL_PROTOCOL_F_SHMEM_MAP,
         ORIEL_FRONTEND_GET_SHMEM_CONFIG, "nothing; what came until the device was started", "GET_SHMEM_CONFIG"},
};

const struct conform_group frontend_early_cases = GROUP(early_rows);
const struct conform_group frontend_start_cases = GROUP(rows);
