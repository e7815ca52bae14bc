/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef PROGRAM_SANITIZED_H
#define PROGRAM_SANITIZED_H

/* Whether this build has a sanitizer: it makes system calls of its own and reads /proc. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#endif
