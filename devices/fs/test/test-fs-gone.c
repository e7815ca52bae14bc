/* SPDX-License-Identifier: BSD-2-Clause */

/* The host removes or replaces files that the guest has looked up. The guest learns that its file is gone before it
 * writes there, unless it has the file open. */

#include "base/cleanup.h"
#include "devices/fs/core/state.h"
#include "devices/fs/files/expire.h"
#include "devices/fs/test/test-requests.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static const enum fs_cache caches[] = {FS_CACHE_AUTO, FS_CACHE_ALWAYS, FS_CACHE_NEVER, FS_CACHE_METADATA};
static const enum fs_handles handles[] = {FS_HANDLES_NEVER, FS_HANDLES_PREFER, FS_HANDLES_MANDATORY};

static void for_each_mode(void (*check)(struct client *client))
{
        struct client client;

        for (size_t i = 0; i < ARRAY_SIZE(caches); i++)
                for (size_t j = 0; j < ARRAY_SIZE(handles); j++) {
                        /* Opening files by handle takes a capability of root's. */
                        if (handles[j] == FS_HANDLES_MANDATORY && geteuid() != 0)
                                continue;
                        client_begin(&client, &(struct fs_options){.cache = caches[i],
                                                                   .file_handles = handles[j],
                                                                   .xattr = true,
                                                                   .writeback = true});
                        check(&client);
                        client_end(&client);
                }
}

static void remove_name(struct client *client, const char *name)
{
        assert_int_equal(unlinkat(client->share_fd, name, 0), 0);
}

/* Replaces a file as an editor or git does. */
static void replace(struct client *client, const char *name)
{
        client_make_file(client, "new", "new");
        assert_int_equal(renameat(client->share_fd, "new", client->share_fd, name), 0);
}

static void check_file_is_gone(struct client *client, uint64_t node)
{
        static const uint32_t flags[] = {O_WRONLY, O_RDWR, O_WRONLY | O_APPEND, O_WRONLY | O_TRUNC};
        const struct fuse_setattr_in shorter = {.valid = FATTR_SIZE}, mode = {.valid = FATTR_MODE, .mode = 0600};
        struct fuse_entry_out entry;
        struct fuse_attr attr;
        char names[64];

        for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
                assert_int_equal(client_open(client, FUSE_OPEN, node, flags[i], NULL), -ESTALE);
        assert_int_equal(request_setattr(client, node, shorter, &attr), -ESTALE);
        assert_int_equal(request_setattr(client, node, mode, &attr), -ESTALE);
        assert_int_equal(request_setxattr(client, node, "user.x", "1", 1, 0), -ESTALE);
        assert_int_equal(request_removexattr(client, node, "user.x"), -ESTALE);
        assert_int_equal(request_listxattr(client, node, names, sizeof(names)), -ESTALE);
        assert_int_equal(request_link(client, node, FUSE_ROOT_ID, "link", &entry), -ESTALE);
}

static void check_files(struct client *client)
{
        static void (*const changes[])(struct client * client, const char *name) = {remove_name, replace};

        for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
                client_make_file(client, "f", "old");

                const uint64_t node = client_node(client, FUSE_ROOT_ID, "f");

                /* Parks its descriptor. */
                assert_int_equal(client_release(client, FUSE_RELEASE, client_handle(client, node, O_RDONLY)), 0);
                changes[i](client, "f");
                check_file_is_gone(client, node);
                client_make_file(client, "f", "new");

                const uint64_t found = client_node(client, FUSE_ROOT_ID, "f");

                assert_int_not_equal(found, node);
                assert_int_equal(client_release(client, FUSE_RELEASE, client_handle(client, found, O_RDWR)), 0);
                client_forget(client, node, 1);
                client_forget(client, found, 1);
        }
}

/* While a name is given to one file after the other, it can always be opened for reading: the guest's kernel looks
 * it up again once. A writer gets ESTALE each time. */
