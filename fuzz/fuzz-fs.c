/* SPDX-License-Identifier: BSD-2-Clause */

/* The input is a share's options, and FUSE requests: each is made of its row in operations.c, with node and file
 * numbers that were given out in answers to those before, names that are there, words for the rest of its struct, and
 * something written over or cut off. Between them other programs change the share, housekeeping runs, and the device is
 * reset. Each answer must be as long as it says, and no descriptor may be left at the end. */

#include "base/cleanup.h"
#include "devices/fs/core/idmap.h"
#include "devices/fs/files/xattr_map.h"
#include "fuzz/fs-host.h"
#include "fuzz/fs-request.h"
#include "fuzz/input.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WAITING_MOST = 4, LAST_OPCODE = 60 };

static struct world {
        struct input *input;
        struct fs *fs;
        struct numbers numbers;
        struct exchange waiting[WAITING_MOST]; /* or done */
} world;

static uint32_t pick_opcode(void)
{
        static const uint32_t often[] = {FUSE_LOOKUP, FUSE_CREATE, FUSE_OPEN, FUSE_OPENDIR, FUSE_MKDIR};
        uint8_t choice = take_byte(world.input);

        return choice >= 200 ? often[choice % ARRAY_SIZE(often)] : choice % LAST_OPCODE;
}

/* ---- answers ---- */

static void exchange_free(struct exchange *exchange)
{
        free(exchange->in);
        free(exchange->out);
        *exchange = (struct exchange){0};
}

static void check_answer(const struct exchange *exchange, size_t written)
{
        struct fuse_out_header header;

        if (written == 0)
                return;
        need(written >= sizeof(header) && written <= exchange->room);
        memcpy(&header, exchange->out, sizeof(header));
        need(header.len == written && header.error <= 0 && header.error > -4096);
        need(header.error == 0 || written == sizeof(header));
}

static void answered(void *userdata, struct fs_token token, size_t written)
{
        struct exchange *exchange = token.request;

        need(exchange->waits);
        check_answer(exchange, written);
        exchange->waits = false;
}

static bool may_wait(void *userdata, struct fs_token token)
{
        struct exchange *exchange = token.request;

        exchange->waits = take_byte(world.input) % 4 != 3;
        return exchange->waits;
}

static void lasts(void *userdata, struct fs_token token)
{
        need(token.request);
}

static struct exchange *find_room(void)
{
        for (unsigned i = 0; i < WAITING_MOST; i++) {
                struct exchange *exchange = &world.waiting[i];

                if (!exchange->waits) {
                        exchange_free(exchange);
                        return exchange;
                }
        }
        return NULL;
}

/* In one span or two. */
static unsigned cut(struct iovec *spans, uint8_t *bytes, size_t size, size_t at)
{
        spans[0] = (struct iovec){bytes, at < size ? at : size};
        spans[1] = (struct iovec){bytes + spans[0].iov_len, size - spans[0].iov_len};
        return 2;
}

static void ask(uint32_t opcode)
{
        struct exchange *exchange = find_room();
        struct iovec in[2];
        ssize_t r;

        if (!exchange)
                return;
        request_make(world.input, &world.numbers, opcode, exchange);
        exchange->room = take_byte(world.input) % 8 == 7 ? take_number(world.input) % ANSWER_MOST : 1024;
        exchange->out = malloc(exchange->room ? exchange->room : 1);
        need(exchange->out);
        cut(in, exchange->in, exchange->size, take_byte(world.input));
        cut(exchange->spans, exchange->out, exchange->room, take_byte(world.input));
        r = fs_handle(world.fs, in, 2, exchange->spans, 2, (struct fs_token){&world, exchange});
        need(r >= 0 || r == -EINVAL || r == -EINPROGRESS);
        if (r == -EINPROGRESS)
                return;
        exchange->waits = false;
        check_answer(exchange, r < 0 ? 0 : (size_t)r);
        request_learn(&world.numbers, opcode, exchange, r < 0 ? 0 : (size_t)r);
}

/* ---- the share ---- */

