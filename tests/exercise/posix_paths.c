/* SPDX-License-Identifier: BSD-2-Clause */
/* Every call that takes a path, with every path that leads nowhere: the cases are made from two tables. */
#include "posix.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <sys/xattr.h>

/* ---- the calls ---- */

enum {
        NEEDS = 1 << 0,    /* what it names must be there */
        FOLLOWS = 1 << 1,  /* a symbolic link at the end is followed */
        MAKES = 1 << 2,    /* it must not be there, and is made */
        REMOVES = 1 << 3,  /* the entry goes: the directory must be writable */
        IS_SHORT = 1 << 4, /* the path has a limit of its own */
        ON_DIR = 1 << 6,   /* takes nothing but directories */
};

struct call {
        const char *name;
        int traits;
        int (*make)(const char *path);
};

static int close_if_open(int fd)
{
        return fd < 0 ? -1 : close(fd);
}

static int call_open(const char *path)
{
        return close_if_open(open(path, O_RDONLY));
}

static int call_open_path(const char *path)
{
        return close_if_open(open(path, O_PATH));
}

static int call_create(const char *path)
{
        return close_if_open(open(path, O_WRONLY | O_CREAT, 0644));
}

static int call_create_exclusive(const char *path)
{
        return close_if_open(open(path, O_WRONLY | O_CREAT | O_EXCL, 0644));
}

static int call_open_directory(const char *path)
{
        return close_if_open(open(path, O_RDONLY | O_DIRECTORY));
}

static int call_stat(const char *path)
{
        struct stat st;

        return stat(path, &st);
}

static int call_lstat(const char *path)
{
        struct stat st;

        return lstat(path, &st);
}

static int call_access(const char *path)
{
        return access(path, F_OK);
}

static int call_chmod(const char *path)
{
        return chmod(path, 0644);
}

static int call_chown(const char *path)
{
        return chown(path, geteuid(), getegid());
}

static int call_lchown(const char *path)
{
        return lchown(path, geteuid(), getegid());
}

static int call_truncate(const char *path)
{
        return truncate(path, 0);
}

static int call_utimens(const char *path)
{
        return utimensat(AT_FDCWD, path, NULL, 0);
}

static int call_utimens_of_link(const char *path)
{
        return utimensat(AT_FDCWD, path, NULL, AT_SYMLINK_NOFOLLOW);
}

static int call_statvfs(const char *path)
{
        struct statvfs st;

        return statvfs(path, &st);
}

static int call_pathconf(const char *path)
{
        errno = 0;
        return pathconf(path, _PC_NAME_MAX) < 0 ? -1 : 0;
}

static int call_chdir(const char *path)
{
        return chdir(path);
}

static int call_readlink(const char *path)
{
        char target[64];

        return readlink(path, target, sizeof(target)) < 0 ? -1 : 0;
}

static int call_unlink(const char *path)
{
        return unlink(path);
}

static int call_rmdir(const char *path)
{
        return rmdir(path);
}

static int call_mkdir(const char *path)
{
        return mkdir(path, 0755);
}

static int call_mkfifo(const char *path)
{
        return mkfifo(path, 0644);
}

static int call_mknod(const char *path)
{
        return mknod(path, S_IFREG | 0644, 0);
}

static int call_symlink(const char *path)
{
        return symlink("anything", path);
}

static int call_link_from(const char *path)
{
        return link(path, "new-link");
}

static int call_link_to(const char *path)
{
        return link("spare", path);
}

static int call_rename_from(const char *path)
{
        return rename(path, "new-name");
}

static int call_rename_to(const char *path)
{
        return rename("spare", path);
}

static int call_bind(const char *path)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        int fd = OK(socket(AF_UNIX, SOCK_STREAM, 0));

        CHECK(strlen(path) < sizeof(address.sun_path));
        strcpy(address.sun_path, path);
        if (bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
                return close(fd);

        int error = errno;

        close(fd);
        /* The standard calls this EEXIST everywhere else. */
        errno = error == EADDRINUSE ? EEXIST : error;
        return -1;
}

static int call_getxattr(const char *path)
{
        return getxattr(path, "user.any", NULL, 0) < 0 ? -1 : 0;
}

static int call_setxattr(const char *path)
{
        return setxattr(path, "user.any", "x", 1, 0);
}

static int call_listxattr(const char *path)
{
        return listxattr(path, NULL, 0) < 0 ? -1 : 0;
}

static int call_removexattr(const char *path)
{
        return removexattr(path, "user.any");
}

