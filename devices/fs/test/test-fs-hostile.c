/* SPDX-License-Identifier: BSD-2-Clause */

/* A hostile guest. Whatever it sends, it gets an errno, and nobody else notices. */

#include "base/cleanup.h"
#include "devices/fs/core/operations.h"
#include "devices/fs/test/test-client.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
        OPCODES = 64, /* all there are, and some more */
};

/* A valid request of each operation, except that it names nothing that exists. */
struct sample {
        union {
                struct fuse_in_header header;
                char bytes[512];
        };
        size_t needed; /* the bytes that its row requires */
        size_t size;
};

static struct sample make_sample(uint32_t opcode, const struct operation *operation)
{
        struct sample sample = {.header = {.opcode = opcode, .nodeid = FUSE_ROOT_ID, .unique = 99}};

        sample.needed = sizeof(struct fuse_in_header) + operation->in_min + operation->names * sizeof("n");
        sample.size = sizeof(struct fuse_in_header) + operation->in_max;
        for (unsigned i = 0; i < operation->names; i++) {
                sample.bytes[sample.size] = (char)('m' + i);
                sample.size += sizeof("n");
        }
        sample.header.len = (uint32_t)sample.size;
        return sample;
}

/* The error of the answer, or the result of fs_handle() if there is none. */
static ssize_t send_sample(struct client *client, const struct sample *sample, size_t size, size_t room)
{
        struct fuse_out_header out;
        char answer[4096] = "";
        ssize_t r = client_raw(client, sample->bytes, size, answer, room);

        if (r <= 0)
                return r;
        memcpy(&out, answer, sizeof(out));
        assert_int_equal(r, out.len);
        assert_int_equal(out.unique, 99);
        return out.error;
}

static void check_truncated(struct client *client, const struct operation *operation, struct sample sample)
{
        for (size_t size = 0; size < sample.needed; size++) {
                bool headless = size < sizeof(struct fuse_in_header);

                /* With the whole length in the header, then with the length that was sent. */
                assert_int_equal(send_sample(client, &sample, size, 256), operation->silent && !headless ? 0 : -EINVAL);
                sample.header.len = (uint32_t)size;
                assert_int_equal(send_sample(client, &sample, size, 256), operation->silent && !headless ? 0 : -EINVAL);
                sample.header.len = (uint32_t)sample.size;
        }
}

static void check_lying(struct client *client, const struct operation *operation, struct sample sample)
{
        const uint32_t lengths[] = {0, 39, sample.header.len + 1, 0x80000000, UINT32_MAX};
        const ssize_t expected = operation->silent ? 0 : -EINVAL;

        for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
                sample.header.len = lengths[i];
                assert_int_equal(send_sample(client, &sample, sample.size, 256), expected);
        }
        if (operation->data)
                return;
        /* More bytes than belong to it, with that length in the header. */
        sample.header.len = (uint32_t)sample.size + 100;
        assert_int_equal(send_sample(client, &sample, sample.size + 100, 256), expected);
}

static void check_room(struct client *client, const struct operation *operation, const struct sample *sample)
{
        for (size_t room = 0; room < sizeof(struct fuse_out_header) + operation->out_min; room++) {
                ssize_t r = send_sample(client, sample, sample->size, room);

                if (operation->silent)
                        assert_int_equal(r, 0);
                else
                        assert_int_equal(r, -EINVAL);
        }
}

static void test_every_opcode(void **state)
{
        struct client client;
        unsigned n = 0;

        client_begin(&client, &(struct fs_options){.window_size = 1 << 20, EVERYTHING});
        for (uint32_t opcode = 0; opcode < OPCODES; opcode++) {
                const struct operation *operation = operation_find(opcode);

                if (!operation)
                        continue;

                struct sample sample = make_sample(opcode, operation);

                n++;
                check_truncated(&client, operation, sample);
                check_lying(&client, operation, sample);
                if (operation->out_min > 0 || operation->silent)
                        check_room(&client, operation, &sample);
        }
        assert_true(n > 30);
        /* None of these was accepted, so none has made anything. */
        assert_int_equal(client_lookup(&client, FUSE_ROOT_ID, "m", NULL), -ENOENT);
        client_end(&client);
}

