/* SPDX-License-Identifier: BSD-2-Clause */

/* The input is commands of a virtio-gpu: each is a row of command_rows with small numbers for its ids, and something
 * written over or cut off. Between them the front-end answers or refuses, fences are signalled, and the device is
 * reset. Each answer must be as long as it says, a command is answered once, and nothing is left at the end. */

#include "base/cleanup.h"
#include "devices/gpu/core/command.h"
#include "devices/gpu/core/sink.h"
#include "devices/gpu/test/fake.h"
#include "fuzz/input.h"

#include <errno.h>
#include <string.h>
#include <sys/param.h>

enum { COMMANDS_MOST = 4096, PAYLOAD_MOST = 160, GUEST_SIZE = 1 << 16 };
#define GUEST UINT64_C(0x10000)

static struct world {
        struct input *input;
        struct gpu *gpu;
        struct gpu_renderer *fake;
        struct oriel_memory *memory;
        uint8_t guest[GUEST_SIZE];
        uint64_t tickets;
        unsigned shown, objects;
        bool waits[COMMANDS_MOST]; /* by the number of a command, which is its token */
        unsigned n;
} world;

static struct oriel_memory *give_memory(void *userdata)
{
        return oriel_memory_ref(world.memory);
}

static int give_ticket(uint64_t *ticket)
{
        uint8_t choice = take_byte(world.input);

        if (choice >= 240)
                return choice & 1 ? -ENOSPC : -ENOTCONN;
        if (ticket)
                *ticket = ++world.tickets;
        return 0;
}

static int ask_map(void *userdata, struct oriel_range range, int fd, enum oriel_access access, uint64_t *ticket)
{
        need(fd >= 0 && range.size > 0 && range.start % 4096 == 0 && range.size % 4096 == 0);
        return give_ticket(ticket);
}

static int ask_unmap(void *userdata, struct oriel_range range, uint64_t *ticket)
{
        need(range.size > 0);
        return give_ticket(ticket);
}

static int wait_ticket(void *userdata, uint64_t ticket)
{
        need(ticket <= world.tickets);
        return take_byte(world.input) % 8 == 7 ? -EREMOTEIO : 0;
}

static int object_add(void *userdata, const uint8_t uuid[16], uint64_t *ticket)
{
        const int r = take_choice(world.input, 8) == 7 ? -EOPNOTSUPP : give_ticket(ticket);

        world.objects += r == 0;
        return r;
}

static void object_remove(void *userdata, const uint8_t uuid[16])
{
        need(world.objects-- > 0);
}

static void check_answer(const void *answer, size_t size)
{
        struct virtio_gpu_ctrl_hdr header;

        need(size >= sizeof(header) && size <= GPU_ANSWER_MAX);
        memcpy(&header, answer, sizeof(header));
        need((header.type >= VIRTIO_GPU_RESP_OK_NODATA && header.type <= VIRTIO_GPU_RESP_OK_MAP_INFO) ||
             (header.type >= VIRTIO_GPU_RESP_ERR_UNSPEC && header.type <= VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER));
        need(header.type < VIRTIO_GPU_RESP_ERR_UNSPEC || size == sizeof(header));
}

static void complete(void *userdata, struct gpu_token token, const void *answer, size_t size)
{
        uintptr_t number = (uintptr_t)token.chain;

        need(number < COMMANDS_MOST && world.waits[number]);
        world.waits[number] = false;
        check_answer(answer, size);
}

static void mark_dirty(void *userdata, struct oriel_range guest)
{
        need(guest.start >= GUEST && guest.start + guest.size <= GUEST + GUEST_SIZE);
}

static void config_changed(void *userdata)
{
}

static const struct gpu_ops ops = {
        .memory = give_memory,
        .map = ask_map,
        .unmap = ask_unmap,
        .wait = wait_ticket,
        .object_add = object_add,
        .object_remove = object_remove,
        .complete = complete,
        .mark_dirty = mark_dirty,
        .config_changed = config_changed,
};

/* Each pixel is looked at, so that a sanitizer sees what is not there. */
static void look_at(void *userdata, unsigned output, const struct gpu_frame *frame, struct gpu_rect rect)
{
        need(output < 2 && rect.x + rect.width <= frame->width && rect.y + rect.height <= frame->height);
        for (uint32_t y = rect.y; y < rect.y + rect.height && y < rect.y + 64; y++)
                for (uint32_t x = rect.x; x < rect.x + rect.width && x < rect.x + 64; x++)
                        world.shown += frame->pixels[(size_t)y * frame->stride + x];
}

