/* SPDX-License-Identifier: BSD-2-Clause */

/* Cases for SHMEM_MAP requests that a front-end must refuse: wrong places, lengths and flags, overlaps, and descriptors
 * that are no file. Refusing means an answer: closing the connection passes only where the message itself breaks its
 * row. After each refusal nothing of the file may be mapped, and earlier mappings must be complete.
 *
 * A case begins with a device that the driver has started, and a MiB of the region for itself (front_area()); mappings
 * made by front_map() are unmapped when it ends. */

#include "base/fd.h"
#include "conform/frontend/frontend.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAP  "VHOST_USER_BACKEND_SHMEM_MAP"
#define MMAP "MMAP request"

/* Nothing of @file may be mapped after a refusal. */
static enum verdict is_refused(struct trial *trial, const struct oriel_wire_mmap *map, int file, unsigned before)
{
        struct front_end *f = trial->front_end;
        struct mapped mapped;

        if (expect(trial, "SHMEM_MAP", front_map(f, map, file), REFUSAL) != PASSED)
                return FAILED;
        if (front_sees(f, file, &mapped) && mapped.count != before)
                return fails(trial, "refused, and the process has the file mapped %u times, not %u", mapped.count,
                             before);
        return PASSED;
}

/* ---- places ---- */

static enum verdict odd_place(struct trial *trial)
{
        struct oriel_wire_mmap odd = front_row_place(trial);
        _cleanup_(fd_closep) int file = wire_memfd(4 * PAGE);

        odd.flags |= ORIEL_MMAP_READ_WRITE;
        return is_refused(trial, &odd, file, 0);
}

/* Only whole pages can be mapped, so the rest of the last page is mapped too, or the request is refused. */
static enum verdict odd_length(struct trial *trial)
{
        struct front_end *f = trial->front_end;
        const struct oriel_wire_mmap odd = front_place(trial, 0, 5000), rest = front_place(trial, 1, PAGE);
        _cleanup_(fd_closep) int file = wire_memfd(4 * PAGE);
        enum answer answer = front_map(f, &odd, file);

        if (expect(trial, "SHMEM_MAP", answer, ACCEPTED | REFUSAL) != PASSED)
                return FAILED;
        if (answer == DONE) {
                if (expect(trial, "SHMEM_MAP of the second page", front_map(f, &rest, file), REFUSAL) != PASSED)
                        return FAILED;
                if (expect(trial, "SHMEM_UNMAP", front_unmap(f, &odd), ACCEPTED) != PASSED)
                        return FAILED;
        }
        return passes(trial, "%s", answer_name(answer));
}

/* ---- overlaps ---- */

static enum verdict map_overlap(struct trial *trial)
{
        static const struct {
                unsigned page, pages;
        } second[] = {{4, 4}, {2, 4}, {6, 4}, {5, 2}, {2, 8}};
        struct front_end *f = trial->front_end;
        const struct oriel_wire_mmap first = front_place(trial, 4, 4 * PAGE);
        const struct oriel_wire_mmap other =
                front_place(trial, second[trial->row->argument].page, second[trial->row->argument].pages * PAGE);
        _cleanup_(fd_closep) int file = wire_memfd(8 * PAGE), intruder = wire_memfd(8 * PAGE);
        struct mapped mapped;

        if (expect(trial, "SHMEM_MAP", front_map(f, &first, file), ACCEPTED) != PASSED)
                return FAILED;
        if (is_refused(trial, &other, intruder, 0) != PASSED)
                return FAILED;
        if (front_sees(f, file, &mapped) && mapped.bytes != 4 * PAGE)
                return fails(trial, "refused, and %llu bytes of the mapping that was there are left",
                             (unsigned long long)mapped.bytes);
        return expect(trial, "SHMEM_UNMAP of what was there", front_unmap(f, &first), ACCEPTED);
}

/* ---- descriptors that are no file ---- */

enum kind {
        NO_FD,
        PIPE,
        DIRECTORY,
        SOCKET,
        EVENTFD,
        DEV_NULL,
};

static int open_kind(enum kind kind)
{
        int fds[2] = {-1, -1};

        switch (kind) {
        case NO_FD:
                return -1;
        case DIRECTORY:
                return open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        case SOCKET:
                return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        case EVENTFD:
                return eventfd(0, EFD_CLOEXEC);
        case DEV_NULL:
                return open("/dev/null", O_RDWR | O_CLOEXEC);
        case PIPE:
                if (pipe2(fds, O_CLOEXEC) == 0)
                        fd_close(fds[1]);
                return fds[0];
        }
        return -1;
}

static enum verdict no_file(struct trial *trial)
{
        struct front_end *f = trial->front_end;
        enum kind kind = (enum kind)trial->row->argument;
        _cleanup_(fd_closep) int fd = open_kind(kind);

