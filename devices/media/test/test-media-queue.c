/* SPDX-License-Identifier: BSD-2-Clause */

/* Queues of a node that works from memory to memory, as a decoder does: two for each session, multi-planar, one of
 * them filled by the driver. The node only copies a buffer's fields, when it is told to. */

#include "devices/media/test/test-world.h"

#include "devices/media/core/queue.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

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
        codec.started++;
        return 0;
}

static void codec_stop(void *userdata)
{
        codec.stopped++;
}

static int codec_open(struct media_node *node, struct node_session *opened)
{
        static const struct media_queue_ops ops = {sizes, codec_start, codec_stop};
        static const uint32_t types[] = {V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE, V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE};

        for (unsigned i = 0; i < 2; i++) {
                struct media_queue *queue = &codec.queues[i];

                *queue = (struct media_queue){.ops = &ops,
                                              .userdata = queue,
                                              .media = node->media,
                                              .type = types[i],
                                              .field = V4L2_FIELD_NONE};
                queue->first = i << 16;
                queue->timestamp_flags = V4L2_BUF_FLAG_TIMESTAMP_COPY;
                queue->memories = QUEUE_MEMORY(MMAP) | QUEUE_MEMORY(USERPTR) | QUEUE_MEMORY(DMABUF);
                media_queue_init(queue);
        }
        return 0;
}

static void codec_close(struct media_node *node, struct node_session *closed)
{
        for (unsigned i = 0; i < 2; i++) {
                media_queue_leave(&codec.queues[i], closed);
                media_queue_free(&codec.queues[i]);
        }
}

static int codec_ioctl(struct media_node *node, struct node_session *by, struct media_call *call)
{
        return media_queue_ioctl(codec.queues, 2, by, call);
}

static int codec_file(struct media_node *node, struct node_session *by, uint32_t offset, struct media_file *out)
{
        return media_queue_file(&codec.queues[IN], offset, out) == 0
                       ? 0
                       : media_queue_file(&codec.queues[OUT], offset, out);
}

static void codec_nothing(struct media_node *node)
{
}

/* Completes one buffer of each queue; false: there are none. */
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

/* More bytes than the buffer has, and an offset behind the data. */
static void test_wrong_content(void **state)
{
        struct v4l2_buffer buffer = named(IN, 0);
        struct v4l2_plane planes[1] = {{.bytesused = 10, .data_offset = 10}};

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

/* ---- objects ---- */

/* A file as another device has it: in memory, with a fixed size. */
static int their_file(const char *name, off_t size, int seals)
{
        const int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, size), 0);
        assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
        return fd;
}

static int queue_object(unsigned which, struct media_object object, uint32_t length, struct v4l2_plane *told)
{
        struct {
                struct v4l2_plane planes[PLANES];
                struct media_object objects[PLANES];
        } two = {.planes = {{.length = length, .m.fd = 77}, {.length = length, .m.fd = 78}},
                 .objects = {object, object}};
        struct {
                struct v4l2_plane plane;
                struct media_object object;
        } one = {{.bytesused = 5, .length = length, .m.fd = 77}, object};
        struct v4l2_buffer buffer = named(which, 0);
        int r;

        buffer.memory = V4L2_MEMORY_DMABUF;
        r = which == IN ? world_ioctl(&world, session, VIDIOC_QBUF, &buffer, &one, sizeof(one))
                        : world_ioctl(&world, session, VIDIOC_QBUF, &buffer, &two, sizeof(two));
        if (r == 0) {
                *told = which == IN ? one.plane : two.planes[1];
                assert_memory_equal(which == IN ? &one.object : &two.objects[1], &object, sizeof(object));
        }
        return r;
}

static const uint8_t *plane_data(unsigned which, unsigned plane)
{
        return codec.queues[which].buffers[0]->planes[plane].data;
}

