/* SPDX-License-Identifier: BSD-2-Clause */

/* Acting for the guest's user while a file is made. It changes the calling thread alone: setfsuid(2) and setfsgid(2)
 * change one thread, set_groups() avoids the C library's function, which would change all, and umask(2) needs
 * unshare(CLONE_FS) once in each thread. Leaving uid 0 drops the capabilities over files, so keep_access() raises
 * CAP_DAC_OVERRIDE again.
 *
 * Each take or drop is undone by its restore function before the thread handles another request. `own` is written by
 * credentials_init() before the threads start. */

#include "devices/fs/core/credentials.h"
#include "base/syscalls.h"

#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

USES_SYSCALLS(SYSCALL(setfsuid), SYSCALL(setfsgid), SYSCALL(capget), SYSCALL(capset), SYSCALL(setgroups),
              SYSCALL(getgroups), SYSCALL(umask), SYSCALL(fstat), SYSCALL_WITH(unshare, 0, UINT32_MAX, CLONE_FS));

/* The file system's ids, unlike the others, belong to the thread even with the C library's own functions. The
 * functions return the previous id and no error; an invalid id changes nothing. */
static uid_t current_uid(void)
{
        return (uid_t)setfsuid((uid_t)-1);
}

static gid_t current_gid(void)
{
        return (gid_t)setfsgid((gid_t)-1);
}

/* @call: capget or capset. */
static int call_capabilities(long call, struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3])
{
        struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};

        return (int)syscall(call, &header, data);
}

/* The ids and capabilities of threads that don't act for a guest's user. */
static struct {
        uid_t uid;
        gid_t gid;
        gid_t *groups; /* kept until the process ends */
        size_t n_groups;
        struct __user_cap_data_struct capabilities[_LINUX_CAPABILITY_U32S_3];
} own;

/* The further groups: root has given them up, another user who may act for others has them still. */
static bool note_groups(void)
{
        int n = getgroups(0, NULL);

        free(own.groups);
        own.groups = n > 0 ? calloc((size_t)n, sizeof(own.groups[0])) : NULL;
        n = own.groups ? getgroups(n, own.groups) : n;
        own.n_groups = n > 0 ? (size_t)n : 0;
        return n >= 0 && (n == 0 || own.groups);
}

bool credentials_init(void)
{
        const uint32_t wanted = CAP_TO_MASK(CAP_SETUID) | CAP_TO_MASK(CAP_SETGID);

        own.uid = current_uid();
        own.gid = current_gid();
        return note_groups() && call_capabilities(SYS_capget, own.capabilities) == 0 &&
               (own.capabilities[0].effective & wanted) == wanted;
}

/* Leaving uid 0 has cost this thread the capabilities over files. The guest has checked what its user may do, by
 * groups that are unknown here; so raise the one that gives access to files again. */
static int keep_access(void)
{
        struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

        if (call_capabilities(SYS_capget, data) < 0)
                return -1;
        data[0].effective |= data[0].permitted & CAP_TO_MASK(CAP_DAC_OVERRIDE);
        return call_capabilities(SYS_capset, data);
}

/* The C library's function would change all threads. */
static int set_groups(size_t n, const gid_t *groups)
{
        return (int)syscall(SYS_setgroups, n, groups);
}

/* A thread shares its umask with the others until it unshares it. */
static int set_umask(mode_t mask, struct credentials *saved)
{
        static _Thread_local bool separate;

        if (mask == 0)
                return 0;
        if (!separate && unshare(CLONE_FS) < 0)
                return -errno;
        separate = true;
        umask(mask);
        saved->masked = true;
        return 0;
}

static int take_ids(const struct credentials_wanted *wanted, struct credentials *saved)
{
        if (wanted->uid == own.uid && wanted->gid == own.gid)
                return 0;
        saved->changed = true;
        setfsgid(wanted->gid);
        setfsuid(wanted->uid);
        return current_uid() == wanted->uid && current_gid() == wanted->gid && keep_access() == 0 ? 0 : -EPERM;
}

int credentials_take(const struct credentials_wanted *wanted, bool others, struct credentials *saved)
{
        *saved = (struct credentials){0};

        int r = set_umask(wanted->umask, saved);

        if (r == 0 && others && wanted->has_group)
                saved->has_group = set_groups(1, &wanted->group) == 0;
        if (r == 0 && others)
                r = take_ids(wanted, saved);
        if (r < 0)
                credentials_restore(saved);
        return r;
}

void credentials_restore(struct credentials *saved)
{
        if (saved->changed) {
                setfsuid(own.uid);
                setfsgid(own.gid);
        }
        /* Root regains its capabilities with its uid; another user, who was root for a moment, has lost them by
         * that. */
        if (saved->changed && own.uid != 0)
                call_capabilities(SYS_capset, own.capabilities);
        /* Some can't be set again where their ids are not mapped; the guest's one goes in any case. */
        if (saved->has_group && set_groups(own.n_groups, own.groups) < 0)
                set_groups(0, NULL);
        if (saved->masked)
                umask(0);
        *saved = (struct credentials){0};
}

struct credentials_fsetid credentials_drop_fsetid(bool drop)
{
        struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

        if (!drop || call_capabilities(SYS_capget, data) < 0 || !(data[0].effective & CAP_TO_MASK(CAP_FSETID)))
                return (struct credentials_fsetid){false};
        data[0].effective &= ~CAP_TO_MASK(CAP_FSETID);
        return (struct credentials_fsetid){call_capabilities(SYS_capset, data) == 0};
}

struct credentials_fsetid credentials_kill_setuid(bool kill, int fd)
{
        struct credentials_fsetid saved = {false};
        struct stat stat;

        if (!kill || fstat(fd, &stat) < 0)
                return saved;

        const bool group_executes = stat.st_mode & S_IXGRP, setgid = stat.st_mode & S_ISGID;

        if (!(stat.st_mode & S_ISUID) && !(setgid && group_executes))
                return saved;
        saved = credentials_drop_fsetid(true);
        saved.in_group = saved.dropped && setgid && !group_executes;
        if (saved.in_group)
                setfsgid(stat.st_gid);
        return saved;
}

void credentials_restore_fsetid(struct credentials_fsetid *saved)
{
        struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

        if (saved->in_group)
                setfsgid(own.gid);
        if (!saved->dropped || call_capabilities(SYS_capget, data) < 0)
                return;
        data[0].effective |= CAP_TO_MASK(CAP_FSETID);
        call_capabilities(SYS_capset, data);
        saved->dropped = false;
}
