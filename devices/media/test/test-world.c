/* SPDX-License-Identifier: BSD-2-Clause */

/* Both sides of a media device for its unit tests, in one process and without a socket: the operations that the
 * device calls only count and answer as the test has set it, and the functions below them make commands as a driver
 * does. Events come on the device's threads, and are kept in order, under the world's lock. */

#include "devices/media/test/test-world.h"

#include "devices/media/camera/camera.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/param.h>
#include <unistd.h>

static struct oriel_memory *get_memory(void *userdata)
{
        struct world *world = userdata;

        return oriel_memory_ref(world->memory);
}

static int map(void *userdata, struct oriel_range range, int fd, enum oriel_access access)
{
        struct world *world = userdata;

        assert_true(fd >= 0);
        assert_int_equal(range.start % 4096 + range.size % 4096, 0);
        assert_true(range.start + range.size <= WORLD_WINDOW_SIZE);
        world->maps += world->map_error == 0;
        return world->map_error;
}

static int unmap(void *userdata, struct oriel_range range, bool wait)
{
        struct world *world = userdata;

        world->unmaps += world->unmap_error == 0;
        return world->unmap_error;
}

static bool put_event(void *userdata, const union media_event *event, size_t size)
{
        struct world *world = userdata;

        pthread_mutex_lock(&world->lock);

        const bool put = world->room > 0;

        if (put) {
                assert_true(world->n_events < WORLD_EVENTS_MAX);
                memcpy(&world->events[world->n_events++], event, size);
                world->room--;
                pthread_cond_broadcast(&world->more);
        }
        pthread_mutex_unlock(&world->lock);
        return put;
}

static void mark_dirty(void *userdata, struct oriel_range guest)
{
        struct world *world = userdata;

        assert_true(guest.size > 0);
        pthread_mutex_lock(&world->lock);
        world->dirty++;
        pthread_mutex_unlock(&world->lock);
}

static bool shares_objects(void *userdata)
{
        return !((struct world *)userdata)->no_objects;
}

/* The front-end may ask for it at once, which needs no lock of the media's. */
static int object_add(void *userdata, const struct media_object *object)
{
        struct world *world = userdata;
        int fd = media_get_object(world->media, object);

        assert_true(fd >= 0);
        close(fd);
        world->added += world->map_error == 0;
        return world->map_error;
}

static void object_remove(void *userdata, const struct media_object *object)
{
        struct world *world = userdata;

        assert_int_equal(media_get_object(world->media, object), -ENOENT);
        world->removed++;
}

static int object_find(void *userdata, const struct media_object *object)
{
        struct world *world = userdata;

        world->found++;
        return memcmp(object, &world->theirs, sizeof(*object)) == 0 ? dup(world->theirs_fd) : -ENOENT;
}

static const struct media_ops ops = {get_memory,     map,        unmap,         put_event,  mark_dirty,
                                     shares_objects, object_add, object_remove, object_find};

