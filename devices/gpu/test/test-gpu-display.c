/* SPDX-License-Identifier: BSD-2-Clause */

/* The GPU socket, with the front-end's end in this test: requests, updates and answers, wrong answers, and a
 * front-end that does not read, for which nobody waits. */

#include "devices/gpu/display/socket.h"
#include "devices/gpu/test/test-world.h"

#include "base/cleanup.h"
#include "base/fd.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/param.h>
#include <sys/socket.h>
#include <unistd.h>

#define OK VIRTIO_GPU_RESP_OK_NODATA

enum {
        GET_FEATURES = 1,
        SET_FEATURES,
        GET_INFO,
        CURSOR_POS,
        CURSOR_HIDE,
        CURSOR_UPDATE,
        SCANOUT,
        UPDATE,
        GET_EDID = 11
};
enum { REPLY = 4, WAIT_MS = 20000, QUIET_MS = 50 };

struct message {
        uint32_t request, flags, size;
        uint32_t words[(2 << 20) / 4];
};

struct screen {
        struct world world;
        struct gpu_socket *socket;
        int fd; /* the front-end's end */
        struct message message;
};

static void read_whole(int fd, void *data, size_t size)
{
        for (size_t at = 0; at < size;) {
                struct pollfd readable = {.fd = fd, .events = POLLIN};

                assert_int_equal(poll(&readable, 1, WAIT_MS), 1);

                ssize_t n = read(fd, (uint8_t *)data + at, size - at);

                assert_true(n > 0);
                at += (size_t)n;
        }
}

/* Reads the next message, which must be @request. */
static const uint32_t *expect(struct screen *screen, uint32_t request, uint32_t size)
{
        struct message *message = &screen->message;

        read_whole(screen->fd, message, 12);
        assert_int_equal(message->request, request);
        assert_int_equal(message->flags, 0);
        assert_int_equal(message->size, size);
        assert_true(size <= sizeof(message->words));
        read_whole(screen->fd, message->words, size);
        return message->words;
}

static void expect_nothing(struct screen *screen)
{
        struct pollfd readable = {.fd = screen->fd, .events = POLLIN};

        assert_int_equal(poll(&readable, 1, QUIET_MS), 0);
}

static void expect_end(struct screen *screen)
{
        struct pollfd readable = {.fd = screen->fd, .events = POLLIN};
        uint8_t byte;

        assert_int_equal(poll(&readable, 1, WAIT_MS), 1);
        assert_true(read(screen->fd, &byte, 1) <= 0);
}

static void answer(struct screen *screen, uint32_t request, const void *payload, uint32_t size)
{
        struct message *message = &screen->message;

        *message = (struct message){.request = request, .flags = REPLY, .size = size};
        memcpy(message->words, payload, size);
        /* In one piece: a wrong header ends the socket. */
        assert_int_equal(send(screen->fd, message, 12 + size, MSG_NOSIGNAL), 12 + size);
}

/* @features: those of the front-end. */
static void open_screen(struct screen *screen, uint64_t features)
{
        const struct oriel_log silent = {.struct_size = sizeof(silent)};
        int fds[2];

        world_open(&screen->world, &(struct world_options){.outputs = 2});
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        screen->fd = fds[0];
        assert_int_equal(gpu_socket_new(screen->world.gpu, &silent, fds[1], &screen->socket), 0);
        expect(screen, GET_FEATURES, 0);
        answer(screen, GET_FEATURES, &features, sizeof(features));

        const uint32_t *chosen = expect(screen, SET_FEATURES, 8);

        assert_true(chosen[0] == (features & 1) && chosen[1] == 0);
}

static void close_screen(struct screen *screen)
{
        gpu_socket_free(screen->socket);
        fd_close(screen->fd);
        world_close(&screen->world);
}

