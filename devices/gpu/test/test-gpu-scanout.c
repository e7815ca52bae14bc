/* SPDX-License-Identifier: BSD-2-Clause */

/* Images, outputs and the cursor: the calls of sinks, and the answers to drivers about displays. */

#include "devices/gpu/core/command.h"
#include "devices/gpu/core/edid.h"
#include "devices/gpu/test/test-world.h"

#include "base/cleanup.h"

#include <string.h>

#define OK          VIRTIO_GPU_RESP_OK_NODATA
#define UNSPEC      VIRTIO_GPU_RESP_ERR_UNSPEC
#define BAD         VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER
#define NO_RESOURCE VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID
#define NO_SCANOUT  VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID
#define NO_MEMORY   VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY

static const struct world_options two_outputs = {.outputs = 2};

struct shown {
        unsigned sets, offs, updates, cursors, moves;
        struct gpu_rect rect;
        uint32_t width, height, first, last;
        struct gpu_cursor cursor;
        uint32_t cursor_pixel;
};

static void sink_set(void *userdata, unsigned output, const struct gpu_frame *frame)
{
        struct shown *shown = userdata;

        shown->sets += frame != NULL;
        shown->offs += frame == NULL;
        if (frame) {
                shown->width = frame->width;
                shown->height = frame->height;
        }
}

static void sink_update(void *userdata, unsigned output, const struct gpu_frame *frame, struct gpu_rect rect)
{
        struct shown *shown = userdata;
        const uint32_t *row = frame->pixels + (size_t)(rect.y + rect.height - 1) * frame->stride;

        shown->updates++;
        shown->rect = rect;
        shown->first = frame->pixels[(size_t)rect.y * frame->stride + rect.x];
        shown->last = row[rect.x + rect.width - 1];
}

static void sink_set_cursor(void *userdata, unsigned output, const struct gpu_cursor *cursor)
{
        struct shown *shown = userdata;

        shown->cursors++;
        shown->cursor = *cursor;
        shown->cursor_pixel = cursor->pixels ? cursor->pixels[GPU_CURSOR_SIZE * GPU_CURSOR_SIZE - 1] : 0;
}

static void sink_move_cursor(void *userdata, unsigned output, uint32_t x, uint32_t y)
{
        struct shown *shown = userdata;

        shown->moves++;
        shown->cursor.x = x;
        shown->cursor.y = y;
}

static void open_with_sink(struct world *world, struct shown *shown, struct gpu_sink *sink)
{
        *shown = (struct shown){.sets = 0};
        *sink = (struct gpu_sink){shown, sink_set, sink_update, sink_set_cursor, sink_move_cursor, NULL};
        world_open(world, &(struct world_options){.outputs = 2, .sink = sink});
}

