/* SPDX-License-Identifier: BSD-2-Clause */

/* A driver of virtio-media in user space, on the ring itself: media-driver SOCKET WHAT [NUMBER].
 *
 *  frames N    streams N pictures of 640x480 through the window, and looks at each
 *  order       whether an event is there before the answer of the command that brought it about
 *  starve      whether events wait for buffers, and in which order they come then
 *  hostile N   N commands that lie about lengths, sessions, offsets, counts and addresses; then streams */

#include "media/ioctls.h"
#include "program/report.h"

#include <errno.h>
#include <linux/virtio_ring.h>
#include <oriel/driver.h>
#include <oriel/socket.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

enum { WAIT_MS = 20000, BUFFERS = 4, EVENTS = 8, PART = 64 << 10 };

struct guest {
        struct oriel_driver *driver;
        uint8_t *command, *answer, *picture; /* PART bytes each */
        union media_event *events;           /* EVENTS of them */
        uint8_t *window;
        uint64_t window_size;
        uint32_t session, written;
        uint64_t random;
};

/* ---- commands ---- */

static int send(struct guest *guest, size_t size, size_t room)
{
        const struct iovec in = {guest->command, size}, out = {guest->answer, room};
        void *token;
        int r = oriel_driver_submit(guest->driver, MEDIA_COMMAND_QUEUE, &in, size > 0, &out, room > 0, guest);

        if (r == 0)
                r = oriel_driver_kick(guest->driver, MEDIA_COMMAND_QUEUE);
        if (r == 0)
                r = oriel_driver_wait(guest->driver, MEDIA_COMMAND_QUEUE, WAIT_MS);
        if (r == 0)
                r = oriel_driver_collect(guest->driver, MEDIA_COMMAND_QUEUE, &token, &guest->written) == 1 ? 0
                                                                                                           : -EPROTO;
        return r;
}

/* 0, or the device's error, negative. */
static int call(struct guest *guest, const void *command, size_t size, void *answer, size_t room)
{
        struct media_answer_header header;

        memcpy(guest->command, command, size);
        memset(guest->answer, 0xee, room);

        int r = send(guest, size, room);

        memcpy(&header, guest->answer, sizeof(header));
        if (r == 0 && guest->written < sizeof(header))
                return -EPROTO;
        if (r == 0 && header.status == 0)
                memcpy(answer, guest->answer, room);
        return r < 0 ? r : -(int)header.status;
}

static int ioctl(struct guest *guest, uint32_t code, void *payload)
{
        const size_t size = _IOC_SIZE(code), in = _IOC_DIR(code) & _IOC_WRITE ? size : 0;
        const size_t out = _IOC_DIR(code) & _IOC_READ ? size : 0;
        struct {
                struct media_ioctl_command fixed;
                uint8_t payload[512];
        } command = {{{MEDIA_IOCTL, 0}, guest->session, _IOC_NR(code)}, {0}};
        uint8_t answer[8 + 512];

        memcpy(command.payload, payload, in);

        int r = call(guest, &command, sizeof(command.fixed) + in, answer, 8 + out);

        if (r == 0)
                memcpy(payload, answer + 8, out);
        return r;
}

static int open_session(struct guest *guest)
{
        const struct media_command_header command = {MEDIA_OPEN, 0};
        struct media_open_answer answer = {.session = 0};
        int r = call(guest, &command, sizeof(command), &answer, sizeof(answer));

        guest->session = answer.session;
        return r;
}

static int close_session(struct guest *guest)
{
        const struct media_close command = {{MEDIA_CLOSE, 0}, guest->session, 0};

        memcpy(guest->command, &command, sizeof(command));
        return send(guest, sizeof(command), 0);
}

/* ---- events ---- */

static int give_event_buffer(struct guest *guest, union media_event *event)
{
        const struct iovec out = {event, sizeof(*event)};
        int r = oriel_driver_submit(guest->driver, MEDIA_EVENT_QUEUE, NULL, 0, &out, 1, event);

        return r < 0 ? r : oriel_driver_kick(guest->driver, MEDIA_EVENT_QUEUE);
}

