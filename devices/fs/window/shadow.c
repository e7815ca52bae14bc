/* SPDX-License-Identifier: BSD-2-Clause */

/* A three-way merge of a file and its shadow. Each shadow has three views of one part of the file: bytes (the memfd
 * that the guest maps), base (the common contents after the last merge) and, if writable, file (a shared mapping that
 * process_vm_writev() stores through, so that a file cut short is an error and no SIGBUS). shadow_merge() compares them
 * STEP by STEP: where bytes differ from base the guest has stored, where the file differs from base another process
 * has.
 *
 * Order of locks: the lock of struct shadowed_file, which covers merges and its list of shadows, before the lock of
 * struct shadows, which covers the list of files and their references. Two files are locked by address. */

#include "devices/fs/window/shadow.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/range.h"
#include "base/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/param.h>
#include <sys/uio.h>
#include <unistd.h>

USES_SYSCALLS(SYSCALL(memfd_create), SYSCALL(ftruncate), SYSCALL(fallocate), SYSCALL(pread64), SYSCALL(pwrite64),
              SYSCALL_FCNTL(F_ADD_SEALS), SYSCALL(eventfd2),
              SYSCALL_WITH(process_vm_writev, 0, UINT32_MAX, SYSCALL_OWN_PID));

#define STEP    4096u /* bytes compared at once */
#define NOTHING ((struct oriel_range){0, 0})

/* A file that has shadows, is about to have some, or has just lost them. */
struct shadowed_file {
        LIST_ENTRY(shadowed_file) entry;
        dev_t device;
        ino_t number;
        unsigned refs;        /* under the lock of struct shadows */
        atomic_bool wanted;   /* shadows_sync() found it held */
        pthread_mutex_t lock; /* of what follows, and of the file's contents while there are shadows */
        LIST_HEAD(shadow_list, shadow) shadows;
        int lost; /* unreported error by which stores were lost; not 0: it has a reference */
};

struct shadow {
        struct shadows *shadows;
        struct shadowed_file *of;
        LIST_ENTRY(shadow) entry;
        bool entered;            /* in the list of its file */
        int fd;                  /* of the file */
        struct oriel_range part; /* of the file */
        bool writable;
        uint64_t known_size; /* of the file, at the last merge */
        uint8_t *bytes;      /* the guest's contents */
        uint8_t *base;       /* the contents after the last merge */
        uint8_t *file;       /* the file itself, if writable: a store to it can't make it longer */
};

/* ---- merging ---- */

/* How many bytes of the shadow are in a file of @size bytes, or below that offset. */
static uint64_t shadow_inside(const struct shadow *shadow, uint64_t size)
{
        uint64_t n = size > shadow->part.start ? size - shadow->part.start : 0;

        return n < shadow->part.size ? n : shadow->part.size;
}

/* Reads the file at @at of the shadow; zeros behind its end. */
static int read_file(const struct shadow *shadow, uint64_t at, uint8_t *to, size_t n)
{
        ssize_t got;

        do
                got = pread(shadow->fd, to, n, (off_t)(shadow->part.start + at));
        while (got < 0 && errno == EINTR);
        if (got < 0)
                return -errno;
        memset(to + got, 0, n - (size_t)got);
        return 0;
}

/* Stores through the mapping by a system call: if the file has just become shorter, or the disk is full, it fails
 * without a signal. */
static bool shadow_store(struct shadow *shadow, uint64_t at, const uint8_t *from, size_t n)
{
        const struct iovec local = {(void *)from, n}, remote = {shadow->file + at, n};

        return process_vm_writev(getpid(), &local, 1, &remote, 1, 0) == (ssize_t)n;
}

