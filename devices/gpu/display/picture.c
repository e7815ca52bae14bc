/* SPDX-License-Identifier: BSD-2-Clause */

/* Pictures by libpng. A thread waits for an order; it copies what an output shows, compresses that in memory, and
 * writes it in one go.
 *
 * The files are opened at the start, because nothing can be opened in the sandbox. They are written in place: to
 * replace them by rename(2) the process would need a directory of the host, from which a process that was taken over
 * reaches all of it. Readers that don't want a part of a picture take the lock (flock(2)). */

#include "devices/gpu/display/picture.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/syscalls.h"
#include "base/thread.h"
#include "devices/gpu/core/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <png.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

USES_SYSCALLS(SYSCALL(pwrite64), SYSCALL(ftruncate), SYSCALL(flock), SYSCALL(read), SYSCALL(write));

struct picture {
        int files[GPU_OUTPUTS_MAX];
        unsigned outputs;
        struct gpu *gpu; /* NULL: the thread is not started */
        struct oriel_log log;
        pthread_t thread;
        int order_fd; /* an eventfd: pictures are wanted, or it is to end */
        atomic_bool end;
};

DEFINE_CLEANUP(struct picture *, picture_free);

/* ---- files ---- */

/* "a/b.png" becomes "a/b.2.png" for output 2. */
static void name_file(char *name, size_t size, const char *path, unsigned output)
{
        const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path, *dot = strrchr(base, '.');
        const size_t stem = dot && dot > base ? (size_t)(dot - path) : strlen(path);

        if (output == 0)
                snprintf(name, size, "%s", path);
        else
                snprintf(name, size, "%.*s.%u%s", (int)stem, path, output, path + stem);
}

/* O_NONBLOCK: does not wait for the other end of a pipe, which is refused. */
static int picture_open_file(const char *path)
{
        _cleanup_(fd_closep) int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0666);
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        return S_ISREG(st.st_mode) ? fd_take(&fd) : -EINVAL;
}

int picture_open(const char *path, unsigned outputs, struct picture **out)
{
        _cleanup_(picture_freep) struct picture *picture = calloc(1, sizeof(*picture));
        char name[4096];

        if (!picture)
                return -ENOMEM;
        picture->order_fd = eventfd(0, EFD_CLOEXEC);
        if (picture->order_fd < 0)
                return -errno;
        if (strlen(path) + sizeof(".16") > sizeof(name))
                return -ENAMETOOLONG;
        for (; picture->outputs < outputs; picture->outputs++) {
                name_file(name, sizeof(name), path, picture->outputs);

                int fd = picture_open_file(name);

                if (fd < 0)
                        return fd;
                picture->files[picture->outputs] = fd;
        }
        *out = steal(picture);
        return 0;
}

static int picture_write_file(int fd, const void *data, size_t size)
{
        int r = flock(fd, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
        size_t at = 0;

        while (r == 0 && at < size) {
                ssize_t n = pwrite(fd, (const uint8_t *)data + at, size - at, (off_t)at);

                if (n < 0 && errno != EINTR)
                        r = -errno;
                at += n > 0 ? (size_t)n : 0;
        }
        /* After an error the file is empty: a part of a picture is of no use. */
        if (r != -EWOULDBLOCK && ftruncate(fd, r == 0 ? (off_t)size : 0) < 0)
                r = -errno;
        flock(fd, LOCK_UN);
        return r;
}

/* ---- pixels ---- */

/* In place: four bytes of each pixel become three. */
static void pack_pixels(uint32_t *pixels, size_t n)
{
        uint8_t *to = (uint8_t *)pixels;

        for (size_t i = 0; i < n; i++) {
                uint32_t pixel = pixels[i];

                *to++ = (uint8_t)(pixel >> 16);
                *to++ = (uint8_t)(pixel >> 8);
                *to++ = (uint8_t)pixel;
        }
}

static int compress_and_write(int fd, uint32_t width, uint32_t height, const void *pixels)
{
        png_image image = {.version = PNG_IMAGE_VERSION, .width = width, .height = height, .format = PNG_FORMAT_RGB};
        size_t size = PNG_IMAGE_PNG_SIZE_MAX(image);
        _cleanup_(freep) void *data = malloc(size);

        if (!data)
                return -ENOMEM;
        return png_image_write_to_memory(&image, data, &size, 0, pixels, 0, NULL) ? picture_write_file(fd, data, size)
                                                                                  : -EIO;
}

/* 0 also if the output is off: then the file is empty. */
static int take_output(struct picture *picture, unsigned output)
{
        const int fd = picture->files[output];
        uint32_t width, height;

        if (!gpu_output_size(picture->gpu, output, &width, &height))
                return picture_write_file(fd, NULL, 0);

        _cleanup_(freep) uint32_t *pixels = malloc((size_t)width * height * 4);
        const struct gpu_rect all = {0, 0, width, height};

        if (!pixels)
                return -ENOMEM;
        /* The output's size has changed since. */
        if (!gpu_copy_output(picture->gpu, output, all, pixels, width))
                return -EAGAIN;
        pack_pixels(pixels, (size_t)width * height);
        return compress_and_write(fd, width, height, pixels);
}

/* ---- the thread ---- */

static void *take_pictures(void *userdata)
{
        struct picture *picture = userdata;
        eventfd_t orders;

        for (;;) {
                if (eventfd_read(picture->order_fd, &orders) < 0)
                        continue;
                if (picture->end)
                        return NULL;
                for (unsigned i = 0; i < picture->outputs; i++) {
                        int r = take_output(picture, i);

                        if (r == -EAGAIN)
                                r = take_output(picture, i);
                        if (r < 0)
                                log_error(&picture->log, "no picture of display %u: %s", i, strerror(-r));
                }
        }
}

int picture_start(struct picture *picture, struct gpu *gpu, const struct oriel_log *log)
{
        picture->log = *log;
        picture->gpu = gpu;

        int r = thread_start(&picture->thread, take_pictures, picture);

        if (r < 0)
                picture->gpu = NULL;
        return r;
}

void picture_take(struct picture *picture)
{
        fd_event_wake(picture->order_fd);
}

void picture_free(struct picture *picture)
{
        if (!picture)
                return;
        picture->end = true;
        fd_event_wake(picture->order_fd);
        if (picture->gpu)
                pthread_join(picture->thread, NULL);
        fd_close_all(picture->files, picture->outputs);
        fd_close(picture->order_fd);
        free(picture);
}
