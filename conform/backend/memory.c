/* SPDX-License-Identifier: BSD-2-Clause */

/* Cases for memory tables: SET_MEM_TABLE, ADD_MEM_REG, REM_MEM_REG and GET_MAX_MEM_SLOTS, valid, repeated (to find
 * descriptors that are left open), and with wrong numbers, ranges or files. One function serves several rows by
 * trial->row->argument: LIE() packs three counts into it.
 *
 * A case begins on a connection of its own with features negotiated (run() in cases.c), and has passed only if the
 * process lives afterwards. */

#include "base/fd.h"
#include "conform/backend/backend.h"

#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#define TABLE   "VHOST_USER_SET_MEM_TABLE"
#define ADD     "VHOST_USER_ADD_MEM_REG"
#define REMOVE  "VHOST_USER_REM_MEM_REG"
#define PIECE   UINT64_C(0x10000)
#define MOST    32
#define REPEATS 20

/* The @i-th of many regions, none of which are adjacent. */
static struct oriel_wire_memory_region region_at(const struct back_end *b, unsigned i)
{
        return (struct oriel_wire_memory_region){
                .guest_address = GUEST_ADDRESS + i * 2 * PIECE,
                .size = PIECE,
                .user_address = (uintptr_t)b->memory + i * 2 * PIECE,
                .mmap_offset = i * PIECE,
        };
}

static enum answer table_change(struct back_end *b, enum oriel_frontend_request id,
                                const struct oriel_wire_memory_region *region, int fd)
{
        struct oriel_wire_mem_reg payload = {.region = *region};

        return back_ask_fd(b, id, &payload, sizeof(payload), fd);
}

static enum answer table_add(struct back_end *b, unsigned i)
{
        struct oriel_wire_memory_region region = region_at(b, i);

        return table_change(b, ORIEL_FRONTEND_ADD_MEM_REG, &region, b->memory_fd);
}

/* Sends a table of @regions that claims to have @says, with @fds descriptors. */
static enum answer set_table(struct back_end *b, uint32_t says, unsigned regions, unsigned fds)
{
        struct message message;
        uint32_t size = (uint32_t)(offsetof(struct oriel_wire_memory, regions) +
                                   regions * sizeof(struct oriel_wire_memory_region));

        wire_init(&message, ORIEL_FRONTEND_SET_MEM_TABLE, NULL, 0);
        message.header.size = size;
        message.payload.memory.num_regions = says;
        for (unsigned i = 0; i < regions && i < ORIEL_MAX_MEM_REGIONS; i++)
                message.payload.memory.regions[i] = region_at(b, i);
        for (unsigned i = 0; i < fds; i++)
                wire_add_fd(&message, b->memory_fd);
        return back_ask(b, &message);
}

static enum verdict table_cycles(struct trial *trial)
{
        struct back_end *b = trial->back_end;

        for (unsigned n = 1; n <= ORIEL_MAX_MEM_REGIONS; n++)
                if (expect(trial, "SET_MEM_TABLE", set_table(b, n, n, n), ACCEPTED) != PASSED)
                        return FAILED;
        return PASSED;
}

static enum verdict table_again(struct trial *trial)
{
        struct back_end *b = trial->back_end;
        int before = -1, after;

        for (int i = 0; i < REPEATS; i++) {
                if (expect(trial, "SET_MEM_TABLE", set_table(b, 8, 8, 8), ACCEPTED) != PASSED)
                        return FAILED;
                if (i == 0 && b->options->command)
                        before = back_count_fds(b, INT_MAX);
        }
        if (before < 0)
                return PASSED;
        after = back_count_fds(b, before);
        measured(trial, "fds_before", before);
        measured(trial, "fds_after", after);
        return after > before ? fails(trial, "%d descriptors after the first, %d after the last", before, after)
                              : PASSED;
}

/* The counts of a table: regions claimed, regions present, and descriptors, one byte of the argument each. */
#define LIE(says, regions, fds) ((says##u) << 16 | (regions) << 8 | (fds))

static enum verdict table_lies(struct trial *trial)
{
        struct back_end *b = trial->back_end;
        uint32_t lie = trial->row->argument, says = lie >> 16 == 0xffff ? UINT32_MAX : lie >> 16;

        return expect(trial, "SET_MEM_TABLE", set_table(b, says, lie >> 8 & 0xff, lie & 0xff), trial->row->allowed);
}

static enum verdict add_many(struct trial *trial)
{
        struct back_end *b = trial->back_end;
        uint64_t n;

        if (expect(trial, "GET_MAX_MEM_SLOTS", back_get(b, ORIEL_FRONTEND_GET_MAX_MEM_SLOTS, &n), BIT(DONE)) != PASSED)
                return FAILED;
        n = n < MOST ? n : MOST;
        for (unsigned i = 0; i < n; i++)
                if (expect(trial, "ADD_MEM_REG", table_add(b, i), ACCEPTED) != PASSED)
                        return FAILED;
        for (unsigned i = 0; i < n; i++) {
                struct oriel_wire_memory_region region = region_at(b, i);

                if (expect(trial, "REM_MEM_REG", table_change(b, ORIEL_FRONTEND_REM_MEM_REG, &region, -1), ACCEPTED) !=
                    PASSED)
                        return FAILED;
        }
        return expect(trial, "ADD_MEM_REG once more", table_add(b, 0), ACCEPTED);
}

