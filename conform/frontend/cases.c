/* SPDX-License-Identifier: BSD-2-Clause */

/* The suite for a front-end: the list of its groups of cases, and the run of one case. The suite listens; the front-end
 * is started, or connects by itself, and a connection is used by one case after the other as long as it is intact.
 * Cases of frontend_early_cases run while the front-end starts the device, all others on a started one. After each
 * case, outstanding answers are awaited, the case's mappings unmapped, and the process is checked; a connection that a
 * case has made unusable is dropped, and the next case gets another. */

#include "base/fd.h"
#include "conform/frontend/frontend.h"
#include "program/report.h"
#include "program/socket_file.h"

#include <inttypes.h>
#include <stdio.h>

#define DIE_MS 300 /* for a process to be gone after its connection */

/* Late answers would be taken for those of the next case. */
static void settle_debts(struct front_end *f)
{
        int64_t deadline = now_ms() + f->timeout_ms;

        while (f->owed > 0 && f->back.fd >= 0 && front_step(f, deadline) == 1)
                ;
}

static enum verdict look_after(struct trial *trial, enum verdict verdict)
{
        struct front_end *f = trial->front_end;
        bool lost = f->main.fd < 0 || f->back.fd < 0;
        char how[64];

        if (process_ends(&f->process, now_ms() + (lost && verdict != SKIPPED ? DIE_MS : 0))) {
                process_describe(&f->process, how, sizeof(how));
                front_drop(f);
                return fails(trial, "the peer died (%s)", how);
        }
        if (f->process.pid != f->began_with)
                verdict = fails(trial, "the peer died");
        f->deaf = false;
        settle_debts(f);
        while (f->n_placed > 0 && !f->spoiled) {
                struct oriel_wire_mmap last = f->placed[f->n_placed - 1];

                /* If it can't be unmapped, it is not tried again. */
                if (!(BIT(front_unmap(f, &last)) & ACCEPTED) && f->n_placed > 0)
                        f->n_placed--;
        }
        if (f->spoiled || f->owed > 0) {
                process_stop(&f->process);
                front_drop(f);
        }
        return verdict;
}

/* Cases that have to run before the driver has started the device. */
static bool is_early(const struct conform_case *row)
{
        return row >= frontend_early_cases.cases && row < frontend_early_cases.cases + frontend_early_cases.n;
}

static enum verdict frontend_run_connected(struct trial *trial)
{
        struct front_end *f = trial->front_end;
        uint8_t feature = trial->row->feature;
        int r = front_connect(f, !is_early(trial->row));

        f->began_with = f->process.pid;
        if (r < 0 && process_runs(&f->process))
                return fails(trial, f->main.fd < 0 ? "it does not connect" : "it does not start the device");
        if (r < 0)
                return fails(trial, "it does not run");
        if (feature != NO_FEATURE && !is_early(trial->row) && !agreed(&f->agreement, feature))
                return skips(trial, "%s is not negotiated", oriel_protocol_feature_name(feature));
        f->file = wire_memfd(PAGE);
        f->page = front_place(trial, 0, PAGE);

        enum verdict verdict = trial->row->run(trial);

        f->file = fd_close(f->file);
        return verdict;
}

static enum verdict run_frontend_case(struct trial *trial)
{
        return look_after(trial, frontend_run_connected(trial));
}

int conform_frontend(const struct conform_options *options)
{
        const struct conform_group groups[] = {
                frontend_early_cases, frontend_start_cases, frontend_map_cases,     frontend_refuse_cases,
                frontend_file_cases,  frontend_live_cases,  frontend_channel_cases, frontend_end_cases,
        };
        char about[96];
        const struct suite suite = {"frontend", groups, ARRAY_SIZE(groups), run_frontend_case, about};
        struct front_end f = {
                .options = options,
                .timeout_ms = (int)options->timeout_s * 1000,
                .main.fd = -1,
                .back.fd = -1,
                .file = -1,
                .live_fd = -1,
        };
        struct trial trial = {.front_end = &f, .why = f.why.text};

        if (options->list)
                return suite_list(&suite);

        struct socket_file file;

        snprintf(about, sizeof(about), "virtio id %u; queues %u; a region of %" PRIu64 " MiB", options->virtio_id,
                 options->queues, options->region >> 20);
        f.listener = socket_file_listen(&file, options->socket);
        if (f.listener < 0)
                return STATUS_FAILURE;

        int status = suite_run(&suite, options, &trial);

        front_drop(&f);
        process_stop(&f.process);
        fd_close(f.live_fd);
        socket_file_remove(&file);
        fd_close(f.listener);
        return status;
}
