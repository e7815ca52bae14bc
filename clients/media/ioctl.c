/* SPDX-License-Identifier: BSD-2-Clause */

/* The ioctls of a session. A command has the program's struct, the planes or controls that it points to, and lists of
 * guest memory for the memory that these point to (media/ioctls.h). The program's memory is no guest memory, so that
 * driver memory stands for it: for controls during the ioctl, for a userptr as long as the buffer exists. In the
 * answer, pointers are replaced by the program's own.
 *
 * Three ioctls have no command: QUERYCAP is answered from the configuration, DQBUF and DQEVENT from events. */

#include "base/cleanup.h"
#include "clients/media/state.h"
#include "media/ioctls.h"

#include <errno.h>
#include <linux/version.h>
#include <string.h>
#include <sys/param.h>

/* An ioctl that is passed on to the device. */
struct transfer {
        struct media_session *session;
        const struct media_program *program;
        const struct media_ioctl *row;
        union {
                struct v4l2_enc_idx largest;
                struct v4l2_buffer buffer;
                struct v4l2_ext_controls controls;
                struct v4l2_streamparm parameters;
        } payload, given;
        size_t trailer_size;
        uint64_t trailer_address;
        union {
                void *bytes;
                struct v4l2_plane *planes;
                struct v4l2_ext_control *controls;
        } trailer, given_trailer; /* one allocation */
        struct media_piece *pieces;
        size_t n_pieces;
        uint8_t *memory; /* of all controls */
        size_t memory_size;
};

static int program_read(const struct media_program *program, void *to, uint64_t from, size_t size)
{
        return size == 0 ? 0 : program->read(program->userdata, to, from, size);
}

static int program_write(const struct media_program *program, uint64_t to, const void *from, size_t size)
{
        return size == 0 ? 0 : program->write(program->userdata, to, from, size);
}

/* ---- answered here ---- */

static int query_capabilities(struct media_session *session, const struct media_program *program, uint64_t argument)
{
        const struct media_config *config = media_client_config(session->client);
        struct v4l2_capability capability = {
                .driver = "virtio-media",
                .bus_info = "platform:virtio-media",
                .version = LINUX_VERSION_CODE,
                .device_caps = config->device_caps & ~(uint32_t)(V4L2_CAP_READWRITE | V4L2_CAP_ASYNCIO),
        };

        capability.capabilities = capability.device_caps | V4L2_CAP_DEVICE_CAPS;
        memcpy(capability.card, config->card, sizeof(capability.card) - 1);
        return program_write(program, argument, &capability, sizeof(capability));
}

static int dequeue_event(struct media_session *session, const struct media_program *program, uint64_t argument)
{
        struct client_event *event = STAILQ_FIRST(&session->events);

        if (!event)
                return -EAGAIN;
        event->event.pending = session->n_events - 1;

        int r = program_write(program, argument, &event->event, sizeof(event->event));

        if (r < 0)
                return r;
        STAILQ_REMOVE_HEAD(&session->events, entry);
        session->n_events--;
        session->taken_event = event;
        return 0;
}

/* Copy a plane that the device has written to the program. *@address becomes the program's address of the plane. */
static int give_userptr(struct client_stream *stream, const struct media_program *program,
                        const struct v4l2_buffer *buffer, uint32_t plane, uint32_t used, uint64_t *address)
{
        const struct pinned *pinned = session_pinned(stream, buffer->index, plane);

        *address = pinned ? pinned->address : 0;
        if (!pinned || !pinned->memory || V4L2_TYPE_IS_OUTPUT(buffer->type))
                return 0;
        return program_write(program, pinned->address, pinned->memory, MIN(used, pinned->size));
}

static int give_planes(struct client_stream *stream, const struct media_program *program, struct done *done,
                       const struct v4l2_buffer *asked)
{
        const uint32_t n = MIN(done->buffer.length, (uint32_t)MEDIA_MAX_PLANES);
        uint64_t address;
        int r = asked->length < n ? -EINVAL : 0;

        for (uint32_t i = 0; r == 0 && i < n && done->buffer.memory == V4L2_MEMORY_USERPTR; i++) {
                r = give_userptr(stream, program, &done->buffer, i, done->planes[i].bytesused, &address);
                done->planes[i].m.userptr = address;
        }
        if (r == 0)
                r = program_write(program, (uintptr_t)asked->m.planes, done->planes, n * sizeof(done->planes[0]));
        return r;
}

