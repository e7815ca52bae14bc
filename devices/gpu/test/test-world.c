/* SPDX-License-Identifier: BSD-2-Clause */

/* The surroundings of a gpu in tests: guest memory, a front-end that records requests, and each command as a
 * function. */

#include "devices/gpu/test/test-world.h"

#include "base/cleanup.h"
#include "base/clock.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static struct oriel_memory *world_memory(void *userdata)
{
        struct world *world = userdata;

        return oriel_memory_ref(world->memory);
}

static int note_request(struct world *world, bool map, struct oriel_range range, int fd, enum oriel_access access,
                        uint64_t *ticket)
{
        struct world_request request = {.map = map, .range = range, .forgotten = !ticket, .access = access};
        struct stat attributes = {.st_ino = 0};

        if (world->submit_error)
                return world->submit_error;
        assert_true(world->n_requests < REQUESTS_MAX);
        if (map) {
                assert_int_equal(fstat(fd, &attributes), 0);
                request.inode = attributes.st_ino;
                request.size = (uint64_t)attributes.st_size;
                assert_true(pread(fd, request.begin, sizeof(request.begin), 0) >= 0);
        }
        world->requests[world->n_requests++] = request;
        if (ticket)
                *ticket = world->n_requests;
        return 0;
}

static int world_ask_map(void *userdata, struct oriel_range range, int fd, enum oriel_access access, uint64_t *ticket)
{
        return note_request(userdata, true, range, fd, access, ticket);
}

static int world_ask_unmap(void *userdata, struct oriel_range range, uint64_t *ticket)
{
        return note_request(userdata, false, range, -1, ORIEL_ACCESS_NONE, ticket);
}

static int world_object_add(void *userdata, const uint8_t uuid[16], uint64_t *ticket)
{
        struct world *world = userdata;

        /* A front-end may ask while the command waits for it. */
        assert_int_equal(gpu_get_object(world->gpu, uuid), -ENOENT);
        if (world->submit_error)
                return world->submit_error;
        world->added++;
        *ticket = ++world->n_requests;
        return 0;
}

static void world_object_remove(void *userdata, const uint8_t uuid[16])
{
        struct world *world = userdata;

        world->removed++;
}

static int world_wait(void *userdata, uint64_t ticket)
{
        struct world *world = userdata;

        assert_true(ticket > 0 && ticket <= world->n_requests);
        return world->answer;
}

static void world_complete(void *userdata, struct gpu_token token, const void *answer, size_t size)
{
        struct world *world = userdata;
        struct virtio_gpu_resp_map_info info = {.map_info = 0};

        assert_true(size >= sizeof(info.hdr) && size <= sizeof(struct virtio_gpu_resp_edid));
        assert_true(world->n_done < DONE_MAX);
        memcpy(&info, answer, size < sizeof(info) ? size : sizeof(info));

        struct world_done *done = &world->done[world->n_done];

        pthread_mutex_lock(&world->lock);
        *done = (struct world_done){(uintptr_t)token.chain, info.hdr.type, info.hdr.flags,
                                    info.hdr.fence_id,      info.map_info, {0}};
        memcpy(done->answer, answer, size);
        world->n_done++;
        pthread_cond_broadcast(&world->more);
        pthread_mutex_unlock(&world->lock);
}

bool world_await(struct world *world, unsigned n, unsigned ms)
{
        int64_t end = now_ms() + ms;
        const struct timespec deadline = {end / 1000, end % 1000 * 1000000};
        int r = 0;

        pthread_mutex_lock(&world->lock);
        while (r == 0 && world->n_done < n)
                r = pthread_cond_clockwait(&world->more, &world->lock, CLOCK_MONOTONIC, &deadline);
        pthread_mutex_unlock(&world->lock);
        return r == 0;
}

static void world_mark_dirty(void *userdata, struct oriel_range guest)
{
        struct world *world = userdata;

        pthread_mutex_lock(&world->lock);
        world->dirty++;
        pthread_mutex_unlock(&world->lock);
}

static void world_config_changed(void *userdata)
{
        struct world *world = userdata;

        pthread_mutex_lock(&world->lock);
        world->n_events++;
        pthread_mutex_unlock(&world->lock);
}

static unsigned read_locked(struct world *world, const unsigned *n)
{
        pthread_mutex_lock(&world->lock);

        unsigned now = *n;

        pthread_mutex_unlock(&world->lock);
        return now;
}

