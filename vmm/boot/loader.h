/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VMM_BOOT_LOADER_H
#define VMM_BOOT_LOADER_H

#include <oriel/memory.h>
#include <oriel/range.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A kernel and what it wants to find in guest memory: its command line, an initial file system, what describes the
 * machine. */
struct boot_image {
        int kernel_fd;       /* of a format that arch_kernels names */
        int initrd_fd;       /* -1: none */
        const char *cmdline; /* "": none */
        unsigned cpus;
        struct oriel_range mmio64; /* 64-bit PCI memory, for the host bridge's resources */
};

/* The state of arch_load(). Its memory need not be a virtual machine's. */
struct loader {
        /* As kvm_memory_regions() has it. */
        struct oriel_memory_region memory[2];
        unsigned parts;
        int memory_fd; /* the file of both parts, -1: none is known */
        const struct boot_image *image;
        uint64_t description; /* where in guest memory is what describes the machine: tables, or a tree */
        char *why;
        size_t why_size;
};

/* @error, after one line to the user. */
int loader_fail(struct loader *loader, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Where guest memory at @address is in this process, or NULL where not all of @size bytes is. */
void *loader_memory_at(const struct loader *loader, uint64_t address, uint64_t size);
/* The end of the first part, which is where kernels begin. */
uint64_t loader_low_end(const struct loader *loader);
/* The size of a regular file; @what is its name for the user. */
int loader_file_size(struct loader *loader, int fd, const char *what, uint64_t *size);
/* All of @range of the file. Less is an error. */
int loader_read(struct loader *loader, int fd, const char *what, struct oriel_range range, void *out);

/* The same into guest memory at @address, which has been checked. */
int loader_place(struct loader *loader, int fd, const char *what, struct oriel_range range, uint64_t address);

/* The command line, to @room, which is in memory; the kernel takes @most bytes of it and a zero. */
int loader_put_cmdline(struct loader *loader, struct oriel_range room, uint64_t most);
/* The initrd, as high as it can be in [@floor, @ceiling) and the first part of memory. @out's size is 0: there is none.
 */
int loader_put_initrd(struct loader *loader, uint64_t floor, uint64_t ceiling, struct oriel_range *out);

#endif
