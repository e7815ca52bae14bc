/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VMM_VIRTIO_GUEST_WINDOW_H
#define VMM_VIRTIO_GUEST_WINDOW_H

#include "vmm/kvm/kvm.h"
#include "vmm/virtio/dma.h"

#include <oriel/shmem.h>

/* The guest's window on one shared memory region: one memory slot for all of it, a sink where nothing is mapped, and
 * zeros where a mapped file has become shorter. Any thread. */
struct guest_window;

struct guest_window_options {
        uint8_t shmid;
        uint64_t size;
        unsigned shares; /* windows that the process may have: this one gets so small a part of its limits */
        struct kvm *kvm;
        struct dma *dma;
        bool allow_remote_files;     /* other devices don't reach them */
        const struct oriel_log *log; /* outlives the window */
};

/* -ENOSPC: larger than this process may map. Else an errno. */
int guest_window_new(const struct guest_window_options *options, struct guest_window **out);
void guest_window_free(struct guest_window *window);

struct oriel_region *guest_window_region(struct guest_window *window);
uint64_t guest_window_size(const struct guest_window *window);

/* The guest has it at @address from now on, or not at all. */
int guest_window_show(struct guest_window *window, uint64_t address);
void guest_window_hide(struct guest_window *window);
/* Where the guest has it; false: nowhere. */
bool guest_window_shown(struct guest_window *window, uint64_t *address);

/* An access that the slot did not take. Reads find what is there; a write is dropped. True: as
 * guest_window_zero_fill(). */
bool guest_window_access(struct guest_window *window, uint64_t offset, void *data, unsigned size, bool write);

/* All of @size bytes from @offset on, unless a page there can't be had. Changes nothing. */
bool guest_window_read(struct guest_window *window, uint64_t offset, void *data, size_t size);

/* Whether it has a mapping that a guest may use in a way that it does not allow: a read-only one, or one whose file has
 * gone in part. */
bool guest_window_is_limited(struct guest_window *window);

/* The guest, or KVM, has met no page: put zeros where a mapped file ends before its mapping. True: there was such a
 * place. */
bool guest_window_zero_fill(struct guest_window *window);
/* The same for the place at @offset alone, if that is one: what lies before it is left to be met, because the file may
 * grow first. */
bool guest_window_zero_fill_at(struct guest_window *window, uint64_t offset);
/* Show again what files have got back since. True: there still are places with zeros. */
bool guest_window_restore(struct guest_window *window);

/* A mapping, for queries. */
struct guest_window_view {
        struct oriel_range range;
        enum oriel_access access;
        uint64_t fd_offset;
        uint64_t lost;  /* bytes at its end that are zeros, because the file has become shorter */
        char name[256]; /* of the file, as the kernel has it; "" if not known */
};
bool guest_window_look(struct guest_window *window, uint64_t offset, struct guest_window_view *out);

#endif
