/* SPDX-License-Identifier: BSD-2-Clause */

/* Files and pipes that a guest knows by an id: those that the compositor has sent, and pipes that the guest has asked
 * for. A channel has a table of them, of a fixed size.
 *
 * The compositor has the same open files, and may change their flags, size and contents at any time. So none is mapped
 * here, a file is examined without asking its file system (fd_look()), and a pipe is written to by splice(),
 * which does not wait whatever O_NONBLOCK says. splice() moves bytes out of a pipe of our own, whose size bounds what a
 * compositor can leave unread. Of pipes that the guest reads, no other process has the reading end.
 *
 * Not covered: a process that writes to such a pipe from memory that it serves itself holds the pipe's lock, and all
 * other users of that pipe wait. */

#include "devices/gpu/crossdomain/channel.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/libc.h"
#include "base/log.h"
#include "base/range.h"
#include "base/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/statfs.h>
#include <unistd.h>

USES_SYSCALLS(SYSCALL(memfd_create), SYSCALL(ftruncate), SYSCALL(pread64), SYSCALL(pipe2), SYSCALL(splice),
              SYSCALL(epoll_ctl), SYSCALL(fstatfs), SYSCALL_FCNTL(F_SETPIPE_SZ), SYSCALL_FCNTL(F_ADD_SEALS));

#ifndef DMA_BUF_MAGIC
#define DMA_BUF_MAGIC 0x444d4142
#endif

/* The most bytes on their way to a pipe: as many as Linux lets a pipe of an ordinary user have. */
enum { FEED_SIZE = 1 << 20 };
enum { COPIED_MAX = 1 << 20 };

static struct cross_item *item_find(struct cross_channel *channel, uint32_t id)
{
        for (unsigned i = 0; i < CROSS_ITEMS_MAX; i++)
                if (channel->items[i].id == id)
                        return &channel->items[i];
        return NULL;
}

void cross_item_remove(struct cross_channel *channel, struct cross_item *item)
{
        fd_close_watched(item->type == CROSS_ID_WRITE_PIPE ? channel->loop_fd : channel->epoll_fd, item->fd);
        fd_close_all(item->feed, ARRAY_SIZE(item->feed));
        *item = (struct cross_item){.fd = -1, .feed = {-1, -1}};
}

/* Returns the type for the guest; sets size and blob of a file. */
static uint32_t item_classify(int fd, struct cross_item *item)
{
        int flags = fcntl(fd, F_GETFL), seals = fcntl(fd, F_GET_SEALS);
        struct statx stat;
        struct statfs fs;

        if (flags < 0 || flags & O_PATH || fd_look(fd, &stat) < 0)
                return CROSS_ID_NONE;
        if (S_ISFIFO(stat.stx_mode))
                return (flags & O_ACCMODE) == O_RDONLY ? CROSS_ID_NONE : CROSS_ID_WRITE_PIPE;

        /* Only files in memory have seals, and only files of the kernel itself have no type. */
        bool shm = S_ISREG(stat.stx_mode) && seals >= 0;
        bool dmabuf = !(stat.stx_mode & S_IFMT) && fstatfs(fd, &fs) == 0 && fs.f_type == DMA_BUF_MAGIC;

        if (!(shm || dmabuf) || (flags & O_ACCMODE) == O_WRONLY || stat.stx_size == 0 || stat.stx_size > UINT32_MAX)
                return CROSS_ID_NONE;
        item->size = stat.stx_size;
        item->blob = (struct gpu_blob){
                .fd = -1,
                .type = shm ? GPU_BLOB_SHM : GPU_BLOB_DMABUF,
                .map_info = VIRTIO_GPU_MAP_CACHE_CACHED,
                .read_only =
                        (flags & O_ACCMODE) == O_RDONLY || (seals >= 0 && seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)),
        };
        return CROSS_ID_BLOB;
}

static uint32_t next_id(struct cross_channel *channel)
{
        do {
                channel->last_id++;
                if (channel->last_id <= CROSS_IMAGE_ID || channel->last_id >= CROSS_READ_PIPE_START)
                        channel->last_id = CROSS_IMAGE_ID + 1;
        } while (item_find(channel, channel->last_id));
        return channel->last_id;
}

void cross_item_receive(struct cross_channel *channel, int fd, struct cross_send_receive *head, unsigned i)
{
        struct cross_item *item = item_find(channel, 0);
        const uint32_t type = item ? item_classify(fd, item) : CROSS_ID_NONE;

        if (type == CROSS_ID_NONE) {
                log_debug(&channel->log, "cross-domain: a descriptor from the compositor is nothing for a guest%s",
                          item ? "" : ": it has too many");
                fd_close(fd);
                return;
        }
        item->id = next_id(channel);
        item->type = type;
        item->fd = fd;
        head->ids[i] = htole32(item->id);
        head->types[i] = htole32(type);
        head->sizes[i] = htole32((uint32_t)item->size);
}

int cross_item_new_pipe(struct cross_channel *channel, uint32_t id)
{
        struct cross_item *item = item_find(channel, 0);
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = id};
        int fds[2];

        if (id < CROSS_READ_PIPE_START || item_find(channel, id))
                return -EEXIST;
        if (!item)
                return -ENOSPC;
        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        if (fd_set_nonblocking(fds[0], 1) < 0 || epoll_ctl(channel->epoll_fd, EPOLL_CTL_ADD, fds[0], &event) < 0) {
                fd_close_all(fds, ARRAY_SIZE(fds));
                return -ENOSPC;
        }
        item->id = id;
        item->type = CROSS_ID_READ_PIPE;
        item->fd = fds[0];
        return fds[1];
}

