/* SPDX-License-Identifier: BSD-2-Clause */

/* A camera that is streamed by MMAP: each picture is read in the window, whole. The host's source has pictures whose
 * bytes all are the picture's number, modulo "loop". Where the guest is too slow for one, its sequence number is left
 * out, and it comes the next time. With "any" it is somebody else's camera, whose pictures are not all the same. */

#include "media/wire.h"
#include "tests.h"
#include "virtio.h"

#include <linux/errno.h>
#include <linux/virtio_config.h>

enum { BUFFERS = 4, EVENTS = 8, TYPE = V4L2_BUF_TYPE_VIDEO_CAPTURE };

struct camera {
        struct virtio device;
        uint32_t session;
        uint64_t places[BUFFERS]; /* in the window */
        uint32_t size;            /* of a picture */
        union media_event events[EVENTS];
};

/* The device's answer, positive errno or 0, to @command, which is followed by @answer. */
static int ask(struct camera *camera, const void *command, uint32_t command_size, void *answer, uint32_t answer_size)
{
        const struct buffer buffers[] = {{(uint64_t)command, command_size, false},
                                         {(uint64_t)answer, answer_size, true}};
        struct virtqueue *queue = &camera->device.queues[MEDIA_COMMAND_QUEUE];
        const uint64_t deadline = deadline_in(LAST_RESORT_MS);

        if (!queue_add(queue, buffers, 2, camera))
                return ENOSPC;
        queue_kick(queue);
        while (!queue_take(queue, NULL))
                if (deadline_past(deadline))
                        return ETIMEDOUT;
        return (int)((struct media_answer_header *)answer)->status;
}

/* @payload is what the driver writes, and what the device makes of it; so is @object, unless NULL, behind it. */
static int do_object_ioctl(struct camera *camera, unsigned long code, void *payload, struct media_object *object)
{
        static struct {
                struct media_ioctl_command command;
                uint8_t payload[256];
        } in;
        static struct {
                struct media_answer_header header;
                uint8_t payload[256];
        } out;
        const uint32_t size = _IOC_SIZE(code), behind = object ? sizeof(*object) : 0,
                       in_size = (_IOC_DIR(code) & _IOC_WRITE ? size : 0) + behind,
                       out_size = (_IOC_DIR(code) & _IOC_READ ? size : 0) + behind;

        in.command = (struct media_ioctl_command){{MEDIA_IOCTL, 0}, camera->session, _IOC_NR(code)};
        memcpy(in.payload, payload, size);
        if (object)
                memcpy(in.payload + size, object, sizeof(*object));

        int r = ask(camera, &in, (uint32_t)sizeof(in.command) + in_size, &out, (uint32_t)sizeof(out.header) + out_size);

        if (r == 0 && out_size > 0)
                memcpy(payload, out.payload, size);
        if (r == 0 && object)
                memcpy(object, out.payload + size, sizeof(*object));
        return r;
}

static int do_ioctl(struct camera *camera, unsigned long code, void *payload)
{
        return do_object_ioctl(camera, code, payload, NULL);
}

static void give_event(struct camera *camera, union media_event *event)
{
        const struct buffer buffer = {(uint64_t)event, sizeof(*event), true};

        queue_add(&camera->device.queues[MEDIA_EVENT_QUEUE], &buffer, 1, event);
        queue_kick(&camera->device.queues[MEDIA_EVENT_QUEUE]);
}

static void open_camera(struct camera *camera, unsigned nth)
{
        const struct media_command_header command = {MEDIA_OPEN, 0};
        struct media_open_answer answer;

        need(virtio_find(&camera->device, VIRTIO_ID_MEDIA, nth), "there is a virtio-media device");
        need(camera->device.n_regions == 1, "it has one region");
        need(virtio_start(&camera->device, UINT64_C(1) << VIRTIO_F_VERSION_1), "it can be started");
        for (unsigned i = 0; i < EVENTS; i++)
                give_event(camera, &camera->events[i]);
        need(ask(camera, &command, sizeof(command), &answer, sizeof(answer)) == 0, "it can be opened");
        camera->session = answer.session;
}