static void test_unknown_opcodes(void **state)
{
        const uint32_t opcodes[] = {0, FUSE_ACCESS, FUSE_IOCTL, FUSE_POLL, FUSE_BMAP, 4096, UINT32_MAX};
        struct client client;

        client_begin(&client, NULL);
        for (size_t i = 0; i < ARRAY_SIZE(opcodes); i++)
                assert_int_equal(client_call(&client, opcodes[i], FUSE_ROOT_ID, NULL, NULL, 0), -ENOSYS);
        client_end(&client);
}

static void test_invented_ids(void **state)
{
        const uint64_t ids[] = {0, 2, 63, 64, 65, 1ull << 32 | 1, 1ull << 32, UINT32_MAX, INT64_MAX, UINT64_MAX};
        struct client client;

        client_begin(&client, &(struct fs_options){.window_size = 1 << 20, EVERYTHING});
        for (uint32_t opcode = 0; opcode < OPCODES; opcode++) {
                const struct operation *operation = operation_find(opcode);

                if (!operation || operation->starts || operation->silent || opcode == FUSE_REMOVEMAPPING)
                        continue;
                for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
                        struct sample sample = make_sample(opcode, operation);

                        /* Also as the first member of the struct, which is where handles are. */
                        sample.header.nodeid = ids[i];
                        memcpy(sample.bytes + sizeof(struct fuse_in_header), &ids[i],
                               operation->in_min < sizeof(ids[i]) ? operation->in_min : sizeof(ids[i]));
                        ssize_t r = send_sample(&client, &sample, sample.size, 4096);

                        assert_true(r == -ESTALE || r == -EBADF || (opcode == FUSE_SETUPMAPPING && r == -EINVAL));
                }
        }
        client_end(&client);
}

static char long_name[5000];

static const char *const bad_names[] = {
        "", ".", "..", "/", "a/b", "/etc", "../outside", "d/../..", "a/", "//",
};

static void test_bad_names(void **state)
{
        struct client client;

        client_begin(&client, NULL);
        memset(long_name, 'x', sizeof(long_name) - 1);
        for (uint32_t opcode = 0; opcode < OPCODES; opcode++) {
                const struct operation *operation = operation_find(opcode);
                static const char zeros[256];
                char answer[4096];

                if (!operation || operation->names == 0 || operation->free_name)
                        continue;
                for (size_t i = 0; i < ARRAY_SIZE(bad_names) + 2; i++) {
                        const char *name = i < ARRAY_SIZE(bad_names) ? bad_names[i] : long_name;
                        const char *length_is_wrong = &long_name[sizeof(long_name) - 1 - 256];
                        struct test_body body = {.start = zeros, .start_size = operation->in_min, .name = name};
                        ssize_t expected = i < ARRAY_SIZE(bad_names) ? -EINVAL : -ENAMETOOLONG;

                        if (i > ARRAY_SIZE(bad_names))
                                body.name = length_is_wrong;
                        if (operation->names > 1)
                                body.second_name = "good";
                        assert_int_equal(client_call(&client, opcode, FUSE_ROOT_ID, &body, answer, sizeof(answer)),
                                         expected);
                        if (operation->names < 2 || operation->target)
                                continue;
                        body.second_name = body.name;
                        body.name = "good";
                        assert_int_equal(client_call(&client, opcode, FUSE_ROOT_ID, &body, answer, sizeof(answer)),
                                         expected);
                }
        }
        client_end(&client);
}

