/* SPDX-License-Identifier: BSD-2-Clause */

/* The input is commands of a virtio-media driver, by the rows of the table of ioctls, right and spoiled, for a device
 * with two queues, as a decoder has them; between them buffers are passed on, the front-end refuses, and the device is
 * reset. Or it is a file that a camera is to show. Each answer is as long as it may be, the window's mappings are
 * disjoint, events are of sessions that there are, and nothing is left at the end. */

#include "base/cleanup.h"
#include "base/fd.h"
#include "devices/media/camera/source.h"
#include "devices/media/core/control.h"
#include "devices/media/core/queue.h"
#include "devices/media/core/state.h"
#include "fuzz/input.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/param.h>
#include <unistd.h>

enum { GUEST_SIZE = 1 << 16, PAGE = 4096, PAGES = 64, PLANE = 5000, SESSIONS = 4 };
#define GUEST UINT64_C(0x10000)

static struct world {
        struct input *input;
        struct media *media;
        struct media_node node;
        struct media_queue queues[2];
        struct media_controls controls;
        struct oriel_memory *memory;
        uint8_t guest[GUEST_SIZE];
        unsigned room; /* for events */
        unsigned objects;
        bool mapped[PAGES], ending;
        uint32_t sessions[SESSIONS];
} world;

/* ---- around the device ---- */

static struct oriel_memory *give_memory(void *userdata)
{
        (void)userdata;
        return oriel_memory_ref(world.memory);
}

static void set_mapped(struct oriel_range range, bool mapped)
{
        need(range.size > 0 && range.start % PAGE + range.size % PAGE == 0);
        need(range.size <= PAGES * PAGE && range.start <= PAGES * PAGE - range.size);
        for (uint64_t at = range.start; at < range.start + range.size; at += PAGE) {
                need(world.mapped[at / PAGE] != mapped);
                world.mapped[at / PAGE] = mapped;
        }
}

static int map(void *userdata, struct oriel_range range, int fd, enum oriel_access access)
{
        (void)userdata, (void)access;
        need(fd >= 0);
        if (take_choice(world.input, 16) == 15)
                return -EREMOTEIO;
        set_mapped(range, true);
        return 0;
}

static int unmap(void *userdata, struct oriel_range range, bool wait)
{
        (void)userdata;
        if (wait && take_choice(world.input, 16) == 15)
                return -EREMOTEIO;
        set_mapped(range, false);
        return 0;
}

static bool put_event(void *userdata, const union media_event *event, size_t size)
{
        const struct media_session *session;

        (void)userdata;
        need(size >= sizeof(event->header) && size <= sizeof(*event));
        TAILQ_FOREACH(session, &world.media->sessions, entry)
        if (session->id == event->header.session)
                break;
        need(session);
        if (world.room == 0)
                return false;
        world.room--;
        return true;
}

static void mark_dirty(void *userdata, struct oriel_range guest)
{
        (void)userdata;
        need(guest.start >= GUEST && guest.start + guest.size <= GUEST + GUEST_SIZE);
}

static bool shares_objects(void *userdata)
{
        (void)userdata;
        return take_choice(world.input, 16) != 15;
}

static int object_add(void *userdata, const struct media_object *object)
{
        (void)userdata;
        fd_close(media_get_object(world.media, object));
        world.objects++;
        return take_choice(world.input, 8) == 7 ? -EREMOTEIO : 0;
}

static void object_remove(void *userdata, const struct media_object *object)
{
        (void)userdata;
        need(media_get_object(world.media, object) == -ENOENT);
        need(world.objects-- > 0);
}

