/* SPDX-License-Identifier: BSD-2-Clause */

/* A guest that requests everything, and a program of the host that swaps the files it requests for ways out of the
 * share, both as fast as they can, for ORIEL_ATTACK_SECONDS. */

#include "base/cleanup.h"
#include "base/fd.h"
#include "devices/fs/test/test-requests.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SECRET "the secret of the host"

enum {
        GUESTS = 3,
        KNOWN = 16, /* nodes that each has */
};

/* Names that are swapped, and that the guest makes. */
static const char *const names[] = {"d", "l", "f", "s", "m", "n", "o", "p"};
static const char *const ways_up[] = {"..", ".", "", "../outside", "/", "d/../..", "l/secret"};

/* Files in the temporary directory that are not the guest's. */
static const char *const outside[] = {
        "", "outside", "outside/secret", "outside/folder", "outside/folder/secret", "moved", "moved/secret"};

struct attack {
        struct client client;
        char secret_path[96], outside_path[96];
        int moved_fd;
        ino_t forbidden[ARRAY_SIZE(outside)];
        atomic_bool stop;
        atomic_ulong swaps, refusals;
};

struct guest {
        pthread_t thread;
        struct attack *attack;
        uint64_t random;
        uint64_t nodes[KNOWN]; /* 0: none */
        unsigned long reads, made, leaks, entered;
};

/* ---- the host ---- */

static void note(struct attack *attack, int r)
{
        atomic_fetch_add(r == 0 ? &attack->swaps : &attack->refusals, 1);
}

/* The guest may have removed either. */
static void *swap_folder(void *userdata)
{
        struct attack *attack = userdata;
        int share = attack->client.share_fd;

        while (!atomic_load(&attack->stop)) {
                int r = renameat2(share, "d", share, "l", RENAME_EXCHANGE);

                note(attack, r);
                if (r == 0)
                        continue;
                mkdirat(share, "d", 0700);
                (void)!symlinkat(attack->outside_path, share, "l");
        }
        return NULL;
}

