/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef EXERCISE_POSIX_H
#define EXERCISE_POSIX_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

/* One thing that a file system must do. It is checked by a process of its own, which has nothing open, umask 022, and
 * an empty directory to itself as its working directory. */
struct posix_case {
        const char *id;   /* group.name */
        const char *rule; /* what is expected */
        void (*check)(const void *argument);
        const void *argument;
        struct posix_case *next;
};

/* Takes nothing: the case must live as long as the program. Order of the list is the order of the calls. */
void posix_add(struct posix_case *new_case);

#define CASE(id_, rule_)               CASE_ON_LINE(id_, rule_, __LINE__)
#define CASE_ON_LINE(id_, rule_, line) CASE_ON_THIS_LINE(id_, rule_, line)
#define CASE_ON_THIS_LINE(id_, rule_, line)                                                       \
        static void check_##line(const void *);                                                   \
        static struct posix_case case_##line = {.id = id_, .rule = rule_, .check = check_##line}; \
        static void __attribute__((constructor)) add_##line(void)                                 \
        {                                                                                         \
                posix_add(&case_##line);                                                          \
        }                                                                                         \
        static void check_##line(const void *argument __attribute__((unused)))

/* ---- what a check is written with; each of these ends the process that runs it if it has gone wrong ---- */

#define CHECK(condition) ((condition) ? (void)0 : posix_fail("%s:%d: not so: %s", __FILE__, __LINE__, #condition))
/* Two numbers. */
#define EQUAL(a, b) posix_equal(__FILE__, __LINE__, #a " = " #b, (long long)(a), (long long)(b))
/* A call that must not be -1. Its value is the call's. (In braces, because it need not be used.) */
#define OK(call) ({ (__typeof__(call))posix_ok(__FILE__, __LINE__, #call, (long long)(call)); })
/* A call that must fail, with one of these. */
#define FAILS(call, ...) posix_fails(__FILE__, __LINE__, #call, (long long)(call), (const int[]){__VA_ARGS__, 0})
/* A call that a file system need not have: the case is skipped if it says so. */
#define OK_IF_THERE(call) ({ (__typeof__(call))posix_ok_if_there(__FILE__, __LINE__, #call, (long long)(call)); })
/* Statements that another process runs, and has to get through, before this one goes on. */
#define IN_CHILD(...)                          \
        do {                                   \
                pid_t in_child = posix_fork(); \
                if (in_child == 0) {           \
                        __VA_ARGS__;           \
                        _exit(0);              \
                }                              \
                posix_join(in_child);          \
        } while (0)

void __attribute__((noreturn, format(printf, 1, 2))) posix_fail(const char *format, ...);
void __attribute__((noreturn, format(printf, 1, 2))) posix_skip(const char *format, ...);
void posix_equal(const char *file, int line, const char *what, long long a, long long b);
long long posix_ok(const char *file, int line, const char *call, long long result);
long long posix_ok_if_there(const char *file, int line, const char *call, long long result);
void posix_fails(const char *file, int line, const char *call, long long result, const int *errors);
/* Not root: the case is skipped. */
void need_root(void);

pid_t posix_fork(void);
/* The other process must have ended well. */
void posix_join(pid_t pid);
/* Between two processes: the one waits until the other has come there. Made before the fork. */
struct gate {
        int fds[2];
};
void gate_make(struct gate *gate);
void gate_open(const struct gate *gate);
void gate_wait(const struct gate *gate);

/* ---- users ---- */

struct user {
        uid_t uid;
        gid_t gid;
        gid_t also; /* a supplementary group, or 0 */
};

extern const struct user ROOT;
extern const struct user ALICE; /* owns what a case has to give to someone */
extern const struct user BOB;   /* has nothing to do with it */
extern const struct user CAROL; /* of ALICE's group */
extern const struct user DAVE;  /* of a group of his own, and of ALICE's */

/* All that follows is done by @user, until the next call. */
void become(const struct user *user);

/* ---- files ---- */

/* With exactly this mode. They belong to whoever makes them, or to @user. */
void make_file(const char *name, mode_t mode);
void make_dir(const char *name, mode_t mode);
void make_file_of(const struct user *user, const char *name, mode_t mode);
void make_dir_of(const struct user *user, const char *name, mode_t mode);
/* "file" and "dir", a link "to-file", one that leads nowhere "dangling" and one to itself "loop". */
void make_some(void);

void put(const char *name, const char *text);
/* The file holds this text and nothing else. */
void expect_text(const char *name, const char *text);
void expect_bytes(int fd, off_t offset, const void *bytes, size_t size);

/* lstat() */
struct stat stat_of(const char *name);
bool exists(const char *name);
mode_t mode_of(const char *name); /* permission bits */
/* The same, and what kind it is. */
bool is_kind(const char *name, mode_t kind);
off_t size_of(const char *name);
long links_of(const char *name);
ino_t inode_of(const char *name);

/* @n times @byte: one of a few that are kept. */
const char *repeated(char byte, size_t n);
/* A path of exactly @n bytes that names @name, by way of "./". */
const char *path_of_length(size_t n, const char *name);

/* Until a time that a file system puts down will differ from the one that it would have put down now. */
void tick(void);
int compare_times(struct timespec a, struct timespec b);

#endif