static void test_images(void **state)
{
        struct world world;

        world_open(&world, &two_outputs);
        assert_int_equal(world_create_image(&world, 1, 2, 0, 4), BAD);
        assert_int_equal(world_create_image(&world, 1, 2, 4, 16385), BAD);
        assert_int_equal(world_create_image(&world, 1, 99, 4, 4), BAD);
        assert_int_equal(world_create_image(&world, 1, 2, 16384, 16384), NO_MEMORY);
        assert_int_equal(world_create_image(&world, 1, 2, 64, 64), OK);
        assert_int_equal(world_create_image(&world, 1, 2, 64, 64), NO_RESOURCE);
        assert_int_equal(world_transfer(&world, 1, RECT(0, 0, 64, 64), 0), BAD);
        assert_int_equal(world_attach_backing(&world, 2, GUEST, PAGE), NO_RESOURCE);
        assert_int_equal(world_attach_backing(&world, 1, GUEST, 64 * 64 * 4), OK);
        assert_int_equal(world_attach_backing(&world, 1, GUEST, 64 * 64 * 4), UNSPEC);
        assert_int_equal(world_transfer(&world, 1, RECT(0, 0, 64, 64), 0), OK);
        assert_int_equal(world_transfer(&world, 1, RECT(1, 0, 64, 64), 0), BAD);
        assert_int_equal(world_transfer(&world, 1, RECT(UINT32_MAX, 0, 2, 1), 0), BAD);
        assert_int_equal(world_transfer(&world, 1, RECT(0, UINT32_MAX, 1, 2), 0), BAD);
        assert_int_equal(world_transfer(&world, 1, RECT(0, 0, 64, 64), 4), BAD);
        assert_int_equal(world_transfer(&world, 1, RECT(0, 0, 64, 2), UINT64_MAX - 3), BAD);
        assert_int_equal(world_transfer(&world, 2, RECT(0, 0, 1, 1), 0), NO_RESOURCE);

        const struct virtio_gpu_resource_detach_backing detach = {
                .hdr = {.type = VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING}, .resource_id = 1};

        assert_int_equal(DO(&world, detach), OK);
        assert_int_equal(DO(&world, detach), UNSPEC);
        /* An image is not a blob: it is neither mapped nor attached to a renderer's context. */
        assert_int_equal(world_map(&world, 1, 0), UNSPEC);
        assert_int_equal(world_unref(&world, 1), OK);
        /* The memory of a removed one can be used again. */
        for (int i = 0; i < 3; i++) {
                assert_int_equal(world_create_image(&world, 1, 2, 16384, 8192 - 1), OK);
                assert_int_equal(world_create_image(&world, 2, 2, 16384, 2), NO_MEMORY);
                assert_int_equal(world_unref(&world, 1), OK);
        }
        world_close(&world);
}

/* One pixel of each format becomes the same colour. */
static void test_formats(void **state)
{
        static const struct {
                uint32_t format;
                uint8_t bytes[4];
        } rows[] = {
                {VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM, {0x33, 0x22, 0x11, 0x44}},
                {VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, {0x33, 0x22, 0x11, 0x44}},
                {VIRTIO_GPU_FORMAT_A8R8G8B8_UNORM, {0x44, 0x11, 0x22, 0x33}},
                {VIRTIO_GPU_FORMAT_X8R8G8B8_UNORM, {0x44, 0x11, 0x22, 0x33}},
                {VIRTIO_GPU_FORMAT_R8G8B8A8_UNORM, {0x11, 0x22, 0x33, 0x44}},
                {VIRTIO_GPU_FORMAT_R8G8B8X8_UNORM, {0x11, 0x22, 0x33, 0x44}},
                {VIRTIO_GPU_FORMAT_A8B8G8R8_UNORM, {0x44, 0x33, 0x22, 0x11}},
                {VIRTIO_GPU_FORMAT_X8B8G8R8_UNORM, {0x44, 0x33, 0x22, 0x11}},
        };
        struct gpu_sink sink;
        struct shown shown;
        struct world world;

        for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
                open_with_sink(&world, &shown, &sink);
                memcpy(world_at(&world, GUEST), rows[i].bytes, 4);
                assert_int_equal(world_create_image(&world, 1, rows[i].format, 1, 1), OK);
                assert_int_equal(world_attach_backing(&world, 1, GUEST, 4), OK);
                assert_int_equal(world_transfer(&world, 1, RECT(0, 0, 1, 1), 0), OK);
                assert_int_equal(world_set_scanout(&world, 0, 1, RECT(0, 0, 1, 1)), OK);
                assert_int_equal(world_flush(&world, 1, RECT(0, 0, 1, 1)), OK);
                assert_int_equal(shown.first, 0x44112233);
                world_close(&world);
        }
}