static void make_public(int folder)
{
        _cleanup_(fd_closep) int fd = openat(folder, "f", O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

        if (fd >= 0)
                (void)!write(fd, "public", 6);
}

static void *swap_file(void *userdata)
{
        struct attack *attack = userdata;
        int share = attack->client.share_fd;

        while (!atomic_load(&attack->stop)) {
                int r = renameat2(share, "f", share, "s", RENAME_EXCHANGE);

                note(attack, r);
                if (r == 0)
                        continue;
                make_public(share);
                (void)!symlinkat(attack->secret_path, share, "s");
        }
        return NULL;
}

/* Moves it back into the share, whatever the guest has there now. */
static void bring_back(struct attack *attack)
{
        int share = attack->client.share_fd;

        if (renameat(attack->moved_fd, "m", share, "m") < 0)
                renameat2(attack->moved_fd, "m", share, "m", RENAME_EXCHANGE);
}

static void *move_out(void *userdata)
{
        struct attack *attack = userdata;
        int share = attack->client.share_fd;

        while (!atomic_load(&attack->stop)) {
                int r = renameat(share, "m", attack->moved_fd, "m");

                note(attack, r);
                if (r < 0)
                        mkdirat(share, "m", 0700);
                bring_back(attack);
        }
        return NULL;
}

/* ---- the guest ---- */

static unsigned below(struct guest *guest, unsigned limit)
{
        guest->random ^= guest->random << 13;
        guest->random ^= guest->random >> 7;
        guest->random ^= guest->random << 17;
        return (unsigned)(guest->random >> 16) % limit;
}

static const char *any_name(struct guest *guest)
{
        return names[below(guest, ARRAY_SIZE(names))];
}

/* Often the root, or a guest that knows only files gets no further. */
static uint64_t any_node(struct guest *guest)
{
        uint64_t nodeid = guest->nodes[below(guest, KNOWN)];

        return nodeid && below(guest, 3) ? nodeid : FUSE_ROOT_ID;
}

static void keep(struct guest *guest, uint64_t nodeid)
{
        uint64_t *place = &guest->nodes[below(guest, KNOWN)];

        if (*place)
                client_forget(&guest->attack->client, *place, 1);
        *place = nodeid;
}

/* Keeps an entry that came with an answer @r, and checks that it is none of the files outside. */
static void got(struct guest *guest, ssize_t r, const struct fuse_entry_out *entry)
{
        if (r < 0 || entry->nodeid == 0)
                return;
        for (size_t i = 0; i < ARRAY_SIZE(outside); i++)
                guest->leaks += entry->attr.ino == guest->attack->forbidden[i];
        guest->entered += S_ISDIR(entry->attr.mode);
        keep(guest, entry->nodeid);
}

static void read_and_write(struct guest *guest, uint64_t fh)
{
        struct client *client = &guest->attack->client;
        char text[64] = "";
        ssize_t r = client_read(client, FUSE_READ, fh, 0, text, sizeof(text));

        guest->reads += r > 0;
        guest->leaks += memmem(text, sizeof(text), "secret", 6) != NULL;
        client_write(client, fh, 0, "guest", 5, O_RDWR, 0);
        client_release(client, FUSE_RELEASE, fh);
}

static void ask_lookup(struct guest *guest)
{
        struct fuse_entry_out entry;
        ssize_t r = request_entry(&guest->attack->client, any_node(guest),
                                  below(guest, 4)   ? any_name(guest)
                                  : below(guest, 2) ? "secret"
                                                    : "folder",
                                  &entry);

        got(guest, r, &entry);
}

static void ask_up(struct guest *guest)
{
        struct fuse_entry_out entry;
        ssize_t r = request_entry(&guest->attack->client, any_node(guest), ways_up[below(guest, ARRAY_SIZE(ways_up))],
                                  &entry);

        guest->leaks += r >= 0;
}

static void ask_open(struct guest *guest)
{
        static const uint32_t flags[] = {O_RDONLY, O_RDWR, O_RDWR | O_TRUNC, O_RDWR | O_APPEND};
        uint64_t fh;

        if (client_open(&guest->attack->client, FUSE_OPEN, any_node(guest), flags[below(guest, 4)], &fh) > 0)
                read_and_write(guest, fh);
}

static void ask_create(struct guest *guest)
{
        static const uint32_t flags[] = {O_RDWR, O_RDWR | O_TRUNC, O_RDWR | O_EXCL};
        struct test_created out;
        ssize_t r = request_create(&guest->attack->client, test_root, any_node(guest), any_name(guest),
                                   flags[below(guest, 3)] | O_CREAT, 0600, &out);

        if (r <= 0)
                return;
        guest->made++;
        read_and_write(guest, out.open.fh);
        got(guest, r, &out.entry);
}

static void ask_mkdir(struct guest *guest)
{
        struct fuse_entry_out entry = {0};
        ssize_t r = request_mkdir(&guest->attack->client, test_root, any_node(guest), any_name(guest), 0700, &entry);

        guest->made += r > 0;
        got(guest, r, &entry);
}

static void ask_symlink(struct guest *guest)
{
        struct fuse_entry_out entry = {0};
        ssize_t r = client_call(&guest->attack->client, FUSE_SYMLINK, any_node(guest),
                                BODY(.name = any_name(guest), .second_name = guest->attack->secret_path), &entry,
                                sizeof(entry));

        got(guest, r, &entry);
}

static void ask_link(struct guest *guest)
{
        struct fuse_entry_out entry = {0};
        ssize_t r = request_link(&guest->attack->client, any_node(guest), any_node(guest), any_name(guest), &entry);

        got(guest, r, &entry);
}

static void ask_remove(struct guest *guest)
{
        client_call(&guest->attack->client, below(guest, 2) ? FUSE_UNLINK : FUSE_RMDIR, any_node(guest),
                    BODY(.name = any_name(guest)), NULL, 0);
}

static void ask_rename(struct guest *guest)
{
        const struct fuse_rename2_in in = {.newdir = any_node(guest), .flags = below(guest, 2) ? RENAME_EXCHANGE : 0};
        const struct test_body body = {START(in), .name = any_name(guest), .second_name = any_name(guest)};

        client_call(&guest->attack->client, FUSE_RENAME2, any_node(guest), &body, NULL, 0);
}

static void ask_setattr(struct guest *guest)
{
        static const uint32_t valid[] = {FATTR_MODE, FATTR_SIZE, FATTR_MTIME, FATTR_UID, FATTR_MODE | FATTR_SIZE};
        const struct fuse_setattr_in in = {
                .valid = valid[below(guest, 5)], .mode = 0777, .size = below(guest, 10), .uid = 0};
        struct fuse_attr attr;

        request_setattr(&guest->attack->client, any_node(guest), in, &attr);
}

static void ask_xattr(struct guest *guest)
{
        request_setxattr(&guest->attack->client, any_node(guest), below(guest, 2) ? "user.a" : "trusted.a", "x", 1, 0);
}

static void list(struct guest *guest, const char *entries, ssize_t size)
{
        for (ssize_t at = 0; at + (ssize_t)FUSE_NAME_OFFSET_DIRENTPLUS <= size;) {
                struct fuse_direntplus entry;

                memcpy(&entry, entries + at, FUSE_NAME_OFFSET_DIRENTPLUS);
                got(guest, size, &entry.entry_out);
                at += (ssize_t)FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET_DIRENTPLUS + entry.dirent.namelen);
        }
}

