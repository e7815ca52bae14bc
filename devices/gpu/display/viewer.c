/* SPDX-License-Identifier: BSD-2-Clause */

/* Notes of what a viewer has not shown yet. The functions of its sink are called with the gpu's lock held; they note
 * sizes and rectangles under the viewer's own lock, which is held for no more than that, and wake its thread. The
 * thread takes the notes, and then has pixels copied by gpu_copy_output(), so it never shows a frame older than the
 * newest.
 *
 * Lock order: the gpu's, then the viewer's. The thread calls the gpu with neither. */

#include "devices/gpu/display/viewer.h"

#include "base/fd.h"
#include "base/syscalls.h"
#include "base/thread.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/param.h>
#include <unistd.h>

USES_SYSCALLS(SYSCALL(eventfd2), SYSCALL(read), SYSCALL(write), SYSCALL(poll));

/* The smallest rectangle around both. */
static struct gpu_rect rect_union(struct gpu_rect a, struct gpu_rect b)
{
        if (a.height == 0)
                return b;

        const uint32_t x = MIN(a.x, b.x), y = MIN(a.y, b.y);
        const uint32_t right = MAX(a.x + a.width, b.x + b.width), bottom = MAX(a.y + a.height, b.y + b.height);

        return (struct gpu_rect){x, y, right - x, bottom - y};
}

/* ---- what the gpu calls ---- */

static void note_set(void *userdata, unsigned output, const struct gpu_frame *frame)
{
        struct viewer *viewer = userdata;
        struct viewer_output *note = &viewer->outputs[output];

        pthread_mutex_lock(&viewer->lock);
        note->resized = true;
        note->width = frame ? frame->width : 0;
        note->height = frame ? frame->height : 0;
        note->damage = (struct gpu_rect){0, 0, note->width, note->height};
        pthread_mutex_unlock(&viewer->lock);
        fd_event_wake(viewer->wake_fd);
}

static void note_update(void *userdata, unsigned output, const struct gpu_frame *frame, struct gpu_rect rect)
{
        struct viewer *viewer = userdata;
        struct gpu_rect *damage = &viewer->outputs[output].damage;

        pthread_mutex_lock(&viewer->lock);
        *damage = rect_union(*damage, rect);
        pthread_mutex_unlock(&viewer->lock);
        fd_event_wake(viewer->wake_fd);
}

static void note_cursor(void *userdata, unsigned output, const struct gpu_cursor *cursor)
{
        struct viewer *viewer = userdata;
        struct viewer_output *note = &viewer->outputs[output];

        pthread_mutex_lock(&viewer->lock);
        note->cursor_changed = true;
        note->cursor = *cursor;
        if (cursor->pixels) {
                memcpy(note->cursor_pixels, cursor->pixels, sizeof(note->cursor_pixels));
                note->cursor.pixels = note->cursor_pixels;
        }
        pthread_mutex_unlock(&viewer->lock);
        fd_event_wake(viewer->wake_fd);
}

static void note_move(void *userdata, unsigned output, uint32_t x, uint32_t y)
{
        struct viewer *viewer = userdata;

        pthread_mutex_lock(&viewer->lock);
        viewer->outputs[output].cursor_moved = true;
        viewer->outputs[output].cursor.x = x;
        viewer->outputs[output].cursor.y = y;
        pthread_mutex_unlock(&viewer->lock);
        fd_event_wake(viewer->wake_fd);
}

/* A viewer that ends clears @answers, and then answers the commands that wait. */
static bool note_question(void *userdata)
{
        struct viewer *viewer = userdata;

        if (!viewer->answers)
                return false;
        viewer->asked = true;
        fd_event_wake(viewer->wake_fd);
        return true;
}

/* ---- what its thread calls ---- */

bool viewer_take(struct viewer *viewer, unsigned output, struct viewer_output *out)
{
        struct viewer_output *note = &viewer->outputs[output];
        bool any;

        pthread_mutex_lock(&viewer->lock);
        any = note->resized || note->damage.height || note->cursor_changed || note->cursor_moved;
        if (any) {
                *out = *note;
                out->cursor.pixels = note->cursor.pixels ? out->cursor_pixels : NULL;
                note->resized = note->cursor_changed = note->cursor_moved = false;
                note->damage.height = 0;
        }
        pthread_mutex_unlock(&viewer->lock);
        return any;
}

/* ---- its life ---- */

int viewer_start(struct viewer *viewer, struct gpu *gpu, bool answers, void *(*run)(void *userdata), void *userdata)
{
        *viewer = (struct viewer){
                .gpu = gpu,
                .sink = {viewer, note_set, note_update, note_cursor, note_move, note_question},
                .wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
                .answers = answers,
                .outputs = calloc(GPU_OUTPUTS_MAX, sizeof(*viewer->outputs)),
        };
        pthread_mutex_init(&viewer->lock, NULL);

        int r = viewer->wake_fd < 0 ? -errno : viewer->outputs ? 0 : -ENOMEM;

        if (r == 0)
                r = gpu_add_sink(gpu, &viewer->sink);
        if (r == 0)
                r = thread_start(&viewer->thread, run, userdata);
        viewer->started = r == 0;
        if (r < 0)
                viewer_stop(viewer);
        return r;
}

void viewer_stop(struct viewer *viewer)
{
        if (!viewer->gpu)
                return;
        gpu_remove_sink(viewer->gpu, &viewer->sink);
        viewer->end = true;
        if (viewer->started) {
                fd_event_wake(viewer->wake_fd);
                pthread_join(viewer->thread, NULL);
        }
        pthread_mutex_destroy(&viewer->lock);
        fd_close(viewer->wake_fd);
        free(viewer->outputs);
        *viewer = (struct viewer){.gpu = NULL};
}
