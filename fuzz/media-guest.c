/* SPDX-License-Identifier: BSD-2-Clause */

/* The guest and the front-end of fuzz/media-guest.h. A command's payload is made by its row, so that most of them come
 * to a handler; then lengths are cut, words spoiled, and lists of guest memory and names of objects put behind it. What
 * the front-end is asked for it does or refuses as the input says, and it keeps count of mappings and objects. */

#include "fuzz/media-guest.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/range.h"
#include "base/uuid.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/param.h>
#include <unistd.h>

enum { GUEST_SIZE = 1 << 16, PLANE = 5000, PAGES_MAX = 4096, SESSIONS = 3 };
#define GUEST UINT64_C(0x10000)

static struct {
        struct input *input;
        struct media_guest_options options;
        struct media *media;
        struct oriel_memory *memory;
        uint8_t guest[GUEST_SIZE];
        unsigned room; /* for events */
        unsigned objects;
        uint64_t last_uuid;
        bool mapped[PAGES_MAX];
        uint32_t sessions[SESSIONS];
} world;

/* ---- the front-end ---- */

static struct oriel_memory *give_memory(void *userdata)
{
        return oriel_memory_ref(world.memory);
}

static void set_mapped(struct oriel_range range, bool mapped)
{
        need(range.size > 0 && range.start % MEDIA_GUEST_PAGE + range.size % MEDIA_GUEST_PAGE == 0);
        need(range_within(range, world.options.window_size));
        for (uint64_t at = range.start; at < range.start + range.size; at += MEDIA_GUEST_PAGE) {
                need(world.mapped[at / MEDIA_GUEST_PAGE] != mapped);
                world.mapped[at / MEDIA_GUEST_PAGE] = mapped;
        }
}

static int map(void *userdata, struct oriel_range range, int fd, enum oriel_access access)
{
        need(fd >= 0);
        if (take_choice(world.input, 16) == 15)
                return -EREMOTEIO;
        set_mapped(range, true);
        return 0;
}

static int unmap(void *userdata, struct oriel_range range, bool wait)
{
        if (wait && take_choice(world.input, 16) == 15)
                return -EREMOTEIO;
        set_mapped(range, false);
        return 0;
}

static bool put_event(void *userdata, const union media_event *event, size_t size)
{
        const struct node_session *session;

        need(size >= sizeof(event->header) && size <= sizeof(*event));
        TAILQ_FOREACH(session, &world.media->sessions, entry)
        if (session->id == event->header.session)
                break;
        need(session);
        if (world.room == 0)
                return false;
        world.room--;
        if (world.options.check)
                world.options.check(event, size);
        return true;
}

static void mark_dirty(void *userdata, struct oriel_range guest)
{
        need(guest.start >= GUEST && guest.start + guest.size <= GUEST + GUEST_SIZE);
}

/* In the place of src/base's, so that an input does the same each time. */
int uuid_new(uint8_t uuid[16])
{
        const uint64_t number = ++world.last_uuid << 16;

        memset(uuid, 0xff, 16);
        memcpy(uuid, &number, sizeof(number));
        return take_choice(world.input, 16) == 15 ? -EAGAIN : 0;
}

static bool shares_objects(void *userdata)
{
        return take_choice(world.input, 16) != 15;
}

static int object_add(void *userdata, const struct media_object *object)
{
        fd_close(media_get_object(world.media, object));
        world.objects++;
        return take_choice(world.input, 8) == 7 ? -EREMOTEIO : 0;
}

static void object_remove(void *userdata, const struct media_object *object)
{
        need(media_get_object(world.media, object) == -ENOENT);
        need(world.objects-- > 0);
}

/* By its first byte: none, a pipe, or memory of so many quarters of a plane. */
static int object_find(void *userdata, const struct media_object *object)
{
        const unsigned choice = object->uuid[0] % 4;
        int fds[2];

        if (choice == 0)
                return -ENOENT;
        if (choice == 1) {
                need(pipe(fds) == 0);
                close(fds[1]);
                return fds[0];
        }
        fds[0] = memfd_create("theirs", MFD_CLOEXEC | (choice == 3 ? MFD_ALLOW_SEALING : 0));
        need(fds[0] >= 0 && ftruncate(fds[0], object->uuid[1] * PLANE / 4) == 0);
        return fds[0];
}

/* ---- commands ---- */

