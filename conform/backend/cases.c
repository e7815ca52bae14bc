/* SPDX-License-Identifier: BSD-2-Clause */

/* The suite for a back-end: the list of its groups of cases, and the run of one case. Every case has a connection of
 * its own, on which protocol features are negotiated first; a case whose feature is missing is skipped, and afterwards
 * back_look_after() checks that the peer is still alive. Before the first case the suite finds out whether the process
 * ends with its front-end and what the peer offers, and makes the guest memory that all cases use. */

#include "base/fd.h"
#include "conform/backend/backend.h"
#include "program/report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define LEAVE_MS 500 /* for a process to end after its front-end has gone */

/* Finds out whether the process ends with its front-end, as a daemon for one virtual machine does. */
static int learn_habits(struct back_end *b)
{
        int r = back_open(b);

        if (r < 0)
                return r;
        back_close(b);
        if (b->options->command && process_ends(&b->process, now_ms() + LEAVE_MS)) {
                b->one_shot = true;
                b->usual_status = b->process.status;
        }
        return 0;
}

static void print_protocol_features(FILE *out, uint64_t features)
{
        for (unsigned bit = 0; bit < 64; bit++) {
                const char *name = oriel_protocol_feature_name(bit);

                if (features & ORIEL_FEATURE(bit) && name)
                        fprintf(out, " %s", name);
                else if (features & ORIEL_FEATURE(bit))
                        fprintf(out, " bit %u", bit);
        }
        if (!features)
                fprintf(out, " none");
}

/* Says what the peer is tried as and offers: from this follows which cases are skipped. NULL: it can't be negotiated
 * with, which the cases then tell. The caller frees it. */
static char *describe_peer(struct back_end *b)
{
        uint64_t queues = 0;
        char *about = NULL;
        size_t size;

        if (!back_reopen(b, 0))
                return NULL;

        FILE *out = open_memstream(&about, &size);

        if (!out)
                return NULL;
        if (b->options->virtio_id)
                fprintf(out, "virtio id %u; ", b->options->virtio_id);
        fprintf(out, "features 0x%" PRIx64 "; protocol features", b->features);
        print_protocol_features(out, b->offered);
        if (back_get_queues(b, &queues) == DONE && queues > 0)
                fprintf(out, "; queues %" PRIu64, queues);
        if (b->one_shot)
                fprintf(out, "; ends with its front-end");
        fclose(out);
        return about;
}

static enum verdict backend_run_connected(struct trial *trial)
{
        struct back_end *b = trial->back_end;
        enum answer answer = back_negotiate(b, 0);

        if (!(BIT(answer) & ACCEPTED))
                return fails(trial, "negotiation: %s %s", answer_name(answer), b->why.text);
        if (trial->row->feature != NO_FEATURE && !(b->offered & ORIEL_FEATURE(trial->row->feature)))
                return skips(trial, "%s is not offered", oriel_protocol_feature_name(trial->row->feature));
        return trial->row->run(trial);
}

static enum verdict run_backend_case(struct trial *trial)
{
        struct back_end *b = trial->back_end;

        b->death[0] = '\0';

        int r = back_open(b);

        if (r < 0)
                return fails(trial, "the peer takes no connection: %s", strerror(-r));
        return back_look_after(trial, backend_run_connected(trial));
}

static int make_memory(struct back_end *b)
{
        b->memory_fd = wire_memfd(GUEST_SIZE);
        if (b->memory_fd < 0)
                return b->memory_fd;
        b->memory = mmap(NULL, GUEST_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, b->memory_fd, 0);
        return b->memory == MAP_FAILED ? -errno : 0;
}

static void explain_connection(struct back_end *b, int r)
{
        char how[64];

        if (b->options->command && !process_runs(&b->process)) {
                process_describe(&b->process, how, sizeof(how));
                report("%s has ended with %s (--log shows what it said)", b->options->command[0], how);
        } else {
                report("%s: %s", b->options->socket, strerror(-r));
        }
}

int conform_backend(const struct conform_options *options)
{
        const struct conform_group groups[] = {
                backend_negotiation_cases, backend_ack_cases,        backend_config_cases,   backend_memory_cases,
                backend_vring_cases,       backend_ring_cases,       backend_inflight_cases, backend_shmem_cases,
                backend_framing_cases,     backend_connection_cases, backend_gpu_cases,
        };
        struct suite suite = {"backend", groups, ARRAY_SIZE(groups), run_backend_case, NULL};
        struct back_end b = {
                .options = options, .timeout_ms = (int)options->timeout_s * 1000, .main.fd = -1, .back = -1};
        struct trial trial = {.back_end = &b, .why = b.why.text};
        int status = STATUS_FAILURE;

        if (options->list)
                return suite_list(&suite);

        int r = make_memory(&b);
        _cleanup_(freep) char *about = NULL;

        if (r == 0)
                r = learn_habits(&b);
        if (r < 0) {
                explain_connection(&b, r);
        } else {
                suite.about = about = describe_peer(&b);
                status = suite_run(&suite, options, &trial);
        }
        back_close(&b);
        process_stop(&b.process);
        if (b.memory && b.memory != MAP_FAILED)
                munmap(b.memory, GUEST_SIZE);
        fd_close(b.memory_fd);
        return status;
}
