/* SPDX-License-Identifier: BSD-2-Clause */

/* Passes requests between /dev/fuse and the queues of the device: each request of the kernel goes into a slot, in
 * memory that the device has too, and its answer is written to the kernel from there. Reads and writes of ranges
 * that the window shows are answered here. The back-end may change a slot at any time, so nothing is decided on
 * bytes that are read from it twice. */

#include "cli/mount/mount.h"

#include "base/cleanup.h"
#include "base/shared.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static struct mount_slot *find_free(struct mount_slot *slots, unsigned n)
{
        for (unsigned i = 0; i < n; i++)
                if (!slots[i].busy)
                        return &slots[i];
        return NULL;
}

struct mount_slot *mount_free_slot(struct mount *mount)
{
        return find_free(mount->slots, SLOTS);
}

/* The first bytes of a request. The kernel writes them here, where the back-end can't change them, and the slot gets
 * a copy. */
struct head {
        struct fuse_in_header header;
        uint8_t arguments[64]; /* the longest arguments before data or names, of the requests that are looked at here */
};

/* ---- to the device ---- */

/* The room for the answer. Back-ends fill the room that a read leaves (virtiofsd reads as much of the file as fits),
 * so it is exact where the request names a size; all other answers fit in a page. */
static size_t room_for_answer(const struct head *head)
{
        struct fuse_read_in read;
        struct fuse_getxattr_in getxattr;
        size_t size = PATH_MAX;

        switch (head->header.opcode) {
        case FUSE_READ:
        case FUSE_READDIR:
        case FUSE_READDIRPLUS:
                memcpy(&read, head->arguments, sizeof(read));
                size = read.size;
                break;
        case FUSE_GETXATTR:
        case FUSE_LISTXATTR:
                memcpy(&getxattr, head->arguments, sizeof(getxattr));
                size = getxattr.size ? getxattr.size : sizeof(struct fuse_getxattr_out);
                break;
        case FUSE_SETLKW:
                size = 0;
                break;
        default:
                break;
        }
        size += sizeof(struct fuse_out_header);
        return size < BUFFER ? size : BUFFER;
}

static int relay_forward(struct mount *mount, struct mount_slot *slot, const struct head *head, size_t size)
{
        const struct fuse_in_header *header = &head->header;
        bool silent = header->opcode == FUSE_FORGET || header->opcode == FUSE_BATCH_FORGET ||
                      header->opcode == FUSE_INTERRUPT;
        struct iovec in = {slot->in, size}, out = {slot->out, room_for_answer(head)};

        slot->opcode = header->opcode;
        slot->unique = header->unique;
        slot->queue = silent ? HIPRIO : REQUESTS;
        slot->busy = true;

        int r = oriel_driver_submit(mount->driver, slot->queue, &in, 1, &out, silent ? 0 : 1, slot);

        if (r == 0)
                r = oriel_driver_kick(mount->driver, slot->queue);
        if (r < 0)
                slot->busy = false;
        return r;
}

/* Asks for a range of the window. Without a free slot the range is not asked for (-EAGAIN). */
static int ask_mapping(struct mount *mount, const struct dax_ask *ask)
{
        struct mount_slot *slot = mount_free_slot(mount);
        struct fuse_setupmapping_in args = {
                .fh = UINT64_MAX,
                .foffset = ask->file_offset,
                .len = ask->size,
                .flags = FUSE_SETUPMAPPING_FLAG_READ,
                .moffset = ask->window_offset,
        };
        /* The kernel's own numbers count up from 0 in twos, and don't reach bit 63. */
        struct head head = {
                .header =
                        {
                                .len = sizeof(head.header) + sizeof(args),
                                .opcode = FUSE_SETUPMAPPING,
                                .unique = UINT64_C(1) << 63 | ask->window_offset,
                                .nodeid = ask->nodeid,
                        },
        };

        if (!slot) {
                dax_asked(mount->dax, ask, -EAGAIN);
                return 0;
        }
        memcpy(head.arguments, &args, sizeof(args));
        memcpy(slot->in, &head, head.header.len);
        slot->ask = *ask;
        return relay_forward(mount, slot, &head, head.header.len);
}

