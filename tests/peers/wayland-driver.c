/* SPDX-License-Identifier: BSD-2-Clause */

/* A guest's Wayland client without a guest: wayland-driver SOCKET begins a cross-domain context, draws an image through
 * the window and sends it, reads a file that it is sent in return through the window, and copies what comes by a pipe
 * and by another one back. Each thing that it gets is a line. */

#include "base/cleanup.h"
#include "clients/gpu/client.h"
#include "devices/gpu/crossdomain/wire.h"
#include "program/report.h"

#include <errno.h>
#include <oriel/socket.h>
#include <stdio.h>
#include <string.h>

#define FEATURES                                                                         \
        (ORIEL_FEATURE(VIRTIO_GPU_F_VIRGL) | ORIEL_FEATURE(VIRTIO_GPU_F_RESOURCE_UUID) | \
         ORIEL_FEATURE(VIRTIO_GPU_F_RESOURCE_BLOB) | ORIEL_FEATURE(VIRTIO_GPU_F_CONTEXT_INIT))
#define CONTEXT 1
#define XR24    0x34325258U
#define PIPE    CROSS_READ_PIPE_START

enum { QUERY_ID = 10, CHANNEL_ID, IMAGE_ID, FILE_ID };
enum { FILE_AT = 1 << 20 };

struct guest {
        struct gpu_client *client;
        const struct cross_image_requirements *image;
        const union cross_message *message;
        uint8_t *window;
        uint64_t last_fence;
};

static int make_ring(struct guest *guest, uint32_t id, const void **out)
{
        void *memory = oriel_driver_alloc(gpu_client_driver(guest->client), CROSS_RING_SIZE);
        int r = memory ? gpu_client_create_guest_blob(guest->client, 0, id, memory, CROSS_RING_SIZE) : -ENOMEM;

        *out = memory;
        return r < 0 ? r : gpu_client_attach(guest->client, CONTEXT, id);
}

static int begin(struct guest *guest)
{
        const struct cross_init init = {.header = {.command = CROSS_INIT, .size = sizeof(init)},
                                        .ring_ids = {QUERY_ID, CHANNEL_ID},
                                        .channel_type = CROSS_CHANNEL_WAYLAND};
        uint64_t size;
        int r = gpu_client_create_context(guest->client, CONTEXT, 5, "wayland-driver");

        guest->window = oriel_driver_window(gpu_client_driver(guest->client), VIRTIO_GPU_SHM_ID_HOST_VISIBLE, &size);
        if (r == 0)
                r = make_ring(guest, QUERY_ID, (const void **)&guest->image);
        if (r == 0)
                r = make_ring(guest, CHANNEL_ID, (const void **)&guest->message);
        return r < 0 ? r : gpu_client_submit(guest->client, CONTEXT, &init, sizeof(init));
}

/* Until there is a message in the ring. */
static int await_message(struct guest *guest)
{
        const struct cross_header poll = {.command = CROSS_POLL, .size = sizeof(poll)};
        const struct virtio_gpu_cmd_submit submit = {
                .hdr = {.type = VIRTIO_GPU_CMD_SUBMIT_3D,
                        .ctx_id = CONTEXT,
                        .flags = VIRTIO_GPU_FLAG_FENCE | VIRTIO_GPU_FLAG_INFO_RING_IDX,
                        .ring_idx = CROSS_CHANNEL_RING,
                        .fence_id = ++guest->last_fence},
                .size = sizeof(poll)};
        const struct gpu_client_command command = {
                .fixed = &submit, .fixed_size = sizeof(submit), .payload = &poll, .payload_size = sizeof(poll)};
        struct virtio_gpu_ctrl_hdr answer;
        int r = gpu_client_call(guest->client, &command, &answer, sizeof(answer));

        return r < 0 ? r : r == VIRTIO_GPU_RESP_OK_NODATA ? 0 : gpu_client_error((uint32_t)r);
}