static int dequeue_buffer(struct media_session *session, const struct media_program *program, uint64_t argument)
{
        struct v4l2_buffer asked;
        int r = program_read(program, &asked, argument, sizeof(asked));

        if (r < 0)
                return r;

        struct client_stream *stream = session_stream(session, asked.type);
        struct done *done = stream ? STAILQ_FIRST(&stream->done) : NULL;

        if (!stream || !stream->streaming)
                return -EINVAL;
        if (!done)
                return stream->last ? -EPIPE : -EAGAIN;

        struct v4l2_buffer buffer = done->buffer;

        if (V4L2_TYPE_IS_MULTIPLANAR(buffer.type)) {
                r = give_planes(stream, program, done, &asked);
                buffer.m.planes = asked.m.planes;
        } else if (buffer.memory == V4L2_MEMORY_USERPTR) {
                uint64_t address;

                r = give_userptr(stream, program, &buffer, 0, buffer.bytesused, &address);
                buffer.m.userptr = address;
        }
        if (r == 0)
                r = program_write(program, argument, &buffer, sizeof(buffer));
        if (r < 0)
                return r;
        STAILQ_REMOVE_HEAD(&stream->done, entry);
        stream->n_done--;
        stream->n_queued -= stream->n_queued > 0;
        stream->last = buffer.flags & V4L2_BUF_FLAG_LAST;
        session->taken = done;
        return 0;
}

/* ---- passed on to the device ---- */

static int read_trailer(struct transfer *transfer)
{
        ssize_t size = media_ioctl_trailer(transfer->row, &transfer->payload);

        if (size <= 0)
                return (int)size;
        transfer->trailer_size = (size_t)size;
        transfer->trailer.bytes = malloc(2 * transfer->trailer_size);
        if (!transfer->trailer.bytes)
                return -ENOMEM;
        transfer->given_trailer.bytes = (uint8_t *)transfer->trailer.bytes + size;
        transfer->trailer_address = transfer->row->payload == MEDIA_BUFFER
                                            ? (uintptr_t)transfer->payload.buffer.m.planes
                                            : (uintptr_t)transfer->payload.controls.controls;

        int r = program_read(transfer->program, transfer->trailer.bytes, transfer->trailer_address,
                             transfer->trailer_size);

        memcpy(transfer->given_trailer.bytes, transfer->trailer.bytes, transfer->trailer_size);
        return r;
}

static int ioctl_add_piece(struct transfer *transfer, const void *memory, uint32_t size)
{
        struct media_piece *piece = &transfer->pieces[transfer->n_pieces++];

        *piece = (struct media_piece){.size = size};
        return oriel_driver_address(media_client_driver(transfer->session->client), memory, size, &piece->address);
}

/* Pin driver memory for a plane at @address of the program. -EFAULT: the program has no memory there, at its first or
 * last byte. */
static int pin_plane(struct transfer *transfer, uint32_t plane, uint64_t address, uint32_t size)
{
        const struct v4l2_buffer *buffer = &transfer->payload.buffer;
        struct client_stream *stream = session_stream(transfer->session, buffer->type);
        uint8_t byte;

        if (size == 0)
                return 0;
        if (!stream || buffer->index >= VIDEO_MAX_FRAME)
                return -EINVAL;
        if (program_read(transfer->program, &byte, address, 1) < 0 ||
            program_read(transfer->program, &byte, address + size - 1, 1) < 0)
                return -EFAULT;

        struct pinned *pinned = session_pin(transfer->session, stream, buffer->index, plane, address, size);
        int r = pinned ? ioctl_add_piece(transfer, pinned->memory, size) : -ENOMEM;

        if (r == 0 && V4L2_TYPE_IS_OUTPUT(buffer->type))
                r = program_read(transfer->program, pinned->memory, address, size);
        return r;
}