static void check_files_in_turn(struct client *client)
{
        client_make_file(client, "f", "old");

        const uint64_t first = client_node(client, FUSE_ROOT_ID, "f");

        replace(client, "f");
        assert_int_equal(client_open(client, FUSE_OPEN, first, O_RDONLY, NULL), -ESTALE);
        assert_int_equal(client_open(client, FUSE_OPEN, first, O_RDONLY, NULL), -ESTALE);
        for (int round = 0; round < 2; round++) {
                const uint64_t next = client_node(client, FUSE_ROOT_ID, "f");
                uint64_t fh = 0;

                replace(client, "f");
                if (round == 1)
                        assert_int_equal(client_open(client, FUSE_OPEN, next, O_RDWR, NULL), -ESTALE);
                assert_true(client_open(client, FUSE_OPEN, next, O_RDONLY, &fh) >= 0);
                assert_int_equal(client_release(client, FUSE_RELEASE, fh), 0);
                assert_int_equal(client_open(client, FUSE_OPEN, next, O_RDONLY, NULL), -ESTALE);
        }
}

/* A process that got ESTALE, and has found a file by that, gets ESTALE for the next one too. */
static void check_told_again(struct client *client)
{
        uint64_t fh, next;

        client_make_file(client, "f", "old");

        const uint64_t first = client_node(client, FUSE_ROOT_ID, "f");

        replace(client, "f");
        assert_int_equal(client_open(client, FUSE_OPEN, first, O_RDONLY, NULL), -ESTALE);
        next = client_node(client, FUSE_ROOT_ID, "f");
        fh = client_handle(client, next, O_RDONLY);
        assert_int_equal(client_release(client, FUSE_RELEASE, fh), 0);
        replace(client, "f");
        assert_int_equal(client_open(client, FUSE_OPEN, next, O_RDONLY, NULL), -ESTALE);
}

/* On a busy host, or in a guest that is paused, the second lookup may come seconds later. */
static void test_a_slow_guest_looks_up_anew(void **state)
{
        struct client client;
        uint64_t fh, next;

        client_begin(&client, &(struct fs_options){.cache = FS_CACHE_NEVER});
        client_make_file(&client, "f", "old");

        const uint64_t first = client_node(&client, FUSE_ROOT_ID, "f");

        replace(&client, "f");
        assert_int_equal(client_open(&client, FUSE_OPEN, first, O_RDONLY, NULL), -ESTALE);
        usleep(1200000);
        next = client_node(&client, FUSE_ROOT_ID, "f");
        replace(&client, "f");
        assert_true(client_open(&client, FUSE_OPEN, next, O_RDONLY, &fh) >= 0);
        assert_int_equal(client_release(&client, FUSE_RELEASE, fh), 0);
        client_end(&client);
}

/* ESTALE for one process does not count for another. */
static void check_files_of_two(struct client *client)
{
        uint64_t fh;

        client_make_file(client, "f", "old");
        client_make_file(client, "g", "old");

        const uint64_t f = client_node(client, FUSE_ROOT_ID, "f");

        replace(client, "f");
        client->pid = 1;
        assert_int_equal(client_open(client, FUSE_OPEN, f, O_RDONLY, NULL), -ESTALE);

        const uint64_t g = client_node(client, FUSE_ROOT_ID, "g");

        replace(client, "g");
        client->pid = 2;
        assert_int_equal(client_open(client, FUSE_OPEN, g, O_RDONLY, NULL), -ESTALE);
        client->pid = 1;
        assert_true(client_open(client, FUSE_OPEN, g, O_RDONLY, &fh) >= 0);
        assert_int_equal(client_release(client, FUSE_RELEASE, fh), 0);
}

static void put_link(struct client *client, const char *target)
{
        assert_int_equal(symlinkat(target, client->share_fd, "link.new"), 0);
        assert_int_equal(renameat(client->share_fd, "link.new", client->share_fd, "link"), 0);
}

static void put_directory(struct client *client)
{
        unlinkat(client->share_fd, "directory", AT_REMOVEDIR);
        assert_int_equal(mkdirat(client->share_fd, "directory", 0700), 0);
}

/* A process that got ESTALE for a link, and has read the next one, gets ESTALE for that one too. */
static void check_link_told_again(struct client *client)
{
        char target[8];
        uint64_t link;

        put_link(client, "1");
        link = client_node(client, FUSE_ROOT_ID, "link");
        put_link(client, "2");
        assert_int_equal(client_call(client, FUSE_READLINK, link, NULL, target, sizeof(target)), -ESTALE);
        link = client_node(client, FUSE_ROOT_ID, "link");
        assert_int_equal(client_call(client, FUSE_READLINK, link, NULL, target, sizeof(target)), 1);
        put_link(client, "3");
        assert_int_equal(client_call(client, FUSE_READLINK, link, NULL, target, sizeof(target)), -ESTALE);
}

