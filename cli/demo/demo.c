/* SPDX-License-Identifier: BSD-2-Clause */

/* oriel demo: starts oriel-fs on a directory, brings it up with the library's driver, maps every file through the
 * window and compares it with the file. Then it stores to a scratch file through the window, and demo_machine()
 * compares what a guest reads. The window's ranges are slots used in turn; what a slot showed is removed before it
 * shows the next. compare_bytes() reads the window with process_vm_readv(), so that a file cut short meanwhile is an
 * error and no SIGBUS. Signals set a flag that the loops over files and ranges look at. */

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/demo/machine.h"
#include "clients/fs/client.h"
#include "program/options.h"
#include "program/report.h"
#include "program/signals.h"
#include "program/spawn.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <inttypes.h>
#include <linux/virtio_config.h>
#include <linux/virtio_fs.h>
#include <linux/virtio_ring.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* Linux's FUSE DAX maps ranges of this size. */
#define RANGE (UINT64_C(2) << 20)

/* The picture of the window. */
#define CELLS    96
#define MAX_ROWS 16

static uint64_t window_size = UINT64_C(128) << 20;
static bool verbose;

static const struct option_row rows[] = {
        {"window", OPTION_SIZE, &window_size, "SIZE", "size of the shared memory window (default: 128M)"},
        {"verbose", OPTION_FLAG, &verbose, NULL, "say more"},
};

static const struct program program = {
        .name = "oriel demo",
        .operands = "[DIR]",
        .summary =
                "Start oriel-fs on DIR (default: the current directory), read-only, bring it up as a guest's driver\n"
                "would, map every file through the shared memory window and compare each byte with the file read\n"
                "directly. Then change a scratch file through the window and show the host seeing it. Where there is\n"
                "KVM, have a guest in a virtual machine read every file through its own window too.",
        .rows = rows,
        .n_rows = ARRAY_SIZE(rows),
        .max_operands = 1,
};

/* A running oriel-fs and the driver that has brought it up. */
struct demo_session {
        pid_t pid;
        struct oriel_driver *driver;
        struct fuse_client fuse;
        const uint8_t *window;
        uint64_t window_size;
};

/* Counts of what was compared. @slots: the path of the file that each range of the window shows, or NULL. */
struct demo_tally {
        struct demo_session *session;
        const char *root;
        char **slots;
        uint64_t n_slots;
        uint64_t next_slot;
        uint64_t files;
        uint64_t bytes;
        uint64_t mappings;
        uint64_t skipped;
        time_t last_progress;
};

static void close_session(struct demo_session *session)
{
        oriel_driver_free(session->driver);
        if (session->pid > 0)
                spawn_wait(session->pid);
}

static int open_session(struct demo_session *session, const char *dir, uint64_t size, bool readonly)
{
        char window[48];
        /* The reader of the window shares the directory itself, so a sandbox would protect nobody; and not every
         * host can make one. */
        const char *arguments[] = {"--shared-dir", dir, window, "--sandbox=none", readonly ? "--readonly" : NULL, NULL};
        struct oriel_log log = stderr_log(verbose);
        const struct oriel_driver_options options = {
                .struct_size = sizeof(options),
                .log = &log,
                .features = ORIEL_FEATURE(VIRTIO_F_RING_PACKED) | ORIEL_FEATURE(VIRTIO_RING_F_INDIRECT_DESC) |
                            ORIEL_FEATURE(VIRTIO_RING_F_EVENT_IDX),
                .memory_size = 1 << 20,
                .hole = ORIEL_HOLE_SINK,
        };
        int fd, r;

        *session = (struct demo_session){0};
        snprintf(window, sizeof(window), "--dax-window=%" PRIu64, size);
        session->pid = spawn_with_socket("oriel-fs", arguments, &fd);
        if (session->pid < 0)
                return fail("can't start oriel-fs: %s", strerror(-session->pid));
        r = oriel_driver_new(&options, fd, &session->driver);
        if (r == 0)
                r = fuse_client_init(&session->fuse, session->driver);
        if (r < 0)
                return fail("can't bring up oriel-fs on %s: %s", dir, strerror(-r));
        session->window = oriel_driver_window(session->driver, VIRTIO_FS_SHMCAP_ID_CACHE, &session->window_size);
        return session->window && session->window_size >= RANGE ? 0 : fail("oriel-fs offers no shared memory region");
}

