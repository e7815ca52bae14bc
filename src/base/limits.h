/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BASE_LIMITS_H
#define BASE_LIMITS_H

/* The number of mappings a process may have: vm.max_map_count, or Linux's default where it can't be read. */
unsigned limit_mappings(void);

/* The number of descriptors this process may have, INT32_MAX at most. */
unsigned limit_fds(void);

/* Raises the limit on descriptors to the hard limit. Child processes inherit it. */
void limit_raise_fds(void);

#endif
