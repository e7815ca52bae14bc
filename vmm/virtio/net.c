/* SPDX-License-Identifier: BSD-2-Clause */

/* The front-end's share of a network device. Back-ends of vhost-user know the two rings of each pair and the frames in
 * them; the configuration space (MAC address, link, MTU, number of pairs) and the control queue are the front-end's,
 * where the back-end has no CONFIG: passt, DPDK, Open vSwitch. Features that need more than is served here are masked.
 *
 * The control queue is a ring of the library's device side over guest memory. It is served on the device's thread, also
 * while the back-end is away, because Linux's driver spins until a command is answered; while that thread waits for an
 * answer of the back-end it waits too, which has a limit. Commands are rows of a table; the
 * number of pairs is the only one that the back-end hears of, by SET_VRING_ENABLE. */

#include "vmm/virtio/net.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "vmm/virtio/device.h"

#include <endian.h>
#include <errno.h>
#include <limits.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <oriel/virtqueue.h>
#include <string.h>

/* The features that are the back-end's alone: of frames and their headers. All others need the configuration space or
 * the control queue, of which the front-end serves what net_describe() adds. */
static const unsigned net_of_frames[] = {
        VIRTIO_NET_F_CSUM,
        VIRTIO_NET_F_GUEST_CSUM,
        VIRTIO_NET_F_GUEST_TSO4,
        VIRTIO_NET_F_GUEST_TSO6,
        VIRTIO_NET_F_GUEST_ECN,
        VIRTIO_NET_F_GUEST_UFO,
        VIRTIO_NET_F_HOST_TSO4,
        VIRTIO_NET_F_HOST_TSO6,
        VIRTIO_NET_F_HOST_ECN,
        VIRTIO_NET_F_HOST_UFO,
        VIRTIO_NET_F_MRG_RXBUF,
        54, /* GUEST_USO4 */
        55,
        /* GUEST_USO6 */ 56,
        /* HOST_USO */ 59,
        /* GUEST_HDRLEN */ VIRTIO_NET_F_RSC_EXT,
};

uint32_t net_describe(const struct machine_device *device, unsigned pairs, uint64_t *features,
                      struct virtio_net_config *config)
{
        static const uint8_t none[6];
        const bool has_mac = memcmp(device->mac, none, sizeof(none)) != 0;

        /* Those of the transport and of rings stay. */
        uint64_t kept = (ORIEL_FEATURE(42) - 1) & ~(ORIEL_FEATURE(24) - 1);

        for (size_t i = 0; i < ARRAY_SIZE(net_of_frames); i++)
                kept |= ORIEL_FEATURE(net_of_frames[i]);
        *features &= kept;
        *features |= ORIEL_FEATURE(VIRTIO_NET_F_STATUS) | ORIEL_FEATURE(VIRTIO_NET_F_CTRL_VQ) |
                     ORIEL_FEATURE(VIRTIO_NET_F_CTRL_RX) | ORIEL_FEATURE(VIRTIO_NET_F_GUEST_ANNOUNCE);
        if (has_mac)
                *features |= ORIEL_FEATURE(VIRTIO_NET_F_MAC);
        if (device->mtu)
                *features |= ORIEL_FEATURE(VIRTIO_NET_F_MTU);
        if (pairs > 1)
                *features |= ORIEL_FEATURE(VIRTIO_NET_F_MQ);
        memset(config, 0, sizeof(*config));
        memcpy(config->mac, device->mac, sizeof(config->mac));
        config->status = htole16(VIRTIO_NET_S_LINK_UP);
        config->max_virtqueue_pairs = htole16((uint16_t)pairs);
        config->mtu = htole16(device->mtu);
        return offsetof(struct virtio_net_config, speed);
}

static bool net_has(const struct virtio *virtio, unsigned feature)
{
        return virtio->net.features & ORIEL_FEATURE(feature);
}

/* virtio 1.2, 5.1.2: behind the pairs, of which there is one where the driver can't use more. */
unsigned net_control_index(const struct virtio *virtio)
{
        if (!virtio->net.served || !net_has(virtio, VIRTIO_NET_F_CTRL_VQ))
                return UINT_MAX;
        return net_has(virtio, VIRTIO_NET_F_MQ) ? 2 * virtio->net.pairs : 2;
}

unsigned net_backend_queues(const struct virtio *virtio)
{
        return virtio->net.served ? 2 * virtio->net.pairs : virtio->n_queues;
}

bool net_uses_queue(const struct virtio *virtio, unsigned queue)
{
        return !virtio->net.served || queue / 2 < virtio->net.pairs_used;
}

