/* SPDX-License-Identifier: BSD-2-Clause */

/* The part of oriel demo that takes a virtual machine. A scratch directory has two files: "list", the names of the
 * files to read, and "sums", where the guest writes what it has found in each (guest/shared.h). `oriel run` is started
 * as a child with the tree and that directory shared; then each sum is compared with one made here. A sum past the
 * last file tells that the guest has come to its end. */

#include "cli/demo/machine.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "guest/shared.h"
#include "program/report.h"
#include "program/signals.h"
#include "program/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BLOCK = 1 << 16 };

/* The list of files that host and guest both read, and the scratch directory that it is in. */
struct machine_listing {
        const char *root;
        char folder[32];
        FILE *list;
        uint64_t n, size;
};

/* Looks in a build tree, then where the guest is installed. */
static bool find_guest(char *path, size_t size)
{
        if (find_beside("guest/guest", R_OK, path, size))
                return true;
        snprintf(path, size, "%s/guest", ORIEL_LIBEXECDIR);
        return access(path, R_OK) == 0;
}

/* ---- the list ---- */

static int add_path(struct machine_listing *listing, const FTSENT *entry)
{
        const char *relative = entry->fts_path + strlen(listing->root);
        size_t size;

        relative += strspn(relative, "/");
        size = strlen(relative) + 1;
        /* Leaves out files that this user can't read, as demo.c does, and those for which the list has no room. */
        if (access(entry->fts_path, R_OK) < 0 || listing->size + size > DEMO_SUMS_OFFSET - BLOCK)
                return 0;
        listing->n++;
        listing->size += size;
        return fwrite(relative, size, 1, listing->list) == 1 ? 0 : -errno;
}

static int list_tree(struct machine_listing *listing)
{
        char *const paths[] = {(char *)listing->root, NULL};
        FTS *fts = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
        FTSENT *entry;
        int r = 0;

        if (!fts)
                return -errno;
        while (r == 0 && (entry = fts_read(fts)))
                if (entry->fts_info == FTS_F && S_ISREG(entry->fts_statp->st_mode))
                        r = add_path(listing, entry);
        fts_close(fts);
        return r;
}

static int open_in(const struct machine_listing *listing, const char *name, int flags)
{
        char path[64];

        snprintf(path, sizeof(path), "%s/%s", listing->folder, name);

        int fd = open(path, flags | O_CLOEXEC, 0600);

        return fd < 0 ? -errno : fd;
}

static int write_list(struct machine_listing *listing)
{
        int fd = open_in(listing, "list", O_RDWR | O_CREAT | O_EXCL);
        struct demo_list head = {0};

        if (fd < 0)
                return fd;
        listing->list = fdopen(fd, "w+e");
        listing->size = sizeof(head);
        if (!listing->list)
                fd_close(fd);
        if (!listing->list || fwrite(&head, sizeof(head), 1, listing->list) != 1)
                return -errno;

        int r = list_tree(listing);

        head.n = listing->n;
        if (r == 0 && (fseek(listing->list, 0, SEEK_SET) < 0 || fwrite(&head, sizeof(head), 1, listing->list) != 1 ||
                       fflush(listing->list) != 0))
                r = -errno;
        return r;
}

static int make_sums(const struct machine_listing *listing)
{
        _cleanup_(fd_closep) int fd = open_in(listing, "sums", O_RDWR | O_CREAT | O_EXCL);

        if (fd < 0)
                return fd;
        return ftruncate(fd, (off_t)((listing->n + 1) * sizeof(struct demo_sum))) < 0 ? -errno : 0;
}

/* ---- the machine ---- */

/* Writes a comma twice, as the values of --share need it. */
static void write_escaped(const char *name, char *out, size_t size)
{
        for (size_t n = 0; *name && n + 2 < size; name++) {
                if (*name == ',')
                        out[n++] = ',';
                out[n++] = *name;
                out[n] = '\0';
        }
}

static int demo_vm_run_machine(const struct machine_listing *listing, const char *guest, uint64_t window_size)
{
        char tree[PATH_MAX * 2 + 64], demo[128];
        char *const argv[] = {"oriel",   "run",       "--kernel",  (char *)guest, "--memory",
                              "32M",     "--cmdline", "test=demo", "--console",   "none",
                              "--share", tree,        "--share",   demo,          NULL};
        uint64_t window = UINT64_C(2) << 20;
        int status, r;
        pid_t pid;

        while (window * 2 <= window_size)
                window *= 2;
        write_escaped(listing->root, tree, PATH_MAX * 2);
        snprintf(tree + strlen(tree), sizeof(tree) - strlen(tree),
                 ",tag=tree,option=sandbox=none,readonly,dax=%" PRIu64, window);
        snprintf(demo, sizeof(demo), "%s,tag=demo,option=sandbox=none,dax=%" PRIu64, listing->folder,
                 2 * DEMO_SUMS_OFFSET);
        if (signals_noted())
                return fail("interrupted");
        r = posix_spawn(&pid, "/proc/self/exe", NULL, NULL, argv, environ);
        if (r != 0)
                return fail("can't start oriel run: %s", strerror(r));
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR || kill(pid, SIGTERM) < 0)
                        break;
        if (signals_noted())
                return fail("interrupted");
        if (WIFSIGNALED(status))
                return fail("the virtual machine was ended by signal %d", WTERMSIG(status));
        return WEXITSTATUS(status);
}

