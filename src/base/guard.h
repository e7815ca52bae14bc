/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BASE_GUARD_H
#define BASE_GUARD_H

#include <stddef.h>

/* Memory mapped from a file that others can cut short: an access behind its end is SIGBUS. Ranges that are guarded get
 * a page of zeros there instead, which is nobody else's. Without guard_install() nothing changes. Any thread. */

/* A range of whole pages. -ENOSPC, once guard_install() was called: there is no room for more, and what can't be
 * guarded must not be used. */
int guard_add(void *address, size_t size);
/* Before it is unmapped. */
void guard_remove(void *address);

/* Handle SIGBUS for this process; what is not guarded goes to the handler that was there before. Once is enough
 * while nobody else handles it. 0 or a negative errno. */
int guard_install(void);

#endif
