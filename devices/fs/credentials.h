/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_CREDENTIALS_H
#define DEVICES_FS_CREDENTIALS_H

#include <stdbool.h>
#include <sys/types.h>

/* What this thread had before it acted for the guest's user. */
struct credentials {
        bool changed;
        uid_t uid;
        gid_t gid;
};

/* May this process create files for other users? */
bool credentials_can_change(void);

/* Let this thread, and no other, create files for @uid and @gid, with no fewer rights to reach them than before. 0, or
 * -EPERM and nothing changed. */
int credentials_take(uid_t uid, gid_t gid, struct credentials *saved);
/* For __cleanup__; without an effect where nothing was taken. */
void credentials_restore(struct credentials *saved);

#endif