/* Kinds of regions that are added beside region 0. */
enum odd {
        SAME,
        OVERLAP,
        EMPTY,
        WRAPS,
        NO_FD,
        PIPE_FD,
        SHORT_FILE,
        OFFSET_HUGE,
};

static struct oriel_wire_memory_region odd_region(const struct back_end *b, enum odd odd)
{
        struct oriel_wire_memory_region region = region_at(b, 1);
        const struct oriel_wire_memory_region odd_ones[] = {
                [SAME] = region_at(b, 0),
                [OVERLAP] = {GUEST_ADDRESS + PIECE / 2, PIECE, region.user_address - 2 * PIECE + PIECE / 2, 0},
                [EMPTY] = {region.guest_address, 0, region.user_address, 0},
                [WRAPS] = {UINT64_MAX - 0xfff, PIECE, UINT64_MAX - 0xfff, 0},
                [NO_FD] = region,
                [PIPE_FD] = region,
                [SHORT_FILE] = {region.guest_address, 16 * GUEST_SIZE, UINT64_C(0x7000000000), 0},
                [OFFSET_HUGE] = {region.guest_address, PIECE, region.user_address, UINT64_MAX - 0xfff},
        };

        return odd_ones[odd];
}

static enum verdict add_odd(struct trial *trial)
{
        struct back_end *b = trial->back_end;
        enum odd odd = (enum odd)trial->row->argument;
        struct oriel_wire_memory_region region = odd_region(b, odd);
        int pipes[2];

        if (pipe2(pipes, O_CLOEXEC) < 0)
                return fails(trial, "no pipe");

        int fd = odd == NO_FD ? -1 : odd == PIPE_FD ? pipes[0] : b->memory_fd;
        enum answer first = table_add(b, 0);
        enum answer answer = BIT(first) & ACCEPTED ? table_change(b, ORIEL_FRONTEND_ADD_MEM_REG, &region, fd) : first;

        fd_close_all(pipes, 2);
        return expect(trial, "ADD_MEM_REG", answer, trial->row->allowed);
}

static enum verdict remove_unknown(struct trial *trial)
{
        struct back_end *b = trial->back_end;
        struct oriel_wire_memory_region region = region_at(b, 1);

        if (expect(trial, "ADD_MEM_REG", table_add(b, 0), ACCEPTED) != PASSED)
                return FAILED;
        return expect(trial, "REM_MEM_REG", table_change(b, ORIEL_FRONTEND_REM_MEM_REG, &region, -1), TURNED_DOWN);
}

static enum verdict remove_other_offset(struct trial *trial)
{
        struct back_end *b = trial->back_end;
        struct oriel_wire_memory_region region = region_at(b, 0);

        if (expect(trial, "ADD_MEM_REG", table_add(b, 0), ACCEPTED) != PASSED)
                return FAILED;
        region.mmap_offset = 0x123000;
        return expect(trial, "REM_MEM_REG", table_change(b, ORIEL_FRONTEND_REM_MEM_REG, &region, -1), ACCEPTED);
}

static enum verdict remove_with_fd(struct trial *trial)
{
        struct back_end *b = trial->back_end;
        struct oriel_wire_memory_region region = region_at(b, 0);
        int before = b->options->command ? back_count_fds(b, INT_MAX) : -1, after;

        for (int i = 0; i < REPEATS; i++) {
                if (expect(trial, "ADD_MEM_REG", table_add(b, 0), ACCEPTED) != PASSED)
                        return FAILED;

                enum answer answer = table_change(b, ORIEL_FRONTEND_REM_MEM_REG, &region, b->memory_fd);

                if (answer == REFUSED || answer == CLOSED)
                        return passes(trial, "%s", answer_name(answer));
                if (expect(trial, "REM_MEM_REG", answer, ACCEPTED) != PASSED)
                        return FAILED;
        }
        after = before < 0 ? -1 : back_count_fds(b, before);
        return after > before + 2 ? fails(trial, "%d descriptors before, %d after %d of them", before, after, REPEATS)
                                  : passes(trial, "accepted");
}

