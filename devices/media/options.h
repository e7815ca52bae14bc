/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_MEDIA_OPTIONS_H
#define DEVICES_MEDIA_OPTIONS_H

#include "program/options.h"

#include <stdint.h>

/* The options of oriel-media that other device daemons don't have. */
struct media_command_line {
        const char *source, *device, *format, *card;
        bool decoder, objects;
        const char *codecs; /* of the decoder; NULL: all */
        unsigned fps;
        uint64_t window;
        unsigned max_mappings;
};

extern struct media_command_line media_command_line;
extern const struct option_row media_rows[];
extern const size_t media_n_rows;

/* Returns -1, or the exit status, and an error was reported. */
int media_check_options(void);

#endif
