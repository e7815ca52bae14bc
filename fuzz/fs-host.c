/* SPDX-License-Identifier: BSD-2-Clause */

/* The host that oriel-fs's core is fuzzed on. */

#include "fuzz/fs-host.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

static const char *const names[] = {"a", "b", "c", "d", "mnt", "-", "\xc3\xa4", ".a"};

static struct {
        char top[64], share[80], outside[80];
        int fd;
} place;

static void put_line(const char *path, const char *line)
{
        int fd = open(path, O_WRONLY | O_CLOEXEC);

        if (fd >= 0 && write(fd, line, strlen(line)) < 0)
                errno = 0;
        close(fd);
}

/* Mounts of this process's own; an ordinary user has them in a user namespace, where it is root. */
static bool separate(void)
{
        char uids[32], gids[32];

        snprintf(uids, sizeof(uids), "0 %u 1", geteuid());
        snprintf(gids, sizeof(gids), "0 %u 1", getegid());
        if (geteuid() == 0 && unshare(CLONE_NEWNS) == 0)
                return true;
        if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
                return false;
        put_line("/proc/self/setgroups", "deny");
        put_line("/proc/self/uid_map", uids);
        put_line("/proc/self/gid_map", gids);
        return geteuid() == 0;
}

static void remove_top(void)
{
        host_clear();
        rmdir(place.share);
        unlink(place.outside);
        rmdir(place.top);
}

/* Over a directory that there is, so that nothing is left of it, however this process ends. */
static bool mount_place(void)
{
        strcpy(place.top, "/mnt");
        return separate() && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
               mount("fuzz", place.top, "tmpfs", 0, "size=8m,nr_inodes=2000") == 0;
}