static const struct conform_case rows[] = {
        {"mem-table", TABLE, table_cycles, NO_FEATURE, 0, "SET_MEM_TABLE with 1 region, with 2, and so on to 8",
         "accepted"},
        {"mem-table-again", TABLE, table_again, NO_FEATURE, 0, "SET_MEM_TABLE with 8 regions, 20 times",
         "accepted; no descriptor is left open"},
        {"mem-table-empty", ROBUSTNESS, table_lies, NO_FEATURE, LIE(0, 0, 0), "SET_MEM_TABLE with no region",
         "accepted, refused or closed; the process lives", EITHER},
        {"mem-table-without-fds", TABLE, table_lies, NO_FEATURE, LIE(2, 2, 0),
         "SET_MEM_TABLE with 2 regions, no descriptor", "refused, or closed; the process lives", TURNED_DOWN},
        {"mem-table-one-fd-less", TABLE, table_lies, NO_FEATURE, LIE(3, 3, 2),
         "SET_MEM_TABLE with 3 regions, 2 descriptors", "refused, or closed; the process lives", TURNED_DOWN},
        {"mem-table-too-many", "Multiple Memory regions description", table_lies, NO_FEATURE, LIE(9, 9, 8),
         "SET_MEM_TABLE with 9 regions", "refused, or closed; the process lives", TURNED_DOWN},
        {"mem-table-says-more", ROBUSTNESS, table_lies, NO_FEATURE, LIE(0xffff, 1, 1),
         "SET_MEM_TABLE with 1 region that says it has 2^32 - 1", "refused, or closed; the process lives", TURNED_DOWN},
        {"max-mem-slots", "VHOST_USER_GET_MAX_MEM_SLOTS", back_try_count, ORIEL_PROTOCOL_F_CONFIGURE_MEM_SLOTS,
         ORIEL_FRONTEND_GET_MAX_MEM_SLOTS, "GET_MAX_MEM_SLOTS", "more than 0", .with = "slots"},
        {"add-mem-reg", ADD, add_many, ORIEL_PROTOCOL_F_CONFIGURE_MEM_SLOTS, 0,
         "ADD_MEM_REG for as many slots as there are, at most 32, and REM_MEM_REG for each", "accepted"},
        {"add-mem-reg-same", ROBUSTNESS, add_odd, ORIEL_PROTOCOL_F_CONFIGURE_MEM_SLOTS, SAME,
         "ADD_MEM_REG for what is there already", "refused, or closed; the process lives", TURNED_DOWN},
        {"add-mem-reg-overlap", ROBUSTNESS, add_odd, ORIEL_PROTOCOL_F_CONFIGURE_MEM_SLOTS, OVERLAP,
         "ADD_MEM_REG that overlaps what is there", "refused, or closed; the process lives", TURNED_DOWN},
        {"add-mem-reg-empty", ROBUSTNESS, add_odd, ORIEL_PROTOCOL_F_CONFIGURE_MEM_SLOTS, EMPTY,
         "ADD_MEM_REG of 0 bytes", "accepted, refused or closed; the process lives", EITHER},
        {"add-mem-reg-wraps", ROBUSTNESS, add_odd, ORIEL_PROTOCOL_F_CONFIGURE_MEM_SLOTS, WRAPS,
         "ADD_MEM_REG whose end does not fit 64 bits", "refused, or closed; the process lives", TURNED_DOWN},
        {"add-mem-reg-no-fd", ADD, add_odd, ORIEL_PROTOCOL_F_CONFIGURE_MEM_SLOTS, NO_FD,
         "ADD_MEM_REG without a descriptor", "refused, or closed; the process lives", TURNED_DOWN},
        {"add-mem-reg-pipe", ROBUSTNESS, add_odd, ORIEL_PROTOCOL_F_CONFIGURE_MEM_SLOTS, PIPE_FD,
         "ADD_MEM_REG with a pipe", "refused, or closed; the process lives", TURNED_DOWN},
        {"add-mem-reg-short-file", ROBUSTNESS, add_odd, ORIEL_PROTOCOL_F_CONFIGURE_MEM_SLOTS, SHORT_FILE,
         "ADD_MEM_REG of 64 MiB in a file of 4 MiB", "accepted, refused or closed; the process lives", EITHER},
        {"add-mem-reg-offset", ROBUSTNESS, add_odd, ORIEL_PROTOCOL_F_CONFIGURE_MEM_SLOTS, OFFSET_HUGE,
         "ADD_MEM_REG with an mmap offset of almost 2^64", "refused, or closed; the process lives", TURNED_DOWN},
        {"rem-mem-reg-unknown", ROBUSTNESS, remove_unknown, ORIEL_PROTOCOL_F_CONFIGURE_MEM_SLOTS, 0,
         "REM_MEM_REG for what was never added", "refused, or closed; the process lives"},
        {"rem-mem-reg-offset", REMOVE, remove_other_offset, ORIEL_PROTOCOL_F_CONFIGURE_MEM_SLOTS, 0,
         "REM_MEM_REG with another mmap offset than the region was added with", "accepted: the offset is ignored"},
        {"rem-mem-reg-fd", REMOVE, remove_with_fd, ORIEL_PROTOCOL_F_CONFIGURE_MEM_SLOTS, 0,
         "REM_MEM_REG with a descriptor, 20 times", "accepted or refused; the descriptor is closed"},
};

const struct conform_group backend_memory_cases = GROUP(rows);