/* By its first byte: none, a pipe, or memory of so many planes. */
static int object_find(void *userdata, const struct media_object *object)
{
        const unsigned choice = object->uuid[0] % 4;
        int fds[2];

        (void)userdata;
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

static const struct media_ops ops = {give_memory,    map,        unmap,         put_event,  mark_dirty,
                                     shares_objects, object_add, object_remove, object_find};

/* ---- the device ---- */

static const struct media_control controls[] = {
        {.id = V4L2_CID_USER_CLASS,
         .type = V4L2_CTRL_TYPE_CTRL_CLASS,
         .name = "User Controls",
         .flags = V4L2_CTRL_FLAG_READ_ONLY | V4L2_CTRL_FLAG_WRITE_ONLY},
        {V4L2_CID_BRIGHTNESS, V4L2_CTRL_TYPE_INTEGER, "Brightness", -7, 100, 3, 8, 0},
        {V4L2_CID_HUE, V4L2_CTRL_TYPE_INTEGER, "Hue", INT32_MIN, INT32_MAX, 1, 0, V4L2_CTRL_FLAG_READ_ONLY},
};

static unsigned sizes(void *userdata, uint32_t least[MEDIA_MAX_PLANES])
{
        least[0] = PLANE;
        least[1] = PLANE / 2;
        return userdata == &world.queues[0] ? 2 : 1;
}

static int start(void *userdata)
{
        (void)userdata;
        return take_choice(world.input, 16) == 15 ? -EIO : 0;
}

static void stop(void *userdata)
{
        (void)userdata;
}

static const struct media_queue_ops queue_ops = {sizes, start, stop};

static int node_open(struct media_node *node, struct media_session *session)
{
        (void)node, (void)session;
        return take_choice(world.input, 16) == 15 ? -EBUSY : 0;
}

static void node_close(struct media_node *node, struct media_session *session)
{
        (void)node;
        for (unsigned i = 0; i < 2; i++)
                media_queue_leave(&world.queues[i], session);
}

static int node_ioctl(struct media_node *node, struct media_session *session, struct media_call *call)
{
        int r = call->row->changes ? media_priority_check(session) : 0;

        (void)node;
        if (r == 0)
                r = media_queue_ioctl(world.queues, 2, session, call);
        return r == -ENOTTY ? media_controls_ioctl(&world.controls, session, call) : r;
}

static int node_file(struct media_node *node, struct media_session *session, uint32_t offset, struct media_file *out)
{
        int r = media_queue_file(&world.queues[0], offset, out);

        (void)node, (void)session;
        return r < 0 ? media_queue_file(&world.queues[1], offset, out) : r;
}

static void node_reset(struct media_node *node)
{
        (void)node;
        media_controls_init(&world.controls, controls, ARRAY_SIZE(controls));
}

static void node_free(struct media_node *node)
{
        (void)node;
        for (unsigned i = 0; i < 2; i++)
                media_queue_free(&world.queues[i]);
}

static void pass_on(void)
{
        pthread_mutex_lock(&world.media->lock);

        struct media_queue *queue = &world.queues[take_choice(world.input, 2)];
        struct media_buffer *buffer = media_queue_take(queue);
        const bool done = take_choice(world.input, 4) < 3;

        if (buffer && queue->memory == V4L2_MEMORY_USERPTR)
                guest_memory_write(world.media, &buffer->planes[0].guest, (uint8_t[PLANE]){1}, PLANE);
        else if (buffer)
                memset(buffer->planes[0].data, 1, buffer->planes[0].length);
        if (buffer && done)
                media_queue_done(buffer);
        else if (buffer)
                media_queue_give_back(buffer);
        pthread_mutex_unlock(&world.media->lock);
}

static void fail_session(void)
{
        pthread_mutex_lock(&world.media->lock);
        if (!TAILQ_EMPTY(&world.media->sessions))
                media_session_fail(TAILQ_FIRST(&world.media->sessions), -ENODEV);
        pthread_mutex_unlock(&world.media->lock);
}

/* ---- the driver ---- */

static uint32_t make_word(void)
{
        static const uint32_t words[] = {0,          1,        2,        3,         4,    5,
                                         10,         9,        PLANE,    PLANE / 2, PAGE, (uint32_t)GUEST,
                                         UINT32_MAX, 0x980900, 0x980903, 0x80000000};
        const uint8_t choice = take_byte(world.input);

        return choice >= 250 ? (uint32_t)take_number(world.input) : words[choice % ARRAY_SIZE(words)];
}

/* Payloads that hardly come about by chance. */
static void make_right(const struct media_ioctl *row, void *payload)
{
        static const uint32_t types[] = {V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE, V4L2_BUF_TYPE_VIDEO_CAPTURE};
        const unsigned which = take_choice(world.input, 2), index = take_choice(world.input, 4);
        static const uint32_t memories[] = {V4L2_MEMORY_MMAP, V4L2_MEMORY_MMAP, V4L2_MEMORY_USERPTR,
                                            V4L2_MEMORY_DMABUF};
        const uint32_t memory = memories[take_choice(world.input, 4)];
        struct v4l2_requestbuffers request = {.count = index, .type = types[which], .memory = memory};
        struct v4l2_create_buffers create = {.count = index, .memory = memory};
        struct v4l2_buffer buffer = {.index = index, .type = types[which], .memory = memory};
        const struct v4l2_exportbuffer export = {
                .type = types[which], .index = index, .plane = take_choice(world.input, 3)};

        struct {
                struct v4l2_ext_controls list;
                struct v4l2_ext_control items[2];
        } list = {{.count = 1 + index % 2}, {{.id = V4L2_CID_BRIGHTNESS}, {.id = V4L2_CID_BRIGHTNESS + index}}};

        buffer.length = which ? PLANE : 2;
        buffer.m.userptr = PAGE;
        create.format.type = types[which];
        create.format.fmt.pix.sizeimage = PLANE;
        if (row->payload == MEDIA_BUFFER)
                memcpy(payload, &buffer, sizeof(buffer));
        else if (row->payload == MEDIA_EXPORT)
                memcpy(payload, &export, sizeof(export));
        else if (row->payload == MEDIA_CREATE)
                memcpy(payload, &create, sizeof(create));
        else if (row->code == VIDIOC_REQBUFS)
                memcpy(payload, &request, sizeof(request));
        else if (row->code == VIDIOC_STREAMON || row->code == VIDIOC_STREAMOFF)
                memcpy(payload, &types[which], sizeof(types[which]));
        else if (row->code == VIDIOC_SUBSCRIBE_EVENT)
                memcpy(payload, &(struct v4l2_event_subscription){V4L2_EVENT_CTRL, V4L2_CID_BRIGHTNESS, index, {0}},
                       12);
        else if (row->code == VIDIOC_S_CTRL)
                memcpy(payload, &(struct v4l2_control){V4L2_CID_BRIGHTNESS, (int32_t)take_number(world.input)}, 8);
        else if (row->payload == MEDIA_CONTROLS)
                memcpy(payload, &list, sizeof(list));
}

static void send(const void *bytes, size_t size)
{
        static uint64_t answer[(MEDIA_ANSWER_MAX + 7) / 8];
        const size_t room = take_choice(world.input, 8) ? 1024 : take_byte(world.input);
        uint8_t *copy = malloc(size ? size : 1);

        need(copy);
        memcpy(copy, bytes, size);

        const size_t answered = media_handle(world.media, copy, size, answer, room);

        need(answered <= room);
        need(answered == 0 || (answered >= 8 && *(uint32_t *)answer < PAGE));
        free(copy);
        if (answered == sizeof(struct media_open_answer) && ((const uint32_t *)bytes)[0] == MEDIA_OPEN)
                world.sessions[take_choice(world.input, SESSIONS)] = ((uint32_t *)answer)[2];
}

static uint32_t any_session(void)
{
        return world.sessions[take_choice(world.input, SESSIONS)];
}

static void send_ioctl(void)
{
        static const uint32_t wanted[] = {VIDIOC_QBUF,        VIDIOC_REQBUFS,         VIDIOC_STREAMON,
                                          VIDIOC_CREATE_BUFS, VIDIOC_SUBSCRIBE_EVENT, VIDIOC_S_CTRL,
                                          VIDIOC_S_EXT_CTRLS, VIDIOC_PREPARE_BUF,     VIDIOC_EXPBUF};
        const unsigned choice = take_choice(world.input, 208);
        const int nr = choice < 104 ? media_ioctl_next(choice) : (int)_IOC_NR(wanted[choice % ARRAY_SIZE(wanted)]);
        const struct media_ioctl *row = nr < 0 ? NULL : media_ioctl_find((uint32_t)nr);
        union {
                struct media_ioctl_command fixed;
                uint32_t words[200];
        } command = {{{MEDIA_IOCTL, 0}, any_session(), row ? (uint32_t)nr : 1}};
        const size_t n = 4 + take_choice(world.input, 196);

        for (size_t i = 4; i < n; i++)
                command.words[i] = make_word();
        if (row && take_choice(world.input, 4))
                make_right(row, &command.words[4]);
        /* Lists of guest memory, behind a buffer of either kind. */
        for (unsigned i = 0; i < 2 && take_choice(world.input, 2); i++) {
                const struct media_piece piece = {GUEST + PAGE * take_choice(world.input, 18), PLANE, 0};

                memcpy((uint8_t *)&command + 16 + 88 + (take_choice(world.input, 2) ? 128 : 0) + 16 * i, &piece,
                       sizeof(piece));
        }
        send(&command, take_choice(world.input, 8) ? sizeof(command) : 4 * n);
}

static void send_other(void)
{
        const uint32_t words[] = {1 + take_choice(world.input, 5), 0, any_session(), take_choice(world.input, 3),
                                  PAGE * take_choice(world.input, 40)};
        const struct media_munmap munmap = {{MEDIA_MUNMAP, 0}, PAGE * take_choice(world.input, PAGES)};

        if (words[0] == MEDIA_MUNMAP)
                send(&munmap, sizeof(munmap));
        else
                send(words, take_choice(world.input, 8) ? sizeof(words) : take_choice(world.input, sizeof(words)));
}

static void step(void)
{
        switch (take_choice(world.input, 16)) {
        case 0:
                world.room += take_choice(world.input, 8);
                media_flush(world.media);
                break;
        case 1:
                fail_session();
                break;
        case 2:
                media_reset(world.media);
                break;
        case 3:
        case 4:
        case 5:
                pass_on();
                break;
        case 6:
        case 7:
        case 8:
        case 9:
                send_other();
                break;
        default:
                send_ioctl();
                break;
        }
}

static void run_commands(struct input *input)
{
        static const struct media_node_ops node_ops = {node_open, node_close, node_ioctl,
                                                       node_file, node_reset, node_free};
        static const uint32_t types[] = {V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE, V4L2_BUF_TYPE_VIDEO_CAPTURE};
        const struct oriel_memory_region region = {GUEST, GUEST_SIZE, 0, 0};
        const struct media_options options = {.ops = &ops, .window_size = PAGES * PAGE, .node = &world.node};
        struct oriel_memory *empty;

        memset(&world, 0, sizeof(world));
        world.input = input;
        world.node.ops = &node_ops;
        need(oriel_memory_new(1, 0, &empty) == 0);
        need(oriel_memory_add_mapped(empty, &region, world.guest, ORIEL_ACCESS_READ_WRITE, &world.memory) == 0);
        oriel_memory_unref(empty);
        need(media_new(&options, &world.media) == 0);
        for (unsigned i = 0; i < 2; i++) {
                world.queues[i] = (struct media_queue){.ops = &queue_ops,
                                                       .userdata = &world.queues[i],
                                                       .media = world.media,
                                                       .type = types[i],
                                                       .memories = QUEUE_MEMORY(MMAP) | QUEUE_MEMORY(USERPTR) |
                                                                   QUEUE_MEMORY(DMABUF),
                                                       .first = i * 256};
                media_queue_init(&world.queues[i]);
        }
        node_reset(&world.node);
        for (unsigned i = 0; i < 2; i++)
                send((uint32_t[]){MEDIA_OPEN, 0}, 8);
        while (input->size > 0)
                step();
        media_free(world.media);
        need(world.objects == 0);
        for (unsigned i = 0; i < PAGES; i++)
                need(!world.mapped[i]);
        oriel_memory_unref(world.memory);
}

/* ---- files ---- */

static void run_file(struct input *input)
{
        static const char *const headers[] = {"", "YUV4MPEG2 W32 H16 F30:1\nFRAME\n", "YUV4MPEG2 W32 H16 C422\nFRAME\n",
                                              "YUV4MPEG2 W16 H18 C444 F9:1\nFRAME I\n"};
        static const char *const names[] = {NULL, "YU12:32x16", "MJPG:32x16", "YUYV:16x16", "RGB3:16x18"};
        const char *header = headers[take_choice(input, ARRAY_SIZE(headers))];
        const char *name = names[take_choice(input, ARRAY_SIZE(names))], *why;
        const bool neutral = take_choice(input, 2);
        const struct color color = color_make(neutral ? 128 : 9, 128, neutral ? 128 : 77, neutral ? 0 : 66);
        int fd = memfd_create("fuzz", MFD_CLOEXEC);
        struct source *source;
        size_t size;
        uint8_t *content = take_block(input, 8192, &size);

        need(fd >= 0 && pwrite(fd, header, strlen(header), 0) == (ssize_t)strlen(header));
        need(pwrite(fd, content, size, (off_t)strlen(header)) == (ssize_t)size);
        free(content);
        if (file_source_new(fd, name, &source, &why) < 0)
                return;
        for (unsigned i = 0; i < 8; i++) {
                const struct format *format =
                        source->fourcc ? format_find(source->fourcc) : &formats[i % (n_formats - 1)];
                const uint32_t room = format_size(format, source->width, source->height);
                const struct image image = {format, source->width, source->height, malloc(room)};

                need(image.data);
                if (source->ops->advance(source, i, (struct v4l2_fract){1, 30}) > 0)
                        need(source->ops->draw(source, &image, &color) <= room);
                free(image.data);
        }
        source->ops->free(source);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct input input = {data, size};

        if (take_choice(&input, 4) == 3)
                run_file(&input);
        else
                run_commands(&input);
        return 0;
}
