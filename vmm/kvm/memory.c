/* SPDX-License-Identifier: BSD-2-Clause */

/* Guest memory and KVM's slots. Memory is one memfd, shared with back-ends, in one or two parts of the guest's address
 * space, as the architecture says; each part is a slot. Further slots are windows, which devices add and remove while
 * the guest runs. Addresses are looked up without a lock: the parts do not change while the machine lives. */

#include "vmm/kvm/machine.h"

#include "base/range.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static int set_slot(struct kvm *kvm, unsigned slot, uint64_t address, void *host, uint64_t size)
{
        struct kvm_userspace_memory_region region = {
                .slot = slot,
                .guest_phys_addr = address,
                .memory_size = size,
                .userspace_addr = (uint64_t)(uintptr_t)host,
        };

        return ioctl(kvm->fd, KVM_SET_USER_MEMORY_REGION, &region) < 0 ? -errno : 0;
}

int kvm_add_slot(struct kvm *kvm, uint64_t address, void *host, uint64_t size)
{
        int slot = 0;

        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&kvm->lock);
        while (slot < MAX_SLOTS && kvm->slots[slot])
                slot++;

        int r = slot < MAX_SLOTS ? set_slot(kvm, (unsigned)slot, address, host, size) : -ENOSPC;

        if (r == 0)
                kvm->slots[slot] = true;
        return r < 0 ? r : slot;
}

void kvm_remove_slot(struct kvm *kvm, int slot)
{
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&kvm->lock);
        if (slot >= 0 && slot < MAX_SLOTS && kvm->slots[slot]) {
                set_slot(kvm, (unsigned)slot, 0, NULL, 0);
                kvm->slots[slot] = false;
        }
}

int memory_open(struct kvm *kvm, uint64_t size, bool huge_pages)
{
        const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
        const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING | (huge_pages ? MFD_HUGETLB | MFD_HUGE_2MB : 0);

        if (size < 1 << 20 || !is_aligned(size, (uint64_t)sysconf(_SC_PAGESIZE)) || size > INT64_MAX)
                return -EINVAL;
        kvm->huge_pages = huge_pages;
        kvm->memory_fd = memfd_create("oriel-memory", flags);
        if (kvm->memory_fd < 0 || ftruncate(kvm->memory_fd, (off_t)size) < 0 ||
            fcntl(kvm->memory_fd, F_ADD_SEALS, seals) < 0)
                return -errno;

        /* Huge pages are reserved by that, so that none is missing later. */
        const int how = MAP_SHARED | (huge_pages ? 0 : MAP_NORESERVE);
        void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, how, kvm->memory_fd, 0);

        if (memory == MAP_FAILED)
                return huge_pages && errno == ENOMEM ? -EDQUOT : -errno;
        kvm->memory = memory;
        kvm->memory_size = size;
        return 0;
}

int memory_clear(struct kvm *kvm)
{
        int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

        /* Huge pages that were given back would no longer be reserved. */
        if (kvm->huge_pages) {
                memset(kvm->memory, 0, kvm->memory_size);
                return 0;
        }
        return fallocate(kvm->memory_fd, mode, 0, (off_t)kvm->memory_size) < 0 ? -errno : 0;
}

int memory_add_slots(struct kvm *kvm)
{
        struct oriel_memory_region regions[2];
        unsigned n = kvm_memory_regions(kvm, regions);
        int r = 0;

        for (unsigned i = 0; r >= 0 && i < n; i++)
                r = kvm_add_slot(kvm, regions[i].guest_address, kvm->memory + regions[i].mmap_offset, regions[i].size);
        return r < 0 ? r : 0;
}

void memory_close(struct kvm *kvm)
{
        if (kvm->memory)
                munmap(kvm->memory, kvm->memory_size);
        if (kvm->memory_fd >= 0)
                close(kvm->memory_fd);
}

int kvm_memory_fd(const struct kvm *kvm)
{
        return kvm->memory_fd;
}

unsigned kvm_memory_regions(const struct kvm *kvm, struct oriel_memory_region regions[2])
{
        struct oriel_range parts[2];
        unsigned n = arch_memory(kvm->memory_size, parts);
        uint64_t offset = 0;

        for (unsigned i = 0; i < n; offset += parts[i++].size)
                regions[i] = (struct oriel_memory_region){
                        .guest_address = parts[i].start,
                        .size = parts[i].size,
                        .user_address = (uint64_t)(uintptr_t)(kvm->memory + offset),
                        .mmap_offset = offset,
                };
        return n;
}

void *kvm_memory_at(const struct kvm *kvm, uint64_t address, uint64_t size)
{
        const struct oriel_range wanted = {address, size};
        struct oriel_memory_region regions[2];
        unsigned n = kvm_memory_regions(kvm, regions);

        for (unsigned i = 0; i < n; i++)
                if (range_contains((struct oriel_range){regions[i].guest_address, regions[i].size}, wanted))
                        return kvm->memory + regions[i].mmap_offset + (address - regions[i].guest_address);
        return NULL;
}