uint32_t media_guest_word(void)
{
        static const uint32_t words[] = {
                0,        1,          2,           3,         4,    5,          10,
                9,        0,          PLANE,       PLANE / 2, 4096, UINT32_MAX, 0x980900,
                0x980903, 0x80000000, 1024 * 1024, 640,       480,  16,         V4L2_MEMORY_USERPTR,
                1U << 30, 64};
        const uint8_t choice = take_byte(world.input);
        const uint32_t word = choice >= 250 ? (uint32_t)take_number(world.input) : words[choice % ARRAY_SIZE(words)];

        return word_may_be_of_address(word) ? 0 : word;
}

static void words_make(void *to, size_t size)
{
        for (size_t at = 0; at + 4 <= size; at += 4) {
                const uint32_t word = media_guest_word();

                memcpy((uint8_t *)to + at, &word, sizeof(word));
        }
}

/* Payloads that hardly come about by chance. */
static void payload_make(const struct media_ioctl *row, void *payload)
{
        static const uint32_t fourccs[] = {V4L2_PIX_FMT_H264, V4L2_PIX_FMT_VP9, V4L2_PIX_FMT_YUV420, V4L2_PIX_FMT_YUYV};
        static const uint32_t subscribed[] = {V4L2_EVENT_SOURCE_CHANGE, V4L2_EVENT_EOS, V4L2_EVENT_CTRL};
        const unsigned index = take_choice(world.input, 4);
        const uint32_t type = world.options.types[take_choice(world.input, world.options.n_types)];
        static const uint32_t memories[] = {V4L2_MEMORY_MMAP, V4L2_MEMORY_MMAP, V4L2_MEMORY_USERPTR,
                                            V4L2_MEMORY_DMABUF};
        const uint32_t memory = memories[take_choice(world.input, 4)];
        const bool multi = V4L2_TYPE_IS_MULTIPLANAR(type);

        if (row->payload == MEDIA_BUFFER) {
                struct v4l2_buffer buffer = {.index = index, .type = type, .memory = memory};

                buffer.length = multi ? 1 + take_choice(world.input, 3) : PLANE;
                buffer.m.userptr = MEDIA_GUEST_PAGE;
                memcpy(payload, &buffer, sizeof(buffer));
        } else if (row->payload == MEDIA_EXPORT) {
                const struct v4l2_exportbuffer export = {
                        .type = type, .index = index, .plane = take_choice(world.input, 3)};

                memcpy(payload, &export, sizeof(export));
        } else if (row->payload == MEDIA_CREATE) {
                struct v4l2_create_buffers create = {.count = index, .memory = memory, .format.type = type};

                if (multi) {
                        create.format.fmt.pix_mp.num_planes = 1;
                        create.format.fmt.pix_mp.plane_fmt[0].sizeimage = 1 << 20;
                } else {
                        create.format.fmt.pix.sizeimage = PLANE;
                }
                memcpy(payload, &create, sizeof(create));
        } else if (row->payload == MEDIA_FORMAT) {
                struct v4l2_format format = {.type = type};

                format.fmt.pix_mp.width = media_guest_word();
                format.fmt.pix_mp.height = media_guest_word();
                format.fmt.pix_mp.pixelformat = fourccs[index];
                memcpy(payload, &format, sizeof(format));
        } else if (row->payload == MEDIA_CONTROLS) {
                memcpy(payload, &(struct v4l2_ext_controls){.count = 1 + index}, sizeof(struct v4l2_ext_controls));
        } else if (row->code == VIDIOC_REQBUFS) {
                memcpy(payload, &(struct v4l2_requestbuffers){.count = index, .type = type, .memory = memory},
                       sizeof(struct v4l2_requestbuffers));
        } else if (row->code == VIDIOC_SUBSCRIBE_EVENT) {
                memcpy(payload, &(struct v4l2_event_subscription){.type = subscribed[index % 3]},
                       sizeof(struct v4l2_event_subscription));
        } else if (row->code == VIDIOC_ENUM_FRAMESIZES) {
                memcpy(payload, &(struct v4l2_frmsizeenum){.pixel_format = fourccs[index]},
                       sizeof(struct v4l2_frmsizeenum));
        } else if (row->code == VIDIOC_G_SELECTION || row->code == VIDIOC_S_SELECTION) {
                memcpy(payload, &(struct v4l2_selection){.type = type, .target = V4L2_SEL_TGT_COMPOSE + index},
                       sizeof(struct v4l2_selection));
        } else if (row->code == VIDIOC_DECODER_CMD) {
                memcpy(payload, &(struct v4l2_decoder_cmd){.cmd = index % 2}, sizeof(struct v4l2_decoder_cmd));
        } else {
                /* The first field of many a struct. */
                memcpy(payload, &type, sizeof(type));
        }
}

