/* SPDX-License-Identifier: BSD-2-Clause */

/* A guest's Wayland program without a guest, for compositors that others wrote: wayland-client SOCKET speaks the
 * protocol of wayland.xml and xdg-shell.xml through a cross-domain context. It fills a window of the size that it is
 * told with pixels, byte b of row y and column x being 7x + 5y + 11b; reads its keyboard's map; and copies a text to
 * the clipboard and back from there. Each thing that it gets is a line; at the end of its input it ends. */

#include "base/cleanup.h"
#include "program/report.h"
#include "tests/peers/wayland-guest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TEXT "what was copied"
#define MIME "text/plain"

enum { IMAGE_ID = 1, KEYMAP_ID };
enum { KEYMAP_AT = 64 << 20 };

/* Ours, in the order in which they are made, as the protocol wants. */
enum object {
        DISPLAY = 1,
        REGISTRY,
        SYNC,
        COMPOSITOR,
        SHM,
        WM_BASE,
        SEAT,
        MANAGER,
        SURFACE,
        XDG_SURFACE,
        TOPLEVEL,
        KEYBOARD,
        SOURCE,
        DEVICE,
        POOL,
        BUFFER,
        OFFER, /* the compositor's: its id is another */
};

struct program {
        struct guest guest;
        uint8_t in[2 * CROSS_RING_SIZE];
        size_t in_size;
        uint32_t ids[CROSS_IDS_MAX], sizes[CROSS_IDS_MAX]; /* received, and of no message yet */
        unsigned n_ids;
        uint32_t globals[MANAGER + 1], offer_id, width, height;
        bool drawn, has_keymap, has_entered;
        char clipboard[sizeof(TEXT)];
        size_t clipboard_size;
        bool clipboard_ends;
};

/* ---- requests ---- */

struct request {
        uint32_t words[64];
        unsigned n;
};

static void put(struct request *request, uint32_t word)
{
        request->words[request->n++] = word;
}

static void put_string(struct request *request, const char *text)
{
        const size_t size = strlen(text) + 1;

        put(request, (uint32_t)size);
        memcpy(&request->words[request->n], text, size);
        request->n += (unsigned)(size + 3) / 4;
}

static struct request request_of(uint32_t object)
{
        return (struct request){.words = {object}, .n = 2};
}

static int ask_with(struct program *program, struct request *request, unsigned opcode, uint32_t type, uint32_t id)
{
        request->words[1] = request->n * 4 << 16 | opcode;
        return guest_send(&program->guest, request->words, request->n * 4, &id, &type, type == CROSS_ID_NONE ? 0 : 1);
}

/* With up to four words; the rest are not sent. */
static int ask(struct program *program, uint32_t object, unsigned opcode, const uint32_t *words, unsigned n)
{
        struct request request = request_of(object);

        for (unsigned i = 0; i < n; i++)
                put(&request, words[i]);
        return ask_with(program, &request, opcode, CROSS_ID_NONE, 0);
}
#define ASK(program, object, opcode, ...) \
        ask(program, object, opcode, (const uint32_t[]){__VA_ARGS__}, ARRAY_SIZE(((const uint32_t[]){__VA_ARGS__})))

static const struct {
        const char *interface;
        uint32_t version;
} globals[MANAGER + 1] = {
        [COMPOSITOR] = {"wl_compositor", 4},
        [SHM] = {"wl_shm", 1},
        [WM_BASE] = {"xdg_wm_base", 1},
        [SEAT] = {"wl_seat", 5},
        [MANAGER] = {"wl_data_device_manager", 3},
};

static int make_window(struct program *program)
{
        struct request offer = request_of(SOURCE);
        int r = 0;

        for (uint32_t i = COMPOSITOR; r == 0 && i <= MANAGER; i++) {
                struct request bind = request_of(REGISTRY);

                if (!program->globals[i]) {
                        report("the compositor has no %s", globals[i].interface);
                        return -ENOENT;
                }
                put(&bind, program->globals[i]);
                put_string(&bind, globals[i].interface);
                put(&bind, globals[i].version);
                put(&bind, i);
                r = ask_with(program, &bind, 0, CROSS_ID_NONE, 0);
        }
        if (r == 0)
                r = ASK(program, COMPOSITOR, 0, SURFACE);
        if (r == 0)
                r = ASK(program, WM_BASE, 2, XDG_SURFACE, SURFACE);
        if (r == 0)
                r = ASK(program, XDG_SURFACE, 1, TOPLEVEL);
        if (r == 0)
                r = ASK(program, SEAT, 1, KEYBOARD);
        if (r == 0)
                r = ASK(program, MANAGER, 0, SOURCE);
        put_string(&offer, MIME);
        if (r == 0)
                r = ask_with(program, &offer, 0, CROSS_ID_NONE, 0);
        if (r == 0)
                r = ASK(program, MANAGER, 1, DEVICE, SEAT);
        return r < 0 ? r : ask(program, SURFACE, 6, NULL, 0);
}

