/* SPDX-License-Identifier: BSD-2-Clause */

/* The GPU socket. One thread polls it and never waits in a call: a message is made when the one before has left, from
 * what the viewer has noted until then, so a front-end that does not read holds up nothing, and gets the newest frame
 * next. Large updates are sent in bands, each copied when it is due.
 *
 * The front-end only sends answers, one at a time: to GET_PROTOCOL_FEATURES first, then to rounds of
 * GET_DISPLAY_INFO and of GET_EDID for each enabled output, whenever the driver asks. Any other message, or a wrong
 * size, breaks the socket: then nothing is shown there, and the driver is answered from the options. */

#include "devices/gpu/display/socket.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/syscalls.h"
#include "devices/gpu/display/viewer.h"
#include "devices/gpu/display/wire.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_gpu.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/param.h>
#include <sys/socket.h>
#include <unistd.h>

USES_SYSCALLS(SYSCALL(sendto), SYSCALL(recvfrom), SYSCALL(poll), SYSCALL(getsockopt));

/* Bytes of pixels in one message, which a front-end reads whole. */
enum { BAND_MAX = 1 << 20 };

/* Numbers are in this machine's byte order, and so are pixels. */
struct update {
        uint32_t output, x, y, width, height;
};
struct cursor_update {
        uint32_t output, x, y, hot_x, hot_y;
        uint32_t pixels[GPU_CURSOR_SIZE * GPU_CURSOR_SIZE];
};
_Static_assert(sizeof(struct display_header) == 12 && sizeof(struct update) == 20 &&
                       sizeof(struct cursor_update) == 20 + GPU_CURSOR_SIZE * GPU_CURSOR_SIZE * 4,
               "no padding");

/* The largest payload is the EDID's. */
struct answer {
        struct display_header header;
        uint8_t payload[sizeof(struct virtio_gpu_resp_edid)];
};

struct gpu_socket {
        struct viewer viewer;
        struct oriel_log log;
        int fd;

        /* All that follows is the thread's. */
        const char *wrong;       /* the part of the front-end's answer that is wrong */
        uint8_t *out;            /* the message that is being sent */
        size_t out_size, out_at; /* equal: none */
        struct answer in;        /* the answer that is being received */
        size_t in_at;
        enum display_request due; /* the request whose answer is due; NOTHING: none */
        uint64_t features;
        bool features_due; /* SET_PROTOCOL_FEATURES is to be sent */
        unsigned edid_of;  /* the output whose EDID is asked for next */
        struct gpu_display displays[GPU_OUTPUTS_MAX];
        struct viewer_output note; /* what is still to be told of next_output */
        unsigned next_output;
        bool hidden[GPU_OUTPUTS_MAX]; /* whether its cursor is */
};

/* ---- messages ---- */

/* Returns room for @size bytes behind the header, which is written. @size is at most BAND_MAX plus a header. */
static void *message_begin(struct gpu_socket *socket, enum display_request request, size_t size)
{
        const struct display_header header = {request, 0, (uint32_t)size};
        uint8_t *room = realloc(socket->out, sizeof(header) + size);

        if (!room)
                return NULL;
        socket->out = room;
        memcpy(room, &header, sizeof(header));
        socket->out_size = sizeof(header) + size;
        socket->out_at = 0;
        return room + sizeof(header);
}

static void display_socket_send_payload(struct gpu_socket *socket, enum display_request request, const void *payload,
                                        size_t size)
{
        void *room = message_begin(socket, request, size);

        if (room && size > 0)
                memcpy(room, payload, size);
}

static void send_question(struct gpu_socket *socket, enum display_request request, const void *payload, size_t size)
{
        display_socket_send_payload(socket, request, payload, size);
        socket->due = request;
}

static void tell_size(struct gpu_socket *socket, unsigned output, struct viewer_output *note)
{
        const uint32_t scanout[] = {output, note->width, note->height};

        note->resized = false;
        display_socket_send_payload(socket, SCANOUT, scanout, sizeof(scanout));
}

static void tell_cursor(struct gpu_socket *socket, unsigned output, struct viewer_output *note)
{
        const struct gpu_cursor *cursor = &note->cursor;
        const uint32_t position[] = {output, cursor->x, cursor->y};
        struct cursor_update update = {output, cursor->x, cursor->y, cursor->hot_x, cursor->hot_y, {0}};

        if (note->cursor_changed)
                socket->hidden[output] = !cursor->pixels;
        if (note->cursor_changed && cursor->pixels) {
                memcpy(update.pixels, cursor->pixels, sizeof(update.pixels));
                display_socket_send_payload(socket, CURSOR_UPDATE, &update, sizeof(update));
        } else {
                display_socket_send_payload(socket, socket->hidden[output] ? CURSOR_POS_HIDE : CURSOR_POS, position,
                                            sizeof(position));
        }
        note->cursor_changed = note->cursor_moved = false;
}

