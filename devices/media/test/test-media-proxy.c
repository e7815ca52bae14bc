/* SPDX-License-Identifier: BSD-2-Clause */

/* The answers of a device of the host for a guest: a stand-in for devices/media/proxy/file.c answers as a test
 * wants, and keeps the addresses that it was given. None of them may reach the guest. */

#include "devices/media/test/test-world.h"

#include "devices/media/proxy/state.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PLANES = 3, PLANE = 5000 };

static struct world world;
static uint32_t session;

static struct {
        struct v4l2_buffer queued;
        struct v4l2_plane planes[PLANES];
        uint32_t length;     /* the number of planes that it reports */
        bool done;           /* DQBUF finds a buffer */
        bool refuses;        /* QBUF */
        uint64_t value;      /* of a control, */
        uint64_t value_mask; /* the bits of it that are written */
} device;

int proxy_watch(struct proxy_session *own)
{
        return 0;
}

static void device_queue(struct v4l2_buffer *buffer)
{
        device.queued = *buffer;
        memcpy(device.planes, buffer->m.planes, sizeof(device.planes));
        for (unsigned i = 0; i < PLANES && buffer->memory == V4L2_MEMORY_USERPTR; i++)
                memset((void *)buffer->m.planes[i].m.userptr, (int)i + 1, PLANE);
        for (unsigned i = 0; i < PLANES && buffer->memory == V4L2_MEMORY_DMABUF; i++)
                assert_true(fcntl(buffer->m.planes[i].m.fd, F_GETFD) >= 0);
        buffer->length = device.length;
}

static void device_dequeue(struct v4l2_buffer *buffer)
{
        struct v4l2_plane *planes = buffer->m.planes;

        *buffer = device.queued;
        buffer->m.planes = planes;
        memcpy(planes, device.planes, sizeof(device.planes));
        for (unsigned i = 0; i < PLANES; i++)
                planes[i].bytesused = PLANE;
        device.done = false;
}

static void device_query(struct v4l2_buffer *buffer)
{
        buffer->memory = V4L2_MEMORY_MMAP;
        buffer->length = PLANE;
        buffer->m.offset = 0x1000;
}

static void device_control(struct v4l2_ext_control *control)
{
        control->value64 = (int64_t)(((uint64_t)control->value64 & ~device.value_mask) | device.value);
}

int node_ioctl(const struct proxy_session *own, uint32_t code, void *payload)
{
        switch (code) {
        case VIDIOC_QBUF:
                if (device.refuses)
                        return -EINVAL;
                device_queue(payload);
                return 0;
        case VIDIOC_EXPBUF:
                ((struct v4l2_exportbuffer *)payload)->fd = memfd_create("exported", MFD_CLOEXEC);
                return 0;
        case VIDIOC_QUERYBUF:
                device_query(payload);
                return 0;
        case VIDIOC_DQBUF:
                if (!device.done)
                        return -EAGAIN;
                device_dequeue(payload);
                return 0;
        case VIDIOC_G_EXT_CTRLS:
                device_control(((struct v4l2_ext_controls *)payload)->controls);
                return 0;
        case VIDIOC_DQEVENT:
                return -ENOENT;
        }
        return 0;
}

static int proxy_world_open(void **state)
{
        static const struct media_config config = {.device_caps = V4L2_CAP_STREAMING};
        const int proc = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
        struct media_node *node;

        memset(&device, 0, sizeof(device));
        device.length = PLANES;
        assert_int_equal(proxy_new(proc, memfd_create("test", MFD_CLOEXEC), &config, NULL, &node), 0);
        world_open_with(&world, node);
        return world_open_session(&world, &session);
}

static int proxy_world_close(void **state)
{
        world_close(&world);
        return 0;
}

/* ---- buffers ---- */

/* A buffer's planes, and the guest's memory for each. */
struct planes {
        struct v4l2_plane planes[PLANES];
        struct media_piece memory[PLANES];
};

static void start_queue(uint32_t memory)
{
        const uint32_t type = V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE;
        struct v4l2_requestbuffers request = {.count = 1, .type = type, .memory = memory};

        assert_int_equal(world_ioctl(&world, session, VIDIOC_REQBUFS, &request, NULL, 0), 0);
        assert_int_equal(world_ioctl(&world, session, VIDIOC_STREAMON, (uint32_t[]){type}, NULL, 0), 0);
}

static void queue_buffer(uint32_t memory, struct planes *more)
{
        struct v4l2_buffer buffer = {
                .type = V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE, .memory = memory, .length = PLANES, .m.userptr = 99};

        for (unsigned i = 0; i < PLANES; i++) {
                more->planes[i] = (struct v4l2_plane){.length = PLANE, .m.userptr = 0x1000 * (i + 1)};
                more->memory[i] = (struct media_piece){WORLD_GUEST + 0x2000 * i, PLANE, 0};
        }
        assert_int_equal(world_ioctl(&world, session, VIDIOC_QBUF, &buffer, more,
                                     memory == V4L2_MEMORY_USERPTR ? sizeof(*more) : sizeof(more->planes)),
                         0);
        assert_int_equal(buffer.m.userptr, 99);
        assert_true(buffer.length <= PLANES);
}

static void assert_own_numbers(const struct v4l2_plane *planes)
{
        for (unsigned i = 0; i < PLANES; i++)
                assert_int_equal(planes[i].m.userptr, 0x1000 * (i + 1));
}

/* As videobuf2 does with more planes than a buffer has. */
static void test_fewer_planes(void **state)
{
        struct planes more;

        start_queue(V4L2_MEMORY_USERPTR);
        device.length = 1;
        queue_buffer(V4L2_MEMORY_USERPTR, &more);
        assert_own_numbers(more.planes);
}