static void test_outputs(void **state)
{
        struct gpu_sink sink;
        struct shown shown;
        struct world world;

        open_with_sink(&world, &shown, &sink);
        assert_int_equal(world_create_image(&world, 1, VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, 100, 50), OK);
        assert_int_equal(world_attach_backing(&world, 1, GUEST, 100 * 50 * 4), OK);
        for (uint32_t i = 0; i < 100 * 50; i++)
                memcpy((uint8_t *)world_at(&world, GUEST) + i * 4, &i, 4);
        assert_int_equal(world_transfer(&world, 1, RECT(0, 0, 100, 50), 0), OK);
        assert_int_equal(world_set_scanout(&world, 2, 1, RECT(0, 0, 100, 50)), NO_SCANOUT);
        assert_int_equal(world_set_scanout(&world, 0, 7, RECT(0, 0, 100, 50)), NO_RESOURCE);
        assert_int_equal(world_set_scanout(&world, 0, 1, RECT(0, 0, 101, 50)), BAD);
        assert_int_equal(world_set_scanout(&world, 0, 1, RECT(0, 0, 0, 50)), BAD);
        assert_int_equal(shown.sets + shown.offs, 0);
        /* A part of it, and the whole. */
        assert_int_equal(world_set_scanout(&world, 0, 1, RECT(10, 20, 30, 10)), OK);
        assert_int_equal(world_set_scanout(&world, 1, 1, RECT(0, 0, 100, 50)), OK);
        assert_int_equal(shown.sets, 2);
        /* Another image at the same size is only an update: a driver flips its pages so. */
        assert_int_equal(world_create_image(&world, 2, VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, 100, 50), OK);
        assert_int_equal(world_set_scanout(&world, 1, 2, RECT(0, 0, 100, 50)), OK);
        assert_int_equal(shown.updates, 1);
        assert_true(shown.rect.width == 100 && shown.rect.height == 50 && shown.last == 0);
        assert_int_equal(world_set_scanout(&world, 1, 1, RECT(0, 0, 100, 50)), OK);
        assert_int_equal(shown.updates, 2);
        assert_int_equal(shown.last, 100 * 50 - 1);
        /* Another size is a change, without going off in between. A refused command changes nothing. */
        assert_int_equal(world_set_scanout(&world, 1, 2, RECT(0, 0, 50, 50)), OK);
        assert_int_equal(world_set_scanout(&world, 1, 2, RECT(0, 0, 101, 50)), BAD);
        assert_int_equal(world_set_scanout(&world, 1, 1, RECT(0, 0, 100, 50)), OK);
        assert_int_equal(shown.sets, 4);
        assert_int_equal(shown.offs, 0);
        shown.updates = 0;
        /* Outside of the first one's part; then a corner of it. */
        assert_int_equal(world_flush(&world, 1, RECT(0, 0, 10, 50)), OK);
        assert_int_equal(shown.updates, 1);
        assert_int_equal(world_set_scanout(&world, 1, 0, RECT(0, 0, 0, 0)), OK);
        assert_int_equal(shown.offs, 1);
        assert_int_equal(world_flush(&world, 1, RECT(35, 25, 65, 25)), OK);
        assert_int_equal(shown.updates, 2);
        assert_true(shown.rect.x == 25 && shown.rect.y == 5 && shown.rect.width == 5 && shown.rect.height == 5);
        assert_int_equal(shown.first, 25 * 100 + 35);
        assert_int_equal(shown.last, 29 * 100 + 39);
        assert_int_equal(world_flush(&world, 1, RECT(1, 0, 100, 50)), BAD);
        assert_int_equal(world_flush(&world, 7, RECT(0, 0, 1, 1)), NO_RESOURCE);
        /* A shown resource ends. */
        assert_int_equal(world_unref(&world, 1), OK);
        assert_int_equal(shown.offs, 2);
        world_close(&world);
}

