/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BASE_LOCK_H
#define BASE_LOCK_H

#include "base/cleanup.h"

#include <pthread.h>

/* A lock that is held until the scope ends:
 *
 *     _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&object->lock); */
static inline pthread_mutex_t *lock_take(pthread_mutex_t *lock)
{
        pthread_mutex_lock(lock);
        return lock;
}

static inline void lock_releasep(pthread_mutex_t **lock)
{
        pthread_mutex_unlock(*lock);
}

#endif
