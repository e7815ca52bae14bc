/* SPDX-License-Identifier: BSD-2-Clause */

/* Cases for back-ends about the life of connections. A front-end connects, with or without a started vring, and
 * disconnects again and again: the peer must accept the next one and close all descriptors of the last, which are
 * counted in /proc where the process is ours. Descriptors of refused messages count too. */

#include "conform/backend/backend.h"

#include <limits.h>

#define CYCLES    100
#define TOLERANCE 3 /* descriptors that a back-end may open once and keep */

static enum verdict reconnect_session(struct trial *trial)
{
        struct back_end *b = trial->back_end;
        uint64_t first = b->features;

        if (!back_reopen(b, 0))
                return fails(trial, "no new connection can be negotiated");
        if (b->features != first)
                return fails(trial, "other features than before");
        return PASSED;
}

static bool start_session(struct back_end *b)
{
        _cleanup_(events_close) struct backend_events events = events_open();

        return BIT(back_bring_up(b, 0, &events)) & ACCEPTED;
}

/* With and without a started vring: the descriptors of a connection must be closed with it. */
static enum verdict run_cycles(struct trial *trial)
{
        struct back_end *b = trial->back_end;
        bool count = b->options->command;
        int before = 0, after;

        if (b->one_shot)
                return skips(trial, "the process ends with its connection");
        for (int i = 0; i < CYCLES; i++) {
                if (!back_reopen(b, 0) || (trial->row->argument && !start_session(b)))
                        return fails(trial, "connection %d can't be used", i);
                if (i == 0)
                        before = back_count_fds(b, INT_MAX);
        }
        if (!count)
                return passes(trial, "the process is not ours: its descriptors were not counted");
        after = back_count_fds(b, before);
        measured(trial, "fds_before", before);
        measured(trial, "fds_after", after);
        return after > before + TOLERANCE
                       ? fails(trial, "%d descriptors after the first, %d after the last", before, after)
                       : PASSED;
}

static enum verdict left_running(struct trial *trial)
{
        struct back_end *b = trial->back_end;

        if (!start_session(b))
                return fails(trial, "the vring can't be started: %s", b->why.text);
        if (!back_reopen(b, 0) || !start_session(b))
                return fails(trial, "a new connection can't be used: %s", b->why.text);
        return PASSED;
}

/* Descriptors of refused messages must be closed too. */
static enum verdict refused_fds(struct trial *trial)
{
        struct back_end *b = trial->back_end;
        int before, after;

        if (!b->options->command)
                return skips(trial, "the process is not ours: its descriptors can't be counted");
        before = back_count_fds(b, INT_MAX);
        for (int i = 0; i < CYCLES; i++) {
                struct message message;

                wire_init(&message, 200, NULL, 0);
                for (int n = 0; n < ORIEL_MAX_FDS; n++)
                        wire_add_fd(&message, b->memory_fd);

                enum answer answer = back_ask(b, &message);

                if (answer == CLOSED && b->one_shot)
                        return passes(trial, "closed the connection");
                if (answer == CLOSED && !back_reopen(b, 0))
                        return fails(trial, "after %d of them no new connection can be negotiated", i);
        }
        after = back_count_fds(b, before);
        measured(trial, "fds_before", before);
        measured(trial, "fds_after", after);
        return after > before + TOLERANCE ? fails(trial, "%d descriptors before, %d after", before, after) : PASSED;
}

static const struct conform_case rows[] = {
        {"reconnect", "Communication", reconnect_session, NO_FEATURE, 0,
         "a second connection after the first was closed", "served, with the same features"},
        {"end-while-started", ROBUSTNESS, left_running, NO_FEATURE, 0, "the connection ends while a vring is started",
         "a new connection can start it again"},
        {"connections", ROBUSTNESS, run_cycles, NO_FEATURE, 0, "100 connections, negotiated and closed",
         "all served; no descriptor is left open"},
        {"connections-started", ROBUSTNESS, run_cycles, NO_FEATURE, 1,
         "100 connections, each with memory and a started vring", "all served; no descriptor is left open"},
        {"fds-of-refused-requests", ROBUSTNESS, refused_fds, NO_FEATURE, 0,
         "100 unknown requests with 8 descriptors each", "refused or closed; no descriptor is left open"},
};

const struct conform_group backend_connection_cases = GROUP(rows);