static void test_blob_as_output(void **state)
{
        struct virtio_gpu_set_scanout_blob set = {
                .hdr = {.type = VIRTIO_GPU_CMD_SET_SCANOUT_BLOB},
                .r = {0, 0, 16, 8},
                .resource_id = 1,
                .width = 16,
                .height = 8,
                .format = VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM,
                .strides = {80},
                .offsets = {16},
        };
        struct virtio_gpu_set_scanout_blob wrong;
        struct gpu_sink sink;
        struct shown shown;
        struct world world;

        open_with_sink(&world, &shown, &sink);
        assert_int_equal(DO(&world, set), NO_RESOURCE);
        assert_int_equal(world_create_guest_blob(&world, 0, 1, GUEST, PAGE, 16 + 80 * 7 + 64), OK);
#define WRONG_SCANOUT(type, field, value) \
        wrong = set;                      \
        wrong.field = value;              \
        assert_int_equal(DO(&world, wrong), type)
        WRONG_SCANOUT(BAD, offsets[0], 17);
        WRONG_SCANOUT(BAD, strides[0], 60);
        WRONG_SCANOUT(BAD, strides[0], UINT32_MAX);
        WRONG_SCANOUT(BAD, height, 0);
        WRONG_SCANOUT(BAD, height, 9);
        WRONG_SCANOUT(BAD, width, 17);
        WRONG_SCANOUT(BAD, format, 0);
        WRONG_SCANOUT(BAD, r.width, 17);
        WRONG_SCANOUT(NO_SCANOUT, scanout_id, 2);
        assert_int_equal(DO(&world, set), OK);
        assert_int_equal(world_create_guest_blob(&world, 0, 2, GUEST, 17 * PAGE, 16385 * 4), OK);
        wrong = set;
        wrong.resource_id = 2;
        wrong.r.height = 1;
        wrong.width = 1;
        wrong.strides[0] = 4;
        wrong.offsets[0] = 0;
        wrong.r.width = 1;
        wrong.height = 16384;
        assert_int_equal(DO(&world, wrong), OK);
        wrong.height = 16385;
        assert_int_equal(DO(&world, wrong), BAD);
        wrong.width = 16385;
        wrong.strides[0] = 16385 * 4;
        wrong.height = 1;
        assert_int_equal(DO(&world, wrong), BAD);
        assert_int_equal(world_unref(&world, 2), OK);
        assert_int_equal(shown.offs, 1);
        assert_int_equal(DO(&world, set), OK);
        *(uint32_t *)world_at(&world, GUEST + 16) = 0x123456;
        *(uint32_t *)world_at(&world, GUEST + 16 + 80 * 7 + 60) = 0x654321;
        assert_int_equal(world_flush(&world, 1, RECT(0, 0, 16, 8)), OK);
        assert_int_equal(shown.first, 0x123456);
        assert_int_equal(shown.last, 0x654321);
        WRONG_SCANOUT(OK, resource_id, 0);
        assert_int_equal(shown.offs, 2);
        world_close(&world);
}

