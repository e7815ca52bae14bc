/* SPDX-License-Identifier: BSD-2-Clause */
#include "devices/fs/shadow.h"

#include "base/fd.h"
#include "base/log.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#define STEP 4096u /* bytes looked at in one go */

struct shadow {
        struct shadows *shadows;
        struct shadow *next;
        int fd; /* of the file */
        dev_t device;
        ino_t number;
        struct oriel_range part; /* of the file */
        bool writable;
        bool complained;
        uint64_t known_size; /* of the file, when both were last brought together */
        uint8_t *bytes;      /* what the guest has */
        uint8_t *base;       /* what both had then */
        uint8_t *file;       /* the file itself, if writable: a store there can't make it longer */
};

int shadows_init(struct shadows *shadows, const struct oriel_log *log)
{
        pthread_rwlockattr_t attributes;

        *shadows = (struct shadows){.log = log};
        pthread_rwlockattr_init(&attributes);
        /* Else a stream of readers keeps a writer away for as long as it flows. */
        pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);

        int r = -pthread_rwlock_init(&shadows->lock, &attributes);

        pthread_rwlockattr_destroy(&attributes);
        return r;
}

void shadows_done(struct shadows *shadows)
{
        pthread_rwlock_destroy(&shadows->lock);
}

static int file_size(const struct shadow *shadow, uint64_t *out)
{
        struct stat stat;

        if (fstat(shadow->fd, &stat) < 0)
                return -errno;
        *out = (uint64_t)stat.st_size;
        return 0;
}

/* How much of the shadow is in a file of @size bytes. */
static uint64_t inside(const struct shadow *shadow, uint64_t size)
{
        uint64_t n = size > shadow->part.start ? size - shadow->part.start : 0;

        return n < shadow->part.size ? n : shadow->part.size;
}

/* What the file has at @at of the shadow, zeros behind its end. */
static bool read_file(const struct shadow *shadow, uint64_t at, uint8_t *to, size_t n)
{
        ssize_t got;

        do
                got = pread(shadow->fd, to, n, (off_t)(shadow->part.start + at));
        while (got < 0 && errno == EINTR);
        if (got < 0)
                return false;
        memset(to + got, 0, n - (size_t)got);
        return true;
}

/* Through the mapping, by a system call: where the file has just become shorter this is EFAULT, and no signal. */
static bool write_file(struct shadow *shadow, uint64_t at, const uint8_t *from, size_t n)
{
        const struct iovec local = {(void *)from, n}, remote = {shadow->file + at, n};

        if (process_vm_writev(getpid(), &local, 1, &remote, 1, 0) == (ssize_t)n)
                return true;
        if (!shadow->complained)
                log_warning(shadow->shadows->log,
                            "%zu bytes that the guest stored near a file's end can't be written:"
                            " errno %d",
                            n, errno);
        shadow->complained = true;
        return false;
}

/* A run of bytes that the guest has stored. What can't be written now stays stored, and is tried again. */
static void write_run(struct shadow *shadow, uint64_t at, const uint8_t *seen, size_t n)
{
        if (n > 0 && write_file(shadow, at, seen, n))
                memcpy(shadow->base + at, seen, n);
}

