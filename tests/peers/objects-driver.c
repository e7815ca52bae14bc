/* SPDX-License-Identifier: BSD-2-Clause */

/* A guest with several devices that share memory by virtio objects, without a guest: each device's back-end has a
 * driver in user space, and what one of them names the others find.
 *
 *  objects-driver gpu GPU CAMERA      the camera draws into an image of the gpu's, whose window shows it
 *  objects-driver camera ONE OTHER    the other camera draws into a buffer of the first's, which is in its window
 *  objects-driver decoder ONE DECODER UNITS   the same of a decoder of H.264: its pictures are printed, as they lie
 * there. In UNITS each unit of the stream is behind its size, big endian
 *
 * That camera has a film of 64x48 in YUYV, all bytes of whose pictures are the picture's number. */

#include "clients/gpu/client.h"
#include "clients/media/client.h"
#include "media/ioctls.h"
#include "program/report.h"
#include "tests/peers/wayland-guest.h"

#include <endian.h>
#include <errno.h>
#include <oriel/socket.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
        BUFFERS = 8,
        WIDTH = 64,
        HEIGHT = 48,
        SIZE = WIDTH * HEIGHT * 2,
        TYPE = V4L2_BUF_TYPE_VIDEO_CAPTURE,
        N = 20,
        OBJECTS = 8,
        UNKNOWN = 1000
};

/* The objects that each has named. */
static struct object {
        struct media_object name;
        struct oriel_frontend *owner;
} objects[OBJECTS];

/* The devices' front-ends, by their number. */
static struct oriel_frontend *owners[2];

static struct object *object_of(const uint8_t *uuid)
{
        for (unsigned i = 0; i < OBJECTS; i++)
                if (objects[i].owner && memcmp(&objects[i].name, uuid, 16) == 0)
                        return &objects[i];
        return NULL;
}

static int object_add(void *userdata, const uint8_t uuid[16])
{
        for (unsigned i = 0; i < OBJECTS; i++) {
                if (objects[i].owner)
                        continue;
                memcpy(&objects[i].name, uuid, 16);
                objects[i].owner = *(struct oriel_frontend **)userdata;
                return 0;
        }
        return -ENOSPC;
}

static int object_remove(void *userdata, const uint8_t uuid[16])
{
        struct object *object = object_of(uuid);

        if (object)
                object->owner = NULL;
        return object ? 0 : -ENOENT;
}

static int object_find(void *userdata, const uint8_t uuid[16])
{
        const struct object *object = object_of(uuid);

        return object ? oriel_frontend_get_shared_object(object->owner, uuid) : -ENOENT;
}

static struct oriel_driver_options options_of(unsigned device)
{
        return (struct oriel_driver_options){.struct_size = sizeof(struct oriel_driver_options),
                                             .shared_object_add = object_add,
                                             .shared_object_remove = object_remove,
                                             .shared_object_lookup = object_find,
                                             .shared_object_userdata = &owners[device]};
}

/* ---- a camera ---- */

struct camera {
        struct oriel_driver *driver;
        struct media_client *client;
        uint32_t session;
        bool coded, changed;               /* a coded buffer can be filled; the source has changed */
        unsigned done;                     /* how many pictures are there, */
        union media_event events[BUFFERS]; /* and what told of them */
};

static void note_event(void *userdata, const union media_event *event)
{
        struct camera *camera = userdata;

        camera->changed |= event->header.event == MEDIA_EVENT_EVENT;
        if (event->header.event != MEDIA_EVENT_DQBUF)
                return;
        if (V4L2_TYPE_IS_OUTPUT(event->dqbuf.buffer.type)) {
                camera->coded = true;
                return;
        }
        camera->events[camera->done++ % BUFFERS] = *event;
}

static int camera_open(struct camera *camera, const char *path, unsigned device)
{
        const struct oriel_driver_options options = options_of(device);
        int r = oriel_driver_new(&options, oriel_socket_connect(path), &camera->driver);

        if (r < 0)
                return r;
        owners[device] = oriel_driver_frontend(camera->driver);
        r = media_client_new(camera->driver, note_event, camera, &camera->client);
        return r < 0 ? r : media_client_open(camera->client, &camera->session);
}

static void camera_close(struct camera *camera)
{
        media_client_free(camera->client);
        oriel_driver_free(camera->driver);
}

