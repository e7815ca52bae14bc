/* SPDX-License-Identifier: BSD-2-Clause */

/* Cases with many live mappings, and how long one takes with few and with many. Unlike in other files, mappings stay
 * from case to case: each row maps on until its number is live (f->n_live), and live-unmap removes them all, so the
 * order of rows matters. They use the second half of the region and one file, f->live_fd; live_place() keeps them
 * apart so that the kernel can't merge two. */

#include "base/clock.h"
#include "base/fd.h"
#include "conform/frontend/frontend.h"

#define SECTION "VHOST_USER_BACKEND_SHMEM_MAP"
#define MOST    10000
#define FEW     8 /* number of requests timed together */

/* Page i of the file at page 2 i of the region's second half: the kernel would merge adjacent ones. */
static struct oriel_wire_mmap live_place(const struct front_end *f, unsigned i)
{
        return (struct oriel_wire_mmap){
                .fd_offset = i * LIVE_STRIDE,
                .shm_offset = f->options->region / 2 + i * LIVE_STRIDE,
                .len = PAGE,
                .flags = ORIEL_MMAP_READ_WRITE,
        };
}

static enum answer live_ask(struct front_end *f, uint32_t id, unsigned i)
{
        const struct oriel_wire_mmap place = live_place(f, i);
        struct message request;

        wire_init(&request, id, &place, sizeof(place));
        if (id == ORIEL_BACKEND_SHMEM_MAP)
                wire_add_fd(&request, f->live_fd);
        return front_ask(f, &request);
}

static double now_us(void)
{
        return (double)now_ns() / 1e3;
}

static enum verdict all_there(struct trial *trial)
{
        struct front_end *f = trial->front_end;
        struct mapped mapped;

        if (front_sees(f, f->live_fd, &mapped) && mapped.count != f->n_live)
                return fails(trial, "the process has %u of %u mappings", mapped.count, f->n_live);
        return PASSED;
}

/* @us: per request, of the first few and the last few. */
static enum answer live_grow(struct front_end *f, unsigned n, double us[2])
{
        double begun = now_us();
        enum answer answer = DONE;

        while (f->n_live < n) {
                if (f->n_live == n - FEW)
                        begun = now_us();
                answer = live_ask(f, ORIEL_BACKEND_SHMEM_MAP, f->n_live);
                if (answer != DONE)
                        return answer;
                f->n_live++;
                if (f->n_live == FEW)
                        us[0] = (now_us() - begun) / FEW;
        }
        us[1] = (now_us() - begun) / FEW;
        return answer;
}

static double us_at_first;

static enum verdict live_measure(struct trial *trial)
{
        struct front_end *f = trial->front_end;
        unsigned n = trial->row->argument;
        double us[2] = {us_at_first, 0};

        if (!agreed(&f->agreement, ORIEL_PROTOCOL_F_REPLY_ACK))
                return skips(trial, "REPLY_ACK is not negotiated");
        if (f->options->region / 2 < n * LIVE_STRIDE)
                return skips(trial, "the region is too small");
        if (f->live_fd < 0)
                f->live_fd = wire_memfd(MOST * LIVE_STRIDE);

        enum answer answer = live_grow(f, n, us);

        us_at_first = us[0];
        if (answer == CLOSED || answer == SILENT || answer == BROKEN)
                return fails(trial, "with %u live mappings: %s", f->n_live, answer_name(answer));
        measured(trial, "us_per_map_8_live", us[0]);
        if (answer == DONE)
                measured(trial, "us_per_map", us[1]);
        if (all_there(trial) != PASSED)
                return FAILED;
        return answer == DONE ? PASSED : passes(trial, "refused at %u; what is mapped stays", f->n_live);
}

static enum verdict unmap_live(struct trial *trial)
{
        struct front_end *f = trial->front_end;
        double begun = now_us();
        unsigned n = f->n_live;

        if (n == 0)
                return skips(trial, "nothing is mapped");
        while (f->n_live > 0) {
                if (expect(trial, "SHMEM_UNMAP", live_ask(f, ORIEL_BACKEND_SHMEM_UNMAP, f->n_live - 1), BIT(DONE)) !=
                    PASSED)
                        return FAILED;
                f->n_live--;
        }
        measured(trial, "us_per_unmap", (now_us() - begun) / n);
        return front_forgets(f, f->live_fd) ? PASSED : fails(trial, "the process still has the file mapped");
}

#define LIVE(n)                                                                                                      \
        {                                                                                                            \
                "live-" #n, SECTION, live_measure, ORIEL_PROTOCOL_F_SHMEM_MAP, n, "SHMEM_MAP until " #n " are live", \
                        "accepted, or refused at the peer's limit; what is mapped stays"                             \
        }

static const struct conform_case rows[] = {
        LIVE(8),
        LIVE(100),
        LIVE(400),
        LIVE(600),
        LIVE(2000),
        LIVE(10000),
        {"live-unmap", "VHOST_USER_BACKEND_SHMEM_UNMAP", unmap_live, ORIEL_PROTOCOL_F_SHMEM_MAP, 0,
         "SHMEM_UNMAP of all of these", "accepted; the process has none of them mapped"},
};

const struct conform_group frontend_live_cases = GROUP(rows);
