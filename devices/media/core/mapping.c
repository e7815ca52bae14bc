/* SPDX-License-Identifier: BSD-2-Clause */

/* The buffers in the window (VIRTIO 1.4, 5.22.6.1: MMAP and MUNMAP). The device chooses the place: the first gap that
 * is large enough. Offsets of buffers are cookies, which are used again for other buffers, so a mapping is identified
 * by its session, its generation, its offset and its access.
 *
 * A mapping lasts until it is unmapped, whatever happens to the buffer and the session: the front-end has the file.
 * All on the thread that handles commands. */

#include "devices/media/core/state.h"

#include "base/cleanup.h"
#include "base/range.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static struct media_mapping *mapping_find(struct media *media, const struct media_mapping *wanted)
{
        struct media_mapping *mapping;

        TAILQ_FOREACH(mapping, &media->mappings, entry)
        if (mapping->session == wanted->session && mapping->offset == wanted->offset &&
            mapping->generation == wanted->generation && mapping->access == wanted->access)
                return mapping;
        return NULL;
}

/* Places @mapping, whose size is set, behind *@before, or first if that is NULL. */
static int mapping_place(struct media *media, struct media_mapping *mapping, struct media_mapping **before)
{
        struct media_mapping *next;
        uint64_t start = 0;

        *before = NULL;
        TAILQ_FOREACH(next, &media->mappings, entry)
        {
                if (next->range.start - start >= mapping->range.size)
                        break;
                start = next->range.start + next->range.size;
                *before = next;
        }
        mapping->range.start = start;
        return range_within(mapping->range, media->options.window_size) ? 0 : -ENOMEM;
}

static int mapping_make(struct media *media, const struct media_mapping *wanted, int fd, struct media_mapping **out)
{
        _cleanup_(freep) struct media_mapping *mapping = malloc(sizeof(*mapping));
        struct media_mapping *before;

        if (!mapping)
                return -ENOMEM;
        *mapping = *wanted;

        int r = mapping_place(media, mapping, &before);

        if (r == 0)
                r = media->options.ops->map(media->options.userdata, mapping->range, fd, mapping->access);
        if (r < 0) {
                log_within(media->options.lines, &media->options.log, ORIEL_LOG_WARNING,
                           "a buffer of %lu bytes can't be mapped: %s", (unsigned long)mapping->range.size,
                           strerror(-r));
                return r == -ENOSPC ? -ENOMEM : r;
        }
        if (before)
                TAILQ_INSERT_AFTER(&media->mappings, before, mapping, entry);
        else
                TAILQ_INSERT_HEAD(&media->mappings, mapping, entry);
        *out = steal(mapping);
        return 0;
}

int mapping_add(struct media *media, const struct node_session *session, uint32_t offset, enum oriel_access access,
                const struct media_file *file, uint64_t *address)
{
        struct media_mapping wanted = {
                .session = session->id,
                .offset = offset,
                .generation = file->generation,
                .access = access,
        };

        if (!checked_round_up(file->size, (uint64_t)sysconf(_SC_PAGESIZE), &wanted.range.size))
                return -EINVAL;

        struct media_mapping *mapping = mapping_find(media, &wanted);
        int r = mapping ? 0 : mapping_make(media, &wanted, file->fd, &mapping);

        if (r < 0)
                return r;
        if (mapping->count == UINT32_MAX)
                return -ENOMEM;
        mapping->count++;
        *address = mapping->range.start;
        return 0;
}

/* If the front-end refuses, the place stays taken: the buffer may still be there. */
int mapping_remove(struct media *media, uint64_t address)
{
        struct media_mapping *mapping;

        TAILQ_FOREACH(mapping, &media->mappings, entry)
        if (mapping->range.start == address)
                break;
        if (!mapping || mapping->count == 0)
                return -EINVAL;
        if (--mapping->count > 0)
                return 0;

        int r = media->options.ops->unmap(media->options.userdata, mapping->range, true);

        if (r < 0) {
                log_within(media->options.lines, &media->options.log, ORIEL_LOG_WARNING,
                           "the front-end does not unmap 0x%lx: %s", (unsigned long)address, strerror(-r));
                return -EIO;
        }
        TAILQ_REMOVE(&media->mappings, mapping, entry);
        free(mapping);
        return 0;
}

void mappings_forget(struct media *media)
{
        struct media_mapping *mapping;

        while ((mapping = TAILQ_FIRST(&media->mappings))) {
                media->options.ops->unmap(media->options.userdata, mapping->range, false);
                TAILQ_REMOVE(&media->mappings, mapping, entry);
                free(mapping);
        }
}
