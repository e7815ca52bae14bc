/* SPDX-License-Identifier: BSD-2-Clause */

/* The names of feature bits, for traces, logs and reports: protocol features by their number, virtio features by device
 * id and bit. The bits that all device types share come first, and win. The names are those of the kernel's headers, or
 * of the specification where these have none. The tables are constant; any thread may look up. */

#include "base/cleanup.h"

#include <linux/vhost_types.h>
#include <linux/virtio_balloon.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_console.h>
#include <linux/virtio_gpio.h>
#include <linux/virtio_gpu.h>
#include <linux/virtio_i2c.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_iommu.h>
#include <linux/virtio_mem.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <linux/virtio_scsi.h>
#include <linux/virtio_vsock.h>
#include <oriel/protocol.h>

struct bit_name {
        unsigned bit;
        const char *name;
};

#define NAMED(macro)          \
        {                     \
                macro, #macro \
        }

/* Bits that mean the same for every device type, VIRTIO 1.2, 6. */
static const struct bit_name common_bits[] = {
        NAMED(VIRTIO_F_NOTIFY_ON_EMPTY), {VHOST_F_LOG_ALL, "VHOST_F_LOG_ALL"},
        NAMED(VIRTIO_F_ANY_LAYOUT),      NAMED(VIRTIO_RING_F_INDIRECT_DESC),
        NAMED(VIRTIO_RING_F_EVENT_IDX),  {ORIEL_F_PROTOCOL_FEATURES, "VHOST_USER_F_PROTOCOL_FEATURES"},
        NAMED(VIRTIO_F_VERSION_1),       NAMED(VIRTIO_F_ACCESS_PLATFORM),
        NAMED(VIRTIO_F_RING_PACKED),     NAMED(VIRTIO_F_IN_ORDER),
        NAMED(VIRTIO_F_ORDER_PLATFORM),  NAMED(VIRTIO_F_SR_IOV),
        NAMED(VIRTIO_F_RING_RESET),
};

/* Each bit is listed under the first name that the kernel's header has for it. */
static const struct bit_name net_bits[] = {
        NAMED(VIRTIO_NET_F_CSUM),
        NAMED(VIRTIO_NET_F_GUEST_CSUM),
        NAMED(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS),
        NAMED(VIRTIO_NET_F_MTU),
        NAMED(VIRTIO_NET_F_MAC),
        NAMED(VIRTIO_NET_F_GUEST_TSO4),
        NAMED(VIRTIO_NET_F_GUEST_TSO6),
        NAMED(VIRTIO_NET_F_GUEST_ECN),
        NAMED(VIRTIO_NET_F_GUEST_UFO),
        NAMED(VIRTIO_NET_F_HOST_TSO4),
        NAMED(VIRTIO_NET_F_HOST_TSO6),
        NAMED(VIRTIO_NET_F_HOST_ECN),
        NAMED(VIRTIO_NET_F_HOST_UFO),
        NAMED(VIRTIO_NET_F_MRG_RXBUF),
        NAMED(VIRTIO_NET_F_STATUS),
        NAMED(VIRTIO_NET_F_CTRL_VQ),
        NAMED(VIRTIO_NET_F_CTRL_RX),
        NAMED(VIRTIO_NET_F_CTRL_VLAN),
        NAMED(VIRTIO_NET_F_CTRL_RX_EXTRA),
        NAMED(VIRTIO_NET_F_GUEST_ANNOUNCE),
        NAMED(VIRTIO_NET_F_MQ),
        NAMED(VIRTIO_NET_F_CTRL_MAC_ADDR),
        NAMED(VIRTIO_NET_F_NOTF_COAL),
        NAMED(VIRTIO_NET_F_HASH_REPORT),
        NAMED(VIRTIO_NET_F_RSS),
        NAMED(VIRTIO_NET_F_RSC_EXT),
        NAMED(VIRTIO_NET_F_STANDBY),
        NAMED(VIRTIO_NET_F_SPEED_DUPLEX),
        NAMED(VIRTIO_NET_F_GSO),
};