/* A place that can't be mounted is limited otherwise: no file grows beyond 1 MiB. */
static void make_place(void)
{
        char path[96];
        bool mounted = mount_place();

        if (!mounted) {
                strcpy(place.top, "/tmp/oriel-fuzz-XXXXXX");
                need(mkdtemp(place.top));
                atexit(remove_top);
                signal(SIGXFSZ, SIG_IGN);
                need(setrlimit(RLIMIT_FSIZE, &(struct rlimit){1 << 20, 1 << 20}) == 0);
        }
        snprintf(place.share, sizeof(place.share), "%s/share", place.top);
        snprintf(place.outside, sizeof(place.outside), "%s/outside", place.top);
        need(mkdir(place.share, 0755) == 0);
        close(open(place.outside, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
        place.fd = open(place.share, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        need(place.fd >= 0 && fchmod(place.fd, 0755) == 0);
        snprintf(path, sizeof(path), "%s/mnt", place.share);
        if (mounted && mkdir(path, 0755) == 0)
                mount("fuzz", path, "tmpfs", 0, "size=1m,nr_inodes=200");
}

const char *host_share(void)
{
        if (!place.top[0])
                make_place();
        return place.share;
}

const char *host_name(struct input *input)
{
        return names[take_choice(input, ARRAY_SIZE(names))];
}

void host_act(struct input *input)
{
        const char *name = host_name(input), *other = host_name(input);
        int fd;

        switch (take_choice(input, 9)) {
        case 0:
                unlinkat(place.fd, name, 0);
                break;
        case 1:
                unlinkat(place.fd, name, AT_REMOVEDIR);
                break;
        case 2:
                renameat(place.fd, name, place.fd, other);
                break;
        case 3:
                symlinkat(other, place.fd, name);
                break;
        case 4:
                mkdirat(place.fd, name, 0755);
                break;
        case 5:
                mkfifoat(place.fd, name, 0644);
                break;
        case 6:
                fchmodat(place.fd, name, (mode_t)(04000 | take_byte(input)), 0);
                break;
        case 7:
                fd = openat(place.fd, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0644);
                if (fd < 0)
                        break;
                if (ftruncate(fd, take_byte(input) * 100) < 0 || write(fd, "data", 4) < 0)
                        errno = 0;
                fsetxattr(fd, "user.a", "value", 5, 0);
                close(fd);
                break;
        default:
                linkat(place.fd, name, place.fd, other, 0);
                break;
        }
}

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *where)
{
        if (where->level > 0 && remove(path) < 0 && errno != EBUSY)
                return -1;
        return 0;
}

void host_clear(void)
{
        struct stat stat;

        need(nftw(place.share, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0);
        need(fchmod(place.fd, 0755) == 0 && (geteuid() != 0 || fchown(place.fd, 0, 0) == 0));
        need(lstat(place.outside, &stat) == 0 && stat.st_size == 0 && stat.st_mode == (S_IFREG | 0600) &&
             stat.st_nlink == 1);
}

/* ---- the front-end ---- */

static struct {
        unsigned how;
        uint64_t mapped[16]; /* per page: the number of its mapping */
        uint64_t n;
        bool waited[1 << 16];
        uint64_t tickets;
        uint8_t *memory;
} window;

void host_window_begin(unsigned how)
{
        memset(&window, 0, sizeof(window));
        window.how = how;
        window.memory = mmap(NULL, HOST_WINDOW, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        need(window.memory != MAP_FAILED);
}

static uint64_t new_ticket(void)
{
        need(window.tickets + 1 < ARRAY_SIZE(window.waited));
        return ++window.tickets;
}

static int submit_map(void *userdata, struct oriel_range range, int fd, uint64_t fd_offset, bool writable,
                      uint64_t *ticket)
{
        struct stat stat;

        need(range.start % HOST_PAGE == 0 && range.size % HOST_PAGE == 0 && range.size > 0 &&
             range.start + range.size <= HOST_WINDOW && fd_offset % HOST_PAGE == 0);
        need(fstat(fd, &stat) == 0 && S_ISREG(stat.st_mode));
        if (window.how & HOST_FULL)
                return -ENOSPC;
        *ticket = new_ticket();
        if ((window.how & HOST_WHOLE_ONLY && (uint64_t)stat.st_size < fd_offset + range.size) ||
            (window.how & HOST_WRITABLE_ONLY && (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY)) {
                window.waited[*ticket] = true; /* refused */
                return 0;
        }
        need(mmap(window.memory + range.start, range.size, writable ? PROT_READ | PROT_WRITE : PROT_READ,
                  MAP_SHARED | MAP_FIXED, fd, (off_t)fd_offset) != MAP_FAILED);
        window.n++;
        for (uint64_t at = range.start; at < range.start + range.size; at += HOST_PAGE) {
                need(window.mapped[at / HOST_PAGE] == 0);
                window.mapped[at / HOST_PAGE] = window.n;
        }
        return 0;
}

/* That of one mapping, as a whole. */
static bool is_mapped(uint64_t first, uint64_t last)
{
        uint64_t mapping = window.mapped[first];

        for (uint64_t page = 0; page < ARRAY_SIZE(window.mapped) && mapping; page++)
                if ((window.mapped[page] == mapping) != (page >= first && page <= last))
                        return false;
        return mapping;
}

static int submit_unmap(void *userdata, struct oriel_range range, uint64_t *ticket)
{
        uint64_t first = range.start / HOST_PAGE, last = (range.start + range.size - 1) / HOST_PAGE;

        *ticket = new_ticket();
        if (!is_mapped(first, last)) {
                need(window.how & HOST_RESUMED);
                window.waited[*ticket] = true;
                return 0;
        }
        for (uint64_t page = first; page <= last; page++)
                window.mapped[page] = 0;
        need(mmap(window.memory + range.start, range.size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) !=
             MAP_FAILED);
        return 0;
}

static int wait_for(void *userdata, uint64_t ticket)
{
        need(ticket > 0 && ticket <= window.tickets);
        if (window.waited[ticket])
                return -EREMOTEIO;
        window.waited[ticket] = true;
        return 0;
}

const struct fs_window_ops host_window_ops = {submit_map, submit_unmap, wait_for};

/* As far as there is memory, which may be a file that has become shorter. */
void host_window_store(struct input *input)
{
        uint8_t byte = take_byte(input);
        const struct iovec from = {&byte, 1};
        const struct iovec to = {window.memory + (take_choice(input, 16) * HOST_PAGE + take_byte(input)), 1};

        if (process_vm_writev(getpid(), &from, 1, &to, 1, 0) < 0)
                errno = 0;
}

void host_window_end(void)
{
        munmap(window.memory, HOST_WINDOW);
        for (uint64_t ticket = 1; ticket <= window.tickets; ticket++)
                need(window.waited[ticket]);
}