        return expect(trial, "SHMEM_MAP", front_map(f, &f->page, fd), kind == NO_FD ? TURNED_DOWN : REFUSAL);
}

static enum verdict two_fds(struct trial *trial)
{
        struct front_end *f = trial->front_end;
        struct message request;

        front_init_map(&request, &f->page, f->file);
        wire_add_fd(&request, f->file);

        enum answer answer = front_ask(f, &request);

        if (answer == DONE)
                f->placed[f->n_placed++] = f->page;
        return expect(trial, "SHMEM_MAP", answer, TURNED_DOWN);
}

#define ODD_PLACE(title, section, words, base, ...)                                                     \
        {                                                                                               \
                "map-" title, section, odd_place, ORIEL_PROTOCOL_F_SHMEM_MAP, base, "SHMEM_MAP " words, \
                        "refused; nothing is mapped", WITH(struct oriel_wire_mmap, __VA_ARGS__)         \
        }
#define OVERLAP(title, index, words)                                                                                   \
        {                                                                                                              \
                "map-over-" title, MAP, map_overlap, ORIEL_PROTOCOL_F_SHMEM_MAP, index,                                \
                        "SHMEM_MAP over " words " a mapping of four pages", "refused; the mapping that is there stays" \
        }
#define NO_FILE(title, kind, words)                                                                           \
        {                                                                                                     \
                "map-" title, ROBUSTNESS, no_file, ORIEL_PROTOCOL_F_SHMEM_MAP, kind, "SHMEM_MAP with " words, \
                        "refused"                                                                             \
        }

static const struct conform_case rows[] = {
        OVERLAP("same", 0, "exactly"),
        OVERLAP("start", 1, "the start of"),
        OVERLAP("end", 2, "the end of"),
        OVERLAP("inside", 3, "the middle of"),
        OVERLAP("all", 4, "all of, and more than,"),
        ODD_PLACE("unknown-shmid", MAP, "to shmid 1, which has no region", FROM_AREA, .shmid = 1, .len = PAGE),
        ODD_PLACE("last-shmid", MAP, "to shmid 255, which has no region", FROM_AREA, .shmid = 255, .len = PAGE),
        ODD_PLACE("at-the-end", MAP, "of a page right after the region", FROM_END, .len = PAGE),
        ODD_PLACE("across-the-end", MAP, "of two pages, one of them after the region", FROM_END, .shm_offset = -PAGE,
                  .len = 2 * PAGE),
        ODD_PLACE("far-outside", MAP, "of a page at 64 TiB", FROM_ZERO, .shm_offset = UINT64_C(1) << 46, .len = PAGE),
        ODD_PLACE("overflow", MAP, "of a range whose end does not fit 64 bits", FROM_ZERO, .shm_offset = -PAGE,
                  .len = 2 * PAGE),
        ODD_PLACE("whole-space", MAP, "with a length of almost 2^64", FROM_AREA, .len = -PAGE),
        ODD_PLACE("empty", ROBUSTNESS, "with a length of 0", FROM_AREA, .len = 0),
        ODD_PLACE("shm-offset-unaligned", ROBUSTNESS, "at 100 bytes into a page", FROM_AREA, .shm_offset = 100,
                  .len = PAGE),
        ODD_PLACE("fd-offset-unaligned", ROBUSTNESS, "from 100 bytes into the file", FROM_AREA, .fd_offset = 100,
                  .len = PAGE),
        ODD_PLACE("fd-offset-overflow", ROBUSTNESS, "from almost 2^64 in the file", FROM_AREA, .fd_offset = -PAGE,
                  .len = PAGE),
        ODD_PLACE("flags-unknown", ROBUSTNESS, "with a flag that has no meaning", FROM_AREA, .len = PAGE,
                  .flags = UINT64_C(1) << 63),
        {"map-length-unaligned", ROBUSTNESS, odd_length, ORIEL_PROTOCOL_F_SHMEM_MAP, 0, "SHMEM_MAP of 5000 bytes",
         "refused, or two pages are mapped"},
        {"map-no-fd", MAP, no_file, ORIEL_PROTOCOL_F_SHMEM_MAP, NO_FD, "SHMEM_MAP without a descriptor",
         "refused, or closed; the process lives"},
        {"map-two-fds", ROBUSTNESS, two_fds, ORIEL_PROTOCOL_F_SHMEM_MAP, 0, "SHMEM_MAP with two descriptors",
         "refused, or closed; the process lives"},
        NO_FILE("pipe", PIPE, "a pipe"),
        NO_FILE("directory", DIRECTORY, "a directory"),
        NO_FILE("socket", SOCKET, "a socket"),
        NO_FILE("eventfd", EVENTFD, "an eventfd"),
        NO_FILE("dev-null", DEV_NULL, "/dev/null"),
};

const struct conform_group frontend_refuse_cases = GROUP(rows);
