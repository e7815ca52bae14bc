/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_CORE_CREDENTIALS_H
#define DEVICES_FS_CORE_CREDENTIALS_H

#include "base/cleanup.h"

#include <stdbool.h>
#include <sys/types.h>

/* For whom something is to be made. */
struct credentials_wanted {
        uid_t uid;
        gid_t gid;
        bool has_group; /* another group that the user is in */
        gid_t group;
        mode_t umask;
};

/* How this thread is not what it was before it acted for the guest's user. */
struct credentials {
        bool changed;
        bool has_group;
        bool masked;
};

/* Before all else, and when this process's ids or capabilities have changed. May it create files for other users? */
bool credentials_init(void);

/* Let this thread, and no other, create files for @wanted, with no fewer rights to reach them than before; for itself
 * still, but with that umask, unless @others says that it may do so for others. 0, or -EPERM and nothing changed. */
int credentials_take(const struct credentials_wanted *wanted, bool others, struct credentials *saved);
/* For __cleanup__; without an effect where nothing was taken. */
void credentials_restore(struct credentials *saved);

/* How this thread is without CAP_FSETID: the host's kernel takes bits away from the mode then. */
struct credentials_fsetid {
        bool dropped;
        bool in_group;
};
/* With @drop, until it is restored: setting an access list takes a set-group-ID bit away, as for a user who is not in
 * the file's group. */
struct credentials_fsetid credentials_drop_fsetid(bool drop);
/* With @kill, until it is restored: who changes the contents of the file of @fd takes its set-user-ID bit away, and its
 * set-group-ID bit if its group may execute it. Without that right it is no such bit, and stays, as it does for a user
 * who is in the group. */
struct credentials_fsetid credentials_kill_setuid(bool kill, int fd);
void credentials_restore_fsetid(struct credentials_fsetid *saved);

#endif