/* A picture of @width x @height, each pixel its own number, as output 0. */
static void draw(struct screen *screen, uint32_t width, uint32_t height, uint32_t first)
{
        struct world *world = &screen->world;
        uint32_t *pixels = world_at(world, GUEST);

        for (uint32_t i = 0; i < width * height; i++)
                pixels[i] = first + i;
        assert_int_equal(world_create_image(world, 1, VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, width, height), OK);
        assert_int_equal(world_attach_backing(world, 1, GUEST, width * height * 4), OK);
        assert_int_equal(world_transfer(world, 1, RECT(0, 0, width, height), 0), OK);
        assert_int_equal(world_set_scanout(world, 0, 1, RECT(0, 0, width, height)), OK);
}

/* Paints @rect of it in one colour. */
static void paint(struct screen *screen, uint32_t width, struct virtio_gpu_rect rect, uint32_t colour)
{
        struct world *world = &screen->world;
        uint32_t *pixels = world_at(world, GUEST);

        for (uint32_t y = rect.y; y < rect.y + rect.height; y++)
                for (uint32_t x = rect.x; x < rect.x + rect.width; x++)
                        pixels[y * width + x] = colour;
        assert_int_equal(world_transfer(world, 1, rect, ((uint64_t)rect.y * width + rect.x) * 4), OK);
        assert_int_equal(world_flush(world, 1, rect), OK);
}

static void expect_scanout(struct screen *screen, uint32_t output, uint32_t width, uint32_t height)
{
        const uint32_t *words = expect(screen, SCANOUT, 12);

        assert_true(words[0] == output && words[1] == width && words[2] == height);
}

/* Its pixels. */
static const uint32_t *expect_update(struct screen *screen, uint32_t output, struct virtio_gpu_rect rect)
{
        const uint32_t *words = expect(screen, UPDATE, 20 + rect.width * rect.height * 4);

        assert_true(words[0] == output && words[1] == rect.x && words[2] == rect.y && words[3] == rect.width &&
                    words[4] == rect.height);
        return words + 5;
}

static struct screen *new_screen(void)
{
        return test_calloc(1, sizeof(struct screen));
}

/* ---- what is shown ---- */

static void test_pixels(void **state)
{
        struct screen *screen = new_screen();

        open_screen(screen, 3);
        draw(screen, 40, 20, 0x1000);
        expect_scanout(screen, 0, 40, 20);

        const uint32_t *pixels = expect_update(screen, 0, RECT(0, 0, 40, 20));

        for (uint32_t i = 0; i < 40 * 20; i++)
                assert_int_equal(pixels[i], 0x1000 + i);
        paint(screen, 40, RECT(5, 6, 7, 8), 0xabcdef);
        pixels = expect_update(screen, 0, RECT(5, 6, 7, 8));
        for (uint32_t i = 0; i < 7 * 8; i++)
                assert_int_equal(pixels[i], 0xabcdef);
        expect_nothing(screen);
        assert_int_equal(world_set_scanout(&screen->world, 0, 0, RECT(0, 0, 0, 0)), OK);
        expect_scanout(screen, 0, 0, 0);
        close_screen(screen);
        test_free(screen);
}

/* More pixels than a message holds come in several. */
static void test_bands(void **state)
{
        struct screen *screen = new_screen();
        uint32_t next = 0;

        open_screen(screen, 1);
        assert_int_equal(world_create_image(&screen->world, 1, VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, 1000, 700), OK);
        assert_int_equal(world_attach_backing(&screen->world, 1, GUEST, 1000 * 4), OK);
        for (uint32_t y = 0; y < 700; y++) {
                ((uint32_t *)world_at(&screen->world, GUEST))[999] = y;
                assert_int_equal(world_transfer(&screen->world, 1, RECT(0, y, 1000, 1), 0), OK);
        }
        assert_int_equal(world_set_scanout(&screen->world, 0, 1, RECT(0, 0, 1000, 700)), OK);
        expect_scanout(screen, 0, 1000, 700);
        while (next < 700) {
                const uint32_t rows = MIN(262, 700 - next);
                const uint32_t *pixels = expect_update(screen, 0, RECT(0, next, 1000, rows));

                for (uint32_t i = 0; i < rows; i++, next++)
                        assert_int_equal(pixels[i * 1000 + 999], next);
        }
        expect_nothing(screen);
        close_screen(screen);
        test_free(screen);
}

