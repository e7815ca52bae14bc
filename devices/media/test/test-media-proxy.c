/* SPDX-License-Identifier: BSD-2-Clause */

/* What a guest is told by a device of the host: a stand-in for devices/media/proxy/file.c answers what a test wants of
 * it, and keeps the addresses that it was given. None of them may come to the guest. */

#include "devices/media/test/test-world.h"

#include "devices/media/proxy/state.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

enum { PLANES = 3, PLANE = 5000 };

static struct world world;
static uint32_t session;

static struct {
        struct v4l2_buffer queued;
        struct v4l2_plane planes[PLANES];
        uint32_t length;     /* what it says that there are of planes */
        bool done;           /* DQBUF finds a buffer */
        uint64_t value;      /* of a control, */
        uint64_t value_mask; /* of which it writes so much */
} device;

int proxy_watch(struct proxy_session *own)
{
        (void)own;
        return 0;
}

static void device_queue(struct v4l2_buffer *buffer)
{
        device.queued = *buffer;
        memcpy(device.planes, buffer->m.planes, sizeof(device.planes));
        for (unsigned i = 0; i < PLANES && buffer->memory == V4L2_MEMORY_USERPTR; i++)
                memset((void *)buffer->m.planes[i].m.userptr, (int)i + 1, PLANE);
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

static void device_control(struct v4l2_ext_control *control)
{
        control->value64 = (int64_t)(((uint64_t)control->value64 & ~device.value_mask) | device.value);
}

int node_ioctl(const struct proxy_session *own, uint32_t code, void *payload)
{
        (void)own;
        switch (code) {
        case VIDIOC_QBUF:
                device_queue(payload);
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

        (void)state;
        memset(&device, 0, sizeof(device));
        device.length = PLANES;
        assert_int_equal(proxy_new(proc, memfd_create("test", MFD_CLOEXEC), &config, NULL, &node), 0);
        world_open_with(&world, node);
        return world_open_session(&world, &session);
}

static int proxy_world_close(void **state)
{
        (void)state;
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

/* As videobuf2 does when it is given more planes than a buffer has. */
static void test_fewer_planes(void **state)
{
        struct planes more;

        (void)state;
        start_queue(V4L2_MEMORY_USERPTR);
        device.length = 1;
        queue_buffer(V4L2_MEMORY_USERPTR, &more);
        assert_own_numbers(more.planes);
}

static void test_more_planes(void **state)
{
        struct planes more;

        (void)state;
        start_queue(V4L2_MEMORY_USERPTR);
        device.length = UINT32_MAX;
        queue_buffer(V4L2_MEMORY_USERPTR, &more);
        assert_own_numbers(more.planes);
}

static void test_done(void **state)
{
        const struct media_event_dqbuf *told = &world.events[0].dqbuf;
        struct planes more;

        (void)state;
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

/* CREATE_BUFS without a count asks only: the queue's memory stays what it is. */
static void test_question(void **state)
{
        struct v4l2_create_buffers create = {.count = 0, .memory = V4L2_MEMORY_USERPTR};
        struct planes more;

        (void)state;
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

        (void)state;
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
                proxy_test(test_question),     proxy_test(test_control),
        };

        return run_counted("media-proxy", tests);
}
