/* SPDX-License-Identifier: BSD-2-Clause */

/* However long a guest looks up and forgets, only as many descriptors are open as it has files. */

#include "base/cleanup.h"
#include "base/fd.h"
#include "devices/fs/test/test-requests.h"
#include "program/sanitized.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
        FILES = 2000,
        PARKED = 1024,
        IN_FOLDER = 50,
        BATCH = 64,
        ROUNDS = SANITIZED ? 50000 : 1000000,
        CHECKED = ROUNDS / 10,
        ROUNDS_BY_HANDLE = ROUNDS / 10,
};

/* A guest that forgets some nodes at once and others in batches. */
struct guest {
        struct client client;
        uint64_t folder;
        struct fuse_forget_one batch[BATCH];
        uint32_t n;
        uint64_t lookups, forgets;
        int before; /* descriptors at the start */
};

static struct test_path file_name(unsigned number)
{
        struct test_path name;

        snprintf(name.text, sizeof(name.text), "f%u", number % FILES);
        return name;
}

static void guest_begin(struct guest *guest, const struct fs_options *options)
{
        *guest = (struct guest){0};
        client_begin(&guest->client, options);
        assert_int_equal(mkdirat(guest->client.share_fd, "folder", 0700), 0);
        for (unsigned i = 0; i < FILES; i++)
                client_make_file(&guest->client, file_name(i).text, "x");
        for (unsigned i = 0; i < IN_FOLDER; i++) {
                struct test_path name;

                snprintf(name.text, sizeof(name.text), "folder/%u", i);
                client_make_file(&guest->client, name.text, "");
        }
        guest->folder = client_node(&guest->client, FUSE_ROOT_ID, "folder");
        guest->before = client_fds();
}

static void forget_batch(struct guest *guest)
{
        const struct fuse_batch_forget_in in = {.count = guest->n};
        const struct test_body body = {START(in), .data = guest->batch,
                                       .data_size = guest->n * sizeof(guest->batch[0])};

        if (guest->n > 0)
                assert_int_equal(client_call(&guest->client, FUSE_BATCH_FORGET, 0, &body, NULL, 0), 0);
        guest->forgets += guest->n;
        guest->n = 0;
}

static void forget_later(struct guest *guest, uint64_t nodeid)
{
        guest->batch[guest->n++] = (struct fuse_forget_one){.nodeid = nodeid, .nlookup = 1};
        if (guest->n == BATCH)
                forget_batch(guest);
}

static void forget(struct guest *guest, uint64_t nodeid)
{
        assert_int_equal(client_forget(&guest->client, nodeid, 1), 0);
        guest->forgets++;
}

static uint64_t look_up(struct guest *guest, unsigned number)
{
        guest->lookups++;
        return client_node(&guest->client, FUSE_ROOT_ID, file_name(number).text);
}

static void open_and_release(struct guest *guest, uint64_t nodeid, uint32_t flags)
{
        const uint64_t fh = client_handle(&guest->client, nodeid, flags);

        assert_int_equal(client_release(&guest->client, FUSE_RELEASE, fh), 0);
}

static void create_and_unlink(struct guest *guest)
{
        struct test_created out;

        assert_true(request_create(&guest->client, test_root, guest->folder, "new", O_RDWR, 0600, &out) > 0);
        guest->lookups++;
        assert_int_equal(request_unlink(&guest->client, guest->folder, "new"), 0);
        assert_int_equal(client_release(&guest->client, FUSE_RELEASE, out.open.fh), 0);
        forget_later(guest, out.entry.nodeid);
}

/* Every entry but "." and ".." is a lookup. Returns the offset to go on from, and 0 at the end. */
static uint64_t list_some(struct guest *guest, uint64_t fh, uint64_t offset)
{
        char space[2048];
        ssize_t size = client_read(&guest->client, FUSE_READDIRPLUS, fh, offset, space, sizeof(space));

        assert_true(size >= 0);
        offset = 0;
        for (ssize_t at = 0; at < size;) {
                struct fuse_direntplus entry;

                assert_true(at + (ssize_t)FUSE_NAME_OFFSET_DIRENTPLUS <= size);
                memcpy(&entry, space + at, FUSE_NAME_OFFSET_DIRENTPLUS);
                offset = entry.dirent.off;
                at += (ssize_t)FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET_DIRENTPLUS + entry.dirent.namelen);
                if (entry.entry_out.nodeid == 0)
                        continue;
                guest->lookups++;
                forget_later(guest, entry.entry_out.nodeid);
        }
        return offset;
}