/* ---- reading a tree ---- */

/* Takes the next range of the window in turn, and removes the mapping that was there. */
static int demo_take_slot(struct demo_tally *tally, const char *path, uint64_t *offset)
{
        uint64_t slot = tally->next_slot++ % tally->n_slots;
        int r = 0;

        *offset = slot * RANGE;
        if (tally->slots[slot])
                r = fuse_remove_mapping(&tally->session->fuse, *offset, RANGE);
        free(tally->slots[slot]);
        tally->slots[slot] = strdup(path);
        return r < 0 ? r : tally->slots[slot] ? 0 : -ENOMEM;
}

static int find_difference(const uint8_t *shown, const uint8_t *direct, const char *path, uint64_t at, uint64_t size)
{
        for (uint64_t i = 0; i < size; i++)
                if (shown[i] != direct[i])
                        return fail("%s: byte %" PRIu64 " is 0x%02x through the window, 0x%02x in the file", path,
                                    at + i, shown[i], direct[i]);
        return 0;
}

/* Reads both again, five times in all, before it reports a difference: another process may be writing. The kernel
 * reads the window, and returns EFAULT where the file has become shorter. */
static int compare_bytes(const uint8_t *window, const char *path, int fd, uint64_t at, uint64_t size)
{
        _cleanup_(freep) uint8_t *direct = malloc(size);
        _cleanup_(freep) uint8_t *shown = malloc(size);
        struct iovec local = {shown, size}, remote = {(void *)(uintptr_t)window, size};

        if (!direct || !shown)
                return fail("out of memory");
        for (int attempt = 0; attempt < 5; attempt++) {
                ssize_t got = pread(fd, direct, size, (off_t)at);

                if (got != (ssize_t)size || process_vm_readv(getpid(), &local, 1, &remote, 1, 0) != (ssize_t)size)
                        return fail("%s: it became shorter while it was read", path);
                if (memcmp(shown, direct, size) == 0)
                        return 0;
        }
        return find_difference(shown, direct, path, at, size);
}

/* Compares one range of the file: the window against pread(). */
static int compare_range(struct demo_tally *tally, const char *path, uint64_t nodeid, int fd, uint64_t at,
                         uint64_t size)
{
        uint64_t offset;
        int r = demo_take_slot(tally, path, &offset);

        if (r == 0)
                r = fuse_setup_mapping(&tally->session->fuse, nodeid, 0, at, RANGE, offset, false);
        if (r < 0)
                return fail("%s: can't map offset %" PRIu64 ": %s", path, at, strerror(-r));
        tally->mappings++;

        return compare_bytes(tally->session->window + offset, path, fd, at, size);
}

static int compare_contents(struct demo_tally *tally, const char *path, uint64_t nodeid, int fd, uint64_t size)
{
        for (uint64_t at = 0; at < size && !signals_noted(); at += RANGE) {
                uint64_t left = size - at;
                int status = compare_range(tally, path, nodeid, fd, at, left < RANGE ? left : RANGE);

                if (status)
                        return status;
                tally->bytes += left < RANGE ? left : RANGE;
        }
        tally->files++;
        return 0;
}

static void show_progress(struct demo_tally *tally)
{
        time_t now = time(NULL);

        if (now == tally->last_progress || !isatty(STDERR_FILENO))
                return;
        tally->last_progress = now;
        fprintf(stderr, "\r%" PRIu64 " files, %" PRIu64 " MiB\033[K", tally->files, tally->bytes >> 20);
}

static int demo_compare_file(struct demo_tally *tally, const char *path)
{
        const char *relative = path + strlen(tally->root);
        _cleanup_(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        struct fuse_entry_out entry;
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0) {
                tally->skipped++;
                return 0;
        }

        int r = fuse_walk(&tally->session->fuse, relative, &entry);

        if (r < 0)
                return fail("%s: the back-end does not find it: %s", path, strerror(-r));
        if (entry.attr.size != (uint64_t)st.st_size)
                return fail("%s: %" PRIu64 " bytes by the back-end, %" PRIu64 " on the host", path, entry.attr.size,
                            (uint64_t)st.st_size);

        int status = compare_contents(tally, relative, entry.nodeid, fd, entry.attr.size);

        fuse_forget(&tally->session->fuse, entry.nodeid);
        show_progress(tally);
        return status;
}

