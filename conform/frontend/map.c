/* SPDX-License-Identifier: BSD-2-Clause */

/* Cases for SHMEM_MAP and SHMEM_UNMAP that a front-end must serve, and for unmaps that it must refuse. Where /proc can
 * be read, map_see() also checks how often, and how, the process has the file mapped after each answer. Each case has a
 * memfd of its own, so mappings of other cases don't count.
 *
 * A case begins with a device that the driver has started, and a MiB of the region for itself (front_area()); what
 * front_map() has mapped is unmapped when it ends. */

#include "base/fd.h"
#include "conform/frontend/frontend.h"

#include <fcntl.h>
#include <stdio.h>

#define MAP      "VHOST_USER_BACKEND_SHMEM_MAP"
#define UNMAP    "VHOST_USER_BACKEND_SHMEM_UNMAP"
#define MMAP     "MMAP request"
#define ACK      "VHOST_USER_PROTOCOL_F_REPLY_ACK"
#define QUIET_MS 100

static enum verdict map_see(struct trial *trial, int fd, unsigned count, unsigned writable)
{
        struct mapped mapped;

        if (!front_sees(trial->front_end, fd, &mapped))
                return PASSED;
        if (mapped.count != count)
                return fails(trial, "the process has the file mapped %u times, not %u", mapped.count, count);
        if (mapped.writable != writable)
                return fails(trial, "%u of the mappings can be written, not %u", mapped.writable, writable);
        return PASSED;
}

static enum verdict map_place(struct trial *trial)
{
        struct front_end *f = trial->front_end;

        if (expect(trial, "SHMEM_MAP", front_map(f, &f->page, f->file), ACCEPTED) != PASSED)
                return FAILED;
        return map_see(trial, f->file, 1, 1);
}

static enum verdict map_remove(struct trial *trial)
{
        struct front_end *f = trial->front_end;

        if (expect(trial, "SHMEM_MAP", front_map(f, &f->page, f->file), ACCEPTED) != PASSED)
                return FAILED;
        if (expect(trial, "SHMEM_UNMAP", front_unmap(f, &f->page), ACCEPTED) != PASSED)
                return FAILED;
        if (!front_forgets(f, f->file))
                return fails(trial, "the process still has the file mapped");
        if (expect(trial, "SHMEM_MAP again", front_map(f, &f->page, f->file), ACCEPTED) != PASSED)
                return FAILED;
        return map_see(trial, f->file, 1, 1);
}

/* Each with its own part of the file, adjacent to each other. */
static enum verdict map_neighbours(struct trial *trial)
{
        struct front_end *f = trial->front_end;
        _cleanup_(fd_closep) int file = wire_memfd(4 * PAGE);

        for (unsigned i = 0; i < 4; i++) {
                struct oriel_wire_mmap place = front_place(trial, i, PAGE);

                place.fd_offset = (3 - i) * PAGE;
                if (expect(trial, "SHMEM_MAP", front_map(f, &place, file), ACCEPTED) != PASSED)
                        return FAILED;
        }
        return map_see(trial, file, 4, 4);
}

static enum verdict without_need_reply(struct trial *trial)
{
        struct front_end *f = trial->front_end;
        const struct oriel_wire_mmap first = front_place(trial, 0, PAGE), second = front_place(trial, 2, PAGE);
        struct message request;

        front_init_map(&request, &first, f->file);
        if (expect(trial, "SHMEM_MAP", front_send(f, &request, false), ACCEPTED) != PASSED)
                return FAILED;
        f->placed[f->n_placed++] = first;
        if (expect(trial, "SHMEM_MAP with need_reply", front_map(f, &second, f->file), ACCEPTED) != PASSED)
                return FAILED;
        if (map_see(trial, f->file, 2, 2) != PASSED)
                return FAILED;
        if (front_step(f, now_ms() + QUIET_MS) == 1)
                return fails(trial, "one more answer than was asked for");
        return PASSED;
}

static enum verdict map_pipelined(struct trial *trial)
{
        struct front_end *f = trial->front_end;
        _cleanup_(fd_closep) int file = wire_memfd(128 * PAGE);

