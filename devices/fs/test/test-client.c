/* SPDX-License-Identifier: BSD-2-Clause */

/* A guest of oriel-fs's core for tests: its requests, a function for each kind, by fs_handle() without a queue. It
 * makes the share and removes it, checks each answer's header, and records the mappings of a window that no memory is
 * behind. */

#include "devices/fs/test/test-client.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <spawn.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int find_live(const struct test_window *window, struct oriel_range range, bool exactly)
{
        for (unsigned i = 0; i < window->n_live; i++) {
                const struct oriel_range live = window->live[i];

                if (exactly ? live.start == range.start && live.size == range.size
                            : live.start < range.start + range.size && range.start < live.start + live.size)
                        return (int)i;
        }
        return -1;
}

static void count_submission(struct test_window *window, uint64_t *ticket)
{
        *ticket = ++window->tickets;
        if (++window->outstanding > window->most_outstanding)
                window->most_outstanding = window->outstanding;
}

static int submit_map(void *userdata, struct oriel_range range, int fd, uint64_t fd_offset, bool writable,
                      uint64_t *ticket)
{
        struct test_window *window = userdata;
        int r = 0;

        pthread_mutex_lock(&window->lock);
        if (window->fail_submit < 0 || fcntl(fd, F_GETFD) < 0 || window->n_live == 256) {
                r = window->fail_submit < 0 ? window->fail_submit : -EBADF;
        } else {
                window->violations += find_live(window, range, false) >= 0;
                window->maps++;
                window->last_writable = writable;
                count_submission(window, ticket);
                if (window->fail_wait == 0) {
                        window->offsets[window->n_live] = fd_offset;
                        window->live[window->n_live++] = range;
                }
        }
        pthread_mutex_unlock(&window->lock);
        return r;
}

static int submit_unmap(void *userdata, struct oriel_range range, uint64_t *ticket)
{
        struct test_window *window = userdata;

        pthread_mutex_lock(&window->lock);

        int i = find_live(window, range, true), r = window->fail_submit;

        if (r == 0) {
                window->unmaps++;
                count_submission(window, ticket);
                if (i < 0) {
                        window->violations++;
                } else {
                        window->live[i] = window->live[--window->n_live];
                        window->offsets[i] = window->offsets[window->n_live];
                }
        }
        pthread_mutex_unlock(&window->lock);
        return r;
}

static int wait_for(void *userdata, uint64_t ticket)
{
        struct test_window *window = userdata;

        pthread_mutex_lock(&window->lock);
        window->violations += ticket == 0 || ticket > window->tickets;
        window->waits++;
        window->outstanding--;

        int r = window->fail_wait;

        pthread_mutex_unlock(&window->lock);
        return r;
}

const struct fs_window_ops test_window_ops = {submit_map, submit_unmap, wait_for};

void client_begin(struct client *client, const struct fs_options *wanted)
{
        struct fs_options options = wanted ? *wanted : (struct fs_options){0};
        char outside[80];

        *client = (struct client){.chunk = 40, .window.lock = PTHREAD_MUTEX_INITIALIZER};
        strcpy(client->top, "/tmp/oriel-fs-XXXXXX");
        assert_non_null(mkdtemp(client->top));
        snprintf(client->share, sizeof(client->share), "%s/share", client->top);
        snprintf(outside, sizeof(outside), "%s/outside", client->top);
        assert_int_equal(mkdir(client->share, 0777), 0);
        assert_int_equal(mkdir(outside, 0777), 0);
        client->share_fd = open(client->share, O_PATH | O_CLOEXEC);
        assert_true(client->share_fd >= 0);

        options.shared_dir = client->share;
        if (options.window_size > 0 && !options.window_ops) {
                options.window_ops = &test_window_ops;
                options.window_userdata = &client->window;
        }
        assert_int_equal(fs_new(&options, -1, &client->fs), 0);
        assert_true(client_init(client) > 0);
}

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *where)
{
        return remove(path);
}