static void init(void)
{
        struct fuse_in_header header = {.opcode = FUSE_INIT, .unique = ++world.numbers.unique};
        struct fuse_init_in in = {.major = FUSE_KERNEL_VERSION, .minor = FS_KERNEL_MINOR_VERSION};
        uint64_t flags = take_byte(world.input) & 1 ? take_number(world.input) | FUSE_INIT_EXT : UINT64_MAX;
        uint8_t out[256];
        struct iovec spans[] = {{&header, sizeof(header)}, {&in, sizeof(in)}}, to = {out, sizeof(out)};

        in.flags = (uint32_t)flags;
        in.flags2 = (uint32_t)(flags >> 32);
        header.len = sizeof(header) + sizeof(in);
        need(fs_handle(world.fs, spans, 2, &to, 1, (struct fs_token){&world, &world}) > 0);
}

static struct fs_options make_options(void)
{
        static struct id_map *ids;
        static struct xattr_map *names;
        struct input *input = world.input;
        uint32_t bits;
        char why[64];

        if (!ids) {
                ids = calloc(1, sizeof(*ids));
                need(ids && id_map_add(ids, "map:1000:2000:1", why, sizeof(why)) == 0);
                need(xattr_map_parse(":map::user.virtiofs.:", &names, why, sizeof(why)) == 0);
        }
        take(input, &bits, sizeof(bits));
        return (struct fs_options){
                .shared_dir = host_share(),
                .readonly = (bits & 31) == 31,
                .cache = bits >> 5 & 3,
                .writeback = bits & 1 << 7,
                .allow_mmap = bits & 1 << 8,
                .allow_direct_io = bits & 1 << 9,
                .preserve_noatime = bits & 1 << 10,
                .no_readdirplus = bits & 1 << 11,
                .no_submounts = bits & 1 << 12,
                .killpriv_v2 = bits & 1 << 13,
                .xattr = !(bits & 1 << 14),
                .xattr_map = bits & 1 << 15 ? names : NULL,
                .posix_acl = bits & 1 << 14 ? FS_NEVER : (bits >> 16 & 3) % 3,
                .security_label = bits & 1 << 14 ? FS_NEVER : FS_AUTO,
                .posix_lock = !(bits & 1 << 18),
                .flock = bits & 1 << 19,
                .file_handles = (bits >> 20 & 3) == 3 ? FS_HANDLES_PREFER : FS_HANDLES_NEVER,
                .uids = bits & 1 << 22 ? ids : NULL,
                .gids = bits & 1 << 22 ? ids : NULL,
                .no_parked = bits & 1 << 23,
                .max_open = bits & 1 << 24 ? 20 : 0,
                .window_size = bits & 1 << 25 ? 0 : HOST_WINDOW,
                .dax_from = bits & 1 << 26 ? 100 : 0,
                .window_ops = &host_window_ops,
                .insist = bits & 1 << 27,
                .may_wait = may_wait,
                .answered = answered,
                .lasts = lasts,
        };
}

static void step(void)
{
        switch (take_byte(world.input) % 32) {
        case 0:
        case 1:
        case 2:
        case 3:
                host_act(world.input);
                break;
        case 4:
                host_window_store(world.input);
                fs_sync(world.fs);
                fs_expire(world.fs);
                break;
        case 5:
                fs_retry_locks(world.fs);
                break;
        case 6:
                fs_give_up_locks(world.fs, &world);
                break;
        default:
                ask(pick_opcode());
                break;
        }
}

static int lowest_fd(void)
{
        int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

        close(fd);
        return fd;
}

int LLVMFuzzerInitialize(int *argc, char ***argv);

/* Before the fuzzer has threads: a process with several gets no user namespace. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
        host_share();
        return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct input input = {data, size};
        int before;

        world = (struct world){.input = &input};
        before = lowest_fd();

        struct fs_options options = make_options();

        bool resumed = take_byte(&input) % 16 == 15;

        host_window_begin((resumed ? HOST_RESUMED : 0) | (take_byte(&input) & 1 ? take_byte(&input) % 8 : 0));
        need(fs_new(&options, -1, &world.fs) == 0);
        if (resumed)
                fs_resume(world.fs);
        else
                init();
        for (unsigned i = 0; i < 100 && input.size > 0; i++)
                step();
        need(fs_locks_fd(world.fs) > 0 && fs_sync_fd(world.fs) > 0 && fs_expire_fd(world.fs) > 0);
        if (take_byte(&input) & 1)
                fs_reset(world.fs);
        fs_give_up_locks(world.fs, NULL);
        fs_free(world.fs);
        for (unsigned i = 0; i < WAITING_MOST; i++) {
                need(!world.waiting[i].waits);
                exchange_free(&world.waiting[i]);
        }
        host_window_end();
        need(lowest_fd() == before);
        host_clear();
        return 0;
}