        for (unsigned i = 0; i < 64; i++) {
                struct oriel_wire_mmap place = front_place(trial, 2 * i, PAGE);
                struct message request;

                place.fd_offset = 2 * i * PAGE;
                front_init_map(&request, &place, file);
                if (expect(trial, "SHMEM_MAP", front_send(f, &request, true), ACCEPTED) != PASSED)
                        return FAILED;
                f->placed[f->n_placed++] = place;
        }
        for (unsigned i = 0; i < 64; i++)
                if (expect(trial, "the answer", front_take(f, ORIEL_BACKEND_SHMEM_MAP, f->timeout_ms), BIT(DONE)) !=
                    PASSED)
                        return FAILED;
        return map_see(trial, file, 64, 64);
}

/* A single-threaded back-end waits for its answer before it reads the main channel again. */
static enum verdict while_deaf(struct trial *trial)
{
        struct front_end *f = trial->front_end;

        front_serve_quiet(f, QUIET_MS);
        f->deaf = true;

        enum answer answer = front_map(f, &f->page, f->file);

        f->deaf = false;
        return expect(trial, "SHMEM_MAP", answer, ACCEPTED);
}

/* Messages on the main channel that follow from a mapping must not block the next mapping. */
static enum verdict back_and_forth(struct trial *trial)
{
        struct front_end *f = trial->front_end;

        for (int i = 0; i < 20; i++) {
                if (expect(trial, "SHMEM_MAP", front_map(f, &f->page, f->file), ACCEPTED) != PASSED)
                        return FAILED;
                if (expect(trial, "SHMEM_UNMAP", front_unmap(f, &f->page), ACCEPTED) != PASSED)
                        return FAILED;
        }
        return f->violation.text[0] ? fails(trial, "%s", f->violation.text) : PASSED;
}

/* ---- access rights ---- */

static int reopen_read_only(int fd)
{
        char path[64];

        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        return open(path, O_RDONLY | O_CLOEXEC);
}

static enum verdict read_only(struct trial *trial)
{
        struct front_end *f = trial->front_end;
        struct oriel_wire_mmap place = front_place(trial, 0, PAGE);
        _cleanup_(fd_closep) int file = wire_memfd(PAGE), reader = reopen_read_only(file);

        place.flags = 0;
        if (expect(trial, "SHMEM_MAP", front_map(f, &place, trial->row->argument ? reader : file), ACCEPTED) != PASSED)
                return FAILED;
        return map_see(trial, file, 1, 0);
}

static enum verdict more_than_open(struct trial *trial)
{
        struct front_end *f = trial->front_end;
        _cleanup_(fd_closep) int file = wire_memfd(PAGE), reader = reopen_read_only(file);

        if (expect(trial, "SHMEM_MAP", front_map(f, &f->page, reader), REFUSAL) != PASSED)
                return FAILED;
        return map_see(trial, file, 0, 0);
}

/* ---- invalid unmaps ---- */

static enum verdict unmap_odd(struct trial *trial)
{
        struct front_end *f = trial->front_end;
        const struct oriel_wire_mmap first = front_place(trial, 0, 2 * PAGE), second = front_place(trial, 2, 2 * PAGE);
        const struct oriel_wire_mmap odd = front_row_place(trial);
        _cleanup_(fd_closep) int file = wire_memfd(2 * PAGE);

        if (expect(trial, "SHMEM_MAP", front_map(f, &first, file), ACCEPTED) != PASSED)
                return FAILED;
        if (expect(trial, "SHMEM_MAP", front_map(f, &second, file), ACCEPTED) != PASSED)
                return FAILED;
        if (expect(trial, "SHMEM_UNMAP", front_unmap(f, &odd), REFUSAL) != PASSED)
                return FAILED;
        return map_see(trial, file, 2, 2);
}

static enum verdict unmap_twice(struct trial *trial)
{
        struct front_end *f = trial->front_end;

        if (expect(trial, "SHMEM_MAP", front_map(f, &f->page, f->file), ACCEPTED) != PASSED)
                return FAILED;
        if (expect(trial, "SHMEM_UNMAP", front_unmap(f, &f->page), ACCEPTED) != PASSED)
                return FAILED;
        return expect(trial, "SHMEM_UNMAP again", front_unmap(f, &f->page), REFUSAL);
}

