/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/fd.h"
#include "base/libc.h"
#include "conform/backend/backend.h"

#include <inttypes.h>

#define GET "VHOST_USER_GET_INFLIGHT_FD"
#define SET "VHOST_USER_SET_INFLIGHT_FD"
/* The size of the struct without the compiler's padding at its end. */
#define SIZE (uint32_t) offsetof(struct oriel_wire_inflight, padding)

static enum answer inflight_get(struct back_end *b, struct oriel_wire_inflight *inflight, int *fd)
{
        const struct oriel_wire_inflight wanted = {.num_queues = 1, .queue_size = RING_SIZE};
        enum answer answer = back_set_features(b);

        if (!(BIT(answer) & ACCEPTED))
                return answer;
        answer = back_ask_with(b, ORIEL_FRONTEND_GET_INFLIGHT_FD, &wanted, SIZE);
        if (answer == DONE) {
                message_get(&b->reply, inflight, sizeof(*inflight));
                *fd = message_take_fd(&b->reply, 0);
        }
        return answer;
}

static enum verdict get_fd(struct trial *trial)
{
        struct back_end *b = trial->back_end;
        struct oriel_wire_inflight inflight = {0};
        struct statx st;
        _cleanup_(fd_closep) int fd = -1;

        if (expect(trial, "GET_INFLIGHT_FD", inflight_get(b, &inflight, &fd), BIT(DONE)) != PASSED)
                return FAILED;
        if (fd < 0 || fd_look(fd, &st) < 0)
                return fails(trial, "no descriptor came");
        if (inflight.mmap_size == 0)
                return fails(trial, "a buffer of 0 bytes");
        if (inflight.mmap_offset > st.stx_size || inflight.mmap_size > st.stx_size - inflight.mmap_offset)
                return fails(trial, "%" PRIu64 " bytes at %" PRIu64 " of a file of %lld", inflight.mmap_size,
                             inflight.mmap_offset, (long long)st.stx_size);
        return PASSED;
}

static enum verdict inflight_give_back(struct trial *trial)
{
        struct back_end *b = trial->back_end;
        struct oriel_wire_inflight inflight = {0};
        _cleanup_(fd_closep) int fd = -1;

        if (expect(trial, "GET_INFLIGHT_FD", inflight_get(b, &inflight, &fd), BIT(DONE)) != PASSED)
                return FAILED;
        if (!back_reopen(b, 0) || !(BIT(back_set_features(b)) & ACCEPTED))
                return fails(trial, "no second connection");
        return expect(trial, "SET_INFLIGHT_FD", back_ask_fd(b, ORIEL_FRONTEND_SET_INFLIGHT_FD, &inflight, SIZE, fd),
                      ACCEPTED);
}

static enum verdict give_odd(struct trial *trial)
{
        struct back_end *b = trial->back_end;
        const struct oriel_wire_inflight inflight = {.mmap_size = UINT64_C(1) << 40, .num_queues = 1, .queue_size = 64};
        int fd = trial->row->argument ? b->memory_fd : -1;

        return expect(trial, "SET_INFLIGHT_FD", back_ask_fd(b, ORIEL_FRONTEND_SET_INFLIGHT_FD, &inflight, SIZE, fd),
                      TURNED_DOWN);
}

static enum verdict ask_for_nothing(struct trial *trial)
{
        struct back_end *b = trial->back_end;
        const struct oriel_wire_inflight inflight = {.num_queues = trial->row->argument ? UINT16_MAX : 0,
                                                     .queue_size = trial->row->argument ? UINT16_MAX : 0};

        return expect(trial, "GET_INFLIGHT_FD", back_ask_with(b, ORIEL_FRONTEND_GET_INFLIGHT_FD, &inflight, SIZE),
                      EITHER);
}

static const struct conform_case rows[] = {
        {"get-inflight-fd", GET, get_fd, ORIEL_PROTOCOL_F_INFLIGHT_SHMFD, 0, "GET_INFLIGHT_FD for one queue of 64",
         "a descriptor whose file has the buffer"},
        {"set-inflight-fd", SET, inflight_give_back, ORIEL_PROTOCOL_F_INFLIGHT_SHMFD, 0,
         "SET_INFLIGHT_FD with what GET_INFLIGHT_FD gave, on another connection", "accepted"},
        {"set-inflight-fd-short", ROBUSTNESS, give_odd, ORIEL_PROTOCOL_F_INFLIGHT_SHMFD, 1,
         "SET_INFLIGHT_FD with a buffer of 1 TiB in a file of 4 MiB", "refused, or closed; the process lives"},
        {"set-inflight-fd-missing", SET, give_odd, ORIEL_PROTOCOL_F_INFLIGHT_SHMFD, 0,
         "SET_INFLIGHT_FD without a descriptor", "refused, or closed; the process lives"},
        {"get-inflight-fd-none", ROBUSTNESS, ask_for_nothing, ORIEL_PROTOCOL_F_INFLIGHT_SHMFD, 0,
         "GET_INFLIGHT_FD for no queue", "answered, refused or closed; the process lives"},
        {"get-inflight-fd-huge", ROBUSTNESS, ask_for_nothing, ORIEL_PROTOCOL_F_INFLIGHT_SHMFD, 1,
         "GET_INFLIGHT_FD for 65535 queues of 65535", "answered, refused or closed; the process lives"},
};

const struct conform_group backend_inflight_cases = GROUP(rows);
