/* SPDX-License-Identifier: BSD-2-Clause */

/* The front-end's share of a network device: its features and configuration, and the control queue, of which this test
 * is the driver. There is no back-end, as none is needed for either. */

#include "base/fd.h"
#include "base/test.h"
#include "vmm/kvm/machine.h"
#include "vmm/virtio/device.h"

#include <endian.h>
#include <limits.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <oriel/virtqueue.h>
#include <string.h>
#include <sys/eventfd.h>

#define MEMORY  (UINT64_C(4) << 20)
#define RING    0x10000
#define BUFFERS 0x100000

enum { PAIRS = 4, QUEUES = 2 * PAIRS + 1, SIZE = 256 };

#define FEATURES                                                                            \
        (ORIEL_FEATURE(VIRTIO_F_VERSION_1) | ORIEL_FEATURE(VIRTIO_NET_F_CTRL_VQ) |          \
         ORIEL_FEATURE(VIRTIO_NET_F_CTRL_RX) | ORIEL_FEATURE(VIRTIO_NET_F_GUEST_ANNOUNCE) | \
         ORIEL_FEATURE(VIRTIO_NET_F_MQ))

struct world {
        struct kvm kvm;
        struct virtio virtio;
        struct oriel_memory *memory;
        struct oriel_driver_queue *driver;
        uint8_t *buffers;
        unsigned control;
};

static void begin(struct world *world, uint64_t features)
{
        const struct oriel_memory_region region = {.guest_address = 0, .size = MEMORY, .user_address = 1 << 30};
        const struct oriel_frontend_options options = {.struct_size = sizeof(options)};
        struct virtio *virtio = &world->virtio;
        struct oriel_memory *empty;
        size_t sizes[3];

        memset(world, 0, sizeof(*world));
        assert_int_equal(memory_open(&world->kvm, MEMORY, false), 0);
        virtio->options.kvm = &world->kvm;
        virtio->name = "net";
        virtio->phase = READY;
        virtio->n_queues = QUEUES;
        virtio->net = (struct net){.served = true, .pairs = PAIRS, .pairs_used = 1, .kick_fd = -1};
        virtio->registers.driver_features = features;
        virtio->config_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        pthread_mutex_init(&virtio->lock, NULL);
        assert_int_equal(oriel_frontend_new(&options, &virtio->frontend), 0);

        world->control = features & ORIEL_FEATURE(VIRTIO_NET_F_MQ) ? 2 * PAIRS : 2;
        oriel_ring_sizes(SIZE, false, sizes);

        const struct oriel_ring ring = {
                .struct_size = sizeof(ring),
                .size = SIZE,
                .features = features,
                .space = ORIEL_ADDRESS_GUEST,
                .descriptor = RING,
                .driver = RING + 0x1000,
                .device = RING + 0x2000,
        };
        struct queue *queue = &virtio->queues[world->control];

        *queue = (struct queue){
                .size = SIZE,
                .enabled = true,
                .descriptor = ring.descriptor,
                .driver = ring.driver,
                .device = ring.device,
                .kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
                .call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
        };
        world->buffers = kvm_memory_at(&world->kvm, BUFFERS, 4096);
        assert_int_equal(oriel_memory_new(1, false, &empty), 0);
        assert_int_equal(oriel_memory_add_mapped(empty, &region, kvm_memory_at(&world->kvm, 0, MEMORY),
                                                 ORIEL_ACCESS_READ_WRITE, &world->memory),
                         0);
        oriel_memory_unref(empty);
        assert_int_equal(oriel_driver_queue_new(&ring, world->memory, 0, 0, &world->driver), 0);
}

static void end(struct world *world)
{
        struct queue *queue = &world->virtio.queues[world->control];

        net_stop(&world->virtio);
        oriel_driver_queue_free(world->driver);
        oriel_memory_unref(world->memory);
        oriel_frontend_free(world->virtio.frontend);
        fd_close(queue->kick_fd);
        fd_close(queue->call_fd);
        fd_close(world->virtio.config_fd);
        memory_close(&world->kvm);
}

/* The device's answer to a command, of which the driver sends @size bytes. */
static int send_bytes(struct world *world, const void *bytes, size_t size)
{
        const struct oriel_buffer out = {BUFFERS, (uint32_t)size}, in = {BUFFERS + 0x800, 1};
        uint32_t written;
        void *token;

        memcpy(world->buffers, bytes, size);
        world->buffers[0x800] = 0xff;
        assert_int_equal(oriel_driver_queue_submit(world->driver, &out, 1, &in, 1, world), 0);
        assert_int_equal(net_serve(&world->virtio, true), 0);
        assert_int_equal(oriel_driver_queue_collect(world->driver, &token, &written), 1);
        assert_int_equal(written, 1);
        assert_int_equal(fd_event_clear(world->virtio.queues[world->control].call_fd), 1);
        return world->buffers[0x800];
}

