/* SPDX-License-Identifier: BSD-2-Clause */

/* Tail queues for a C library without a <sys/queue.h>, as musl: the macros that the library uses, with the names and
 * the arguments of queue(7). An item's link is where the pointer to it is, so that the first is removed as any other.
 */

#ifndef COMPAT_SYS_QUEUE_H
#define COMPAT_SYS_QUEUE_H

#include <stddef.h>

#define TAILQ_HEAD(name, type)                                \
        struct name {                                         \
                struct type *first, **end; /* NULL's place */ \
        }
#define TAILQ_ENTRY(type)                  \
        struct {                           \
                struct type *next, **link; \
        }

#define TAILQ_HEAD_INITIALIZER(head) \
        {                            \
                NULL, &(head).first  \
        }
#define TAILQ_INIT(head)                 ((head)->first = NULL, (head)->end = &(head)->first)
#define TAILQ_EMPTY(head)                (!(head)->first)
#define TAILQ_FIRST(head)                ((head)->first)
#define TAILQ_FOREACH(item, head, field) for ((item) = (head)->first; (item); (item) = (item)->field.next)

#define TAILQ_INSERT_TAIL(head, item, field)       \
        do {                                       \
                (item)->field.next = NULL;         \
                (item)->field.link = (head)->end;  \
                *(head)->end = (item);             \
                (head)->end = &(item)->field.next; \
        } while (0)

#define TAILQ_REMOVE(head, item, field)                                      \
        do {                                                                 \
                *(item)->field.link = (item)->field.next;                    \
                if ((item)->field.next)                                      \
                        (item)->field.next->field.link = (item)->field.link; \
                else                                                         \
                        (head)->end = (item)->field.link;                    \
        } while (0)

#define TAILQ_CONCAT(head, other, field)                          \
        do {                                                      \
                if (!TAILQ_EMPTY(other)) {                        \
                        *(head)->end = (other)->first;            \
                        (other)->first->field.link = (head)->end; \
                        (head)->end = (other)->end;               \
                        TAILQ_INIT(other);                        \
                }                                                 \
        } while (0)

#endif