/* A hole may have no space: fallocate() gets some without making the file longer, and otherwise tells the error. */
static int shadow_write_file(struct shadow *shadow, uint64_t at, const uint8_t *from, size_t n)
{
        struct stat stat;

        if (shadow_store(shadow, at, from, n))
                return 0;
        /* Bytes behind a new end are not written. */
        if (fstat(shadow->fd, &stat) == 0) {
                uint64_t end = shadow_inside(shadow, (uint64_t)stat.st_size);

                n = MIN(n, end > at ? end - at : 0);
        }
        if (n == 0)
                return 0;

        int r = fallocate(shadow->fd, FALLOC_FL_KEEP_SIZE, (off_t)(shadow->part.start + at), (off_t)n) < 0 ? -errno : 0;

        if (shadow_store(shadow, at, from, n))
                return 0;
        if (!atomic_exchange(&shadow->shadows->complained, true))
                log_warning(shadow->shadows->log, "what the guest stored near a file's end can't be written: %s",
                            strerror(r < 0 ? -r : EIO));
        return r < 0 && r != -EOPNOTSUPP ? r : -EIO;
}

/* Writes a run of bytes that the guest has stored. If that fails they stay stored, and are tried again. */
static int write_run(struct shadow *shadow, uint64_t at, const uint8_t *seen, size_t n)
{
        int r = n > 0 ? shadow_write_file(shadow, at, seen, n) : 0;

        if (r == 0)
                memcpy(shadow->base + at, seen, n);
        return r;
}

/* Shows the file's byte, unless the guest stores there at this moment; the next merge finds that store. */
static void shadow_show(struct shadow *shadow, uint64_t at, uint8_t seen, uint8_t now)
{
        __atomic_compare_exchange_n(shadow->bytes + at, &seen, now, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
        shadow->base[at] = now;
}

/* The state of one merge. Offsets are in the shadow. */
struct merging {
        uint64_t stored;    /* below it the guest's stores are merged */
        uint64_t from, to;  /* but not in this range, which a request has replaced */
        bool wrote, unread; /* something was written; something could not be read */
};

static bool is_stored(const struct merging *merging, uint64_t at)
{
        return at < merging->stored && (at < merging->from || at >= merging->to);
}

/* Merges a step that begins at @at. */
static int shadow_merge(struct shadow *shadow, uint64_t at, size_t n, struct merging *merging)
{
        uint8_t seen[STEP], now[STEP], *base = shadow->base + at;
        size_t run = 0;
        int r = read_file(shadow, at, now, n), error;

        if (r < 0) {
                merging->unread = true;
                return r;
        }
        memcpy(seen, shadow->bytes + at, n);
        if (memcmp(seen, base, n) == 0 && memcmp(now, base, n) == 0)
                return 0;
        for (size_t i = 0; i < n; i++) {
                if (is_stored(merging, at + i) && seen[i] != base[i]) {
                        run++;
                        merging->wrote = true;
                        continue;
                }
                error = write_run(shadow, at + i - run, seen + i - run, run);
                r = r < 0 ? r : error;
                run = 0;
                if (now[i] != base[i] || now[i] != seen[i])
                        shadow_show(shadow, at + i, seen[i], now[i]);
        }
        error = write_run(shadow, at + n - run, seen + n - run, run);
        return r < 0 ? r : error;
}

static int merge_all(struct shadow *shadow, uint64_t from, uint64_t to, struct merging *merging)
{
        int r = 0;

        for (uint64_t at = from / STEP * STEP; at < to; at += STEP) {
                uint64_t left = shadow->part.size - at;
                int error = shadow_merge(shadow, at, left < STEP ? left : STEP, merging);

                r = r < 0 ? r : error;
        }
        return r;
}

static uint64_t end_of(struct oriel_range range)
{
        uint64_t end = UINT64_MAX;

        checked_add(range.start, range.size, &end);
        return end;
}

/* A store through a mapping does not always change the time of modification. */
static void shadow_touch(const struct shadow *shadow, const struct stat *before)
{
        const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_nsec = UTIME_NOW}};
        struct stat now;

        if (fstat(shadow->fd, &now) == 0 && now.st_mtim.tv_sec == before->st_mtim.tv_sec &&
            now.st_mtim.tv_nsec == before->st_mtim.tv_nsec)
                futimens(shadow->fd, times);
}