static int give_event_buffers(struct guest *guest)
{
        int r = 0;

        for (unsigned i = 0; r == 0 && i < EVENTS; i++)
                r = give_event_buffer(guest, &guest->events[i]);
        return r;
}

/* One that is there now; -EAGAIN: there is none. */
static int take_event(struct guest *guest, union media_event *out)
{
        uint32_t written;
        void *token;
        int r = oriel_driver_collect(guest->driver, MEDIA_EVENT_QUEUE, &token, &written);

        if (r <= 0)
                return r < 0 ? r : -EAGAIN;
        memcpy(out, token, sizeof(*out));
        return give_event_buffer(guest, token);
}

static int await_event(struct guest *guest, union media_event *out)
{
        int r = oriel_driver_wait(guest->driver, MEDIA_EVENT_QUEUE, WAIT_MS);

        return r < 0 ? r : take_event(guest, out);
}

/* ---- streaming ---- */

static struct v4l2_buffer named(uint32_t index)
{
        return (struct v4l2_buffer){.index = index, .type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_MMAP};
}

static int set_up(struct guest *guest, uint64_t addresses[BUFFERS])
{
        struct v4l2_format format = {.type = V4L2_BUF_TYPE_VIDEO_CAPTURE};
        struct v4l2_requestbuffers request = {BUFFERS, V4L2_BUF_TYPE_VIDEO_CAPTURE, V4L2_MEMORY_MMAP, 0, 0, {0}};
        uint32_t type = V4L2_BUF_TYPE_VIDEO_CAPTURE;

        format.fmt.pix.width = 640;
        format.fmt.pix.height = 480;
        format.fmt.pix.pixelformat = V4L2_PIX_FMT_YUV420;

        int r = open_session(guest);

        if (r == 0)
                r = ioctl(guest, VIDIOC_S_FMT, &format);
        if (r == 0)
                r = ioctl(guest, VIDIOC_REQBUFS, &request);
        for (uint32_t i = 0; r == 0 && i < BUFFERS; i++) {
                struct v4l2_buffer buffer = named(i);
                struct media_mmap_answer mapped = {.address = 0};

                r = ioctl(guest, VIDIOC_QUERYBUF, &buffer);
                if (r < 0)
                        break;

                const struct media_mmap command = {
                        {MEDIA_MMAP, 0}, guest->session, MEDIA_MMAP_READ_WRITE, buffer.m.offset};

                r = call(guest, &command, sizeof(command), &mapped, sizeof(mapped));
                addresses[i] = mapped.address;
                if (r == 0 && mapped.size != 640 * 480 * 3 / 2)
                        r = -ERANGE;
                if (r == 0)
                        r = ioctl(guest, VIDIOC_QBUF, &buffer);
        }
        return r < 0 ? r : ioctl(guest, VIDIOC_STREAMON, &type);
}

static int tear_down(struct guest *guest, const uint64_t addresses[BUFFERS])
{
        int r = close_session(guest);

        for (uint32_t i = 0; r == 0 && i < BUFFERS; i++) {
                const struct media_munmap command = {{MEDIA_MUNMAP, 0}, addresses[i]};
                struct media_answer_header answer;

                /* It is there yet. */
                if (guest->window[addresses[i]] != 180)
                        return -EILSEQ;
                r = call(guest, &command, sizeof(command), &answer, sizeof(answer));
        }
        return r;
}

