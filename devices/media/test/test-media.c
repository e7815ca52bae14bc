/* SPDX-License-Identifier: BSD-2-Clause */

/* The core of oriel-media with a camera, in bytes: the table of ioctls, commands with wrong lengths, sessions,
 * mappings, events, and the states of buffers. */

#include "devices/media/test/test-world.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static struct world world;
static uint32_t session;

static int open_world(void **state)
{
        if (test_setup(state))
                return 1;
        world_open(&world);
        return world_open_session(&world, &session);
}

static int close_world(void **state)
{
        world_close(&world);
        return test_teardown(state);
}

#define ioctl(code, payload) world_ioctl(&world, session, code, payload, NULL, 0)

/* ---- short forms ---- */

static void set_size(uint32_t width, uint32_t height)
{
        struct v4l2_format format = {.type = V4L2_BUF_TYPE_VIDEO_CAPTURE};

        format.fmt.pix.width = width;
        format.fmt.pix.height = height;
        format.fmt.pix.pixelformat = V4L2_PIX_FMT_YUV420;
        assert_int_equal(ioctl(VIDIOC_S_FMT, &format), 0);
        assert_int_equal(format.fmt.pix.sizeimage, width * height * 3 / 2);
}

static int request_as(uint32_t by, uint32_t memory, uint32_t count)
{
        struct v4l2_requestbuffers request = {.count = count, .type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = memory};
        int r = world_ioctl(&world, by, VIDIOC_REQBUFS, &request, NULL, 0);

        if (r == 0)
                assert_int_equal(request.count, count);
        return r;
}

static int request(uint32_t memory, uint32_t count)
{
        return request_as(session, memory, count);
}

static struct v4l2_buffer named(uint32_t index)
{
        return (struct v4l2_buffer){.index = index, .type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_MMAP};
}

static struct v4l2_buffer query(uint32_t index)
{
        struct v4l2_buffer buffer = named(index);

        assert_int_equal(ioctl(VIDIOC_QUERYBUF, &buffer), 0);
        return buffer;
}

static int queue(uint32_t index)
{
        struct v4l2_buffer buffer = named(index);

        return ioctl(VIDIOC_QBUF, &buffer);
}

static int stream(uint32_t code)
{
        uint32_t type = V4L2_BUF_TYPE_VIDEO_CAPTURE;

        return ioctl(code, &type);
}

/* ---- the table ---- */

static void test_table(void **state)
{
        static const uint32_t replaced[] = {VIDIOC_QUERYCAP,   VIDIOC_DQBUF,      VIDIOC_DQEVENT,
                                            VIDIOC_G_JPEGCOMP, VIDIOC_S_JPEGCOMP, VIDIOC_LOG_STATUS};
        unsigned n = 0;

        for (int nr = media_ioctl_next(0); nr >= 0; nr = media_ioctl_next((uint32_t)nr + 1), n++) {
                const struct media_ioctl *row = media_ioctl_find((uint32_t)nr);

                assert_int_equal(_IOC_NR(row->code), nr);
                assert_int_equal(_IOC_TYPE(row->code), 'V');
                assert_true(media_ioctl_reads(row) || media_ioctl_writes(row));
                assert_true(media_ioctl_size(row) <= (media_ioctl_writes(row) ? 4096 : 512));
        }
        assert_int_equal(n, 67);
        for (size_t i = 0; i < ARRAY_SIZE(replaced); i++)
                assert_null(media_ioctl_find(_IOC_NR(replaced[i])));
        assert_null(media_ioctl_find(1));
        assert_null(media_ioctl_find(UINT32_MAX));
}

