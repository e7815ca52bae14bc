/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BASE_GUARD_H
#define BASE_GUARD_H

#include <stddef.h>

/* Memory mapped from files that another process can truncate: an access behind the end is SIGBUS. In guarded ranges the
 * page becomes private zeros instead. Without guard_install() this has no effect. Any thread. */

/* Guards a range of whole pages. -ENOSPC, only once guard_install() was called: the table is full, and the range must
 * not be used. */
int guard_add(void *address, size_t size);
/* To be called before the range is unmapped. */
void guard_remove(void *address);

/* Handle SIGBUS in this process; faults outside of guarded ranges go to the previous handler. One call is enough unless
 * the program installs a handler of its own afterwards. 0 or a negative errno. */
int guard_install(void);

#endif
