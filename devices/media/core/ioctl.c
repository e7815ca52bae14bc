/* SPDX-License-Identifier: BSD-2-Clause */

/* The IOCTL command (VIRTIO 1.4, 5.22.6.1). Its payload is split by the row of the table that both ends read, and
 * the lists of guest memory are translated, before the node sees any of it. A driver may send more bytes than the
 * ioctl has, as Linux's does for some, but not fewer. */

#include "devices/media/core/state.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/range.h"

#include <errno.h>
#include <string.h>
#include <sys/param.h>

/* A piece may cross from one region of memory into the next, or further. */
enum { SPANS_OF_PIECE_MAX = 16 };

/* ---- guest memory ---- */

void guest_memory_clear(struct guest_memory *guest)
{
        oriel_memory_unref(guest->memory);
        free(guest->pieces);
        *guest = (struct guest_memory){.memory = NULL};
}

static int piece_find(const struct guest_memory *guest, struct oriel_range piece, struct iovec *spans)
{
        return oriel_memory_translate(guest->memory, ORIEL_ADDRESS_GUEST, piece, ORIEL_ACCESS_READ_WRITE, spans,
                                      SPANS_OF_PIECE_MAX, NULL);
}

void guest_memory_read(const struct guest_memory *guest, void *data, size_t size)
{
        uint8_t *to = data;

        for (unsigned i = 0; i < guest->n && size > 0; i++) {
                struct iovec spans[SPANS_OF_PIECE_MAX];
                const struct oriel_range read = {guest->pieces[i].start, MIN(size, guest->pieces[i].size)};
                const int n = piece_find(guest, read, spans);

                for (int k = 0; k < n; k++) {
                        memcpy(to, spans[k].iov_base, spans[k].iov_len);
                        to += spans[k].iov_len;
                }
                size -= read.size;
        }
}

void guest_memory_write(struct media *media, const struct guest_memory *guest, const void *data, size_t size)
{
        const uint8_t *from = data;

        for (unsigned i = 0; i < guest->n && size > 0; i++) {
                struct iovec spans[SPANS_OF_PIECE_MAX];
                const struct oriel_range written = {guest->pieces[i].start, MIN(size, guest->pieces[i].size)};
                const int n = piece_find(guest, written, spans);

                for (int k = 0; k < n; k++) {
                        memcpy(spans[k].iov_base, from, spans[k].iov_len);
                        from += spans[k].iov_len;
                }
                media->options.ops->mark_dirty(media->options.userdata, written);
                size -= written.size;
        }
}

/* The part of the command that is not read yet. */
struct rest {
        const uint8_t *bytes;
        size_t size;
};

static bool rest_take(struct rest *rest, void *to, size_t size)
{
        if (size > rest->size)
                return false;
        memcpy(to, rest->bytes, size);
        rest->bytes += size;
        rest->size -= size;
        return true;
}

/* Returns how many pieces cover @size bytes. -EINVAL: there are not enough. */
static int count_pieces(struct rest rest, uint64_t size)
{
        struct media_piece piece;
        int n = 0;

        for (uint64_t found = 0; found < size; n++) {
                if (!rest_take(&rest, &piece, sizeof(piece)) || piece.size == 0)
                        return -EINVAL;
                found += piece.size;
        }
        return n;
}

/* Finds @size bytes in the memory table of now; bytes of the last piece beyond them are not used. */
static int guest_memory_find(struct media *media, struct rest *rest, uint32_t size, struct guest_memory *guest)
{
        const int n = count_pieces(*rest, size);
        struct iovec spans[SPANS_OF_PIECE_MAX];
        int r = n;

        if (n <= 0)
                return n < 0 ? n : -EINVAL;
        guest->pieces = calloc((size_t)n, sizeof(*guest->pieces));
        if (!guest->pieces)
                return -ENOMEM;
        guest->memory = media->options.ops->memory(media->options.userdata);
        while (r >= 0 && guest->n < (unsigned)n) {
                struct media_piece piece = {.size = 0};

                rest_take(rest, &piece, sizeof(piece));
                guest->pieces[guest->n] = (struct oriel_range){piece.address, MIN(piece.size, size - guest->size)};
                r = piece_find(guest, guest->pieces[guest->n], spans);
                guest->size += guest->pieces[guest->n++].size;
        }
        return r < 0 ? -EFAULT : 0;
}