static void test_payloads(void **state)
{
        struct v4l2_buffer buffer = {.type = V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE, .memory = V4L2_MEMORY_USERPTR};
        struct v4l2_ext_controls controls = {.count = 3};
        struct v4l2_format format = {.type = V4L2_BUF_TYPE_VIDEO_OVERLAY};
        const struct v4l2_plane planes[3] = {{.length = 10}, {.length = 0}, {.length = 30}};
        const struct v4l2_ext_control items[3] = {{.size = 0}, {.size = 7}, {.size = 0}};
        const struct media_ioctl *qbuf = media_ioctl_find(_IOC_NR(VIDIOC_QBUF));
        const struct media_ioctl *get = media_ioctl_find(_IOC_NR(VIDIOC_G_EXT_CTRLS));
        uint32_t sizes[MEDIA_MAX_CONTROLS];

        buffer.length = 3;
        assert_int_equal(media_ioctl_trailer(qbuf, &buffer), sizeof(planes));
        assert_int_equal(media_ioctl_memory(qbuf, &buffer, planes, sizes), 2);
        assert_int_equal(sizes[0], 10);
        assert_int_equal(sizes[1], 30);
        buffer.length = MEDIA_MAX_PLANES + 1;
        assert_int_equal(media_ioctl_trailer(qbuf, &buffer), -EINVAL);
        buffer.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
        assert_int_equal(media_ioctl_trailer(qbuf, &buffer), 0);
        assert_int_equal(media_ioctl_memory(qbuf, &buffer, NULL, sizes), 1);
        buffer.memory = V4L2_MEMORY_MMAP;
        assert_int_equal(media_ioctl_memory(qbuf, &buffer, NULL, sizes), 0);
        assert_int_equal(media_ioctl_trailer(get, &controls), sizeof(items));
        assert_int_equal(media_ioctl_memory(get, &controls, items, sizes), 1);
        assert_int_equal(sizes[0], 7);
        controls.count = MEDIA_MAX_CONTROLS + 1;
        assert_int_equal(media_ioctl_trailer(get, &controls), -EINVAL);
        assert_int_equal(media_ioctl_trailer(media_ioctl_find(_IOC_NR(VIDIOC_G_FMT)), &format), -EINVAL);
}

/* ---- commands ---- */

static void test_lengths(void **state)
{
        const struct {
                uint32_t command;
                size_t size, answer;
        } rows[] = {{MEDIA_OPEN, 8, 16},
                    {MEDIA_CLOSE, 16, 0},
                    {MEDIA_IOCTL, 16, 8},
                    {MEDIA_MMAP, 20, 24},
                    {MEDIA_MUNMAP, 16, 8}};

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                const uint32_t words[8] = {rows[i].command, 0, session};

                for (size_t size = 0; size < rows[i].size; size++) {
                        const bool answers = rows[i].command != MEDIA_CLOSE || size == 0;

                        assert_int_equal(world_command(&world, words, size, 64), answers ? 8 : 0);
                        if (answers)
                                assert_int_equal(world_status(&world), EINVAL);
                }
                for (size_t room = 0; room < rows[i].answer; room++)
                        assert_int_equal(world_command(&world, words, rows[i].size, room), room < 8 ? 0 : 8);
        }
        assert_int_equal(world_n_sessions(&world), 1);
        assert_int_equal(world_command(&world, (uint32_t[]){6, 0, 0, 0}, 16, 64), 8);
        assert_int_equal(world_status(&world), ENOTTY);
        assert_int_equal(world_command(&world, (uint32_t[]){UINT32_MAX, 0, 0, 0}, 16, 64), 8);
        assert_int_equal(world_status(&world), ENOTTY);
}

static void test_ioctl_lengths(void **state)
{
        struct {
                struct media_ioctl_command fixed;
                struct v4l2_ext_controls list;
                struct v4l2_ext_control items[2];
        } command = {{{MEDIA_IOCTL, 0}, session, _IOC_NR(VIDIOC_G_EXT_CTRLS)}, {.count = 2}, {{.id = 0}}};
        const size_t answer = 8 + sizeof(command.list) + sizeof(command.items);

        command.items[0].id = V4L2_CID_BRIGHTNESS;
        command.items[1].id = V4L2_CID_HUE;
        for (size_t size = sizeof(command.fixed); size < sizeof(command); size++) {
                assert_int_equal(world_command(&world, &command, size, answer), 8);
                assert_int_equal(world_status(&world), EINVAL);
        }
        for (size_t room = 8; room < answer; room++) {
                assert_int_equal(world_command(&world, &command, sizeof(command), room), 8);
                assert_int_equal(world_status(&world), EINVAL);
        }
        assert_int_equal(world_command(&world, &command, sizeof(command), answer), answer);
        assert_int_equal(world_status(&world), 0);
        command.list.count = UINT32_MAX;
        assert_int_equal(world_command(&world, &command, sizeof(command), answer), 8);
        /* A payload that only one side sends. */
        command.fixed.code = _IOC_NR(VIDIOC_G_INPUT);
        assert_int_equal(world_command(&world, &command, sizeof(command.fixed), 12), 12);
        command.fixed.code = _IOC_NR(VIDIOC_QUERYCAP);
        assert_int_equal(world_command(&world, &command, sizeof(command), answer), 8);
        assert_int_equal(world_status(&world), ENOTTY);
}

