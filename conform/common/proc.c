/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/cleanup.h"
#include "conform/common/process.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static void fclosep(FILE **file)
{
        if (*file)
                fclose(*file);
}

static void add_line(const char *line, const struct stat *st, struct mapped *out)
{
        unsigned long begin, end, offset, inode;
        unsigned device_major, device_minor;
        char access[5];

        if (sscanf(line, "%lx-%lx %4s %lx %x:%x %lu", &begin, &end, access, &offset, &device_major, &device_minor,
                   &inode) != 7)
                return;
        if (inode != st->st_ino || device_major != major(st->st_dev) || device_minor != minor(st->st_dev))
                return;
        out->count++;
        out->writable += access[1] == 'w';
        out->bytes += end - begin;
}

static int add_process(pid_t pid, const struct stat *st, struct mapped *out)
{
        char path[64], line[512];

        snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);

        _cleanup_(fclosep) FILE *file = fopen(path, "re");

        if (!file)
                return -errno;
        while (fgets(line, sizeof(line), file))
                add_line(line, st, out);
        return ferror(file) ? -EIO : 0;
}

/* The fifth word of /proc/PID/stat; the second may hold blanks and brackets. */
static pid_t group_of(pid_t pid)
{
        char path[64], text[512] = "";
        int group = -1;

        snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);

        FILE *file = fopen(path, "re");

        if (!file)
                return -1;

        const char *rest = fgets(text, sizeof(text), file) ? strrchr(text, ')') : NULL;

        fclose(file);
        return rest && sscanf(rest, ") %*c %*d %d", &group) == 1 ? group : -1;
}

static void closedirp(DIR **dir)
{
        if (*dir)
                closedir(*dir);
}

int process_find_mapped(pid_t pid, pid_t group, int fd, struct mapped *out)
{
        struct stat st;

        *out = (struct mapped){0};
        if (fstat(fd, &st) < 0)
                return -errno;

        int r = add_process(pid, &st, out);
        _cleanup_(closedirp) DIR *dir = opendir("/proc");

        if (r < 0 || !dir)
                return r < 0 ? r : -errno;
        for (const struct dirent *entry; (entry = readdir(dir));) {
                pid_t other = isdigit((unsigned char)entry->d_name[0]) ? (pid_t)strtol(entry->d_name, NULL, 10) : 0;

                if (other > 0 && other != pid && group > 0 && group_of(other) == group)
                        add_process(other, &st, out);
        }
        return 0;
}

int process_count_fds(pid_t pid)
{
        char path[64];
        int n = 0;

        snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);

        _cleanup_(closedirp) DIR *dir = opendir(path);

        if (!dir)
                return -errno;
        for (const struct dirent *entry; (entry = readdir(dir));)
                n += entry->d_name[0] != '.';
        return n;
}