int cross_memory_new(uint64_t size)
{
        _cleanup_(fd_closep) int fd = memfd_create("oriel-gpu-wayland", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        const off_t whole = (off_t)((size + CROSS_PAGE - 1) & ~(uint64_t)(CROSS_PAGE - 1));

        if (fd < 0 || ftruncate(fd, whole) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
                return -ENOMEM;
        return fd_take(&fd);
}

/* QEMU maps no page that a file has only a part of, and guests map whole pages. Compositors send keymaps and tables
 * of formats in such sizes, and don't change them: the guest gets a copy. */
static int copy_to_whole_pages(int from, size_t size)
{
        _cleanup_(freep) void *bytes = malloc(size);
        _cleanup_(fd_closep) int fd = cross_memory_new(size);
        ssize_t n = bytes ? pread(from, bytes, size, 0) : -1;

        return fd < 0 || n < 0 || write(fd, bytes, (size_t)n) != n ? -ENOMEM : fd_take(&fd);
}

/* The size may be rounded up to pages, as Linux does; the file's last page may end within it. */
int cross_item_take_blob(struct cross_channel *channel, const struct gpu_blob_request *request, struct gpu_blob *out)
{
        struct cross_item *item =
                request->blob_id <= UINT32_MAX ? item_find(channel, (uint32_t)request->blob_id) : NULL;
        uint64_t most;

        if (!item || item->type != CROSS_ID_BLOB)
                return -ENOENT;
        if (!checked_round_up(item->size, CROSS_PAGE, &most) || request->size > most)
                return -EINVAL;
        *out = item->blob;
        if (item->blob.type == GPU_BLOB_SHM && item->size % CROSS_PAGE && item->size <= COPIED_MAX) {
                out->fd = copy_to_whole_pages(item->fd, item->size);
                out->memory = most;
        } else {
                out->fd = fd_take(&item->fd);
        }
        if (out->fd < 0)
                return out->fd;
        cross_item_remove(channel, item);
        return 0;
}

size_t cross_item_read(struct cross_channel *channel, uint32_t id, union cross_message *message)
{
        struct cross_item *item = item_find(channel, id);
        ssize_t n = item ? read(item->fd, message->read.data, sizeof(message->read.data)) : -1;

        if (!item || (n < 0 && (errno == EAGAIN || errno == EINTR)))
                return 0;
        n = n < 0 ? 0 : n;
        message->read.head = (struct cross_read_write){
                .header = {CROSS_READ, CROSS_CHANNEL_RING, htole16((uint16_t)(sizeof(message->read.head) + (size_t)n)),
                           0},
                .id = htole32(id),
                .hang_up = htole32(n == 0),
                .data_size = htole32((uint32_t)n),
        };
        if (n == 0)
                cross_item_remove(channel, item);
        return sizeof(message->read.head) + (size_t)n;
}

static int item_arm(struct cross_channel *channel, const struct cross_item *item, int operation)
{
        struct epoll_event event = {.events = EPOLLOUT | EPOLLONESHOT,
                                    .data.u64 = cross_event(channel->context_id, item->id)};

        return epoll_ctl(channel->loop_fd, operation, item->fd, &event) < 0 ? -errno : 0;
}

/* Writes @data to the pipe of our own, where all of it must have room. */
static int item_feed(struct cross_channel *channel, struct cross_item *item, const void *data, size_t size)
{
        bool first = item->feed[0] < 0;

        if (first && pipe2(item->feed, O_CLOEXEC | O_NONBLOCK) < 0)
                return -errno;
        if (first)
                fcntl(item->feed[1], F_SETPIPE_SZ, FEED_SIZE);
        if (write(item->feed[1], data, size) != (ssize_t)size)
                return -ENOSPC;
        item->pending += size;
        return item_arm(channel, item, first ? EPOLL_CTL_ADD : EPOLL_CTL_MOD);
}

int cross_item_write(struct cross_channel *channel, uint32_t id, const void *data, size_t size, bool hang_up)
{
        struct cross_item *item = item_find(channel, id);
        int r = 0;

        if (!item || item->type != CROSS_ID_WRITE_PIPE || item->hangs_up)
                return -ENOENT;
        if (size > 0)
                r = item_feed(channel, item, data, size);
        item->hangs_up = hang_up;
        if (r < 0 || (hang_up && item->pending == 0))
                cross_item_remove(channel, item);
        return r;
}

void cross_item_flush(struct cross_channel *channel, uint32_t id)
{
        struct cross_item *item = item_find(channel, id);

        if (!item || item->pending == 0)
                return;

        ssize_t n = splice(item->feed[0], NULL, item->fd, NULL, item->pending, SPLICE_F_NONBLOCK);
        int r = n > 0 || (n < 0 && errno == EAGAIN) ? 0 : -EPIPE;

        if (n > 0)
                item->pending -= (size_t)n;
        if (r == 0 && item->pending > 0)
                r = item_arm(channel, item, EPOLL_CTL_MOD);
        if (r < 0 || (item->pending == 0 && item->hangs_up))
                cross_item_remove(channel, item);
}
