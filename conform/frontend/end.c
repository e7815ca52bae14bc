/* SPDX-License-Identifier: BSD-2-Clause */

/* Cases for the end of a session: a reset by the driver, connections that end at rest, with answers on their way or
 * inside a message, and a new connection afterwards. The process must live, and the mappings must be gone. Only the
 * user can cause a reset: --reset names a shell command, which finds the peer's process in ORIEL_PEER. A front-end
 * that does not connect again is skipped, not failed. */

#include "base/fd.h"
#include "conform/frontend/frontend.h"
#include "program/signals.h"

#include <stdio.h>
#include <stdlib.h>

#define RECONNECT_MS 5000
#define LIVE_ON_MS   500
#define LOOK_MS      20

static enum answer map_three(struct trial *trial)
{
        struct front_end *f = trial->front_end;
        enum answer answer = DONE;

        for (unsigned i = 0; i < 3 && BIT(answer) & ACCEPTED; i++) {
                const struct oriel_wire_mmap place = front_place(trial, 2 * i, PAGE);

                answer = front_map(f, &place, f->file);
        }
        return answer;
}

static enum verdict lives_without(struct trial *trial, int file)
{
        struct front_end *f = trial->front_end;

        if (process_ends(&f->process, now_ms() + LIVE_ON_MS))
                return fails(trial, "the process has ended");
        if (!front_forgets(f, file))
                return fails(trial, "the process still has the file mapped");
        return PASSED;
}

static enum verdict end_disconnect(struct trial *trial)
{
        struct front_end *f = trial->front_end;

        if (expect(trial, "SHMEM_MAP", map_three(trial), ACCEPTED) != PASSED)
                return FAILED;
        front_drop(f);
        return lives_without(trial, f->file);
}

/* While answers are outstanding that will not be read. */
static enum verdict disconnect_unanswered(struct trial *trial)
{
        struct front_end *f = trial->front_end;
        _cleanup_(fd_closep) int file = wire_memfd(64 * LIVE_STRIDE);

        for (unsigned i = 0; i < 32; i++) {
                struct oriel_wire_mmap place = front_place(trial, 2 * i, PAGE);
                struct message request;

                front_init_map(&request, &place, file);
                if (front_send(f, &request, true) != DONE)
                        return fails(trial, "closed the connection");
        }
        front_drop(f);
        return lives_without(trial, file);
}

static enum verdict end_in_message(struct trial *trial)
{
        struct front_end *f = trial->front_end;
        struct message request;

        front_init_map(&request, &f->page, f->file);
        wire_send_part(f->back.fd, &request, 0, trial->row->argument, f->timeout_ms);
        front_drop(f);
        return lives_without(trial, f->file);
}

static enum verdict back_channel_only(struct trial *trial)
{
        struct front_end *f = trial->front_end;

        channel_close(&f->back);
        front_serve_for(f, LIVE_ON_MS);
        front_drop(f);
        return PASSED;
}

/* As after a crash of the back-end: the same mappings with the next connection. */
static enum verdict end_reconnect(struct trial *trial)
{
        struct front_end *f = trial->front_end;

        if (expect(trial, "SHMEM_MAP", front_map(f, &f->page, f->file), ACCEPTED) != PASSED)
                return FAILED;
        front_drop(f);
        if (front_accept(f, now_ms() + RECONNECT_MS) < 0)
                return process_runs(&f->process) ? skips(trial, "it does not connect again within 5 s")
                                                 : fails(trial, "the process has ended");
        if (front_connect(f, true) < 0)
                return fails(trial, "the device is not started again");
        if (expect(trial, "SHMEM_MAP after it", front_map(f, &f->page, f->file), ACCEPTED) != PASSED)
                return FAILED;
        return f->violation.text[0] ? fails(trial, "%s", f->violation.text) : PASSED;
}

/* ---- a reset by the driver, which only the user can cause ---- */

static bool run_reset(const struct front_end *f)
{
        char pid[32];

        snprintf(pid, sizeof(pid), "%d", (int)f->pid);
        setenv("ORIEL_PEER", pid, 1);
        return system(f->options->reset) == 0;
}

static enum verdict end_reset(struct trial *trial)
{
        struct front_end *f = trial->front_end;
        int64_t deadline = now_ms() + (int64_t)f->options->start_timeout_s * 1000;
        unsigned stops = f->stops;

        if (!f->options->reset)
                return skips(trial, "--reset was not given");
        if (expect(trial, "SHMEM_MAP", map_three(trial), ACCEPTED) != PASSED)
                return FAILED;
        if (!run_reset(f))
                return skips(trial, "the command of --reset failed");
        while (f->stops == stops && now_ms() < deadline && !signals_noted())
                if (front_step(f, now_ms() + LOOK_MS) < 0)
                        return fails(trial, "closed the connection");
        if (f->stops == stops)
                return skips(trial, "the device was not reset");
        /* The front-end has to remove the mappings. */
        f->n_placed = 0;
        if (!front_forgets(f, f->file))
                return fails(trial, "the process still has the file mapped");
        f->settled = false;
        if (front_connect(f, true) < 0)
                return fails(trial, "the device is not started again");
        return expect(trial, "SHMEM_MAP after it", map_three(trial), ACCEPTED);
}

#define END_IN(title, bytes, words)                                                                          \
        {                                                                                                    \
                title, ROBUSTNESS, end_in_message, ORIEL_PROTOCOL_F_SHMEM_MAP, bytes,                        \
                        "both channels end " words " of a SHMEM_MAP", "the process lives; nothing is mapped" \
        }

static const struct conform_case rows[] = {
        {"reset", "VHOST_USER_BACKEND_SHMEM_MAP", end_reset, ORIEL_PROTOCOL_F_SHMEM_MAP, 0,
         "SHMEM_MAP three times; then the driver resets the device", "the mappings are gone; afterwards it maps again"},
        {"disconnect", ROBUSTNESS, end_disconnect, ORIEL_PROTOCOL_F_SHMEM_MAP, 0,
         "both channels end while three mappings are live", "the process lives; the mappings are gone"},
        {"disconnect-unanswered", ROBUSTNESS, disconnect_unanswered, ORIEL_PROTOCOL_F_SHMEM_MAP, 0,
         "32 times SHMEM_MAP, and both channels end before any answer is read",
         "the process lives; the mappings are gone"},
        END_IN("end-in-header", 5, "after 5 bytes"),
        END_IN("end-in-payload", WIRE_HEADER + 7, "after 7 bytes of the payload"),
        {"back-end-channel-ends", ROBUSTNESS, back_channel_only, ORIEL_PROTOCOL_F_BACKEND_REQ, 0,
         "the back-end channel ends, the main channel does not", "the process lives"},
        {"reconnect", "Communication", end_reconnect, ORIEL_PROTOCOL_F_SHMEM_MAP, 0,
         "both channels end, and the front-end connects again", "the device is started again, and maps"},
};

const struct conform_group frontend_end_cases = GROUP(rows);