/* With the file's lock: merges the part of @range that is in the shadow, and all by which the file has become
 * shorter or longer. Guest bytes in the last page behind the file's end are dropped: a longer file must show its own
 * bytes there. */
static int sync_one(struct shadow *shadow, struct oriel_range range, struct oriel_range replaced)
{
        struct stat stat;

        if (fstat(shadow->fd, &stat) < 0)
                return -errno;

        uint64_t size = (uint64_t)stat.st_size;
        uint64_t before = shadow_inside(shadow, shadow->known_size), now = shadow_inside(shadow, size),
                 reach = MAX(before, now);
        struct merging merging = {
                .stored = shadow->writable ? MIN(before, now) : 0,
                .from = shadow_inside(shadow, replaced.start),
                .to = shadow_inside(shadow, end_of(replaced)),
        };
        int error = before != now ? merge_all(shadow, MIN(before, now), reach, &merging) : 0;

        /* Otherwise the guest's bytes behind the old end would count as its stores the next time. */
        shadow->known_size = merging.unread ? MIN(shadow->known_size, size) : size;

        int r = merge_all(shadow, shadow_inside(shadow, range.start), MIN(shadow_inside(shadow, end_of(range)), reach),
                          &merging);

        if (merging.wrote)
                shadow_touch(shadow, &stat);
        return r < 0 ? r : error;
}

static int sync_file(struct shadowed_file *file, struct oriel_range range, struct oriel_range replaced)
{
        int r = 0;

        for (struct shadow *shadow = LIST_FIRST(&file->shadows); shadow; shadow = LIST_NEXT(shadow, entry)) {
                int error = sync_one(shadow, range, replaced);

                r = r < 0 ? r : error;
        }
        return r;
}

/* ---- files ---- */

/* Returns a reference, or NULL. @make: adds the file if it is missing, unless there is no memory. */
static struct shadowed_file *get_file(struct shadows *shadows, dev_t device, ino_t number, bool make)
{
        struct shadowed_file *file;

        pthread_mutex_lock(&shadows->lock);
        for (file = LIST_FIRST(&shadows->files); file; file = LIST_NEXT(file, entry))
                if (file->number == number && file->device == device)
                        break;
        if (!file && make && (file = calloc(1, sizeof(*file)))) {
                file->device = device;
                file->number = number;
                pthread_mutex_init(&file->lock, NULL);
                LIST_INSERT_HEAD(&shadows->files, file, entry);
        }
        if (file)
                file->refs++;
        pthread_mutex_unlock(&shadows->lock);
        return file;
}

static struct shadowed_file *get_file_of(struct shadows *shadows, int fd)
{
        struct stat stat;

        if (fd < 0 || fstat(fd, &stat) < 0)
                return NULL;
        return get_file(shadows, stat.st_dev, stat.st_ino, false);
}

static void put_file(struct shadows *shadows, struct shadowed_file *file)
{
        if (!file)
                return;
        pthread_mutex_lock(&shadows->lock);

        bool last = --file->refs == 0;

        if (last)
                LIST_REMOVE(file, entry);
        pthread_mutex_unlock(&shadows->lock);
        if (!last)
                return;
        pthread_mutex_destroy(&file->lock);
        free(file);
}

int shadows_init(struct shadows *shadows, const struct oriel_log *log)
{
        *shadows = (struct shadows){.log = log};
        shadows->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (shadows->wake_fd < 0)
                return -errno;
        return -pthread_mutex_init(&shadows->lock, NULL);
}

void shadows_done(struct shadows *shadows)
{
        if (shadows->wake_fd < 0)
                return;
        while (!LIST_EMPTY(&shadows->files))
                put_file(shadows, LIST_FIRST(&shadows->files));
        shadows->wake_fd = fd_close(shadows->wake_fd);
        pthread_mutex_destroy(&shadows->lock);
}

