/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CLI_DEMO_PICTURE_H
#define CLI_DEMO_PICTURE_H

#include <oriel/shmem.h>
#include <stdio.h>

/* Names a mapping's file for the picture, or returns NULL. */
typedef const char *(*picture_name_fn)(void *userdata, const struct oriel_mapping_info *info);

/* Draw @region for people: a strip of the whole window, then a row for each mapping, at most @max_rows of them. 0 or
 * -ENOMEM. */
int picture_print(FILE *out, struct oriel_region *region, size_t max_rows, picture_name_fn name, void *userdata);

#endif