/* A root directory that can't be read is an error; entries below it may be another user's, and are counted and
 * skipped. */
static int skip_entry(struct demo_tally *tally, const FTSENT *entry)
{
        if (entry->fts_level == FTS_ROOTLEVEL)
                return fail("%s: %s", entry->fts_path, strerror(entry->fts_errno));
        tally->skipped++;
        return 0;
}

static int compare_tree(struct demo_tally *tally)
{
        char *const paths[] = {(char *)tally->root, NULL};
        FTS *fts = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
        int status = 0;
        FTSENT *entry;

        if (!fts)
                return fail("%s: %s", tally->root, strerror(errno));
        while (status == 0 && !signals_noted() && (entry = fts_read(fts))) {
                if (entry->fts_info == FTS_F && S_ISREG(entry->fts_statp->st_mode))
                        status = demo_compare_file(tally, entry->fts_path);
                else if (entry->fts_info == FTS_DNR || entry->fts_info == FTS_NS)
                        status = skip_entry(tally, entry);
        }
        fts_close(fts);
        if (isatty(STDERR_FILENO))
                fprintf(stderr, "\r\033[K");
        return signals_noted() ? fail("interrupted") : status;
}

/* ---- the picture of the window ---- */

/* A cell shows the strongest access of the mappings in it. */
static void fill_strip(char *strip, uint64_t size, struct oriel_mapping **mappings, size_t count)
{
        memset(strip, '.', CELLS);
        strip[CELLS] = '\0';
        for (size_t i = 0; i < count; i++) {
                struct oriel_mapping_info info = {.struct_size = sizeof(info)};

                oriel_mapping_get_info(mappings[i], &info);

                /* Offsets lie below the size, so the products stay far below 2^64 for any window that can be made. */
                uint64_t first = info.range.start / 4096 * CELLS / (size / 4096);
                uint64_t last = (info.range.start + info.range.size - 1) / 4096 * CELLS / (size / 4096);

                for (uint64_t cell = first; cell <= last && cell < CELLS; cell++)
                        if (strip[cell] != 'W')
                                strip[cell] = info.access == ORIEL_ACCESS_READ_WRITE ? 'W' : 'r';
        }
}

/* Replaces control characters: names may hold any bytes, and this goes to a terminal. */
static void print_name(const char *name)
{
        for (; *name; name++)
                putchar(iscntrl((unsigned char)*name) ? '?' : *name);
        putchar('\n');
}

static const char *slot_name(const struct demo_tally *tally, const struct oriel_mapping_info *info)
{
        const char *path = tally->slots[info->range.start / RANGE];

        return path ? path + strspn(path, "/") : "?";
}

static void print_mappings(const struct demo_tally *tally, struct oriel_mapping **mappings, size_t count)
{
        printf("  %12s %10s %-4s %12s  %s\n", "offset", "length", "may", "in file at", "file");
        for (size_t i = 0; i < count && i < MAX_ROWS; i++) {
                struct oriel_mapping_info info = {.struct_size = sizeof(info)};

                oriel_mapping_get_info(mappings[i], &info);
                printf("  %#12" PRIx64 " %#10" PRIx64 " %-4s %#12" PRIx64 "  ", info.range.start, info.range.size,
                       info.access == ORIEL_ACCESS_READ_WRITE ? "rw" : "r", info.fd_offset);
                print_name(slot_name(tally, &info));
        }
        if (count > MAX_ROWS)
                printf("  ... and %zu more\n", count - MAX_ROWS);
}

