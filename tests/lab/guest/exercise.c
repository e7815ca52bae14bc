/* SPDX-License-Identifier: BSD-2-Clause */
/* Operations of a guest on files through mappings, with checks. Static: it runs in an initramfs. */
#include "guest.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_SIZE (5u << 20)

/* dax FILE: is it mapped straight from the window? */
static void dax(char **args)
{
        struct statx stat;

        if (statx(AT_FDCWD, args[0], 0, STATX_BASIC_STATS, &stat) < 0)
                die("statx");
        if (!(stat.stx_attributes & STATX_ATTR_DAX))
                die("%s is not", args[0]);
}

/* store FILE OFFSET TEXT: through a shared mapping, and msync(). */
static void store(char **args)
{
        size_t offset = strtoul(args[1], NULL, 0), n = strlen(args[2]);
        int fd = open_file(args[0], O_RDWR);
        uint8_t *p = map_file(fd, offset + n, PROT_READ | PROT_WRITE);

        memcpy(p + offset, args[2], n);
        if (msync(p, offset + n, MS_SYNC) < 0)
                die("msync");
}

/* load FILE OFFSET COUNT: through a shared mapping. */
static void load(char **args)
{
        size_t offset = strtoul(args[1], NULL, 0), n = strtoul(args[2], NULL, 0);
        int fd = open_file(args[0], O_RDONLY);
        const uint8_t *p = map_file(fd, offset + n, PROT_READ);

        fwrite(p + offset, 1, n, stdout);
}

/* linger FILE OFFSET TEXT ACTION: store through a mapping, and ask the host before anything else is done. */
static void linger(char **args)
{
        size_t offset = strtoul(args[1], NULL, 0), n = strlen(args[2]);
        int fd = open_file(args[0], O_RDWR);
        uint8_t *p = map_file(fd, offset + n, PROT_READ | PROT_WRITE);

        memcpy(p + offset, args[2], n);
        if (!ask_host(args[3]))
                die("the host does not see it");
}

/* watch FILE OFFSET OLD NEW ACTION: what a mapping that stays shows before and after the host has done ACTION. */
static void watch(char **args)
{
        size_t offset = strtoul(args[1], NULL, 0), n = strlen(args[2]);
        int fd = open_file(args[0], O_RDWR);
        const uint8_t *p = map_file(fd, offset + n, PROT_READ);

        if (memcmp(p + offset, args[2], n) != 0)
                die("before: '%.*s'", (int)n, p + offset);
        ask_host(args[4]);
        if (memcmp(p + offset, args[3], n) != 0)
                die("after: '%.*s'", (int)n, p + offset);
        printf("matched\n");
}

/* lose FILE KEPT ACTION: the host, by ACTION, truncates a file of 'x' to KEPT bytes, a number of pages, under a
 * mapping. Linux has not been told. What is left is there, what is gone reads as zeros, and a store there hurts nobody.
 */
static void lose(char **args)
{
        size_t kept = strtoul(args[1], NULL, 0);
        int fd = open_file(args[0], O_RDWR);
        struct stat stat;

        if (fstat(fd, &stat) < 0)
                die("fstat");

        size_t size = (size_t)stat.st_size;
        volatile uint8_t *p = map_file(fd, size, PROT_READ | PROT_WRITE);

        for (size_t at = 0; at < size; at += 4096)
                if (p[at] != 'x')
                        die("byte %zu is %#x before", at, p[at]);
        ask_host(args[2]);
        for (size_t at = 0; at < size; at += 4096)
                if (p[at] != (at < kept ? 'x' : 0))
                        die("byte %zu is %#x", at, p[at]);
        p[size - 1] = 'y';
        if (p[0] != (kept ? 'x' : 0))
                die("what is left has changed");
}

/* ---- direct I/O from and to a mapping: its pages, in the window, are what the other device is given ---- */

struct direct {
        int from, to;
        size_t size;
        uint8_t *mapping;
};