static int pin_buffer(struct transfer *transfer)
{
        const struct v4l2_buffer *buffer = &transfer->payload.buffer;
        const struct v4l2_plane *planes = transfer->trailer.planes;
        int r = 0;

        if (!V4L2_TYPE_IS_MULTIPLANAR(buffer->type))
                return pin_plane(transfer, 0, buffer->m.userptr, buffer->length);
        for (uint32_t i = 0; r == 0 && i < buffer->length; i++)
                r = pin_plane(transfer, i, planes[i].m.userptr, planes[i].length);
        return r;
}

/* Copy the memory that the controls point to, into one piece of driver memory for all. */
static int read_controls(struct transfer *transfer)
{
        const struct v4l2_ext_control *control = transfer->trailer.controls;
        size_t at = 0;
        int r = 0;

        for (uint32_t i = 0; i < transfer->payload.controls.count; i++)
                transfer->memory_size += control[i].size;
        if (transfer->memory_size == 0)
                return 0;
        transfer->memory = media_client_take(transfer->session->client, transfer->memory_size);
        if (!transfer->memory)
                return -ENOMEM;
        for (uint32_t i = 0; r == 0 && i < transfer->payload.controls.count; at += control[i++].size) {
                if (control[i].size == 0)
                        continue;
                r = program_read(transfer->program, transfer->memory + at, (uintptr_t)control[i].ptr, control[i].size);
                if (r == 0)
                        r = ioctl_add_piece(transfer, transfer->memory + at, control[i].size);
        }
        return r;
}

static int write_controls(const struct transfer *transfer)
{
        const struct v4l2_ext_control *control = transfer->given_trailer.controls;
        size_t at = 0;
        int r = 0;

        for (uint32_t i = 0; r == 0 && i < transfer->given.controls.count; at += control[i++].size) {
                if (control[i].size == 0)
                        continue;
                r = program_write(transfer->program, (uintptr_t)control[i].ptr, transfer->memory + at, control[i].size);
                transfer->trailer.controls[i].ptr = control[i].ptr;
        }
        return r;
}

/* Copy all that the command needs from the program. */
static int ioctl_prepare(struct transfer *transfer, uint64_t argument)
{
        const struct media_ioctl *row = transfer->row;
        int r = media_ioctl_reads(row)
                        ? program_read(transfer->program, &transfer->payload, argument, media_ioctl_size(row))
                        : 0;

        transfer->given = transfer->payload;
        /* Only the struct says which buffer: nothing has to be pinned. */
        if (row->code == VIDIOC_QUERYBUF)
                transfer->payload.buffer.memory = 0;
        if (r == 0)
                r = read_trailer(transfer);
        if (r < 0 || (row->payload != MEDIA_BUFFER && row->payload != MEDIA_CONTROLS))
                return r;
        transfer->pieces = calloc(MEDIA_MAX_CONTROLS, sizeof(*transfer->pieces));
        if (!transfer->pieces)
                return -ENOMEM;
        if (row->payload == MEDIA_CONTROLS)
                return read_controls(transfer);
        return transfer->payload.buffer.memory == V4L2_MEMORY_USERPTR ? pin_buffer(transfer) : 0;
}

/* Put the program's own pointers in place of those in the answer. */
static void restore_pointers(struct transfer *transfer)
{
        struct v4l2_buffer *buffer = &transfer->payload.buffer;
        struct client_stream *stream = session_stream(transfer->session, buffer->type);
        const struct pinned *pinned;

        if (transfer->row->payload == MEDIA_CONTROLS)
                transfer->payload.controls.controls = transfer->given.controls.controls;
        if (transfer->row->payload != MEDIA_BUFFER)
                return;
        if (V4L2_TYPE_IS_MULTIPLANAR(transfer->given.buffer.type))
                buffer->m.planes = transfer->given.buffer.m.planes;
        if (buffer->memory != V4L2_MEMORY_USERPTR || !stream)
                return;
        for (uint32_t i = 0; i < transfer->trailer_size / sizeof(struct v4l2_plane); i++) {
                pinned = session_pinned(stream, buffer->index, i);
                transfer->trailer.planes[i].m.userptr = pinned ? pinned->address : 0;
        }
        pinned = session_pinned(stream, buffer->index, 0);
        if (transfer->trailer_size == 0)
                buffer->m.userptr = pinned ? pinned->address : 0;
}