/* ---- commands ---- */

/* The modes, and the table of addresses: the back-end passes on all frames that it has for the guest. */
static int set_receive_mode(struct virtio *virtio, const uint8_t *data)
{
        return 0;
}

static int acknowledge_announcement(struct virtio *virtio, const uint8_t *data)
{
        struct virtio_net_config *config = (struct virtio_net_config *)virtio->config;
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&virtio->lock);

        config->status &= htole16((uint16_t)~VIRTIO_NET_S_ANNOUNCE);
        return 0;
}

static int set_pairs(struct virtio *virtio, const uint8_t *data)
{
        uint16_t pairs;
        int r = 0;

        memcpy(&pairs, data, sizeof(pairs));
        pairs = le16toh(pairs);
        if (pairs < VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MIN || pairs > virtio->net.pairs)
                return -EINVAL;

        const unsigned before = virtio->net.pairs_used;

        virtio->net.pairs_used = pairs;
        for (unsigned i = 0; r == 0 && i < net_backend_queues(virtio); i++)
                if (virtio->queues[i].running)
                        r = oriel_frontend_set_vring_enable(virtio->frontend, i, net_uses_queue(virtio, i));
        if (r == -EREMOTEIO)
                virtio->net.pairs_used = before;
        return r;
}

enum {
        ANY_SIZE = UINT8_MAX,
        COMMANDS_MOST = 64, /* served at once */
};

static const struct command {
        uint8_t class, command;
        unsigned feature;
        size_t size;
        int (*run)(struct virtio *virtio, const uint8_t *data);
} net_commands[] = {
        {VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, VIRTIO_NET_F_CTRL_RX, 1, set_receive_mode},
        {VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI, VIRTIO_NET_F_CTRL_RX, 1, set_receive_mode},
        {VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, VIRTIO_NET_F_CTRL_RX, ANY_SIZE, set_receive_mode},
        {VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, VIRTIO_NET_F_GUEST_ANNOUNCE, 0,
         acknowledge_announcement},
        {VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, VIRTIO_NET_F_MQ, 2, set_pairs},
};

/* -EOPNOTSUPP: no such command; -EINVAL: its data are wrong; else 0 or the error of a request to the back-end. */
static int net_run_command(struct virtio *virtio, const struct oriel_chain *chain)
{
        struct virtio_net_ctrl_hdr header;
        uint8_t data[8];
        size_t size;

        if (oriel_chain_read(chain, 0, &header, sizeof(header)) != sizeof(header))
                return -EINVAL;
        size = oriel_chain_read(chain, sizeof(header), data, sizeof(data));
        for (size_t i = 0; i < ARRAY_SIZE(net_commands); i++) {
                const struct command *command = &net_commands[i];

                if (command->class == header.class && command->command == header.cmd &&
                    net_has(virtio, command->feature))
                        return size == command->size || command->size == ANY_SIZE ? command->run(virtio, data)
                                                                                  : -EINVAL;
        }
        return -EOPNOTSUPP;
}

/* ---- the control queue ---- */

/* Guest memory, as the control queue finds its buffers in it. */
static int net_find_memory(struct virtio *virtio, struct oriel_memory **out)
{
        struct oriel_memory_region regions[2];
        unsigned n = kvm_memory_regions(virtio->options.kvm, regions);
        int r = oriel_memory_new(n, false, out);

        for (unsigned i = 0; r == 0 && i < n; i++) {
                struct oriel_memory *before = *out;

                r = oriel_memory_add_mapped(
                        before, &regions[i],
                        kvm_memory_at(virtio->options.kvm, regions[i].guest_address, regions[i].size),
                        ORIEL_ACCESS_READ_WRITE, out);
                oriel_memory_unref(before);
        }
        return r;
}

static int start_control(struct virtio *virtio, const struct queue *queue)
{
        const struct oriel_ring ring = {
                .struct_size = sizeof(ring),
                .size = queue->size,
                .features = virtio->net.features,
                .space = ORIEL_ADDRESS_GUEST,
                .descriptor = queue->descriptor,
                .driver = queue->driver,
                .device = queue->device,
        };
        struct oriel_memory *memory = NULL;
        int r = net_find_memory(virtio, &memory);

        if (r == 0)
                r = oriel_device_queue_new(&ring, memory, 0, &virtio->net.control);
        oriel_memory_unref(memory);
        return r;
}