static const struct bit_name blk_bits[] = {
        NAMED(VIRTIO_BLK_F_SIZE_MAX),     NAMED(VIRTIO_BLK_F_SEG_MAX),    NAMED(VIRTIO_BLK_F_GEOMETRY),
        NAMED(VIRTIO_BLK_F_RO),           NAMED(VIRTIO_BLK_F_BLK_SIZE),   NAMED(VIRTIO_BLK_F_TOPOLOGY),
        NAMED(VIRTIO_BLK_F_MQ),           NAMED(VIRTIO_BLK_F_DISCARD),    NAMED(VIRTIO_BLK_F_WRITE_ZEROES),
        NAMED(VIRTIO_BLK_F_SECURE_ERASE), NAMED(VIRTIO_BLK_F_BARRIER),    NAMED(VIRTIO_BLK_F_SCSI),
        NAMED(VIRTIO_BLK_F_FLUSH),        NAMED(VIRTIO_BLK_F_CONFIG_WCE),
};

static const struct bit_name console_bits[] = {
        NAMED(VIRTIO_CONSOLE_F_SIZE),
        NAMED(VIRTIO_CONSOLE_F_MULTIPORT),
        NAMED(VIRTIO_CONSOLE_F_EMERG_WRITE),
};

static const struct bit_name balloon_bits[] = {
        NAMED(VIRTIO_BALLOON_F_MUST_TELL_HOST), NAMED(VIRTIO_BALLOON_F_STATS_VQ),
        NAMED(VIRTIO_BALLOON_F_DEFLATE_ON_OOM), NAMED(VIRTIO_BALLOON_F_FREE_PAGE_HINT),
        NAMED(VIRTIO_BALLOON_F_PAGE_POISON),    NAMED(VIRTIO_BALLOON_F_REPORTING),
};

static const struct bit_name scsi_bits[] = {
        NAMED(VIRTIO_SCSI_F_INOUT),
        NAMED(VIRTIO_SCSI_F_HOTPLUG),
        NAMED(VIRTIO_SCSI_F_CHANGE),
        NAMED(VIRTIO_SCSI_F_T10_PI),
};

static const struct bit_name gpu_bits[] = {
        NAMED(VIRTIO_GPU_F_VIRGL),         NAMED(VIRTIO_GPU_F_EDID),         NAMED(VIRTIO_GPU_F_RESOURCE_UUID),
        NAMED(VIRTIO_GPU_F_RESOURCE_BLOB), NAMED(VIRTIO_GPU_F_CONTEXT_INIT),
};

static const struct bit_name vsock_bits[] = {
        NAMED(VIRTIO_VSOCK_F_SEQPACKET),
};

static const struct bit_name iommu_bits[] = {
        NAMED(VIRTIO_IOMMU_F_INPUT_RANGE),   NAMED(VIRTIO_IOMMU_F_DOMAIN_RANGE), NAMED(VIRTIO_IOMMU_F_MAP_UNMAP),
        NAMED(VIRTIO_IOMMU_F_BYPASS),        NAMED(VIRTIO_IOMMU_F_PROBE),        NAMED(VIRTIO_IOMMU_F_MMIO),
        NAMED(VIRTIO_IOMMU_F_BYPASS_CONFIG),
};

static const struct bit_name mem_bits[] = {
        NAMED(VIRTIO_MEM_F_ACPI_PXM),
        NAMED(VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE),
};

static const struct bit_name i2c_bits[] = {
        NAMED(VIRTIO_I2C_F_ZERO_LENGTH_REQUEST),
};

static const struct bit_name gpio_bits[] = {
        NAMED(VIRTIO_GPIO_F_IRQ),
};

