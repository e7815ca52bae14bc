/* SPDX-License-Identifier: BSD-2-Clause */

/* The scratch directory of oriel bench fs, and the files in it: data and written have known contents (data_word()),
 * list and tree are empty files. make_file() ends with fdatasync(2), so that no write-back disturbs a measurement.
 * Those that make something report their failure and return -1. place_remove() removes whatever is there, and accepts
 * a place that was never made. interrupted() reads the signalfd and reports once; loops over files ask it. */

#include "base/cleanup.h"
#include "base/fd.h"
#include "bench/fs/fs.h"
#include "program/report.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

bool interrupted(const struct bench_place *place)
{
        static bool told;
        struct signalfd_siginfo info;

        if (!told && read(place->interrupt_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
                report("interrupted");
                told = true;
        }
        return told;
}

static int place_failed(const char *path)
{
        report("%s: %s", path, strerror(errno));
        return -1;
}

static int make_dir(const struct bench_place *place, const char *name)
{
        char path[sizeof(place->path) + 32];

        snprintf(path, sizeof(path), "%s/%s", place->path, name);
        return mkdir(path, 0700) < 0 && errno != EEXIST ? place_failed(path) : 0;
}

int place_make(struct bench_place *place, const char *dir)
{
        static const char *const names[] = {"share", "share/list", "share/new", "share/tree"};
        int r = 0;

        if ((size_t)snprintf(place->path, sizeof(place->path), "%s/oriel-bench-XXXXXX", dir) >= sizeof(place->path)) {
                errno = ENAMETOOLONG;
                return place_failed(dir);
        }
        if (!mkdtemp(place->path)) {
                place->path[0] = '\0';
                return place_failed(dir);
        }
        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(names); i++)
                r = make_dir(place, names[i]);
        return r;
}

/* Makes @n empty files, whose names are numbers. */
static int make_files(const struct bench_place *place, const char *folder, unsigned n)
{
        char path[sizeof(place->path) + 32], name[16];

        snprintf(path, sizeof(path), "%s/%s", place->path, folder);

        _cleanup_(fd_closep) int dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

        for (unsigned i = 0; dir >= 0 && i < n; i++) {
                snprintf(name, sizeof(name), "%05u", i);

                int fd = openat(dir, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

                if (fd < 0)
                        return place_failed(path);
                fd_close(fd);
        }
        return dir < 0 ? place_failed(path) : interrupted(place) ? -1 : 0;
}

int place_fill_tree(const struct bench_place *place)
{
        char name[32];
        int r = 0;

        for (unsigned i = 0; r == 0 && i < TREE_DIRS / place->scale; i++) {
                snprintf(name, sizeof(name), "share/tree/%05u", i);
                r = make_dir(place, name);
                if (r == 0)
                        r = make_files(place, name, TREE_FILES);
        }
        return r;
}

int place_open(const struct bench_place *place, const char *name, int flags)
{
        char path[sizeof(place->path) + 32];

        snprintf(path, sizeof(path), "%s/share/%s", place->path, name);
        return open(path, flags | O_CLOEXEC);
}

/* The file is written to the disk, so that no write-back disturbs a measurement. */
int place_make_file(const struct bench_place *place, const char *name, uint64_t size)
{
        const size_t n = MiB(1) / sizeof(uint64_t);
        /* Not static: Linux may make memory beside a large array without contents resident too. */
        _cleanup_(freep) uint64_t *words = malloc(n * sizeof(words[0]));
        char path[sizeof(place->path) + 32];

        snprintf(path, sizeof(path), "%s/share/%s", place->path, name);

        _cleanup_(fd_closep) int fd = words ? open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600) : -1;

        for (uint64_t at = 0; fd >= 0 && at < size; at += MiB(1)) {
                for (size_t i = 0; i < n; i++)
                        words[i] = data_word(at + i * sizeof(words[0]));
                errno = ENOSPC;
                if (write(fd, words, MiB(1)) != (ssize_t)MiB(1))
                        return place_failed(path);
                if (interrupted(place))
                        return -1;
        }
        return fd < 0 || fdatasync(fd) < 0 ? place_failed(path) : 0;
}

int place_fill_list(const struct bench_place *place)
{
        int r = make_files(place, "share/list", LIST_FILES);

        return r == 0 ? place_make_file(place, "written", WRITE_SIZE / place->scale) : r;
}

void place_remove(struct bench_place *place)
{
        char *const paths[] = {place->path, NULL};
        FTS *fts = place->path[0] ? fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR | FTS_NOSTAT, NULL) : NULL;
        FTSENT *entry;

        while (fts && (entry = fts_read(fts))) {
                if (entry->fts_info == FTS_DP)
                        rmdir(entry->fts_accpath);
                else if (entry->fts_info != FTS_D)
                        unlink(entry->fts_accpath);
        }
        if (fts)
                fts_close(fts);
        place->path[0] = '\0';
}