static const struct call calls[] = {
        {"open", NEEDS | FOLLOWS, call_open},
        {"open-path", NEEDS | FOLLOWS, call_open_path},
        {"create", FOLLOWS, call_create},
        {"create-exclusive", MAKES, call_create_exclusive},
        {"open-directory", NEEDS | FOLLOWS | ON_DIR, call_open_directory},
        {"stat", NEEDS | FOLLOWS, call_stat},
        {"lstat", NEEDS, call_lstat},
        {"access", NEEDS | FOLLOWS, call_access},
        {"chmod", NEEDS | FOLLOWS, call_chmod},
        {"chown", NEEDS | FOLLOWS, call_chown},
        {"lchown", NEEDS, call_lchown},
        {"truncate", NEEDS | FOLLOWS, call_truncate},
        {"utimens", NEEDS | FOLLOWS, call_utimens},
        {"utimens-of-link", NEEDS, call_utimens_of_link},
        {"statvfs", NEEDS | FOLLOWS, call_statvfs},
        {"pathconf", NEEDS | FOLLOWS, call_pathconf},
        {"chdir", NEEDS | FOLLOWS | ON_DIR, call_chdir},
        {"readlink", NEEDS, call_readlink},
        {"unlink", NEEDS | REMOVES, call_unlink},
        {"rmdir", NEEDS | REMOVES | ON_DIR, call_rmdir},
        {"mkdir", MAKES | ON_DIR, call_mkdir},
        {"mkfifo", MAKES, call_mkfifo},
        {"mknod", MAKES, call_mknod},
        {"symlink", MAKES, call_symlink},
        {"link-from", NEEDS, call_link_from},
        {"link-to", MAKES, call_link_to},
        {"rename-from", NEEDS | REMOVES, call_rename_from},
        {"rename-to", 0, call_rename_to},
        {"bind", MAKES | IS_SHORT, call_bind},
        {"getxattr", NEEDS | FOLLOWS, call_getxattr},
        {"setxattr", NEEDS | FOLLOWS, call_setxattr},
        {"listxattr", NEEDS | FOLLOWS, call_listxattr},
        {"removexattr", NEEDS | FOLLOWS, call_removexattr},
};

/* ---- the paths ---- */

struct trial {
        const char *name;
        const char *rule;
        int traits;   /* only calls that have all of these */
        int excluded; /* and none of these */
        void (*check)(const struct call *call);
};

static const char *below(const char *folder)
{
        static char path[2 * NAME_MAX + 16];

        snprintf(path, sizeof(path), "%s/x", folder);
        return path;
}

static void missing_prefix(const struct call *call)
{
        FAILS(call->make("missing/x"), ENOENT);
}

static void file_as_prefix(const struct call *call)
{
        FAILS(call->make("file/x"), ENOTDIR);
        FAILS(call->make("to-file/x"), ENOTDIR);
}

static void loop_as_prefix(const struct call *call)
{
        FAILS(call->make("loop/x"), ELOOP);
}

static void dangling_prefix(const struct call *call)
{
        FAILS(call->make("dangling/x"), ENOENT);
}

static void long_prefix(const struct call *call)
{
        FAILS(call->make(below(repeated('n', NAME_MAX + 1))), ENAMETOOLONG);
}

static void long_name(const struct call *call)
{
        FAILS(call->make(repeated('n', NAME_MAX + 1)), ENAMETOOLONG);
}

static void long_path(const struct call *call)
{
        FAILS(call->make(path_of_length(PATH_MAX, "file")), ENAMETOOLONG);
}

static void empty_path(const struct call *call)
{
        FAILS(call->make(""), ENOENT);
}

static void no_search(const struct call *call)
{
        make_dir_of(&ALICE, "closed", 0700);
        make_file_of(&ALICE, "closed/x", 0666);
        become(&BOB);
        FAILS(call->make("closed/x"), EACCES);
        FAILS(call->make("closed/missing"), EACCES);
        become(&ALICE);
        OK(chmod("closed", 0600));
        FAILS(call->make("closed/x"), EACCES);
}

static void no_write(const struct call *call)
{
        make_dir_of(&ALICE, "closed", 0555);
        become(&BOB);
        FAILS(call->make("closed/new"), EACCES);
        become(&ALICE);
        FAILS(call->make("closed/new"), EACCES);
}

