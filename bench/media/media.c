/* SPDX-License-Identifier: BSD-2-Clause */

/* oriel bench media: pictures of an oriel-media of its own (--source=pattern), as fast as they come, read in the window
 * (two bytes of each), compared with a memcpy of each, as a client without a window would need. The two alternate in
 * one stream. The time that the device itself takes to draw a picture is shown separately.
 *
 * With --device the pictures are those of a V4L2 device, by its node and by an oriel-media that passes it on, whose
 * streams take turns, since a device has only one at a time. */

#include "bench/common/bench.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "clients/media/session.h"
#include "program/report.h"
#include "program/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <json.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { BUFFERS = 4, SAMPLES = 400, BLOCK = 20, TYPE = V4L2_BUF_TYPE_VIDEO_CAPTURE };

static const struct size {
        uint32_t width, height;
} sizes[] = {{640, 480}, {1920, 1080}, {3840, 2160}};

enum way { WINDOW, COPY, WAYS };
static const char *const way_names[WAYS] = {"window", "copy"};

struct media_bench {
        int node; /* the device's file, used instead of the session; -1: none */
        pid_t pid;
        struct oriel_driver *driver;
        struct media_client *client;
        struct media_session *session;
        uint8_t *buffers[BUFFERS];
        uint64_t places[BUFFERS];
        uint32_t size;
        uint8_t *copy;
        unsigned sum; /* of the bytes read, so that the reads are not optimized away */
        double latency_us[SAMPLES];
};

struct media_result {
        double cpu_us[WAYS]; /* of this process, for each picture */
        double device_us, fps, latency_us;
};

/* ---- this process is also the program that makes the ioctls ---- */

static int read_own(void *userdata, void *to, uint64_t from, size_t size)
{
        memcpy(to, (const void *)(uintptr_t)from, size);
        return 0;
}

static int write_own(void *userdata, uint64_t to, const void *from, size_t size)
{
        memcpy((void *)(uintptr_t)to, from, size);
        return 0;
}

/* Like ioctl(2), including its wait. */
static int do_ioctl(struct media_bench *bench, unsigned long code, void *argument)
{
        const struct media_program program = {read_own, write_own, NULL};
        int r;

        if (bench->node >= 0)
                return ioctl(bench->node, code, argument) < 0 ? -errno : 0;
        while ((r = media_session_ioctl(bench->session, &program, (uint32_t)code, (uintptr_t)argument)) == -EAGAIN) {
                r = oriel_driver_wait(bench->driver, MEDIA_EVENT_QUEUE, 10000);
                if (r == 0)
                        r = media_client_collect(bench->client);
                if (r < 0)
                        return r;
        }
        return r;
}

static void take_event(void *userdata, const union media_event *event)
{
        struct media_bench *bench = userdata;

        media_session_event(bench->session, event);
}

/* ---- a stream ---- */

/* NULL: the device's own size. */
static int set_format(struct media_bench *bench, const struct size *size)
{
        struct v4l2_format format = {.type = TYPE};

        if (!size) {
                const int r = do_ioctl(bench, VIDIOC_G_FMT, &format);

                bench->size = format.fmt.pix.sizeimage;
                return r;
        }
        format.fmt.pix.width = size->width;
        format.fmt.pix.height = size->height;
        format.fmt.pix.pixelformat = V4L2_PIX_FMT_YUV420;
        format.fmt.pix.field = V4L2_FIELD_NONE;

        int r = do_ioctl(bench, VIDIOC_S_FMT, &format);

        if (r == 0 && (format.fmt.pix.width != size->width || format.fmt.pix.height != size->height))
                return -ERANGE;
        bench->size = format.fmt.pix.sizeimage;
        return r;
}

