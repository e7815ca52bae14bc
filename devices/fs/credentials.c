/* SPDX-License-Identifier: BSD-2-Clause */
#include "devices/fs/credentials.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdint.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The file system's ids, unlike the others, are the thread's alone even with the C library's own functions. The
 * functions return the previous id and no error; an id that can't be changes nothing. */
static uid_t current_uid(void)
{
        return (uid_t)setfsuid((uid_t)-1);
}

static gid_t current_gid(void)
{
        return (gid_t)setfsgid((gid_t)-1);
}

static int read_capabilities(struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3])
{
        struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};

        return (int)syscall(SYS_capget, &header, data);
}

static int write_capabilities(const struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3])
{
        struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};

        return (int)syscall(SYS_capset, &header, data);
}

bool credentials_can_change(void)
{
        const uint32_t wanted = CAP_TO_MASK(CAP_SETUID) | CAP_TO_MASK(CAP_SETGID);
        struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

        return read_capabilities(data) == 0 && (data[0].effective & wanted) == wanted;
}

/* Leaving uid 0 has cost this thread the capabilities over files. The guest has checked what its user may do, by groups
 * that we don't know; so take the one back that reaches files. */
static int keep_access(void)
{
        struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

        if (read_capabilities(data) < 0)
                return -1;
        data[0].effective |= data[0].permitted & CAP_TO_MASK(CAP_DAC_OVERRIDE);
        return write_capabilities(data);
}

int credentials_take(uid_t uid, gid_t gid, struct credentials *saved)
{
        *saved = (struct credentials){.uid = current_uid(), .gid = current_gid()};
        if (uid == saved->uid && gid == saved->gid)
                return 0;

        saved->changed = true;
        setfsgid(gid);
        setfsuid(uid);
        if (current_uid() == uid && current_gid() == gid && keep_access() == 0)
                return 0;
        credentials_restore(saved);
        return -EPERM;
}

void credentials_restore(struct credentials *saved)
{
        if (!saved->changed)
                return;
        setfsuid(saved->uid);
        setfsgid(saved->gid);
        saved->changed = false;
}
