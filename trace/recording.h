/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TRACE_RECORDING_H
#define TRACE_RECORDING_H

#include "protocol/message.h"

#include <stddef.h>

/* Checks that a line is one that output_json() makes: the page's scripts rely on its keys and their types. 0, -EPROTO
 * and @why, or -ENOMEM. Unknown keys are ignored. */
int recording_check(const char *line, size_t length, struct complaint *why);

#endif
