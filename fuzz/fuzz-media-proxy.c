/* SPDX-License-Identifier: BSD-2-Clause */

/* The input is what a guest says to a device of the host that is passed on, and what the kernel answers: any number in
 * any field that it may write, errors, buffers and events that nobody has asked for. A stand-in for the device checks
 * that all that it is to read or to write is there; and the guest may see no address of this process.
 *
 * There is one thread: the proxy's own one is run by hand, when the device has something to tell. */

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/thread.h"
#include "devices/media/proxy/state.h"
#include "fuzz/fds.h"
#include "fuzz/media-guest.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

enum { WINDOW_PAGES = 64, BUFFERS = 3 };
/* Of the device's file: every offset and length is in it. */
#define DEVICE_SIZE (INT64_C(9) << 30)

static struct world {
        struct input *input;
        struct proxy *proxy;
        void *(*run)(void *userdata);
        struct epoll_event event;
        struct v4l2_buffer given[BUFFERS]; /* the last that were queued */
        struct v4l2_plane planes[BUFFERS][MEDIA_MAX_PLANES];
        unsigned n_given;
} world;

/* ---- threads ---- */

static void *end_at_once(void *userdata)
{
        return userdata;
}

int thread_start(pthread_t *thread, void *(*run)(void *userdata), void *userdata)
{
        need(userdata == world.proxy);
        world.run = run;
        return -pthread_create(thread, NULL, end_at_once, NULL);
}

/* One event, after which the thread is told to end. */
int epoll_wait(int fd, struct epoll_event *events, int max, int timeout)
{
        need(fd == world.proxy->epoll_fd && max == 1 && timeout == -1);
        *events = world.event;
        world.proxy->ending = true;
        return 1;
}

static void device_tells(uint32_t id, uint32_t what)
{
        if (!world.run)
                return;
        world.event = (struct epoll_event){.events = what, .data.u32 = id};
        world.run(world.proxy);
        world.proxy->ending = false;
}

/* ---- the device: what devices/media/proxy/file.c does to one ---- */

int proxy_watch(struct proxy_session *own)
{
        return take_choice(world.input, 64) == 63 ? -ENOMEM : 0;
}

/* Some words of what the device may write to. */
static void scribble(void *at, size_t size)
{
        for (unsigned n = take_choice(world.input, 4); n > 0 && size >= 4; n--) {
                const uint32_t word = media_guest_word();

                memcpy((uint8_t *)at + take_choice(world.input, (unsigned)(size / 4)) % 256 * 4, &word, sizeof(word));
        }
}

/* Memory that the device is given is there. */
static void use_memory(unsigned long address, size_t size, bool writes)
{
        volatile uint8_t *memory = (uint8_t *)address;

        for (size_t at = 0; at < size; at += at + 1 < size ? size - 1 : 1) {
                const uint8_t byte = memory[at];

                if (writes)
                        memory[at] = byte;
        }
}

static void remember(const struct v4l2_buffer *buffer)
{
        const unsigned at = world.n_given++ % BUFFERS;

        world.given[at] = *buffer;
        if (V4L2_TYPE_IS_MULTIPLANAR(buffer->type))
                memcpy(world.planes[at], buffer->m.planes, buffer->length * sizeof(struct v4l2_plane));
}

static void device_queue(struct v4l2_buffer *buffer)
{
        struct plane_fields fields[MEDIA_MAX_PLANES];
        const unsigned n = plane_fields(buffer, buffer->m.planes, fields);

        for (unsigned i = 0; i < n && buffer->memory == V4L2_MEMORY_USERPTR; i++)
                if (*fields[i].number)
                        use_memory(*fields[i].number, *fields[i].length, true);
        for (unsigned i = 0; i < n && buffer->memory == V4L2_MEMORY_DMABUF; i++)
                need(fcntl((int)*fields[i].number, F_GETFD) >= 0);
        remember(buffer);
}

/* One that was queued, maybe long ago, or in another session. */
static void device_dequeue(struct v4l2_buffer *buffer)
{
        const unsigned at = take_choice(world.input, BUFFERS);
        struct v4l2_plane *planes = buffer->m.planes;
        const uint32_t type = buffer->type;

        if (world.given[at].type != type)
                return;
        if (V4L2_TYPE_IS_MULTIPLANAR(type)) {
                memcpy(planes, world.planes[at], sizeof(world.planes[at]));
                for (unsigned i = 0; i < MEDIA_MAX_PLANES; i++)
                        planes[i].bytesused = media_guest_word();
        }
        *buffer = world.given[at];
        if (V4L2_TYPE_IS_MULTIPLANAR(type))
                buffer->m.planes = planes;
        else
                buffer->bytesused = media_guest_word();
}

static void device_query(struct v4l2_buffer *buffer)
{
        struct plane_fields fields[MEDIA_MAX_PLANES];

        buffer->memory = V4L2_MEMORY_MMAP;
        if (V4L2_TYPE_IS_MULTIPLANAR(buffer->type) && buffer->length > 2)
                buffer->length = 2;

        const unsigned n = plane_fields(buffer, buffer->m.planes, fields);

        for (unsigned i = 0; i < n; i++) {
                *fields[i].number = MEDIA_GUEST_OFFSET * (buffer->index * 2 + i);
                *fields[i].length = 1 + media_guest_word() % 9000;
        }
}