static void test_cursor(void **state)
{
        struct virtio_gpu_update_cursor update = {.hdr = {.type = VIRTIO_GPU_CMD_UPDATE_CURSOR},
                                                  .pos = {0, 3, 4, 0},
                                                  .resource_id = 1,
                                                  .hot_x = 5,
                                                  .hot_y = 6};
        struct gpu_sink sink;
        struct shown shown;
        struct world world;

        open_with_sink(&world, &shown, &sink);
        assert_int_equal(world_cursor(&world, &update, sizeof(update), sizeof(update.hdr)), NO_RESOURCE);
        assert_int_equal(world_create_image(&world, 2, VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM, 64, 32), OK);
        update.resource_id = 2;
        assert_int_equal(world_cursor(&world, &update, sizeof(update), sizeof(update.hdr)), NO_RESOURCE);
        update.resource_id = 1;
        assert_int_equal(world_create_image(&world, 1, VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM, 64, 64), OK);
        assert_int_equal(world_attach_backing(&world, 1, GUEST, 64 * 64 * 4), OK);
        *(uint32_t *)world_at(&world, GUEST + (64 * 64 - 1) * 4) = 0xaabbccdd;
        assert_int_equal(world_transfer(&world, 1, RECT(0, 0, 64, 64), 0), OK);
        /* Linux leaves no room for an answer. */
        assert_int_equal(world_cursor(&world, &update, sizeof(update), 0), 0);
        assert_int_equal(shown.cursors, 1);
        assert_true(shown.cursor.x == 3 && shown.cursor.y == 4 && shown.cursor.hot_x == 5 && shown.cursor.hot_y == 6);
        assert_int_equal(shown.cursor_pixel, 0xaabbccdd);
        /* Not with a fence either, which would be a second answer. */
        fake_hold_fences(world.fake, true);
        assert_int_equal(world_create_context(&world, 1, ""), OK);
        update.hdr.flags = VIRTIO_GPU_FLAG_FENCE;
        update.hdr.ctx_id = 1;
        assert_int_equal(world_cursor(&world, &update, sizeof(update), 0), 0);
        assert_int_equal(gpu_count(world.gpu).fences, 0);
        update.hdr.flags = 0;
        update.hdr.type = VIRTIO_GPU_CMD_MOVE_CURSOR;
        update.pos.x = 50;
        assert_int_equal(world_cursor(&world, &update, sizeof(update), sizeof(update.hdr)), OK);
        assert_int_equal(shown.moves, 1);
        assert_int_equal(shown.cursor.x, 50);
        update.pos.scanout_id = 2;
        assert_int_equal(world_cursor(&world, &update, sizeof(update), sizeof(update.hdr)), NO_SCANOUT);
        update.hdr.type = VIRTIO_GPU_CMD_UPDATE_CURSOR;
        assert_int_equal(world_cursor(&world, &update, sizeof(update), sizeof(update.hdr)), NO_SCANOUT);
        update.pos.scanout_id = update.resource_id = 0;
        assert_int_equal(world_cursor(&world, &update, sizeof(update), sizeof(update.hdr)), OK);
        assert_null(shown.cursor.pixels);
        world_close(&world);
}

static void test_display_info(void **state)
{
        const struct virtio_gpu_ctrl_hdr get = {.type = VIRTIO_GPU_CMD_GET_DISPLAY_INFO};
        struct virtio_gpu_cmd_get_edid get_edid = {.hdr = {.type = VIRTIO_GPU_CMD_GET_EDID}};
        struct virtio_gpu_resp_display_info info;
        struct virtio_gpu_resp_edid edid;
        struct world world;
        uint8_t sum = 0;

        world_open(&world, &two_outputs);
        assert_int_equal(world_command(&world, &get, sizeof(get), &info, sizeof(info)),
                         VIRTIO_GPU_RESP_OK_DISPLAY_INFO);
        assert_true(info.pmodes[0].enabled && info.pmodes[1].enabled && !info.pmodes[2].enabled);
        assert_int_equal(info.pmodes[1].r.width, 640);
        assert_int_equal(world_command(&world, &get_edid, sizeof(get_edid), &edid, sizeof(edid)),
                         VIRTIO_GPU_RESP_OK_EDID);
        assert_int_equal(edid.size, EDID_SIZE);
        for (unsigned i = 0; i < EDID_SIZE; i++)
                sum = (uint8_t)(sum + edid.edid[i]);
        assert_int_equal(sum, 0);
        assert_int_equal(edid.edid[54 + 2] | (edid.edid[54 + 4] & 0xf0) << 4, 640);
        assert_int_equal(edid.edid[54 + 5] | (edid.edid[54 + 7] & 0xf0) << 4, 480);
        get_edid.scanout = 2;
        assert_int_equal(world_command(&world, &get_edid, sizeof(get_edid), &edid, sizeof(edid)), NO_SCANOUT);
        world_close(&world);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_images),         counted_test(test_formats), counted_test(test_outputs),
                counted_test(test_blob_as_output), counted_test(test_cursor),  counted_test(test_display_info),
        };

        return run_counted("gpu-scanout", tests);
}
