/* SPDX-License-Identifier: BSD-2-Clause */

/* Queues of a node that works from memory to memory, as a decoder does: two for each session, multi-planar, one of
 * which the driver fills. The node copies nothing but what a buffer says of itself, when it is told to. */

#include "devices/media/test/test-world.h"

#include "devices/media/core/queue.h"

#include <errno.h>
#include <string.h>

enum { IN, OUT, PLANES = 2, PLANE = 5000 };

struct codec {
        struct media_node node;
        struct media_queue queues[2]; /* of the only session */
        unsigned started, stopped;
};

static struct world world;
static struct codec codec;
static uint32_t session;

static unsigned sizes(void *userdata, uint32_t least[MEDIA_MAX_PLANES])
{
        const unsigned n = userdata == &codec.queues[OUT] ? PLANES : 1;

        for (unsigned i = 0; i < n; i++)
                least[i] = PLANE * (i + 1);
        return n;
}

static int codec_start(void *userdata)
{
        (void)userdata;
        codec.started++;
        return 0;
}

static void codec_stop(void *userdata)
{
        (void)userdata;
        codec.stopped++;
}

static int codec_open(struct media_node *node, struct media_session *opened)
{
        static const struct media_queue_ops ops = {sizes, codec_start, codec_stop};
        static const uint32_t types[] = {V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE, V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE};

        (void)opened;
        for (unsigned i = 0; i < 2; i++) {
                struct media_queue *queue = &codec.queues[i];

                *queue = (struct media_queue){.ops = &ops,
                                              .userdata = queue,
                                              .media = node->media,
                                              .type = types[i],
                                              .field = V4L2_FIELD_NONE};
                queue->first = i << 16;
                queue->timestamp_flags = V4L2_BUF_FLAG_TIMESTAMP_COPY;
                media_queue_init(queue);
        }
        return 0;
}

static void codec_close(struct media_node *node, struct media_session *closed)
{
        (void)node;
        for (unsigned i = 0; i < 2; i++) {
                media_queue_leave(&codec.queues[i], closed);
                media_queue_free(&codec.queues[i]);
        }
}

static int codec_ioctl(struct media_node *node, struct media_session *by, struct media_call *call)
{
        (void)node;
        return media_queue_ioctl(codec.queues, 2, by, call);
}

static int codec_file(struct media_node *node, struct media_session *by, uint32_t offset, struct media_file *out)
{
        (void)node, (void)by;
        return media_queue_file(&codec.queues[IN], offset, out) == 0
                       ? 0
                       : media_queue_file(&codec.queues[OUT], offset, out);
}

static void codec_nothing(struct media_node *node)
{
        (void)node;
}

/* One buffer of each queue is done; false: there are none. */
static bool pass_one(void)
{
        pthread_mutex_lock(&world.media->lock);

        struct media_buffer *in = media_queue_take(&codec.queues[IN]);
        struct media_buffer *out = in ? media_queue_take(&codec.queues[OUT]) : NULL;

        if (in && !out)
                media_queue_give_back(in);
        if (out) {
                out->timestamp = in->timestamp;
                out->flags = V4L2_BUF_FLAG_LAST;
                out->planes[0].used = in->planes[0].used;
                out->planes[1].used = 1;
                media_queue_done(in);
                media_queue_done(out);
        }
        pthread_mutex_unlock(&world.media->lock);
        return out;
}

static int open_world(void **state)
{
        static const struct media_node_ops ops = {codec_open, codec_close,   codec_ioctl,
                                                  codec_file, codec_nothing, codec_nothing};

        if (test_setup(state))
                return 1;
        codec = (struct codec){.node.ops = &ops};
        world_open_with(&world, &codec.node);
        return world_open_session(&world, &session);
}

static int close_world(void **state)
{
        world_close(&world);
        return test_teardown(state);
}

/* ---- the driver ---- */

static int on(uint32_t code, unsigned which)
{
        return world_ioctl(&world, session, code, &codec.queues[which].type, NULL, 0);
}

