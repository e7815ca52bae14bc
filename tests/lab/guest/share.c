/* SPDX-License-Identifier: BSD-2-Clause */
/* Operations of guest and host on the same files: names and sizes that change under a mapping, locks, attributes.
 * Static: it runs in an initramfs, and in the outer machine that is the host of another. */
#include "guest.h"

#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>

/* ---- under a mapping ---- */

static void expect_contents(int fd, const char *expected)
{
        char found[64];
        ssize_t n = pread(fd, found, strlen(expected), 0);

        if (n != (ssize_t)strlen(expected) || memcmp(found, expected, (size_t)n) != 0)
                die("'%.*s', not '%s'", (int)(n < 0 ? 0 : n), found, expected);
}

/* moved FILE NEW ACTION: what is stored into a mapping is the file's, whatever it is called, and when it has no name
 * any more. The host is asked while it has its second name. */
static void moved(char **args)
{
        int fd = open_file(args[0], O_RDWR | O_CREAT | O_EXCL);
        struct stat stat;

        if (ftruncate(fd, 5000) < 0)
                die("truncate");

        uint8_t *p = map_file(fd, 5000, PROT_READ | PROT_WRITE);

        memcpy(p, "first.", 6);
        if (rename(args[0], args[1]) < 0)
                die("rename");
        memcpy(p + 6, "second.", 7);
        expect_contents(fd, "first.second.");
        if (msync(p, 5000, MS_SYNC) < 0)
                die("msync");
        if (!ask_host(args[2]))
                die("the host has something else");
        if (unlink(args[1]) < 0)
                die("unlink");
        memcpy(p + 13, "third.", 6);
        expect_contents(fd, "first.second.third.");
        if (fstat(fd, &stat) < 0 || stat.st_nlink != 0 || stat.st_size != 5000)
                die("%u links, %u bytes", (unsigned)stat.st_nlink, (unsigned)stat.st_size);
}

/* replaced FILE OTHER ACTION: OTHER is renamed over FILE, which is mapped, and stays what its mapping shows; by the
 * name there is the other one, which the host is asked about. */
static void replaced(char **args)
{
        int fd = open_file(args[0], O_RDWR | O_CREAT | O_EXCL), other = open_file(args[1], O_RDWR | O_CREAT | O_EXCL);

        if (ftruncate(fd, 5000) < 0 || ftruncate(other, 5000) < 0)
                die("truncate");

        uint8_t *p = map_file(fd, 5000, PROT_READ | PROT_WRITE), *q = map_file(other, 5000, PROT_READ | PROT_WRITE);

        memcpy(p, "first.", 6);
        memcpy(q, "second.", 7);
        if (rename(args[1], args[0]) < 0)
                die("rename");
        memcpy(p + 6, "third.", 6);
        memcpy(q + 7, "fourth.", 7);
        expect_contents(fd, "first.third.");
        expect_contents(other, "second.fourth.");
        expect_contents(open_file(args[0], O_RDONLY), "second.fourth.");
        if (memcmp(p, "first.third.", 12) != 0)
                die("the mapping shows something else");
        if (msync(q, 5000, MS_SYNC) < 0)
                die("msync");
        if (!ask_host(args[2]))
                die("the host has something else");
}

/* grown FILE SIZE TEXT ACTION: the host, by ACTION, makes a mapped file SIZE bytes long, and TEXT is its end. */
static void grown(char **args)
{
        size_t size = strtoul(args[1], NULL, 0), n = strlen(args[2]);
        int fd = open_file(args[0], O_RDWR);
        const uint8_t *p = map_file(fd, size, PROT_READ);
        struct stat stat;

        if (fstat(fd, &stat) < 0 || (size_t)stat.st_size >= size)
                die("it has %zu bytes already", (size_t)stat.st_size);
        if (stat.st_size > 0 && p[0] != 'x')
                die("it begins with %#x", p[0]);
        ask_host(args[3]);
        /* Linux believes the size that it knows for a second. */
        for (int i = 0; i < 100 && (size_t)stat.st_size < size; i++) {
                nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
                if (fstat(fd, &stat) < 0)
                        die("fstat");
        }
        if ((size_t)stat.st_size != size)
                die("%zu bytes", (size_t)stat.st_size);
        if (memcmp(p + size - n, args[2], n) != 0)
                die("it ends with '%.*s'", (int)n, p + size - n);
}

/* ---- code in a window that does not hold all of it ---- */

enum { RANGE = 2 << 20, ROUNDS = 2000 };

/* A range for each of @n files, with a function in it that returns the file's number. */
static const volatile uint8_t **map_code(const char *folder, unsigned n)
{
        const volatile uint8_t **code = calloc(n, sizeof(*code));

        for (unsigned i = 0; code && i < n; i++) {
                const uint8_t instructions[] = {0xb8, (uint8_t)i, 0, 0, 0, 0xc3}; /* mov $i, %eax; ret */
                char path[256];

                snprintf(path, sizeof(path), "%s/code-%u", folder, i);

                int fd = open_file(path, O_RDWR | O_CREAT | O_TRUNC);

                if (ftruncate(fd, RANGE) < 0 || pwrite(fd, instructions, sizeof(instructions), 0) < 0)
                        die("%s", path);
                code[i] = map_file(fd, RANGE, PROT_READ | PROT_EXEC);
                close(fd);
        }
        return code;
}