static int frames(struct guest *guest, uint64_t n)
{
        uint64_t addresses[BUFFERS] = {0}, missed = 0;
        uint32_t next = 0;
        int r = set_up(guest, addresses);

        for (uint64_t i = 0; r == 0 && i < n; i++) {
                union media_event event;

                r = await_event(guest, &event);
                if (r < 0)
                        break;

                struct v4l2_buffer *buffer = &event.dqbuf.buffer;
                const uint8_t *picture = guest->window + addresses[buffer->index % BUFFERS];

                if (event.header.event != MEDIA_EVENT_DQBUF || event.header.session != guest->session ||
                    buffer->index >= BUFFERS || buffer->sequence < next)
                        return -EPROTO;
                /* The bars: grey and blue. */
                if (picture[0] != 180 || picture[639] != 35)
                        return -EILSEQ;
                missed += buffer->sequence - next;
                next = buffer->sequence + 1;
                *buffer = named(buffer->index);
                r = ioctl(guest, VIDIOC_QBUF, buffer);
        }
        if (r == 0)
                r = tear_down(guest, addresses);
        if (r == 0)
                printf("%lu frames, %lu missed\n", (unsigned long)n, (unsigned long)missed);
        return r;
}

static int order(struct guest *guest, uint64_t n)
{
        struct v4l2_event_subscription wanted = {
                .type = V4L2_EVENT_CTRL, .id = V4L2_CID_HUE, .flags = V4L2_EVENT_SUB_FL_SEND_INITIAL};
        int r = open_session(guest);

        for (uint64_t i = 0; r == 0 && i < n; i++) {
                union media_event event;

                r = ioctl(guest, VIDIOC_SUBSCRIBE_EVENT, &wanted);
                if (r == 0)
                        r = take_event(guest, &event);
                if (r == 0 && event.event.event.sequence != i)
                        r = -EPROTO;
                if (r == 0)
                        r = ioctl(guest, VIDIOC_UNSUBSCRIBE_EVENT, &wanted);
        }
        if (r == 0)
                printf("%lu events before their answers\n", (unsigned long)n);
        return r;
}

static int starve(struct guest *guest, uint64_t n)
{
        uint64_t addresses[BUFFERS];
        union media_event event;
        struct v4l2_buffer buffer = {.flags = V4L2_BUF_FLAG_QUEUED};
        int r = set_up(guest, addresses);

        while (r == 0 && buffer.flags & V4L2_BUF_FLAG_QUEUED) {
                buffer = named(BUFFERS - 1);
                r = ioctl(guest, VIDIOC_QUERYBUF, &buffer);
        }
        if (r == 0)
                r = give_event_buffers(guest);
        for (uint32_t i = 0; r == 0 && i < BUFFERS; i++) {
                r = await_event(guest, &event);
                if (r == 0 && (event.dqbuf.buffer.index != i || event.header.event != MEDIA_EVENT_DQBUF))
                        r = -EPROTO;
        }
        if (r == 0)
                r = tear_down(guest, addresses);
        if (r == 0)
                printf("%d events came late, in order\n", BUFFERS);
        return r;
}

/* ---- lies ---- */

static uint32_t any(struct guest *guest, uint32_t below)
{
        guest->random = guest->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        return (uint32_t)(guest->random >> 33) % below;
}

/* A command that is mostly right: where it is not, the device has to notice. */
static size_t lie(struct guest *guest)
{
        const int nr = media_ioctl_next(any(guest, 104));
        const struct media_ioctl *row = media_ioctl_find((uint32_t)MAX(nr, 2));
        static const uint32_t values[] = {0, 1, 2, 4, 5, 8, 9, 32, 0x980900, 0x80000000, UINT32_MAX, 4096, 0x10000};
        const struct media_ioctl_command fixed = {{any(guest, 20) ? MEDIA_IOCTL : any(guest, 7), 0},
                                                  any(guest, 20) ? guest->session : any(guest, 9),
                                                  row ? _IOC_NR(row->code) : 0};
        uint32_t *words = (uint32_t *)(guest->command + sizeof(fixed));

        memcpy(guest->command, &fixed, sizeof(fixed));
        for (unsigned i = 0; i < 1024; i++)
                words[i] = any(guest, 3) ? 0 : values[any(guest, sizeof(values) / sizeof(*values))];
        if (any(guest, 2))
                words[1] = V4L2_BUF_TYPE_VIDEO_CAPTURE;
        if (any(guest, 2))
                words[0] = any(guest, 2) ? V4L2_BUF_TYPE_VIDEO_CAPTURE : any(guest, 4);
        return any(guest, 4) ? sizeof(fixed) + 4096 : any(guest, 600);
}

