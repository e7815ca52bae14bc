/* SPDX-License-Identifier: BSD-2-Clause */

/* The GPU socket. One thread polls it and never waits in a call: a message is made when the one before has left, of
 * what the viewer has noted until then, so a front-end that does not read holds up nothing and has the newest frame
 * next. Large updates go in bands, of which each is copied when it is its turn.
 *
 * The front-end only ever answers, one question at a time: GET_PROTOCOL_FEATURES first, then rounds of
 * GET_DISPLAY_INFO and GET_EDID of each output that there is, whenever the driver asks. What else comes, or a wrong
 * size, breaks the socket: then outputs are shown nowhere, and the driver is answered by the options. */

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

/* Of pixels, in one message: a front-end reads each whole. */
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
        const char *wrong;       /* what of the front-end's answer is */
        uint8_t *out;            /* the message that leaves */
        size_t out_size, out_at; /* equal: none */
        struct answer in;        /* that comes */
        size_t in_at;
        enum display_request due; /* what the answer that is to come is to; NOTHING: none is */
        uint64_t features;
        bool features_due; /* the front-end is to be told of them */
        unsigned edid_of;  /* the output whose EDID is asked for next */
        struct gpu_display displays[GPU_OUTPUTS_MAX];
        struct viewer_output note; /* what is told of next_output */
        unsigned next_output;
        bool hidden[GPU_OUTPUTS_MAX]; /* its cursor */
};

/* ---- messages ---- */

/* Room for @size bytes behind the header, which is written; at most BAND_MAX and a line's. */
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

/* The first rows of what is out of date, which the others then still are. */
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
        /* Where the output has become smaller meanwhile, its new size and all of it are noted. */
        if (!gpu_copy_output(socket->viewer.gpu, output, band, (uint32_t *)(void *)(room + sizeof(update)), band.width))
                socket->out_size = 0;
}

/* What is told first of a note, which has it no more then. False: it is empty. */
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

/* The next message, if there is one to be sent. Outputs take turns. */
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

/* The next question is for the EDID of the first output from @from on that there is; of none, the round has ended. */
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

/* NULL: what has come so far is right. */
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

/* 0, or a negative errno: the socket has ended, or is wrong. */
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
        /* The front-end learns of it, and the driver gets its answers. */
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

        /* Of another kind of file even poll(2) may wait, for who serves it. */
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