/* @more, which may be NULL, comes behind the payload both ways: planes, objects. */
static int camera_ioctl_with(struct camera *camera, uint32_t code, void *payload, void *more, size_t more_size)
{
        const size_t size = _IOC_SIZE(code);
        struct media_ioctl_command command = {{MEDIA_IOCTL, 0}, camera->session, _IOC_NR(code)};
        struct media_answer_header answer = {.status = 0};
        const struct media_part in[MEDIA_CLIENT_PARTS] = {{payload, size}, {more, more_size}};
        const struct media_part out[MEDIA_CLIENT_PARTS] = {{payload, _IOC_DIR(code) & _IOC_READ ? size : 0},
                                                           {more, more_size}};

        return media_client_call(camera->client, (struct media_part){&command, sizeof(command)}, in,
                                 (struct media_part){&answer, sizeof(answer)}, out, NULL);
}

static int camera_ioctl(struct camera *camera, uint32_t code, void *payload, struct media_object *object)
{
        return camera_ioctl_with(camera, code, payload, object, object ? sizeof(*object) : 0);
}

static int request(struct camera *camera, uint32_t type, uint32_t memory, uint32_t n)
{
        struct v4l2_requestbuffers wanted = {.count = n, .type = type, .memory = memory};
        int r = camera_ioctl(camera, VIDIOC_REQBUFS, &wanted, NULL);

        return r < 0 ? r : wanted.count == n ? 0 : -ENOBUFS;
}

/* A picture, room for coded data, or a change of the source. */
static int await_any(struct camera *camera)
{
        int r = 0;

        while (r == 0 && !camera->done && !camera->coded && !camera->changed) {
                r = oriel_driver_wait(camera->driver, MEDIA_EVENT_QUEUE, 20000);
                if (r == 0)
                        r = media_client_collect(camera->client);
        }
        return r;
}

static int queue(struct camera *camera, struct media_object object)
{
        const struct media_object named = object;
        struct v4l2_buffer buffer = {.type = TYPE, .memory = V4L2_MEMORY_DMABUF, .m.fd = 55};
        int r = camera_ioctl(camera, VIDIOC_QBUF, &buffer, &object);

        return r < 0 ? r : buffer.m.fd != 55 || memcmp(&object, &named, sizeof(object)) != 0 ? -EPROTO : 0;
}

/* Picture @number comes to @memory, and nothing behind it changes. */
static int picture(struct camera *camera, struct media_object object, uint8_t *memory, unsigned number)
{
        int r;

        camera->done = 0;
        memory[SIZE] = 0xaa;
        r = queue(camera, object);
        if (r == 0)
                r = await_any(camera);
        for (size_t i = 0; r == 0 && i < SIZE; i++)
                if (memory[i] != (number == UNKNOWN ? memory[0] : (uint8_t)number))
                        return -EIO;
        return r == 0 && memory[SIZE] != 0xaa ? -EIO : r;
}

/* As often as there are numbers; an object that is not there is refused, and the stream goes on. */
static int pictures(struct camera *camera, struct media_object object, uint8_t *memory)
{
        const struct media_object unknown = {{1}};
        uint32_t type = TYPE;
        int r = request(camera, TYPE, V4L2_MEMORY_DMABUF, 1);

        if (r == 0)
                r = camera_ioctl(camera, VIDIOC_STREAMON, &type, NULL);
        for (unsigned i = 0; r == 0 && i < N; i++) {
                if (queue(camera, unknown) != -EINVAL)
                        return -EPROTO;
                r = picture(camera, object, memory, i == 0 ? UNKNOWN : memory[0] + 1u);
        }
        if (r == 0)
                printf("%u pictures are there\n", N);
        return r < 0 ? r : camera_ioctl(camera, VIDIOC_STREAMOFF, &type, NULL);
}

/* ---- a gpu and a camera ---- */

enum { IMAGE_ID = 1 };

static int assign_uuid(struct guest *gpu, struct media_object *object)
{
        const struct virtio_gpu_resource_assign_uuid assign = {.hdr = {.type = VIRTIO_GPU_CMD_RESOURCE_ASSIGN_UUID},
                                                               .resource_id = IMAGE_ID};
        const struct gpu_client_command command = {
                .fixed = &assign, .fixed_size = sizeof(assign), .room = sizeof(struct virtio_gpu_resp_resource_uuid)};
        struct virtio_gpu_resp_resource_uuid answer;
        int r = gpu_client_call(guest_client(gpu), &command, &answer, sizeof(answer));

        if (r != VIRTIO_GPU_RESP_OK_RESOURCE_UUID)
                return r < 0 ? r : gpu_client_error((uint32_t)r);
        memcpy(object, answer.uuid, sizeof(*object));
        return object_of(answer.uuid) ? 0 : -EPROTO;
}