static void list_folder(struct guest *guest)
{
        const uint64_t looked_up = guest->lookups;
        uint64_t fh, offset = 0;

        assert_true(client_open(&guest->client, FUSE_OPENDIR, guest->folder, O_RDONLY, &fh) > 0);
        do
                offset = list_some(guest, fh, offset);
        while (offset != 0);
        assert_int_equal(client_release(&guest->client, FUSE_RELEASEDIR, fh), 0);
        assert_int_equal(guest->lookups - looked_up, IN_FOLDER);
}

static void do_one(struct guest *guest, unsigned number)
{
        const uint64_t nodeid = look_up(guest, number);

        if (number % 4 == 0)
                assert_int_equal(client_lookup(&guest->client, FUSE_ROOT_ID, "nothing", NULL), -ENOENT);
        if (number % 4 == 1)
                assert_int_equal(client_lookup(&guest->client, nodeid, "nothing", NULL), -ENOTDIR);
        if (number % 8 == 2)
                open_and_release(guest, nodeid, number % 3 ? O_RDONLY : O_RDWR);
        if (number % 16 == 5)
                create_and_unlink(guest);
        if (number % 1000 == 6)
                list_folder(guest);
        if (number % 2)
                forget(guest, nodeid);
        else
                forget_later(guest, nodeid);
}

static void check_flat(struct guest *guest)
{
        /* Parked files belong to nodes that are not forgotten yet. */
        assert_between(client_fds(), guest->before, guest->before + 2 * BATCH);
        forget_batch(guest);
        assert_int_equal(guest->lookups, guest->forgets);
        assert_int_equal(client_fds(), guest->before);
}

static void walk(struct guest *guest, unsigned rounds)
{
        for (unsigned i = 1; i <= rounds; i++) {
                do_one(guest, i);
                if (i % CHECKED == 0)
                        check_flat(guest);
        }
        check_flat(guest);
        assert_true(guest->forgets >= rounds);
}

static void test_flat(void **state)
{
        struct guest guest;

        guest_begin(&guest, NULL);
        walk(&guest, ROUNDS);
        client_end(&guest.client);
}

/* Files that are looked up have no descriptor, only their file system has. */
static void test_flat_by_handle(void **state)
{
        union {
                struct file_handle handle;
                char space[sizeof(struct file_handle) + MAX_HANDLE_SZ];
        } place = {.handle.handle_bytes = MAX_HANDLE_SZ};
        struct guest guest;
        int mount;
        _cleanup_(fd_closep) int tmp = open("/tmp", O_RDONLY | O_CLOEXEC);

        if (name_to_handle_at(tmp, "", &place.handle, &mount, AT_EMPTY_PATH) < 0)
                skip();

        _cleanup_(fd_closep) int opened = open_by_handle_at(tmp, &place.handle, O_PATH | O_CLOEXEC);

        if (opened < 0)
                skip();
        guest_begin(&guest, &(struct fs_options){.file_handles = FS_HANDLES_MANDATORY});
        for (unsigned i = 0; i < BATCH - 1; i++)
                forget_later(&guest, look_up(&guest, i));
        assert_int_equal(client_fds(), guest.before);
        walk(&guest, ROUNDS_BY_HANDLE);
        client_end(&guest.client);
}

/* More files are closed than can be parked; parked ones are closed when their nodes are forgotten. */
static void test_parked(void **state)
{
        static uint64_t nodes[FILES];
        struct guest guest;

        /* A quarter of them may be parked. */
        guest_begin(&guest, &(struct fs_options){.max_open = 4 * PARKED});
        for (int round = 0; round < 3; round++) {
                for (unsigned i = 0; i < FILES; i++)
                        nodes[i] = look_up(&guest, i);
                assert_int_equal(client_fds(), guest.before + FILES);
                for (unsigned i = 0; i < FILES; i++)
                        open_and_release(&guest, nodes[i], O_RDONLY);
                assert_int_equal(client_fds(), guest.before + FILES + PARKED);
                /* One for each node, which displaces no other. */
                for (unsigned i = 0; i < 2 * PARKED; i++)
                        open_and_release(&guest, nodes[FILES - 1 - i % 10], O_RDONLY);
                assert_int_equal(client_fds(), guest.before + FILES + PARKED);
                for (unsigned i = 0; i < FILES; i++)
                        forget_later(&guest, nodes[i]);
                forget_batch(&guest);
                assert_int_equal(client_fds(), guest.before);
        }
        client_end(&guest.client);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_flat),
                counted_test(test_flat_by_handle),
                counted_test(test_parked),
        };
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < 2 * FILES) {
                limit.rlim_cur = limit.rlim_max < 2 * FILES ? limit.rlim_max : 2 * FILES;
                setrlimit(RLIMIT_NOFILE, &limit);
        }
        return run_counted("fs-flat", tests);
}