static void test_longest_names(void **state)
{
        struct client client;
        struct fuse_entry_out out;
        char target[PATH_MAX], got[PATH_MAX];
        const char *name = &long_name[sizeof(long_name) - 1 - 255];

        client_begin(&client, NULL);
        memset(long_name, 'x', sizeof(long_name) - 1);
        memset(target, 'y', sizeof(target));
        target[PATH_MAX - 1] = '\0';
        assert_true(client_call(&client, FUSE_SYMLINK, FUSE_ROOT_ID, BODY(.name = name, .second_name = target), &out,
                                sizeof(out)) > 0);
        assert_int_equal(client_call(&client, FUSE_READLINK, out.nodeid, NULL, got, sizeof(got)), PATH_MAX - 1);
        assert_memory_equal(got, target, PATH_MAX - 1);
        assert_int_equal(client_call(&client, FUSE_SYMLINK, FUSE_ROOT_ID, BODY(.name = "l", .second_name = long_name),
                                     &out, sizeof(out)),
                         -ENAMETOOLONG);
        client_end(&client);
}

/* Neither a link made by the guest nor an existing one leads outside. */
static void test_links_outside(void **state)
{
        struct client client;
        struct fuse_entry_out out;
        char outside[96];

        client_begin(&client, NULL);
        client_make_file(&client, "../outside/secret", "secret");
        snprintf(outside, sizeof(outside), "%s/outside", client.top);
        for (int relative = 0; relative < 2; relative++) {
                const struct test_body body = {.name = relative ? "r" : "a",
                                               .second_name = relative ? "../outside" : outside};
                const struct fuse_link_in link = {.oldnodeid = FUSE_ROOT_ID};

                assert_true(client_call(&client, FUSE_SYMLINK, FUSE_ROOT_ID, &body, &out, sizeof(out)) > 0);

                const uint64_t nodeid = out.nodeid;

                assert_int_equal(client_lookup(&client, nodeid, "secret", NULL), -ENOTDIR);
                assert_int_equal(client_open(&client, FUSE_OPENDIR, nodeid, O_RDONLY, NULL), -ENOTDIR);
                assert_int_equal(client_open(&client, FUSE_OPEN, nodeid, O_RDONLY, NULL), -ELOOP);
                assert_int_equal(client_call(&client, FUSE_UNLINK, nodeid, BODY(.name = "secret"), NULL, 0), -ENOTDIR);
                assert_int_equal(
                        client_call(&client, FUSE_LINK, nodeid, BODY(START(link), .name = "x"), &out, sizeof(out)),
                        -ENOTDIR);
        }
        assert_int_equal(client_lookup(&client, FUSE_ROOT_ID, "..", NULL), -EINVAL);
        client_end(&client);
}

static void test_forget(void **state)
{
        struct client client;
        uint64_t nodeid;

        client_begin(&client, NULL);
        client_make_file(&client, "a", "");

        int before = client_fds();

        for (int i = 0; i < 100000; i++) {
                assert_true(client_lookup(&client, FUSE_ROOT_ID, "a", &nodeid) > 0);
                client_forget(&client, nodeid, 1);
                if (i % 10000 == 0)
                        assert_int_equal(client_fds(), before);
        }
        assert_int_equal(client_fds(), before);
        client_end(&client);
}

/* The file system judges offsets; in any case each entry is whole, and the next request works as usual. */
static void test_invented_offsets(void **state)
{
        static const uint64_t offsets[] = {1,         3,          4095,      INT32_MAX, UINT32_MAX, INT64_MAX - 1,
                                           INT64_MAX, 1ull << 63, UINT64_MAX};
        static const uint32_t opcodes[] = {FUSE_READDIR, FUSE_READDIRPLUS};
        static char all[4096], got[4096];
        struct client client;
        uint64_t fh;

        client_begin(&client, NULL);
        for (int i = 0; i < 5; i++)
                client_make_file(&client, (const char[]){(char)('a' + i), '\0'}, "");
        assert_true(client_open(&client, FUSE_OPENDIR, FUSE_ROOT_ID, 0, &fh) > 0);
        for (size_t i = 0; i < ARRAY_SIZE(opcodes); i++) {
                const ssize_t size = client_read(&client, opcodes[i], fh, 0, all, sizeof(all));

                assert_true(size > 0);
                for (size_t j = 0; j < ARRAY_SIZE(offsets); j++) {
                        const ssize_t r = client_read(&client, opcodes[i], fh, offsets[j], got, sizeof(got));

                        assert_true(r == -EINVAL || (r >= 0 && r <= size && (size_t)r % sizeof(uint64_t) == 0));
                        assert_int_equal(client_read(&client, opcodes[i], fh, 0, got, sizeof(got)), size);
                        if (opcodes[i] == FUSE_READDIR)
                                assert_memory_equal(got, all, (size_t)size);
                }
        }
        client_end(&client);
}