/* NULL is accepted. */
static void sync_and_put(struct shadows *shadows, struct shadowed_file *file, struct oriel_range range)
{
        if (!file)
                return;
        pthread_mutex_lock(&file->lock);
        sync_file(file, range, NOTHING);
        pthread_mutex_unlock(&file->lock);
        put_file(shadows, file);
}

/* ---- holding ---- */

/* By address, so that two threads that hold the same two files don't deadlock. */
static void lock_files(struct shadowed_file *const files[2])
{
        bool swap = files[0] && files[1] && files[0] > files[1];

        for (unsigned i = 0; i < 2; i++) {
                struct shadowed_file *file = files[swap ? 1 - i : i];

                if (file && (i == 0 || files[0] != files[1]))
                        pthread_mutex_lock(&file->lock);
        }
}

static void unlock_files(struct shadowed_file *const files[2])
{
        for (unsigned i = 0; i < 2; i++)
                if (files[i] && (i == 0 || files[0] != files[1]))
                        pthread_mutex_unlock(&files[i]->lock);
}

struct shadows_hold shadows_hold(struct shadows *shadows, int fd, int other_fd, struct oriel_range range)
{
        struct shadows_hold hold = {.fds = {fd, other_fd}, .range = range};

        if (!shadows->enabled)
                return hold;
        hold.shadows = shadows;
        for (unsigned i = 0; i < 2; i++)
                hold.files[i] = get_file_of(shadows, hold.fds[i]);
        lock_files(hold.files);
        for (unsigned i = 0; i < 2; i++) {
                int r = hold.files[i] ? sync_file(hold.files[i], range, NOTHING) : 0;

                hold.error = hold.error < 0 ? hold.error : r;
        }
        return hold;
}

void shadows_release(struct shadows_hold *hold)
{
        if (!hold->shadows)
                return;
        bool same = hold->files[0] == hold->files[1];

        for (unsigned i = same ? 1 : 0; i < 2; i++)
                if (hold->files[i]) {
                        bool all = atomic_exchange(&hold->files[i]->wanted, false);

                        sync_file(hold->files[i], all ? WHOLE_FILE : hold->range, hold->replaced[i]);
                }
        unlock_files(hold->files);
        for (unsigned i = 0; i < 2; i++)
                if (hold->files[i])
                        put_file(hold->shadows, hold->files[i]);
                else /* a shadow that was made while the file was not held may have missed the change */
                        sync_and_put(hold->shadows, get_file_of(hold->shadows, hold->fds[i]), hold->range);
        hold->shadows = NULL;
}

int shadows_error(struct shadows_hold *hold)
{
        struct shadowed_file *file = hold->files[0];

        if (hold->error < 0 || !file || file->lost == 0)
                return hold->error;

        int lost = file->lost;

        file->lost = 0;
        put_file(hold->shadows, file);
        return lost;
}

void shadows_tell(struct shadows *shadows, dev_t device, ino_t number)
{
        if (shadows->enabled && atomic_load(&shadows->n) > 0)
                sync_and_put(shadows, get_file(shadows, device, number, false), WHOLE_FILE);
}

/* Returns the file after @file, whose reference it drops, or the first; with a reference, or NULL at the end. */
static struct shadowed_file *next_file(struct shadows *shadows, struct shadowed_file *file)
{
        pthread_mutex_lock(&shadows->lock);

        struct shadowed_file *next = file ? LIST_NEXT(file, entry) : LIST_FIRST(&shadows->files);

        if (next)
                next->refs++;
        pthread_mutex_unlock(&shadows->lock);
        put_file(shadows, file);
        return next;
}