/* Writes the fields that a kernel writes in all cases, or in some: the length of the list of planes is not for it to
 * raise. */
static void device_buffer(uint32_t code, struct v4l2_buffer *buffer)
{
        const bool multi = V4L2_TYPE_IS_MULTIPLANAR(buffer->type);
        struct v4l2_plane *planes = buffer->m.planes;
        const uint32_t n = multi ? buffer->length : 0;

        need(n <= MEDIA_MAX_PLANES);
        if (code == VIDIOC_QBUF || code == VIDIOC_PREPARE_BUF)
                device_queue(buffer);
        else if (code == VIDIOC_DQBUF)
                device_dequeue(buffer);
        else
                device_query(buffer);
        if (take_choice(world.input, 4) < 3)
                return;
        scribble(buffer, sizeof(*buffer));
        scribble(planes, n * sizeof(*planes));
        if (multi)
                buffer->m.planes = planes;
}

static void device_controls(struct v4l2_ext_controls *controls)
{
        struct v4l2_ext_control *control = controls->controls;
        const uint32_t count = controls->count;

        need(count <= MEDIA_MAX_CONTROLS);
        for (uint32_t i = 0; i < count; i++)
                if (control[i].size > 0)
                        use_memory((uintptr_t)control[i].ptr, control[i].size, true);
        scribble(controls, sizeof(*controls));
        scribble(control, count * sizeof(*control));
        controls->controls = control;
}

/* A driver need not be able to. */
static int device_export(struct v4l2_exportbuffer *export)
{
        if (take_choice(world.input, 2))
                return -ENOTTY;
        export->fd = memfd_create("fuzz", MFD_CLOEXEC);
        need(export->fd >= 0 && ftruncate(export->fd, 1 << 20) == 0);
        return 0;
}

/* With nothing left to decide there is nothing to tell, and no buffer more. */
static int device_error(uint32_t code)
{
        static const int errors[] = {0, -EINVAL, -EAGAIN, -ENODEV, -EIO, -EPIPE, -ENOTTY, -EBUSY};
        const bool asks = code == VIDIOC_DQBUF || code == VIDIOC_DQEVENT || code == VIDIOC_QUERYBUF;
        const uint8_t choice = take_byte(world.input);

        if (asks && choice < 128)
                return code == VIDIOC_QUERYBUF ? -EINVAL : -EAGAIN;
        return choice % 16 == 15 ? errors[choice / 16 % 8] : 0;
}

int node_ioctl(const struct proxy_session *own, uint32_t code, void *payload)
{
        const struct media_ioctl *row = media_ioctl_find(_IOC_NR(code));
        const int r = device_error(code);

        need(own->fd >= 0 && fcntl(own->fd, F_GETFD) >= 0);
        if (r < 0 && take_choice(world.input, 2))
                return r;
        if (code == VIDIOC_EXPBUF)
                return r < 0 ? r : device_export(payload);
        if (code == VIDIOC_DQBUF || (row && row->payload == MEDIA_BUFFER))
                device_buffer(code, payload);
        else if (row && row->payload == MEDIA_CONTROLS)
                device_controls(payload);
        else if (_IOC_DIR(code) & _IOC_READ)
                scribble(payload, _IOC_SIZE(code));
        return r;
}

/* ---- the whole ---- */

/* The upper half of an address is no number that the guest or the device has said. */
static void check_told(const void *bytes, size_t size)
{
        for (size_t at = sizeof(struct media_answer_header); at + 4 <= size; at += 4) {
                uint32_t word;

                memcpy(&word, (const uint8_t *)bytes + at, sizeof(word));
                need(!word_may_be_of_address(word));
        }
}

static void step(void)
{
        const uint8_t what = take_byte(world.input);

        if (what % 4 < 3)
                media_guest_step();
        else if (what < 200)
                device_tells(1 + what / 4 % 4, EPOLLIN);
        else
                device_tells(what % 8 == 7 ? 0 : 1 + what / 4 % 4, what > 250 ? EPOLLHUP : EPOLLPRI);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static const uint32_t types[] = {V4L2_BUF_TYPE_VIDEO_CAPTURE, V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE,
                                         V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE, V4L2_BUF_TYPE_VIDEO_OUTPUT};
        static const struct media_config config = {.device_caps = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING};
        struct input input = {data, size};
        struct media_guest_options options = {
                .types = types, .n_types = 4, .window_size = WINDOW_PAGES * MEDIA_GUEST_PAGE, .check = check_told};
        const unsigned fds = count_fds();
        const int device = memfd_create("fuzz", MFD_CLOEXEC);

        memset(&world, 0, sizeof(world));
        world.input = &input;
        need(device >= 0 && ftruncate(device, DEVICE_SIZE) == 0);
        need(proxy_new(open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC), device, &config, "fuzz",
                       &options.node) == 0);
        world.proxy = (struct proxy *)options.node;
        media_guest_begin(&input, &options);
        for (unsigned i = 0; i < 300 && input.size > 0; i++)
                step();
        need(world.proxy->held <= WINDOW_PAGES * MEDIA_GUEST_PAGE);
        media_guest_end();
        need(count_fds() == fds);
        return 0;
}