/* ---- what it has found ---- */

static int sum_file(const char *path, struct demo_sum *out)
{
        static uint8_t data[BLOCK];
        _cleanup_(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        ssize_t n;

        if (fd < 0)
                return -errno;
        *out = (struct demo_sum){.sum = DEMO_SUM_START};
        while ((n = pread(fd, data, sizeof(data), (off_t)out->size)) > 0) {
                ssize_t at = 0;

                for (; at + 8 <= n; at += 8) {
                        uint64_t word;

                        memcpy(&word, data + at, sizeof(word));
                        out->sum = demo_add(out->sum, word);
                }
                for (; at < n; at++)
                        out->sum = demo_add(out->sum, data[at]);
                out->size += (uint64_t)n;
        }
        return n < 0 ? -errno : 0;
}

static int demo_vm_compare_file(const struct machine_listing *listing, const char *relative,
                                const struct demo_sum *guest)
{
        char path[2 * PATH_MAX];
        struct demo_sum host = {0};

        snprintf(path, sizeof(path), "%s/%s", listing->root, relative);
        /* The file is gone since the list was made. */
        if (sum_file(path, &host) < 0)
                return STATUS_SUCCESS;
        if (guest->error)
                return fail("%s: the guest could not %s it", path, guest->error == DEMO_NOT_FOUND ? "find" : "map");
        if (guest->size != host.size || guest->sum != host.sum)
                return fail("%s: the guest has seen %" PRIu64 " bytes, sum %016" PRIx64 "; there are %" PRIu64
                            ", sum %016" PRIx64,
                            path, guest->size, guest->sum, host.size, host.sum);
        return STATUS_SUCCESS;
}

static bool is_done(int fd, uint64_t n)
{
        struct demo_sum last;

        return pread(fd, &last, sizeof(last), (off_t)(n * sizeof(last))) == sizeof(last) && last.size == n;
}

static int compare_all(const struct machine_listing *listing)
{
        _cleanup_(fd_closep) int fd = open_in(listing, "sums", O_RDONLY);
        _cleanup_(freep) char *path = NULL;
        uint64_t bytes = 0, mappings = 0;
        size_t room = 0;
        int status = fd < 0 ? fail("%s", strerror(-fd)) : STATUS_SUCCESS;

        if (status == STATUS_SUCCESS && !is_done(fd, listing->n))
                return fail("the guest has not come to its end");
        fseek(listing->list, sizeof(struct demo_list), SEEK_SET);
        for (uint64_t i = 0; status == STATUS_SUCCESS && i < listing->n; i++) {
                struct demo_sum sum;

                if (pread(fd, &sum, sizeof(sum), (off_t)(i * sizeof(sum))) != sizeof(sum) ||
                    getdelim(&path, &room, '\0', listing->list) < 0)
                        return fail("what the guest has found can't be read");
                status = demo_vm_compare_file(listing, path, &sum);
                bytes += sum.size;
                mappings += sum.mappings;
        }
        if (status == STATUS_SUCCESS)
                printf("demo: a guest in a virtual machine has verified %" PRIu64 " files, %" PRIu64
                       " bytes, through %" PRIu64 " mappings of its own\n",
                       listing->n, bytes, mappings);
        return status;
}

static int demo_vm_run_all(struct machine_listing *listing, const char *guest, uint64_t window_size)
{
        int r = write_list(listing);

        if (r == 0)
                r = make_sums(listing);
        if (r < 0)
                return fail("%s: %s", listing->folder, strerror(-r));

        int status = demo_vm_run_machine(listing, guest, window_size);

        return status == STATUS_SUCCESS ? compare_all(listing) : status;
}

static void demo_vm_remove_all(const struct machine_listing *listing)
{
        static const char *const names[] = {"list", "sums"};
        char path[64];

        if (listing->list)
                fclose(listing->list);
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                snprintf(path, sizeof(path), "%s/%s", listing->folder, names[i]);
                unlink(path);
        }
        rmdir(listing->folder);
}

int demo_machine(const char *dir, uint64_t window_size)
{
        struct machine_listing listing = {.root = dir, .folder = "/tmp/oriel-demo-XXXXXX"};
        _cleanup_(fd_closep) int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
        char guest[PATH_MAX + 32];

        if (kvm < 0) {
                printf("demo: not tried in a virtual machine: /dev/kvm: %s\n", strerror(errno));
                return STATUS_SUCCESS;
        }
        if (!find_guest(guest, sizeof(guest))) {
                printf("demo: not tried in a virtual machine: the guest is not installed\n");
                return STATUS_SUCCESS;
        }
        if (!mkdtemp(listing.folder))
                return fail("can't make a scratch directory: %s", strerror(errno));

        int status = demo_vm_run_all(&listing, guest, window_size);

        demo_vm_remove_all(&listing);
        return status;
}
