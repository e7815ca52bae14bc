/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef PROGRAM_VIRTIO_PMEM_H
#define PROGRAM_VIRTIO_PMEM_H

/* The kernel's header of virtio-pmem, with the additions of Linux 6.9. */

#include <linux/virtio_pmem.h>

#ifndef VIRTIO_PMEM_F_SHMEM_REGION
#define VIRTIO_PMEM_F_SHMEM_REGION  0
#define VIRTIO_PMEM_SHMEM_REGION_ID 0
#endif

#endif