static int send_ioctl(struct transfer *transfer, size_t *written)
{
        const struct media_ioctl *row = transfer->row;
        struct media_ioctl_command command = {
                .header.command = MEDIA_IOCTL, .session = transfer->session->id, .code = _IOC_NR(row->code)};
        struct media_answer_header answer = {.status = 0};
        const struct media_part in[MEDIA_CLIENT_PARTS] = {
                {&transfer->payload, media_ioctl_reads(row) ? media_ioctl_size(row) : 0},
                {transfer->trailer.bytes, transfer->trailer_size},
                {transfer->pieces, transfer->n_pieces * sizeof(*transfer->pieces)},
        };
        const struct media_part out[MEDIA_CLIENT_PARTS] = {
                {&transfer->payload, media_ioctl_writes(row) ? media_ioctl_size(row) : 0},
                {transfer->trailer.bytes, media_ioctl_writes(row) ? transfer->trailer_size : 0},
        };

        return media_client_call(transfer->session->client, (struct media_part){&command, sizeof(command)}, in,
                                 (struct media_part){&answer, sizeof(answer)}, out, written);
}

/* Copy the answer to the program. Controls are copied after an error too, for error_idx. */
static int ioctl_give_back(struct transfer *transfer, uint64_t argument, int status)
{
        int r = 0;

        if (!media_ioctl_writes(transfer->row) || (status < 0 && transfer->row->payload != MEDIA_CONTROLS))
                return status;
        restore_pointers(transfer);
        /* The number of buffers for read(), which this driver does not have. */
        if (transfer->row->code == VIDIOC_G_PARM || transfer->row->code == VIDIOC_S_PARM)
                transfer->payload.parameters.parm.capture.readbuffers = 0;
        if (transfer->row->payload == MEDIA_CONTROLS && transfer->memory)
                r = write_controls(transfer);
        if (r == 0)
                r = program_write(transfer->program, transfer->trailer_address, transfer->trailer.bytes,
                                  transfer->trailer_size);
        if (r == 0)
                r = program_write(transfer->program, argument, &transfer->payload, media_ioctl_size(transfer->row));
        return r < 0 ? r : status;
}

static int ioctl_pass_on(struct media_session *session, const struct media_program *program,
                         const struct media_ioctl *row, uint64_t argument)
{
        struct transfer transfer = {.session = session, .program = program, .row = row};
        size_t written = 0;
        int r = ioctl_prepare(&transfer, argument);

        if (r == 0) {
                r = send_ioctl(&transfer, &written);
                if (r == 0)
                        session_note(session, row->code, &transfer.payload);
                if (r == 0 || written > 0)
                        r = ioctl_give_back(&transfer, argument, r);
        }
        media_client_give(session->client, transfer.memory, transfer.memory_size);
        free(transfer.pieces);
        free(transfer.trailer.bytes);
        return r;
}

bool media_session_waits(uint32_t code)
{
        return code == VIDIOC_DQBUF || code == VIDIOC_DQEVENT;
}

int media_session_ioctl(struct media_session *session, const struct media_program *program, uint32_t code,
                        uint64_t argument)
{
        const struct media_ioctl *row = media_ioctl_find(_IOC_NR(code));

        session_forget_taken(session);
        switch (code) {
        case VIDIOC_QUERYCAP:
                return query_capabilities(session, program, argument);
        case VIDIOC_DQBUF:
                return dequeue_buffer(session, program, argument);
        case VIDIOC_DQEVENT:
                return dequeue_event(session, program, argument);
        default:
                /* No other device could have the object. */
                return row && row->code == code && row->payload != MEDIA_EXPORT
                               ? ioctl_pass_on(session, program, row, argument)
                               : -ENOTTY;
        }
}