/* Sends the first rows of the damage, and leaves the rest in the note. */
static void tell_pixels(struct gpu_socket *socket, unsigned output, struct viewer_output *note)
{
        struct gpu_rect band = note->damage;

        band.height = MIN(band.height, MAX(BAND_MAX / 4 / band.width, 1U));
        note->damage.y += band.height;
        note->damage.height -= band.height;

        const struct update update = {output, band.x, band.y, band.width, band.height};
        uint8_t *room = message_begin(socket, UPDATE, sizeof(update) + (size_t)band.width * band.height * 4);

        if (!room)
                return;
        memcpy(room, &update, sizeof(update));
        /* The output has become smaller meanwhile: its new size, and all of it as damage, are noted. */
        if (!gpu_copy_output(socket->viewer.gpu, output, band, (uint32_t *)(void *)(room + sizeof(update)), band.width))
                socket->out_size = 0;
}

/* Sends the first item of a note, and removes it there. False: the note is empty. */
static bool tell_note(struct gpu_socket *socket, unsigned output, struct viewer_output *note)
{
        if (note->resized)
                tell_size(socket, output, note);
        else if (note->damage.height > 0)
                tell_pixels(socket, output, note);
        else if (note->cursor_changed || note->cursor_moved)
                tell_cursor(socket, output, note);
        else
                return false;
        return true;
}

static void next_question(struct gpu_socket *socket)
{
        const uint32_t output = socket->edid_of;

        if (socket->features_due) {
                socket->features_due = false;
                display_socket_send_payload(socket, SET_PROTOCOL_FEATURES, &socket->features, sizeof(socket->features));
        } else if (output < GPU_OUTPUTS_MAX)
                send_question(socket, GET_EDID, &output, sizeof(output));
        else if (atomic_exchange(&socket->viewer.asked, false))
                send_question(socket, GET_DISPLAY_INFO, NULL, 0);
}

/* Makes the next message, if there is one to be sent. Outputs take turns. */
static void display_socket_next_message(struct gpu_socket *socket)
{
        if (socket->due == NOTHING)
                next_question(socket);
        for (unsigned i = 0; socket->out_at == socket->out_size && i <= GPU_OUTPUTS_MAX;) {
                if (tell_note(socket, socket->next_output, &socket->note))
                        continue;
                socket->next_output = (socket->next_output + 1) % GPU_OUTPUTS_MAX;
                i++;
                viewer_take(&socket->viewer, socket->next_output, &socket->note);
        }
}

/* ---- answers ---- */

/* Chooses the next question: the EDID of the first enabled output from @from on. Without one, the round has ended. */
static void round_go_on(struct gpu_socket *socket, unsigned from)
{
        while (from < GPU_OUTPUTS_MAX && !socket->displays[from].enabled)
                from++;
        socket->edid_of = from;
        if (from == GPU_OUTPUTS_MAX)
                gpu_set_displays(socket->viewer.gpu, socket->displays);
}

static const char *display_socket_take_features(struct gpu_socket *socket)
{
        memcpy(&socket->features, socket->in.payload, sizeof(socket->features));
        socket->features &= DISPLAY_FEATURE_EDID;
        socket->features_due = true;
        return NULL;
}

static const char *take_display_info(struct gpu_socket *socket)
{
        struct virtio_gpu_resp_display_info info;

        memcpy(&info, socket->in.payload, sizeof(info));
        for (unsigned i = 0; i < GPU_OUTPUTS_MAX; i++) {
                const struct virtio_gpu_display_one *one = &info.pmodes[i];
                const struct gpu_display display = {
                        .enabled = le32toh(one->enabled) != 0,
                        .x = le32toh(one->r.x),
                        .y = le32toh(one->r.y),
                        .width = le32toh(one->r.width),
                        .height = le32toh(one->r.height),
                };

                if (display.width > GPU_SIDE_MAX || display.height > GPU_SIDE_MAX ||
                    (display.enabled && (display.width == 0 || display.height == 0)))
                        return "an output's size";
                socket->displays[i] = display;
        }
        round_go_on(socket, socket->features & DISPLAY_FEATURE_EDID ? 0 : GPU_OUTPUTS_MAX);
        return NULL;
}

static const char *take_edid(struct gpu_socket *socket)
{
        struct gpu_display *display = &socket->displays[socket->edid_of];
        struct virtio_gpu_resp_edid edid;

        memcpy(&edid, socket->in.payload, sizeof(edid));

        const uint32_t size = le32toh(edid.size);

        if (size > GPU_EDID_MAX)
                return "an EDID's size";
        display->edid_size = size;
        memcpy(display->edid, edid.edid, size);
        round_go_on(socket, socket->edid_of + 1);
        return NULL;
}