static int send_id(struct guest *guest, const char *text, uint32_t type, uint32_t id)
{
        struct {
                struct cross_send_receive head;
                char text[64];
        } send = {.head = {.header = {.command = CROSS_SEND, .size = sizeof(send)},
                           .n_ids = 1,
                           .data_size = (uint32_t)strlen(text),
                           .ids = {id},
                           .types = {type}}};

        memcpy(send.text, text, strlen(text));
        return gpu_client_submit(guest->client, CONTEXT, &send, sizeof(send));
}

static int send_image(struct guest *guest)
{
        const struct cross_get_image_requirements get = {
                .header = {.command = CROSS_GET_IMAGE_REQUIREMENTS, .size = sizeof(get)},
                .width = 64,
                .height = 64,
                .format = XR24};
        int r = gpu_client_submit(guest->client, CONTEXT, &get, sizeof(get));

        if (r == 0)
                r = gpu_client_create_blob(guest->client, CONTEXT, IMAGE_ID, guest->image->blob_id, guest->image->size);
        if (r == 0)
                r = gpu_client_map(guest->client, IMAGE_ID, 0, NULL);
        if (r == 0)
                r = gpu_client_attach(guest->client, CONTEXT, IMAGE_ID);
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
        int r = await_message(guest);

        if (r < 0)
                return r;
        printf("received %.*s, %u and %u\n", (int)head->data_size, (const char *)guest->message->receive.data,
               head->types[0], head->types[1]);
        r = gpu_client_create_blob(guest->client, CONTEXT, FILE_ID, head->ids[0], CROSS_RING_SIZE);
        if (r == 0)
                r = gpu_client_map(guest->client, FILE_ID, FILE_AT, NULL);
        if (r < 0)
                return r;
        printf("file of %u: %.*s\n", head->sizes[0], (int)head->sizes[0], (const char *)guest->window + FILE_AT);
        return gpu_client_unmap(guest->client, FILE_ID);
}

static int copy_pipe(struct guest *guest, uint32_t to)
{
        struct {
                struct cross_read_write head;
                uint8_t data[sizeof(guest->message->read.data)];
        } write = {.head = {.hang_up = 0}};
        uint64_t bytes = 0;
        int r = send_id(guest, "pipe", CROSS_ID_READ_PIPE, PIPE);

        while (r == 0 && !write.head.hang_up) {
                r = await_message(guest);
                if (r < 0)
                        return r;
                if (guest->message->read.head.header.command != CROSS_READ)
                        return -EPROTO;
                write.head = guest->message->read.head;
                write.head.header = (struct cross_header){
                        .command = CROSS_WRITE, .size = (uint16_t)(sizeof(write.head) + write.head.data_size)};
                write.head.id = to;
                memcpy(write.data, guest->message->read.data, write.head.data_size);
                bytes += write.head.data_size;
                r = gpu_client_submit(guest->client, CONTEXT, &write, write.head.header.size);
        }
        printf("copied %u\n", (unsigned)bytes);
        return r;
}

static int talk(struct guest *guest)
{
        int r = begin(guest);

        if (r == 0)
                r = send_image(guest);
        if (r == 0)
                r = receive_file(guest);
        if (r == 0)
                r = copy_pipe(guest, guest->message->receive.head.ids[1]);
        if (r == 0)
                r = await_message(guest);
        if (r == 0)
                printf("the end: %u\n", guest->message->receive.head.data_size);
        return r;
}

int main(int argc, char **argv)
{
        const struct oriel_log log = stderr_log(0);
        const struct oriel_driver_options options = {.struct_size = sizeof(options), .log = &log, .features = FEATURES};
        struct oriel_driver *driver = NULL;
        struct guest guest = {.client = NULL};

        if (argc != 2)
                return fail("Usage: wayland-driver SOCKET");

        int r = oriel_driver_new(&options, oriel_socket_connect(argv[1]), &driver);

        if (r == 0)
                r = gpu_client_new(driver, &guest.client);
        if (r == 0)
                r = talk(&guest);
        gpu_client_free(guest.client);
        oriel_driver_free(driver);
        return r < 0 ? fail("%s: %s", argv[1], strerror(-r)) : STATUS_SUCCESS;
}