static int draw(struct program *program)
{
        const uint32_t width = program->width, height = program->height;
        struct request pool = request_of(SHM);
        int r = guest_make_image(&program->guest, IMAGE_ID, width, height);

        if (r < 0)
                return r;

        const struct cross_image_requirements image = *program->guest.image;
        const uint32_t stride = image.strides[0];

        for (uint32_t y = 0; y < height; y++)
                for (uint32_t at = 0; at < 4 * width; at++)
                        program->guest.window[y * stride + at] = (uint8_t)(7 * (at / 4) + 5 * y + 11 * (at % 4));
        put(&pool, POOL);
        put(&pool, (uint32_t)image.size);
        r = ask_with(program, &pool, 0, CROSS_ID_BLOB, IMAGE_ID);
        if (r == 0)
                r = ASK(program, POOL, 0, BUFFER, 0, width, height, stride, 1 /* XRGB8888 */);
        if (r == 0)
                r = ASK(program, SURFACE, 1, BUFFER, 0, 0);
        if (r == 0)
                r = ASK(program, SURFACE, 2, 0, 0, width, height);
        if (r == 0)
                r = ask(program, SURFACE, 6, NULL, 0);
        /* When it is done, the compositor has taken the picture. */
        program->drawn = true;
        return r < 0 ? r : ASK(program, DISPLAY, 0, SYNC);
}

/* ---- events ---- */

struct event {
        const uint32_t *words;
        unsigned n;
};

static int take_id(struct program *program, uint32_t *id, uint32_t *size)
{
        if (program->n_ids == 0)
                return -EPROTO;
        *id = program->ids[0];
        *size = program->sizes[0];
        program->n_ids--;
        memmove(program->ids, program->ids + 1, program->n_ids * sizeof(*program->ids));
        memmove(program->sizes, program->sizes + 1, program->n_ids * sizeof(*program->sizes));
        return 0;
}

static int on_error(struct program *program, const struct event *event)
{
        report("the compositor: object %u: error %u: %s", event->words[0], event->words[1],
               (const char *)&event->words[3]);
        return -EPROTO;
}

static int on_global(struct program *program, const struct event *event)
{
        for (uint32_t i = COMPOSITOR; i <= MANAGER; i++)
                if (strcmp((const char *)&event->words[2], globals[i].interface) == 0)
                        program->globals[i] = event->words[0];
        return 0;
}

static int on_sync(struct program *program, const struct event *event)
{
        if (!program->drawn)
                return make_window(program);
        printf("shown %u x %u\n", program->width, program->height);
        return 0;
}

static int on_ping(struct program *program, const struct event *event)
{
        return ASK(program, WM_BASE, 3, event->words[0]);
}

static int on_size(struct program *program, const struct event *event)
{
        program->width = event->words[0];
        program->height = event->words[1];
        return 0;
}

static int on_configure(struct program *program, const struct event *event)
{
        int r = ASK(program, XDG_SURFACE, 4, event->words[0]);

        return r < 0 || program->drawn ? r : draw(program);
}

static int on_keymap(struct program *program, const struct event *event)
{
        uint32_t id, size;
        int r = take_id(program, &id, &size);

        if (r < 0 || program->has_keymap)
                return r;
        program->has_keymap = true;
        r = guest_map_received(&program->guest, KEYMAP_ID, id, size, KEYMAP_AT);
        if (r == 0)
                printf("keymap of %u: %.*s\n", event->words[1],
                       (int)strcspn((const char *)program->guest.window + KEYMAP_AT, "\n"),
                       (const char *)program->guest.window + KEYMAP_AT);
        return r;
}

/* The client whose window has the keyboard may set the clipboard. */
static int on_enter(struct program *program, const struct event *event)
{
        if (program->has_entered)
                return 0;
        program->has_entered = true;
        return ASK(program, DEVICE, 1, SOURCE, event->words[0]);
}

static int on_data_offer(struct program *program, const struct event *event)
{
        program->offer_id = event->words[0];
        return 0;
}