/* A process that got ESTALE for a file may read links on the way to it. */
static void check_link_on_the_way(struct client *client)
{
        char target[8];
        uint64_t file, link, fh;

        client_make_file(client, "f", "old");
        put_link(client, "f");
        file = client_node(client, FUSE_ROOT_ID, "f");
        replace(client, "f");
        assert_int_equal(client_open(client, FUSE_OPEN, file, O_RDONLY, NULL), -ESTALE);
        link = client_node(client, FUSE_ROOT_ID, "link");
        assert_int_equal(client_call(client, FUSE_READLINK, link, NULL, target, sizeof(target)), 1);
        file = client_node(client, FUSE_ROOT_ID, "f");
        replace(client, "f");
        assert_true(client_open(client, FUSE_OPEN, file, O_RDONLY, &fh) >= 0);
        assert_int_equal(client_release(client, FUSE_RELEASE, fh), 0);
}

/* Links and directories alike. */
static void check_others_in_turn(struct client *client)
{
        char target[8];
        uint64_t fh;

        put_link(client, "1");
        put_directory(client);

        uint64_t link = client_node(client, FUSE_ROOT_ID, "link"),
                 directory = client_node(client, FUSE_ROOT_ID, "directory");

        put_link(client, "2");
        assert_int_equal(client_call(client, FUSE_READLINK, link, NULL, target, sizeof(target)), -ESTALE);
        link = client_node(client, FUSE_ROOT_ID, "link");
        put_link(client, "3");
        assert_int_equal(client_call(client, FUSE_READLINK, link, NULL, target, sizeof(target)), 1);
        assert_int_equal(target[0], '2');
        put_directory(client);
        assert_int_equal(client_open(client, FUSE_OPENDIR, directory, 0, NULL), -ESTALE);
        directory = client_node(client, FUSE_ROOT_ID, "directory");
        put_directory(client);
        assert_true(client_open(client, FUSE_OPENDIR, directory, 0, &fh) >= 0);
        assert_int_equal(client_release(client, FUSE_RELEASEDIR, fh), 0);
}

/* With descriptors: a file without a name can't be opened by its handle. */
static void test_files_in_turn(void **state)
{
        static void (*const checks[])(struct client * client) = {check_files_in_turn,   check_told_again,
                                                                 check_files_of_two,    check_link_told_again,
                                                                 check_link_on_the_way, check_others_in_turn};
        struct client client;

        for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
                client_begin(&client, &(struct fs_options){.file_handles = FS_HANDLES_NEVER});
                checks[i](&client);
                client_end(&client);
        }
}

/* A directory that is removed while it is read is at its end. */
static void test_directory_that_is_read(void **state)
{
        struct client client;
        char answer[4096], name[8];
        uint64_t fh;

        client_begin(&client, NULL);
        assert_int_equal(mkdirat(client.share_fd, "d", 0700), 0);

        int directory = openat(client.share_fd, "d", O_RDONLY | O_DIRECTORY);

        for (int i = 0; i < 100; i++) {
                snprintf(name, sizeof(name), "%d", i);
                assert_int_equal(symlinkat("x", directory, name), 0);
        }
        assert_true(client_open(&client, FUSE_OPENDIR, client_node(&client, FUSE_ROOT_ID, "d"), 0, &fh) >= 0);
        assert_true(client_read(&client, FUSE_READDIR, fh, 0, answer, 512) > 0);

        const struct fuse_dirent *first = (const void *)answer;

        for (int i = 0; i < 100; i++) {
                snprintf(name, sizeof(name), "%d", i);
                assert_int_equal(unlinkat(directory, name, 0), 0);
        }
        close(directory);
        assert_int_equal(unlinkat(client.share_fd, "d", AT_REMOVEDIR), 0);

        ssize_t r = client_read(&client, FUSE_READDIR, fh, first->off, answer, 512);

        assert_true(r == 0 || r == -ENOENT);
        client_end(&client);
}

/* ---- where the housekeeper and the guest meet ---- */

/* The results of statx(), and a function that runs while it is called. */
static struct {
        bool no_links; /* as on a file system that does not count links */
        void (*meanwhile)(void);
} host;

