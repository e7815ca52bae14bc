/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VMM_CONTROL_QUERY_H
#define VMM_CONTROL_QUERY_H

#include "vmm/machine/machine.h"

#include <json.h>

/* A machine's devices as JSON: new objects, the caller's. */

/* How commands name device @index: /machine/devices/N. */
struct json_object *query_path(unsigned index);
/* The device of that path, or -1. */
int query_find(const struct machine *machine, const char *path);

struct json_object *query_devices(const struct machine *machine);
struct json_object *query_status(const struct machine *machine, unsigned index);
/* NULL: there is no such queue. */
struct json_object *query_queue(const struct machine *machine, unsigned index, unsigned queue);
/* The regions of device @index, or, if that is -1, of all. */
struct json_object *query_shmem(const struct machine *machine, int index);

#endif