static int request(unsigned which, uint32_t memory, uint32_t count)
{
        struct v4l2_requestbuffers wanted = {.count = count, .type = codec.queues[which].type, .memory = memory};

        return world_ioctl(&world, session, VIDIOC_REQBUFS, &wanted, NULL, 0);
}

static struct v4l2_buffer named(unsigned which, uint32_t index)
{
        return (struct v4l2_buffer){.index = index,
                                    .type = codec.queues[which].type,
                                    .memory = V4L2_MEMORY_MMAP,
                                    .length = which == OUT ? PLANES : 1,
                                    .timestamp = {which == IN ? 7 : 0, 0}};
}

static int buffer_ioctl(uint32_t code, struct v4l2_buffer *buffer, struct v4l2_plane *planes)
{
        return world_ioctl(&world, session, code, buffer, planes, buffer->length * sizeof(*planes));
}

static int queue(unsigned which, uint32_t index, uint32_t used)
{
        struct v4l2_buffer buffer = named(which, index);
        struct v4l2_plane planes[PLANES] = {{.bytesused = used}};

        return buffer_ioctl(VIDIOC_QBUF, &buffer, planes);
}

static void test_both_ways(void **state)
{
        (void)state;
        world_give_room(&world, 8);
        assert_int_equal(request(IN, V4L2_MEMORY_MMAP, 2) + request(OUT, V4L2_MEMORY_MMAP, 2), 0);
        assert_int_equal(queue(IN, 0, 123), 0);
        assert_false(pass_one());
        assert_int_equal(on(VIDIOC_STREAMON, IN) + on(VIDIOC_STREAMON, OUT), 0);
        assert_false(pass_one());
        assert_int_equal(queue(OUT, 1, 0), 0);
        assert_true(pass_one());
        assert_int_equal(world.n_events, 2);
        assert_int_equal(world.events[0].dqbuf.buffer.type, V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE);
        assert_int_equal(world.events[0].dqbuf.planes[0].bytesused, 123);

        const struct media_event_dqbuf *out = &world.events[1].dqbuf;

        assert_int_equal(out->buffer.index, 1);
        assert_int_equal(out->buffer.length, PLANES);
        assert_int_equal(out->buffer.timestamp.tv_sec, 7);
        assert_true(out->buffer.flags & V4L2_BUF_FLAG_LAST);
        assert_int_equal(out->planes[0].bytesused, 123);
        assert_int_equal(out->planes[1].length, 2 * PLANE);
        assert_int_equal(on(VIDIOC_STREAMOFF, OUT) + on(VIDIOC_STREAMOFF, OUT), 0);
        assert_int_equal(codec.started, 2);
        assert_int_equal(codec.stopped, 1);
}

static void test_planes(void **state)
{
        struct v4l2_plane planes[PLANES] = {{0}};
        struct v4l2_buffer buffer;
        uint64_t address, size;

        (void)state;
        assert_int_equal(request(IN, V4L2_MEMORY_MMAP, 1) + request(OUT, V4L2_MEMORY_MMAP, 3), 0);
        buffer = named(OUT, 2);
        buffer.length = 1;
        assert_int_equal(buffer_ioctl(VIDIOC_QUERYBUF, &buffer, planes), EINVAL);
        buffer = named(OUT, 2);
        assert_int_equal(buffer_ioctl(VIDIOC_QUERYBUF, &buffer, planes), 0);
        for (unsigned i = 0; i < PLANES; i++) {
                assert_int_equal(world_mmap(&world, session, planes[i].m.mem_offset, 1, &address, &size), 0);
                assert_int_equal(size, PLANE * (i + 1));
        }
        assert_int_equal(world_mmap(&world, session, planes[1].m.mem_offset + 4096, 1, &address, &size), EINVAL);
        buffer = named(IN, 0);
        assert_int_equal(buffer_ioctl(VIDIOC_QUERYBUF, &buffer, planes), 0);
        assert_int_equal(world_mmap(&world, session, planes[0].m.mem_offset, 1, &address, &size), 0);
        assert_int_equal(size, PLANE);
}