static struct {
        struct client *client;
        uint64_t node_id;
        struct node request;
} under_way;

int statx(int dir, const char *restrict path, int flags, unsigned mask, struct statx *restrict out)
{
        long r = syscall(SYS_statx, dir, path, flags, mask, out);
        void (*meanwhile)(void) = host.meanwhile;

        if (r == 0 && host.no_links)
                out->stx_nlink = 0;
        host.meanwhile = NULL;
        if (meanwhile)
                meanwhile();
        return (int)r;
}

int fstat(int fd, struct stat *out)
{
        long r = syscall(SYS_fstat, fd, out);

        if (r == 0 && host.no_links)
                out->st_nlink = 0;
        return (int)r;
}

/* A file system in user space often counts no links: a file with a name is not gone there. */
static void test_no_links_are_counted(void **state)
{
        struct client client;
        struct test_created unnamed;
        uint64_t fh;

        host.no_links = true;
        client_begin(&client, NULL);
        client_make_file(&client, "f", "x");
        assert_int_equal(mkdirat(client.share_fd, "d", 0700), 0);

        const uint64_t f = client_node(&client, FUSE_ROOT_ID, "f"), d = client_node(&client, FUSE_ROOT_ID, "d");

        assert_int_equal(client_release(&client, FUSE_RELEASE, client_handle(&client, f, O_RDWR)), 0);
        assert_int_equal(fs_expire(client.fs) < 0, false);
        assert_int_equal(client_release(&client, FUSE_RELEASE, client_handle(&client, f, O_RDONLY)), 0);
        assert_true(client_open(&client, FUSE_OPENDIR, d, 0, &fh) >= 0);
        assert_int_equal(client_release(&client, FUSE_RELEASEDIR, fh), 0);
        /* A file that never had a name. */
        assert_true(request_tmpfile(&client, FUSE_ROOT_ID, O_RDWR, 0600, &unnamed) > 0);
        assert_int_equal(client_release(&client, FUSE_RELEASE, unnamed.open.fh), 0);
        assert_int_equal(client_open(&client, FUSE_OPEN, unnamed.entry.nodeid, O_RDWR, NULL), -ESTALE);
        host.no_links = false;
        client_end(&client);
}

static void begin_and_forget(void)
{
        assert_int_equal(node_get(under_way.client->fs, under_way.node_id, &under_way.request), 0);
        client_forget(under_way.client, under_way.node_id, 1);
}

/* The guest forgets a node while a request for it is in progress and the housekeeper checks it: the request keeps
 * its descriptor. */
static void test_housekeeper_and_request(void **state)
{
        struct client client;

        client_begin(&client, NULL);
        client_make_file(&client, "f", "old");
        under_way.client = &client;
        under_way.node_id = client_node(&client, FUSE_ROOT_ID, "f");
        remove_name(&client, "f");
        host.meanwhile = begin_and_forget;
        fs_expire(client.fs);
        assert_null(host.meanwhile);
        assert_true(fcntl(under_way.request.fd, F_GETFD) >= 0);
        node_put(&under_way.request);
        assert_int_equal(client.fs->held_fds, 1);
        client_end(&client);
}

static void test_files(void **state)
{
        for_each_mode(check_files);
}

/* Under another name, or under none as long as it is open, a file stays what it was. */
static void check_what_stays(struct client *client)
{
        struct test_created unnamed;
        struct fuse_entry_out entry;
        struct fuse_attr attr;
        char got[8] = "";

        client_make_file(client, "f", "old");
        assert_int_equal(linkat(client->share_fd, "f", client->share_fd, "g", 0), 0);

        const uint64_t node = client_node(client, FUSE_ROOT_ID, "f");

        remove_name(client, "f");

        const uint64_t fh = client_handle(client, node, O_RDONLY);

        remove_name(client, "g");

        const uint64_t other = client_handle(client, node, O_RDWR);

        assert_int_equal(client_release(client, FUSE_RELEASE, fh), 0);
        assert_int_equal(client_write(client, other, 0, "new", 3, 0, 0), 3);
        assert_int_equal(client_read(client, FUSE_READ, other, 0, got, sizeof(got)), 3);
        assert_true(request_setattr(client, node, (struct fuse_setattr_in){.valid = FATTR_SIZE}, &attr) > 0);
        assert_int_equal(attr.nlink, 0);
        assert_int_equal(client_release(client, FUSE_RELEASE, other), 0);
        check_file_is_gone(client, node);
        client_forget(client, node, 1);

        assert_true(request_tmpfile(client, FUSE_ROOT_ID, O_RDWR, 0600, &unnamed) > 0);
        assert_int_equal(client_release(client, FUSE_RELEASE, client_handle(client, unnamed.entry.nodeid, O_RDONLY)),
                         0);
        assert_true(request_link(client, unnamed.entry.nodeid, FUSE_ROOT_ID, "f", &entry) > 0);
        remove_name(client, "f");
}