void shadows_sync(struct shadows *shadows)
{
        struct shadowed_file *file = NULL;

        while ((file = next_file(shadows, file)))
                if (pthread_mutex_trylock(&file->lock) == 0) {
                        sync_file(file, WHOLE_FILE, NOTHING);
                        pthread_mutex_unlock(&file->lock);
                } else {
                        atomic_store(&file->wanted, true);
                }
}

/* ---- making and freeing ---- */

/* Merges older shadows of the file first, so that the new one shows their stores. */
static int shadow_enter(struct shadow *shadow)
{
        struct shadowed_file *file = shadow->of;

        pthread_mutex_lock(&file->lock);
        sync_file(file, shadow->part, NOTHING);

        int r = sync_one(shadow, WHOLE_FILE, NOTHING);

        if (r == 0) {
                LIST_INSERT_HEAD(&file->shadows, shadow, entry);
                shadow->entered = true;
        }
        pthread_mutex_unlock(&file->lock);
        if (r == 0 && atomic_fetch_add(&shadow->shadows->n, 1) == 0)
                fd_event_wake(shadow->shadows->wake_fd);
        return r;
}

static void shadow_leave(struct shadow *shadow)
{
        struct shadowed_file *file = shadow->of;

        pthread_mutex_lock(&file->lock);

        int r = sync_one(shadow, WHOLE_FILE, NOTHING);

        if (r < 0 && file->lost == 0) {
                pthread_mutex_lock(&shadow->shadows->lock);
                file->refs++;
                pthread_mutex_unlock(&shadow->shadows->lock);
                file->lost = r;
        }
        LIST_REMOVE(shadow, entry);
        atomic_fetch_sub(&shadow->shadows->n, 1);
        pthread_mutex_unlock(&file->lock);
}

static int map_part(uint8_t **out, size_t size, int flags, int fd, uint64_t offset)
{
        void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, flags | MAP_NORESERVE, fd, (off_t)offset);

        if (p == MAP_FAILED)
                return -errno;
        *out = p;
        return 0;
}

static int shadow_fill(struct shadow *shadow, int fd, int memory)
{
        const size_t size = shadow->part.size;
        int r;

        if (ftruncate(memory, (off_t)size) < 0 ||
            fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
                return -errno;
        shadow->fd = fd_dup(fd);
        if (shadow->fd < 0)
                return shadow->fd;
        r = map_part(&shadow->bytes, size, MAP_SHARED, memory, 0);
        if (r == 0)
                r = map_part(&shadow->base, size, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (r == 0 && shadow->writable)
                r = map_part(&shadow->file, size, MAP_SHARED, fd, shadow->part.start);
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
        if (shadow->entered)
                shadow_leave(shadow);
        unmap_part(shadow->bytes, shadow->part.size);
        unmap_part(shadow->base, shadow->part.size);
        unmap_part(shadow->file, shadow->part.size);
        fd_close(shadow->fd);
        put_file(shadow->shadows, shadow->of);
        free(shadow);
}

DEFINE_CLEANUP(struct shadow *, shadow_free);

int shadow_new(struct shadows *shadows, int fd, struct oriel_range part, bool writable, struct shadow **out,
               int *memory)
{
        _cleanup_(shadow_freep) struct shadow *shadow = malloc(sizeof(*shadow));
        _cleanup_(fd_closep) int made = memfd_create("oriel-fs-shadow", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        struct stat stat;

        if (!shadow)
                return -ENOMEM;
        *shadow = (struct shadow){.shadows = shadows, .fd = -1, .part = part, .writable = writable};
        if (made < 0 || fstat(fd, &stat) < 0)
                return -errno;
        shadow->of = get_file(shadows, stat.st_dev, stat.st_ino, true);
        if (!shadow->of)
                return -ENOMEM;

        int r = shadow_fill(shadow, fd, made);

        if (r < 0)
                return r;
        r = shadow_enter(shadow);
        if (r < 0)
                return r;
        *out = steal(shadow);
        *memory = fd_take(&made);
        return 0;
}
