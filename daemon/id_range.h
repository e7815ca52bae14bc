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

/* Parses "A:B:C", with @wanted numbers. */
bool id_numbers_parse(const char *text, uint32_t *numbers, size_t wanted);
/* A range must end below -1, which is no id. */
bool id_range_valid(uint32_t start, uint32_t count);

#endif
