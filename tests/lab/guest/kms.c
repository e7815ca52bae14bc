/* SPDX-License-Identifier: BSD-2-Clause */
/* A client of KMS, as a compositor is one: it sets modes, flips between two buffers, marks what it has changed of the
 * one that is shown, and has a cursor. The buffers are larger than the modes, so that any part of them can be shown.
 * Static and without libdrm: it runs in an initramfs.
 *
 * kms PICTURE CURSOR: each line of the input is a step, answered by "done". What is to be shown after it is then in
 * PICTURE, four bytes for each pixel: blue, green, red and 0; the cursor is in CURSOR, with its alpha. */
#include "guest.h"

#include <drm/drm.h>
#include <drm/drm_mode.h>
#include <sys/ioctl.h>

enum { WIDTH = 1200, HEIGHT = 800, CURSOR_SIZE = 64, IDS_MAX = 16, MODES_MAX = 128 };

/* Memory of the card for pixels of 32 bits. */
struct buffer {
        uint32_t handle, framebuffer, stride; /* stride in pixels */
        uint32_t *pixels;
};

static int card;
static uint32_t connector, crtc;
static struct drm_mode_modeinfo modes[MODES_MAX];
static unsigned mode_count;
static struct buffer buffers[2], cursor;

/* The picture that is shown: a part of a buffer, by a mode. */
static unsigned shown;
static uint32_t left, top;
static struct drm_mode_modeinfo mode;

static void card_call(unsigned long request, void *argument, const char *name)
{
        if (ioctl(card, request, argument) < 0)
                die("%s", name);
}
#define CALL(request, argument) card_call(DRM_IOCTL_##request, argument, #request)

/* ---- pictures ---- */

static uint32_t next_noise(void)
{
        static uint32_t state = 1;

        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        return state;
}

/* New pixels, of which each differs from its eight neighbours. The byte of alpha, which a screen has no use for, is
 * noise too. */
static void draw(struct buffer *buffer, uint32_t x, uint32_t y, uint32_t width, uint32_t height)
{
        for (uint32_t row = y; row < y + height; row++)
                for (uint32_t column = x; column < x + width; column++) {
                        uint32_t noise = next_noise(), gradient = (column + row) & 0xff;

                        buffer->pixels[row * buffer->stride + column] =
                                (noise & 0xff00fffc) ^ gradient << 16 ^ ((row & 1) << 1 | (column & 1));
                }
}

static void write_file(const char *path, const struct buffer *buffer, uint32_t width, uint32_t height, uint32_t mask)
{
        FILE *file = fopen(path, "w");

        if (!file)
                die("%s", path);
        for (uint32_t y = 0; y < height; y++)
                for (uint32_t x = 0; x < width; x++) {
                        uint32_t pixel = buffer->pixels[y * buffer->stride + x] & mask;

                        fwrite(&pixel, sizeof(pixel), 1, file);
                }
        if (fclose(file) != 0)
                die("%s", path);
}

static void write_picture(const char *path)
{
        struct buffer part = buffers[shown];

        part.pixels += top * part.stride + left;
        write_file(path, &part, mode.hdisplay, mode.vdisplay, 0xffffff);
}

/* ---- the card ---- */

static void make_buffer(struct buffer *buffer, uint32_t width, uint32_t height)
{
        struct drm_mode_create_dumb create = {.width = width, .height = height, .bpp = 32};

        CALL(MODE_CREATE_DUMB, &create);

        struct drm_mode_map_dumb map = {.handle = create.handle};

        CALL(MODE_MAP_DUMB, &map);
        buffer->pixels = mmap(NULL, create.size, PROT_READ | PROT_WRITE, MAP_SHARED, card, (off_t)map.offset);
        if (buffer->pixels == MAP_FAILED)
                die("mmap");
        buffer->handle = create.handle;
        buffer->stride = create.pitch / 4;
        draw(buffer, 0, 0, width, height);
}

static void make_framebuffer(struct buffer *buffer)
{
        make_buffer(buffer, WIDTH, HEIGHT);

        struct drm_mode_fb_cmd add = {.width = WIDTH,
                                      .height = HEIGHT,
                                      .pitch = buffer->stride * 4,
                                      .bpp = 32,
                                      .depth = 24,
                                      .handle = buffer->handle};

        CALL(MODE_ADDFB, &add);
        buffer->framebuffer = add.fb_id;
}

/* Its modes are taken. */
static bool is_connected(uint32_t id)
{
        struct drm_mode_get_connector get = {
                .connector_id = id, .modes_ptr = (uintptr_t)modes, .count_modes = MODES_MAX};

        CALL(MODE_GETCONNECTOR, &get);
        mode_count = get.count_modes;
        return get.connection == 1 && mode_count <= MODES_MAX;
}

/* The first connector that something is connected to, and the CRTC of the same place. */
static void open_card(void)
{
        uint32_t connectors[IDS_MAX] = {0}, crtcs[IDS_MAX] = {0};
        struct drm_mode_card_res resources = {
                .connector_id_ptr = (uintptr_t)connectors,
                .count_connectors = IDS_MAX,
                .crtc_id_ptr = (uintptr_t)crtcs,
                .count_crtcs = IDS_MAX,
        };
        uint32_t i = 0;

        card = open_file("/dev/dri/card0", O_RDWR);
        CALL(SET_MASTER, NULL);
        CALL(MODE_GETRESOURCES, &resources);
        while (i < resources.count_connectors && i < resources.count_crtcs && i < IDS_MAX &&
               !is_connected(connectors[i]))
                i++;
        if (i == resources.count_connectors || i == resources.count_crtcs || i == IDS_MAX)
                die("no connector");
        connector = connectors[i];
        crtc = crtcs[i];
        make_framebuffer(&buffers[0]);
        make_framebuffer(&buffers[1]);
        make_buffer(&cursor, CURSOR_SIZE, CURSOR_SIZE);
}