static void look_at_all(void *userdata, unsigned output, const struct gpu_frame *frame)
{
        if (frame)
                look_at(userdata, output, frame, (struct gpu_rect){0, 0, frame->width, frame->height});
}

static void look_at_cursor(void *userdata, unsigned output, const struct gpu_cursor *cursor)
{
        need(output < 2);
        for (unsigned i = 0; cursor->pixels && i < GPU_CURSOR_SIZE * GPU_CURSOR_SIZE; i++)
                world.shown += cursor->pixels[i];
}

/* Where it will answer, gpu_set_displays() comes some time, or the end. */
static bool will_answer(void *userdata)
{
        return take_byte(world.input) & 1;
}

static const struct gpu_sink sink = {
        .set = look_at_all, .update = look_at, .set_cursor = look_at_cursor, .ask = will_answer};

/* ---- whoever shows the outputs, and the configuration space ---- */

static void set_displays(void)
{
        struct gpu_display displays[GPU_OUTPUTS_MAX] = {{0}};

        for (unsigned i = 0; i < 2; i++) {
                displays[i] = (struct gpu_display){.enabled = take_byte(world.input) & 1,
                                                   .width = 1 + take_byte(world.input) * 4U,
                                                   .height = 1 + take_byte(world.input) * 4U,
                                                   .edid_size = take_byte(world.input) & 1 ? 128 : 0};
        }
        gpu_set_displays(world.gpu, take_byte(world.input) & 1 ? displays : NULL);
}

static void use_config(void)
{
        uint8_t bytes[64] = {take_byte(world.input)};
        const struct oriel_range range = {take_number(world.input), take_number(world.input) % sizeof(bytes)};

        if (take_byte(world.input) & 1)
                gpu_set_config(world.gpu, range, bytes);
        else
                gpu_get_config(world.gpu, range, bytes);
}

static void copy_output(void)
{
        static uint32_t pixels[64 * 64];
        const struct gpu_rect rect = {(uint32_t)take_number(world.input), (uint32_t)take_number(world.input),
                                      1 + take_byte(world.input) % 64U, 1 + take_byte(world.input) % 64U};

        gpu_copy_output(world.gpu, take_byte(world.input) & 1, rect, pixels, 64);
}

static void look_elsewhere(void)
{
        gpu_remove_sink(world.gpu, &sink);
        need(gpu_add_sink(world.gpu, &sink) == 0);
}

/* ---- commands ---- */

/* Makes a word such as headers are mostly followed by: ids, sizes and flags of few values, or part of an address. */
static uint32_t make_word(void)
{
        static const uint32_t words[] = {0,          0,  1,   2,  3, 4, 64, 640, 480, 4096, 8192, (uint32_t)GUEST,
                                         UINT32_MAX, 67, 134, 16, 8};
        uint8_t choice = take_byte(world.input);

        return choice >= 250 ? (uint32_t)take_number(world.input) : words[choice % ARRAY_SIZE(words)];
}

/* Mostly as they are to be: by chance they would hardly ever come about. */
static void make_right(uint8_t *bytes, uint32_t type)
{
        struct {
                struct virtio_gpu_resource_create_blob create;
                struct virtio_gpu_mem_entry entry;
        } blob;
        struct virtio_gpu_resource_map_blob map;
        struct virtio_gpu_ctx_create context;
        uint8_t choice = take_byte(world.input);

        switch (type) {
        case VIRTIO_GPU_CMD_CTX_CREATE:
                memcpy(&context, bytes, sizeof(context));
                context.context_init = FAKE_CAPSET;
                memcpy(bytes, &context, sizeof(context));
                break;
        case VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB:
                memcpy(&blob, bytes, sizeof(blob));
                blob.create.resource_id = 1 + choice % 6;
                blob.create.blob_mem = 1 + (choice >> 4) % 3;
                blob.create.blob_flags = choice < 240;
                blob.create.nr_entries = blob.create.blob_mem != VIRTIO_GPU_BLOB_MEM_HOST3D;
                blob.create.blob_id = choice % FAKE_BLOB_IDS;
                blob.create.size = 4096 * (1 + choice % 3U) - choice % 2;
                blob.entry = (struct virtio_gpu_mem_entry){GUEST + 4096 * (choice % 16), 4096 * 4, 0};
                memcpy(bytes, &blob, sizeof(blob));
                break;
        case VIRTIO_GPU_CMD_RESOURCE_MAP_BLOB:
        case VIRTIO_GPU_CMD_RESOURCE_UNMAP_BLOB:
                memcpy(&map, bytes, sizeof(map));
                map.resource_id = 1 + choice % 6;
                map.offset = 4096 * (choice >> 3);
                memcpy(bytes, &map, sizeof(map));
                break;
        default:
                break;
        }
}

