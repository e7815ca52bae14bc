/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BASE_LIMITS_H
#define BASE_LIMITS_H

/* How many mappings a process may have, vm.max_map_count; Linux's default where it can't be read. */
unsigned limit_mappings(void);

/* How many descriptors this process may have, INT32_MAX at most. */
unsigned limit_fds(void);

/* As many descriptors as this process may allow itself, for all that it starts too. */
void limit_raise_fds(void);

#endif