static const struct {
        uint32_t device_id;
        const struct bit_name *bits;
        size_t count;
} devices[] = {
        {VIRTIO_ID_NET, net_bits, ARRAY_SIZE(net_bits)},
        {VIRTIO_ID_BLOCK, blk_bits, ARRAY_SIZE(blk_bits)},
        {VIRTIO_ID_CONSOLE, console_bits, ARRAY_SIZE(console_bits)},
        {VIRTIO_ID_BALLOON, balloon_bits, ARRAY_SIZE(balloon_bits)},
        {VIRTIO_ID_SCSI, scsi_bits, ARRAY_SIZE(scsi_bits)},
        {VIRTIO_ID_GPU, gpu_bits, ARRAY_SIZE(gpu_bits)},
        {VIRTIO_ID_VSOCK, vsock_bits, ARRAY_SIZE(vsock_bits)},
        {VIRTIO_ID_IOMMU, iommu_bits, ARRAY_SIZE(iommu_bits)},
        {VIRTIO_ID_MEM, mem_bits, ARRAY_SIZE(mem_bits)},
        {VIRTIO_ID_I2C_ADAPTER, i2c_bits, ARRAY_SIZE(i2c_bits)},
        {VIRTIO_ID_GPIO, gpio_bits, ARRAY_SIZE(gpio_bits)},
};

static const char *const protocol_names[ORIEL_PROTOCOL_FEATURES] = {
        [ORIEL_PROTOCOL_F_MQ] = "MQ",
        [ORIEL_PROTOCOL_F_LOG_SHMFD] = "LOG_SHMFD",
        [ORIEL_PROTOCOL_F_RARP] = "RARP",
        [ORIEL_PROTOCOL_F_REPLY_ACK] = "REPLY_ACK",
        [ORIEL_PROTOCOL_F_MTU] = "MTU",
        [ORIEL_PROTOCOL_F_BACKEND_REQ] = "BACKEND_REQ",
        [ORIEL_PROTOCOL_F_CROSS_ENDIAN] = "CROSS_ENDIAN",
        [ORIEL_PROTOCOL_F_CRYPTO_SESSION] = "CRYPTO_SESSION",
        [ORIEL_PROTOCOL_F_PAGEFAULT] = "PAGEFAULT",
        [ORIEL_PROTOCOL_F_CONFIG] = "CONFIG",
        [ORIEL_PROTOCOL_F_BACKEND_SEND_FD] = "BACKEND_SEND_FD",
        [ORIEL_PROTOCOL_F_HOST_NOTIFIER] = "HOST_NOTIFIER",
        [ORIEL_PROTOCOL_F_INFLIGHT_SHMFD] = "INFLIGHT_SHMFD",
        [ORIEL_PROTOCOL_F_RESET_DEVICE] = "RESET_DEVICE",
        [ORIEL_PROTOCOL_F_INBAND_NOTIFICATIONS] = "INBAND_NOTIFICATIONS",
        [ORIEL_PROTOCOL_F_CONFIGURE_MEM_SLOTS] = "CONFIGURE_MEM_SLOTS",
        [ORIEL_PROTOCOL_F_STATUS] = "STATUS",
        [ORIEL_PROTOCOL_F_XEN_MMAP] = "XEN_MMAP",
        [ORIEL_PROTOCOL_F_SHARED_OBJECT] = "SHARED_OBJECT",
        [ORIEL_PROTOCOL_F_DEVICE_STATE] = "DEVICE_STATE",
        [ORIEL_PROTOCOL_F_GET_VRING_BASE_INFLIGHT] = "GET_VRING_BASE_INFLIGHT",
        [ORIEL_PROTOCOL_F_GPA_ADDRESSES] = "GPA_ADDRESSES",
        [ORIEL_PROTOCOL_F_SHMEM_MAP] = "SHMEM_MAP",
};

const char *oriel_protocol_feature_name(unsigned bit)
{
        return bit < ARRAY_SIZE(protocol_names) ? protocol_names[bit] : NULL;
}

static const char *find_bit(const struct bit_name *bits, size_t count, unsigned bit)
{
        for (size_t i = 0; i < count; i++)
                if (bits[i].bit == bit)
                        return bits[i].name;
        return NULL;
}

const char *oriel_virtio_feature_name(uint32_t device_id, unsigned bit)
{
        const char *name = find_bit(common_bits, ARRAY_SIZE(common_bits), bit);

        for (size_t i = 0; !name && i < ARRAY_SIZE(devices); i++)
                if (devices[i].device_id == device_id)
                        name = find_bit(devices[i].bits, devices[i].count, bit);
        return name;
}
