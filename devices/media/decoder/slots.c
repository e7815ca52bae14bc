/* SPDX-License-Identifier: BSD-2-Clause */

/* The guest's capture buffers in the process that decodes, by their index. A buffer is mapped when it is first
 * given, and unmapped when it is forgotten and no picture of the codec is in it: struct slot_memory counts those
 * pictures, and libavcodec calls slot_unuse() when it drops one. A guest can write to a buffer at any time, which
 * does no harm: codecs read samples from it, of which every value is valid. */

#include "devices/media/decoder/slots.h"

#include "base/cleanup.h"
#include "base/fd.h"

#include <libavutil/imgutils.h>
#include <sys/mman.h>

static void memory_settle(struct slot_memory *memory)
{
        if (memory->users > 0 || !memory->forgotten)
                return;
        munmap(memory->data, memory->size);
        free(memory);
}

static void slot_forget(struct picture_slots *slots, uint32_t index)
{
        struct slot_memory *memory = steal(slots->slots[index].memory);

        slots->slots[index].given = false;
        if (!memory)
                return;
        memory->forgotten = true;
        memory_settle(memory);
}

static struct slot_memory *memory_new(int fd, size_t size)
{
        struct slot_memory *memory = calloc(1, sizeof(*memory));
        void *data = memory ? mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;

        if (data == MAP_FAILED) {
                free(memory);
                return NULL;
        }
        memory->data = data;
        memory->size = size;
        return memory;
}

bool slot_learn(struct picture_slots *slots, uint32_t index, int fd, size_t size)
{
        if (index < VIDEO_MAX_FRAME) {
                slot_forget(slots, index);
                slots->slots[index].memory = memory_new(fd, size);
        }
        fd_close(fd);
        return index < VIDEO_MAX_FRAME && slots->slots[index].memory;
}

bool slots_give(struct picture_slots *slots, uint32_t mask, bool valid)
{
        for (uint32_t i = 0; i < VIDEO_MAX_FRAME; i++) {
                if (!(mask & UINT32_C(1) << i))
                        continue;
                if (!slots->slots[i].memory)
                        return false;
                slots->slots[i].given = valid;
        }
        return true;
}

void decoder_slots_take(struct picture_slots *slots)
{
        for (uint32_t i = 0; i < VIDEO_MAX_FRAME; i++)
                slots->slots[i].given = false;
}

void slots_forget(struct picture_slots *slots)
{
        for (uint32_t i = 0; i < VIDEO_MAX_FRAME; i++)
                slot_forget(slots, i);
}

static int slot_find(const struct picture_slots *slots, const struct picture_layout *layout)
{
        for (int i = 0; i < VIDEO_MAX_FRAME; i++)
                if (slots->slots[i].given && slots->slots[i].memory->users == 0 &&
                    slots->slots[i].memory->size >= layout->size)
                        return i;
        return -1;
}

static unsigned slots_free_of_codec(const struct picture_slots *slots)
{
        unsigned n = 0;

        for (uint32_t i = 0; i < VIDEO_MAX_FRAME; i++)
                n += slots->slots[i].memory && slots->slots[i].memory->users == 0;
        return n;
}

static void slot_unuse(void *userdata, uint8_t *data)
{
        struct slot_memory *memory = userdata;

        memory->users--;
        memory_settle(memory);
}

static void slots_planes_of(uint8_t *data, const struct picture_layout *layout, uint8_t *planes[4], int strides[4])
{
        const size_t luma = (size_t)layout->stride * layout->rows;

        planes[0] = data;
        planes[1] = data + luma;
        planes[2] = data + luma + luma / 4;
        planes[3] = NULL;
        strides[0] = (int)layout->stride;
        strides[1] = strides[2] = (int)layout->stride / 2;
        strides[3] = 0;
}

bool slot_use(struct picture_slots *slots, const struct picture_layout *layout, AVFrame *frame)
{
        const int i = slots_free_of_codec(slots) > 1 ? slot_find(slots, layout) : -1;

        if (i < 0)
                return false;

        struct slot_memory *memory = slots->slots[i].memory;

        frame->buf[0] = av_buffer_create(memory->data, memory->size, slot_unuse, memory, 0);
        if (!frame->buf[0])
                return false;
        memory->users++;
        slots_planes_of(memory->data, layout, frame->data, frame->linesize);
        frame->extended_data = frame->data;
        return true;
}

int slot_fill(struct picture_slots *slots, const struct picture_layout *layout, const AVFrame *frame)
{
        uint8_t *planes[4];
        int strides[4], at = -1;

        for (int i = 0; i < VIDEO_MAX_FRAME; i++)
                if (slots->slots[i].given && slots->slots[i].memory->data == frame->data[0])
                        at = i;
        if (at < 0) {
                at = slot_find(slots, layout);
                if (at < 0)
                        return -1;
                slots_planes_of(slots->slots[at].memory->data, layout, planes, strides);
                av_image_copy(planes, strides, (const uint8_t **)frame->data, frame->linesize, AV_PIX_FMT_YUV420P,
                              frame->width, frame->height);
        }
        slots->slots[at].given = false;
        return at;
}