static int command(struct world *world, uint8_t class, uint8_t number, uint16_t data, size_t size)
{
        uint8_t bytes[16] = {class, number, (uint8_t)data, (uint8_t)(data >> 8)};

        return send_bytes(world, bytes, 2 + size);
}

static void test_description(void **state)
{
        struct machine_device device = {.mac = {2, 0, 0, 0, 0, 1}, .mtu = 9000};
        struct virtio_net_config config;
        uint64_t features = UINT64_MAX;

        /* All that a configuration space up to the MTU and the control queue have, and nothing that they have not. */
        assert_int_equal(net_describe(&device, 3, &features, &config), 12);
        assert_memory_equal(config.mac, device.mac, 6);
        assert_int_equal(le16toh(config.status), VIRTIO_NET_S_LINK_UP);
        assert_int_equal(le16toh(config.max_virtqueue_pairs), 3);
        assert_int_equal(le16toh(config.mtu), 9000);
        assert_true(features & ORIEL_FEATURE(VIRTIO_NET_F_MAC) && features & ORIEL_FEATURE(VIRTIO_NET_F_MTU) &&
                    features & ORIEL_FEATURE(VIRTIO_NET_F_MQ) && features & ORIEL_FEATURE(VIRTIO_NET_F_STATUS));
        assert_false(features & ORIEL_FEATURE(VIRTIO_NET_F_CTRL_VLAN));
        assert_false(features & ORIEL_FEATURE(VIRTIO_NET_F_CTRL_MAC_ADDR));
        assert_false(features & ORIEL_FEATURE(VIRTIO_NET_F_RSS));
        assert_false(features & ORIEL_FEATURE(VIRTIO_NET_F_SPEED_DUPLEX));
        assert_true(features & ORIEL_FEATURE(VIRTIO_NET_F_MRG_RXBUF));
        for (unsigned i = 42; i < 54; i++)
                assert_false(features & ORIEL_FEATURE(i));

        /* The guest chooses the address and the MTU that the user has not given. */
        device = (struct machine_device){.mtu = 0};
        features = 0;
        net_describe(&device, 1, &features, &config);
        assert_false(features & (ORIEL_FEATURE(VIRTIO_NET_F_MAC) | ORIEL_FEATURE(VIRTIO_NET_F_MTU) |
                                 ORIEL_FEATURE(VIRTIO_NET_F_MQ) | ORIEL_FEATURE(VIRTIO_NET_F_MRG_RXBUF)));
}

static void test_commands(void **state)
{
        struct world world;
        uint8_t bytes[1] = {VIRTIO_NET_CTRL_RX};

        begin(&world, FEATURES);
        assert_int_equal(command(&world, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, 1, 1), VIRTIO_NET_OK);
        assert_int_equal(command(&world, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI, 0, 1), VIRTIO_NET_OK);
        assert_int_equal(command(&world, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, 1, 2), VIRTIO_NET_ERR);
        assert_int_equal(command(&world, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOBCAST, 1, 1), VIRTIO_NET_ERR);
        assert_int_equal(command(&world, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, 1, 2), VIRTIO_NET_ERR);
        assert_int_equal(command(&world, 200, 200, 0, 8), VIRTIO_NET_ERR);
        /* Tables of addresses, empty or not, as Linux sends them with each change of the mode. */
        assert_int_equal(command(&world, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, 0, 8), VIRTIO_NET_OK);
        assert_int_equal(command(&world, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, 1, 14), VIRTIO_NET_OK);
        assert_int_equal(command(&world, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, 1, 6), VIRTIO_NET_ERR);
        assert_int_equal(send_bytes(&world, bytes, 1), VIRTIO_NET_ERR);
        end(&world);
}

static void test_pairs(void **state)
{
        struct world world;

        begin(&world, FEATURES);
        assert_int_equal(net_backend_queues(&world.virtio), 2 * PAIRS);
        for (unsigned pairs = 1; pairs <= PAIRS; pairs++) {
                assert_int_equal(
                        command(&world, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, (uint16_t)pairs, 2),
                        VIRTIO_NET_OK);
                assert_int_equal(net_control_index(&world.virtio), 2 * PAIRS);
                for (unsigned queue = 0; queue < 2 * PAIRS; queue++)
                        assert_int_equal(net_uses_queue(&world.virtio, queue), queue < 2 * pairs);
        }
        assert_int_equal(command(&world, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, 0, 2), VIRTIO_NET_ERR);
        assert_int_equal(command(&world, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, PAIRS + 1, 2),
                         VIRTIO_NET_ERR);
        assert_int_equal(command(&world, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, 1, 1), VIRTIO_NET_ERR);
        assert_true(net_uses_queue(&world.virtio, 2 * PAIRS - 1));
        net_stop(&world.virtio);
        assert_false(net_uses_queue(&world.virtio, 2));
        end(&world);

        /* A driver that can't use several has its control queue behind the first. */
        begin(&world, FEATURES & ~ORIEL_FEATURE(VIRTIO_NET_F_MQ));
        assert_int_equal(command(&world, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, 1, 1), VIRTIO_NET_OK);
        assert_int_equal(command(&world, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, 2, 2), VIRTIO_NET_ERR);
        assert_int_equal(net_control_index(&world.virtio), 2);
        end(&world);
}