static void compare_files(const char *one, const char *other, size_t size)
{
        static uint8_t ours[1 << 16], theirs[1 << 16];
        int a = open_file(one, O_RDONLY), b = open_file(other, O_RDONLY);

        for (size_t at = 0; at < size;) {
                ssize_t n = pread(a, ours, sizeof(ours), (off_t)at);

                if (n <= 0 || pread(b, theirs, (size_t)n, (off_t)at) != n)
                        die("read back %zu", at);
                if (memcmp(ours, theirs, (size_t)n) != 0)
                        die("%s and %s differ within %zu bytes from %zu", one, other, (size_t)n, at);
                at += (size_t)n;
        }
        close(a);
        close(b);
}

/* Opens FROM and TO, makes TO as long as FROM, and maps one of them. */
static struct direct open_direct(char **args, int from_flags, int to_flags, bool map_to)
{
        struct direct direct = {.from = open_file(args[0], from_flags), .to = open_file(args[1], to_flags | O_CREAT)};
        struct stat stat;

        if (fstat(direct.from, &stat) < 0 || ftruncate(direct.to, stat.st_size) < 0)
                die("size");
        direct.size = (size_t)stat.st_size;
        direct.mapping = map_file(map_to ? direct.to : direct.from, direct.size, PROT_READ | (map_to ? PROT_WRITE : 0));
        return direct;
}

/* direct-read FROM TO: read FROM without the page cache into a mapping of TO. */
static void direct_read(char **args)
{
        struct direct direct = open_direct(args, O_RDONLY | O_DIRECT, O_RDWR, true);

        for (size_t at = 0; at < direct.size;) {
                ssize_t n = read(direct.from, direct.mapping + at, direct.size - at);

                if (n <= 0)
                        die("read at %zu: %zd", at, n);
                at += (size_t)n;
        }
        compare_files(args[0], args[1], direct.size);
}

/* direct-write FROM TO: write a mapping of FROM without the page cache to TO. */
static void direct_write(char **args)
{
        struct direct direct = open_direct(args, O_RDONLY, O_RDWR | O_DIRECT, false);

        for (size_t at = 0; at < direct.size;) {
                ssize_t n = write(direct.to, direct.mapping + at, direct.size - at);

                if (n <= 0)
                        die("write at %zu: %zd", at, n);
                at += (size_t)n;
        }
        compare_files(args[0], args[1], direct.size);
}

/* shrink FILE: truncate under a mapping, touch what is left and what is gone, extend, and find zeros. */
static void shrink(char **args)
{
        int fd = open_file(args[0], O_RDWR | O_CREAT | O_TRUNC);
        static uint8_t data[20000];

        memset(data, 'x', sizeof(data));
        if (write(fd, data, sizeof(data)) != sizeof(data))
                die("write");

        uint8_t *p = map_file(fd, sizeof(data), PROT_READ | PROT_WRITE);

        if (p[0] != 'x' || p[sizeof(data) - 1] != 'x')
                die("not what was written");
        p[6000] = 'y';
        if (ftruncate(fd, 5000) < 0)
                die("truncate");
        if (p[4999] != 'x')
                die("what is left has changed");

        pid_t child = fork();
        int status;

        if (child == 0) {
                volatile uint8_t gone = p[12288];

                (void)gone;
                _exit(0);
        }
        waitpid(child, &status, 0);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGBUS)
                die("what is gone could be read: status %#x", status);
        if (ftruncate(fd, sizeof(data)) < 0)
                die("extend");
        for (size_t i = 0; i < sizeof(data); i++)
                if (p[i] != (i < 5000 ? 'x' : 0))
                        die("byte %zu is %#x after extending", i, p[i]);
        p[19999] = 'z';
        if (fsync(fd) < 0)
                die("fsync");
}

/* ---- a file that grows under its readers ---- */

struct growth {
        int fd;
        const uint8_t *view;
        atomic_size_t size;
        atomic_bool failed;
};

static uint8_t pattern(size_t offset)
{
        return (uint8_t)(1 + (offset * 131 + offset / 251) % 255);
}

static void *read_growing(void *userdata)
{
        struct growth *growth = userdata;

        while (atomic_load(&growth->size) < MAX_SIZE / 2 && !atomic_load(&growth->failed)) {
                size_t size = atomic_load(&growth->size), first = size > 20000 ? size - 20000 : 0;

                for (size_t i = first; i < size; i++)
                        if (growth->view[i] != pattern(i)) {
                                printf("byte %zu of %zu is %#x, not %#x\n", i, size, growth->view[i], pattern(i));
                                atomic_store(&growth->failed, true);
                                return NULL;
                        }
        }
        return NULL;
}