/* A strip of the whole window, then a row for each of the first mappings. */
static void print_picture(const struct demo_tally *tally)
{
        struct oriel_region *region = oriel_driver_region(tally->session->driver, VIRTIO_FS_SHMCAP_ID_CACHE);
        struct oriel_mapping **mappings;
        char strip[CELLS + 1];
        size_t count;

        if (oriel_region_list(region, &mappings, &count) < 0)
                return;
        fill_strip(strip, oriel_region_size(region), mappings, count);
        printf("window of shmid %u: %" PRIu64 " MiB, %zu mappings (r read-only, W read-write, . hole)\n",
               oriel_region_shmid(region), oriel_region_size(region) >> 20, count);
        printf("  |%s|\n", strip);
        print_mappings(tally, mappings, count);
        oriel_mappings_free(mappings, count);
}

static int read_directory(const char *dir, struct demo_tally *tally)
{
        struct demo_session session;
        int status = open_session(&session, dir, window_size, true);

        if (status == 0) {
                *tally = (struct demo_tally){.session = &session, .root = dir, .n_slots = session.window_size / RANGE};
                tally->slots = calloc(tally->n_slots, sizeof(tally->slots[0]));
                status = tally->slots ? compare_tree(tally) : fail("out of memory");
                if (status == 0)
                        print_picture(tally);
                for (uint64_t i = 0; tally->slots && i < tally->n_slots; i++)
                        free(tally->slots[i]);
                free(tally->slots);
        }
        close_session(&session);
        return status;
}

/* ---- writing through the window ---- */

static int check_host_sees(int fd, const char *expected)
{
        char found[64] = "";

        if (pread(fd, found, sizeof(found) - 1, 0) < 0 || strncmp(found, expected, strlen(expected)) != 0)
                return fail("the host reads \"%.40s\" where the window was given \"%s\"", found, expected);
        printf("wrote \"%s\" through the window; the host reads \"%s\"\n", expected, found);
        return 0;
}

static int write_through(struct demo_session *session, int fd)
{
        static const char before[] = "written by the host.", after[] = "written by the guest";
        struct fuse_entry_out entry;
        int r = pwrite(fd, before, sizeof(before) - 1, 0) < 0 ? -errno : 0;

        if (r == 0)
                r = fuse_walk(&session->fuse, "scratch", &entry);
        if (r == 0)
                r = fuse_setup_mapping(&session->fuse, entry.nodeid, 0, 0, RANGE, 0, true);
        if (r < 0)
                return fail("can't map the scratch file for writing: %s", strerror(-r));
        if (memcmp(session->window, before, sizeof(before) - 1) != 0)
                return fail("the window does not show what the host wrote");
        memcpy((uint8_t *)(uintptr_t)session->window, after, sizeof(after) - 1);
        return check_host_sees(fd, after);
}

static int write_scratch(void)
{
        char dir[] = "/tmp/oriel-demo-XXXXXX", path[64];
        struct demo_session session = {0};

        if (!mkdtemp(dir))
                return fail("can't make a scratch directory: %s", strerror(errno));
        snprintf(path, sizeof(path), "%s/scratch", dir);

        _cleanup_(fd_closep) int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        int status = fd < 0 ? fail("%s: %s", path, strerror(errno)) : open_session(&session, dir, RANGE, false);

        if (status == 0)
                status = write_through(&session, fd);
        close_session(&session);
        unlink(path);
        rmdir(dir);
        return status;
}

int command_demo(int argc, char **argv)
{
        char **operands, *dir;
        struct demo_tally tally = {0};
        int status = options_parse(&program, argc, argv, &operands);

        if (status >= 0)
                return status;
        if (window_size == 0 || window_size % RANGE)
                return options_wrong_usage(&program, "--window: a multiple of 2M is needed");

        const char *named = operands[0] ? operands[0] : ".";

        dir = realpath(named, NULL);
        if (!dir)
                return fail("%s: %s", named, strerror(errno));
        signals_note();

        status = read_directory(dir, &tally);
        if (status == 0)
                status = write_scratch();
        if (status == 0 && tally.skipped)
                printf("demo: %" PRIu64 " files or directories can't be read by this user and were left out\n",
                       tally.skipped);
        if (status == 0)
                printf("demo: verified %" PRIu64 " files, %" PRIu64 " bytes, through %" PRIu64 " mappings\n",
                       tally.files, tally.bytes, tally.mappings);
        /* The machine is another process that prints to the same standard output. */
        fflush(stdout);
        if (status == 0)
                status = demo_machine(dir, window_size);
        free(dir);
        return status;
}