static void test_sessions(void **state)
{
        uint32_t ids[300], n = 0, input = 0;

        while (world_open_session(&world, &ids[n]) == 0)
                n++;
        assert_int_equal(world_status(&world), EMFILE);
        assert_int_equal(n, SESSIONS_MAX - 1);
        world_close_session(&world, ids[0]);
        assert_int_equal(world_ioctl(&world, ids[0], VIDIOC_G_INPUT, &input, NULL, 0), EINVAL);
        world_close_session(&world, ids[0]);
        assert_int_equal(world_open_session(&world, &ids[0]), 0);
        for (uint32_t i = 1; i < n; i++)
                assert_int_not_equal(ids[0], ids[i]);
        /* A reset gives a guest no further lines in the log. */
        world.lines.used = 7;
        media_reset(world.media);
        assert_int_equal(world.lines.used, 7);
        assert_int_equal(world_n_sessions(&world), 0);
}

/* ---- mappings ---- */

static void test_mappings(void **state)
{
        uint64_t first, again, second, read_only, size;
        uint32_t offset;

        set_size(320, 180);
        assert_int_equal(request(V4L2_MEMORY_MMAP, 2), 0);
        offset = query(0).m.offset;
        assert_int_equal(world_mmap(&world, session, offset, MEDIA_MMAP_READ_WRITE, &first, &size), 0);
        assert_int_equal(size, 320 * 180 * 3 / 2);
        assert_int_equal(world_mmap(&world, session, offset, MEDIA_MMAP_READ_WRITE, &again, &size), 0);
        assert_int_equal(again, first);
        assert_int_equal(world_mmap(&world, session, offset, 0, &read_only, &size), 0);
        assert_int_equal(world_mmap(&world, session, query(1).m.offset, MEDIA_MMAP_READ_WRITE, &second, &size), 0);
        assert_int_equal(world_n_mappings(&world), 3);
        assert_true(first != read_only && first != second && second != read_only);
        /* Another set of buffers, at the same offsets, is mapped elsewhere: existing mappings stay. */
        assert_int_equal(request(V4L2_MEMORY_MMAP, 1), 0);
        assert_int_equal(query(0).m.offset, offset);
        assert_int_equal(world_mmap(&world, session, offset, MEDIA_MMAP_READ_WRITE, &again, &size), 0);
        assert_int_not_equal(again, first);
        world_close_session(&world, session);
        assert_int_equal(world_n_mappings(&world), 4);
        assert_int_equal(world.unmaps, 0);
        /* Mappings are counted. */
        assert_int_equal(world_munmap(&world, first), 0);
        assert_int_equal(world.unmaps, 0);
        assert_int_equal(world_munmap(&world, first), 0);
        assert_int_equal(world.unmaps, 1);
        assert_int_equal(world_munmap(&world, first), EINVAL);
        assert_int_equal(world_munmap(&world, 12345), EINVAL);
        assert_int_equal(world_munmap(&world, UINT64_MAX), EINVAL);
        media_reset(world.media);
        assert_int_equal(world_n_mappings(&world), 0);
}

