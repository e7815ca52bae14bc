/* SPDX-License-Identifier: BSD-2-Clause */

/* oriel-media-codec: decodes one stream by libavcodec, for oriel-media, which it talks to on its standard input
 * (protocol.h). Bitstreams are hostile and codecs large, so it has no files but the buffers, no rights, and a filter of
 * system calls; it has one thread, and ends if one step takes too long.
 *
 * A picture is decoded into a buffer of the guest if one with its layout is free; otherwise into memory of its own,
 * and copied when it is due. That happens to the first pictures, before the guest knows their size; for a guest with
 * too few buffers; and for codecs that bring their own memory (AV1). While a picture waits for a buffer, nothing is
 * decoded. */

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/syscalls.h"
#include "devices/media/decoder/slots.h"
#include "program/report.h"
#include "seccomp/filter.h"

#include <libavcodec/avcodec.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

/* The most seconds that one packet may take. */
enum { STEP_SECONDS = 20 };
/* In one packet, or at the end, before the rest is dropped. */
enum { ERRORS_MAX = 32 };

USES_SYSCALLS(SYSCALL_WITH(mmap, 2, PROT_EXEC, 0), SYSCALL_WITH(mprotect, 2, PROT_EXEC, 0), SYSCALL(munmap),
              SYSCALL(mremap), SYSCALL(madvise), SYSCALL(brk), SYSCALL(futex), SYSCALL(set_robust_list), SYSCALL(rseq),
              SYSCALL(exit), SYSCALL(exit_group), SYSCALL(gettid), SYSCALL(getpid), SYSCALL(sched_yield),
              SYSCALL(sched_getaffinity), SYSCALL(rt_sigprocmask), SYSCALL(rt_sigreturn), SYSCALL(restart_syscall),
              SYSCALL(clock_gettime), SYSCALL(getrandom), SYSCALL(close), SYSCALL(pread64), SYSCALL(write),
              SYSCALL(setitimer));

static const enum AVCodecID ids[CODECS] = {
        [CODEC_H264] = AV_CODEC_ID_H264, [CODEC_HEVC] = AV_CODEC_ID_HEVC, [CODEC_VP8] = AV_CODEC_ID_VP8,
        [CODEC_VP9] = AV_CODEC_ID_VP9,   [CODEC_AV1] = AV_CODEC_ID_AV1,
};

struct decoding {
        AVCodecContext *context;
        AVPacket *packet;
        AVFrame *frame;
        struct picture_slots slots;
        struct codec_picture announced;
        uint64_t formats, flush, take; /* counts: protocol.h */
        bool flushing;                 /* REQUEST_FLUSH has come, and the step in progress is to end */
};

static void codec_say(const struct decoding *decoding, struct codec_answer answer)
{
        answer.flush = decoding->flush;
        answer.take = decoding->take;
        if (!codec_send(STDIN_FILENO, &answer, sizeof(answer), -1))
                _exit(0);
}

/* ---- pictures ---- */

static struct codec_picture picture_of(const AVFrame *frame)
{
        return (struct codec_picture){
                .width = (uint32_t)frame->width,
                .height = (uint32_t)frame->height,
                .left = (uint32_t)frame->crop_left,
                .top = (uint32_t)frame->crop_top,
                .visible_width = (uint32_t)(frame->width - (int)frame->crop_left - (int)frame->crop_right),
                .visible_height = (uint32_t)(frame->height - (int)frame->crop_top - (int)frame->crop_bottom),
        };
}

static bool format_fits(int format)
{
        return format == AV_PIX_FMT_YUV420P || format == AV_PIX_FMT_YUVJ420P;
}

/* Whether the codec accepts the layout; it may read two lines more than it writes. */
static bool layout_fits(AVCodecContext *context, const struct picture_layout *layout, const AVFrame *frame)
{
        int width = frame->width, height = frame->height, align[AV_NUM_DATA_POINTERS] = {0};

        avcodec_align_dimensions2(context, &width, &height, align);
        for (unsigned i = 0; i < 3; i++)
                if (align[i] > 0 && (layout->stride >> (i > 0)) % (unsigned)align[i] > 0)
                        return false;
        return (uint32_t)width <= layout->stride && (uint32_t)height <= layout->rows + 2;
}

