/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VMM_KVM_LOCK_H
#define VMM_KVM_LOCK_H

#include "base/cleanup.h"

#include <pthread.h>

static inline void lock_release(pthread_mutex_t **lock)
{
        pthread_mutex_unlock(*lock);
}

/* @lock, a pointer, is held from here until the scope ends. */
#define LOCKED(lock)                                                                           \
        _cleanup_(lock_release) __attribute__((unused)) pthread_mutex_t *locked_here = (lock); \
        pthread_mutex_lock(locked_here)

#endif
