/* SPDX-License-Identifier: BSD-2-Clause */

/* The settings of outputs: GET_DISPLAY_INFO and GET_EDID (VIRTIO 1.4, 5.7.6.8). If a sink has them, as the window of
 * a VMM does, it is asked each time that the driver asks, and the command waits for gpu_set_displays(): the driver
 * asks after the VMM has told it of a change, so an older answer would be wrong. A change that no command waits for
 * is an event of the configuration space. */

#include "devices/gpu/core/command.h"
#include "devices/gpu/core/edid.h"

#include <stdlib.h>
#include <string.h>

/* A command that waits. */
struct display_question {
        TAILQ_ENTRY(display_question) entry;
        struct origin origin;
        uint32_t type; /* VIRTIO_GPU_CMD_ */
        unsigned output;
        size_t size; /* of the answer */
};

static void set_known(struct gpu *gpu, const struct gpu_display *displays)
{
        const struct gpu_display preferred = {.enabled = 1, .width = gpu->options.width, .height = gpu->options.height};

        for (unsigned i = 0; i < GPU_OUTPUTS_MAX; i++)
                gpu->displays.known[i] = displays ? displays[i] : preferred;
}

void displays_init(struct gpu *gpu)
{
        TAILQ_INIT(&gpu->displays.questions);
        set_known(gpu, NULL);
}

/* ---- answers ---- */

/* Fills in the answer, and returns its type. */
static uint32_t answer_question(const struct gpu *gpu, uint32_t type, unsigned output, void *answer)
{
        const struct gpu_display *display = &gpu->displays.known[output];
        struct virtio_gpu_resp_display_info *info = answer;
        struct virtio_gpu_resp_edid *edid = answer;

        if (type == VIRTIO_GPU_CMD_GET_EDID) {
                edid->size = htole32(display->edid_size ? display->edid_size : EDID_SIZE);
                if (display->edid_size)
                        memcpy(edid->edid, display->edid, display->edid_size);
                else
                        edid_make(edid->edid, display->width, display->height, output);
                return VIRTIO_GPU_RESP_OK_EDID;
        }
        for (unsigned i = 0; i < gpu->options.outputs; i++, display++) {
                info->pmodes[i].r = (struct virtio_gpu_rect){htole32(display->x), htole32(display->y),
                                                             htole32(display->width), htole32(display->height)};
                info->pmodes[i].enabled = htole32(display->enabled);
        }
        return VIRTIO_GPU_RESP_OK_DISPLAY_INFO;
}

/* Returns the answer's type, or 0: the command waits for a sink. */
static uint32_t display_ask(struct gpu *gpu, struct command *command, unsigned output)
{
        struct display_question *question = scanouts_ask(gpu) ? malloc(sizeof(*question)) : NULL;
        const uint32_t type = le32toh(command->fixed.header.type);

        gpu->displays.told = true;
        if (!question)
                return answer_question(gpu, type, output, command->answer);
        *question = (struct display_question){
                .origin = command->origin, .type = type, .output = output, .size = command->answer_size};
        TAILQ_INSERT_TAIL(&gpu->displays.questions, question, entry);
        return 0;
}

uint32_t handle_get_display_info(struct gpu *gpu, struct command *command)
{
        return display_ask(gpu, command, 0);
}

uint32_t handle_get_edid(struct gpu *gpu, struct command *command)
{
        uint32_t output = le32toh(command->fixed.get_edid.scanout);

        return output < gpu->options.outputs ? display_ask(gpu, command, output)
                                             : VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID;
}

static void question_end(struct gpu *gpu, struct display_question *question)
{
        union {
                struct virtio_gpu_resp_display_info info;
                struct virtio_gpu_resp_edid edid;
        } answer = {.edid = {.size = 0}};

        TAILQ_REMOVE(&gpu->displays.questions, question, entry);
        answer_begin(&answer, answer_question(gpu, question->type, question->output, &answer), &question->origin);
        gpu->options.ops->complete(gpu->options.userdata, question->origin.token, &answer, question->size);
        free(question);
}

void displays_answer(struct gpu *gpu, const void *queue)
{
        struct display_question *question, *next;

        for (question = TAILQ_FIRST(&gpu->displays.questions); question; question = next) {
                next = TAILQ_NEXT(question, entry);
                if (!queue || question->origin.token.queue == queue)
                        question_end(gpu, question);
        }
}

/* ---- changes ---- */

static void raise_event(struct gpu *gpu)
{
        pthread_mutex_lock(&gpu->config_lock);
        gpu->config.events_read |= htole32(VIRTIO_GPU_EVENT_DISPLAY);
        pthread_mutex_unlock(&gpu->config_lock);
        if (gpu->options.ops->config_changed)
                gpu->options.ops->config_changed(gpu->options.userdata);
}

void gpu_set_displays(struct gpu *gpu, const struct gpu_display *displays)
{
        struct gpu_display before[GPU_OUTPUTS_MAX];

        pthread_mutex_lock(&gpu->lock);
        memcpy(before, gpu->displays.known, sizeof(before));
        set_known(gpu, displays);

        const bool waited = !TAILQ_EMPTY(&gpu->displays.questions);
        /* No event for NULL: a window that is gone is not a change that its user made. */
        const bool news = displays && gpu->displays.told && memcmp(before, gpu->displays.known, sizeof(before)) != 0;

        displays_answer(gpu, NULL);
        pthread_mutex_unlock(&gpu->lock);
        if (news && !waited)
                raise_event(gpu);
}