static void test_window(void **state)
{
        uint64_t places[64], address, size;
        uint32_t n = 0, other;

        set_size(640, 360);
        assert_int_equal(request(V4L2_MEMORY_MMAP, 16), 0);
        while (n < 16 && world_mmap(&world, session, query(n).m.offset, 0, &places[n], &size) == 0)
                n++;
        assert_int_equal(n, WORLD_WINDOW_SIZE / 348160);
        assert_int_equal(world_status(&world), ENOMEM);
        /* The first gap is used again. */
        assert_int_equal(world_munmap(&world, places[3]), 0);
        assert_int_equal(world_mmap(&world, session, query(15).m.offset, 0, &address, &size), 0);
        assert_int_equal(address, places[3]);
        /* Offsets of others, unaligned offsets, and unknown flags. */
        assert_int_equal(world_mmap(&world, session, query(15).m.offset + 8, 0, &address, &size), EINVAL);
        assert_int_equal(world_mmap(&world, session, query(15).m.offset + 4096, 0, &address, &size), EINVAL);
        assert_int_equal(world_mmap(&world, session, 0xfffff000, 0, &address, &size), EINVAL);
        assert_int_equal(world_mmap(&world, session, 0, 2, &address, &size), EINVAL);
        assert_int_equal(world_mmap(&world, 999, 0, 0, &address, &size), EINVAL);
        /* If the front-end refuses a map, nothing is mapped; if it refuses an unmap, the place stays taken. */
        assert_int_equal(world_munmap(&world, places[0]), 0);
        world.map_error = -EREMOTEIO;
        assert_int_equal(world_open_session(&world, &other), 0);
        assert_int_equal(world_mmap(&world, session, query(0).m.offset, 1, &address, &size), EREMOTEIO);
        world.map_error = 0;
        world.unmap_error = -EREMOTEIO;
        assert_int_equal(world_munmap(&world, places[1]), EIO);
        assert_int_equal(world_mmap(&world, session, query(0).m.offset, 1, &address, &size), 0);
        assert_int_equal(address, places[0]);
        world.unmap_error = 0;
}

/* ---- buffers ---- */

static void test_states(void **state)
{
        struct v4l2_buffer buffer;

        set_size(160, 120);
        assert_int_equal(stream(VIDIOC_STREAMON), EINVAL);
        assert_int_equal(request(V4L2_MEMORY_OVERLAY, 2), EINVAL);
        assert_int_equal(request(V4L2_MEMORY_MMAP, 2), 0);
        assert_int_equal(queue(2), EINVAL);
        buffer = named(0);
        assert_int_equal(ioctl(VIDIOC_PREPARE_BUF, &buffer), 0);
        assert_true(buffer.flags & V4L2_BUF_FLAG_PREPARED);
        assert_int_equal(ioctl(VIDIOC_PREPARE_BUF, &buffer), EINVAL);
        assert_int_equal(queue(0), 0);
        assert_int_equal(queue(0), EINVAL);
        buffer = named(1);
        buffer.memory = V4L2_MEMORY_USERPTR;
        assert_int_equal(ioctl(VIDIOC_QBUF, &buffer), EINVAL);
        buffer = named(1);
        buffer.type = V4L2_BUF_TYPE_VIDEO_OUTPUT;
        assert_int_equal(ioctl(VIDIOC_QBUF, &buffer), EINVAL);
        assert_true(query(0).flags & V4L2_BUF_FLAG_QUEUED);
        assert_int_equal(stream(VIDIOC_STREAMOFF), 0);
        assert_false(query(0).flags & V4L2_BUF_FLAG_QUEUED);
        assert_int_equal(stream(VIDIOC_STREAMON), 0);
        assert_int_equal(stream(VIDIOC_STREAMON), 0);
        assert_int_equal(request(V4L2_MEMORY_MMAP, 2), EBUSY);
        assert_int_equal(stream(VIDIOC_STREAMOFF), 0);
        assert_int_equal(request(V4L2_MEMORY_MMAP, 0), 0);
}