/* Paints the pixels of an update into @window, with @width pixels in a row. */
static void apply_update(struct screen *screen, uint32_t *window, uint32_t width)
{
        const uint32_t *words = screen->message.words;

        read_whole(screen->fd, &screen->message, 12);
        assert_int_equal(screen->message.request, UPDATE);
        read_whole(screen->fd, screen->message.words, screen->message.size);
        for (uint32_t y = 0; y < words[4]; y++)
                memcpy(window + (words[2] + y) * width + words[1], words + 5 + y * words[3], words[3] * 4);
}

/* Nobody reads: damage that is drawn meanwhile merges to one rectangle of the newest pixels, and in the end all
 * pixels are there. */
static void test_merged(void **state)
{
        static uint32_t window[500 * 400];
        struct screen *screen = new_screen();
        unsigned updates = 0;

        open_screen(screen, 1);
        draw(screen, 500, 400, 0);
        expect_scanout(screen, 0, 500, 400);
        /* It keeps what the socket's buffer has room for, and no more. */
        for (uint32_t i = 1; i <= 2000; i++) {
                paint(screen, 500, RECT(i % 100, 0, 20, 10), i);
                paint(screen, 500, RECT(300, i % 100 + 200, 20, 10), i);
        }
        while (memcmp(window, world_at(&screen->world, GUEST), sizeof(window)) != 0) {
                apply_update(screen, window, 500);
                updates++;
        }
        assert_true(updates < 1000);
        close_screen(screen);
        test_free(screen);
}

/* A reset in the middle of bands, and another size while one waits. */
static void test_size_that_changes(void **state)
{
        struct screen *screen = new_screen();
        bool small = false;

        open_screen(screen, 1);
        for (unsigned i = 0; i < 20; i++) {
                draw(screen, i % 2 ? 30 : 500, i % 2 ? 20 : 500, 0);
                assert_int_equal(world_unref(&screen->world, 1), OK);
        }
        draw(screen, 10, 10, 77);
        while (!small || screen->message.request != UPDATE) {
                const uint32_t *words = screen->message.words;

                read_whole(screen->fd, &screen->message, 12);
                read_whole(screen->fd, screen->message.words, screen->message.size);
                if (screen->message.request == SCANOUT)
                        small = words[1] == 10;
        }
        assert_int_equal(screen->message.words[5], 77);
        expect_nothing(screen);
        close_screen(screen);
        test_free(screen);
}

static void test_cursor(void **state)
{
        struct virtio_gpu_update_cursor update = {.hdr = {.type = VIRTIO_GPU_CMD_UPDATE_CURSOR},
                                                  .pos = {.scanout_id = 1, .x = 5, .y = 6},
                                                  .resource_id = 9,
                                                  .hot_x = 1,
                                                  .hot_y = 2};
        struct virtio_gpu_update_cursor move = {.hdr = {.type = VIRTIO_GPU_CMD_MOVE_CURSOR},
                                                .pos = {.scanout_id = 1, .x = 7, .y = 8}};
        struct screen *screen = new_screen();
        struct world *world = &screen->world;
        const uint32_t *words;

        open_screen(screen, 1);
        assert_int_equal(world_create_image(world, 9, VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM, 64, 64), OK);
        assert_int_equal(world_attach_backing(world, 9, GUEST, 64 * 64 * 4), OK);
        ((uint32_t *)world_at(world, GUEST))[64 * 64 - 1] = 0x80123456;
        assert_int_equal(world_transfer(world, 9, RECT(0, 0, 64, 64), 0), OK);
        assert_int_equal(world_cursor(world, &update, sizeof(update), sizeof(update.hdr)), OK);
        words = expect(screen, CURSOR_UPDATE, 20 + 64 * 64 * 4);
        assert_true(words[0] == 1 && words[1] == 5 && words[2] == 6 && words[3] == 1 && words[4] == 2);
        assert_int_equal(words[5 + 64 * 64 - 1], 0x80123456);
        assert_int_equal(world_cursor(world, &move, sizeof(move), sizeof(move.hdr)), OK);
        words = expect(screen, CURSOR_POS, 12);
        assert_true(words[0] == 1 && words[1] == 7 && words[2] == 8);
        update.resource_id = 0;
        assert_int_equal(world_cursor(world, &update, sizeof(update), sizeof(update.hdr)), OK);
        expect(screen, CURSOR_HIDE, 12);
        assert_int_equal(world_cursor(world, &move, sizeof(move), sizeof(move.hdr)), OK);
        words = expect(screen, CURSOR_HIDE, 12);
        assert_true(words[1] == 7 && words[2] == 8);
        close_screen(screen);
        test_free(screen);
}