static void test_what_stays(void **state)
{
        for_each_mode(check_what_stays);
}

static void check_directory_is_gone(struct client *client, uint64_t d, uint64_t file)
{
        const struct fuse_mknod_in mknod = {.mode = S_IFREG | 0600};
        const struct fuse_rename_in from = {.newdir = FUSE_ROOT_ID}, to = {.newdir = d};
        struct fuse_entry_out entry;
        struct test_created created;

        assert_int_equal(client_lookup(client, d, "x", NULL), -ESTALE);
        assert_int_equal(request_create(client, test_root, d, "x", O_RDWR, 0600, &created), -ESTALE);
        assert_int_equal(request_tmpfile(client, d, O_RDWR, 0600, &created), -ESTALE);
        assert_int_equal(request_mkdir(client, test_root, d, "x", 0700, &entry), -ESTALE);
        assert_int_equal(client_call(client, FUSE_MKNOD, d, BODY(START(mknod), .name = "x"), &entry, sizeof(entry)),
                         -ESTALE);
        assert_int_equal(
                client_call(client, FUSE_SYMLINK, d, BODY(.name = "x", .second_name = "y"), &entry, sizeof(entry)),
                -ESTALE);
        assert_int_equal(request_link(client, file, d, "x", &entry), -ESTALE);
        assert_int_equal(request_unlink(client, d, "x"), -ESTALE);
        assert_int_equal(client_call(client, FUSE_RMDIR, d, BODY(.name = "x"), NULL, 0), -ESTALE);
        assert_int_equal(
                client_call(client, FUSE_RENAME, d, BODY(START(from), .name = "x", .second_name = "y"), NULL, 0),
                -ESTALE);
        assert_int_equal(client_call(client, FUSE_RENAME, FUSE_ROOT_ID,
                                     BODY(START(to), .name = "file", .second_name = "y"), NULL, 0),
                         -ESTALE);
        assert_int_equal(client_open(client, FUSE_OPENDIR, d, 0, NULL), -ESTALE);
}

static void check_directories(struct client *client)
{
        struct fuse_entry_out entry;
        uint64_t fh;

        client_make_file(client, "file", "");
        assert_int_equal(mkdirat(client->share_fd, "d", 0700), 0);

        const uint64_t d = client_node(client, FUSE_ROOT_ID, "d"), file = client_node(client, FUSE_ROOT_ID, "file");

        assert_int_equal(client_lookup(client, d, "x", NULL), -ENOENT);
        assert_true(client_open(client, FUSE_OPENDIR, d, 0, &fh) > 0);
        assert_int_equal(unlinkat(client->share_fd, "d", AT_REMOVEDIR), 0);
        assert_int_equal(mkdirat(client->share_fd, "d", 0700), 0);
        /* An open one is an empty directory in which nothing can be made. */
        assert_int_equal(client_lookup(client, d, "x", NULL), -ENOENT);
        assert_int_equal(request_mkdir(client, test_root, d, "x", 0700, &entry), -ENOENT);
        assert_int_equal(client_release(client, FUSE_RELEASEDIR, fh), 0);
        check_directory_is_gone(client, d, file);

        const uint64_t found = client_node(client, FUSE_ROOT_ID, "d");

        assert_int_not_equal(found, d);
        assert_int_equal(client_lookup(client, found, "x", NULL), -ENOENT);
        client_forget(client, d, 1);
        client_forget(client, found, 1);
}

static void test_directories(void **state)
{
        for_each_mode(check_directories);
}