static void test_owner(void **state)
{
        struct v4l2_create_buffers create = {.count = 1, .memory = V4L2_MEMORY_MMAP};
        struct v4l2_buffer buffer = named(0);
        struct v4l2_format format = {.type = V4L2_BUF_TYPE_VIDEO_CAPTURE};
        uint32_t other;

        set_size(160, 120);
        assert_int_equal(world_open_session(&world, &other), 0);
        assert_int_equal(request(V4L2_MEMORY_MMAP, 1), 0);
        assert_int_equal(request_as(other, V4L2_MEMORY_MMAP, 1), EBUSY);
        assert_int_equal(world_ioctl(&world, other, VIDIOC_QBUF, &buffer, NULL, 0), EBUSY);
        assert_int_equal(ioctl(VIDIOC_S_FMT, &format), EBUSY);
        create.format.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
        create.format.fmt.pix.sizeimage = 160 * 120 * 3 / 2 - 1;
        assert_int_equal(ioctl(VIDIOC_CREATE_BUFS, &create), EINVAL);
        create.format.fmt.pix.sizeimage = 16 << 20;
        assert_int_equal(ioctl(VIDIOC_CREATE_BUFS, &create), EINVAL);
        create.format.fmt.pix.sizeimage = 160 * 120 * 3 / 2;
        create.count = 1000;
        assert_int_equal(ioctl(VIDIOC_CREATE_BUFS, &create), 0);
        assert_int_equal(create.index, 1);
        assert_int_equal(create.count, VIDEO_MAX_FRAME - 1);
        assert_int_equal(ioctl(VIDIOC_CREATE_BUFS, &create), ENOBUFS);
        world_close_session(&world, session);
        assert_int_equal(request_as(other, V4L2_MEMORY_MMAP, 1), 0);
        session = other;
}

/* ---- events ---- */

static void test_frames(void **state)
{
        world_give_room(&world, 8);
        set_size(160, 120);
        assert_int_equal(request(V4L2_MEMORY_MMAP, 2), 0);
        assert_int_equal(queue(0) + queue(1) + stream(VIDIOC_STREAMON), 0);
        world_await_events(&world, 2);
        for (uint32_t i = 0; i < 2; i++) {
                const struct media_event_dqbuf *event = &world.events[i].dqbuf;

                assert_int_equal(event->header.event, MEDIA_EVENT_DQBUF);
                assert_int_equal(event->header.session, session);
                assert_int_equal(event->buffer.index, i);
                assert_int_equal(event->buffer.bytesused, 160 * 120 * 3 / 2);
                assert_true(event->buffer.timestamp.tv_sec > 0);
                assert_false(event->buffer.flags & (V4L2_BUF_FLAG_QUEUED | V4L2_BUF_FLAG_ERROR));
        }
        assert_true(world.events[1].dqbuf.buffer.sequence > world.events[0].dqbuf.buffer.sequence);
        assert_int_equal(queue(0), 0);
        world_await_events(&world, 3);
        assert_int_equal(stream(VIDIOC_STREAMOFF), 0);
}

/* Without buffers of the driver's no event is lost, and none is repeated. */
static void test_events_wait(void **state)
{
        struct v4l2_event_subscription wanted = {.type = V4L2_EVENT_CTRL, .id = V4L2_CID_HUE};
        struct v4l2_control control = {V4L2_CID_HUE, 1};

        wanted.flags = V4L2_EVENT_SUB_FL_ALLOW_FEEDBACK | V4L2_EVENT_SUB_FL_SEND_INITIAL;
        set_size(160, 120);
        assert_int_equal(request(V4L2_MEMORY_MMAP, 2), 0);
        assert_int_equal(queue(0) + queue(1) + stream(VIDIOC_STREAMON), 0);
        while (!(query(1).flags & V4L2_BUF_FLAG_DONE))
                usleep(1000);
        assert_int_equal(queue(1), EINVAL);
        assert_int_equal(ioctl(VIDIOC_SUBSCRIBE_EVENT, &wanted), 0);
        for (int i = 0; i < 1000; i++) {
                control.value = i % 100;
                assert_int_equal(ioctl(VIDIOC_S_CTRL, &control), 0);
        }
        world_give_room(&world, 1);
        assert_int_equal(world.n_events, 1);
        assert_int_equal(queue(0), 0);
        world_give_room(&world, 5);
        world_await_events(&world, 4);
        assert_int_equal(world.events[0].dqbuf.buffer.index, 0);
        assert_int_equal(world.events[1].dqbuf.buffer.index, 1);
        assert_int_equal(world.events[2].header.event, MEDIA_EVENT_EVENT);
        assert_int_equal(world.events[2].event.event.u.ctrl.value, 99);
        assert_int_equal(world.events[2].event.event.u.ctrl.changes,
                         V4L2_EVENT_CTRL_CH_VALUE | V4L2_EVENT_CTRL_CH_FLAGS);
        assert_int_equal(world.events[3].dqbuf.buffer.index, 0);
}