/* AVCodecContext.get_buffer2 */
static int picture_allocate(AVCodecContext *context, AVFrame *frame, int flags)
{
        struct decoding *decoding = context->opaque;
        const struct codec_picture picture = {.width = (uint32_t)frame->width, .height = (uint32_t)frame->height};
        const struct picture_layout layout = picture_layout(&picture);

        if (format_fits(frame->format) && picture.width == decoding->announced.width &&
            picture.height == decoding->announced.height && (context->codec->capabilities & AV_CODEC_CAP_DR1) &&
            layout_fits(context, &layout, frame) && slot_use(&decoding->slots, &layout, frame))
                return 0;
        return avcodec_default_get_buffer2(context, frame, flags);
}

static void request_next(struct decoding *decoding);

static void codec_announce(struct decoding *decoding, const struct codec_picture *picture)
{
        const AVCodecContext *context = decoding->context;
        const int busy = context->has_b_frames + (context->refs > 0 ? context->refs : 4) + 2;

        decoding->announced = *picture;
        decoder_slots_take(&decoding->slots);
        codec_say(decoding, (struct codec_answer){.type = ANSWER_FORMAT,
                                                  .index = (uint32_t)busy,
                                                  .count = ++decoding->formats,
                                                  .picture = *picture});
}

/* Announces the format as soon as the stream's header is known, so that a driver has buffers when the first picture
 * is due: some codecs deliver it only after a few more packets. */
static void announce_first(struct decoding *decoding)
{
        const AVCodecContext *context = decoding->context;
        const struct codec_picture picture = {
                .width = (uint32_t)context->coded_width,
                .height = (uint32_t)context->coded_height,
                .visible_width = (uint32_t)context->width,
                .visible_height = (uint32_t)context->height,
        };

        if (decoding->announced.width == 0 && format_fits(context->pix_fmt) && picture_is_valid(&picture))
                codec_announce(decoding, &picture);
}

static uint32_t is_key(const AVFrame *frame)
{
/* A flag since FFmpeg 6.1; the member is gone in 8. */
#ifdef AV_FRAME_FLAG_KEY
        return (frame->flags & AV_FRAME_FLAG_KEY) != 0;
#else
        return frame->key_frame != 0;
#endif
}

/* Waits for a buffer, unless one is free, and delivers the picture. */
static void picture_deliver(struct decoding *decoding)
{
        AVFrame *frame = decoding->frame;
        const struct codec_picture picture = picture_of(frame);
        const struct picture_layout layout = picture_layout(&picture);
        int at = -1;

        /* Drops pictures that this device has no format for. */
        if (!format_fits(frame->format) || !picture_is_valid(&picture))
                return;
        if (memcmp(&picture, &decoding->announced, sizeof(picture)) != 0)
                codec_announce(decoding, &picture);
        while (!decoding->flushing && (at = slot_fill(&decoding->slots, &layout, frame)) < 0)
                request_next(decoding);
        if (at < 0)
                return;
        codec_say(decoding,
                  (struct codec_answer){.type = ANSWER_FRAME,
                                        .index = (uint32_t)at,
                                        .failed = frame->decode_error_flags || (frame->flags & AV_FRAME_FLAG_CORRUPT),
                                        .key = is_key(frame),
                                        .timestamp = frame->pts});
}

/* SIGALRM ends the process after this time, unless this is called again before. 0: no limit. */
static void limit_step(time_t seconds)
{
        setitimer(ITIMER_REAL, &(struct itimerval){.it_value.tv_sec = seconds}, NULL);
}

/* Decodes @packet, NULL for the end, and delivers the pictures that are due. A negative AVERROR: a part of it could
 * not be decoded. */
static int codec_decode(struct decoding *decoding, const AVPacket *packet)
{
        int r, errors = 0;

        limit_step(STEP_SECONDS);

        int result = avcodec_send_packet(decoding->context, packet);

        announce_first(decoding);
        do {
                limit_step(STEP_SECONDS);
                r = avcodec_receive_frame(decoding->context, decoding->frame);
                limit_step(0);
                if (r == 0)
                        picture_deliver(decoding);
                else if (r != AVERROR(EAGAIN) && r != AVERROR_EOF)
                        result = r;
                av_frame_unref(decoding->frame);
        } while (!decoding->flushing && (r == 0 || (result == r && errors++ < ERRORS_MAX)));
        return result;
}

/* ---- requests ---- */

