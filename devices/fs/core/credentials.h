/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_CORE_CREDENTIALS_H
#define DEVICES_FS_CORE_CREDENTIALS_H

#include "base/cleanup.h"

#include <stdbool.h>
#include <sys/types.h>

/* The ids and the umask for a new file. */
struct credentials_wanted {
        uid_t uid;
        gid_t gid;
        bool has_group; /* another group that the user is in */
        gid_t group;
        mode_t umask;
};

/* The changes that this thread has made to act for the guest's user. */
struct credentials {
        bool changed;
        bool has_group;
        bool masked;
};

/* Call it first, and when this process's ids or capabilities have changed. Returns whether it may create files for
 * other users. */
bool credentials_init(void);

/* Lets this thread, and no other, create files for @wanted, with no fewer rights to reach them than before. Without
 * @others only the umask is taken. 0, or -EPERM and nothing changed. */
int credentials_take(const struct credentials_wanted *wanted, bool others, struct credentials *saved);
/* For __cleanup__; has no effect if nothing was taken. */
void credentials_restore(struct credentials *saved);

/* This thread without CAP_FSETID: the host's kernel then clears bits of the mode. */
struct credentials_fsetid {
        bool dropped;
        bool in_group;
};
/* With @drop, until it is restored: setting an access list clears the set-group-ID bit, as for a user who is not in
 * the file's group. */
struct credentials_fsetid credentials_drop_fsetid(bool drop);
/* With @kill, until it is restored: changing the contents of the file of @fd clears its set-user-ID bit, and its
 * set-group-ID bit if its group may execute it. Without that right the bit does not mean set-group-ID, and stays, as
 * it does for a user who is in the group. */
struct credentials_fsetid credentials_kill_setuid(bool kill, int fd);
void credentials_restore_fsetid(struct credentials_fsetid *saved);

#endif