static void test_objects_of_others(void **state)
{
        const struct media_object object = {{1, 2, 3}}, unknown = {{4}};
        struct v4l2_plane told;

        world.no_objects = true;
        assert_int_equal(request(IN, V4L2_MEMORY_DMABUF, 1), EINVAL);
        world.no_objects = false;
        world_give_room(&world, 8);
        world.theirs = object;
        world.theirs_fd = their_file("theirs", 4 * PLANE, F_SEAL_SHRINK);
        assert_int_equal(pwrite(world.theirs_fd, "theirs", 6, 0), 6);
        assert_int_equal(request(IN, V4L2_MEMORY_DMABUF, 1) + request(OUT, V4L2_MEMORY_DMABUF, 1), 0);
        assert_int_equal(queue_object(IN, unknown, 0, &told), EINVAL);
        assert_int_equal(queue_object(IN, object, 4 * PLANE + 1, &told), EINVAL);
        assert_int_equal(queue_object(IN, object, PLANE - 1, &told), EINVAL);
        assert_int_equal(queue_object(IN, object, 0, &told), 0);
        assert_int_equal(told.length, 4 * PLANE);
        assert_int_equal(told.m.fd, 77);
        assert_memory_equal(plane_data(IN, 0), "theirs", 6);
        assert_int_equal(queue_object(OUT, object, 2 * PLANE, &told), 0);
        assert_int_equal(told.m.fd, 78);
        assert_int_equal(on(VIDIOC_STREAMON, IN) + on(VIDIOC_STREAMON, OUT), 0);
        assert_true(pass_one());
        assert_int_equal(world.events[0].dqbuf.planes[0].m.fd, 77);
        assert_int_equal(world.events[1].dqbuf.planes[1].m.fd, 78);

        /* The same object stays mapped where it is; one with another length, or another object, does not. */
        const uint8_t *before = plane_data(IN, 0);

        codec.queues[IN].buffers[0]->renewed = false;
        assert_int_equal(queue_object(IN, object, 0, &told), 0);
        assert_ptr_equal(plane_data(IN, 0), before);
        assert_false(codec.queues[IN].buffers[0]->renewed);
        assert_int_equal(queue_object(OUT, object, 3 * PLANE, &told), 0);
        assert_true(codec.queues[OUT].buffers[0]->renewed);
        assert_true(pass_one());

        /* The other device's object may end: its memory stays for those who have it. */
        close(world.theirs_fd);
        assert_memory_equal(plane_data(IN, 0), "theirs", 6);
        world.theirs_fd = -1;
        assert_int_not_equal(queue_object(IN, object, 0, &told), 0);
        assert_int_equal(on(VIDIOC_STREAMOFF, IN) + request(IN, V4L2_MEMORY_DMABUF, 0), 0);
}

/* Memory that could become shorter under this process, and files that are no memory. */
static void test_wrong_objects(void **state)
{
        const struct media_object object = {{1}};
        int pair[2], fds[5];
        struct v4l2_plane told;

        assert_int_equal(pipe(pair), 0);
        fds[0] = their_file("sealed", 4 * PLANE, F_SEAL_SEAL);
        fds[1] = open("/dev/zero", O_RDWR | O_CLOEXEC);
        fds[2] = pair[0];
        fds[3] = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        /* Holes can be punched in it, for which there may be no page left. */
        fds[4] = memfd_create("huge", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB);
        assert_true(fds[4] < 0 || ftruncate(fds[4], 2 << 20) == 0);
        assert_true(fds[4] < 0 || fcntl(fds[4], F_ADD_SEALS, F_SEAL_SHRINK) == 0);
        world.theirs = object;
        assert_int_equal(request(IN, V4L2_MEMORY_DMABUF, 1), 0);
        for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
                world.theirs_fd = fds[i];
                assert_int_not_equal(queue_object(IN, object, PLANE, &told), 0);
                close(fds[i]);
        }
        close(pair[1]);
        /* A memfd that can be sealed is sealed. */
        world.theirs_fd = their_file("open", 4 * PLANE, 0);
        assert_int_equal(queue_object(IN, object, PLANE, &told), 0);
        assert_int_equal(ftruncate(world.theirs_fd, 0), -1);
        close(world.theirs_fd);
}

static int read_only(int fd)
{
        char name[32];

        snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
        return open(name, O_RDONLY | O_CLOEXEC);
}

