/* SPDX-License-Identifier: BSD-2-Clause */

/* The memory rows of oriel bench fs: a back-end's RSS and PSS when it is idle, and after the files of share/tree were
 * looked up and not forgotten. Each side has a new session for this, since memory stays with a process. A back-end
 * that meets a limit of its own while files are looked up does not fail the row: the figure gets a note of how many it
 * took, and does not count as compared on equal terms. */

#include "base/cleanup.h"
#include "bench/fs/fs.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

struct walk {
        uint64_t dirs[TREE_DIRS];
        unsigned n_dirs, next;
};

static int ask_name(struct fuse_load *load, struct load_slot *slot)
{
        struct walk *walk = load->userdata;

        if (walk->next == walk->n_dirs * TREE_FILES)
                return 1;

        unsigned next = walk->next++;

        return ask_number(load, slot, walk->dirs[next / TREE_FILES], next % TREE_FILES);
}

static int answered_name(struct fuse_load *load, struct load_slot *slot)
{
        const struct fuse_entry_out *entry = load_answer(slot);

        load->count++;
        return entry->nodeid ? 0 : load_wrong(load, "LOOKUP: a file that is there was not found");
}

static bool is_limit(int error)
{
        return error == -ENFILE || error == -EMFILE || error == -ENOMEM || error == -ENOSPC;
}

/* Returns 0 also where a limit of the back-end has ended it; @reached is the number of files looked up. */
static int look_all_up(struct bench_session *session, const struct bench_place *place, uint64_t *reached)
{
        static const struct load_ops ops = {ask_name, answered_name};
        struct walk walk = {.n_dirs = TREE_DIRS / place->scale};
        struct fuse_entry_out entry;
        char path[32];
        int r = 0;

        *reached = 0;
        for (unsigned i = 0; r == 0 && i < walk.n_dirs; i++) {
                snprintf(path, sizeof(path), "tree/%05u", i);
                r = fuse_walk(&session->fuse, path, &entry);
                walk.dirs[i] = entry.nodeid;
        }
        if (r == 0) {
                r = load_run(session->load, &ops, LOAD_DEPTH_MAX, INT64_MAX, &walk);
                *reached = session->load->count;
        }
        return is_limit(r) ? 0 : r;
}

static int sample_memory(struct bench_session *session, struct figures *figures, int side, const char *when)
{
        uint64_t rss, pss;
        char key[32];
        int r = session_memory(session, &rss, &pss);

        if (r < 0)
                return session_failed(session, "memory", r);
        snprintf(key, sizeof(key), "rss-%s", when);
        figure_sample(figures_find(figures, MEMORY, key), side, (double)(rss >> 10));
        snprintf(key, sizeof(key), "pss-%s", when);
        figure_sample(figures_find(figures, MEMORY, key), side, (double)(pss >> 10));
        return 0;
}

static void note_reached(struct figures *figures, const struct bench_place *place, int side, uint64_t reached)
{
        static const char *const keys[] = {"rss-inodes", "pss-inodes"};
        uint64_t all = TREE_DIRS / place->scale * TREE_FILES;

        for (size_t i = 0; reached < all && i < ARRAY_SIZE(keys); i++) {
                struct figure *figure = figures_find(figures, MEMORY, keys[i]);

                if (!figure)
                        continue;
                figure->unequal = true;
                snprintf(figure->note, sizeof(figure->note), "%s took %" PRIu64 " files of %" PRIu64,
                         sections[MEMORY].ways[side], reached, all);
        }
}

static int measure_memory(const struct bench_place *place, struct figures *figures, int side)
{
        struct bench_session session;
        uint64_t reached;
        int r = session_open(&session, place, side, 0);

        if (r == 0)
                r = sample_memory(&session, figures, side, "idle");
        if (r == 0 && (figures_find(figures, MEMORY, "rss-inodes") || figures_find(figures, MEMORY, "pss-inodes"))) {
                r = look_all_up(&session, place, &reached);
                if (r < 0)
                        r = session_failed(&session, "inodes", r);
                else
                        note_reached(figures, place, side, reached);
                if (r == 0)
                        r = sample_memory(&session, figures, side, "inodes");
        }
        session_close(&session);
        return r;
}

void memory_add(struct figures *figures)
{
        static const struct figure all[] = {
                {MEMORY, "rss-idle", "RSS, idle", .bar = 0.5, .at_most = true},
                {MEMORY, "pss-idle", "PSS, idle", .at_most = true},
                {MEMORY, "rss-inodes", "RSS, inodes", .bar = 0.5, .at_most = true},
                {MEMORY, "pss-inodes", "PSS, inodes", .at_most = true},
        };

        figures_add(figures, all, ARRAY_SIZE(all));
}

int memory_run(const struct bench_place *place, struct figures *figures, unsigned run)
{
        int sides = bench_options.peer ? SIDES : 1, r = 0;

        for (int turn = 0; r == 0 && turn < sides && figures_have(figures, MEMORY); turn++)
                r = measure_memory(place, figures, (turn + (int)run) % sides);
        return r;
}
