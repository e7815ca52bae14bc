/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VMM_VIRTIO_NET_H
#define VMM_VIRTIO_NET_H

#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stdint.h>

struct machine_device;
struct oriel_device_queue;
struct virtio;

/* A network device whose back-end has no configuration space of its own (virtio 1.2, 5.1): the front-end has one for
 * it, and serves its control queue. The device's thread's own, but for what is constant while the device lives. */
struct net {
        bool served;    /* it is such a device; constant */
        unsigned pairs; /* of queues, that the driver may use; constant */
        unsigned pairs_used;
        uint64_t features; /* the driver's */
        struct oriel_device_queue *control;
        int kick_fd; /* the control queue's, while it is served; -1 */
};

/* Describes a device with @pairs of queues to the driver: changes the back-end's @features to those that the
 * front-end and it have together, and fills in @config. Returns the size of @config. */
uint32_t net_describe(const struct machine_device *device, unsigned pairs, uint64_t *features,
                      struct virtio_net_config *config);

/* The queue that the front-end serves, by the driver's features as net_serve() has seen them; UINT_MAX: none. */
unsigned net_control_index(const struct virtio *virtio);
/* How many of the device's queues are the back-end's. */
unsigned net_backend_queues(const struct virtio *virtio);
/* Whether the back-end is to process @queue: the driver chooses how many pairs it uses. */
bool net_uses_queue(const struct virtio *virtio, unsigned queue);

/* Serves the control queue, as far as the driver has one and the device runs (@run), and whether or not there is a
 * back-end. 0, or the error of a request to the back-end. On the device's thread. */
int net_serve(struct virtio *virtio, bool run);
/* The driver has reset the device. */
void net_stop(struct virtio *virtio);
/* The link is up while there is a back-end. With the device's lock. */
void net_set_link(struct virtio *virtio, bool up);
/* Has the guest tell the network where it is, after a back-end has come back. */
int net_announce(struct virtio *virtio);

#endif