static void make_memory(struct world *world)
{
        const struct oriel_memory_region region = {WORLD_GUEST, WORLD_GUEST_SIZE, 0, 0};
        struct oriel_memory *empty;

        world->guest = mmap(NULL, WORLD_GUEST_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        assert_ptr_not_equal(world->guest, MAP_FAILED);
        assert_int_equal(oriel_memory_new(1, 0, &empty), 0);
        assert_int_equal(oriel_memory_add_mapped(empty, &region, world->guest, ORIEL_ACCESS_READ_WRITE, &world->memory),
                         0);
        oriel_memory_unref(empty);
}

void world_open(struct world *world)
{
        struct media_node *node;
        struct camera_source *source;

        assert_int_equal(pattern_new(&source), 0);
        assert_int_equal(camera_new(source, "test", 200, &node), 0);
        world_open_with(world, node);
}

void world_open_with(struct world *world, struct media_node *node)
{
        const struct media_options options = {
                .ops = &ops, .userdata = world, .window_size = WORLD_WINDOW_SIZE, .node = node, .lines = &world->lines};

        memset(world, 0, sizeof(*world));
        pthread_mutex_init(&world->lock, NULL);
        pthread_cond_init(&world->more, NULL);
        make_memory(world);
        assert_int_equal(media_new(&options, &world->media), 0);
}

void world_close(struct world *world)
{
        media_free(world->media);
        oriel_memory_unref(world->memory);
        munmap(world->guest, WORLD_GUEST_SIZE);
        pthread_mutex_destroy(&world->lock);
        pthread_cond_destroy(&world->more);
}

void world_give_room(struct world *world, unsigned buffers)
{
        pthread_mutex_lock(&world->lock);
        world->room += buffers;
        pthread_mutex_unlock(&world->lock);
        media_flush(world->media);
}

void world_await_events(struct world *world, unsigned n)
{
        pthread_mutex_lock(&world->lock);
        while (world->n_events < n)
                pthread_cond_wait(&world->more, &world->lock);
        pthread_mutex_unlock(&world->lock);
}

size_t world_command(struct world *world, const void *bytes, size_t size, size_t room)
{
        /* Allocated to size, so that a sanitizer sees reads behind it. */
        uint8_t *copy = malloc(MAX(size, (size_t)1)), *answer = malloc(MAX(room, (size_t)1));

        memcpy(copy, bytes, size);

        const size_t answered = media_handle(world->media, copy, size, answer, room);

        assert_true(answered <= room);
        memset(world->answer, 0xee, sizeof(world->answer));
        memcpy(world->answer, answer, answered);
        free(copy);
        free(answer);
        return answered;
}

uint32_t world_status(const struct world *world)
{
        return (uint32_t)world->answer[0];
}

int world_open_session(struct world *world, uint32_t *session)
{
        const struct media_command_header command = {MEDIA_OPEN, 0};

        world_command(world, &command, sizeof(command), sizeof(struct media_open_answer));
        *session = (uint32_t)world->answer[1];
        return (int)world_status(world);
}

void world_close_session(struct world *world, uint32_t session)
{
        const struct media_close command = {{MEDIA_CLOSE, 0}, session, 0};

        assert_int_equal(world_command(world, &command, sizeof(command), 0), 0);
}

int world_mmap(struct world *world, uint32_t session, uint32_t offset, uint32_t flags, uint64_t *address,
               uint64_t *size)
{
        const struct media_mmap command = {{MEDIA_MMAP, 0}, session, flags, offset};

        world_command(world, &command, sizeof(command), sizeof(struct media_mmap_answer));
        *address = world->answer[1];
        *size = world->answer[2];
        return (int)world_status(world);
}

int world_munmap(struct world *world, uint64_t address)
{
        const struct media_munmap command = {{MEDIA_MUNMAP, 0}, address};

        world_command(world, &command, sizeof(command), sizeof(struct media_answer_header));
        return (int)world_status(world);
}

int world_ioctl(struct world *world, uint32_t session, uint32_t code, void *payload, void *more, size_t more_size)
{
        const struct media_ioctl_command fixed = {{MEDIA_IOCTL, 0}, session, _IOC_NR(code)};
        const size_t size = _IOC_SIZE(code);
        uint8_t bytes[MEDIA_ANSWER_MAX * 2];
        size_t n = sizeof(fixed);

        memcpy(bytes, &fixed, n);
        if (_IOC_DIR(code) & _IOC_WRITE) {
                memcpy(bytes + n, payload, size);
                n += size;
        }
        if (more_size > 0)
                memcpy(bytes + n, more, more_size);

        const size_t answered = world_command(world, bytes, n + more_size, 8 + size + more_size);

        if (answered >= 8 + size && (_IOC_DIR(code) & _IOC_READ)) {
                memcpy(payload, (uint8_t *)world->answer + 8, size);
                if (more_size > 0)
                        memcpy(more, (uint8_t *)world->answer + 8 + size, answered - 8 - size);
        }
        return (int)world_status(world);
}

unsigned world_n_sessions(struct world *world)
{
        return world->media->n_sessions;
}

unsigned world_n_mappings(struct world *world)
{
        const struct media_mapping *mapping;
        unsigned n = 0;

        TAILQ_FOREACH(mapping, &world->media->mappings, entry)
        n++;
        return n;
}
