/* SPDX-License-Identifier: BSD-2-Clause */

/* The input is commands of a virtio-media driver, by the rows of the table of ioctls, right and spoiled, for a device
 * with two queues, as a decoder has them; between them buffers are passed on, the front-end refuses, and the device is
 * reset. Or it is a file that a camera is to show. Each answer is as long as it may be, the window's mappings are
 * disjoint, events are of sessions that there are, and nothing is left at the end. */

#include "base/cleanup.h"
#include "devices/media/camera/source.h"
#include "devices/media/core/control.h"
#include "devices/media/core/queue.h"
#include "devices/media/core/state.h"
#include "fuzz/media-guest.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/param.h>
#include <unistd.h>

enum { PLANE = 5000, WINDOW_PAGES = 64 };

static struct world {
        struct input *input;
        struct media_node node;
        struct media_queue queues[2];
        struct media_controls controls;
} world;

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
        return take_choice(world.input, 16) == 15 ? -EIO : 0;
}

static void stop(void *userdata)
{
}

static const struct media_queue_ops queue_ops = {sizes, start, stop};

static int node_open(struct media_node *node, struct node_session *session)
{
        for (unsigned i = 0; i < 2; i++)
                world.queues[i].media = node->media;
        return take_choice(world.input, 16) == 15 ? -EBUSY : 0;
}

static void node_close(struct media_node *node, struct node_session *session)
{
        for (unsigned i = 0; i < 2; i++)
                media_queue_leave(&world.queues[i], session);
}

static int node_ioctl(struct media_node *node, struct node_session *session, struct media_call *call)
{
        int r = call->row->changes ? media_priority_check(session) : 0;

        if (r == 0)
                r = media_queue_ioctl(world.queues, 2, session, call);
        return r == -ENOTTY ? media_controls_ioctl(&world.controls, session, call) : r;
}

static int node_file(struct media_node *node, struct node_session *session, uint32_t offset, struct media_file *out)
{
        int r = media_queue_file(&world.queues[0], offset, out);

        return r < 0 ? media_queue_file(&world.queues[1], offset, out) : r;
}

static void node_reset(struct media_node *node)
{
        media_controls_init(&world.controls, controls, ARRAY_SIZE(controls));
}

static void node_free(struct media_node *node)
{
        for (unsigned i = 0; i < 2; i++)
                media_queue_free(&world.queues[i]);
}

static void pass_on(void)
{
        pthread_mutex_lock(&media_guest_media()->lock);

        struct media_queue *queue = &world.queues[take_choice(world.input, 2)];
        struct media_buffer *buffer = media_queue_take(queue);
        const bool done = take_choice(world.input, 4) < 3;

        if (buffer && queue->memory == V4L2_MEMORY_USERPTR)
                guest_memory_write(media_guest_media(), &buffer->planes[0].guest, (uint8_t[PLANE]){1}, PLANE);
        else if (buffer)
                memset(buffer->planes[0].data, 1, buffer->planes[0].length);
        if (buffer && done)
                media_queue_done(buffer);
        else if (buffer)
                media_queue_give_back(buffer);
        pthread_mutex_unlock(&media_guest_media()->lock);
}

static void fail_session(void)
{
        pthread_mutex_lock(&media_guest_media()->lock);
        if (!TAILQ_EMPTY(&media_guest_media()->sessions))
                media_session_fail(TAILQ_FIRST(&media_guest_media()->sessions), -ENODEV);
        pthread_mutex_unlock(&media_guest_media()->lock);
}

static void step(void)
{
        const unsigned choice = take_choice(world.input, 16);

        if (choice == 0)
                fail_session();
        else if (choice < 4)
                pass_on();
        else
                media_guest_step();
}

static void run_commands(struct input *input)
{
        static const struct media_node_ops node_ops = {node_open, node_close, node_ioctl,
                                                       node_file, node_reset, node_free};
        static const uint32_t types[] = {V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE, V4L2_BUF_TYPE_VIDEO_CAPTURE};
        const struct media_guest_options options = {
                .node = &world.node, .types = types, .n_types = 2, .window_size = WINDOW_PAGES * MEDIA_GUEST_PAGE};

        memset(&world, 0, sizeof(world));
        world.input = input;
        world.node.ops = &node_ops;
        for (unsigned i = 0; i < 2; i++) {
                world.queues[i] = (struct media_queue){.ops = &queue_ops,
                                                       .userdata = &world.queues[i],
                                                       .type = types[i],
                                                       .memories = QUEUE_MEMORY(MMAP) | QUEUE_MEMORY(USERPTR) |
                                                                   QUEUE_MEMORY(DMABUF),
                                                       .first = i * 256};
                media_queue_init(&world.queues[i]);
        }
        node_reset(&world.node);
        media_guest_begin(input, &options);
        while (input->size > 0)
                step();
        media_guest_end();
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
        struct camera_source *source;
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
                const struct camera_image image = {format, source->width, source->height, malloc(room)};

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