static bool codec_open(struct decoding *decoding, uint32_t index)
{
        const AVCodec *codec = index < CODECS && !decoding->context ? avcodec_find_decoder(ids[index]) : NULL;
        AVCodecContext *context = codec ? avcodec_alloc_context3(codec) : NULL;

        if (!context)
                return false;
        context->opaque = decoding;
        context->get_buffer2 = picture_allocate;
        context->thread_count = 1;
        context->apply_cropping = 0;
        context->max_pixels = (int64_t)PICTURE_SIDE_MAX * PICTURE_SIDE_MAX;
        decoding->context = context;
        decoding->packet = av_packet_alloc();
        decoding->frame = av_frame_alloc();
        return decoding->packet && decoding->frame && avcodec_open2(context, codec, NULL) == 0;
}

/* Copies the packet before anything reads it: the guest can write to the file at any time. */
static int request_decode(struct decoding *decoding, const struct codec_request *request, int fd)
{
        AVPacket *packet = decoding->packet;
        int r = av_new_packet(packet, (int)(request->size & INT32_MAX));

        if (r < 0)
                return r;
        packet->pts = request->timestamp;

        const ssize_t n = pread(fd, packet->data, (size_t)packet->size, request->offset);

        r = n == packet->size ? codec_decode(decoding, packet) : AVERROR(EIO);
        av_packet_unref(packet);
        return r;
}

static void request_drain(struct decoding *decoding)
{
        codec_decode(decoding, NULL);
        avcodec_flush_buffers(decoding->context);
}

/* Handles the requests that may come during a step. False: there is no such request. */
static bool request_note(struct decoding *decoding, const struct codec_request *request, int *fd)
{
        const bool valid = request->count == decoding->formats;

        switch (request->type) {
        case REQUEST_FLUSH:
                decoder_slots_take(&decoding->slots);
                decoding->flush = request->count;
                decoding->flushing = true;
                return true;
        case REQUEST_GIVE:
                if (*fd < 0)
                        return slots_give(&decoding->slots, request->index, valid);
                return slot_learn(&decoding->slots, request->index, fd_take(fd), request->size) &&
                       slots_give(&decoding->slots, UINT32_C(1) << request->index, valid);
        case REQUEST_TAKE:
                decoder_slots_take(&decoding->slots);
                decoding->take = request->count;
                return true;
        case REQUEST_FORGET:
                slots_forget(&decoding->slots);
                return true;
        }
        return false;
}

static void request_receive(struct codec_request *request, int *fd)
{
        if (!codec_receive(STDIN_FILENO, request, sizeof(*request), fd))
                _exit(0);
}

static void request_next(struct decoding *decoding)
{
        struct codec_request request;
        _cleanup_(fd_closep) int fd = -1;

        request_receive(&request, &fd);
        if (!request_note(decoding, &request, &fd))
                _exit(1);
}

/* Handles a request between steps. False: it is invalid. */
static bool request_handle(struct decoding *decoding)
{
        struct codec_request request;
        _cleanup_(fd_closep) int fd = -1;

        request_receive(&request, &fd);
        if (request.type == REQUEST_START)
                return codec_open(decoding, request.index);
        if (!decoding->context)
                return false;
        if (request.type == REQUEST_DECODE) {
                const int r = request_decode(decoding, &request, fd);

                if (!decoding->flushing)
                        codec_say(decoding, (struct codec_answer){.type = ANSWER_CONSUMED, .failed = r < 0});
        } else if (request.type == REQUEST_DRAIN) {
                request_drain(decoding);
                if (!decoding->flushing)
                        codec_say(decoding, (struct codec_answer){.type = ANSWER_DRAINED});
        } else if (!request_note(decoding, &request, &fd)) {
                return false;
        }
        if (decoding->flushing)
                avcodec_flush_buffers(decoding->context);
        decoding->flushing = false;
        return true;
}

int main(int argc, char **argv)
{
        static struct decoding decoding;
        struct codec_answer hello = {.type = ANSWER_HELLO};
        /* The linker makes one array of them. */
        // cppcheck-suppress comparePointers
        const size_t n_rows = (size_t)(__stop_oriel_syscalls - __start_oriel_syscalls);

        if (argc != 2)
                return STATUS_USAGE;
        av_log_set_level(AV_LOG_QUIET);
        for (unsigned i = 0; i < CODECS; i++)
                hello.index |= (uint32_t)(avcodec_find_decoder(ids[i]) != NULL) << i;
        if (filter_enter((enum filter_action)strtoul(argv[1], NULL, 10), __start_oriel_syscalls, n_rows) < 0)
                return STATUS_FAILURE;
        codec_say(&decoding, hello);
        while (request_handle(&decoding))
                ;
        return STATUS_FAILURE;
}