/* grow FILE: append pieces of odd sizes while another thread reads them through a mapping. */
static void grow(char **args)
{
        struct growth growth = {.fd = open_file(args[0], O_RDWR | O_CREAT | O_TRUNC | O_APPEND)};
        static uint8_t piece[3001];
        pthread_t reader;

        growth.view = map_file(growth.fd, MAX_SIZE, PROT_READ);
        pthread_create(&reader, NULL, read_growing, &growth);
        for (size_t at = 0, n; at < MAX_SIZE / 2; at += n) {
                n = 1 + (at * 17 + 5) % sizeof(piece);
                for (size_t i = 0; i < n; i++)
                        piece[i] = pattern(at + i);
                if (write(growth.fd, piece, n) != (ssize_t)n)
                        die("write");
                atomic_store(&growth.size, at + n);
        }
        pthread_join(reader, NULL);
        if (atomic_load(&growth.failed))
                exit(1);
}

/* ---- random operations against a model in memory ---- */

struct random_file {
        const char *path;
        int fd;
        uint64_t state;
        size_t limit;
        size_t size;
        uint8_t model[MAX_SIZE];
        uint8_t buffer[MAX_SIZE];
};

static size_t pick(struct random_file *file, size_t below)
{
        file->state = file->state * 6364136223846793005u + 1442695040888963407u;
        return below ? (size_t)(file->state >> 33) % below : 0;
}

static void compare(struct random_file *file, const uint8_t *got, size_t at, size_t n, const char *what)
{
        for (size_t i = 0; i < n; i++)
                if (got[i] != file->model[at + i])
                        die("%s: byte %zu of %zu is %#x, not %#x", what, at + i, file->size, got[i],
                            file->model[at + i]);
}

/* A part of the file, and how long it is. */
static size_t pick_part(struct random_file *file, size_t *at)
{
        *at = pick(file, file->size);
        return file->size ? 1 + pick(file, file->size - *at < 70000 ? file->size - *at : 70000) : 0;
}

static void do_read(struct random_file *file)
{
        size_t at, n = pick_part(file, &at);

        if (pread(file->fd, file->buffer, n, (off_t)at) != (ssize_t)n)
                die("read %zu at %zu", n, at);
        compare(file, file->buffer, at, n, "read");
}

static void fill(struct random_file *file, size_t at, size_t n)
{
        if (at > file->size)
                memset(file->model + file->size, 0, at - file->size);
        for (size_t i = 0; i < n; i++)
                file->model[at + i] = (uint8_t)pick(file, 256);
        if (at + n > file->size)
                file->size = at + n;
}

static void do_write(struct random_file *file)
{
        size_t at = pick(file, file->size + 9000), n = 1 + pick(file, 9000);

        if (at + n > file->limit)
                return;
        fill(file, at, n);
        if (pwrite(file->fd, file->model + at, n, (off_t)at) != (ssize_t)n)
                die("write %zu at %zu", n, at);
}

static void do_map(struct random_file *file, bool store_too)
{
        size_t at, n = pick_part(file, &at);

        if (n == 0)
                return;

        uint8_t *p = map_file(file->fd, file->size, PROT_READ | PROT_WRITE);

        compare(file, p + at, at, n, "mapped");
        if (store_too) {
                fill(file, at, n);
                memcpy(p + at, file->model + at, n);
        }
        munmap(p, file->size);
}

static void do_load(struct random_file *file)
{
        do_map(file, false);
}

static void do_store(struct random_file *file)
{
        do_map(file, true);
}

static void do_truncate(struct random_file *file)
{
        size_t size = pick(file, pick(file, 4) ? file->size + 5000 : file->limit);

        if (size > file->limit)
                return;
        if (ftruncate(file->fd, (off_t)size) < 0)
                die("truncate to %zu", size);
        if (size > file->size)
                memset(file->model + file->size, 0, size - file->size);
        file->size = size;
}