static void no_write_to_remove(const struct call *call)
{
        make_dir_of(&ALICE, "closed", 0700);
        if (call->traits & ON_DIR)
                make_dir_of(&ALICE, "closed/x", 0700);
        else
                make_file_of(&ALICE, "closed/x", 0600);
        OK(chmod("closed", 0555));
        become(&ALICE);
        FAILS(call->make("closed/x"), EACCES);
}

static void missing_name(const struct call *call)
{
        FAILS(call->make("missing"), ENOENT);
        FAILS(call->make("dir/missing"), ENOENT);
}

static void dangling_name(const struct call *call)
{
        FAILS(call->make("dangling"), ENOENT);
}

static void loop_name(const struct call *call)
{
        FAILS(call->make("loop"), ELOOP);
}

static void slash_behind_file(const struct call *call)
{
        FAILS(call->make("file/"), ENOTDIR);
        CHECK(is_kind("file", S_IFREG));
}

static void file_not_directory(const struct call *call)
{
        FAILS(call->make("file"), ENOTDIR);
}

static void there_already(const struct call *call)
{
        FAILS(call->make("file"), EEXIST);
        FAILS(call->make("dir"), EEXIST);
        FAILS(call->make("to-file"), EEXIST);
        FAILS(call->make("dangling"), EEXIST);
        FAILS(call->make("loop"), EEXIST);
        CHECK(!exists("missing"));
}

static const struct trial trials[] = {
        {"missing-prefix", "ENOENT where a directory of the path is not there", 0, 0, missing_prefix},
        {"file-as-prefix", "ENOTDIR where a file, or a link to one, is used as a directory", 0, 0, file_as_prefix},
        {"loop-as-prefix", "ELOOP where a link in the path leads to itself", 0, 0, loop_as_prefix},
        {"dangling-prefix", "ENOENT where a link in the path leads nowhere", 0, 0, dangling_prefix},
        {"long-prefix", "ENAMETOOLONG for a directory's name of NAME_MAX + 1", 0, IS_SHORT, long_prefix},
        {"long-name", "ENAMETOOLONG for a name of NAME_MAX + 1", 0, IS_SHORT, long_name},
        {"long-path", "ENAMETOOLONG for a path of PATH_MAX, the NUL not counted", 0, IS_SHORT, long_path},
        {"empty-path", "ENOENT for the empty path", 0, IS_SHORT, empty_path},
        {"no-search", "EACCES where a directory of the path may not be searched", 0, 0, no_search},
        {"no-write", "EACCES where an entry would be made in a directory that may not be written", MAKES, 0, no_write},
        {"no-write-to-remove", "EACCES where an entry would go from a directory that may not be written", REMOVES, 0,
         no_write_to_remove},
        {"missing-name", "ENOENT where there is nothing of that name", NEEDS, 0, missing_name},
        {"dangling-name", "ENOENT where the link that is followed leads nowhere", NEEDS | FOLLOWS, 0, dangling_name},
        {"loop-name", "ELOOP where the link that is followed leads to itself", FOLLOWS, 0, loop_name},
        {"slash-behind-file", "ENOTDIR for a file's name with a slash behind it", NEEDS, 0, slash_behind_file},
        {"file-not-directory", "ENOTDIR for a file where only a directory will do", NEEDS | ON_DIR, 0,
         file_not_directory},
        {"there-already", "EEXIST where the new name is there, be it a link that leads nowhere", MAKES, 0,
         there_already},
};

/* ---- the cases ---- */

struct pair {
        const struct call *call;
        const struct trial *trial;
        char id[64];
        struct posix_case made;
};

static void check_pair(const void *argument)
{
        const struct pair *pair = argument;

        make_some();
        make_file("spare", 0666);
        pair->trial->check(pair->call);
}

static struct pair pairs[sizeof(calls) / sizeof(calls[0]) * (sizeof(trials) / sizeof(trials[0]))];

static void __attribute__((constructor)) add_pairs(void)
{
        struct pair *pair = pairs;

        for (const struct trial *trial = trials; trial < trials + sizeof(trials) / sizeof(trials[0]); trial++)
                for (const struct call *call = calls; call < calls + sizeof(calls) / sizeof(calls[0]); call++) {
                        if ((call->traits & trial->traits) != trial->traits || (call->traits & trial->excluded))
                                continue;
                        pair->call = call;
                        pair->trial = trial;
                        snprintf(pair->id, sizeof(pair->id), "path.%s.%s", trial->name, call->name);
                        pair->made = (struct posix_case){pair->id, trial->rule, check_pair, pair, NULL};
                        posix_add(&pair->made);
                        pair++;
                }
}
