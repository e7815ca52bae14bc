/* SPDX-License-Identifier: BSD-2-Clause */

/* media-backend SOCKET [lies]: a virtio-media device that does what no camera does, for the driver's side of it. What
 * it is asked comes back as it is; besides:
 *  - a buffer with planes is done at once: one for capture is filled with its index, of one for output the sum of all
 *    bytes is the sequence number. Both are USERPTR. Index 7 is the last.
 *  - what a control points to is inverted; one without is made one more, and that of id 13 is refused.
 *  - an event that is subscribed to comes at once; one that is unsubscribed ends the session.
 * With lies, each event comes after others that are wrong. One thread serves both queues. */

#include "base/cleanup.h"
#include "media/ioctls.h"
#include "program/report.h"

#include <errno.h>
#include <oriel/backend.h>
#include <oriel/socket.h>
#include <oriel/worker.h>
#include <poll.h>
#include <string.h>
#include <sys/param.h>

enum { ROOM = 65536, EVENTS = 64, REFUSED = 13, LAST = 7 };

static struct oriel_backend *backend;
static struct oriel_worker *worker;
static struct oriel_backend_queue *event_queue;
static struct oriel_chain *events[EVENTS];
static unsigned n_events;
static bool lies;

/* The command; from its payload on it becomes the answer. */
static uint8_t command[ROOM] __attribute__((aligned(8)));

static void send_bytes(const void *data, size_t size)
{
        struct oriel_chain *chain = n_events > 0 ? events[--n_events] : NULL;

        /* The driver has given some back, of which the worker has not told yet. */
        if (!chain && (!event_queue || oriel_backend_queue_pop(event_queue, &chain) != 1))
                return;
        oriel_chain_write(chain, 0, data, size);
        oriel_backend_queue_push(event_queue, chain, size);
        oriel_backend_queue_notify(event_queue);
}

static void send_event(const union media_event *event, size_t size)
{
        union media_event lie = *event;

        if (lies) {
                send_bytes(event, size - 1);
                send_bytes(event, 3);
                lie.header.event = 3;
                send_bytes(&lie, sizeof(lie));
                lie = *event;
                lie.header.session += 1000;
                send_bytes(&lie, sizeof(lie));
                lie.header.session -= 1000;
                lie.header.event = MEDIA_EVENT_DQBUF;
                lie.dqbuf.buffer.type = 200;
                send_bytes(&lie, sizeof(lie));
        }
        send_bytes(event, size);
}

/* Each byte of the guest's memory at @piece: set to @value, or inverted where that is -1. Returns the sum of all. */
static uint32_t use_memory(const struct media_piece *piece, int value)
{
        struct oriel_memory *memory = oriel_backend_memory(backend);
        struct iovec span;
        uint32_t sum = 0;

        if (oriel_memory_translate(memory, ORIEL_ADDRESS_GUEST, (struct oriel_range){piece->address, piece->size},
                                   ORIEL_ACCESS_READ_WRITE, &span, 1, NULL) == 1)
                for (size_t i = 0; i < span.iov_len; i++) {
                        uint8_t *byte = (uint8_t *)span.iov_base + i;

                        sum += *byte;
                        *byte = value >= 0 ? (uint8_t)value : value == -1 ? (uint8_t) ~*byte : *byte;
                }
        oriel_memory_unref(memory);
        return sum;
}

static int queue_buffer(uint32_t session, struct v4l2_buffer *buffer, struct v4l2_plane *planes,
                        const struct media_piece *pieces)
{
        union media_event event = {.dqbuf = {.header = {MEDIA_EVENT_DQBUF, session}, .buffer = *buffer}};
        const bool output = V4L2_TYPE_IS_OUTPUT(buffer->type);
        uint32_t sum = 0;

        if (!V4L2_TYPE_IS_MULTIPLANAR(buffer->type) || buffer->memory != V4L2_MEMORY_USERPTR)
                return EINVAL;
        for (uint32_t i = 0; i < buffer->length; i++) {
                sum += use_memory(&pieces[i], output ? -2 : (int)buffer->index);
                planes[i].bytesused = lies ? UINT32_MAX : planes[i].length;
                planes[i].m.userptr = 12345;
                event.dqbuf.planes[i] = planes[i];
        }
        event.dqbuf.buffer.sequence = sum;
        event.dqbuf.buffer.flags |= buffer->index == LAST ? V4L2_BUF_FLAG_LAST : 0;
        send_event(&event, sizeof(event.dqbuf));
        buffer->m.planes = NULL;
        return 0;
}

static int set_controls(struct v4l2_ext_controls *controls, struct v4l2_ext_control *control,
                        const struct media_piece *pieces)
{
        for (uint32_t i = 0; i < controls->count; i++) {
                if (control[i].id == REFUSED) {
                        controls->error_idx = i;
                        return EINVAL;
                }
                if (control[i].size > 0)
                        use_memory(pieces++, -1);
                else
                        control[i].value++;
        }
        controls->controls = NULL;
        return 0;
}