static int bench_media_map_buffer(struct media_bench *bench, uint32_t index)
{
        struct v4l2_buffer buffer = {.index = index, .type = TYPE, .memory = V4L2_MEMORY_MMAP};
        int r = do_ioctl(bench, VIDIOC_QUERYBUF, &buffer), fd = bench->node;
        uint64_t fd_offset = buffer.m.offset;

        if (r == 0 && bench->node < 0)
                r = media_session_mmap(bench->session, buffer.m.offset, buffer.length, false, &fd, &fd_offset,
                                       &bench->places[index]);
        if (r < 0)
                return r;
        bench->buffers[index] = mmap(NULL, buffer.length, PROT_READ, MAP_SHARED, fd, (off_t)fd_offset);
        if (bench->node < 0)
                fd_close(fd);
        return bench->buffers[index] == MAP_FAILED ? -errno : do_ioctl(bench, VIDIOC_QBUF, &buffer);
}

static int bench_stream_begin(struct media_bench *bench, const struct size *size)
{
        struct v4l2_requestbuffers request = {.count = BUFFERS, .type = TYPE, .memory = V4L2_MEMORY_MMAP};
        int r = set_format(bench, size), type = TYPE;

        if (r == 0)
                r = do_ioctl(bench, VIDIOC_REQBUFS, &request);
        for (uint32_t i = 0; r == 0 && i < BUFFERS; i++)
                r = bench_media_map_buffer(bench, i);
        bench->copy = malloc(bench->size);
        if (!bench->copy)
                return -ENOMEM;
        memset(bench->copy, 0, bench->size);
        return r == 0 ? do_ioctl(bench, VIDIOC_STREAMON, &type) : r;
}

static int bench_stream_end(struct media_bench *bench)
{
        struct v4l2_requestbuffers none = {.type = TYPE, .memory = V4L2_MEMORY_MMAP};
        int type = TYPE, r = do_ioctl(bench, VIDIOC_STREAMOFF, &type);

        for (unsigned i = 0; i < BUFFERS; i++) {
                munmap(bench->buffers[i], bench->size);
                if (bench->node < 0)
                        media_client_munmap(bench->client, bench->places[i]);
        }
        free(steal(bench->copy));
        return r == 0 ? do_ioctl(bench, VIDIOC_REQBUFS, &none) : r;
}

static int64_t cpu_ns(pid_t pid)
{
        struct timespec ts = {0};
        clockid_t clock;

        if (clock_getcpuclockid(pid, &clock) == 0)
                clock_gettime(clock, &ts);
        return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

static int take_picture(struct media_bench *bench, enum way way, double *latency_us)
{
        struct v4l2_buffer buffer = {.type = TYPE, .memory = V4L2_MEMORY_MMAP};
        int r = do_ioctl(bench, VIDIOC_DQBUF, &buffer);

        if (r < 0)
                return r;
        *latency_us =
                (double)now_ns() / 1000 - (double)buffer.timestamp.tv_sec * 1e6 - (double)buffer.timestamp.tv_usec;
        if (buffer.index >= BUFFERS)
                return -EPROTO;

        const uint8_t *picture = bench->buffers[buffer.index];

        if (way == COPY)
                picture = memcpy(bench->copy, picture, bench->size);
        bench->sum += picture[0] + (unsigned)picture[bench->size - 1];
        return do_ioctl(bench, VIDIOC_QBUF, &buffer);
}

static int measure_frames(struct media_bench *bench, const struct size *size, struct media_result *result)
{
        const unsigned samples = bench_options.quick ? 2 * BLOCK : SAMPLES;
        int64_t own[WAYS] = {0};
        int r = bench_stream_begin(bench, size);
        const int64_t device = cpu_ns(bench->pid), begun = now_ns();

        for (unsigned i = 0; r == 0 && i < samples; i++) {
                const enum way way = i / BLOCK % 2 ? COPY : WINDOW;
                const int64_t before = cpu_ns(getpid());

                r = take_picture(bench, way, &bench->latency_us[i]);
                own[way] += cpu_ns(getpid()) - before;
        }
        if (r < 0)
                return r;
        for (enum way way = WINDOW; way < WAYS; way++)
                result->cpu_us[way] = (double)own[way] / 1e3 / samples * WAYS;
        result->device_us = (double)(cpu_ns(bench->pid) - device) / 1e3 / samples;
        result->fps = samples * 1e9 / (double)(now_ns() - begun);
        result->latency_us = median(bench->latency_us, samples);
        return bench_stream_end(bench);
}

/* ---- the pattern ---- */

static int measure_pattern(struct media_bench *bench, void *out)
{
        struct media_result *results = out;
        int r = 0;

        for (unsigned i = 0; r == 0 && i < ARRAY_SIZE(sizes); i++)
                r = measure_frames(bench, &sizes[i], &results[i]);
        return r;
}

static void bench_media_print_text(const struct media_result *results)
{
        printf("     picture   fps  window us    copy us ratio  device us  latency us\n");
        for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
                printf("%5u x %4u %5.0f %10.1f %10.1f %5.2f %10.1f %11.1f\n", sizes[i].width, sizes[i].height,
                       results[i].fps, results[i].cpu_us[WINDOW], results[i].cpu_us[COPY],
                       results[i].cpu_us[COPY] / results[i].cpu_us[WINDOW], results[i].device_us,
                       results[i].latency_us);
}

static void bench_media_print_json(const struct media_result *results)
{
        struct json_object *rows = json_object_new_array();

        for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
                struct json_object *row = json_object_new_object();

                json_object_object_add(row, "width", json_object_new_int((int)sizes[i].width));
                for (enum way way = WINDOW; way < WAYS; way++)
                        add_figure(row, way_names[way], results[i].cpu_us[way]);
                add_figure(row, "device", results[i].device_us);
                add_figure(row, "fps", results[i].fps);
                add_figure(row, "latency", results[i].latency_us);
                json_object_array_add(rows, row);
        }
        printf("%s\n", json_object_to_json_string_ext(rows, JSON_C_TO_STRING_PLAIN));
        json_object_put(rows);
}

