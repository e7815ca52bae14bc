/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DAEMON_ID_RANGE_H
#define DAEMON_ID_RANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One range of a user namespace, of the form of --uid-map: ":INSIDE:OUTSIDE:COUNT:". */
struct id_range {
        uint32_t inside, outside, count;
};
/* 0 or -EINVAL. */
int id_range_parse(const char *text, struct id_range *range);

/* The numbers of "A:B:C", as @wanted says how many. */
bool id_numbers_parse(const char *text, uint32_t *numbers, size_t wanted);
/* A range of ids ends below -1, which is none. */
bool id_range_valid(uint32_t start, uint32_t count);

#endif
