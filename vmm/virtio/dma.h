/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VMM_VIRTIO_DMA_H
#define VMM_VIRTIO_DMA_H

#include <oriel/memory.h>
#include <oriel/shmem.h>
#include <stdbool.h>
#include <sys/queue.h>

/* The pieces of guest memory that are not its RAM: what devices have mapped into their windows. Each device's back-end
 * is to know of them all, so that a buffer of the guest's may lie in any window. Any thread. */
struct dma;

/* One piece, counted: who has been told of it keeps it until it was told of its end. */
struct dma_piece {
        const void *owner; /* the window whose mapping it is; only compared */
        unsigned shares;   /* windows of the machine: the owner's may take so small a part of a back-end's slots */
        struct oriel_memory_region region;
        struct oriel_mapping *mapping; /* a reference, for its fd */
        unsigned references;           /* with the lock of the dma */
        TAILQ_ENTRY(dma_piece) entry;  /* the dma's */
};

enum dma_change_kind { DMA_ADD, DMA_REMOVE };

struct dma_change {
        TAILQ_ENTRY(dma_change) entry;
        enum dma_change_kind kind;
        struct dma_piece *piece;
};

TAILQ_HEAD(dma_changes, dma_change);

/* One device that is told. The fields are dma's. */
struct dma_listener {
        LIST_ENTRY(dma_listener) entry;
        struct dma_changes changes;
        int wake_fd; /* an eventfd, the owner's: there are changes */
        bool listening;
};

int dma_new(struct dma **out);
void dma_free(struct dma *dma); /* after its listeners have stopped; NULL is accepted */

/* @mapping, whose fd is kept, is at @region. The piece, for dma_remove(), or NULL without memory. */
struct dma_piece *dma_add(struct dma *dma, const struct oriel_memory_region *region, struct oriel_mapping *mapping,
                          const void *owner, unsigned shares);
/* NULL is accepted. */
void dma_remove(struct dma *dma, struct dma_piece *piece);

/* From now on, beginning with all there is. */
void dma_listen(struct dma *dma, struct dma_listener *listener, int wake_fd);
void dma_stop_listening(struct dma *dma, struct dma_listener *listener);
/* The next change, or false. Its piece is the caller's to give back. */
bool dma_next(struct dma *dma, struct dma_listener *listener, enum dma_change_kind *kind, struct dma_piece **piece);
void dma_piece_release(struct dma *dma, struct dma_piece *piece);

#endif