/* Events of buffers and sessions that have ended are not sent any more. */
static void test_events_end(void **state)
{
        struct v4l2_event_subscription wanted = {.type = V4L2_EVENT_CTRL, .id = V4L2_CID_HUE};
        uint32_t other;

        wanted.flags = V4L2_EVENT_SUB_FL_SEND_INITIAL;
        set_size(160, 120);
        assert_int_equal(request(V4L2_MEMORY_MMAP, 1), 0);
        assert_int_equal(queue(0) + stream(VIDIOC_STREAMON), 0);
        while (!(query(0).flags & V4L2_BUF_FLAG_DONE))
                usleep(1000);
        assert_int_equal(world_open_session(&world, &other), 0);
        assert_int_equal(world_ioctl(&world, other, VIDIOC_SUBSCRIBE_EVENT, &wanted, NULL, 0), 0);
        assert_int_equal(stream(VIDIOC_STREAMOFF), 0);
        assert_int_equal(ioctl(VIDIOC_SUBSCRIBE_EVENT, &wanted), 0);
        world_close_session(&world, other);
        world_give_room(&world, 9);
        assert_int_equal(world.n_events, 1);
        assert_int_equal(world.events[0].header.session, session);
        wanted.id = V4L2_CID_GAMMA;
        assert_int_equal(ioctl(VIDIOC_SUBSCRIBE_EVENT, &wanted), EINVAL);
        wanted.type = V4L2_EVENT_ALL;
        assert_int_equal(ioctl(VIDIOC_UNSUBSCRIBE_EVENT, &wanted), 0);
}

static void test_failed_session(void **state)
{
        uint64_t address, size;
        uint32_t input, other;

        world_give_room(&world, 9);
        pthread_mutex_lock(&world.media->lock);
        media_session_fail(TAILQ_FIRST(&world.media->sessions), -ENODEV);
        media_session_fail(TAILQ_FIRST(&world.media->sessions), -ENODEV);
        pthread_mutex_unlock(&world.media->lock);
        assert_int_equal(world.n_events, 1);
        assert_int_equal(world.events[0].error.error, ENODEV);
        assert_int_equal(ioctl(VIDIOC_G_INPUT, &input), EIO);
        assert_int_equal(world_mmap(&world, session, 0, 0, &address, &size), EIO);
        assert_int_equal(world_open_session(&world, &other), 0);
        assert_int_not_equal(other, session);
        world_close_session(&world, session);
        assert_int_equal(world_ioctl(&world, other, VIDIOC_G_INPUT, &input, NULL, 0), 0);
}

/* ---- guest memory ---- */

static int queue_userptr(struct media_piece *pieces, unsigned n, uint32_t length)
{
        struct v4l2_buffer buffer = named(0);

        buffer.memory = V4L2_MEMORY_USERPTR;
        buffer.length = length;
        buffer.m.userptr = 0x1234;
        return world_ioctl(&world, session, VIDIOC_QBUF, &buffer, pieces, n * sizeof(*pieces));
}

static void test_guest_memory(void **state)
{
        const uint32_t size = 160 * 120 * 3 / 2, half = 14000;
        struct media_piece good[] = {{WORLD_GUEST + 0x8000, half, 0}, {WORLD_GUEST, size - half + 100, 0}};
        struct media_piece outside[] = {{WORLD_GUEST + WORLD_GUEST_SIZE - half, half + 1, 0}, {WORLD_GUEST, size, 0}};
        struct media_piece wraps[] = {{UINT64_MAX - 10, size, 0}};
        struct media_piece empty[] = {{WORLD_GUEST, 0, 0}, {WORLD_GUEST, size, 0}};

        world_give_room(&world, 4);
        set_size(160, 120);
        assert_int_equal(request(V4L2_MEMORY_USERPTR, 1), 0);
        assert_int_equal(queue_userptr(outside, 2, size), EFAULT);
        assert_int_equal(queue_userptr(wraps, 1, size), EFAULT);
        assert_int_equal(queue_userptr(empty, 2, size), EINVAL);
        assert_int_equal(queue_userptr(good, 1, size), EINVAL);
        assert_int_equal(queue_userptr(good, 2, size - 1), EINVAL);
        assert_int_equal(queue_userptr(NULL, 0, 0), EINVAL);
        assert_int_equal(queue_userptr(good, 0, UINT32_MAX), EINVAL);
        assert_int_equal(queue_userptr(good, 2, size), 0);
        assert_int_equal(stream(VIDIOC_STREAMON), 0);
        world_await_events(&world, 1);
        assert_int_equal(world.events[0].dqbuf.buffer.m.userptr, 0x1234);
        assert_int_equal(world.events[0].dqbuf.buffer.length, size);
        assert_int_equal(world.dirty, 2);
        /* The first bar is grey, and so is its chroma; behind the end nothing was written. */
        assert_int_equal(world.guest[0x8000], 180);
        assert_int_equal(world.guest[size - half - 1], 128);
        assert_int_equal(world.guest[size - half], 0);
}

