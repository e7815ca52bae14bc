/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/mount/place.h"

#include "base/cleanup.h"
#include "base/fd.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const char mounts[] = "/proc/self/mountinfo";

void mount_place_open(struct mount_place *place, const char *dir)
{
        struct statx stat;

        *place = (struct mount_place){.fd = -1};
        /* Not synchronized, as it is this process that would have to answer. */
        if (statx(AT_FDCWD, dir, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_MNT_ID, &stat) < 0 ||
            !(stat.stx_mask & STATX_MNT_ID))
                return;
        place->id = stat.stx_mnt_id;
        place->fd = open(mounts, O_RDONLY | O_CLOEXEC);
}

/* Each line begins with the mount's number. */
bool mount_place_is_gone(const struct mount_place *place)
{
        FILE *file = fopen(mounts, "re");
        _cleanup_(freep) char *line = NULL;
        size_t size = 0;
        bool found = false;

        if (!file)
                return false;
        while (!found && getline(&line, &size, file) > 0)
                found = strtoull(line, NULL, 10) == place->id;
        fclose(file);
        return !found;
}

void mount_place_close(struct mount_place *place)
{
        place->fd = fd_close(place->fd);
}