/* ---- the call ---- */

static void call_end(struct media_call *call)
{
        for (size_t i = 0; i < call->n_memory; i++)
                guest_memory_clear(&call->memory[i]);
        free(call->memory);
        for (size_t i = 0; i < call->n_objects; i++)
                fd_close(call->object_fds[i]);
}

/* QUERYBUF only asks: the fields of its buffer are no sizes of lists. */
static int call_find_memory(struct media *media, struct media_call *call, struct rest *rest)
{
        uint32_t sizes[MEDIA_MAX_CONTROLS];
        size_t n = call->row->code == VIDIOC_QUERYBUF
                           ? 0
                           : media_ioctl_memory(call->row, call->payload, call->trailer, sizes);

        if (n == 0)
                return 0;
        call->memory = calloc(n, sizeof(*call->memory));
        if (!call->memory)
                return -ENOMEM;
        call->n_memory = n;
        for (size_t i = 0; i < n; i++) {
                int r = guest_memory_find(media, rest, sizes[i], &call->memory[i]);

                if (r < 0)
                        return r;
        }
        return 0;
}

/* Fills the payload, the trailer and the objects at @call->payload, which has @room bytes, from @rest. Returns their
 * size. */
static ssize_t call_read(struct media_call *call, struct rest *rest, size_t room)
{
        const size_t size = media_ioctl_size(call->row);

        if (size > room || (media_ioctl_reads(call->row) && !rest_take(rest, call->payload, size)))
                return -EINVAL;

        const ssize_t trailer = media_ioctl_trailer(call->row, call->payload);

        if (trailer < 0)
                return trailer;
        call->trailer = (uint8_t *)call->payload + size;
        call->objects = (struct media_object *)((uint8_t *)call->trailer + trailer);

        const size_t n_objects = media_ioctl_objects(call->row, call->payload);
        const size_t behind = (size_t)trailer + n_objects * sizeof(struct media_object);

        if (behind > room - size || !rest_take(rest, call->trailer, behind))
                return -EINVAL;
        while (call->n_objects < n_objects)
                call->object_fds[call->n_objects++] = -1;
        return (ssize_t)(size + behind);
}

int ioctl_handle(struct node_session *session, const uint8_t *command, size_t size, uint8_t *answer, size_t room,
                 size_t *answered)
{
        struct media *media = session->media;
        struct media_node *node = media->options.node;
        struct rest rest = {command, size};
        struct media_ioctl_command fixed = {.code = 0};
        /* The payload of an ioctl that has none in its answer, which then has no room for it. */
        uint64_t own[64];
        _cleanup_(call_end) struct media_call call = {.payload = answer};

        rest_take(&rest, &fixed, sizeof(fixed));
        call.row = media_ioctl_find(fixed.code);
        if (!call.row)
                return -ENOTTY;
        if (!media_ioctl_writes(call.row)) {
                call.payload = own;
                room = sizeof(own);
        }

        const ssize_t whole = call_read(&call, &rest, room);
        int r = whole < 0 ? (int)whole : call_find_memory(media, &call, &rest);

        if (r == 0)
                r = media_objects_find(media, &call);
        if (r == 0)
                r = node->ops->ioctl(node, session, &call);
        if (r == 0 && call.row->payload == MEDIA_EXPORT)
                r = object_export(session, &call);
        /* The payload of controls tells which one was wrong. After other errors the driver keeps its own payload. */
        if (whole > 0 && media_ioctl_writes(call.row) && (r == 0 || call.row->payload == MEDIA_CONTROLS))
                *answered = (size_t)whole;
        return r;
}
