/* SPDX-License-Identifier: BSD-2-Clause */

/* A guest's Wayland client without a guest: wayland-driver SOCKET begins a cross-domain context, draws an image through
 * the window and sends it, reads a file that it is sent in return through the window, and copies what comes by a pipe
 * and by another one back. Each thing that it gets is a line. */

#include "program/report.h"
#include "tests/peers/wayland-guest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { IMAGE_ID = 1, FILE_ID };
enum { FILE_AT = 1 << 20 };

static int send_id(struct guest *guest, const char *text, uint32_t type, uint32_t id)
{
        return guest_send(guest, text, strlen(text), &id, &type, 1);
}

static int send_image(struct guest *guest)
{
        int r = guest_make_image(guest, IMAGE_ID, 64, 64);

        if (r < 0)
                return r;
        printf("image of %u, %u a row\n", (unsigned)guest->image->size, guest->image->strides[0]);
        memset(guest->window, 'g', guest->image->size);
        return send_id(guest, "image", CROSS_ID_BLOB, IMAGE_ID);
}

/* A file and a pipe: the first is shown, the second told. */
static int receive_file(struct guest *guest)
{
        const struct cross_send_receive *head = &guest->message->receive.head;
        int r = guest_await(guest);

        if (r < 0)
                return r;
        printf("received %.*s, %u and %u\n", (int)head->data_size, (const char *)guest->message->receive.data,
               head->types[0], head->types[1]);
        r = guest_map_received(guest, FILE_ID, head->ids[0], head->sizes[0], FILE_AT);
        if (r < 0)
                return r;
        printf("file of %u: %.*s\n", head->sizes[0], (int)head->sizes[0], (const char *)guest->window + FILE_AT);
        return guest_unmap(guest, FILE_ID);
}

static int copy_pipe(struct guest *guest, uint32_t to)
{
        const struct cross_read_write *head = &guest->message->read.head;
        uint64_t bytes = 0;
        bool ends = false;
        int r = send_id(guest, "pipe", CROSS_ID_READ_PIPE, GUEST_PIPE);

        while (r == 0 && !ends) {
                r = guest_await(guest);
                if (r < 0)
                        return r;
                if (head->header.command != CROSS_READ)
                        return -EPROTO;
                bytes += head->data_size;
                ends = head->hang_up;
                r = guest_write(guest, to, guest->message->read.data, head->data_size, ends);
        }
        printf("copied %u\n", (unsigned)bytes);
        return r;
}

static int talk(struct guest *guest)
{
        int r = send_image(guest);

        if (r == 0)
                r = receive_file(guest);
        if (r == 0)
                r = copy_pipe(guest, guest->message->receive.head.ids[1]);
        if (r == 0)
                r = guest_await(guest);
        if (r == 0)
                printf("the end: %u\n", guest->message->receive.head.data_size);
        return r;
}

int main(int argc, char **argv)
{
        struct guest guest;

        if (argc != 2)
                return fail("Usage: wayland-driver SOCKET");

        int r = guest_open(&guest, argv[1], NULL);

        if (r == 0)
                r = talk(&guest);
        guest_close(&guest);
        return r < 0 ? fail("%s: %s", argv[1], strerror(-r)) : STATUS_SUCCESS;
}
