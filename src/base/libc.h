/* SPDX-License-Identifier: BSD-2-Clause */

/* What the GNU C library has, and musl lacks: statx(2) before 1.2.4, and twalk_r(3). */

#ifndef BASE_LIBC_H
#define BASE_LIBC_H

#include <search.h>
#include <sys/stat.h>

#ifndef STATX_TYPE
#include <linux/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static inline int statx(int fd, const char *path, int flags, unsigned mask, struct statx *out)
{
        return (int)syscall(SYS_statx, fd, path, flags, mask, out);
}
#endif

#ifndef __GLIBC__
struct tree_walk {
        void (*visit)(const void *node, VISIT order, void *closure);
        void *closure;
};

static _Thread_local struct tree_walk tree_walk;

static inline void tree_walk_visit(const void *node, VISIT order, int depth)
{
        (void)depth;
        tree_walk.visit(node, order, tree_walk.closure);
}

/* A visitor may walk another tree: then this walk goes on after that one. */
static inline void twalk_r(const void *tree, void (*visit)(const void *node, VISIT order, void *closure), void *closure)
{
        const struct tree_walk outer = tree_walk;

        tree_walk = (struct tree_walk){visit, closure};
        twalk(tree, tree_walk_visit);
        tree_walk = outer;
}
#endif

#endif