/* Fills in a buffer's planes, or the first few controls. */
static void trailer_make(const struct media_ioctl *row, uint8_t *trailer, size_t size)
{
        static const uint32_t sizes[] = {0, 4, 100, PLANE};
        const bool planes = row->payload == MEDIA_BUFFER;
        const size_t item = planes ? sizeof(struct v4l2_plane) : sizeof(struct v4l2_ext_control);

        for (size_t i = 0; i < 4 && (i + 1) * item <= size; i++) {
                struct v4l2_plane plane = {.length = PLANE, .m.userptr = MEDIA_GUEST_PAGE};
                struct v4l2_ext_control control = {.id = V4L2_CID_BRIGHTNESS,
                                                   .size = sizes[take_choice(world.input, 4)]};

                if (take_choice(world.input, 8) == 7)
                        words_make(&plane, sizeof(plane));
                control.value64 = media_guest_word();
                memcpy(trailer + i * item, planes ? (void *)&plane : (void *)&control, item);
        }
}

/* A few names, which come again. */
static void objects_make(uint8_t *to, size_t size)
{
        for (size_t at = 0; at < size; at += sizeof(struct media_object)) {
                const uint8_t choice = take_byte(world.input);
                const struct media_object object = {{choice, choice / 4}};

                memcpy(to + at, &object, sizeof(object));
        }
}

/* Lists of guest memory; the first is as the struct wants it, or nearly. */
static size_t lists_make(const uint32_t *sizes, size_t n, uint8_t *to)
{
        for (size_t i = 0; i < n; i++) {
                const bool whole = take_choice(world.input, 16) < 15;
                const struct media_piece piece = {GUEST + 4096 * take_choice(world.input, whole ? 14 : 20),
                                                  whole ? sizes[i] : 100, 0};

                memcpy(to + i * sizeof(piece), &piece, sizeof(piece));
        }
        return n * sizeof(struct media_piece);
}

static void send(const void *bytes, size_t size)
{
        static uint64_t answer[(MEDIA_ANSWER_MAX + 7) / 8];
        const size_t room = take_choice(world.input, 8) ? sizeof(answer) : take_byte(world.input);
        const struct media_command_header *header = bytes;
        uint8_t *copy = malloc(size ? size : 1);
        uint8_t *tight = malloc(room ? room : 1);

        need(copy && tight);
        memcpy(copy, bytes, size);

        const size_t answered = media_handle(world.media, copy, size, tight, room);

        need(answered <= room);
        memcpy(answer, tight, answered);
        free(copy);
        free(tight);
        need(answered == 0 || (answered >= 8 && *(uint32_t *)answer < 4096));
        if (size < sizeof(*header))
                return;
        if (header->command == MEDIA_OPEN && answered == sizeof(struct media_open_answer))
                world.sessions[take_choice(world.input, SESSIONS)] = ((uint32_t *)answer)[2];
        if (header->command == MEDIA_IOCTL && world.options.check)
                world.options.check(answer, answered);
}

static uint32_t any_session(void)
{
        return world.sessions[take_choice(world.input, SESSIONS)];
}

