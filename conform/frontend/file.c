/* SPDX-License-Identifier: BSD-2-Clause */

/* Cases for front-ends about the files of mappings: files that end within a page, are too short or empty, or are
 * truncated while they are mapped, files of which the suite closes its descriptor, and descriptors that the peer has to
 * close, which are counted in /proc where it can be read. A mapping must never change the size of the file. Each case
 * begins with a started device and a MiB of the region for itself (front_area()). */

#include "base/fd.h"
#include "conform/frontend/frontend.h"

#include <sys/stat.h>
#include <unistd.h>

#define LOOK_MS 100

static enum verdict same_size(struct trial *trial, int file, uint64_t size, enum answer answer)
{
        struct stat st;

        if (fstat(file, &st) < 0 || (uint64_t)st.st_size != size)
                return fails(trial, "%s, and the file has %lld bytes instead of %llu", answer_name(answer),
                             (long long)st.st_size, (unsigned long long)size);
        return PASSED;
}

/* The argument is the file's size; a length in whole pages may exceed it only within the last page. */
static enum verdict partial_page(struct trial *trial)
{
        struct front_end *f = trial->front_end;
        uint64_t size = trial->row->argument;
        const struct oriel_wire_mmap place = front_place(trial, 0, (size + PAGE - 1) & ~(PAGE - 1));
        _cleanup_(fd_closep) int file = wire_memfd(size);
        enum answer answer = front_map(f, &place, file);

        if (same_size(trial, file, size, answer) != PASSED)
                return FAILED;
        if (expect(trial, "SHMEM_MAP", answer, ACCEPTED) != PASSED)
                return FAILED;
        if (expect(trial, "SHMEM_UNMAP", front_unmap(f, &place), ACCEPTED) != PASSED)
                return FAILED;
        return same_size(trial, file, size, answer);
}

static enum verdict short_file(struct trial *trial)
{
        struct front_end *f = trial->front_end;
        uint64_t size = trial->row->argument;
        const struct oriel_wire_mmap place = front_place(trial, 0, 128 * PAGE);
        _cleanup_(fd_closep) int file = wire_memfd(size);
        enum answer answer = front_map(f, &place, file);

        if (same_size(trial, file, size, answer) != PASSED)
                return FAILED;
        return expect(trial, "SHMEM_MAP", answer, ACCEPTED | REFUSAL);
}

static enum verdict file_truncated(struct trial *trial)
{
        struct front_end *f = trial->front_end;
        const struct oriel_wire_mmap place = front_place(trial, 0, 4 * PAGE);
        _cleanup_(fd_closep) int file = wire_memfd(4 * PAGE);

        if (expect(trial, "SHMEM_MAP", front_map(f, &place, file), ACCEPTED) != PASSED)
                return FAILED;
        if (ftruncate(file, 0) < 0)
                return skips(trial, "the file can't be truncated");
        if (front_serve_for(f, LOOK_MS) < 0)
                return fails(trial, "closed the connection");
        if (expect(trial, "SHMEM_UNMAP", front_unmap(f, &place), ACCEPTED) != PASSED)
                return FAILED;
        return same_size(trial, file, 0, DONE);
}

/* Only the mapping keeps the file. */
static enum verdict closed_file(struct trial *trial)
{
        struct front_end *f = trial->front_end;
        const struct oriel_wire_mmap first = front_place(trial, 0, PAGE), second = front_place(trial, 2, PAGE);

        for (int i = 0; i < 2; i++) {
                _cleanup_(fd_closep) int file = wire_memfd(PAGE);

                if (expect(trial, "SHMEM_MAP", front_map(f, i ? &second : &first, file), ACCEPTED) != PASSED)
                        return FAILED;
        }
        if (expect(trial, "SHMEM_UNMAP", front_unmap(f, &first), ACCEPTED) != PASSED)
                return FAILED;
        return expect(trial, "SHMEM_UNMAP", front_unmap(f, &second), ACCEPTED);
}

/* Maps and unmaps each: a front-end that keeps the descriptors runs out of them. */
static enum verdict file_descriptors(struct trial *trial)
{
        struct front_end *f = trial->front_end;
        int before = 0, after;

        for (int i = 0; i <= 50; i++) {
                _cleanup_(fd_closep) int file = wire_memfd(PAGE);

                if (expect(trial, "SHMEM_MAP", front_map(f, &f->page, file), ACCEPTED) != PASSED)
                        return FAILED;
                if (expect(trial, "SHMEM_UNMAP", front_unmap(f, &f->page), ACCEPTED) != PASSED)
                        return FAILED;
                if (i == 0 && front_serve_for(f, LOOK_MS) == 0)
                        before = process_count_fds(f->pid);
        }
        if (front_serve_for(f, LOOK_MS) < 0)
                return fails(trial, "closed the connection");
        after = process_count_fds(f->pid);
        if (before < 0 || after < 0)
                return skips(trial, "its descriptors can't be counted");
        measured(trial, "fds_before", before);
        measured(trial, "fds_after", after);
        return after > before + 3 ? fails(trial, "%d descriptors after the first, %d after 50 more", before, after)
                                  : PASSED;
}

static const struct conform_case rows[] = {
        {"map-partial-page", ROBUSTNESS, partial_page, ORIEL_PROTOCOL_F_SHMEM_MAP, 10000,
         "SHMEM_MAP of three pages of a file of 10000 bytes", "accepted; the file keeps its size"},
        {"map-small-file", ROBUSTNESS, partial_page, ORIEL_PROTOCOL_F_SHMEM_MAP, 1,
         "SHMEM_MAP of a page of a file of 1 byte", "accepted; the file keeps its size"},
        {"map-empty-file", ROBUSTNESS, short_file, ORIEL_PROTOCOL_F_SHMEM_MAP, 0,
         "SHMEM_MAP of 512 KiB of an empty file", "accepted or refused; the file stays empty"},
        {"map-short-file", ROBUSTNESS, short_file, ORIEL_PROTOCOL_F_SHMEM_MAP, 4096,
         "SHMEM_MAP of 512 KiB of a file of a page", "accepted or refused; the file keeps its size"},
        {"map-truncated-file", ROBUSTNESS, file_truncated, ORIEL_PROTOCOL_F_SHMEM_MAP, 0,
         "SHMEM_MAP of a file that is cut to 0 bytes afterwards", "the process lives, and unmaps it"},
        {"map-closed-file", ROBUSTNESS, closed_file, ORIEL_PROTOCOL_F_SHMEM_MAP, 0,
         "SHMEM_MAP of files whose descriptors we close before SHMEM_UNMAP", "accepted"},
        {"map-descriptors", ROBUSTNESS, file_descriptors, ORIEL_PROTOCOL_F_SHMEM_MAP, 0,
         "SHMEM_MAP and SHMEM_UNMAP of 51 files", "accepted; no descriptor is left open"},
};

const struct conform_group frontend_file_cases = GROUP(rows);