static size_t make_command(uint8_t *bytes, const struct command_row *row)
{
        struct virtio_gpu_ctrl_hdr header = {.type = row->type};
        uint8_t odd = take_byte(world.input);
        size_t size = row->size + (row->type == VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB ? 16 : 0) +
                      take_byte(world.input) % PAYLOAD_MOST;

        header.flags = odd & 3;
        header.ctx_id = odd >> 2 & 3;
        header.ring_idx = odd >> 4 & 1;
        header.fence_id = odd >> 5 & 3;
        memcpy(bytes, &header, sizeof(header));
        for (size_t at = sizeof(header); at + 4 <= size; at += 4) {
                uint32_t word = make_word();

                memcpy(bytes + at, &word, 4);
        }
        if (take_byte(world.input) < 200)
                make_right(bytes, row->type);
        if (odd >= 240)
                bytes[take_byte(world.input) % size] = take_byte(world.input);
        return odd >= 224 && odd < 240 ? size - MIN(size, (size_t)take_byte(world.input)) : size;
}

static void ask(void)
{
        static uint8_t bytes[512], answer[GPU_ANSWER_MAX];
        const struct command_row *row = &command_rows[take_byte(world.input) % n_command_rows];
        size_t size = make_command(bytes, row);
        uint8_t choice = take_byte(world.input);
        size_t room = choice >= 240 ? take_byte(world.input) : GPU_ANSWER_MAX;
        enum gpu_queue queue = choice == 239 ? !row->queue : row->queue;
        uintptr_t number = world.n++;

        world.waits[number] = true;

        ssize_t r = gpu_handle(world.gpu, queue, bytes, size, answer, room, (struct gpu_token){&world, (void *)number});

        need(r == -EINPROGRESS || (r >= 0 && (size_t)r <= room));
        if (r == -EINPROGRESS)
                return;
        need(world.waits[number]);
        world.waits[number] = false;
        if (r > 0)
                check_answer(answer, (size_t)r);
}

static void do_other(uint8_t choice)
{
        static void (*const shows[])(void) = {set_displays, use_config, copy_output, look_elsewhere};

        switch (choice % 8) {
        case 0:
                gpu_reset(world.gpu);
                break;
        case 1:
                gpu_set_features(world.gpu, choice & 8 ? gpu_features(world.gpu) : take_byte(world.input));
                break;
        case 2:
                fake_hold_fences(world.fake, choice & 8);
                break;
        case 3:
                gpu_settle(world.gpu, &world, 0);
                break;
        case 4:
                shows[take_byte(world.input) % ARRAY_SIZE(shows)]();
                break;
        default:
                fake_signal(world.fake, choice >> 3 & 3, choice >> 5 & 1, take_byte(world.input) & 3);
                break;
        }
}

static void begin(void)
{
        const struct oriel_memory_region region = {GUEST, GUEST_SIZE, 0, 0};
        struct oriel_memory *empty;
        struct gpu_options options = {.ops = &ops, .window_size = 1 << 20, .outputs = 2, .width = 640, .height = 480};

        need(oriel_memory_new(1, 0, &empty) == 0);
        need(oriel_memory_add_mapped(empty, &region, world.guest, ORIEL_ACCESS_READ_WRITE, &world.memory) == 0);
        oriel_memory_unref(empty);
        options.renderers[0] = world.fake = fake_new();
        need(gpu_new(&options, &world.gpu) == 0);
        need(gpu_add_sink(world.gpu, &sink) == 0);
        gpu_set_features(world.gpu, gpu_features(world.gpu));
}

static void end(void)
{
        gpu_await_mappings(world.gpu);
        gpu_reset(world.gpu);

        const struct gpu_counts counts = gpu_count(world.gpu);

        need(counts.contexts + counts.resources + counts.mappings + counts.fences == 0);
        need(fake_count(world.fake).blobs == 0 && fake_count(world.fake).contexts == 0);
        for (unsigned i = 0; i < world.n; i++)
                need(!world.waits[i]);
        need(world.objects == 0);
        gpu_free(world.gpu);
        oriel_memory_unref(world.memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct input input = {data, size};

        memset(world.waits, 0, sizeof(world.waits));
        world.n = 0;
        world.input = &input;
        begin();
        while (input.size > 0 && world.n < COMMANDS_MOST) {
                uint8_t choice = take_byte(&input);

                if (choice >= 232)
                        do_other(choice);
                else if (choice >= 200)
                        gpu_await_mappings(world.gpu);
                else
                        ask();
        }
        end();
        return 0;
}
