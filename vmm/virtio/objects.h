/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VMM_VIRTIO_OBJECTS_H
#define VMM_VIRTIO_OBJECTS_H

#include <stdint.h>

/* The virtio objects of a machine's devices (VIRTIO 1.4, 2.11): which device a UUID belongs to. One device's back-end
 * names an object (SHARED_OBJECT_ADD), another's looks it up (_LOOKUP), and gets what the first one answers to
 * GET_SHARED_OBJECT. Each device's back-end is spoken to on that device's own thread. */
struct objects;

/* A device; the fields are objects's. */
struct objects_member {
        int wake_fd;                      /* an eventfd, the owner's: objects_serve() has something to do */
        struct objects_member *waits_for; /* whose object it is looking up */
        unsigned n_objects, n_kept;
};

int objects_new(struct objects **out);
void objects_free(struct objects *objects); /* when no member is left; NULL is accepted */

/* These three are what a front-end's operations of these names are to do: 0, a new fd of a memfd or a dmabuf, or a
 * negative errno. The lookup waits for the other device, for a second at most, and returns its errors. -EBUSY: that one
 * waits for this one. */
int objects_add(struct objects *objects, struct objects_member *member, const uint8_t uuid[16]);
int objects_remove(struct objects *objects, struct objects_member *member, const uint8_t uuid[16]);
int objects_find(struct objects *objects, struct objects_member *member, const uint8_t uuid[16]);

/* Answer what other devices have looked up here, by @get, which is oriel_frontend_get_shared_object() or the like. On
 * @member's thread. 0, or the error of @get that has ended the connection. */
int objects_serve(struct objects *objects, struct objects_member *member,
                  int (*get)(void *userdata, const uint8_t uuid[16]), void *userdata);
/* @member's back-end is gone, and with it its objects: who waits for one learns it. */
void objects_forget(struct objects *objects, struct objects_member *member);

#endif
