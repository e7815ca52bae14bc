/* SPDX-License-Identifier: BSD-2-Clause */

/* The input is what a V4L2 program asks of "oriel v4l2", and what the device answers and tells: ioctls of each kind
 * with structs of small numbers, some of them spoiled, in a memory of 64 KiB that has an end; answers of any bytes and
 * length; events of each kind. In place of the device are functions of this file, which check each command: its parts
 * are as long as the table says, and its lists lie in memory that is there. Whatever comes, nothing is left when the
 * session has gone. */

#include "base/cleanup.h"
#include "clients/media/session.h"
#include "fuzz/input.h"
#include "media/ioctls.h"

#include <errno.h>
#include <sys/param.h>
#include <unistd.h>

enum { MEMORY = 65536, ARGUMENT = 4096, POINTED = 8192, TAKEN_MOST = 1 << 20 };

static struct world {
        struct input *input;
        struct media_session *session;
        uint8_t *memory; /* the program's, at address 0 */
        unsigned taken, opened, mapped;
} world;

/* ---- the program ---- */

static int memory_read(void *userdata, void *to, uint64_t from, size_t size)
{
        if (from > MEMORY || size > MEMORY - from)
                return -EFAULT;
        memcpy(to, world.memory + from, size);
        return 0;
}

static int memory_write(void *userdata, uint64_t to, const void *from, size_t size)
{
        if (to > MEMORY || size > MEMORY - to)
                return -EFAULT;
        memcpy(world.memory + to, from, size);
        return 0;
}

/* ---- the device ---- */

static void fill_some(void *to, size_t size)
{
        const size_t n = take_choice(world.input, 4) == 0 ? take_byte(world.input) : 0;

        if (n > 0 && size > 0)
                take(world.input, to, MIN(size, n));
}

static void tell_event(void)
{
        union media_event event = {.header = {take_choice(world.input, 4), 1}};

        event.dqbuf.buffer.type = take_choice(world.input, 18);
        event.dqbuf.buffer.index = (uint32_t)take_number(world.input);
        event.dqbuf.buffer.length = (uint32_t)take_number(world.input);
        event.dqbuf.buffer.bytesused = (uint32_t)take_number(world.input);
        event.dqbuf.buffer.memory = take_choice(world.input, 5);
        event.dqbuf.buffer.flags = take_choice(world.input, 8) == 0 ? V4L2_BUF_FLAG_LAST : 0;
        for (unsigned i = 0; i < MEDIA_MAX_PLANES; i++)
                event.dqbuf.planes[i].bytesused = event.dqbuf.buffer.bytesused;
        if (event.header.event == MEDIA_EVENT_EVENT)
                fill_some(&event.event.event, sizeof(event.event.event));
        media_session_event(world.session, &event);
}

static void check_command(const struct media_ioctl *row, const struct media_part *in)
{
        const bool reads = media_ioctl_reads(row);
        ssize_t trailer = reads ? media_ioctl_trailer(row, in[0].data) : 0;
        static uint32_t sizes[MEDIA_MAX_CONTROLS];

        need(in[0].size == (reads ? media_ioctl_size(row) : 0));
        need(trailer >= 0 && in[1].size == (size_t)trailer);

        const struct media_piece *pieces = in[2].data;
        size_t n = reads ? media_ioctl_memory(row, in[0].data, in[1].data, sizes) : 0;

        need(in[2].size == n * sizeof(*pieces));
        for (size_t i = 0; i < n; i++) {
                need(pieces[i].size == sizes[i]);
                memset((void *)(uintptr_t)pieces[i].address, 0x5a, pieces[i].size);
        }
}

int media_client_call(struct media_client *client, struct media_part command, const struct media_part *in,
                      struct media_part answer, const struct media_part *out, size_t *written)
{
        const struct media_ioctl_command *asked = command.data;
        const struct media_ioctl *row = media_ioctl_find(asked->code);

        need(row && asked->header.command == MEDIA_IOCTL && asked->session == 1);
        check_command(row, in);
        need(out[0].size == (media_ioctl_writes(row) ? media_ioctl_size(row) : 0) && out[2].size == 0);
        while (take_choice(world.input, 4) == 0 && world.input->size > 0)
                tell_event();
        for (unsigned i = 0; i < 2; i++)
                fill_some(out[i].data, out[i].size);
        *written = take_choice(world.input, 8) == 0 ? 0 : out[0].size + out[1].size;
        return take_choice(world.input, 4) == 0 ? -(int)(take_choice(world.input, 100) + 1) : 0;
}

int media_client_open(struct media_client *client, uint32_t *session)
{
        *session = 1;
        if (take_choice(world.input, 16) == 1)
                return -EBUSY;
        world.opened++;
        return 0;
}

void media_client_close(struct media_client *client, uint32_t session)
{
        need(session == 1 && world.opened-- == 1);
}

int media_client_mmap(struct media_client *client, uint32_t session, uint32_t offset, bool writable, uint64_t *address,
                      uint64_t *size)
{
        need(session == 1);
        *address = take_number(world.input);
        *size = take_number(world.input);
        if (take_choice(world.input, 4) == 1)
                return -EINVAL;
        world.mapped++;
        return 0;
}