void client_end(struct client *client)
{
        fs_free(client->fs);
        close(client->share_fd);
        assert_int_equal(client->window.violations, 0);
        assert_int_equal(client->window.outstanding, 0);
        assert_int_equal(nftw(client->top, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static unsigned make_spans(char *memory, size_t size, size_t chunk, struct iovec *spans)
{
        unsigned n = 0;

        for (size_t at = 0; at < size; at += chunk)
                spans[n++] = (struct iovec){memory + at, size - at < chunk ? size - at : chunk};
        return n;
}

static size_t put(char *memory, size_t at, const void *from, size_t size)
{
        if (size > 0)
                memcpy(memory + at, from, size);
        return at + size;
}

static size_t put_body(char *memory, size_t at, const struct test_body *body)
{
        if (!body)
                return at;
        at = put(memory, at, body->start, body->start_size);
        if (body->name)
                at = put(memory, at, body->name, strlen(body->name) + 1);
        if (body->second_name)
                at = put(memory, at, body->second_name, strlen(body->second_name) + 1);
        return put(memory, at, body->data, body->data_size);
}

static size_t body_size(const struct test_body *body)
{
        if (!body)
                return 0;
        return body->start_size + body->data_size + (body->name ? strlen(body->name) + 1 : 0) +
               (body->second_name ? strlen(body->second_name) + 1 : 0);
}

/* Memory and spans for @size bytes. */
struct test_memory {
        char *bytes;
        struct iovec *spans;
        unsigned n;
};

static struct test_memory memory_new(size_t size, size_t chunk)
{
        struct test_memory memory = {.bytes = calloc(1, size + 1),
                                     .spans = calloc(size / chunk + 1, sizeof(struct iovec))};

        assert_non_null(memory.bytes);
        assert_non_null(memory.spans);
        memory.n = make_spans(memory.bytes, size, chunk, memory.spans);
        return memory;
}

static void memory_free(struct test_memory *memory)
{
        free(memory->bytes);
        free(memory->spans);
}

ssize_t client_raw(struct client *client, const void *request, size_t size, void *answer, size_t answer_size)
{
        struct test_memory in = memory_new(size, client->chunk), out = memory_new(answer_size, client->chunk);

        put(in.bytes, 0, request, size);

        ssize_t r = fs_handle(client->fs, in.spans, in.n, out.spans, out.n, (struct fs_token){0});

        assert_true(r <= (ssize_t)answer_size);
        if (answer)
                put(answer, 0, out.bytes, answer_size);
        memory_free(&in);
        memory_free(&out);
        return r;
}

static ssize_t check_answer(const struct fuse_out_header *header, ssize_t written, uint64_t unique)
{
        assert_true(written >= (ssize_t)sizeof(*header));
        assert_int_equal(written, header->len);
        assert_int_equal(header->unique, unique);
        assert_true(header->error <= 0);
        if (header->error < 0)
                assert_int_equal(header->len, sizeof(*header));
        return header->error < 0 ? header->error : (ssize_t)(header->len - sizeof(*header));
}

ssize_t client_call_as(struct client *client, uint32_t uid, uint32_t gid, uint32_t opcode, uint64_t nodeid,
                       const struct test_body *body, void *out, size_t out_size)
{
        static atomic_uint unique;
        const size_t size = sizeof(struct fuse_in_header) + body_size(body);
        const size_t answer_size = sizeof(struct fuse_out_header) + out_size;
        const struct fuse_in_header header = {
                .len = (uint32_t)size,
                .opcode = opcode,
                .unique = atomic_fetch_add(&unique, 1),
                .nodeid = nodeid,
                .uid = uid,
                .gid = gid,
                .pid = client->pid,
                .total_extlen = body ? body->extension_units : 0,
        };
        struct test_memory request = memory_new(size, size), answer = memory_new(answer_size, answer_size);
        struct fuse_out_header out_header;

        put_body(request.bytes, put(request.bytes, 0, &header, sizeof(header)), body);

        ssize_t r = client_raw(client, request.bytes, size, answer.bytes, answer_size);

        put((char *)&out_header, 0, answer.bytes, sizeof(out_header));
        if (out && r > (ssize_t)sizeof(out_header))
                put(out, 0, answer.bytes + sizeof(out_header), (size_t)r - sizeof(out_header));
        memory_free(&request);
        memory_free(&answer);
        return r > 0 ? check_answer(&out_header, r, header.unique) : r;
}

ssize_t client_call(struct client *client, uint32_t opcode, uint64_t nodeid, const struct test_body *body, void *out,
                    size_t out_size)
{
        return client_call_as(client, getuid(), getgid(), opcode, nodeid, body, out, out_size);
}

ssize_t client_init_as(struct client *client, uint64_t flags)
{
        const struct fuse_init_in in = {
                .major = FUSE_KERNEL_VERSION,
                .minor = FUSE_KERNEL_MINOR_VERSION,
                .max_readahead = 131072,
                .flags = (uint32_t)flags,
                .flags2 = (uint32_t)(flags >> 32),
        };
        struct fuse_init_out out = {0};
        ssize_t r = client_call(client, FUSE_INIT, 0, BODY(START(in)), &out, sizeof(out));

        client->flags = (uint64_t)out.flags2 << 32 | out.flags;
        client->map_alignment = out.map_alignment;
        return r;
}

ssize_t client_init(struct client *client)
{
        return client_init_as(client, UINT64_MAX);
}

ssize_t client_lookup(struct client *client, uint64_t parent, const char *name, uint64_t *nodeid)
{
        struct fuse_entry_out out = {0};
        ssize_t r = client_call(client, FUSE_LOOKUP, parent, BODY(.name = name), &out, sizeof(out));

        if (nodeid)
                *nodeid = out.nodeid;
        return r;
}

ssize_t client_forget(struct client *client, uint64_t nodeid, uint64_t lookups)
{
        const struct fuse_forget_in in = {.nlookup = lookups};

        return client_call(client, FUSE_FORGET, nodeid, BODY(START(in)), NULL, 0);
}

ssize_t client_open(struct client *client, uint32_t opcode, uint64_t nodeid, uint32_t flags, uint64_t *fh)
{
        const struct fuse_open_in in = {.flags = flags};
        struct fuse_open_out out = {0};
        ssize_t r = client_call(client, opcode, nodeid, BODY(START(in)), &out, sizeof(out));

        if (fh)
                *fh = out.fh;
        return r;
}

ssize_t client_release(struct client *client, uint32_t opcode, uint64_t fh)
{
        const struct fuse_release_in in = {.fh = fh};

        return client_call(client, opcode, 0, BODY(START(in)), NULL, 0);
}

ssize_t client_read(struct client *client, uint32_t opcode, uint64_t fh, uint64_t offset, void *to, uint32_t size)
{
        const struct fuse_read_in in = {.fh = fh, .offset = offset, .size = size};

        return client_call(client, opcode, 0, BODY(START(in)), to, size);
}

ssize_t client_write(struct client *client, uint64_t fh, uint64_t offset, const void *from, uint32_t size,
                     uint32_t flags, uint32_t write_flags)
{
        const struct fuse_write_in in = {
                .fh = fh, .offset = offset, .size = size, .flags = flags, .write_flags = write_flags};
        struct fuse_write_out out = {0};
        ssize_t r =
                client_call(client, FUSE_WRITE, 0, BODY(START(in), .data = from, .data_size = size), &out, sizeof(out));

        return r < 0 ? r : (ssize_t)out.size;
}

ssize_t client_setupmapping(struct client *client, uint64_t nodeid, uint64_t file_offset, uint64_t size,
                            uint64_t window_offset, uint64_t flags)
{
        const struct fuse_setupmapping_in in = {
                .fh = UINT64_MAX, .foffset = file_offset, .len = size, .flags = flags, .moffset = window_offset};

        return client_call(client, FUSE_SETUPMAPPING, nodeid, BODY(START(in)), NULL, 0);
}

ssize_t client_removemapping(struct client *client, uint64_t window_offset, uint64_t size)
{
        const struct fuse_removemapping_in in = {.count = 1};
        const struct fuse_removemapping_one one = {.moffset = window_offset, .len = size};

        return client_call(client, FUSE_REMOVEMAPPING, 0, BODY(START(in), .data = &one, .data_size = sizeof(one)), NULL,
                           0);
}

void client_make_file(struct client *client, const char *name, const char *contents)
{
        int fd = openat(client->share_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

        assert_true(fd >= 0);
        assert_int_equal(write(fd, contents, strlen(contents)), strlen(contents));
        close(fd);
}

int client_fds(void)
{
        return test_count_fds();
}

pid_t client_run_program(struct client *client, const char *name)
{
        char path[128], *const argv[] = {path, "1000", NULL}, *const envp[] = {NULL};
        int from = open("/bin/sleep", O_RDONLY | O_CLOEXEC), to;
        pid_t pid;

        to = openat(client->share_fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
        assert_true(from >= 0 && to >= 0);
        while (copy_file_range(from, NULL, to, NULL, 1 << 20, 0) > 0)
                ;
        close(from);
        close(to);
        snprintf(path, sizeof(path), "%s/%s", client->share, name);
        assert_int_equal(posix_spawn(&pid, path, NULL, NULL, argv, envp), 0);
        return pid;
}