static void ask_list(struct guest *guest)
{
        struct client *client = &guest->attack->client;
        char entries[4096];
        uint64_t fh;

        if (client_open(client, FUSE_OPENDIR, any_node(guest), O_RDONLY, &fh) <= 0)
                return;
        list(guest, entries, client_read(client, FUSE_READDIRPLUS, fh, 0, entries, sizeof(entries)));
        client_release(client, FUSE_RELEASEDIR, fh);
}

static void *ask(void *userdata)
{
        /* Removals are frequent, so that the number of files stays small. */
        static void (*const asks[])(struct guest *) = {
                ask_lookup, ask_lookup,  ask_lookup,  ask_up,     ask_open,   ask_open,
                ask_create, ask_mkdir,   ask_link,    ask_remove, ask_remove, ask_remove,
                ask_rename, ask_symlink, ask_setattr, ask_xattr,  ask_list,
        };
        struct guest *guest = userdata;

        while (!atomic_load(&guest->attack->stop))
                asks[below(guest, ARRAY_SIZE(asks))](guest);
        for (unsigned i = 0; i < KNOWN; i++)
                if (guest->nodes[i])
                        client_forget(&guest->attack->client, guest->nodes[i], 1);
        return NULL;
}

/* ---- what must stay as it is ---- */

struct seen {
        struct stat stat[ARRAY_SIZE(outside)];
        unsigned entries;
};

static struct seen look(struct attack *attack)
{
        struct seen seen = {0};
        char path[256];

        for (size_t i = 0; i < ARRAY_SIZE(outside); i++) {
                snprintf(path, sizeof(path), "%s/%s", attack->client.top, outside[i]);
                assert_int_equal(lstat(path, &seen.stat[i]), 0);
                if (!S_ISDIR(seen.stat[i].st_mode))
                        continue;

                DIR *dir = opendir(path);

                assert_non_null(dir);
                for (const struct dirent *entry; (entry = readdir(dir));)
                        seen.entries += strcmp(entry->d_name, "m") != 0;
                closedir(dir);
        }
        return seen;
}

static void check_same(const struct seen *before, const struct seen *after)
{
        for (size_t i = 0; i < ARRAY_SIZE(outside); i++) {
                const struct stat *a = &before->stat[i], *b = &after->stat[i];

                assert_int_equal(a->st_ino, b->st_ino);
                assert_int_equal(a->st_mode, b->st_mode);
                assert_int_equal(a->st_uid, b->st_uid);
                /* The attacker's own: "m" is moved there and away, and a file of the guest's may take its place. */
                if (strcmp(outside[i], "moved") == 0)
                        continue;
                assert_int_equal(a->st_nlink, b->st_nlink);
                assert_int_equal(a->st_size, b->st_size);
                assert_memory_equal(&a->st_mtim, &b->st_mtim, sizeof(a->st_mtim));
                assert_memory_equal(&a->st_ctim, &b->st_ctim, sizeof(a->st_ctim));
        }
        assert_int_equal(before->entries, after->entries);
}