static const struct answer_row {
        uint32_t size;
        const char *(*take)(struct gpu_socket *socket);
} answer_rows[] = {
        [GET_PROTOCOL_FEATURES] = {sizeof(uint64_t), display_socket_take_features},
        [GET_DISPLAY_INFO] = {sizeof(struct virtio_gpu_resp_display_info), take_display_info},
        [GET_EDID] = {sizeof(struct virtio_gpu_resp_edid), take_edid},
};

/* NULL: the bytes that have come so far are right. */
static const char *take_bytes(struct gpu_socket *socket)
{
        const struct answer_row *row = &answer_rows[socket->due];

        if (socket->in_at < sizeof(struct display_header))
                return NULL;
        if (socket->due == NOTHING || socket->in.header.request != socket->due)
                return "an answer's request";
        if (socket->in.header.flags != DISPLAY_FLAG_REPLY || socket->in.header.size != row->size)
                return "an answer's header";
        if (socket->in_at < sizeof(struct display_header) + row->size)
                return NULL;
        socket->in_at = 0;
        socket->due = NOTHING;
        return row->take(socket);
}

/* ---- the thread ---- */

/* 0, or a negative errno: the socket has ended, or an answer is wrong. */
static int socket_receive(struct gpu_socket *socket)
{
        size_t wanted = sizeof(struct display_header);

        if (socket->in_at >= wanted)
                wanted += answer_rows[socket->due].size;

        ssize_t n = recv(socket->fd, (uint8_t *)&socket->in + socket->in_at, wanted - socket->in_at, MSG_DONTWAIT);

        if (n < 0)
                return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        if (n == 0)
                return -ENOTCONN;
        socket->in_at += (size_t)n;
        socket->wrong = take_bytes(socket);
        return socket->wrong ? -EPROTO : 0;
}

static int socket_transmit(struct gpu_socket *socket)
{
        ssize_t n = send(socket->fd, socket->out + socket->out_at, socket->out_size - socket->out_at,
                         MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n < 0)
                return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        socket->out_at += (size_t)n;
        return 0;
}

static int socket_turn(struct gpu_socket *socket)
{
        if (socket->out_at == socket->out_size)
                display_socket_next_message(socket);

        const bool sends = socket->out_at < socket->out_size;
        struct pollfd fds[] = {
                {.fd = socket->fd, .events = (short)(sends ? POLLIN | POLLOUT : POLLIN)},
                {.fd = socket->viewer.wake_fd, .events = POLLIN},
        };
        eventfd_t woken;

        if (poll(fds, ARRAY_SIZE(fds), -1) < 0)
                return errno == EINTR ? 0 : -errno;
        if (fds[1].revents)
                eventfd_read(socket->viewer.wake_fd, &woken);

        int r = fds[0].revents & ~POLLOUT ? socket_receive(socket) : 0;

        return r == 0 && fds[0].revents & POLLOUT ? socket_transmit(socket) : r;
}

static void *socket_run(void *userdata)
{
        struct gpu_socket *socket = userdata;
        int r = 0;

        send_question(socket, GET_PROTOCOL_FEATURES, NULL, 0);
        while (r == 0 && !socket->viewer.end)
                r = socket_turn(socket);
        if (socket->wrong)
                log_error(&socket->log, "the GPU socket is closed: %s is wrong", socket->wrong);
        else if (r < 0)
                log_debug(&socket->log, "the GPU socket has ended: %s", strerror(-r));
        /* The front-end sees the end of the socket, and the driver's waiting commands are answered. */
        shutdown(socket->fd, SHUT_RDWR);
        socket->viewer.answers = false;
        gpu_set_displays(socket->viewer.gpu, NULL);
        return NULL;
}

static bool is_stream(int fd)
{
        int type = 0;

        return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &(socklen_t){sizeof(type)}) == 0 && type == SOCK_STREAM;
}

int gpu_socket_new(struct gpu *gpu, const struct oriel_log *log, int fd, struct gpu_socket **out)
{
        _cleanup_(fd_closep) int owned = fd;

        /* poll(2) of another kind of file may wait for the process that serves it. */
        if (!is_stream(fd))
                return -ENOTSOCK;

        struct gpu_socket *socket = calloc(1, sizeof(*socket));

        if (!socket)
                return -ENOMEM;
        socket->log = *log;
        socket->fd = fd;
        socket->edid_of = GPU_OUTPUTS_MAX;

        int r = viewer_start(&socket->viewer, gpu, true, socket_run, socket);

        if (r < 0) {
                free(socket);
                return r;
        }
        fd_take(&owned);
        *out = socket;
        return 0;
}

void gpu_socket_free(struct gpu_socket *socket)
{
        if (!socket)
                return;
        viewer_stop(&socket->viewer);
        fd_close(socket->fd);
        free(socket->out);
        free(socket);
}