/* Unless the guest stores there at this moment; then that is found the next time. */
static void show(struct shadow *shadow, uint64_t at, uint8_t seen, uint8_t now)
{
        __atomic_compare_exchange_n(shadow->bytes + at, &seen, now, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
        shadow->base[at] = now;
}

/* A step that begins at @at; the guest's stores count below @stored. */
static void merge(struct shadow *shadow, uint64_t at, size_t n, uint64_t stored)
{
        uint8_t seen[STEP], now[STEP], *base = shadow->base + at;
        size_t run = 0;

        if (!read_file(shadow, at, now, n))
                return;
        memcpy(seen, shadow->bytes + at, n);
        if (memcmp(seen, base, n) == 0 && memcmp(now, base, n) == 0)
                return;
        for (size_t i = 0; i < n; i++) {
                if (at + i < stored && seen[i] != base[i]) {
                        run++;
                        continue;
                }
                write_run(shadow, at + i - run, seen + i - run, run);
                run = 0;
                if (now[i] != base[i] || now[i] != seen[i])
                        show(shadow, at + i, seen[i], now[i]);
        }
        write_run(shadow, at + n - run, seen + n - run, run);
}

/* With the lock for writing. What the guest has in the last page behind the file's end is nothing: a longer file must
 * show its own bytes there. */
static void sync_one(struct shadow *shadow)
{
        uint64_t size = 0;

        if (file_size(shadow, &size) < 0)
                return;

        uint64_t before = inside(shadow, shadow->known_size), now = inside(shadow, size);
        uint64_t stored = !shadow->writable ? 0 : before < now ? before : now, end = before < now ? now : before;

        for (uint64_t at = 0; at < end; at += STEP) {
                uint64_t left = shadow->part.size - at;

                merge(shadow, at, left < STEP ? left : STEP, stored);
        }
        shadow->known_size = size;
}

static bool is_of(const struct shadow *shadow, dev_t device, ino_t number)
{
        return shadow->number == number && shadow->device == device;
}

static bool has_shadow(const struct shadows *shadows, dev_t device, ino_t number)
{
        for (const struct shadow *shadow = shadows->first; shadow; shadow = shadow->next)
                if (is_of(shadow, device, number))
                        return true;
        return false;
}

/* With the lock for writing. */
static void sync_file(struct shadows *shadows, dev_t device, ino_t number)
{
        for (struct shadow *shadow = shadows->first; shadow; shadow = shadow->next)
                if (is_of(shadow, device, number))
                        sync_one(shadow);
}

static bool fd_has_shadow(const struct shadows *shadows, int fd)
{
        struct stat stat;

        return fd >= 0 && fstat(fd, &stat) == 0 && has_shadow(shadows, stat.st_dev, stat.st_ino);
}

static void sync_fd(struct shadows *shadows, int fd)
{
        struct stat stat;

        if (fd >= 0 && fstat(fd, &stat) == 0)
                sync_file(shadows, stat.st_dev, stat.st_ino);
}

struct shadows_hold shadows_hold(struct shadows *shadows, int fd, int other_fd)
{
        struct shadows_hold hold = {.fds = {fd, other_fd}};

        if (!shadows->enabled)
                return hold;
        hold.shadows = shadows;
        pthread_rwlock_rdlock(&shadows->lock);
        if (!fd_has_shadow(shadows, fd) && !fd_has_shadow(shadows, other_fd))
                return hold;
        pthread_rwlock_unlock(&shadows->lock);
        pthread_rwlock_wrlock(&shadows->lock);
        hold.exclusive = true;
        sync_fd(shadows, fd);
        sync_fd(shadows, other_fd);
        return hold;
}

void shadows_release(struct shadows_hold *hold)
{
        if (!hold->shadows)
                return;
        if (hold->exclusive) {
                sync_fd(hold->shadows, hold->fds[0]);
                sync_fd(hold->shadows, hold->fds[1]);
        }
        pthread_rwlock_unlock(&hold->shadows->lock);
        hold->shadows = NULL;
}

void shadows_tell(struct shadows *shadows, dev_t device, ino_t number)
{
        if (!shadows->enabled || atomic_load(&shadows->n) == 0)
                return;
        pthread_rwlock_wrlock(&shadows->lock);
        sync_file(shadows, device, number);
        pthread_rwlock_unlock(&shadows->lock);
}

void shadows_sync(struct shadows *shadows)
{
        if (atomic_load(&shadows->n) == 0)
                return;
        pthread_rwlock_wrlock(&shadows->lock);
        for (struct shadow *shadow = shadows->first; shadow; shadow = shadow->next)
                sync_one(shadow);
        pthread_rwlock_unlock(&shadows->lock);
}

/* ---- making and freeing ---- */

static void enter(struct shadow *shadow)
{
        struct shadows *shadows = shadow->shadows;

        pthread_rwlock_wrlock(&shadows->lock);
        sync_one(shadow);
        shadow->next = shadows->first;
        shadows->first = shadow;
        atomic_fetch_add(&shadows->n, 1);
        pthread_rwlock_unlock(&shadows->lock);
}

static void leave(struct shadow *shadow)
{
        struct shadows *shadows = shadow->shadows;

        pthread_rwlock_wrlock(&shadows->lock);
        for (struct shadow **at = &shadows->first; *at; at = &(*at)->next)
                if (*at == shadow) {
                        sync_one(shadow);
                        *at = shadow->next;
                        atomic_fetch_sub(&shadows->n, 1);
                        break;
                }
        pthread_rwlock_unlock(&shadows->lock);
}

static int map_part(uint8_t **out, size_t size, int protection, int flags, int fd, uint64_t offset)
{
        void *p = mmap(NULL, size, protection, flags | MAP_NORESERVE, fd, (off_t)offset);

        if (p == MAP_FAILED)
                return -errno;
        *out = p;
        return 0;
}

static int fill(struct shadow *shadow, int fd, int memory)
{
        const size_t size = shadow->part.size;
        struct stat stat;
        int r;

        if (fstat(fd, &stat) < 0 || ftruncate(memory, (off_t)size) < 0)
                return -errno;
        shadow->device = stat.st_dev;
        shadow->number = stat.st_ino;
        shadow->fd = fd_dup(fd);
        if (shadow->fd < 0)
                return shadow->fd;
        r = map_part(&shadow->bytes, size, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
        if (r == 0)
                r = map_part(&shadow->base, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (r == 0 && shadow->writable)
                r = map_part(&shadow->file, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, shadow->part.start);
        return r;
}

static void unmap_part(uint8_t *p, size_t size)
{
        if (p)
                munmap(p, size);
}

void shadow_free(struct shadow *shadow)
{
        if (!shadow)
                return;
        leave(shadow);
        unmap_part(shadow->bytes, shadow->part.size);
        unmap_part(shadow->base, shadow->part.size);
        unmap_part(shadow->file, shadow->part.size);
        fd_close(shadow->fd);
        free(shadow);
}

DEFINE_CLEANUP(struct shadow *, shadow_free);

int shadow_new(struct shadows *shadows, int fd, struct oriel_range part, bool writable, struct shadow **out,
               int *memory)
{
        _cleanup_(shadow_freep) struct shadow *shadow = malloc(sizeof(*shadow));
        _cleanup_(fd_closep) int made = memfd_create("oriel-fs-shadow", MFD_CLOEXEC);

        if (!shadow)
                return -ENOMEM;
        *shadow = (struct shadow){.shadows = shadows, .fd = -1, .part = part, .writable = writable};
        if (made < 0)
                return -errno;

        int r = fill(shadow, fd, made);

        if (r < 0)
                return r;
        enter(shadow);
        *out = steal(shadow);
        *memory = fd_take(&made);
        return 0;
}