static void check_secret(struct attack *attack, const char *name)
{
        char path[256], text[64] = "";

        snprintf(path, sizeof(path), "%s/%s", attack->client.top, name);

        _cleanup_(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);

        assert_int_equal(read(fd, text, sizeof(text)), strlen(SECRET));
        assert_string_equal(text, SECRET);
}

static void attack_begin(struct attack *attack)
{
        struct client *client = &attack->client;
        char path[96];

        *attack = (struct attack){0};
        client_begin(client, &(struct fs_options){.xattr = true});
        snprintf(attack->outside_path, sizeof(attack->outside_path), "%s/outside", client->top);
        snprintf(attack->secret_path, sizeof(attack->secret_path), "%s/outside/secret", client->top);
        snprintf(path, sizeof(path), "%s/moved", client->top);
        assert_int_equal(mkdir(path, 0700), 0);
        attack->moved_fd = open(path, O_PATH | O_CLOEXEC);
        assert_int_equal(mkdirat(client->share_fd, "../outside/folder", 0700), 0);
        client_make_file(client, "../outside/secret", SECRET);
        client_make_file(client, "../outside/folder/secret", SECRET);
        client_make_file(client, "../moved/secret", SECRET);
        for (size_t i = 0; i < ARRAY_SIZE(outside); i++) {
                snprintf(path, sizeof(path), "../%s", outside[i]);
                attack->forbidden[i] = client_stat(client, path).st_ino;
        }
}

static void run_for(unsigned seconds, struct attack *attack, struct guest *guests)
{
        static void *(*const hosts[])(void *) = {swap_folder, swap_file, move_out};
        pthread_t threads[ARRAY_SIZE(hosts)];

        atomic_store(&attack->stop, false);
        for (size_t i = 0; i < ARRAY_SIZE(hosts); i++)
                assert_int_equal(pthread_create(&threads[i], NULL, hosts[i], attack), 0);
        for (unsigned i = 0; i < GUESTS; i++) {
                guests[i] = (struct guest){.attack = attack, .random = (uint64_t)time(NULL) * GUESTS + i + 1};
                assert_int_equal(pthread_create(&guests[i].thread, NULL, ask, &guests[i]), 0);
        }
        sleep(seconds);
        atomic_store(&attack->stop, true);
        for (unsigned i = 0; i < GUESTS; i++)
                pthread_join(guests[i].thread, NULL);
        for (unsigned i = 0; i < GUESTS; i++)
                assert_int_equal(guests[i].leaks, 0);
        for (size_t i = 0; i < ARRAY_SIZE(hosts); i++)
                pthread_join(threads[i], NULL);
}

static bool have_done_enough(const struct guest *guests)
{
        for (unsigned i = 0; i < GUESTS; i++)
                if (guests[i].entered <= 10 || guests[i].reads <= 10 || guests[i].made <= 10)
                        return false;
        return true;
}

static void test_attack(void **state)
{
        const char *seconds = getenv("ORIEL_ATTACK_SECONDS");
        static struct attack attack;
        struct guest guests[GUESTS];

        attack_begin(&attack);

        const struct seen before = look(&attack);
        const int fds = client_fds();

        /* Until enough was done, which takes longer on a busy host. */
        for (int rounds = 0; rounds == 0 || (rounds < 20 && !have_done_enough(guests)); rounds++)
                run_for(seconds ? (unsigned)atoi(seconds) : 3, &attack, guests);
        bring_back(&attack);
        assert_int_equal(client_fds(), fds);

        const struct seen after = look(&attack);

        check_same(&before, &after);
        check_secret(&attack, "outside/secret");
        check_secret(&attack, "outside/folder/secret");
        check_secret(&attack, "moved/secret");
        /* Both have done enough. */
        assert_true(atomic_load(&attack.swaps) > 100);
        for (unsigned i = 0; i < GUESTS; i++) {
                print_message("# guest %u: %lu entered, %lu read, %lu made; %lu swaps, %lu refused\n", i,
                              guests[i].entered, guests[i].reads, guests[i].made, atomic_load(&attack.swaps),
                              atomic_load(&attack.refusals));
                assert_int_equal(guests[i].leaks, 0);
        }
        assert_true(have_done_enough(guests));
        close(attack.moved_fd);
        client_end(&attack.client);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_attack),
        };

        return run_counted("fs-attack", tests);
}
