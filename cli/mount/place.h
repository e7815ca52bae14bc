/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CLI_MOUNT_PLACE_H
#define CLI_MOUNT_PLACE_H

#include <stdbool.h>
#include <stdint.h>

/* Where something is mounted, for as long as it is: a lazy unmount takes it away from there, and what is open goes on.
 */
struct mount_place {
        int fd; /* has POLLPRI when something was mounted or unmounted; -1: it is not known */
        uint64_t id;
};

/* Of what is mounted on @dir. */
void mount_place_open(struct mount_place *place, const char *dir);
/* Is it no longer there? */
bool mount_place_is_gone(const struct mount_place *place);
void mount_place_close(struct mount_place *place);

#endif