unsigned world_n_done(struct world *world)
{
        return read_locked(world, &world->n_done);
}

unsigned world_n_events(struct world *world)
{
        return read_locked(world, &world->n_events);
}

static const struct gpu_ops world_ops = {
        .memory = world_memory,
        .map = world_ask_map,
        .unmap = world_ask_unmap,
        .wait = world_wait,
        .object_add = world_object_add,
        .object_remove = world_object_remove,
        .complete = world_complete,
        .mark_dirty = world_mark_dirty,
        .config_changed = world_config_changed,
};

static void make_memory(struct world *world)
{
        struct oriel_memory *tables[3];

        assert_int_equal(oriel_memory_new(2, 0, &tables[0]), 0);
        for (unsigned i = 0; i < 2; i++) {
                const struct oriel_memory_region region = {GUEST + i * GUEST_SIZE, GUEST_SIZE, i * GUEST_SIZE, 0};

                world->host[i] = mmap(NULL, GUEST_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                assert_ptr_not_equal(world->host[i], MAP_FAILED);
                assert_int_equal(oriel_memory_add_mapped(tables[i], &region, world->host[i], ORIEL_ACCESS_READ_WRITE,
                                                         &tables[i + 1]),
                                 0);
                oriel_memory_unref(tables[i]);
        }
        world->memory = tables[2];
}

void world_open(struct world *world, const struct world_options *options)
{
        struct gpu_options gpu = {
                .ops = &world_ops,
                .userdata = world,
                .window_size = WINDOW_SIZE,
                .outputs = options->outputs,
                .width = 640,
                .height = 480,
        };

        *world = (struct world){.next_chain = 1};
        pthread_mutex_init(&world->lock, NULL);
        pthread_cond_init(&world->more, NULL);
        make_memory(world);
        if (!options->no_renderer)
                gpu.renderers[0] = world->fake = fake_new();
        gpu.renderers[options->no_renderer ? 0 : 1] = options->second;
        assert_int_equal(gpu_new(&gpu, &world->gpu), 0);
        gpu_set_features(world->gpu, gpu_features(world->gpu));
        if (options->sink)
                assert_int_equal(gpu_add_sink(world->gpu, options->sink), 0);
}

void world_close(struct world *world)
{
        gpu_free(world->gpu);
        pthread_mutex_destroy(&world->lock);
        pthread_cond_destroy(&world->more);
        for (unsigned i = 0; i < 2; i++)
                munmap(world->host[i], GUEST_SIZE);
        oriel_memory_unref(world->memory);
}

void *world_at(struct world *world, uint64_t address)
{
        uint64_t offset = address - GUEST;

        return world->host[offset / GUEST_SIZE] + offset % GUEST_SIZE;
}

static uint32_t handle(struct world *world, enum gpu_queue queue, const void *command, size_t size, void *answer,
                       size_t room)
{
        const struct gpu_token token = {world, (void *)world->next_chain++};
        uint8_t whole[GPU_ANSWER_MAX];
        struct virtio_gpu_ctrl_hdr header;
        ssize_t r = gpu_handle(world->gpu, queue, command, size, whole, room, token);

        if (r == -EINPROGRESS)
                return 0;
        assert_true(r == 0 || ((size_t)r >= sizeof(header) && (size_t)r <= room));
        if (r == 0)
                return 0;
        memcpy(&header, whole, sizeof(header));
        if (answer)
                memcpy(answer, whole, (size_t)r);
        return header.type;
}

uint32_t world_command(struct world *world, const void *command, size_t size, void *answer, size_t room)
{
        return handle(world, GPU_CONTROL_QUEUE, command, size, answer, room);
}

uint32_t world_cursor(struct world *world, const void *command, size_t size, size_t room)
{
        return handle(world, GPU_CURSOR_QUEUE, command, size, NULL, room);
}

uint32_t world_create_context(struct world *world, uint32_t id, const char *name)
{
        return world_create_context_of(world, id, FAKE_CAPSET, name);
}

uint32_t world_create_context_of(struct world *world, uint32_t id, uint32_t capset_id, const char *name)
{
        struct virtio_gpu_ctx_create create = {
                .hdr = {.type = VIRTIO_GPU_CMD_CTX_CREATE, .ctx_id = id},
                .nlen = (uint32_t)strlen(name),
                .context_init = capset_id,
        };

        memcpy(create.debug_name, name, strlen(name));
        return DO(world, create);
}

uint32_t world_attach(struct world *world, uint32_t context_id, uint32_t id)
{
        const struct virtio_gpu_ctx_resource attach = {
                .hdr = {.type = VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, .ctx_id = context_id}, .resource_id = id};

        return DO(world, attach);
}

uint32_t world_create_blob(struct world *world, uint32_t context_id, uint32_t id, uint64_t blob_id, uint64_t size)
{
        const struct virtio_gpu_resource_create_blob create = {
                .hdr = {.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB, .ctx_id = context_id},
                .resource_id = id,
                .blob_mem = VIRTIO_GPU_BLOB_MEM_HOST3D,
                .blob_flags = VIRTIO_GPU_BLOB_FLAG_USE_MAPPABLE,
                .blob_id = blob_id,
                .size = size,
        };

        return DO(world, create);
}

uint32_t world_create_guest_blob(struct world *world, uint32_t context_id, uint32_t id, uint64_t address,
                                 uint32_t length, uint64_t size)
{
        const struct {
                struct virtio_gpu_resource_create_blob create;
                struct virtio_gpu_mem_entry entry;
        } command = {
                .create =
                        {
                                .hdr = {.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB, .ctx_id = context_id},
                                .resource_id = id,
                                .blob_mem = VIRTIO_GPU_BLOB_MEM_GUEST,
                                .nr_entries = 1,
                                .size = size,
                        },
                .entry = {address, length, 0},
        };

        return DO(world, command);
}

/* The type of the last completed answer, after the front-end has answered. */
static uint32_t settle(struct world *world, uint32_t type)
{
        unsigned before = world->n_done;

        if (type)
                return type;
        gpu_await_mappings(world->gpu);
        return world->n_done > before ? world->done[world->n_done - 1].type : 0;
}

uint32_t world_map(struct world *world, uint32_t id, uint64_t offset)
{
        const struct virtio_gpu_resource_map_blob map = {
                .hdr = {.type = VIRTIO_GPU_CMD_RESOURCE_MAP_BLOB}, .resource_id = id, .offset = offset};
        struct virtio_gpu_resp_map_info info;

        return settle(world, world_command(world, &map, sizeof(map), &info, sizeof(info)));
}

uint32_t world_unmap(struct world *world, uint32_t id)
{
        const struct virtio_gpu_resource_unmap_blob unmap = {.hdr = {.type = VIRTIO_GPU_CMD_RESOURCE_UNMAP_BLOB},
                                                             .resource_id = id};

        return settle(world, DO(world, unmap));
}

uint32_t world_unref(struct world *world, uint32_t id)
{
        const struct virtio_gpu_resource_unref unref = {.hdr = {.type = VIRTIO_GPU_CMD_RESOURCE_UNREF},
                                                        .resource_id = id};

        return DO(world, unref);
}

uint32_t world_create_image(struct world *world, uint32_t id, uint32_t format, uint32_t width, uint32_t height)
{
        const struct virtio_gpu_resource_create_2d create = {.hdr = {.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_2D},
                                                             .resource_id = id,
                                                             .format = format,
                                                             .width = width,
                                                             .height = height};

        return DO(world, create);
}

uint32_t world_attach_backing(struct world *world, uint32_t id, uint64_t address, uint32_t length)
{
        const struct {
                struct virtio_gpu_resource_attach_backing attach;
                struct virtio_gpu_mem_entry entry;
        } command = {{.hdr = {.type = VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING}, .resource_id = id, .nr_entries = 1},
                     {address, length, 0}};

        return DO(world, command);
}

uint32_t world_transfer(struct world *world, uint32_t id, struct virtio_gpu_rect rect, uint64_t offset)
{
        const struct virtio_gpu_transfer_to_host_2d command = {
                .hdr = {.type = VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D}, .r = rect, .offset = offset, .resource_id = id};

        return DO(world, command);
}

uint32_t world_set_scanout(struct world *world, uint32_t output, uint32_t id, struct virtio_gpu_rect rect)
{
        const struct virtio_gpu_set_scanout command = {
                .hdr = {.type = VIRTIO_GPU_CMD_SET_SCANOUT}, .r = rect, .scanout_id = output, .resource_id = id};

        return DO(world, command);
}

uint32_t world_flush(struct world *world, uint32_t id, struct virtio_gpu_rect rect)
{
        const struct virtio_gpu_resource_flush command = {
                .hdr = {.type = VIRTIO_GPU_CMD_RESOURCE_FLUSH}, .r = rect, .resource_id = id};

        return DO(world, command);
}