static int with_gpu(const char *gpu_path, const char *camera_path)
{
        const struct oriel_driver_options options = options_of(0);
        struct camera camera = {.driver = NULL};
        struct media_object object;
        struct guest gpu;
        int r = guest_open(&gpu, gpu_path, &options);

        if (r == 0) {
                owners[0] = oriel_driver_frontend(gpu_client_driver(guest_client(&gpu)));
                r = guest_make_image(&gpu, IMAGE_ID, WIDTH, HEIGHT);
        }
        if (r == 0)
                r = camera_open(&camera, camera_path, 1);
        if (r == 0)
                r = assign_uuid(&gpu, &object);
        if (r == 0)
                r = pictures(&camera, object, gpu.window);
        /* With the resource goes the name. */
        if (r == 0)
                r = gpu_client_unref(guest_client(&gpu), IMAGE_ID);
        if (r == 0)
                r = queue(&camera, object) == -EINVAL ? 0 : -EPROTO;
        camera_close(&camera);
        guest_close(&gpu);
        return r;
}

/* ---- two cameras ---- */

static int map_and_export(struct camera *camera, uint32_t index, struct media_object *object, uint8_t **memory)
{
        struct v4l2_buffer buffer = {.index = index, .type = TYPE, .memory = V4L2_MEMORY_MMAP};
        struct v4l2_exportbuffer export = {.type = TYPE, .index = index};
        uint64_t address, size;
        int r = camera_ioctl(camera, VIDIOC_QUERYBUF, &buffer, NULL);

        if (r == 0)
                r = media_client_mmap(camera->client, camera->session, buffer.m.offset, true, &address, &size);
        if (r == 0)
                r = camera_ioctl(camera, VIDIOC_EXPBUF, &export, object);
        if (r == 0)
                *memory = (uint8_t *)oriel_driver_window(camera->driver, MEDIA_SHMID, &size) + address;
        return r;
}

static int with_two(const char *one_path, const char *other_path)
{
        struct camera one = {.driver = NULL}, other = {.driver = NULL};
        struct media_object object;
        uint8_t *memory;
        int r = camera_open(&one, one_path, 0);

        if (r == 0)
                r = camera_open(&other, other_path, 1);
        if (r == 0)
                r = request(&one, TYPE, V4L2_MEMORY_MMAP, 1);
        if (r == 0)
                r = map_and_export(&one, 0, &object, &memory);
        if (r == 0)
                r = pictures(&other, object, memory);
        /* With the buffers go the names. */
        if (r == 0)
                r = request(&one, TYPE, V4L2_MEMORY_MMAP, 1);
        if (r == 0)
                r = queue(&other, object) == -EINVAL ? 0 : -EPROTO;
        camera_close(&other);
        camera_close(&one);
        return r;
}

/* ---- a camera and a decoder ---- */

enum { CODED = V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE, DECODED = V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE };

struct units {
        FILE *file;
        uint8_t *memory; /* of the coded buffer, the only one */
        struct v4l2_plane plane;
};

/* The next unit of the stream, if the buffer is there; after the last one the decoder is to come to an end. */
static int feed(struct camera *decoder, struct units *units)
{
        struct v4l2_buffer buffer = {.type = CODED, .memory = V4L2_MEMORY_MMAP, .length = 1};
        struct v4l2_decoder_cmd stop = {.cmd = V4L2_DEC_CMD_STOP};
        uint32_t size;

        if (!decoder->coded)
                return 0;
        decoder->coded = false;
        if (fread(&size, 1, 4, units->file) != 4)
                return camera_ioctl(decoder, VIDIOC_DECODER_CMD, &stop, NULL);
        size = be32toh(size);
        if (size > units->plane.length || fread(units->memory, 1, size, units->file) != size)
                return -EIO;
        units->plane.bytesused = size;
        return camera_ioctl_with(decoder, VIDIOC_QBUF, &buffer, &units->plane, sizeof(units->plane));
}

