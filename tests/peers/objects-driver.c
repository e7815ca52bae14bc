/* SPDX-License-Identifier: BSD-2-Clause */

/* A guest with several devices that share memory by virtio objects, without a guest: each device's back-end has a
 * driver in user space, and what one of them names the others find.
 *
 *  objects-driver gpu GPU CAMERA      the camera draws into an image of the gpu's, whose window shows it
 *  objects-driver camera ONE OTHER    the other camera draws into a buffer of the first's, which is in its window
 *
 * That camera has a film of 64x48 in YUYV, all bytes of whose pictures are the picture's number. */

#include "clients/gpu/client.h"
#include "clients/media/client.h"
#include "media/ioctls.h"
#include "program/report.h"
#include "tests/peers/wayland-guest.h"

#include <errno.h>
#include <oriel/socket.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
        WIDTH = 64,
        HEIGHT = 48,
        SIZE = WIDTH * HEIGHT * 2,
        TYPE = V4L2_BUF_TYPE_VIDEO_CAPTURE,
        N = 20,
        OBJECTS = 8,
        UNKNOWN = 1000
};

/* What each has named. */
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

        (void)userdata;
        if (object)
                object->owner = NULL;
        return object ? 0 : -ENOENT;
}

static int object_find(void *userdata, const uint8_t uuid[16])
{
        const struct object *object = object_of(uuid);

        (void)userdata;
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
        bool done; /* a buffer */
};

static void note_event(void *userdata, const union media_event *event)
{
        struct camera *camera = userdata;

        camera->done |= event->header.event == MEDIA_EVENT_DQBUF;
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

/* @object, which may be NULL, comes behind the payload both ways. */
static int camera_ioctl(struct camera *camera, uint32_t code, void *payload, struct media_object *object)
{
        const size_t size = _IOC_SIZE(code);
        struct media_ioctl_command command = {{MEDIA_IOCTL, 0}, camera->session, _IOC_NR(code)};
        struct media_answer_header answer = {.status = 0};
        const struct media_part in[MEDIA_CLIENT_PARTS] = {{payload, size}, {object, object ? sizeof(*object) : 0}};
        const struct media_part out[MEDIA_CLIENT_PARTS] = {{payload, _IOC_DIR(code) & _IOC_READ ? size : 0},
                                                           {object, object ? sizeof(*object) : 0}};

        return media_client_call(camera->client, (struct media_part){&command, sizeof(command)}, in,
                                 (struct media_part){&answer, sizeof(answer)}, out, NULL);
}

static int request(struct camera *camera, uint32_t memory)
{
        struct v4l2_requestbuffers wanted = {.count = 1, .type = TYPE, .memory = memory};

        return camera_ioctl(camera, VIDIOC_REQBUFS, &wanted, NULL);
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

        camera->done = false;
        memory[SIZE] = 0xaa;
        r = queue(camera, object);
        while (r == 0 && !camera->done) {
                r = oriel_driver_wait(camera->driver, MEDIA_EVENT_QUEUE, 20000);
                if (r == 0)
                        r = media_client_collect(camera->client);
        }
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
        int r = request(camera, V4L2_MEMORY_DMABUF);

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

static int map_and_export(struct camera *camera, struct media_object *object, uint8_t **memory)
{
        struct v4l2_buffer buffer = {.type = TYPE, .memory = V4L2_MEMORY_MMAP};
        struct v4l2_exportbuffer export = {.type = TYPE};
        uint64_t address, size;
        int r = request(camera, V4L2_MEMORY_MMAP);

        if (r == 0)
                r = camera_ioctl(camera, VIDIOC_QUERYBUF, &buffer, NULL);
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
                r = map_and_export(&one, &object, &memory);
        if (r == 0)
                r = pictures(&other, object, memory);
        /* With the buffers go the names. */
        if (r == 0)
                r = request(&one, V4L2_MEMORY_MMAP);
        if (r == 0)
                r = queue(&other, object) == -EINVAL ? 0 : -EPROTO;
        camera_close(&other);
        camera_close(&one);
        return r;
}

int main(int argc, char **argv)
{
        const bool gpu = argc == 4 && strcmp(argv[1], "gpu") == 0;

        if (argc != 4 || (!gpu && strcmp(argv[1], "camera") != 0))
                return fail("Usage: objects-driver gpu|camera SOCKET SOCKET");

        int r = gpu ? with_gpu(argv[2], argv[3]) : with_two(argv[2], argv[3]);

        return r < 0 ? fail("%s", strerror(-r)) : STATUS_SUCCESS;
}