/* ---- a device of the host ---- */

enum side { NODE, PROXY, SIDES };
static const char *const side_names[SIDES] = {"node", "proxy"};
enum { TURNS = 2 }; /* of each */

struct side_result {
        int64_t own_ns, device_ns, whole_ns;
        unsigned n;
        double latency_us[SAMPLES];
        double cpu_us, fps, latency; /* of the stream */
};

struct device_result {
        int fd;
        struct side_result sides[SIDES];
};

/* Measures a stream, without its first picture, which includes the start of the device. */
static int measure_turn(struct media_bench *bench, struct side_result *side, unsigned n)
{
        double first;
        int r = bench_stream_begin(bench, NULL);

        if (r == 0)
                r = take_picture(bench, WINDOW, &first);

        const int64_t own = cpu_ns(getpid()), device = cpu_ns(bench->pid), begun = now_ns();

        for (unsigned i = 0; r == 0 && i < n; i++)
                r = take_picture(bench, WINDOW, &side->latency_us[side->n++]);
        if (r < 0)
                return r;
        side->own_ns += cpu_ns(getpid()) - own;
        side->device_ns += bench->node < 0 ? cpu_ns(bench->pid) - device : 0;
        side->whole_ns += now_ns() - begun;
        return bench_stream_end(bench);
}

static int measure_device(struct media_bench *bench, void *out)
{
        struct device_result *result = out;
        const unsigned n = (bench_options.quick ? 2 * BLOCK : SAMPLES) / TURNS;
        int r = 0;

        for (unsigned i = 0; r == 0 && i < TURNS * SIDES; i++) {
                const enum side side = i % SIDES;

                bench->node = side == NODE ? result->fd : -1;
                r = measure_turn(bench, &result->sides[side], n);
        }
        bench->node = -1;
        for (enum side i = NODE; r == 0 && i < SIDES; i++) {
                struct side_result *side = &result->sides[i];

                side->cpu_us = (double)(side->own_ns + side->device_ns) / 1e3 / side->n;
                side->fps = side->n * 1e9 / (double)side->whole_ns;
                side->latency = median(side->latency_us, side->n);
        }
        return r;
}

/* No ratio for the age of pictures: the driver decides which clock the time stamps are of, and at which moment they are
 * taken. */