static void subscribe(uint32_t session, const struct v4l2_event_subscription *subscription, bool on)
{
        union media_event event = {.header = {on ? MEDIA_EVENT_EVENT : MEDIA_EVENT_ERROR, session}};

        if (on)
                event.event.event = (struct v4l2_event){.type = subscription->type, .id = subscription->id};
        else
                event.error.error = ENODEV;
        send_event(&event, on ? sizeof(event.event) : sizeof(event.error));
}

static int do_ioctl(const struct media_ioctl *row, uint32_t session, size_t trailer)
{
        void *payload = command + sizeof(struct media_ioctl_command);
        void *behind = (uint8_t *)payload + media_ioctl_size(row);
        const void *pieces = (uint8_t *)behind + trailer;

        switch (row->code) {
        case VIDIOC_QBUF:
                return queue_buffer(session, payload, behind, pieces);
        case VIDIOC_S_EXT_CTRLS:
                return set_controls(payload, behind, pieces);
        case VIDIOC_SUBSCRIBE_EVENT:
        case VIDIOC_UNSUBSCRIBE_EVENT:
                subscribe(session, payload, row->code == VIDIOC_SUBSCRIBE_EVENT);
        }
        return 0;
}

static ssize_t handle_ioctl(struct oriel_chain *chain)
{
        const struct media_ioctl_command *asked = (const void *)command;
        const struct media_ioctl *row = media_ioctl_find(asked->code);
        struct media_answer_header answer = {.status = ENOTTY};
        ssize_t trailer = row ? media_ioctl_trailer(row, asked + 1) : -EINVAL;
        size_t size = trailer < 0 || !media_ioctl_writes(row) ? 0 : media_ioctl_size(row) + (size_t)trailer;

        if (row)
                answer.status = trailer < 0 ? EINVAL : (uint32_t)do_ioctl(row, asked->session, (size_t)trailer);
        oriel_chain_write(chain, 0, &answer, sizeof(answer));
        return (ssize_t)(sizeof(answer) + oriel_chain_write(chain, sizeof(answer), asked + 1, size));
}

static ssize_t handle(void *userdata, struct oriel_backend_queue *queue, struct oriel_chain *chain)
{
        const struct media_command_header *header = (const void *)command;
        static struct media_open_answer opened;

        if (oriel_backend_queue_index(queue) == MEDIA_EVENT_QUEUE) {
                if (n_events == EVENTS)
                        return -ENOSPC;
                events[n_events++] = chain;
                return -EINPROGRESS;
        }
        memset(command, 0, sizeof(command));
        oriel_chain_read(chain, 0, command, sizeof(command));
        if (header->command == MEDIA_IOCTL)
                return handle_ioctl(chain);
        if (header->command != MEDIA_OPEN)
                return 0;
        opened.session++;
        return (ssize_t)oriel_chain_write(chain, 0, &opened, sizeof(opened));
}

static int start(void *userdata, struct oriel_backend_queue *queue)
{
        if (oriel_backend_queue_index(queue) == MEDIA_EVENT_QUEUE)
                event_queue = queue;
        return oriel_worker_add(worker, queue);
}

static void stop(void *userdata, struct oriel_backend_queue *queue)
{
        oriel_worker_remove(worker, queue);
        if (oriel_backend_queue_index(queue) != MEDIA_EVENT_QUEUE)
                return;
        event_queue = NULL;
        while (n_events > 0)
                oriel_chain_drop(events[--n_events]);
}

static int get_config(void *userdata, uint32_t offset, void *data, uint32_t size)
{
        struct media_config config = {.device_caps = V4L2_CAP_VIDEO_M2M_MPLANE | V4L2_CAP_STREAMING};

        memcpy(config.card, "what fills the field to its end.", sizeof(config.card));
        if (offset > sizeof(config) || size > sizeof(config) - offset)
                return -EINVAL;
        memcpy(data, (const uint8_t *)&config + offset, size);
        return 0;
}

int main(int argc, char **argv)
{
        const struct oriel_worker_options threads = {.struct_size = sizeof(threads), .handle = handle, .threads = 1};
        const struct oriel_backend_ops ops = {
                .struct_size = sizeof(ops), .get_config = get_config, .start = start, .stop = stop};
        const struct oriel_log log = stderr_log(0);
        const struct oriel_backend_options options = {.struct_size = sizeof(options),
                                                      .ops = &ops,
                                                      .log = &log,
                                                      .device_features = ORIEL_FEATURE(VIRTIO_F_VERSION_1),
                                                      .queues = MEDIA_QUEUES};
        int listener = argc < 2 ? -EINVAL : oriel_socket_listen(argv[1]);

        lies = argc > 2;
        if (listener < 0 || oriel_worker_new(&threads, &worker) < 0 || oriel_backend_new(&options, &backend) < 0)
                return fail("%s: %s", argv[0], strerror(listener < 0 ? -listener : ENOMEM));
        for (;;) {
                int r = oriel_backend_attach(backend, oriel_socket_accept(listener));

                while (r == 0) {
                        struct pollfd fd = {.fd = oriel_backend_get_fd(backend), .events = POLLIN};

                        poll(&fd, 1, -1);
                        r = oriel_backend_dispatch(backend);
                }
        }
}