/* Wrong counts, and lists that end before their count. */
static void test_forget_lies(void **state)
{
        struct client client;
        struct fuse_forget_one ones[3];
        struct fuse_batch_forget_in in = {.count = UINT32_MAX};
        uint64_t nodeid;

        client_begin(&client, NULL);
        client_make_file(&client, "a", "");

        int before = client_fds();

        assert_true(client_lookup(&client, FUSE_ROOT_ID, "a", &nodeid) > 0);
        client_forget(&client, nodeid, 0);
        client_forget(&client, FUSE_ROOT_ID, UINT64_MAX);
        assert_int_equal(client_open(&client, FUSE_OPENDIR, FUSE_ROOT_ID, 0, NULL), sizeof(struct fuse_open_out));
        assert_int_equal(client_call(&client, FUSE_DESTROY, 0, NULL, NULL, 0), 0);
        assert_true(client_init(&client) > 0);

        assert_true(client_lookup(&client, FUSE_ROOT_ID, "a", &nodeid) > 0);
        ones[0] = ones[1] = ones[2] = (struct fuse_forget_one){nodeid, UINT64_MAX};
        assert_int_equal(client_call(&client, FUSE_BATCH_FORGET, 0,
                                     BODY(START(in), .data = ones, .data_size = sizeof(ones) - 1), NULL, 0),
                         0);
        assert_int_equal(client_fds(), before);
        in.count = 1;
        assert_int_equal(client_call(&client, FUSE_BATCH_FORGET, 0,
                                     BODY(START(in), .data = ones, .data_size = sizeof(ones)), NULL, 0),
                         0);
        client_end(&client);
}

/* A short answer would mean the end of the file. */
static void test_no_room_for_what_is_read(void **state)
{
        static char data[8192], got[100];
        struct client client;
        uint64_t nodeid, fh;

        client_begin(&client, NULL);
        client_make_file(&client, "a", "");
        assert_true(client_lookup(&client, FUSE_ROOT_ID, "a", &nodeid) > 0);
        assert_true(client_open(&client, FUSE_OPEN, nodeid, O_RDWR, &fh) > 0);
        assert_int_equal(client_write(&client, fh, 0, data, sizeof(data), 0, 0), sizeof(data));

        const struct fuse_read_in in = {.fh = fh, .size = sizeof(data)};

        assert_int_equal(client_call(&client, FUSE_READ, nodeid, BODY(START(in)), got, sizeof(got)), -EINVAL);
        client_end(&client);
}

/* A guest can't use all descriptors of the process. */
static void test_quota(void **state)
{
        struct client client;
        uint64_t nodeid;
        ssize_t r = 0;
        int n = 0;

        client_begin(&client, &(struct fs_options){.max_open = 20});
        client_make_file(&client, "a", "");

        int before = client_fds();

        assert_true(client_lookup(&client, FUSE_ROOT_ID, "a", &nodeid) > 0);
        while (n < 100 && (r = client_open(&client, FUSE_OPEN, nodeid, O_RDONLY, NULL)) > 0)
                n++;
        assert_int_equal(r, -ENFILE);
        assert_int_equal(n, 18);
        client_make_file(&client, "b", "");
        assert_int_equal(client_lookup(&client, FUSE_ROOT_ID, "b", NULL), -ENFILE);
        assert_int_equal(client_fds(), before + 19);

        /* A file that the guest can't be told of is not made. */
        const struct fuse_create_in create = {.flags = O_RDWR, .mode = S_IFREG | 0600};
        const struct fuse_mkdir_in mkdir = {.mode = 0700};
        char answer[256];

        assert_int_equal(client_call(&client, FUSE_CREATE, FUSE_ROOT_ID, BODY(START(create), .name = "c"), answer,
                                     sizeof(answer)),
                         -ENFILE);
        assert_int_equal(
                client_call(&client, FUSE_MKDIR, FUSE_ROOT_ID, BODY(START(mkdir), .name = "d"), answer, sizeof(answer)),
                -ENFILE);
        assert_int_equal(faccessat(client.share_fd, "c", F_OK, 0), -1);
        assert_int_equal(faccessat(client.share_fd, "d", F_OK, 0), -1);
        client_end(&client);
}