static void print_device_text(const struct side_result sides[SIDES])
{
        const struct side_result *node = &sides[NODE], *proxy = &sides[PROXY];

        printf("         fps     CPU us  of that oriel-media's us  latency us\n");
        for (enum side i = NODE; i < SIDES; i++)
                printf("%-5s %6.1f %10.1f %25.1f %11.1f\n", side_names[i], sides[i].fps, sides[i].cpu_us,
                       (double)sides[i].device_ns / 1e3 / sides[i].n, sides[i].latency);
        printf("ratio %6.2f %10.2f %25s %+11.1f\n", proxy->fps / node->fps, proxy->cpu_us / node->cpu_us, "",
               proxy->latency - node->latency);
}

static void print_device_json(const struct side_result sides[SIDES])
{
        struct json_object *both = json_object_new_object();

        for (enum side i = NODE; i < SIDES; i++) {
                struct json_object *row = json_object_new_object();

                add_figure(row, "fps", sides[i].fps);
                add_figure(row, "cpu", sides[i].cpu_us);
                add_figure(row, "device", (double)sides[i].device_ns / 1e3 / sides[i].n);
                add_figure(row, "latency", sides[i].latency);
                json_object_object_add(both, side_names[i], row);
        }
        printf("%s\n", json_object_to_json_string_ext(both, JSON_C_TO_STRING_PLAIN));
        json_object_put(both);
}

/* ---- the whole ---- */

static int bench_media_run(struct media_bench *bench, int socket,
                           int (*measure_all)(struct media_bench *bench, void *out), void *out)
{
        const struct oriel_driver_options options = {
                .struct_size = sizeof(options), .queues = MEDIA_QUEUES, .keep_fds = BUFFERS};
        int r = oriel_driver_new(&options, socket, &bench->driver);

        if (r == 0)
                r = media_client_new(bench->driver, take_event, bench, &bench->client);
        if (r == 0)
                r = media_session_new(bench->client, &bench->session);
        if (r == 0)
                r = measure_all(bench, out);
        media_session_free(bench->session);
        media_client_free(bench->client);
        oriel_driver_free(bench->driver);
        return r;
}

/* Runs it with an oriel-media started with @arguments. Returns the exit status. */
static int run_with(const char *const *arguments, int (*measure_all)(struct media_bench *bench, void *out), void *out)
{
        static struct media_bench bench = {.node = -1};
        int socket = -1;

        bench.pid = spawn_with_socket("oriel-media", arguments, &socket);

        const int r = bench.pid < 0 ? bench.pid : bench_media_run(&bench, socket, measure_all, out);

        if (bench.pid >= 0)
                spawn_wait(bench.pid);
        return r < 0 ? fail("oriel-media: %s", strerror(-r)) : STATUS_SUCCESS;
}

static int bench_device(const char *path)
{
        static struct device_result result;
        char option[PATH_MAX + 16];
        const char *const arguments[] = {option, "--sandbox=none", NULL};
        _cleanup_(fd_closep) int fd = open(path, O_RDWR | O_CLOEXEC);

        if (fd < 0)
                return fail("%s: %s", path, strerror(errno));
        result.fd = fd;
        snprintf(option, sizeof(option), "--device=%s", path);
        if (run_with(arguments, measure_device, &result) != STATUS_SUCCESS)
                return STATUS_FAILURE;
        if (bench_options.json)
                print_device_json(result.sides);
        else
                print_device_text(result.sides);
        return STATUS_SUCCESS;
}

int bench_media(void)
{
        static const char *const arguments[] = {"--source=pattern", "--fps=1000", "--sandbox=none", NULL};
        struct media_result results[ARRAY_SIZE(sizes)] = {{{0}}};

        if (bench_options.device)
                return bench_device(bench_options.device);
        if (run_with(arguments, measure_pattern, results) != STATUS_SUCCESS)
                return STATUS_FAILURE;
        if (bench_options.json)
                bench_media_print_json(results);
        else
                bench_media_print_text(results);
        return STATUS_SUCCESS;
}