static int on_selection(struct program *program, const struct event *event)
{
        struct request receive = request_of(program->offer_id);

        if (!event->words[0] || program->clipboard_size > 0)
                return 0;
        put_string(&receive, MIME);
        return ask_with(program, &receive, 1, CROSS_ID_READ_PIPE, GUEST_PIPE);
}

static int on_send(struct program *program, const struct event *event)
{
        uint32_t id, size;
        int r = take_id(program, &id, &size);

        printf("asked for %s\n", (const char *)&event->words[1]);
        return r < 0 ? r : guest_write(&program->guest, id, TEXT, strlen(TEXT), true);
}

/* Events that are not listed here are ignored. */
static const struct event_row {
        enum object object;
        unsigned opcode, least; /* words */
        int (*handle)(struct program *program, const struct event *event);
} event_rows[] = {
        {DISPLAY, 0, 3, on_error},     {REGISTRY, 0, 3, on_global},  {SYNC, 0, 1, on_sync},
        {WM_BASE, 0, 1, on_ping},      {TOPLEVEL, 0, 3, on_size},    {XDG_SURFACE, 0, 1, on_configure},
        {KEYBOARD, 0, 2, on_keymap},   {KEYBOARD, 1, 3, on_enter},   {SOURCE, 1, 2, on_send},
        {DEVICE, 0, 1, on_data_offer}, {DEVICE, 5, 1, on_selection},
};

static int handle(struct program *program, uint32_t object, unsigned opcode, const struct event *event)
{
        for (size_t i = 0; i < ARRAY_SIZE(event_rows); i++)
                if (event_rows[i].object == object && event_rows[i].opcode == opcode)
                        return event->n < event_rows[i].least ? -EPROTO : event_rows[i].handle(program, event);
        return 0;
}

static int take_data(struct program *program)
{
        uint32_t words[CROSS_RING_SIZE / 4];

        while (program->in_size >= 8) {
                memcpy(words, program->in, 8);

                const uint32_t size = words[1] >> 16;

                if (size < 8 || size > sizeof(words))
                        return -EPROTO;
                if (size > program->in_size)
                        return 0;
                memcpy(words, program->in, size);
                program->in_size -= size;
                memmove(program->in, program->in + size, program->in_size);

                const struct event event = {words + 2, (size - 8) / 4};
                int r = handle(program, words[0], words[1] & 0xffff, &event);

                if (r < 0)
                        return r;
        }
        return 0;
}

static int take_receive(struct program *program)
{
        const struct cross_send_receive *head = &program->guest.message->receive.head;

        if (head->data_size == 0 && head->n_ids == 0)
                return -ECONNRESET;
        if (head->data_size > sizeof(program->in) - program->in_size || head->n_ids > CROSS_IDS_MAX - program->n_ids)
                return -EPROTO;
        for (unsigned i = 0; i < head->n_ids; i++, program->n_ids++) {
                program->ids[program->n_ids] = head->ids[i];
                program->sizes[program->n_ids] = head->sizes[i];
        }
        memcpy(program->in + program->in_size, program->guest.message->receive.data, head->data_size);
        program->in_size += head->data_size;
        return take_data(program);
}

static int take_clipboard(struct program *program)
{
        const struct cross_read_write *head = &program->guest.message->read.head;

        if (head->data_size > sizeof(program->clipboard) - program->clipboard_size)
                return -EPROTO;
        memcpy(program->clipboard + program->clipboard_size, program->guest.message->read.data, head->data_size);
        program->clipboard_size += head->data_size;
        if (!head->hang_up)
                return 0;
        printf("clipboard: %.*s\n", (int)program->clipboard_size, program->clipboard);
        program->clipboard_ends = true;
        return 0;
}

static int talk(struct program *program)
{
        int r = ASK(program, DISPLAY, 1, REGISTRY);

        if (r == 0)
                r = ASK(program, DISPLAY, 0, SYNC);
        while (r == 0 && !program->clipboard_ends) {
                r = guest_await(&program->guest);
                if (r == 0)
                        r = program->guest.message->receive.head.header.command == CROSS_READ ? take_clipboard(program)
                                                                                              : take_receive(program);
                fflush(stdout);
        }
        return r;
}

int main(int argc, char **argv)
{
        static struct program program;
        char byte;

        if (argc != 2)
                return fail("Usage: wayland-client SOCKET");

        int r = guest_open(&program.guest, argv[1], NULL);

        if (r == 0)
                r = talk(&program);
        while (r == 0 && read(STDIN_FILENO, &byte, 1) > 0)
                ;
        guest_close(&program.guest);
        return r < 0 ? fail("%s: %s", argv[1], strerror(-r)) : STATUS_SUCCESS;
}