static void map_buffers(struct camera *camera)
{
        struct v4l2_requestbuffers request = {.count = BUFFERS, .type = TYPE, .memory = V4L2_MEMORY_MMAP};

        need(do_ioctl(camera, VIDIOC_REQBUFS, &request) == 0 && request.count == BUFFERS, "REQBUFS: %u", request.count);
        for (uint32_t i = 0; i < BUFFERS; i++) {
                struct v4l2_buffer buffer = {.index = i, .type = TYPE, .memory = V4L2_MEMORY_MMAP};
                struct media_mmap_answer answer;
                int r = do_ioctl(camera, VIDIOC_QUERYBUF, &buffer);
                const struct media_mmap map = {{MEDIA_MMAP, 0}, camera->session, 0, buffer.m.offset};

                need(r == 0 && ask(camera, &map, sizeof(map), &answer, sizeof(answer)) == 0 &&
                             answer.address % 4096 == 0 && answer.size == buffer.length,
                     "buffer %u is mapped", i);
                camera->places[i] = camera->device.regions[0].area.address + answer.address;
                need(do_ioctl(camera, VIDIOC_QBUF, &buffer) == 0, "and queued");
        }
}

static bool is_all(uint64_t address, uint32_t size, uint8_t value)
{
        for (uint32_t i = 0; i < size; i++)
                if (read8(address + i) != value)
                        return false;
        return true;
}

static union media_event *next_event(struct camera *camera)
{
        const uint64_t deadline = deadline_in(LAST_RESORT_MS);
        union media_event *event;

        while (!(event = queue_take(&camera->device.queues[MEDIA_EVENT_QUEUE], NULL)))
                if (deadline_past(deadline))
                        return NULL;
        return event;
}

/* Of all words of a picture, so that all of it is read. */
static uint64_t sum_of(const struct camera *camera, uint32_t index)
{
        uint64_t sum = 0;

        for (uint32_t at = 0; at + 8 <= camera->size; at += 8)
                sum = sum * 31 + read64(camera->places[index] + at);
        return sum;
}

static void stream(struct camera *camera, unsigned n, unsigned loop)
{
        const bool any = cmdline_value("any");
        unsigned good = 0, wrong = 0, others = 0;
        uint64_t sum = 0;
        int type = TYPE;

        need(do_ioctl(camera, VIDIOC_STREAMON, &type) == 0, "STREAMON");
        for (unsigned i = 0; i < n; i++) {
                union media_event *event = next_event(camera);

                need(event != NULL, "picture %u comes", i);

                struct v4l2_buffer buffer = event->dqbuf.buffer;
                const uint8_t number = (uint8_t)(i % loop);
                bool right = event->header.event == MEDIA_EVENT_DQBUF && buffer.index < BUFFERS &&
                             buffer.bytesused == camera->size && buffer.sequence >= i &&
                             (any || is_all(camera->places[buffer.index % BUFFERS], camera->size, number));
                const uint64_t now = right && any ? sum_of(camera, buffer.index) : i;

                others += i > 0 && now != sum;
                sum = now;

                good += right;
                wrong += !right;
                give_event(camera, event);
                need(do_ioctl(camera, VIDIOC_QBUF, &buffer) == 0, "picture %u goes back", i);
        }
        check(good == n && wrong == 0, "%u pictures, of %u, are as they should be", good, n);
        check(others > 0, "%u of them are another than the one before", others);
        check(do_ioctl(camera, VIDIOC_STREAMOFF, &type) == 0, "STREAMOFF");
}