void media_client_munmap(struct media_client *client, uint64_t address)
{
        need(world.mapped-- > 0);
}

const struct media_config *media_client_config(const struct media_client *client)
{
        static struct media_config config;

        fill_some(&config, sizeof(config));
        return &config;
}

struct oriel_driver *media_client_driver(const struct media_client *client)
{
        return NULL;
}

void *media_client_take(struct media_client *client, size_t size)
{
        void *memory = size <= TAKEN_MOST ? malloc(size) : NULL;

        world.taken += memory != NULL;
        return memory;
}

void media_client_give(struct media_client *client, void *memory, size_t size)
{
        world.taken -= memory != NULL;
        free(memory);
}

int oriel_driver_address(const struct oriel_driver *driver, const void *host, size_t size, uint64_t *out)
{
        *out = (uintptr_t)host;
        return 0;
}

/* No window: what is mapped has no file. */
struct oriel_region *oriel_driver_region(const struct oriel_driver *driver, uint8_t shmid)
{
        need(shmid == MEDIA_SHMID);
        return NULL;
}

/* ---- what happens ---- */

static void make_planes(struct v4l2_buffer *buffer)
{
        struct v4l2_plane planes[MEDIA_MAX_PLANES] = {{.length = 0}};

        buffer->index = take_choice(world.input, 40);
        buffer->type = take_choice(world.input, 18);
        buffer->memory = take_choice(world.input, 5);
        buffer->length = (uint32_t)take_number(world.input);
        buffer->m.userptr = take_number(world.input);
        for (unsigned i = 0; i < MEDIA_MAX_PLANES; i++) {
                planes[i].length = (uint32_t)take_number(world.input);
                planes[i].m.userptr = take_number(world.input);
        }
        if (V4L2_TYPE_IS_MULTIPLANAR(buffer->type) && take_choice(world.input, 8) != 1)
                buffer->m.planes = (void *)POINTED;
        memcpy(world.memory + POINTED, planes, sizeof(planes));
}

static void make_controls(struct v4l2_ext_controls *controls)
{
        struct v4l2_ext_control control[8] = {{.id = 0}};

        controls->count = (uint32_t)take_number(world.input);
        controls->controls = (void *)POINTED;
        for (unsigned i = 0; i < ARRAY_SIZE(control); i++) {
                control[i].size = (uint32_t)take_number(world.input);
                control[i].ptr = (void *)(uintptr_t)take_number(world.input);
        }
        memcpy(world.memory + POINTED, control, sizeof(control));
}

static void do_ioctl(void)
{
        static const uint32_t own[] = {VIDIOC_DQBUF, VIDIOC_DQEVENT, VIDIOC_QUERYCAP, VIDIOC_EXPBUF};
        const struct media_program program = {memory_read, memory_write, NULL};
        const unsigned choice = take_choice(world.input, 128);
        const struct media_ioctl *row = media_ioctl_find(choice);
        const uint32_t code = row ? row->code : own[choice % ARRAY_SIZE(own)];
        uint64_t argument = take_choice(world.input, 16) == 1 ? take_number(world.input) : ARGUMENT;

        memset(world.memory + ARGUMENT, 0, 256);
        if ((row && row->payload == MEDIA_BUFFER) || code == VIDIOC_DQBUF)
                make_planes((void *)(world.memory + ARGUMENT));
        else if (row && row->payload == MEDIA_CONTROLS)
                make_controls((void *)(world.memory + ARGUMENT));
        else
                for (unsigned i = 0; i < 4; i++)
                        world.memory[ARGUMENT + 4 * i] = (uint8_t)take_choice(world.input, 18);
        fill_some(world.memory + ARGUMENT, 256);

        int r = media_session_ioctl(world.session, &program, code, argument);

        need(r <= 0);
        if (r == 0 && take_choice(world.input, 8) == 1)
                media_session_put_back(world.session);
}

static void do_mmap(void)
{
        uint64_t offset = take_number(world.input), size = take_number(world.input), fd_offset, address;
        int fd;

        need(media_session_mmap(world.session, offset, size, true, &fd, &fd_offset, &address) < 0);
        need(world.mapped == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct input input = {data, size};

        world = (struct world){.input = &input, .memory = calloc(1, MEMORY)};
        need(world.memory);
        while (input.size > 0) {
                if (!world.session && media_session_new(NULL, &world.session) < 0)
                        continue;
                switch (take_choice(&input, 8)) {
                case 0:
                        tell_event();
                        break;
                case 1:
                        do_mmap();
                        break;
                case 2:
                        if (take_choice(&input, 16) == 1) {
                                media_session_free(steal(world.session));
                                need(world.taken == 0 && world.opened == 0);
                        }
                        break;
                default:
                        do_ioctl();
                }
                if (world.session)
                        need(media_session_ready(world.session) <= 15);
        }
        media_session_free(world.session);
        need(world.taken == 0 && world.opened == 0);
        free(world.memory);
        return 0;
}
