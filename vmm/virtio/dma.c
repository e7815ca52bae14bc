/* SPDX-License-Identifier: BSD-2-Clause */

/* Tells every device's back-end of memory that the others have mapped. The list of pieces and each listener's queue of
 * changes are under one lock; a change holds a reference to its piece, and its listener's eventfd is signalled. Adding
 * a piece therefore never waits for a back-end: the listener's thread takes changes with dma_next() and sends them. A
 * removal of a piece whose addition is still queued cancels that. A piece holds a reference to its mapping, whose
 * descriptor it needs. */

#include "vmm/virtio/dma.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/lock.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

LIST_HEAD(dma_listeners, dma_listener);
TAILQ_HEAD(dma_pieces, dma_piece);

struct dma {
        pthread_mutex_t lock;
        struct dma_pieces pieces;
        struct dma_listeners listeners;
};

/* With the lock. */
static void dma_release(struct dma_piece *piece)
{
        if (--piece->references > 0)
                return;
        oriel_mapping_unref(piece->mapping);
        free(piece);
}

int dma_new(struct dma **out)
{
        struct dma *dma = calloc(1, sizeof(*dma));

        if (!dma)
                return -ENOMEM;
        pthread_mutex_init(&dma->lock, NULL);
        LIST_INIT(&dma->listeners);
        TAILQ_INIT(&dma->pieces);
        *out = dma;
        return 0;
}

void dma_free(struct dma *dma)
{
        if (!dma)
                return;
        while (!TAILQ_EMPTY(&dma->pieces))
                dma_remove(dma, TAILQ_FIRST(&dma->pieces));
        pthread_mutex_destroy(&dma->lock);
        free(dma);
}

/* With the lock. Without memory the listener is not told: DMA to that piece won't work, or its slot stays taken. */
static void dma_tell(struct dma_listener *listener, enum dma_change_kind kind, struct dma_piece *piece)
{
        struct dma_change *change = malloc(sizeof(*change));

        if (!change)
                return;
        *change = (struct dma_change){.kind = kind, .piece = piece};
        piece->references++;
        TAILQ_INSERT_TAIL(&listener->changes, change, entry);
        fd_event_wake(listener->wake_fd);
}

static void dma_forget(struct dma_listener *listener, struct dma_change *change)
{
        TAILQ_REMOVE(&listener->changes, change, entry);
        dma_release(change->piece);
        free(change);
}

/* A piece that the listener has not heard of yet need not be heard of. */
static void tell_removal(struct dma_listener *listener, struct dma_piece *piece)
{
        struct dma_change *change;

        for (change = TAILQ_FIRST(&listener->changes); change; change = TAILQ_NEXT(change, entry)) {
                if (change->piece == piece) {
                        dma_forget(listener, change);
                        return;
                }
        }
        dma_tell(listener, DMA_REMOVE, piece);
}

struct dma_piece *dma_add(struct dma *dma, const struct oriel_memory_region *region, struct oriel_mapping *mapping,
                          const void *owner, unsigned shares)
{
        struct dma_piece *piece = malloc(sizeof(*piece));
        struct dma_listener *listener;

        if (!piece)
                return NULL;
        *piece = (struct dma_piece){.owner = owner,
                                    .shares = shares,
                                    .region = *region,
                                    .mapping = oriel_mapping_ref(mapping),
                                    .references = 1};
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&dma->lock);
        TAILQ_INSERT_TAIL(&dma->pieces, piece, entry);
        for (listener = LIST_FIRST(&dma->listeners); listener; listener = LIST_NEXT(listener, entry))
                dma_tell(listener, DMA_ADD, piece);
        return piece;
}

void dma_remove(struct dma *dma, struct dma_piece *piece)
{
        struct dma_listener *listener;

        if (!piece)
                return;
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&dma->lock);
        TAILQ_REMOVE(&dma->pieces, piece, entry);
        for (listener = LIST_FIRST(&dma->listeners); listener; listener = LIST_NEXT(listener, entry))
                tell_removal(listener, piece);
        dma_release(piece);
}

void dma_listen(struct dma *dma, struct dma_listener *listener, int wake_fd)
{
        struct dma_piece *piece;

        dma_stop_listening(dma, listener);
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&dma->lock);
        TAILQ_INIT(&listener->changes);
        listener->wake_fd = wake_fd;
        listener->listening = true;
        LIST_INSERT_HEAD(&dma->listeners, listener, entry);
        for (piece = TAILQ_FIRST(&dma->pieces); piece; piece = TAILQ_NEXT(piece, entry))
                dma_tell(listener, DMA_ADD, piece);
}

void dma_stop_listening(struct dma *dma, struct dma_listener *listener)
{
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&dma->lock);
        if (listener->listening) {
                LIST_REMOVE(listener, entry);
                while (!TAILQ_EMPTY(&listener->changes))
                        dma_forget(listener, TAILQ_FIRST(&listener->changes));
        }
        listener->listening = false;
}

bool dma_next(struct dma *dma, struct dma_listener *listener, enum dma_change_kind *kind, struct dma_piece **piece)
{
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&dma->lock);

        struct dma_change *change = listener->listening ? TAILQ_FIRST(&listener->changes) : NULL;

        if (!change)
                return false;
        TAILQ_REMOVE(&listener->changes, change, entry);
        *kind = change->kind;
        *piece = change->piece;
        free(change);
        return true;
}

void dma_piece_release(struct dma *dma, struct dma_piece *piece)
{
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&dma->lock);
        dma_release(piece);
}