static uint64_t next_random(uint64_t *seed)
{
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        return *seed;
}

/* Mostly small numbers, because they have a meaning. */
static void fill_random(char *bytes, size_t size, uint64_t *seed)
{
        for (size_t i = 0; i < size; i++) {
                uint64_t random = next_random(seed);

                bytes[i] = (char)((random & 0x700) == 0 ? random : (random & 0x1000) == 0 ? random & 3 : 0);
        }
}

static void send_garbage(struct client *client, uint64_t *seed)
{
        struct sample sample = {.header = {0}};
        char answer[4096];
        uint32_t opcode = (uint32_t)(next_random(seed) % (OPCODES - 8));
        const struct operation *operation = operation_find(opcode);
        size_t size = next_random(seed) % sizeof(sample.bytes), room = next_random(seed) % sizeof(answer);
        /* These would lock out the cleanup of the test. */
        bool locks_out = geteuid() != 0 && (opcode == FUSE_SETATTR || opcode == FUSE_MKDIR);

        if (locks_out || opcode == FUSE_DESTROY || opcode == FUSE_INIT)
                return;
        fill_random(sample.bytes, sizeof(sample.bytes), seed);
        if (operation && next_random(seed) % 8) {
                size = sizeof(struct fuse_in_header) + operation->in_max;
                for (unsigned i = 0; i < operation->names; i++) {
                        sample.bytes[size++] = (char)('a' + next_random(seed) % 8);
                        sample.bytes[size++] = '\0';
                }
        }
        sample.header.len = next_random(seed) % 16 ? (uint32_t)size : (uint32_t)next_random(seed);
        sample.header.opcode = opcode;
        if (next_random(seed) % 4)
                sample.header.nodeid = next_random(seed) % 12;
        sample.header.uid = geteuid();
        sample.header.gid = getegid();
        client_raw(client, sample.bytes, size, answer, room);
}

static void test_garbage(void **state)
{
        const struct rlimit small = {.rlim_cur = 1 << 20, .rlim_max = RLIM_INFINITY};
        struct client client;
        struct rlimit before;
        uint64_t seed = 0x9e3779b97f4a7c15;
        uint64_t nodeid;

        signal(SIGXFSZ, SIG_IGN);
        assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        client_begin(&client, &(struct fs_options){.window_size = 1 << 20, .max_open = 500});
        for (int i = 0; i < 300000; i++)
                send_garbage(&client, &seed);

        /* A new session is served, whatever the state of the files. */
        assert_true(client_init(&client) > 0);
        client_make_file(&client, "fresh", "hello");
        assert_true(client_lookup(&client, FUSE_ROOT_ID, "fresh", &nodeid) > 0);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        client_end(&client);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_every_opcode),
                counted_test(test_unknown_opcodes),
                counted_test(test_invented_ids),
                counted_test(test_bad_names),
                counted_test(test_longest_names),
                counted_test(test_links_outside),
                counted_test(test_forget),
                counted_test(test_forget_lies),
                counted_test(test_quota),
                counted_test(test_no_room_for_what_is_read),
                counted_test(test_invented_offsets),
                counted_test(test_garbage),
        };

        return run_counted("fs-hostile", tests);
}