/* A mapping keeps its content, whatever becomes of its buffer and its session. */
static void test_mappings(struct camera *camera)
{
        struct v4l2_requestbuffers none = {.type = TYPE, .memory = V4L2_MEMORY_MMAP};
        const struct media_close close = {{MEDIA_CLOSE, 0}, camera->session, 0};
        const struct buffer command = {(uint64_t)&close, sizeof(close), false};
        struct virtqueue *queue = &camera->device.queues[MEDIA_COMMAND_QUEUE];
        struct media_answer_header answer;
        const uint64_t before = sum_of(camera, 0);

        check(do_ioctl(camera, VIDIOC_REQBUFS, &none) == 0, "buffers go while they are mapped");
        queue_add(queue, &command, 1, camera);
        queue_kick(queue);
        while (!queue_take(queue, NULL))
                ;
        check(sum_of(camera, 0) == before, "and are seen, after the session's end too");
        for (unsigned i = 0; i < BUFFERS; i++) {
                const struct media_munmap unmap = {{MEDIA_MUNMAP, 0},
                                                   camera->places[i] - camera->device.regions[0].area.address};

                check(ask(camera, &unmap, sizeof(unmap), &answer, sizeof(answer)) == 0, "buffer %u is unmapped", i);
        }
        check(is_all(camera->places[0], camera->size, 0), "and nothing is there");
}

void test_media(void)
{
        static struct camera camera;
        struct v4l2_format format = {.type = TYPE};

        open_camera(&camera, 0);
        need(do_ioctl(&camera, VIDIOC_G_FMT, &format) == 0, "G_FMT");
        camera.size = format.fmt.pix.sizeimage;
        map_buffers(&camera);
        if (!cmdline_value("any"))
                sync_host("streaming");
        stream(&camera, (unsigned)cmdline_number("n", 20), (unsigned)cmdline_number("loop", 1));
        test_mappings(&camera);
        check(virtio_reset(&camera.device), "the device can be reset");
}

/* A buffer of the first camera's, seen in its window, is where the second one's pictures come. */
static void test_shared(struct camera *one, struct camera *other, unsigned n)
{
        struct v4l2_requestbuffers mapped = {.count = 1, .type = TYPE, .memory = V4L2_MEMORY_MMAP};
        struct v4l2_requestbuffers shared = {.count = 1, .type = TYPE, .memory = V4L2_MEMORY_DMABUF};
        struct v4l2_exportbuffer export = {.type = TYPE};
        struct media_object object, again, unknown = {{1}};
        unsigned good = 0, refused = 0;
        int type = TYPE;

        map_buffers(one);
        need(do_object_ioctl(one, VIDIOC_EXPBUF, &export, &object) == 0, "EXPBUF");
        need(do_object_ioctl(one, VIDIOC_EXPBUF, &export, &again) == 0 && memcmp(&object, &again, 16) == 0, "the same");
        need(do_ioctl(other, VIDIOC_REQBUFS, &shared) == 0 && do_ioctl(other, VIDIOC_STREAMON, &type) == 0, "STREAMON");
        for (unsigned i = 0; i < n; i++) {
                struct v4l2_buffer buffer = {.type = TYPE, .memory = V4L2_MEMORY_DMABUF, .m.fd = 7};
                union media_event *event;

                refused += do_object_ioctl(other, VIDIOC_QBUF, &buffer, &unknown) == EINVAL;
                need(do_object_ioctl(other, VIDIOC_QBUF, &buffer, &object) == 0 && buffer.m.fd == 7, "picture %u", i);
                event = next_event(other);
                need(event != NULL && event->header.event == MEDIA_EVENT_DQBUF, "picture %u comes", i);
                good += is_all(one->places[0], other->size, (uint8_t)i);
                give_event(other, event);
        }
        check(good == n && refused == n, "%u pictures, of %u, are where they should be, and %u wrong names refused",
              good, n, refused);
        check(do_ioctl(one, VIDIOC_REQBUFS, &mapped) == 0, "buffers are made anew");

        struct v4l2_buffer buffer = {.type = TYPE, .memory = V4L2_MEMORY_DMABUF};

        check(do_object_ioctl(other, VIDIOC_QBUF, &buffer, &object) == EINVAL, "and the name is no one's");
}

void test_objects(void)
{
        static struct camera one, other;
        struct v4l2_format format = {.type = TYPE};

        open_camera(&one, 0);
        open_camera(&other, 1);
        need(do_ioctl(&other, VIDIOC_G_FMT, &format) == 0, "G_FMT");
        other.size = format.fmt.pix.sizeimage;
        test_shared(&one, &other, (unsigned)cmdline_number("n", 20));
        check(virtio_reset(&one.device) && virtio_reset(&other.device), "both can be reset");
}
