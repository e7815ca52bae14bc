/* SPDX-License-Identifier: BSD-2-Clause */

/* The input is what a guest says to a decoder, and what the processes say that decode for it, right and wrong: answers
 * with counts and indices that are not the stream's, files that nobody wants, ends. What the decoder asks of them must
 * be what protocol.h says, whatever the guest does: no bytes behind the end of a file, no buffer without one.
 *
 * There is one thread: a stream's own one is run by hand, as long as there is something in its socket. */

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/thread.h"
#include "devices/media/decoder/state.h"
#include "fuzz/fds.h"
#include "fuzz/media-guest.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PROCESSES_MAX = 256, WINDOW_PAGES = 2048 };

/* A process that decodes. */
struct process {
        int fd;
        bool started, decoding, draining;
        bool lied; /* what it is asked need not make sense any more */
        uint64_t formats, flush, take;
        uint32_t known, given; /* masks of buffers: whose file it has, that it may fill */
};

/* A stream's thread. */
struct reader {
        void *(*run)(void *userdata);
        struct decoder_stream *stream;
};

static struct world {
        struct input *input;
        int broker; /* the end that the decoder does not have */
        struct process codecs[PROCESSES_MAX];
        unsigned n_codecs;
        struct reader readers[PROCESSES_MAX];
        unsigned n_readers;
        struct decoder_stream *reading;
} world;

/* ---- threads ---- */

static void *end_at_once(void *userdata)
{
        return userdata;
}

int thread_start(pthread_t *thread, void *(*run)(void *userdata), void *userdata)
{
        need(world.n_readers < PROCESSES_MAX);
        world.readers[world.n_readers++] = (struct reader){run, userdata};
        return -pthread_create(thread, NULL, end_at_once, NULL);
}

/* The decoder's socket is read as long as there is something; then the thread is told to end. */
ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
        const ssize_t n = syscall(SYS_recvmsg, fd, msg, flags | MSG_DONTWAIT);

        if (n >= 0 || errno != EAGAIN || !world.reading)
                return n;
        world.reading->ending = true;
        return 0;
}

