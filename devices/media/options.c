/* SPDX-License-Identifier: BSD-2-Clause */
#include "devices/media/options.h"

#include "base/cleanup.h"
#include "base/range.h"
#include "daemon/options.h"
#include "devices/media/camera/source.h"
#include "media/wire.h"
#include "program/report.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct media_command_line media_command_line = {
        .window = UINT64_C(1) << 30,
        .max_mappings = 480,
};

const struct option_row media_rows[] = {
        {"source", OPTION_STRING, &media_command_line.source, "WHAT",
         "a camera without hardware: pattern, or a file or FIFO (-: standard input; fd:N: an inherited descriptor) of "
         "Y4M or of what --format says"},
        {"device", OPTION_STRING, &media_command_line.device, "PATH",
         "pass on a V4L2 device of this host, such as /dev/video0"},
        {"decoder", OPTION_FLAG, &media_command_line.decoder, NULL,
         "a stateful decoder instead: H.264, HEVC, VP8, VP9 and AV1, as far as libavcodec has them"},
        {"codecs", OPTION_STRING, &media_command_line.codecs, "LIST",
         "those of the decoder, with commas: H264, HEVC, VP80, VP90, AV01 (default: all)"},
        {"format", OPTION_STRING, &media_command_line.format, "FORMAT",
         "what comes out of the source, such as MJPG:640x480: YU12, YUYV, RGB3, BGR3 or MJPG"},
        {"fps", OPTION_NUMBER, &media_command_line.fps, "N",
         "how many pictures a second (default: as the file says, or as the guest wants; 30)"},
        {"card", OPTION_STRING, &media_command_line.card, "NAME",
         "what the guest calls it (default: Oriel camera, Oriel decoder, or as the device is called)"},
        {"window", OPTION_SIZE, &media_command_line.window, "SIZE",
         "how large the window is in which a guest sees buffers (default: 1G)"},
        {"max-mappings", OPTION_NUMBER, &media_command_line.max_mappings, "N",
         "how many buffers may be in it at once (default: 480; 0: no limit)"},
        {"objects", OPTION_FLAG, &media_command_line.objects, NULL,
         "have buffers in common with other devices (DMABUF, EXPBUF), for a guest's driver that can: Linux's can't "
         "yet"},
};
const size_t media_n_rows = ARRAY_SIZE(media_rows);

/* Duplicates the descriptor to standard input, which is unused: all others are closed later. */
static int use_inherited(const char *number)
{
        char *end;
        const unsigned long fd = strtoul(number, &end, 10);

        if (!isdigit((unsigned char)number[0]) || *end || fd > INT_MAX)
                return daemon_usage("--source=fd:N: the number of a descriptor");
        return dup2((int)fd, STDIN_FILENO) < 0 ? fail("--source=fd:%lu: %s", fd, strerror(errno)) : -1;
}

int media_check_options(void)
{
        struct media_command_line *line = &media_command_line;

        if (!!line->source + !!line->device + line->decoder != 1)
                return daemon_usage(
                        "one of --source (pattern, or a file), --device (/dev/videoN) and --decoder is needed");
        if (line->codecs && !line->decoder)
                return daemon_usage("--codecs: only a decoder has any");
        if (!line->source && (line->format || line->fps))
                return daemon_usage("--format and --fps are a camera's; of a device the guest sets them");
        if (!line->card && !line->device)
                line->card = line->decoder ? "Oriel decoder" : "Oriel camera";
        if (line->format && strcmp(line->source, "pattern") == 0)
                return daemon_usage("--format: the pattern has every format");
        if (line->fps > RATE_MAX)
                return daemon_usage("--fps: 1000 at most");
        if (line->window == 0 || !is_aligned(line->window, (uint64_t)sysconf(_SC_PAGESIZE)))
                return daemon_usage("--window: a size in whole pages, such as 1G");
        if (line->card && strlen(line->card) > sizeof((struct media_config){0}.card))
                return daemon_usage("--card: 32 bytes at most");
        return line->source && strncmp(line->source, "fd:", 3) == 0 ? use_inherited(line->source + 3) : -1;
}