#define UNMAP_ODD(title, words, base, ...)                                                                   \
        {                                                                                                    \
                "unmap-" title, UNMAP, unmap_odd, ORIEL_PROTOCOL_F_SHMEM_MAP, base, "SHMEM_UNMAP of " words, \
                        "refused; what is mapped stays", WITH(struct oriel_wire_mmap, __VA_ARGS__)           \
        }

static const struct conform_case rows[] = {
        {"map", MAP, map_place, ORIEL_PROTOCOL_F_SHMEM_MAP, 0, "SHMEM_MAP of a page, read-write, with need_reply",
         "a u64 of 0, flagged as a reply to it; the process has the file mapped"},
        {"unmap", UNMAP, map_remove, ORIEL_PROTOCOL_F_SHMEM_MAP, 0, "SHMEM_MAP, SHMEM_UNMAP, SHMEM_MAP of one page",
         "accepted; the process has the file mapped only when it should"},
        {"map-neighbours", MAP, map_neighbours, ORIEL_PROTOCOL_F_SHMEM_MAP, 0, "SHMEM_MAP of four pages side by side",
         "accepted: they do not overlap"},
        {"map-without-need-reply", ACK, without_need_reply, ORIEL_PROTOCOL_F_REPLY_ACK, 0,
         "SHMEM_MAP without need_reply, then one with it", "both are mapped; one answer"},
        {"map-pipelined", ROBUSTNESS, map_pipelined, ORIEL_PROTOCOL_F_REPLY_ACK, 0,
         "64 times SHMEM_MAP before any answer is read", "64 answers, all 0"},
        {"map-before-the-main-channel", ROBUSTNESS, while_deaf, ORIEL_PROTOCOL_F_REPLY_ACK, 0,
         "SHMEM_MAP while the main channel, where all is quiet, is not served", "answered all the same"},
        {"map-back-and-forth", ROBUSTNESS, back_and_forth, ORIEL_PROTOCOL_F_SHMEM_MAP, 0,
         "SHMEM_MAP and SHMEM_UNMAP, 20 times, with the main channel served",
         "accepted; nothing wrong on the main channel"},
        {"map-read-only-file", MMAP, read_only, ORIEL_PROTOCOL_F_SHMEM_MAP, 1,
         "SHMEM_MAP, flags 0, of a file that is open for reading only", "accepted; the mapping can't be written"},
        {"map-read-only", MMAP, read_only, ORIEL_PROTOCOL_F_SHMEM_MAP, 0,
         "SHMEM_MAP, flags 0, of a file that is open for writing too", "accepted; the mapping can't be written"},
        {"map-more-than-open", MMAP, more_than_open, ORIEL_PROTOCOL_F_SHMEM_MAP, 0,
         "SHMEM_MAP, read-write, of a file that is open for reading only", "refused; nothing is mapped"},
        UNMAP_ODD("first-half", "the first page of a mapping of two", FROM_AREA, .len = PAGE),
        UNMAP_ODD("second-half", "the second page of a mapping of two", FROM_AREA, .shm_offset = PAGE, .len = PAGE),
        UNMAP_ODD("more", "a mapping of two pages with a length of three", FROM_AREA, .len = 3 * PAGE),
        UNMAP_ODD("both", "two mappings at once", FROM_AREA, .len = 4 * PAGE),
        UNMAP_ODD("nothing", "pages where nothing is mapped", FROM_AREA, .shm_offset = 8 * PAGE, .len = 2 * PAGE),
        UNMAP_ODD("other-shmid", "a mapping by a shmid that has no region", FROM_AREA, .shmid = 1, .len = 2 * PAGE),
        UNMAP_ODD("outside", "pages after the region's end", FROM_END, .len = 2 * PAGE),
        UNMAP_ODD("overflow", "a range whose end does not fit 64 bits", FROM_ZERO, .shm_offset = -PAGE,
                  .len = 2 * PAGE),
        UNMAP_ODD("empty", "0 bytes at the start of a mapping", FROM_AREA, .len = 0),
        {"unmap-twice", UNMAP, unmap_twice, ORIEL_PROTOCOL_F_SHMEM_MAP, 0, "SHMEM_UNMAP of the same mapping, twice",
         "accepted, then refused"},
};

const struct conform_group frontend_map_cases = GROUP(rows);