/* ---- to the kernel ---- */

static int relay_answer(struct mount *mount, struct iovec *iov, int n)
{
        ssize_t written = writev(mount->fuse_fd, iov, n);

        /* ENOENT: the process that asked was killed meanwhile. ENODEV: the mount is gone. */
        return written >= 0 || errno == ENOENT || errno == ENODEV ? 0 : -errno;
}

/* ---- reads and writes through the window ---- */

static int serve_read(struct mount *mount, const struct head *head)
{
        const struct fuse_in_header *header = &head->header;
        struct fuse_out_header out = {.unique = header->unique};
        struct fuse_read_in in;
        struct dax_ask ask;

        memcpy(&in, head->arguments, sizeof(in));

        uint8_t *data = dax_find(mount->dax, header->nodeid, in.offset, in.size, &ask);

        if (!data)
                return ask.needed ? ask_mapping(mount, &ask) : 0;
        out.len = (uint32_t)(sizeof(out) + in.size);

        struct iovec iov[2] = {{&out, sizeof(out)}, {data, in.size}};
        int r = relay_answer(mount, iov, 2);

        /* -EFAULT: the file has become shorter since dax_find() looked. The kernel has ended the request, with EIO, so
         * there is nothing to ask the device for. */
        return r < 0 && r != -EFAULT ? r : 1;
}

/* Stores by process_vm_writev(), which fails, without a signal, where the file has become shorter or is mapped
 * read-only. */
static bool relay_store(uint8_t *to, const uint8_t *from, size_t size)
{
        struct iovec local = {(void *)(uintptr_t)from, size}, remote = {to, size};

        return process_vm_writev(getpid(), &local, 1, &remote, 1, 0) == (ssize_t)size;
}

static int serve_write(struct mount *mount, const struct mount_slot *slot, const struct head *head)
{
        const struct fuse_in_header *header = &head->header;
        struct fuse_write_in in;
        struct dax_ask ask;

        memcpy(&in, head->arguments, sizeof(in));
        /* Only the back-end knows where an append goes, and a store through the window removes no set-user-ID bit. */
        if (in.flags & O_APPEND || in.write_flags & FUSE_WRITE_KILL_SUIDGID)
                return 0;

        uint8_t *data = dax_find(mount->dax, header->nodeid, in.offset, in.size, &ask);

        if (!data)
                return ask.needed ? ask_mapping(mount, &ask) : 0;
        if (!relay_store(data, slot->in + sizeof(*header) + sizeof(in), in.size))
                return 0;

        struct fuse_out_header out = {sizeof(out) + sizeof(struct fuse_write_out), 0, header->unique};
        struct fuse_write_out written = {.size = in.size};
        struct iovec iov[2] = {{&out, sizeof(out)}, {&written, sizeof(written)}};
        int r = relay_answer(mount, iov, 2);

        return r < 0 ? r : 1;
}

/* ---- waits for locks ---- */

static int relay_refuse(struct mount *mount, uint64_t unique, int error)
{
        struct fuse_out_header out = {sizeof(out), error, unique};
        struct iovec iov = {&out, sizeof(out)};

        return relay_answer(mount, &iov, 1);
}

/* Whether the request may wait for a lock. An unlock comes as SETLKW too, but does not wait. */
static bool may_last(const struct head *head)
{
        struct fuse_lk_in in;

        memcpy(&in, head->arguments, sizeof(in));
        return head->header.opcode == FUSE_SETLKW && in.lk.type != F_UNLCK;
}

/* Forwards the request from a slot for waits, which gets a copy; -ENOLCK without one. @slot stays free. */
static int forward_wait(struct mount *mount, const struct mount_slot *slot, const struct head *head, size_t size)
{
        struct mount_slot *wait = find_free(mount->waits, WAITS);

        if (!wait || size > WAIT_BUFFER)
                return relay_refuse(mount, head->header.unique, -ENOLCK);
        memcpy(wait->in, slot->in, size);
        return relay_forward(mount, wait, head, size);
}