static void test_announcement(void **state)
{
        struct world world;

        begin(&world, FEATURES);

        const struct virtio_net_config *config = (const struct virtio_net_config *)world.virtio.config;

        net_set_link(&world.virtio, true);
        assert_int_equal(le16toh(config->status), VIRTIO_NET_S_LINK_UP);
        net_set_link(&world.virtio, false);
        assert_int_equal(le16toh(config->status), 0);
        net_set_link(&world.virtio, true);

        /* The first back-end needs none. */
        assert_int_equal(net_serve(&world.virtio, true), 0);
        world.virtio.connections = 1;
        assert_int_equal(net_announce(&world.virtio), 0);
        assert_int_equal(le16toh(config->status), VIRTIO_NET_S_LINK_UP);
        fd_event_clear(world.virtio.config_fd);
        world.virtio.connections = 2;
        assert_int_equal(net_announce(&world.virtio), 0);
        assert_int_equal(le16toh(config->status), VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
        assert_int_equal(fd_event_clear(world.virtio.config_fd), 1);
        assert_int_equal(command(&world, VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, 0, 0), VIRTIO_NET_OK);
        assert_int_equal(le16toh(config->status), VIRTIO_NET_S_LINK_UP);
        end(&world);
}

/* A driver that sends more than is served at once: the thread is free in between, and comes back by itself. */
static void test_many_commands(void **state)
{
        const struct oriel_buffer out = {BUFFERS, 3}, in = {BUFFERS + 0x800, 1};
        const uint8_t promiscuous[] = {VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, 1};
        struct world world;
        unsigned answered = 0, passes = 0;
        uint32_t written;
        void *token;

        begin(&world, FEATURES);
        memcpy(world.buffers, promiscuous, sizeof(promiscuous));
        for (unsigned i = 0; i < 100; i++)
                assert_int_equal(oriel_driver_queue_submit(world.driver, &out, 1, &in, 1, &world), 0);
        fd_event_signal(world.virtio.queues[world.control].kick_fd);
        /* As its thread does: as long as it is kicked. */
        while (fd_event_clear(world.virtio.queues[world.control].kick_fd) == 1) {
                assert_int_equal(net_serve(&world.virtio, true), 0);
                passes++;
        }
        while (oriel_driver_queue_collect(world.driver, &token, &written) == 1)
                answered++;
        assert_int_equal(answered, 100);
        assert_int_equal(passes, 2);
        end(&world);
}

/* A driver without a control queue, or with one that is not in memory. */
static void test_no_queue(void **state)
{
        struct world world;

        begin(&world, ORIEL_FEATURE(VIRTIO_F_VERSION_1));
        assert_int_equal(net_serve(&world.virtio, true), 0);
        assert_int_equal(world.virtio.net.kick_fd, -1);
        assert_int_equal(net_control_index(&world.virtio), UINT_MAX);
        end(&world);

        begin(&world, FEATURES);
        world.virtio.queues[world.control].descriptor = MEMORY - 16;
        assert_int_equal(net_serve(&world.virtio, true), 0);
        assert_true(world.virtio.registers.status & VIRTIO_CONFIG_S_NEEDS_RESET);
        /* Its kicks are not looked at until the device runs again. */
        assert_int_equal(net_serve(&world.virtio, false), 0);
        assert_int_equal(world.virtio.net.kick_fd, -1);
        end(&world);

        /* One that is reset alone: without a back-end, and the pairs stay as they are. */
        begin(&world, FEATURES);
        assert_int_equal(command(&world, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, 3, 2), VIRTIO_NET_OK);
        world.virtio.queues[world.control].resetting = true;
        assert_int_equal(net_serve(&world.virtio, true), 0);
        assert_false(world.virtio.queues[world.control].resetting || world.virtio.queues[world.control].enabled);
        assert_int_equal(world.virtio.net.kick_fd, -1);
        assert_null(world.virtio.net.control);
        assert_true(net_uses_queue(&world.virtio, 5));
        end(&world);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_description), cmocka_unit_test(test_commands),
                cmocka_unit_test(test_pairs),       cmocka_unit_test(test_announcement),
                cmocka_unit_test(test_no_queue),    cmocka_unit_test(test_many_commands),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
