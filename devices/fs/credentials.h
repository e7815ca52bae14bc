/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_CREDENTIALS_H
#define DEVICES_FS_CREDENTIALS_H

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

/* Until it is restored, who changes a file in this thread takes its set-user-ID and set-group-ID bits away: as long as
 * it is without CAP_FSETID. */
struct credentials_fsetid {
        bool dropped;
};
struct credentials_fsetid credentials_drop_fsetid(bool drop);
void credentials_restore_fsetid(struct credentials_fsetid *saved);
#define WITHOUT_FSETID(drop)                                                                             \
        _cleanup_(credentials_restore_fsetid) __attribute__((unused)) struct credentials_fsetid fsetid = \
                credentials_drop_fsetid(drop)

#endif