/* One that a driver might well send, but for when, so that lies meet a device that is at work. */
static int work(struct guest *guest)
{
        static const uint32_t memories[] = {V4L2_MEMORY_MMAP, V4L2_MEMORY_MMAP, V4L2_MEMORY_USERPTR, 7};
        static const uint32_t formats[] = {V4L2_PIX_FMT_YUV420, V4L2_PIX_FMT_YUYV, V4L2_PIX_FMT_RGB24};
        struct v4l2_requestbuffers request = {
                any(guest, 6), V4L2_BUF_TYPE_VIDEO_CAPTURE, memories[any(guest, 4)], 0, 0, {0}};
        struct v4l2_format format = {.type = V4L2_BUF_TYPE_VIDEO_CAPTURE};
        struct v4l2_create_buffers create = {.count = any(guest, 3), .memory = memories[any(guest, 4)]};
        struct v4l2_buffer buffer = named(any(guest, 6));
        struct v4l2_control control = {V4L2_CID_BRIGHTNESS + any(guest, 5), (int32_t)any(guest, 300)};
        struct v4l2_event_subscription wanted = {.type = V4L2_EVENT_CTRL, .id = control.id, .flags = any(guest, 4)};
        const struct media_mmap map = {
                {MEDIA_MMAP, 0}, guest->session, any(guest, 2), any(guest, 6) * MEDIA_MAX_PLANES * 4096};
        const struct media_munmap unmap = {{MEDIA_MUNMAP, 0}, any(guest, 30) * UINT64_C(462848)};
        struct media_mmap_answer answer;

        format.fmt.pix.width = 160 * (1 + any(guest, 8));
        format.fmt.pix.height = 120 * (1 + any(guest, 8));
        format.fmt.pix.pixelformat = formats[any(guest, 3)];
        create.format = format;
        create.format.fmt.pix.sizeimage = any(guest, 2000000);
        switch (any(guest, 12)) {
        case 0:
                return ioctl(guest, VIDIOC_REQBUFS, &request);
        case 1:
                return ioctl(guest, VIDIOC_CREATE_BUFS, &create);
        case 2:
                return ioctl(guest, VIDIOC_S_FMT, &format);
        case 3:
                return ioctl(guest, VIDIOC_PREPARE_BUF, &buffer);
        case 4:
                return ioctl(guest, VIDIOC_STREAMOFF, &request.type);
        case 5:
                return ioctl(guest, VIDIOC_S_CTRL, &control);
        case 6:
                return ioctl(guest, any(guest, 3) ? VIDIOC_SUBSCRIBE_EVENT : VIDIOC_UNSUBSCRIBE_EVENT, &wanted);
        case 7:
                return call(guest, &map, sizeof(map), &answer, sizeof(answer));
        case 8:
                return call(guest, &unmap, sizeof(unmap), &answer, sizeof(answer.header));
        case 9:
                return ioctl(guest, VIDIOC_STREAMON, &request.type);
        default:
                return ioctl(guest, VIDIOC_QBUF, &buffer);
        }
}