/* The number of entries is the kernel's; the entries themselves may have been changed by the back-end. */
static void note_forgets(struct mount *mount, const struct mount_slot *slot, const struct head *head, size_t size)
{
        const uint8_t *entries = slot->in + sizeof(head->header) + sizeof(struct fuse_batch_forget_in);
        struct fuse_batch_forget_in batch;
        struct fuse_forget_one one;

        if (head->header.opcode == FUSE_FORGET)
                dax_forget(mount->dax, head->header.nodeid);
        if (head->header.opcode != FUSE_BATCH_FORGET)
                return;
        memcpy(&batch, head->arguments, sizeof(batch));
        for (size_t i = 0; i < batch.count && entries + (i + 1) * sizeof(one) <= slot->in + size; i++) {
                shared_copy(&one, entries + i * sizeof(one), sizeof(one));
                dax_forget(mount->dax, one.nodeid);
        }
}

/* 1: answered here; 0: to be passed on to the device. */
static int relay_serve(struct mount *mount, struct mount_slot *slot, const struct head *head, size_t size)
{
        if (!mount->dax)
                return 0;
        if (head->header.opcode == FUSE_READ)
                return serve_read(mount, head);
        if (head->header.opcode == FUSE_WRITE)
                return serve_write(mount, slot, head);
        note_forgets(mount, slot, head, size);
        return 0;
}

/* ---- answers and requests ---- */

static void note_open_files(struct mount *mount, uint32_t opcode)
{
        static const struct {
                uint32_t opcode;
                int more;
        } rows[] = {{FUSE_OPEN, 1},    {FUSE_OPENDIR, 1},  {FUSE_CREATE, 1},
                    {FUSE_TMPFILE, 1}, {FUSE_RELEASE, -1}, {FUSE_RELEASEDIR, -1}};

        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
                if (rows[i].opcode == opcode)
                        mount->open_files += (uint64_t)rows[i].more;
}

static int relay_take_answer(struct mount *mount, struct mount_slot *slot, uint32_t written)
{
        struct fuse_out_header header = {0};
        struct iovec iov = {slot->out, written};

        slot->busy = false;
        if (slot->queue == HIPRIO)
                return 0;
        if (written >= sizeof(header))
                shared_copy(&header, slot->out, sizeof(header));
        if (slot->ask.needed) {
                slot->ask.needed = false;
                dax_asked(mount->dax, &slot->ask, written < sizeof(header) ? -EIO : header.error);
                return 0;
        }
        if (written < sizeof(header) || header.len != written)
                return relay_refuse(mount, slot->unique, -EIO);
        if (header.error == 0)
                note_open_files(mount, slot->opcode);
        return relay_answer(mount, &iov, 1);
}

int mount_take_answers(struct mount *mount)
{
        void *token;
        uint32_t written;
        int r = 0;

        for (unsigned queue = HIPRIO; r >= 0 && queue <= REQUESTS; queue++)
                do
                        while ((r = oriel_driver_collect(mount->driver, queue, &token, &written)) == 1) {
                                r = relay_take_answer(mount, token, written);
                                if (r < 0)
                                        return r;
                        }
                while (r == 0 && oriel_driver_rearm(mount->driver, queue));
        return r;
}

int mount_take_request(struct mount *mount)
{
        struct mount_slot *slot = mount_free_slot(mount);
        struct head head = {0};

        if (!slot)
                return 0;

        struct iovec parts[] = {{&head, sizeof(head)}, {slot->in + sizeof(head), BUFFER - sizeof(head)}};
        ssize_t size = readv(mount->fuse_fd, parts, ARRAY_SIZE(parts));

        if (size == 0)
                return 0;

        if (size < 0)
                return errno == EINTR || errno == EAGAIN || errno == ENOENT ? 0 : -errno;

        memcpy(slot->in, &head, sizeof(head));
        slot->ask.needed = false;
        slot->busy = true;

        int r = relay_serve(mount, slot, &head, (size_t)size);

        slot->busy = false;
        mount->served += r == 1;
        mount->forwarded += r == 0;
        if (r != 0)
                return r < 0 ? r : 0;
        return may_last(&head) ? forward_wait(mount, slot, &head, (size_t)size)
                               : relay_forward(mount, slot, &head, (size_t)size);
}
