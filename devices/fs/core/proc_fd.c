/* SPDX-License-Identifier: BSD-2-Clause */
#include "devices/fs/core/proc_fd.h"

#include "base/syscalls.h"
#include "devices/fs/core/state.h"

#include <fcntl.h>
#include <stdio.h>

USES_SYSCALLS(SYSCALL_AT(openat, 0));

struct fd_name fd_name(int fd)
{
        struct fd_name name;

        snprintf(name.text, sizeof(name.text), "%d", fd);
        return name;
}

int fs_reopen(struct fs *fs, int fd, int flags)
{
        return sys_result(openat(fs->proc_fd, fd_name(fd).text, flags | O_CLOEXEC | O_NOCTTY));
}
