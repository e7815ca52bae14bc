/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_MEDIA_CORE_CONTROL_H
#define DEVICES_MEDIA_CORE_CONTROL_H

#include "devices/media/core/node.h"

/* Controls of our own nodes, from a table: integers, and the classes that they are in. */

struct media_control {
        uint32_t id, type; /* enum v4l2_ctrl_type */
        const char *name;
        int32_t minimum, maximum, step, initial;
        uint32_t flags;
};

enum { CONTROLS_MAX = 16 };

struct media_controls {
        const struct media_control *rows; /* by id */
        unsigned n;
        int32_t values[CONTROLS_MAX];
};

void media_controls_init(struct media_controls *controls, const struct media_control *rows, unsigned n);
/* Handles the ioctls that all of our own nodes have: those of controls, of priorities, and of events, with
 * subscriptions to controls only. 0 or a negative errno; -ENOTTY for others. With the lock held. */
int media_controls_ioctl(struct media_controls *controls, struct node_session *session, struct media_call *call);
/* Whether the priority of @session allows it to change shared state: 0 or -EBUSY. With the lock held. */
int media_priority_check(const struct node_session *session);
int32_t media_controls_get(const struct media_controls *controls, uint32_t id);

#endif