/* More than there is in it, and an offset behind what is. */
static void test_wrong_content(void **state)
{
        struct v4l2_buffer buffer = named(IN, 0);
        struct v4l2_plane planes[1] = {{.bytesused = 10, .data_offset = 10}};

        (void)state;
        assert_int_equal(request(IN, V4L2_MEMORY_MMAP, 1), 0);
        assert_int_equal(queue(IN, 0, PLANE + 1), EINVAL);
        assert_int_equal(buffer_ioctl(VIDIOC_QBUF, &buffer, planes), EINVAL);
        planes[0].data_offset = 9;
        assert_int_equal(buffer_ioctl(VIDIOC_QBUF, &buffer, planes), 0);
        assert_int_equal(planes[0].data_offset, 9);
        assert_int_equal(planes[0].length, PLANE);
        assert_int_equal(buffer.timestamp.tv_sec, 7);
}

static void test_guest_planes(void **state)
{
        struct {
                struct v4l2_plane planes[PLANES];
                struct media_piece pieces[3];
        } more = {.pieces = {{WORLD_GUEST, PLANE, 0}, {WORLD_GUEST + 0x4000, PLANE, 0}, {WORLD_GUEST, PLANE, 0}}};
        struct v4l2_buffer buffer = named(OUT, 0);

        (void)state;
        assert_int_equal(request(OUT, V4L2_MEMORY_USERPTR, 1), 0);
        buffer.memory = V4L2_MEMORY_USERPTR;
        more.planes[0] = (struct v4l2_plane){.length = PLANE, .m.userptr = 16};
        more.planes[1] = (struct v4l2_plane){.length = 2 * PLANE - 1, .m.userptr = 17};
        assert_int_equal(world_ioctl(&world, session, VIDIOC_QBUF, &buffer, &more, sizeof(more)), EINVAL);
        more.planes[1].length = 2 * PLANE;
        assert_int_equal(world_ioctl(&world, session, VIDIOC_QBUF, &buffer, &more, sizeof(more)), 0);
        assert_int_equal(more.planes[1].m.userptr, 17);
        assert_int_equal(request(OUT, V4L2_MEMORY_MMAP, 1), 0);
}

static void test_create(void **state)
{
        struct v4l2_create_buffers create = {.count = 2, .memory = V4L2_MEMORY_MMAP};

        (void)state;
        create.format.type = codec.queues[OUT].type;
        create.format.fmt.pix_mp.num_planes = 1;
        assert_int_equal(world_ioctl(&world, session, VIDIOC_CREATE_BUFS, &create, NULL, 0), EINVAL);
        create.format.fmt.pix_mp.num_planes = PLANES;
        create.format.fmt.pix_mp.plane_fmt[0].sizeimage = PLANE;
        assert_int_equal(world_ioctl(&world, session, VIDIOC_CREATE_BUFS, &create, NULL, 0), EINVAL);
        create.format.fmt.pix_mp.plane_fmt[1].sizeimage = 2 * PLANE;
        assert_int_equal(world_ioctl(&world, session, VIDIOC_CREATE_BUFS, &create, NULL, 0), 0);
        assert_int_equal(create.count, 2);
        create.memory = V4L2_MEMORY_USERPTR;
        assert_int_equal(world_ioctl(&world, session, VIDIOC_CREATE_BUFS, &create, NULL, 0), EINVAL);
        create.format.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
        assert_int_equal(world_ioctl(&world, session, VIDIOC_CREATE_BUFS, &create, NULL, 0), EINVAL);
}

int main(void)
{
#define world_test(function) cmocka_unit_test_setup_teardown(function, open_world, close_world)
        const struct CMUnitTest tests[] = {
                world_test(test_both_ways),    world_test(test_planes), world_test(test_wrong_content),
                world_test(test_guest_planes), world_test(test_create),
        };

        return run_counted("media-queue", tests);
}