static void do_sync(struct random_file *file)
{
        if (fsync(file->fd) < 0)
                die("fsync");
}

static void do_reopen(struct random_file *file)
{
        close(file->fd);
        file->fd = open_file(file->path, O_RDWR);

        struct stat stat;

        if (fstat(file->fd, &stat) < 0 || (size_t)stat.st_size != file->size)
                die("size %zu, not %zu", (size_t)stat.st_size, file->size);
}

static void do_punch(struct random_file *file)
{
        size_t at, n = pick_part(file, &at);

        if (n == 0 || fallocate(file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at, (off_t)n) < 0)
                return;
        memset(file->model + at, 0, n);
}

/* random FILE SEED COUNT LIMIT: the file ends with what the model has. */
static void random_operations(char **args)
{
        static void (*const operations[])(struct random_file *) = {do_read,     do_write, do_write,  do_load, do_store,
                                                                   do_truncate, do_sync,  do_reopen, do_punch};
        static struct random_file file;
        unsigned count = (unsigned)strtoul(args[2], NULL, 0);

        file.path = args[0];
        file.state = strtoul(args[1], NULL, 0);
        file.limit = strtoul(args[3], NULL, 0);
        if (file.limit > MAX_SIZE)
                die("at most %u", MAX_SIZE);
        file.fd = open_file(file.path, O_RDWR | O_CREAT | O_TRUNC);
        for (unsigned i = 0; i < count; i++)
                operations[pick(&file, sizeof(operations) / sizeof(operations[0]))](&file);
        do_reopen(&file);
        if (pread(file.fd, file.buffer, file.size, 0) != (ssize_t)file.size)
                die("read all");
        compare(&file, file.buffer, 0, file.size, "at the end");
        close(file.fd);
}

/* writers FOLDER N: as many processes at once, each with a file of its own and a part of one they share. */
static void writers(char **args)
{
        unsigned n = (unsigned)strtoul(args[1], NULL, 0), failed = 0;
        char path[256];

        for (unsigned w = 0; w < n; w++) {
                if (fork() != 0)
                        continue;
                snprintf(path, sizeof(path), "%s/own-%u", args[0], w);

                int own = open_file(path, O_RDWR | O_CREAT | O_TRUNC);
                uint8_t block[4096], back[4096];

                snprintf(path, sizeof(path), "%s/shared", args[0]);

                int shared = open_file(path, O_RDWR | O_CREAT);

                for (unsigned i = 0; i < 64; i++) {
                        off_t at = (off_t)(i * n + w) * (off_t)sizeof(block);

                        memset(block, (int)(w * 16 + i), sizeof(block));
                        if (pwrite(own, block, sizeof(block), (off_t)(i * sizeof(block))) != sizeof(block) ||
                            pwrite(shared, block, sizeof(block), at) != sizeof(block))
                                die("write");
                        if (pread(shared, back, sizeof(back), at) != sizeof(back) || memcmp(back, block, sizeof(back)))
                                die("writer %u: block %u is another's", w, i);
                }
                if (fsync(own) < 0 || fsync(shared) < 0)
                        die("fsync");
                exit(0);
        }
        for (unsigned w = 0; w < n; w++) {
                int status;

                wait(&status);
                failed += status != 0;
        }
        if (failed)
                die("%u of %u writers failed", failed, n);
}

static const struct {
        const char *name;
        int arguments;
        void (*run)(char **args);
} commands[] = {
        {"dax", 1, dax},
        {"store", 3, store},
        {"load", 3, load},
        {"watch", 5, watch},
        {"shrink", 1, shrink},
        {"grow", 1, grow},
        {"linger", 4, linger},
        {"random", 4, random_operations},
        {"writers", 2, writers},
        {"lose", 3, lose},
        {"direct-read", 2, direct_read},
        {"direct-write", 2, direct_write},
};

int main(int argc, char **argv)
{
        setvbuf(stdout, NULL, _IONBF, 0);
        for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
                if (argc > 1 && strcmp(argv[1], commands[i].name) == 0 && argc == commands[i].arguments + 2) {
                        commands[i].run(argv + 2);
                        return 0;
                }
        fprintf(stderr, "exercise: unknown, or not that many arguments\n");
        return 2;
}