static void test_more_planes(void **state)
{
        struct planes more;

        start_queue(V4L2_MEMORY_USERPTR);
        device.length = UINT32_MAX;
        queue_buffer(V4L2_MEMORY_USERPTR, &more);
        assert_own_numbers(more.planes);
}

static void test_done(void **state)
{
        const struct media_event_dqbuf *told = &world.events[0].dqbuf;
        struct planes more;

        start_queue(V4L2_MEMORY_USERPTR);
        world_give_room(&world, 1);
        device.done = true;
        queue_buffer(V4L2_MEMORY_USERPTR, &more);
        world_await_events(&world, 1);
        assert_int_equal(told->header.event, MEDIA_EVENT_DQBUF);
        assert_own_numbers(told->planes);
        assert_int_equal(told->buffer.m.userptr, 0);
        for (unsigned i = 0; i < PLANES; i++)
                assert_int_equal(world.guest[0x2000 * i + PLANE - 1], i + 1);
}

/* ---- objects ---- */

static int queue_objects(uint32_t index, struct v4l2_plane *told)
{
        struct {
                struct v4l2_plane planes[PLANES];
                struct media_object objects[PLANES];
        } more = {.objects = {world.theirs, world.theirs, world.theirs}};
        struct v4l2_buffer buffer = {.index = index,
                                     .type = V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE,
                                     .memory = V4L2_MEMORY_DMABUF,
                                     .length = PLANES};
        int r;

        for (unsigned i = 0; i < PLANES; i++)
                more.planes[i] = (struct v4l2_plane){.length = PLANE, .m.userptr = 0x1000 * (i + 1)};
        r = world_ioctl(&world, session, VIDIOC_QBUF, &buffer, &more, sizeof(more));
        memcpy(told, more.planes, sizeof(more.planes));
        return r;
}

static size_t held(void)
{
        const struct node_session *of = TAILQ_FIRST(&world.media->sessions);
        const struct proxy_session *own = of->handle;

        return own->proxy->held;
}

/* The device gets the descriptors, and the guest its own numbers. Of objects that the device does not take nothing
 * is kept, and the buffer can be mapped as before. */
static void test_objects(void **state)
{
        struct v4l2_requestbuffers request = {
                .count = 1, .type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_MMAP};
        struct v4l2_buffer single = {.type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_DMABUF};
        struct v4l2_plane told[PLANES];
        uint64_t address, size;

        world.theirs = (struct media_object){{1}};
        world.theirs_fd = memfd_create("theirs", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        start_queue(V4L2_MEMORY_DMABUF);
        world_give_room(&world, 1);
        device.done = true;
        assert_int_equal(queue_objects(0, told), 0);
        assert_own_numbers(told);
        world_await_events(&world, 1);
        assert_own_numbers(world.events[0].dqbuf.planes);

        const size_t before = held();

        device.refuses = true;
        for (uint32_t i = 1; i < 100; i++)
                assert_int_equal(queue_objects(i, told), EINVAL);
        assert_int_equal(held(), before);
        assert_int_equal(world_ioctl(&world, session, VIDIOC_REQBUFS, &request, NULL, 0), 0);
        assert_int_equal(world_ioctl(&world, session, VIDIOC_QBUF, &single, &world.theirs, sizeof(world.theirs)),
                         EINVAL);
        assert_int_equal(world_mmap(&world, session, 0x1000, 0, &address, &size), 0);
        close(world.theirs_fd);
}

/* CREATE_BUFS without a count only asks: the queue's kind of memory stays. */
static void test_question(void **state)
{
        struct v4l2_create_buffers create = {.count = 0, .memory = V4L2_MEMORY_USERPTR};
        struct planes more;

        start_queue(V4L2_MEMORY_MMAP);
        create.format.type = V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE;
        assert_int_equal(world_ioctl(&world, session, VIDIOC_CREATE_BUFS, &create, NULL, 0), 0);
        world_give_room(&world, 1);
        device.done = true;
        queue_buffer(V4L2_MEMORY_MMAP, &more);
        world_await_events(&world, 1);
        assert_int_equal(world.events[0].dqbuf.buffer.memory, V4L2_MEMORY_MMAP);
        assert_int_equal(world.events[0].dqbuf.planes[1].m.mem_offset, 0x2000);
}

/* ---- controls ---- */

static void test_control(void **state)
{
        static const struct {
                uint64_t written, mask, told;
        } cases[] = {
                {0, 0, 0x1111222233334444},
                {7, UINT32_MAX, 0x1111222200000007},
                {UINT64_C(7) << 32, ~(uint64_t)UINT32_MAX, 0x0000000733334444},
                {5, UINT64_MAX, 5},
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct v4l2_ext_controls list = {.count = 1};

                struct {
                        struct v4l2_ext_control control;
                        uint8_t piece[sizeof(struct media_piece)];
                } more = {{.id = V4L2_CID_BRIGHTNESS, .size = 4, .value64 = 0x1111222233334444}, {0}};

                memcpy(more.piece, &(struct media_piece){WORLD_GUEST, 4, 0}, sizeof(more.piece));
                device.value = cases[i].written;
                device.value_mask = cases[i].mask;
                assert_int_equal(world_ioctl(&world, session, VIDIOC_G_EXT_CTRLS, &list, &more, sizeof(more)), 0);
                assert_int_equal(more.control.value64, cases[i].told);
        }
}

int main(void)
{
#define proxy_test(function) cmocka_unit_test_setup_teardown(function, proxy_world_open, proxy_world_close)
        const struct CMUnitTest tests[] = {
                proxy_test(test_fewer_planes), proxy_test(test_more_planes), proxy_test(test_done),
                proxy_test(test_question),     proxy_test(test_control),     proxy_test(test_objects),
        };

        return run_counted("media-proxy", tests);
}