static void use_code(char **args, bool call)
{
        unsigned n = (unsigned)strtoul(args[1], NULL, 0), wrong = 0;
        const volatile uint8_t **code = map_code(args[0], n);

        if (!code)
                die("no memory");
        srand(1);
        for (unsigned round = 0; round < ROUNDS; round++) {
                unsigned i = (unsigned)rand() % n;

                wrong += (call ? (unsigned)((int (*)(void))(uintptr_t)code[i])() : code[i][1]) != i;
        }
        if (wrong)
                die("%u of %u are another file's", wrong, ROUNDS);
}

/* loads FOLDER N: what is read of N files, below 256, is theirs. */
static void loads(char **args)
{
        use_code(args, false);
}

/* calls FOLDER N: what is executed of N files is theirs. It is not where QEMU interprets the machine (TCG, 11.1): it
 * goes on with what it has translated of another file that had the same place in the window. */
static void calls(char **args)
{
        use_code(args, true);
}

/* ---- locks; KIND is flock, or a lock of the process ---- */

static bool take(int fd, const char *kind, bool wait)
{
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        int r = strcmp(kind, "flock") == 0 ? flock(fd, LOCK_EX | (wait ? 0 : LOCK_NB))
                                           : fcntl(fd, wait ? F_SETLKW : F_SETLK, &lock);

        if (r < 0 && errno != EAGAIN && errno != EACCES)
                die("%s", kind);
        return r == 0;
}

/* lock FILE KIND: fails if somebody has it. */
static void lock(char **args)
{
        if (!take(open_file(args[0], O_RDWR), args[1], false))
                die("somebody has it");
}

/* hold FILE KIND: until a signal. */
static void hold(char **args)
{
        lock(args);
        printf("held\n");
        pause();
}

/* holding FILE KIND ACTION: have it while the host does something. */
static void holding(char **args)
{
        lock(args);
        if (!ask_host(args[2]))
                die("the host says no");
}

/* await FILE KIND ACTION: the host has it, and gives it back some time after ACTION. */
static void await(char **args)
{
        int fd = open_file(args[0], O_RDWR);

        if (take(fd, args[1], false))
                die("nobody had it");
        ask_host(args[2]);
        take(fd, args[1], true);
        if (!ask_host("released"))
                die("the host has it still");
}

/* ---- attributes ---- */

/* set-xattr FILE NAME VALUE */
static void set_xattr(char **args)
{
        if (setxattr(args[0], args[1], args[2], strlen(args[2]), 0) < 0)
                die("setxattr");
}

/* xattr FILE NAME: in hexadecimal. */
static void xattr(char **args)
{
        static uint8_t value[65536];
        ssize_t n = getxattr(args[0], args[1], value, sizeof(value));

        if (n < 0)
                die("getxattr");
        for (ssize_t i = 0; i < n; i++)
                printf("%02x", value[i]);
        printf("\n");
}

/* An access list as the kernel takes it, little-endian. */
struct entry {
        uint16_t tag, permissions;
        uint32_t id;
};

/* set-acl FILE access|default UID PERMISSIONS: the owner may all, UID what is said, the group and others nothing. */
static void set_acl(char **args)
{
        enum { OWNER = 1, USER = 2, GROUP = 4, MASK = 16, OTHER = 32 };
        const uint32_t none = UINT32_MAX;
        uint16_t permissions = (uint16_t)strtoul(args[3], NULL, 0);
        const struct {
                uint32_t version;
                struct entry entries[5];
        } list = {2,
                  {{OWNER, 7, none},
                   {USER, permissions, (uint32_t)strtoul(args[2], NULL, 0)},
                   {GROUP, 0, none},
                   {MASK, permissions, none},
                   {OTHER, 0, none}}};
        char name[64];

        snprintf(name, sizeof(name), "system.posix_acl_%s", args[1]);
        if (setxattr(args[0], name, &list, sizeof(list), 0) < 0)
                die("setxattr %s", name);
}

/* may UID FILE: can a user without capabilities open it for reading? */
static void may(char **args)
{
        uid_t uid = (uid_t)strtoul(args[0], NULL, 0);

        if (setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
                die("setresuid");
        open_file(args[1], O_RDONLY);
}

/* alter UID FILE: a user without capabilities writes to it. */
static void alter(char **args)
{
        uid_t uid = (uid_t)strtoul(args[0], NULL, 0);

        if (setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
                die("setresuid");
        if (pwrite(open_file(args[1], O_WRONLY), "x", 1, 0) != 1)
                die("write");
}

static const struct {
        const char *name;
        int arguments;
        void (*run)(char **args);
} commands[] = {
        {"moved", 3, moved}, {"replaced", 3, replaced},   {"grown", 4, grown}, {"loads", 2, loads},
        {"calls", 2, calls}, {"lock", 2, lock},           {"hold", 2, hold},   {"holding", 3, holding},
        {"await", 3, await}, {"set-xattr", 3, set_xattr}, {"xattr", 2, xattr}, {"set-acl", 4, set_acl},
        {"may", 2, may},     {"alter", 2, alter},
};

int main(int argc, char **argv)
{
        setvbuf(stdout, NULL, _IONBF, 0);
        for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
                if (argc > 1 && strcmp(argv[1], commands[i].name) == 0 && argc == commands[i].arguments + 2) {
                        commands[i].run(argv + 2);
                        return 0;
                }
        fprintf(stderr, "share: unknown, or not that many arguments\n");
        return 2;
}