/* ---- the settings of outputs ---- */

static const struct virtio_gpu_ctrl_hdr get_info = {.type = VIRTIO_GPU_CMD_GET_DISPLAY_INFO};

/* The driver asks, and its command waits. */
static void ask_info(struct screen *screen)
{
        struct virtio_gpu_resp_display_info info;

        assert_int_equal(world_command(&screen->world, &get_info, sizeof(get_info), &info, sizeof(info)), 0);
}

static void answer_info(struct screen *screen, uint32_t width, uint32_t height)
{
        struct virtio_gpu_resp_display_info info = {
                .pmodes = {[1] = {.r = {.x = 3, .width = width, .height = height}, .enabled = 1}}};

        answer(screen, GET_INFO, &info, sizeof(info));
}

static void answer_edid(struct screen *screen, uint32_t size)
{
        struct virtio_gpu_resp_edid edid = {.size = size};

        memset(edid.edid, 0x5a, sizeof(edid.edid));
        answer(screen, GET_EDID, &edid, sizeof(edid));
}

static void wait_done(struct world *world, unsigned n)
{
        for (unsigned i = 0; world_n_done(world) < n && i < WAIT_MS; i++)
                usleep(1000);
        assert_int_equal(world_n_done(world), n);
}

static void test_display_info(void **state)
{
        const struct virtio_gpu_cmd_get_edid get_edid = {.hdr = {.type = VIRTIO_GPU_CMD_GET_EDID}, .scanout = 1};
        struct virtio_gpu_resp_display_info info;
        struct virtio_gpu_resp_edid edid;
        struct screen *screen = new_screen();
        struct world *world = &screen->world;

        open_screen(screen, 1);
        expect_nothing(screen);
        ask_info(screen);
        expect(screen, GET_INFO, 0);
        assert_int_equal(world_command(world, &get_edid, sizeof(get_edid), &edid, sizeof(edid)), 0);
        answer_info(screen, 1024, 768);
        assert_int_equal(*expect(screen, GET_EDID, 4), 1);
        assert_int_equal(world_n_done(world), 0);
        answer_edid(screen, 256);
        wait_done(world, 2);
        assert_int_equal(world->done[0].type, VIRTIO_GPU_RESP_OK_DISPLAY_INFO);
        memcpy(&info, world->done[0].answer, sizeof(info));
        assert_true(!info.pmodes[0].enabled && info.pmodes[1].enabled);
        assert_true(info.pmodes[1].r.x == 3 && info.pmodes[1].r.width == 1024 && info.pmodes[1].r.height == 768);
        assert_int_equal(world->done[1].type, VIRTIO_GPU_RESP_OK_EDID);
        memcpy(&edid, world->done[1].answer, sizeof(edid));
        assert_true(edid.size == 256 && edid.edid[255] == 0x5a && edid.edid[256] == 0);
        /* A question that came meanwhile is asked again; no command waits for the answer, so a change is an event. */
        expect(screen, GET_INFO, 0);
        answer_info(screen, 1024, 768);
        expect(screen, GET_EDID, 4);
        answer_edid(screen, 256);
        expect_nothing(screen);
        assert_int_equal(world_n_events(world), 0);
        close_screen(screen);
        test_free(screen);
}

