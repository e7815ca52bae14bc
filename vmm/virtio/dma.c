/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/virtio/dma.h"

#include "base/cleanup.h"
#include "base/fd.h"

#include <errno.h>
#include <pthread.h>
#include <search.h>
#include <stdlib.h>

LIST_HEAD(dma_listeners, dma_listener);

struct dma {
        pthread_mutex_t lock;
        void *pieces; /* tsearch(), by guest address */
        struct dma_listeners listeners;
};

static int compare(const void *a, const void *b)
{
        const struct dma_piece *x = a, *y = b;

        return x->region.guest_address < y->region.guest_address ? -1
                                                                 : x->region.guest_address > y->region.guest_address;
}

/* With the lock. */
static void release(void *object)
{
        struct dma_piece *piece = object;

        if (--piece->references > 0)
                return;
        fd_close(piece->fd);
        free(piece);
}

int dma_new(struct dma **out)
{
        struct dma *dma = calloc(1, sizeof(*dma));

        if (!dma)
                return -ENOMEM;
        pthread_mutex_init(&dma->lock, NULL);
        LIST_INIT(&dma->listeners);
        *out = dma;
        return 0;
}

void dma_free(struct dma *dma)
{
        if (!dma)
                return;
        tdestroy(dma->pieces, release);
        pthread_mutex_destroy(&dma->lock);
        free(dma);
}

/* With the lock. Without memory the listener is not told: DMA to that piece won't work, or its slot stays taken. */
static void tell(struct dma_listener *listener, enum dma_change_kind kind, struct dma_piece *piece)
{
        struct dma_change *change = malloc(sizeof(*change));

        if (!change)
                return;
        *change = (struct dma_change){.kind = kind, .piece = piece};
        piece->references++;
        TAILQ_INSERT_TAIL(&listener->changes, change, entry);
        fd_event_signal(listener->wake_fd);
}

static void forget(struct dma_listener *listener, struct dma_change *change)
{
        TAILQ_REMOVE(&listener->changes, change, entry);
        release(change->piece);
        free(change);
}

/* A piece that the listener has not heard of yet need not be heard of. */
static void tell_removal(struct dma_listener *listener, struct dma_piece *piece)
{
        struct dma_change *change;

        for (change = TAILQ_FIRST(&listener->changes); change; change = TAILQ_NEXT(change, entry)) {
                if (change->piece == piece) {
                        forget(listener, change);
                        return;
                }
        }
        tell(listener, DMA_REMOVE, piece);
}

static int add(struct dma *dma, struct dma_piece *piece)
{
        struct dma_piece **node = tsearch(piece, &dma->pieces, compare);
        struct dma_listener *listener;

        if (!node || *node != piece)
                return node ? -EEXIST : -ENOMEM;
        for (listener = LIST_FIRST(&dma->listeners); listener; listener = LIST_NEXT(listener, entry))
                tell(listener, DMA_ADD, piece);
        return 0;
}

int dma_add(struct dma *dma, const struct oriel_memory_region *region, int fd, const void *owner, unsigned shares)
{
        struct dma_piece *piece = malloc(sizeof(*piece));

        if (!piece) {
                fd_close(fd);
                return -ENOMEM;
        }
        *piece = (struct dma_piece){.owner = owner, .shares = shares, .region = *region, .fd = fd, .references = 1};
        pthread_mutex_lock(&dma->lock);

        int r = add(dma, piece);

        if (r < 0)
                release(piece);
        pthread_mutex_unlock(&dma->lock);
        return r;
}

void dma_remove(struct dma *dma, uint64_t guest_address)
{
        const struct dma_piece key = {.region.guest_address = guest_address};
        struct dma_listener *listener;

        pthread_mutex_lock(&dma->lock);

        struct dma_piece **node = tfind(&key, &dma->pieces, compare), *piece = node ? *node : NULL;

        if (piece) {
                tdelete(piece, &dma->pieces, compare);
                for (listener = LIST_FIRST(&dma->listeners); listener; listener = LIST_NEXT(listener, entry))
                        tell_removal(listener, piece);
                release(piece);
        }
        pthread_mutex_unlock(&dma->lock);
}

static void tell_existing(const void *node, VISIT visit, void *closure)
{
        if (visit == postorder || visit == leaf)
                tell(closure, DMA_ADD, *(struct dma_piece *const *)node);
}

void dma_listen(struct dma *dma, struct dma_listener *listener, int wake_fd)
{
        dma_stop_listening(dma, listener);
        pthread_mutex_lock(&dma->lock);
        TAILQ_INIT(&listener->changes);
        listener->wake_fd = wake_fd;
        listener->listening = true;
        LIST_INSERT_HEAD(&dma->listeners, listener, entry);
        twalk_r(dma->pieces, tell_existing, listener);
        pthread_mutex_unlock(&dma->lock);
}

void dma_stop_listening(struct dma *dma, struct dma_listener *listener)
{
        pthread_mutex_lock(&dma->lock);
        if (listener->listening) {
                LIST_REMOVE(listener, entry);
                while (!TAILQ_EMPTY(&listener->changes))
                        forget(listener, TAILQ_FIRST(&listener->changes));
        }
        listener->listening = false;
        pthread_mutex_unlock(&dma->lock);
}

bool dma_next(struct dma *dma, struct dma_listener *listener, enum dma_change_kind *kind, struct dma_piece **piece)
{
        struct dma_change *change = NULL;
        bool any;

        pthread_mutex_lock(&dma->lock);
        if (listener->listening)
                change = TAILQ_FIRST(&listener->changes);
        any = change;
        if (any) {
                TAILQ_REMOVE(&listener->changes, change, entry);
                *kind = change->kind;
                *piece = change->piece;
                free(change);
        }
        pthread_mutex_unlock(&dma->lock);
        return any;
}

void dma_piece_release(struct dma *dma, struct dma_piece *piece)
{
        pthread_mutex_lock(&dma->lock);
        release(piece);
        pthread_mutex_unlock(&dma->lock);
}