/* ---- what is set ---- */

static void test_controls(void **state)
{
        struct v4l2_ext_control items[2] = {{.id = V4L2_CID_BRIGHTNESS, .value = 7}, {.id = V4L2_CID_GAMMA}};
        struct v4l2_ext_controls list = {.count = 2};
        struct v4l2_control control = {V4L2_CID_HUE, -1000};
        struct v4l2_queryctrl query = {.id = V4L2_CTRL_FLAG_NEXT_CTRL};
        unsigned n = 0;

        assert_int_equal(world_ioctl(&world, session, VIDIOC_S_EXT_CTRLS, &list, items, sizeof(items)), EINVAL);
        assert_int_equal(list.error_idx, 2);
        assert_int_equal(world_ioctl(&world, session, VIDIOC_TRY_EXT_CTRLS, &list, items, sizeof(items)), EINVAL);
        assert_int_equal(list.error_idx, 1);
        control.id = V4L2_CID_BRIGHTNESS;
        assert_int_equal(ioctl(VIDIOC_G_CTRL, &control), 0);
        assert_int_equal(control.value, 128);
        control = (struct v4l2_control){V4L2_CID_HUE, INT32_MIN};
        assert_int_equal(ioctl(VIDIOC_S_CTRL, &control), 0);
        assert_int_equal(control.value, -180);
        control.value = INT32_MAX;
        assert_int_equal(ioctl(VIDIOC_S_CTRL, &control), 0);
        assert_int_equal(control.value, 180);
        while (ioctl(VIDIOC_QUERYCTRL, &query) == 0) {
                n++;
                query.id |= V4L2_CTRL_FLAG_NEXT_CTRL;
        }
        assert_int_equal(n, 5);
}

static void test_priorities(void **state)
{
        uint32_t record = V4L2_PRIORITY_RECORD, seen = 0, wrong = 7, other;
        struct v4l2_control control = {V4L2_CID_HUE, 5};

        assert_int_equal(world_open_session(&world, &other), 0);
        assert_int_equal(ioctl(VIDIOC_S_PRIORITY, &wrong), EINVAL);
        assert_int_equal(ioctl(VIDIOC_S_PRIORITY, &record), 0);
        assert_int_equal(world_ioctl(&world, other, VIDIOC_G_PRIORITY, &seen, NULL, 0), 0);
        assert_int_equal(seen, V4L2_PRIORITY_RECORD);
        assert_int_equal(world_ioctl(&world, other, VIDIOC_S_CTRL, &control, NULL, 0), EBUSY);
        assert_int_equal(world_ioctl(&world, other, VIDIOC_G_CTRL, &control, NULL, 0), 0);
        world_close_session(&world, session);
        session = other;
        assert_int_equal(ioctl(VIDIOC_S_CTRL, &control), 0);
}

int main(void)
{
#define world_test(function) cmocka_unit_test_setup_teardown(function, open_world, close_world)
        const struct CMUnitTest tests[] = {
                counted_test(test_table),        counted_test(test_payloads),   world_test(test_lengths),
                world_test(test_ioctl_lengths),  world_test(test_sessions),     world_test(test_mappings),
                world_test(test_window),         world_test(test_states),       world_test(test_owner),
                world_test(test_frames),         world_test(test_events_wait),  world_test(test_events_end),
                world_test(test_failed_session), world_test(test_guest_memory), world_test(test_controls),
                world_test(test_priorities),
        };

        return run_counted("media", tests);
}