/* "..data" of a ConfigMap: the link is read each time, as it may have been replaced. */
static void check_links(struct client *client)
{
        char target[8] = "";

        assert_int_equal(client->flags & FUSE_CACHE_SYMLINKS, 0);
        assert_int_equal(symlinkat("one", client->share_fd, "..data"), 0);

        const uint64_t old = client_node(client, FUSE_ROOT_ID, "..data");

        assert_int_equal(client_call(client, FUSE_READLINK, old, NULL, target, sizeof(target)), 3);
        assert_int_equal(symlinkat("two", client->share_fd, "..data_tmp"), 0);
        assert_int_equal(renameat(client->share_fd, "..data_tmp", client->share_fd, "..data"), 0);
        assert_int_equal(client_call(client, FUSE_READLINK, old, NULL, target, sizeof(target)), -ESTALE);

        const uint64_t new = client_node(client, FUSE_ROOT_ID, "..data");

        assert_int_equal(client_call(client, FUSE_READLINK, new, NULL, target, sizeof(target)), 3);
        assert_string_equal(target, "two");
}

static void test_links(void **state)
{
        for_each_mode(check_links);
}

/* Times of a file that the guest has removed and has no handle of: no error, which would go to somebody else. */
static void check_times_of_writeback(struct client *client)
{
        const struct fuse_setattr_in brought = {.valid = FATTR_MTIME | FATTR_CTIME, .mtime = 1, .ctime = 1},
                                     set = {.valid = FATTR_MTIME | FATTR_ATIME, .mtime = 1, .atime = 1};
        struct fuse_attr attr;

        for (int writeback = 0; writeback < 2; writeback++) {
                assert_true(client_init_as(client, UINT64_MAX & ~(writeback ? 0 : (uint64_t)FUSE_WRITEBACK_CACHE)) > 0);
                client_make_file(client, "f", "");

                const uint64_t f = client_node(client, FUSE_ROOT_ID, "f");

                assert_int_equal(client_release(client, FUSE_RELEASE, client_handle(client, f, O_RDWR)), 0);
                assert_int_equal(request_unlink(client, FUSE_ROOT_ID, "f"), 0);
                assert_int_equal(request_setattr(client, f, brought, &attr) > 0, writeback);
                if (writeback)
                        assert_int_equal(attr.mode & S_IFMT, S_IFREG);
                assert_int_equal(request_setattr(client, f, set, &attr), -ESTALE);
                assert_int_equal(request_setattr(client, 12345, brought, &attr), -ESTALE);
        }
}

static void test_times_of_writeback(void **state)
{
        for_each_mode(check_times_of_writeback);
}

/* Only open handles count: not after a session's end, and not for a guest that forgets an open file's node. */
static void test_counts(void **state)
{
        struct client client;
        uint64_t fh;

        client_begin(&client, NULL);
        client_make_file(&client, "f", "");
        assert_true(client_open(&client, FUSE_OPENDIR, FUSE_ROOT_ID, 0, &fh) > 0);

        uint64_t node = client_node(&client, FUSE_ROOT_ID, "f");

        client_handle(&client, node, O_RDWR);
        fs_reset(client.fs);
        assert_true(client_init(&client) > 0);
        node = client_node(&client, FUSE_ROOT_ID, "f");
        fh = client_handle(&client, node, O_RDWR);
        client_forget(&client, node, 1);
        node = client_node(&client, FUSE_ROOT_ID, "f");
        assert_int_equal(client_release(&client, FUSE_RELEASE, fh), 0);
        remove_name(&client, "f");
        check_file_is_gone(&client, node);
        /* The share itself. */
        assert_int_equal(rmdir(client.share), 0);
        assert_int_equal(client_open(&client, FUSE_OPENDIR, FUSE_ROOT_ID, 0, NULL), -ESTALE);
        assert_int_equal(mkdir(client.share, 0700), 0);
        client_end(&client);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_files),
                counted_test(test_files_in_turn),
                counted_test(test_a_slow_guest_looks_up_anew),
                counted_test(test_what_stays),
                counted_test(test_directories),
                counted_test(test_links),
                counted_test(test_counts),
                counted_test(test_times_of_writeback),
                counted_test(test_directory_that_is_read),
                counted_test(test_no_links_are_counted),
                counted_test(test_housekeeper_and_request),
        };

        return run_counted("fs-gone", tests);
}
