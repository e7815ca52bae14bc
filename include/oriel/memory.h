/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef ORIEL_MEMORY_H
#define ORIEL_MEMORY_H

#include <oriel/range.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* A guest memory table: the memory regions (and, with an IOMMU, the IOTLB entries) by which one side of a device finds
 * the other's addresses. vhost-user, "Memory access" and "IOMMU support".
 *
 * A table never changes. Each change makes a new table that shares the old one's regions, so whoever translates keeps
 * a reference and needs no lock; a region is unmapped when the last table that has it goes. All functions may be called
 * from any thread. */
struct oriel_memory;

/* One row of SET_MEM_TABLE or ADD_MEM_REG. @user_address is an opaque number in the front-end's terms. Passed
 * in arrays and as it is on the wire, so it can't ever change. */
struct oriel_memory_region {
        uint64_t guest_address;
        uint64_t size;
        uint64_t user_address;
        uint64_t mmap_offset;
};

/* By which of a region's two base addresses an address is found. */
enum oriel_address_space {
        ORIEL_ADDRESS_GUEST, /* guest physical; IOVA when the table has an IOMMU */
        ORIEL_ADDRESS_USER,  /* the front-end's user address */
};

/* The failure of a translation: the first address that is not there, and what was wanted of it. The same as the
 * IOTLB_MSG of a miss has (the kernel's struct vhost_iotlb_msg), so it can't ever change. */
struct oriel_fault {
        uint64_t address;
        uint64_t size;
        enum oriel_access access;
};

/* Make an empty table that holds at most @max_regions. With @iommu, guest addresses are IOVAs, found through the IOTLB
 * entries and then by user address. The caller owns the reference. -ENOMEM. */
int oriel_memory_new(unsigned max_regions, int iommu, struct oriel_memory **out);

/* Take a reference, and give one back. NULL is accepted by the second. */
struct oriel_memory *oriel_memory_ref(struct oriel_memory *memory);
void oriel_memory_unref(struct oriel_memory *memory);

/* Make a table of @old with @region in it, mapped shared from @fd at its mmap_offset, which need not be a multiple of
 * the page size. Takes neither @fd nor @old. @fd is mapped read-write, or read-only where it is open only for reading:
 * then a translation that wants to write there fails. -EINVAL: empty, or an address that overflows. -EEXIST: guest or
 * user addresses overlap a region of the table. -ENOSPC: @max_regions reached. Else what mmap says. */
int oriel_memory_add(struct oriel_memory *old, const struct oriel_memory_region *region, int fd,
                     struct oriel_memory **out);

/* As oriel_memory_add(), for memory that is mapped already at @host, which stays the caller's and must outlive every
 * table it is in.
 */
int oriel_memory_add_mapped(struct oriel_memory *old, const struct oriel_memory_region *region, void *host,
                            enum oriel_access access, struct oriel_memory **out);

/* Make a table of @old without the region whose guest address, user address and size are @region's. -ENOENT: there is
 * none. */
int oriel_memory_remove(struct oriel_memory *old, const struct oriel_memory_region *region, struct oriel_memory **out);

/* Make a table of @old with an IOTLB entry; entries that overlap it go. Of 4096 entries the oldest makes room: a
 * front-end that only answers misses never takes one back. -EINVAL: no IOMMU, an empty or overflowing range, or no
 * access. -EFAULT: the user addresses do not lie in one region of the table. vhost-user, IOTLB_MSG. */
int oriel_memory_iotlb_update(struct oriel_memory *old, struct oriel_range iova, uint64_t user_address,
                              enum oriel_access access, struct oriel_memory **out);
/* Make a table of @old without the IOTLB entries that overlap @iova. Start and size 0: all of them. */
int oriel_memory_iotlb_invalidate(struct oriel_memory *old, struct oriel_range iova, struct oriel_memory **out);

/* How many regions the table has. */
unsigned oriel_memory_count(const struct oriel_memory *memory);
/* Row @index, in order of guest address; all zeros where there are less. @host may be NULL. */
void oriel_memory_get(const struct oriel_memory *memory, unsigned index, struct oriel_memory_region *region,
                      void **host);

/* Find the host memory of @range as at most @max spans, in order. Returns how many, at least 1.
 * -EFAULT: a part is in no region, or its region forbids @access. -EAGAIN: a part has no IOTLB entry that allows
 * @access; try again after a miss was answered. -E2BIG: more spans than @max. -EINVAL: @size is 0 or the end overflows,
 * @space is neither, or there is no @access. On -EFAULT and -EAGAIN @fault, unless NULL, tells where. The spans are
 * valid while @memory is referenced. */
int oriel_memory_translate(struct oriel_memory *memory, enum oriel_address_space space, struct oriel_range range,
                           enum oriel_access access, struct iovec *spans, unsigned max, struct oriel_fault *fault);

/* Go on after SIGBUS. Memory is mapped from files that the other side can cut short, and an access behind the end is
 * SIGBUS. After this call such a page reads as zeros and takes writes, which nobody else sees; the same holds in
 * windows (oriel/shmem.h). It installs a handler for SIGBUS in this process, and passes on what is not the library's to
 * the one that was there. Daemons that serve strangers should call it once. 0 or a negative errno. */
int oriel_memory_survive_sigbus(void);

/* The dirty log of SET_LOG_BASE: a shared bitmap, one bit for each 4096 bytes of guest memory, set atomically.
 * vhost-user, "Migration". References as above; marking may happen on any thread. */
struct oriel_dirty_log;

/* Map @size bytes of @fd at @offset, which need not be a multiple of the page size. Takes no fd. -EINVAL: empty, or the
 * file ends before. */
int oriel_dirty_log_new(int fd, uint64_t offset, uint64_t size, struct oriel_dirty_log **out);
/* Take a reference, and give one back. NULL is accepted by the second. */
struct oriel_dirty_log *oriel_dirty_log_ref(struct oriel_dirty_log *log);
void oriel_dirty_log_unref(struct oriel_dirty_log *log);
/* Mark the pages of @guest as written. Pages outside the log are not marked: the front-end promised a log that covers
 * them. */
void oriel_dirty_log_mark(struct oriel_dirty_log *log, struct oriel_range guest);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
