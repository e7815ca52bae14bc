/* SPDX-License-Identifier: BSD-2-Clause */
#include "devices/fs/core/file_id.h"

#include "base/cleanup.h"
#include "base/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

USES_SYSCALLS(SYSCALL_AT(name_to_handle_at, 0), SYSCALL(open_by_handle_at), SYSCALL(clock_nanosleep));

enum {
        OPEN_TRIES = 10,
        OPEN_PAUSE_US = 1000,
};

_Static_assert(sizeof(((struct file_id *)0)->bytes) == MAX_HANDLE_SZ, "the longest there is");

/* The kernel's struct, with room for the longest handle. */
union kernel_handle {
        struct file_handle handle;
        uint8_t room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
};

static int file_id_order(uint64_t a, uint64_t b)
{
        return (a > b) - (a < b);
}

int inode_key_compare(const struct inode_key *a, const struct inode_key *b)
{
        int order = file_id_order(a->number, b->number);

        if (order == 0)
                order = file_id_order(a->device, b->device);
        if (order == 0)
                order = file_id_order(a->mount, b->mount);
        return order;
}

int file_id_of(int fd, struct file_id *out)
{
        union kernel_handle kernel = {.handle = {.handle_bytes = MAX_HANDLE_SZ}};
        int mount_id;

        if (name_to_handle_at(fd, "", &kernel.handle, &mount_id, AT_EMPTY_PATH) < 0)
                return errno == EOVERFLOW ? -EOPNOTSUPP : -errno;
        out->size = kernel.handle.handle_bytes;
        out->type = kernel.handle.handle_type;
        memcpy(out->bytes, kernel.handle.f_handle, out->size);
        return 0;
}

int file_id_compare(const struct file_id *a, const struct file_id *b)
{
        if (a->size != b->size)
                return a->size < b->size ? -1 : 1;
        if (a->type != b->type)
                return a->type < b->type ? -1 : 1;
        return memcmp(a->bytes, b->bytes, a->size);
}

/* Linux 6.18's ext4 returns ENOMEM for a file that is gone while another one is made with its inode number, and
 * ESTALE a moment later. */
int file_id_open(int mount_fd, const struct file_id *handle, int flags)
{
        union kernel_handle kernel = {.handle = {.handle_bytes = handle->size, .handle_type = handle->type}};

        memcpy(kernel.handle.f_handle, handle->bytes, handle->size);
        for (int i = 1;; i++) {
                int fd = open_by_handle_at(mount_fd, &kernel.handle, flags);

                if (fd >= 0)
                        return fd;
                if (errno != ENOMEM || i == OPEN_TRIES)
                        return -errno;
                usleep(OPEN_PAUSE_US);
        }
}