static int begin_stream(struct camera *decoder, struct units *units)
{
        struct v4l2_event_subscription change = {.type = V4L2_EVENT_SOURCE_CHANGE};
        struct v4l2_format format = {.type = CODED, .fmt.pix_mp = {.pixelformat = V4L2_PIX_FMT_H264, .num_planes = 1}};
        struct v4l2_buffer buffer = {.type = CODED, .memory = V4L2_MEMORY_MMAP, .length = 1};
        uint64_t address, size;
        uint32_t type = CODED;
        int r = camera_ioctl(decoder, VIDIOC_S_FMT, &format, NULL);

        if (r == 0)
                r = camera_ioctl(decoder, VIDIOC_SUBSCRIBE_EVENT, &change, NULL);
        if (r == 0)
                r = request(decoder, CODED, V4L2_MEMORY_MMAP, 1);
        if (r == 0)
                r = camera_ioctl_with(decoder, VIDIOC_QUERYBUF, &buffer, &units->plane, sizeof(units->plane));
        if (r == 0)
                r = media_client_mmap(decoder->client, decoder->session, units->plane.m.mem_offset, true, &address,
                                      &size);
        if (r < 0)
                return r;
        units->memory = (uint8_t *)oriel_driver_window(decoder->driver, MEDIA_SHMID, &size) + address;
        decoder->coded = true;
        r = camera_ioctl(decoder, VIDIOC_STREAMON, &type, NULL);
        while (r == 0 && !decoder->changed && (r = feed(decoder, units)) == 0)
                r = await_any(decoder);
        decoder->changed = false;
        return r;
}

static int queue_picture(struct camera *decoder, uint32_t index, struct media_object object)
{
        struct v4l2_buffer buffer = {.index = index, .type = DECODED, .memory = V4L2_MEMORY_DMABUF, .length = 1};
        struct {
                struct v4l2_plane plane;
                struct media_object object;
        } behind = {.object = object};

        return camera_ioctl_with(decoder, VIDIOC_QBUF, &buffer, &behind, sizeof(behind));
}

/* Each buffer has another object each time, and some of them come again. */
static int print_pictures(struct camera *decoder, struct units *units, const struct media_object *names,
                          uint8_t *const *memory)
{
        uint32_t type = DECODED, at[BUFFERS / 2];
        int r = 0;

        for (uint32_t i = 0; r == 0 && i < BUFFERS / 2; i++) {
                at[i] = i;
                r = queue_picture(decoder, i, names[i]);
        }
        if (r == 0)
                r = camera_ioctl(decoder, VIDIOC_STREAMON, &type, NULL);
        while (r == 0 && (r = feed(decoder, units)) == 0 && (r = await_any(decoder)) == 0) {
                for (unsigned i = 0; r == 0 && i < decoder->done; i++) {
                        const struct media_event_dqbuf *event = &decoder->events[i % BUFFERS].dqbuf;
                        const uint32_t index = event->buffer.index;

                        fwrite(memory[at[index]], 1, event->planes[0].bytesused, stdout);
                        if (event->buffer.flags & V4L2_BUF_FLAG_LAST)
                                return 0;
                        at[index] = (at[index] + BUFFERS / 2) % BUFFERS;
                        r = queue_picture(decoder, index, names[at[index]]);
                }
                decoder->done = 0;
        }
        return r;
}

static int with_decoder(const char *camera_path, const char *decoder_path, const char *file)
{
        struct camera camera = {.driver = NULL}, decoder = {.driver = NULL};
        struct units units = {.file = fopen(file, "r")};
        struct media_object names[BUFFERS];
        uint8_t *memory[BUFFERS];
        int r = camera_open(&camera, camera_path, 0);

        if (r == 0)
                r = camera_open(&decoder, decoder_path, 1);
        if (r == 0)
                r = request(&camera, TYPE, V4L2_MEMORY_MMAP, BUFFERS);
        for (uint32_t i = 0; r == 0 && i < BUFFERS; i++)
                r = map_and_export(&camera, i, &names[i], &memory[i]);
        if (r == 0)
                r = units.file ? begin_stream(&decoder, &units) : -errno;
        if (r == 0)
                r = request(&decoder, DECODED, V4L2_MEMORY_DMABUF, BUFFERS / 2);
        if (r == 0)
                r = print_pictures(&decoder, &units, names, memory);
        if (units.file)
                fclose(units.file);
        camera_close(&decoder);
        camera_close(&camera);
        return r;
}

int main(int argc, char **argv)
{
        const char *what = argc > 1 ? argv[1] : "";
        int r;

        if (argc == 4 && strcmp(what, "gpu") == 0)
                r = with_gpu(argv[2], argv[3]);
        else if (argc == 4 && strcmp(what, "camera") == 0)
                r = with_two(argv[2], argv[3]);
        else if (argc == 5 && strcmp(what, "decoder") == 0)
                r = with_decoder(argv[2], argv[3], argv[4]);
        else
                return fail("Usage: objects-driver gpu|camera SOCKET SOCKET, or decoder SOCKET SOCKET FILE");
        return r < 0 ? fail("%s", strerror(-r)) : STATUS_SUCCESS;
}