/* Buffers of the guest's memory, of which some is none. */
static int work_with_memory(struct guest *guest)
{
        struct {
                struct media_ioctl_command fixed;
                struct v4l2_buffer buffer;
                struct media_piece pieces[8];
        } command = {{{MEDIA_IOCTL, 0}, guest->session, _IOC_NR(VIDIOC_QBUF)}, named(any(guest, 6)), {{0}}};
        uint8_t answer[8 + sizeof(command.buffer)];
        uint64_t address;
        int r = oriel_driver_address(guest->driver, guest->picture, PART, &address);

        command.buffer.memory = V4L2_MEMORY_USERPTR;
        command.buffer.length = any(guest, 4) ? 460800 : any(guest, 500000);
        command.buffer.m.userptr = 4096;
        for (unsigned i = 0; i < 8; i++)
                command.pieces[i] =
                        (struct media_piece){address - (any(guest, 30) ? 0 : UINT64_C(1) << (24 + any(guest, 40))),
                                             any(guest, 9) ? PART : any(guest, PART), 0};
        return r < 0 ? r : call(guest, &command, sizeof(command), answer, sizeof(answer));
}

static int hostile(struct guest *guest, uint64_t n)
{
        union media_event event;
        uint64_t believed = 0;
        int r = open_session(guest);

        for (uint64_t i = 0; r >= 0 && i < n; i++) {
                const size_t room = any(guest, 4) ? 4096 : any(guest, 300);

                if (any(guest, 3)) {
                        /* Any answer will do, but there has to be one. */
                        guest->written = 0;
                        if (any(guest, 8))
                                work(guest);
                        else
                                work_with_memory(guest);
                        r = guest->written >= 8 ? 0 : -EPROTO;
                } else {
                        const size_t size = lie(guest);

                        r = size + room == 0 ? 0 : send(guest, size, room);
                        if (r == 0 && guest->written > room)
                                r = -EPROTO;
                }
                believed += guest->written >= 8 && *(uint32_t *)guest->answer == 0;
                while (r == 0 && take_event(guest, &event) == 0)
                        ;
                if (i % 500 == 499 && r == 0)
                        r = close_session(guest);
                if (i % 500 == 499 && r == 0)
                        r = open_session(guest);
        }
        if (r == 0)
                printf("%lu lies, %lu believed\n", (unsigned long)n, (unsigned long)believed);
        return r;
}

/* ---- all of it ---- */

static const struct {
        const char *name;
        bool events; /* has buffers for them from the start */
        int (*run)(struct guest *guest, uint64_t n);
} modes[] = {{"frames", true, frames}, {"order", true, order}, {"starve", false, starve}, {"hostile", true, hostile}};

static int run(struct guest *guest, const char *name, uint64_t n)
{
        guest->command = oriel_driver_alloc(guest->driver, PART);
        guest->answer = oriel_driver_alloc(guest->driver, PART);
        guest->picture = oriel_driver_alloc(guest->driver, PART);
        guest->events = oriel_driver_alloc(guest->driver, EVENTS * sizeof(*guest->events));
        guest->window = oriel_driver_window(guest->driver, MEDIA_SHMID, &guest->window_size);
        guest->random = n;
        if (!guest->command || !guest->answer || !guest->picture || !guest->events || !guest->window)
                return -ENOMEM;
        for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
                if (strcmp(modes[i].name, name) != 0)
                        continue;

                int r = modes[i].events ? give_event_buffers(guest) : 0;

                return r < 0 ? r : modes[i].run(guest, n);
        }
        return -EINVAL;
}

int main(int argc, char **argv)
{
        const struct oriel_log log = stderr_log(0);
        const struct oriel_driver_options options = {
                .struct_size = sizeof(options),
                .log = &log,
                .features = getenv("PACKED") ? ORIEL_FEATURE(VIRTIO_F_RING_PACKED) : 0,
        };
        struct guest guest = {.driver = NULL};

        if (argc != 4)
                return fail("Usage: media-driver SOCKET frames|order|starve|hostile NUMBER");

        int r = oriel_driver_new(&options, oriel_socket_connect(argv[1]), &guest.driver);

        if (r == 0)
                r = run(&guest, argv[2], strtoull(argv[3], NULL, 10));
        oriel_driver_free(guest.driver);
        return r < 0 ? fail("%s: %s", argv[2], strerror(-r)) : finish_output(STATUS_SUCCESS);
}
