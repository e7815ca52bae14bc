/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VMM_CONTROL_CONTROL_H
#define VMM_CONTROL_CONTROL_H

#include "vmm/machine/machine.h"

/* A machine's QMP server: what it can be asked, and what it tells. On the machine's owner's thread. */
struct control;

struct control_ops {
        void (*quit)(void *userdata);
        void (*reset)(void *userdata); /* without a wait: the answer comes before it */
        void *userdata;
};

/* @listener is taken, also on failure. */
int control_new(struct machine *machine, int listener, const struct control_ops *ops, const struct oriel_log *log,
                struct control **out);
void control_free(struct control *control);        /* NULL is accepted */
int control_get_fd(const struct control *control); /* to be polled for reading */
void control_dispatch(struct control *control);
/* Tell the clients. */
void control_event(struct control *control, const struct machine_event *event);
/* It was reset, not by its guest. */
void control_reset(struct control *control, const char *reason);
/* The machine ends: @guest has asked for it, or else who runs it. */
void control_shutdown(struct control *control, bool guest, const char *reason);

#endif