static int answer_one(struct virtio *virtio, struct oriel_chain *chain)
{
        int r = net_run_command(virtio, chain);
        const virtio_net_ctrl_ack ack = r == 0 ? VIRTIO_NET_OK : VIRTIO_NET_ERR;
        size_t written = oriel_chain_write(chain, 0, &ack, sizeof(ack));
        int pushed = oriel_device_queue_push(virtio->net.control, chain, written);

        return r == -EOPNOTSUPP || r == -EINVAL || r == -EREMOTEIO || pushed < 0 ? 0 : r;
}

/* A driver that goes on sending does not keep the thread here: after COMMANDS_MOST it kicks itself, to come back. */
static int serve_control(struct virtio *virtio, const struct queue *queue)
{
        struct oriel_device_queue *control = virtio->net.control;
        struct oriel_chain *chain;
        unsigned n = 0;
        int r = 0;

        fd_event_clear(queue->kick_fd);
        oriel_device_queue_want_kick(control, false);
        while (r == 0 && n < COMMANDS_MOST && oriel_device_queue_pop(control, &chain) == 1) {
                r = answer_one(virtio, chain);
                n++;
        }
        if (oriel_device_queue_want_kick(control, true) && oriel_device_queue_error(control) == 0)
                fd_event_signal(queue->kick_fd);
        if (oriel_device_queue_needs_call(control))
                fd_event_signal(queue->call_fd);
        return r;
}

/* Its driver finds the control queue as it was at first. With the device's lock. */
static void reset_control(struct virtio *virtio, struct queue *queue)
{
        oriel_device_queue_free(virtio->net.control);
        virtio->net.control = NULL;
        queue->enabled = queue->resetting = false;
        queue->descriptor = queue->driver = queue->device = 0;
        queue->size = (uint16_t)virtio->options.device.queue_size;
}

/* The control queue as its driver has it now; not enabled: it is not to be served. */
static struct queue look_at_control(struct virtio *virtio, bool run)
{
        const struct queue none = {.enabled = false};
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&virtio->lock);

        virtio->net.features = virtio->registers.driver_features;

        unsigned index = net_control_index(virtio);

        if (!run || index >= virtio->n_queues)
                return none;
        if (virtio->queues[index].resetting)
                reset_control(virtio, &virtio->queues[index]);
        return virtio->queues[index];
}

int net_serve(struct virtio *virtio, bool run)
{
        if (!virtio->net.served)
                return 0;

        const struct queue queue = look_at_control(virtio, run);
        int r = 0;

        virtio->net.kick_fd = queue.enabled ? queue.kick_fd : -1;
        if (!queue.enabled)
                return 0;
        if (!virtio->net.control)
                r = start_control(virtio, &queue);
        if (virtio->net.control)
                r = serve_control(virtio, &queue);
        if ((!virtio->net.control || oriel_device_queue_error(virtio->net.control) < 0) && transport_need_reset(virtio))
                log_warning(&virtio->log, "%s: the control queue: %s: the device needs a reset by its driver",
                            virtio->name,
                            virtio->net.control ? oriel_device_queue_why(virtio->net.control) : strerror(-r));
        return virtio->net.control ? r : 0;
}

void net_stop(struct virtio *virtio)
{
        oriel_device_queue_free(virtio->net.control);
        virtio->net.control = NULL;
        virtio->net.kick_fd = -1;
        virtio->net.pairs_used = 1;
}

/* ---- the link ---- */

void net_set_link(struct virtio *virtio, bool up)
{
        struct virtio_net_config *config = (struct virtio_net_config *)virtio->config;
        uint16_t status = up ? htole16(VIRTIO_NET_S_LINK_UP) : 0;

        if (!virtio->net.served || virtio->phase != READY || config->status == status)
                return;
        config->status = status;
        transport_config_interrupt(virtio);
}

int net_announce(struct virtio *virtio)
{
        struct virtio_net_config *config = (struct virtio_net_config *)virtio->config;

        if (!virtio->net.served || virtio->connections < 2)
                return 0;
        pthread_mutex_lock(&virtio->lock);

        bool by_guest = net_has(virtio, VIRTIO_NET_F_GUEST_ANNOUNCE);

        if (by_guest) {
                config->status |= htole16(VIRTIO_NET_S_ANNOUNCE);
                transport_config_interrupt(virtio);
        }
        pthread_mutex_unlock(&virtio->lock);

        bool has_mac = virtio->device_features & ORIEL_FEATURE(VIRTIO_NET_F_MAC);
        int r = by_guest || !has_mac || !has_protocol(virtio, ORIEL_PROTOCOL_F_RARP)
                        ? 0
                        : oriel_frontend_send_rarp(virtio->frontend, config->mac);

        return r == -EREMOTEIO ? 0 : r;
}