static bool reader_is_needed(const struct reader *reader)
{
        const struct node_session *session;
        char byte;

        TAILQ_FOREACH(session, &media_guest_media()->sessions, entry)
        if (session->handle == reader->stream)
                return reader->stream->codec_fd >= 0 &&
                       (recv(reader->stream->codec_fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN);
        return false;
}

/* Those of streams that have ended are left out: their place in memory may be another's. */
static void readers_run(void)
{
        for (unsigned i = 0; i < world.n_readers; i++) {
                struct reader *reader = &world.readers[i];

                if (!reader_is_needed(reader) || reader->stream->session->dead)
                        continue;
                world.reading = reader->stream;
                reader->run(reader->stream);
                reader->stream->ending = false;
                world.reading = NULL;
        }
}

/* ---- processes that decode ---- */

static void codecs_find(void)
{
        char byte;
        int fd;

        while (world.n_codecs < PROCESSES_MAX && codec_receive(world.broker, &byte, sizeof(byte), &fd)) {
                need(fd >= 0);
                world.codecs[world.n_codecs++] = (struct process){.fd = fd};
        }
}

static uint64_t file_size(int fd)
{
        struct stat about;

        need(fstat(fd, &about) == 0);
        return (uint64_t)about.st_size;
}

static void hear_buffer(struct process *codec, const struct codec_request *request, int fd)
{
        uint32_t mask = request->index;

        if (fd >= 0) {
                need(request->index < VIDEO_MAX_FRAME);
                mask = UINT32_C(1) << request->index;
                codec->known |= mask;
                need(request->size > 0 && file_size(fd) >= request->size);
        }
        need(mask != 0 && (codec->known & mask) == mask);
        if (request->count == codec->formats)
                codec->given |= mask;
}

static void hear_request(struct process *codec, const struct codec_request *request, int fd)
{
        need(codec->started == (request->type != REQUEST_START));
        switch (request->type) {
        case REQUEST_START:
                need(request->index < CODECS);
                codec->started = true;
                break;
        case REQUEST_DECODE:
                need(fd >= 0 && (codec->lied || (!codec->decoding && !codec->draining)));
                need((uint64_t)request->offset + request->size <= file_size(fd));
                codec->decoding = true;
                break;
        case REQUEST_DRAIN:
                need(codec->lied || (!codec->decoding && !codec->draining));
                codec->draining = true;
                break;
        case REQUEST_FLUSH:
                codec->decoding = codec->draining = false;
                codec->flush = request->count;
                codec->given = 0;
                break;
        case REQUEST_GIVE:
                hear_buffer(codec, request, fd);
                break;
        case REQUEST_TAKE:
                codec->take = request->count;
                codec->given = 0;
                break;
        case REQUEST_FORGET:
                codec->known = codec->given = 0;
                break;
        default:
                need(false);
        }
}

static void codec_hear(struct process *codec)
{
        struct codec_request request;
        int fd;

        while (codec_receive(codec->fd, &request, sizeof(request), &fd)) {
                hear_request(codec, &request, fd);
                fd_close(fd);
        }
}

static struct codec_picture picture_make(void)
{
        static const uint32_t sides[] = {16, 64, 100, 640, 1, 480, 4096, 4097};
        struct codec_picture picture = {.width = sides[take_choice(world.input, ARRAY_SIZE(sides))],
                                        .height = sides[take_choice(world.input, ARRAY_SIZE(sides))]};

        picture.visible_width = picture.width;
        picture.visible_height = picture.height;
        if (take_choice(world.input, 4) == 3) {
                picture.left = media_guest_word();
                picture.visible_height = media_guest_word();
        }
        return picture;
}

/* Right as far as it has heard, or nearly. */
static struct codec_answer answer_make(const struct process *codec)
{
        struct codec_answer answer = {.type = 1 + take_choice(world.input, 4),
                                      .index = take_choice(world.input, 5),
                                      .failed = take_choice(world.input, 4) == 3,
                                      .flush = codec->flush,
                                      .take = codec->take,
                                      .timestamp = (int64_t)take_number(world.input)};
        const uint8_t spoil = take_byte(world.input);

        if (answer.type == ANSWER_FORMAT) {
                answer.picture = picture_make();
                answer.count = codec->formats + 1;
        }
        if (spoil < 16)
                answer.flush = take_number(world.input);
        else if (spoil < 32)
                answer.take = take_number(world.input);
        else if (spoil < 48)
                answer.index = media_guest_word();
        else if (spoil < 64)
                answer.count = take_number(world.input);
        else if (spoil < 80)
                answer.type = media_guest_word();
        return answer;
}

/* Whether what it is about has been asked for. Else the stream ends by it, which is tried rarely. */
static bool answer_is_due(const struct process *codec, const struct codec_answer *answer)
{
        if (answer->flush != codec->flush || answer->take != codec->take)
                return false;
        switch (answer->type) {
        case ANSWER_CONSUMED:
                return codec->decoding;
        case ANSWER_DRAINED:
                return codec->draining;
        case ANSWER_FRAME:
                return answer->index < VIDEO_MAX_FRAME && codec->given & UINT32_C(1) << answer->index;
        }
        return answer->type == ANSWER_FORMAT && answer->count == codec->formats + 1 &&
               picture_is_valid(&answer->picture);
}

static void codec_say(struct process *codec)
{
        const struct codec_answer answer = answer_make(codec);
        const uint8_t how = take_byte(world.input);
        const size_t size = how % 64 == 63 ? how : sizeof(answer);
        const bool due = answer_is_due(codec, &answer);
        uint8_t bytes[256] = {0};

        if (!due && how >= 16)
                return;
        codec->lied = codec->lied || !due || size != sizeof(answer);
        if (answer.type == ANSWER_CONSUMED) {
                codec->decoding = false;
        } else if (answer.type == ANSWER_DRAINED) {
                codec->draining = false;
        } else if (answer.type == ANSWER_FORMAT) {
                codec->formats = answer.count;
                codec->given = 0;
        } else if (answer.type == ANSWER_FRAME && answer.index < VIDEO_MAX_FRAME) {
                codec->given &= ~(UINT32_C(1) << answer.index);
        }
        memcpy(bytes, &answer, sizeof(answer));
        codec_send(codec->fd, bytes, size, how % 64 == 62 ? world.broker : -1);
}

static void codec_step(void)
{
        codecs_find();

        struct process *codec = world.n_codecs ? &world.codecs[take_choice(world.input, world.n_codecs)] : NULL;

        if (!codec || codec->fd < 0)
                return;
        /* Most look at once. */
        if (take_choice(world.input, 8) < 7)
                codec_hear(codec);
        if (take_choice(world.input, 32) == 31)
                codec->fd = fd_close(codec->fd);
        else
                codec_say(codec);
}

/* ---- the whole ---- */

static void check_told(const void *bytes, size_t size)
{
        const struct media_event_dqbuf *told = bytes;

        if (size == sizeof(*told) && told->header.event == MEDIA_EVENT_DQBUF)
                need(told->planes[0].bytesused <= told->planes[0].length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static const uint32_t types[] = {V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE, V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE};
        struct input input = {data, size};
        struct media_guest_options options = {
                .types = types, .n_types = 2, .window_size = WINDOW_PAGES * MEDIA_GUEST_PAGE, .check = check_told};
        const unsigned fds = count_fds();
        int ends[2];

        memset(&world, 0, sizeof(world));
        world.input = &input;
        need(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
        world.broker = ends[1];
        need(decoder_new(ends[0], decoder_codecs(NULL), "fuzz", &options.node) == 0);
        media_guest_begin(&input, &options);
        for (unsigned i = 0; i < 300 && input.size > 0; i++) {
                if (take_choice(&input, 3) == 2)
                        codec_step();
                else
                        media_guest_step();
                readers_run();
        }
        media_guest_end();
        codecs_find();
        for (unsigned i = 0; i < world.n_codecs; i++)
                fd_close(world.codecs[i].fd);
        fd_close(world.broker);
        need(count_fds() == fds);
        return 0;
}