static void test_event(void **state)
{
        const struct oriel_range events = {0, 4};
        const struct oriel_log silent = {.struct_size = sizeof(silent)};
        struct virtio_gpu_resp_display_info info;
        struct screen *screen = new_screen();
        struct world *world = &screen->world;
        uint32_t read_events;
        int fds[2];
        const uint64_t none = 0;

        /* The driver was answered before there is a window. */
        world_open(world, &(struct world_options){.outputs = 2});
        assert_int_equal(world_command(world, &get_info, sizeof(get_info), &info, sizeof(info)),
                         VIRTIO_GPU_RESP_OK_DISPLAY_INFO);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        screen->fd = fds[0];
        assert_int_equal(gpu_socket_new(world->gpu, &silent, fds[1], &screen->socket), 0);
        expect(screen, GET_FEATURES, 0);
        answer(screen, GET_FEATURES, &none, sizeof(none));
        expect(screen, SET_FEATURES, 8);
        expect(screen, GET_INFO, 0);
        answer_info(screen, 333, 222);
        for (unsigned i = 0; world_n_events(world) == 0 && i < WAIT_MS; i++)
                usleep(1000);
        assert_int_equal(world_n_events(world), 1);
        assert_int_equal(gpu_get_config(world->gpu, events, &read_events), 0);
        assert_int_equal(read_events, VIRTIO_GPU_EVENT_DISPLAY);
        assert_int_equal(gpu_set_config(world->gpu, (struct oriel_range){4, 4}, &read_events), 0);
        assert_int_equal(gpu_get_config(world->gpu, events, &read_events), 0);
        assert_int_equal(read_events, 0);
        /* A queue that stops does not wait for it. */
        ask_info(screen);
        expect(screen, GET_INFO, 0);
        gpu_settle(world->gpu, world, 0);
        assert_int_equal(world_n_done(world), 1);
        memcpy(&info, world->done[0].answer, sizeof(info));
        assert_int_equal(info.pmodes[1].r.width, 333);
        /* A driver that has begun anew, and has not asked, gets no event. */
        gpu_reset(world->gpu);
        answer_info(screen, 444, 111);
        expect_nothing(screen);
        ask_info(screen);
        expect(screen, GET_INFO, 0);
        answer_info(screen, 444, 111);
        wait_done(world, 2);
        assert_int_equal(world_n_events(world), 1);
        /* Nor does one whose command this answers. */
        ask_info(screen);
        expect(screen, GET_INFO, 0);
        answer_info(screen, 555, 111);
        wait_done(world, 3);
        ask_info(screen);
        expect(screen, GET_INFO, 0);
        assert_int_equal(world_n_events(world), 1);
        close_screen(screen);
        test_free(screen);
}

/* ---- errors ---- */

struct wrong {
        uint32_t request, flags, size;
        uint32_t word; /* of the payload, all of them */
};