static void send_ioctl(void)
{
        static const uint32_t wanted[] = {
                VIDIOC_QBUF,        VIDIOC_REQBUFS,         VIDIOC_STREAMON,    VIDIOC_STREAMOFF,   VIDIOC_QBUF,
                VIDIOC_CREATE_BUFS, VIDIOC_SUBSCRIBE_EVENT, VIDIOC_G_EXT_CTRLS, VIDIOC_S_EXT_CTRLS, VIDIOC_S_FMT,
                VIDIOC_PREPARE_BUF, VIDIOC_QUERYBUF,        VIDIOC_DECODER_CMD, VIDIOC_QBUF,        VIDIOC_STREAMON,
                VIDIOC_EXPBUF,      VIDIOC_S_CTRL,
        };
        static union {
                struct media_ioctl_command fixed;
                uint8_t bytes[1 << 16];
        } command;
        static uint32_t sizes[MEDIA_MAX_CONTROLS];
        const unsigned choice = take_choice(world.input, 255);
        const int nr = choice < 104 ? media_ioctl_next(choice) : (int)_IOC_NR(wanted[choice % ARRAY_SIZE(wanted)]);
        const struct media_ioctl *row = nr < 0 ? NULL : media_ioctl_find((uint32_t)nr);
        uint8_t *payload = command.bytes + sizeof(command.fixed);
        size_t size = sizeof(command.fixed);

        memset(&command, 0, sizeof(command));
        command.fixed = (struct media_ioctl_command){{MEDIA_IOCTL, 0}, any_session(), row ? (uint32_t)nr : 1};
        if (row && media_ioctl_reads(row)) {
                if (take_choice(world.input, 8) == 7)
                        words_make(payload, media_ioctl_size(row));
                else
                        payload_make(row, payload);
                size += media_ioctl_size(row);

                const ssize_t trailer = media_ioctl_trailer(row, payload);

                if (trailer >= 0) {
                        const size_t behind =
                                (size_t)trailer + media_ioctl_objects(row, payload) * sizeof(struct media_object);

                        trailer_make(row, command.bytes + size, (size_t)trailer);
                        objects_make(command.bytes + size + trailer, behind - (size_t)trailer);

                        const size_t n = media_ioctl_memory(row, payload, command.bytes + size, sizes);

                        size += behind;
                        size += lists_make(sizes, n, command.bytes + size);
                }
        }
        send(&command, take_choice(world.input, 16) < 15 ? size : take_choice(world.input, 200));
}

static void send_other(void)
{
        const uint32_t words[] = {1 + take_choice(world.input, 5), 0, any_session(), take_choice(world.input, 3),
                                  MEDIA_GUEST_OFFSET * take_choice(world.input, 5)};
        const uint32_t far = take_choice(world.input, 2) ? MEDIA_GUEST_FAR : 0;
        const struct media_mmap mmap = {{MEDIA_MMAP, 0}, words[2], words[3], words[4] + far};
        const struct media_munmap munmap = {{MEDIA_MUNMAP, 0}, MEDIA_GUEST_PAGE * take_choice(world.input, 64)};

        if (words[0] == MEDIA_MUNMAP)
                send(&munmap, sizeof(munmap));
        else if (words[0] == MEDIA_MMAP)
                send(&mmap, sizeof(mmap));
        else
                send(words, take_choice(world.input, 8) ? sizeof(words) : take_choice(world.input, sizeof(words)));
}

void media_guest_step(void)
{
        switch (take_choice(world.input, 16)) {
        case 0:
                world.room += take_choice(world.input, 8);
                media_flush(world.media);
                break;
        case 1:
                if (take_choice(world.input, 8) == 7)
                        media_reset(world.media);
                break;
        case 2:
        case 3:
        case 4:
                send_other();
                break;
        default:
                send_ioctl();
                break;
        }
}

/* ---- the whole ---- */

struct media *media_guest_media(void)
{
        return world.media;
}

void media_guest_begin(struct input *input, const struct media_guest_options *options)
{
        static const struct media_ops ops = {give_memory,    map,        unmap,         put_event,  mark_dirty,
                                             shares_objects, object_add, object_remove, object_find};
        const struct oriel_memory_region region = {GUEST, GUEST_SIZE, 0, 0};
        static struct log_budget lines;
        const struct media_options media = {
                .ops = &ops, .window_size = options->window_size, .node = options->node, .lines = &lines};
        struct oriel_memory *empty;

        need(options->window_size <= PAGES_MAX * MEDIA_GUEST_PAGE);
        memset(&world, 0, sizeof(world));
        world.input = input;
        world.options = *options;
        need(oriel_memory_new(1, 0, &empty) == 0);
        need(oriel_memory_add_mapped(empty, &region, world.guest, ORIEL_ACCESS_READ_WRITE, &world.memory) == 0);
        oriel_memory_unref(empty);
        need(media_new(&media, &world.media) == 0);
        for (unsigned i = 0; i < 2; i++)
                send((uint32_t[]){MEDIA_OPEN, 0}, 8);
}

void media_guest_end(void)
{
        media_free(world.media);
        need(world.objects == 0);
        for (unsigned i = 0; i < PAGES_MAX; i++)
                need(!world.mapped[i]);
        oriel_memory_unref(world.memory);
}