/* A buffer is in the object that it was queued with last, or in none: never in an earlier one. */
static void test_other_objects(void **state)
{
        const struct media_object first = {{1}}, second = {{2}};
        const int fds[] = {their_file("first", PLANE, F_SEAL_SHRINK), their_file("second", PLANE, F_SEAL_SHRINK)};
        struct v4l2_plane told;

        world.theirs = first;
        world.theirs_fd = fds[0];
        assert_int_equal(request(IN, V4L2_MEMORY_DMABUF, 1), 0);
        assert_int_equal(queue_object(IN, first, PLANE, &told), 0);
        /* It can't be written to. */
        world.theirs = second;
        world.theirs_fd = read_only(fds[1]);
        for (unsigned i = 0; i < 3; i++) {
                assert_int_equal(on(VIDIOC_STREAMOFF, IN), 0);
                assert_int_equal(queue_object(IN, second, PLANE, &told), EACCES);
        }
        close(world.theirs_fd);
        /* The same name for another file. */
        world.theirs = first;
        world.theirs_fd = fds[1];
        assert_int_equal(pwrite(fds[1], "second", 6, 0), 6);
        assert_int_equal(queue_object(IN, first, PLANE, &told), 0);
        assert_memory_equal(plane_data(IN, 0), "second", 6);
        close(fds[0]);
        close(fds[1]);
}

static int export(unsigned which, uint32_t index, uint32_t plane, struct media_object *object)
{
        struct v4l2_exportbuffer wanted = {
                .type = codec.queues[which].type, .index = index, .plane = plane, .flags = O_RDWR, .fd = 99};
        int r = world_ioctl(&world, session, VIDIOC_EXPBUF, &wanted, object, sizeof(*object));

        assert_int_equal(wanted.fd, 99);
        return r;
}

static void test_objects_of_ours(void **state)
{
        struct media_object object = {{0}}, again = {{0}}, other = {{0}};
        struct v4l2_plane told;
        char text[4] = "";

        assert_int_equal(export(IN, 0, 0, &object), EINVAL);
        assert_int_equal(request(IN, V4L2_MEMORY_MMAP, 1) + request(OUT, V4L2_MEMORY_MMAP, 1), 0);
        assert_int_equal(export(IN, 1, 0, &object) + export(IN, 0, 1, &object), EINVAL + EINVAL);
        world.map_error = -EREMOTEIO;
        assert_int_not_equal(export(IN, 0, 0, &object), 0);
        world.map_error = 0;
        assert_int_equal(world.added, 0);
        assert_int_equal(export(IN, 0, 0, &object) + export(IN, 0, 0, &again) + export(OUT, 0, 1, &other), 0);
        assert_memory_equal(&object, &again, sizeof(object));
        assert_memory_not_equal(&object, &other, sizeof(object));
        assert_int_equal(world.added, 2);

        int fd = media_get_object(world.media, &other);

        memcpy(codec.queues[OUT].buffers[0]->planes[1].data, "ours", 4);
        assert_int_equal(pread(fd, text, 4, 0), 4);
        assert_memory_equal(text, "ours", 4);

        /* The media's own object is not looked up elsewhere, and its memory outlives its buffer while it is used. */
        assert_int_equal(request(IN, V4L2_MEMORY_DMABUF, 1), 0);
        assert_int_equal(media_get_object(world.media, &object), -ENOENT);
        assert_int_equal(queue_object(IN, other, PLANE, &told), 0);
        assert_int_equal(world.found, 0);
        assert_int_equal(request(OUT, V4L2_MEMORY_MMAP, 0), 0);
        assert_int_equal(media_get_object(world.media, &other), -ENOENT);
        assert_memory_equal(plane_data(IN, 0), "ours", 4);
        /* The first was refused, and removed like the others. */
        assert_int_equal(world.removed, 3);
        close(fd);

        /* The end of a session ends its objects. */
        assert_int_equal(request(OUT, V4L2_MEMORY_MMAP, 1), 0);
        assert_int_equal(export(OUT, 0, 0, &object), 0);
        world_close_session(&world, session);
        assert_int_equal(world.removed, 4);
}

int main(void)
{
#define world_test(function) cmocka_unit_test_setup_teardown(function, open_world, close_world)
        const struct CMUnitTest tests[] = {
                world_test(test_both_ways),     world_test(test_planes),        world_test(test_wrong_content),
                world_test(test_guest_planes),  world_test(test_create),        world_test(test_objects_of_others),
                world_test(test_wrong_objects), world_test(test_other_objects), world_test(test_objects_of_ours),
        };

        return run_counted("media-queue", tests);
}
