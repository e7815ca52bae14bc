/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BASE_UUID_H
#define BASE_UUID_H

#include <stdint.h>

/* A new UUID of version 4 (RFC 4122), from random bytes. 0, or -EAGAIN if none are available. */
int uuid_new(uint8_t uuid[16]);

#endif