/* ---- steps ---- */

/* mode WIDTH HEIGHT X Y: set a mode of that size, which shows the buffer from there on. */
static void set_mode(const uint32_t *numbers)
{
        unsigned i = 0;

        while (i < mode_count && (modes[i].hdisplay != numbers[0] || modes[i].vdisplay != numbers[1]))
                i++;
        if (i == mode_count)
                die("no mode of %ux%u", numbers[0], numbers[1]);
        mode = modes[i];
        left = numbers[2];
        top = numbers[3];

        struct drm_mode_crtc set = {
                .set_connectors_ptr = (uintptr_t)&connector,
                .count_connectors = 1,
                .crtc_id = crtc,
                .fb_id = buffers[shown].framebuffer,
                .x = left,
                .y = top,
                .mode_valid = 1,
                .mode = mode,
        };

        CALL(MODE_SETCRTC, &set);
}

/* flip: draw a picture where none is shown, show it, and wait until it is. */
static void flip(const uint32_t *numbers)
{
        struct drm_mode_crtc_page_flip page_flip = {
                .crtc_id = crtc, .flags = DRM_MODE_PAGE_FLIP_EVENT, .user_data = 0x4b4d53};
        struct drm_event_vblank event;

        (void)numbers;
        shown = !shown;
        draw(&buffers[shown], 0, 0, WIDTH, HEIGHT);
        page_flip.fb_id = buffers[shown].framebuffer;
        CALL(MODE_PAGE_FLIP, &page_flip);
        if (read(card, &event, sizeof(event)) != sizeof(event) || event.base.type != DRM_EVENT_FLIP_COMPLETE ||
            event.user_data != page_flip.user_data)
                die("no event, or another one");
}

/* change X Y WIDTH HEIGHT: draw a part of what is shown anew, and mark it as dirty. */
static void change(const uint32_t *numbers)
{
        struct drm_clip_rect clip = {(uint16_t)numbers[0], (uint16_t)numbers[1], (uint16_t)(numbers[0] + numbers[2]),
                                     (uint16_t)(numbers[1] + numbers[3])};
        struct drm_mode_fb_dirty_cmd dirty = {
                .fb_id = buffers[shown].framebuffer, .num_clips = 1, .clips_ptr = (uintptr_t)&clip};

        draw(&buffers[shown], numbers[0], numbers[1], numbers[2], numbers[3]);
        CALL(MODE_DIRTYFB, &dirty);
}

/* cursor X Y HOT_X HOT_Y: draw one, and show it there. */
static void set_cursor(const uint32_t *numbers)
{
        struct drm_mode_cursor2 set = {
                .flags = DRM_MODE_CURSOR_BO | DRM_MODE_CURSOR_MOVE,
                .crtc_id = crtc,
                .x = (int32_t)numbers[0],
                .y = (int32_t)numbers[1],
                .width = CURSOR_SIZE,
                .height = CURSOR_SIZE,
                .handle = cursor.handle,
                .hot_x = (int32_t)numbers[2],
                .hot_y = (int32_t)numbers[3],
        };

        draw(&cursor, 0, 0, CURSOR_SIZE, CURSOR_SIZE);
        CALL(MODE_CURSOR2, &set);
}

/* move X Y: the cursor. */
static void move_cursor(const uint32_t *numbers)
{
        struct drm_mode_cursor2 move = {
                .flags = DRM_MODE_CURSOR_MOVE, .crtc_id = crtc, .x = (int32_t)numbers[0], .y = (int32_t)numbers[1]};

        CALL(MODE_CURSOR2, &move);
}

static const struct {
        const char *name;
        int numbers;
        void (*run)(const uint32_t *numbers);
} steps[] = {
        {"mode", 4, set_mode},     {"flip", 0, flip},        {"change", 4, change},
        {"cursor", 4, set_cursor}, {"move", 2, move_cursor},
};

static void run_step(const char *line)
{
        char name[16];
        uint32_t numbers[4];
        int count = sscanf(line, "%15s %u %u %u %u", name, &numbers[0], &numbers[1], &numbers[2], &numbers[3]) - 1;

        for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
                if (count == steps[i].numbers && strcmp(name, steps[i].name) == 0) {
                        steps[i].run(numbers);
                        return;
                }
        die("unknown, or not that many numbers: %s", line);
}

int main(int argc, char **argv)
{
        char line[128];

        if (argc != 3)
                die("kms PICTURE CURSOR");
        setvbuf(stdout, NULL, _IONBF, 0);
        open_card();
        while (fgets(line, sizeof(line), stdin)) {
                run_step(line);
                write_picture(argv[1]);
                write_file(argv[2], &cursor, CURSOR_SIZE, CURSOR_SIZE, UINT32_MAX);
                printf("done\n");
        }
        return 0;
}
