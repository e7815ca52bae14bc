/* SPDX-License-Identifier: BSD-2-Clause */

/* Virtio objects (VIRTIO 1.4, 5.22.6.1: VIRTIO_OBJECT): buffers in the memory of another device, which the front-end
 * finds by a UUID, and buffers of our own that EXPBUF has given a UUID. The front-end may ask for the memory of ours at
 * any time; an object that has ended is not found any more, and the front-end is told after the command.
 *
 * Memory of another device is used like our own, so only files are accepted that can't become shorter: dmabufs, and
 * sealed memfds. Those of huge pages are refused: holes can be punched in them, and an access then fails if no page is
 * left.
 *
 * Only the thread that handles commands changes the list; its lock is for lookups. A thread with the media's lock
 * may be waiting for a device of the host, or for the front-end. */

#include "devices/media/core/state.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/libc.h"
#include "base/syscalls.h"
#include "base/uuid.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/param.h>
#include <sys/vfs.h>

USES_SYSCALLS(SYSCALL_FCNTL(F_GET_SEALS), SYSCALL_FCNTL(F_ADD_SEALS), SYSCALL(fstatfs),
              SYSCALL_WITH(ioctl, 1, UINT32_MAX, DMA_BUF_IOCTL_SYNC));

/* As many planes as a few sessions have; each is a descriptor of its own. */
enum { OBJECTS_MAX = 1024 };

struct object {
        TAILQ_ENTRY(object) entry;
        struct media_object name;
        const struct node_session *session;
        struct v4l2_exportbuffer plane; /* its type, index and plane */
        int fd;                         /* -1: it has ended */
};

/* ---- of other devices ---- */

static int object_file_check(int fd)
{
        struct dma_buf_sync sync = {.flags = DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ};
        const int seals = fcntl(fd, F_GET_SEALS);
        struct statfs of;
        struct statx stat;

        if (seals >= 0 && (fstatfs(fd, &of) < 0 || of.f_type == HUGETLBFS_MAGIC))
                return -EPERM;
        if (seals >= 0)
                return seals & F_SEAL_SHRINK || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) == 0 ? 0 : -EPERM;
        /* A dmabuf has no type. A file's server would get the ioctl, and need not answer. */
        if (fd_look(fd, &stat) < 0 || stat.stx_mode & S_IFMT || ioctl(fd, DMA_BUF_IOCTL_SYNC, &sync) < 0)
                return -EINVAL;
        sync.flags = DMA_BUF_SYNC_END | DMA_BUF_SYNC_READ;
        ioctl(fd, DMA_BUF_IOCTL_SYNC, &sync);
        return 0;
}

/* Looks among our own first: for one of these, the front-end would have to ask this process back. */
static int object_file_find(struct media *media, const struct media_object *object)
{
        int fd = media_get_object(media, object);

        if (fd == -ENOENT)
                fd = media->options.ops->object_find(media->options.userdata, object);

        const int r = fd < 0 ? fd : object_file_check(fd);

        if (r < 0)
                fd_close(fd);
        return r < 0 ? r : fd;
}

int media_objects_find(struct media *media, struct media_call *call)
{
        int r = 0;

        if (call->row->payload != MEDIA_BUFFER || call->n_objects == 0)
                return 0;
        if (!media->options.ops->shares_objects(media->options.userdata))
                return -EINVAL;
        pthread_mutex_unlock(&media->lock);
        for (size_t i = 0; r >= 0 && i < call->n_objects; i++)
                r = call->object_fds[i] = object_file_find(media, &call->objects[i]);
        pthread_mutex_lock(&media->lock);
        /* An unknown object is like a descriptor that is none. */
        return r == -ENOENT || r == -EREMOTEIO ? -EINVAL : MIN(r, 0);
}

/* ---- our own ---- */

static void object_end(struct media *media, struct object *object)
{
        pthread_mutex_lock(&media->objects_lock);
        object->fd = fd_close(object->fd);
        pthread_mutex_unlock(&media->objects_lock);
}

static bool object_is_of(const struct object *object, const struct node_session *session,
                         const struct v4l2_exportbuffer *plane)
{
        return object->fd >= 0 && object->session == session && object->plane.type == plane->type &&
               object->plane.index == plane->index && object->plane.plane == plane->plane;
}

int object_export(struct node_session *session, struct media_call *call)
{
        struct media *media = session->media;
        struct object *object;

        if (!media->options.ops->shares_objects(media->options.userdata))
                return -ENOTTY;
        TAILQ_FOREACH(object, &media->objects, entry)
        {
                if (!object_is_of(object, session, call->payload))
                        continue;
                *call->objects = object->name;
                return 0;
        }
        if (media->n_objects == OBJECTS_MAX)
                return -ENFILE;
        object = calloc(1, sizeof(*object));
        if (!object)
                return -ENOMEM;
        object->session = session;
        object->plane = *(const struct v4l2_exportbuffer *)call->payload;
        object->fd = fd_dup(call->exported);

        int r = object->fd < 0 ? object->fd : uuid_new(object->name.uuid);

        if (r < 0) {
                fd_close(object->fd);
                free(object);
                return r;
        }
        pthread_mutex_lock(&media->objects_lock);
        TAILQ_INSERT_TAIL(&media->objects, object, entry);
        pthread_mutex_unlock(&media->objects_lock);
        media->n_objects++;
        pthread_mutex_unlock(&media->lock);
        r = media->options.ops->object_add(media->options.userdata, &object->name);
        pthread_mutex_lock(&media->lock);
        if (r < 0)
                object_end(media, object);
        else
                *call->objects = object->name;
        return r;
}

void media_objects_end(struct node_session *session, uint32_t type)
{
        struct object *object;

        TAILQ_FOREACH(object, &session->media->objects, entry)
        if (object->session == session && (type == 0 || object->plane.type == type))
                object_end(session->media, object);
}

int media_get_object(struct media *media, const struct media_object *wanted)
{
        const struct object *object;
        int fd = -ENOENT;

        pthread_mutex_lock(&media->objects_lock);
        TAILQ_FOREACH(object, &media->objects, entry)
        if (object->fd >= 0 && memcmp(&object->name, wanted, sizeof(*wanted)) == 0)
                fd = fd_dup(object->fd);
        pthread_mutex_unlock(&media->objects_lock);
        return fd;
}

static struct object *object_take_ended(struct media *media)
{
        struct object *object;

        pthread_mutex_lock(&media->objects_lock);
        TAILQ_FOREACH(object, &media->objects, entry)
        if (object->fd < 0)
                break;
        if (object) {
                TAILQ_REMOVE(&media->objects, object, entry);
                media->n_objects--;
        }
        pthread_mutex_unlock(&media->objects_lock);
        return object;
}

void objects_sweep(struct media *media)
{
        struct object *object;

        while ((object = object_take_ended(media))) {
                media->options.ops->object_remove(media->options.userdata, &object->name);
                free(object);
        }
}