/* The socket ends, and the driver has its answer. */
static void test_wrong_answers(void **state)
{
        static const struct wrong rows[] = {
                {GET_EDID, REPLY, sizeof(struct virtio_gpu_resp_edid), 0},
                {GET_INFO, 0, sizeof(struct virtio_gpu_resp_display_info), 0},
                {GET_INFO, REPLY | 1, sizeof(struct virtio_gpu_resp_display_info), 0},
                {GET_INFO, REPLY, 0, 0},
                {GET_INFO, REPLY, sizeof(struct virtio_gpu_resp_display_info) + 1, 0},
                {GET_INFO, REPLY, UINT32_MAX, 0},
                {GET_INFO, REPLY, sizeof(struct virtio_gpu_resp_display_info), UINT32_MAX},
                {UINT32_MAX, UINT32_MAX, UINT32_MAX, 0},
        };
        struct screen *screen = new_screen();

        for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
                const uint32_t header[] = {rows[i].request, rows[i].flags, rows[i].size};
                struct virtio_gpu_resp_display_info info;
                uint8_t payload[sizeof(info)];

                memset(payload, (int)rows[i].word, sizeof(payload));
                open_screen(screen, 1);
                ask_info(screen);
                expect(screen, GET_INFO, 0);
                assert_int_equal(write(screen->fd, header, sizeof(header)), sizeof(header));
                (void)!send(screen->fd, payload, sizeof(payload), MSG_NOSIGNAL);
                expect_end(screen);
                wait_done(&screen->world, 1);
                memcpy(&info, screen->world.done[0].answer, sizeof(info));
                assert_int_equal(info.pmodes[0].r.width, 640);
                /* The gpu goes on, and asks no sink. */
                draw(screen, 10, 10, 0);
                assert_int_equal(world_command(&screen->world, &get_info, sizeof(get_info), &info, sizeof(info)),
                                 VIRTIO_GPU_RESP_OK_DISPLAY_INFO);
                close_screen(screen);
        }
        test_free(screen);
}

static void test_wrong_sizes(void **state)
{
        static const uint32_t sizes[][2] = {{16385, 100}, {100, 16385}, {0, 100}, {100, 0}};
        struct screen *screen = new_screen();

        for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
                open_screen(screen, 0);
                ask_info(screen);
                expect(screen, GET_INFO, 0);
                answer_info(screen, sizes[i][0], sizes[i][1]);
                expect_end(screen);
                wait_done(&screen->world, 1);
                close_screen(screen);
        }
        test_free(screen);
}

static void test_wrong_edid(void **state)
{
        struct screen *screen = new_screen();

        open_screen(screen, 1);
        ask_info(screen);
        expect(screen, GET_INFO, 0);
        answer_info(screen, 100, 100);
        expect(screen, GET_EDID, 4);
        answer_edid(screen, 1025);
        expect_end(screen);
        wait_done(&screen->world, 1);
        close_screen(screen);
        test_free(screen);
}

/* An answer without a request. */
static void test_unasked(void **state)
{
        struct screen *screen = new_screen();

        open_screen(screen, 1);
        answer_info(screen, 100, 100);
        expect_end(screen);
        close_screen(screen);
        test_free(screen);
}

static void test_close_in_the_middle(void **state)
{
        struct screen *screen = new_screen();
        uint8_t some[100];

        for (unsigned i = 0; i < 20; i++) {
                open_screen(screen, 1);
                draw(screen, 500, 400, 0);
                ask_info(screen);
                read_whole(screen->fd, some, i * 5);
                screen->fd = fd_close(screen->fd);
                wait_done(&screen->world, 1);
                paint(screen, 500, RECT(0, 0, 500, 400), i);
                close_screen(screen);
        }
        test_free(screen);
}

static void test_no_socket(void **state)
{
        const struct oriel_log silent = {.struct_size = sizeof(silent)};
        struct gpu_socket *socket = NULL;
        struct world world;

        world_open(&world, &(struct world_options){.outputs = 1});
        assert_int_equal(gpu_socket_new(world.gpu, &silent, eventfd(0, EFD_CLOEXEC), &socket), -ENOTSOCK);
        assert_int_equal(gpu_socket_new(world.gpu, &silent, -1, &socket), -ENOTSOCK);
        assert_null(socket);
        gpu_socket_free(NULL);
        world_close(&world);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_pixels),      counted_test(test_bands),
                counted_test(test_merged),      counted_test(test_size_that_changes),
                counted_test(test_cursor),      counted_test(test_display_info),
                counted_test(test_event),       counted_test(test_wrong_answers),
                counted_test(test_wrong_sizes), counted_test(test_wrong_edid),
                counted_test(test_unasked),     counted_test(test_close_in_the_middle),
                counted_test(test_no_socket),
        };

        return run_counted("gpu-display", tests);
}
