/* SPDX-License-Identifier: BSD-2-Clause */

/* Asks a back-end for all that a device is made of: features, queues, config space, memory slots and shared memory
 * regions. The first back-end's answers become the device; each later one is compared with them, because the guest's
 * driver has seen them and can't be told otherwise. Runs on the device's thread. A failure has a reason in words, for
 * the log and for QMP. */

#include "base/cleanup.h"
#include "base/range.h"
#include "vmm/virtio/device.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Of the features between device and transport, those that this transport can't serve. */
static const unsigned not_offered[] = {
        26,                        /* VHOST_F_LOG_ALL: of vhost, not of the device */
        ORIEL_F_PROTOCOL_FEATURES, /* the same */
        VIRTIO_F_ACCESS_PLATFORM,  /* there is no IOMMU */
        VIRTIO_F_SR_IOV,
        38, /* NOTIFICATION_DATA: an ioeventfd has none */
        39, /* NOTIF_CONFIG_DATA */
        41, /* ADMIN_VQ */
};

static const unsigned protocol_wanted[] = {
        ORIEL_PROTOCOL_F_MQ,
        ORIEL_PROTOCOL_F_REPLY_ACK,
        ORIEL_PROTOCOL_F_BACKEND_REQ,
        ORIEL_PROTOCOL_F_CONFIG,
        ORIEL_PROTOCOL_F_BACKEND_SEND_FD,
        ORIEL_PROTOCOL_F_INFLIGHT_SHMFD,
        ORIEL_PROTOCOL_F_RESET_DEVICE,
        ORIEL_PROTOCOL_F_STATUS,
        ORIEL_PROTOCOL_F_CONFIGURE_MEM_SLOTS,
        ORIEL_PROTOCOL_F_SHMEM_MAP,
        ORIEL_PROTOCOL_F_GPA_ADDRESSES,
        ORIEL_PROTOCOL_F_SHARED_OBJECT,
        ORIEL_PROTOCOL_F_RARP,
        ORIEL_PROTOCOL_F_MTU,
};

/* Device types that have a configuration space: their drivers read it, and Linux's die of it where there is none. How
 * many queues they have at least, where the back-end can't say. */
static const struct device_type {
        unsigned virtio_id;
        const char *name;
        unsigned queues;
} configured_types[] = {
        {VIRTIO_ID_NET, "net", 2},         {VIRTIO_ID_BLOCK, "block", 1},  {VIRTIO_ID_CONSOLE, "console", 2},
        {VIRTIO_ID_BALLOON, "balloon", 2}, {VIRTIO_ID_SCSI, "scsi", 3},    {VIRTIO_ID_9P, "9p", 1},
        {VIRTIO_ID_GPU, "gpu", 2},         {VIRTIO_ID_INPUT, "input", 2},  {VIRTIO_ID_VSOCK, "vsock", 3},
        {VIRTIO_ID_CRYPTO, "crypto", 2},   {VIRTIO_ID_IOMMU, "iommu", 2},  {VIRTIO_ID_MEM, "mem", 1},
        {VIRTIO_ID_SOUND, "sound", 4},     {VIRTIO_ID_FS, "fs", 2},        {VIRTIO_ID_PMEM, "pmem", 1},
        {VIRTIO_ID_RPMB, "rpmb", 1},       {VIRTIO_ID_BT, "bluetooth", 2}, {VIRTIO_ID_GPIO, "gpio", 1},
};

/* NULL: a type without one, or one that is not known. */
static const struct device_type *find_configured_type(unsigned virtio_id)
{
        for (size_t i = 0; i < ARRAY_SIZE(configured_types); i++)
                if (configured_types[i].virtio_id == virtio_id)
                        return &configured_types[i];
        return NULL;
}

/* The answers of one back-end. */
struct answers {
        uint64_t device_features;
        unsigned n_queues;
        uint32_t config_size;
        uint8_t config[ORIEL_MAX_CONFIG];
        uint64_t shmem_sizes[ORIEL_MAX_SHMIDS];
        uint64_t max_slots;
};

/* The reason for a failure, in words. */
struct reason {
        char *text;
        size_t size;
};

__attribute__((format(printf, 3, 4))) static int refused_because(const struct reason *reason, int error,
                                                                 const char *format, ...)
{
        va_list arguments;

        va_start(arguments, format);
        vsnprintf(reason->text, reason->size, format, arguments);
        va_end(arguments);
        return error;
}

static int refused_explain(const struct reason *reason, const char *request, int r)
{
        static const struct {
                int error;
                const char *words;
        } words[] = {
                {-ETIMEDOUT, "the back-end does not answer"},
                {-ENOTCONN, "the back-end has closed the connection: it may be serving another front-end"},
                {-EPROTO, "the back-end does not speak vhost-user as the specification has it"},
                {-EREMOTEIO, "the back-end refuses it"},
                {-EMFILE, "this process may have no more descriptors: raise the limit (ulimit -n)"},
        };

        for (size_t i = 0; i < ARRAY_SIZE(words); i++)
                if (words[i].error == r)
                        return refused_because(reason, r, "%s: %s", request, words[i].words);
        return refused_because(reason, r, "%s: %s", request, strerror(-r));
}

static int bringup_negotiate(struct virtio *virtio, struct answers *answers, const struct reason *reason)
{
        uint64_t wanted = 0;

        for (size_t i = 0; i < ARRAY_SIZE(protocol_wanted); i++)
                wanted |= ORIEL_FEATURE(protocol_wanted[i]);

        int r = oriel_frontend_negotiate(virtio->frontend, wanted);

        if (r < 0)
                return refused_explain(reason, "negotiation", r);
        answers->device_features = oriel_frontend_device_features(virtio->frontend);
        for (size_t i = 0; i < ARRAY_SIZE(not_offered); i++)
                answers->device_features &= ~ORIEL_FEATURE(not_offered[i]);
        if (!(answers->device_features & ORIEL_FEATURE(VIRTIO_F_VERSION_1)))
                return refused_because(reason, -EOPNOTSUPP,
                                       "the back-end does not offer VIRTIO_F_VERSION_1: a virtio 1.0 device is needed");
        /* Where a packed ring has come to is not in the ring: without a record it can't go on after a back-end's end.
         */
        if (!has_protocol(virtio, ORIEL_PROTOCOL_F_INFLIGHT_SHMFD))
                answers->device_features &= ~ORIEL_FEATURE(VIRTIO_F_RING_PACKED);
        return 0;
}

/* Whether the front-end has the configuration space, and the control queue, of a back-end that has none. */
static bool serves_net(const struct virtio *virtio)
{
        return virtio->options.device.virtio_id == VIRTIO_ID_NET && !has_protocol(virtio, ORIEL_PROTOCOL_F_CONFIG);
}

/* Network back-ends count pairs of queues, and take more than a guest is to have. */
static int count_pairs(struct virtio *virtio, struct answers *answers, const struct reason *reason)
{
        unsigned wanted = virtio->options.device.queues ? virtio->options.device.queues / 2 : 1, most = 1;
        int r = has_protocol(virtio, ORIEL_PROTOCOL_F_MQ) ? oriel_frontend_get_queue_num(virtio->frontend, &most) : 0;

        if (r < 0)
                return refused_explain(reason, "GET_QUEUE_NUM", r);
        if (wanted == 0 || wanted > most || 2 * wanted + 1 > MAX_QUEUES)
                return refused_because(
                        reason, -EOPNOTSUPP,
                        "the back-end has %u pairs of queues, and %u are wanted, 127 at most: see pairs=N of"
                        " --net, or queues=N",
                        most, wanted);
        answers->n_queues = 2 * wanted + 1;
        return 0;
}

static int bringup_count_queues(struct virtio *virtio, struct answers *answers, const struct reason *reason)
{
        if (serves_net(virtio))
                return count_pairs(virtio, answers, reason);

        const struct device_type *type = find_configured_type(virtio->options.device.virtio_id);
        unsigned wanted = virtio->options.device.queues, most = MAX_QUEUES;

        if (has_protocol(virtio, ORIEL_PROTOCOL_F_MQ)) {
                int r = oriel_frontend_get_queue_num(virtio->frontend, &most);

                if (r < 0)
                        return refused_explain(reason, "GET_QUEUE_NUM", r);
        } else if (wanted == 0) {
                wanted = type ? type->queues : 1;
        }
        answers->n_queues = wanted ? wanted : most;
        if (most == 0 || answers->n_queues > most)
                return refused_because(reason, -EOPNOTSUPP,
                                       "the back-end has %u queues, and %u are wanted: see queues=N", most, wanted);
        return 0;
}

static int tell_mtu(struct virtio *virtio, const struct reason *reason)
{
        if (!virtio->options.device.mtu || !has_protocol(virtio, ORIEL_PROTOCOL_F_MTU))
                return 0;

        int r = oriel_frontend_net_set_mtu(virtio->frontend, virtio->options.device.mtu);

        return r < 0 ? refused_explain(reason, "NET_SET_MTU", r) : 0;
}

/* A network back-end that has a configuration space, but no ring for the control queue, which is the last of an odd
 * number: its driver would look for one. */
static void mask_control_queue(const struct virtio *virtio, struct answers *answers)
{
        const unsigned of_control[] = {VIRTIO_NET_F_CTRL_VQ,       VIRTIO_NET_F_CTRL_RX, VIRTIO_NET_F_CTRL_VLAN,
                                       VIRTIO_NET_F_CTRL_RX_EXTRA, VIRTIO_NET_F_MQ,      VIRTIO_NET_F_CTRL_MAC_ADDR,
                                       VIRTIO_NET_F_GUEST_ANNOUNCE};

        if (virtio->options.device.virtio_id == VIRTIO_ID_NET && answers->n_queues % 2 == 0)
                for (size_t i = 0; i < ARRAY_SIZE(of_control); i++)
                        answers->device_features &= ~ORIEL_FEATURE(of_control[i]);
}

/* Nobody tells how long a config space is, and back-ends refuse to read past its end. */
static int bringup_read_config(struct virtio *virtio, struct answers *answers, const struct reason *reason)
{
        uint32_t good = 0, bad = ORIEL_MAX_CONFIG + 1;

        const struct device_type *type = find_configured_type(virtio->options.device.virtio_id);

        if (serves_net(virtio)) {
                answers->config_size =
                        net_describe(&virtio->options.device, answers->n_queues / 2, &answers->device_features,
                                     (struct virtio_net_config *)answers->config);
                return tell_mtu(virtio, reason);
        }
        if (!has_protocol(virtio, ORIEL_PROTOCOL_F_CONFIG) && type)
                return refused_because(
                        reason, -EOPNOTSUPP,
                        "the back-end offers no configuration space (CONFIG), and a %s device (virtio-id=%u) has one%s",
                        type->name, type->virtio_id,
                        type->virtio_id == VIRTIO_ID_FS ? ": virtiofsd offers it with --tag" : "");
        if (!has_protocol(virtio, ORIEL_PROTOCOL_F_CONFIG))
                return 0;
        while (bad - good > 1) {
                uint32_t size = good + (bad - good) / 2;
                int r = oriel_frontend_get_config(virtio->frontend, 0, answers->config, size);

                if (r < 0 && r != -EREMOTEIO)
                        return refused_explain(reason, "GET_CONFIG", r);
                if (r == 0)
                        good = size;
                else
                        bad = size;
        }
        answers->config_size = good;
        mask_control_queue(virtio, answers);
        return good ? 0 : refused_because(reason, -EOPNOTSUPP, "GET_CONFIG: the back-end refuses it");
}

static int ask_slots(struct virtio *virtio, struct answers *answers, const struct reason *reason)
{
        if (!has_protocol(virtio, ORIEL_PROTOCOL_F_CONFIGURE_MEM_SLOTS))
                return 0;

        int r = oriel_frontend_get_max_mem_slots(virtio->frontend, &answers->max_slots);

        return r < 0 ? refused_explain(reason, "GET_MAX_MEM_SLOTS", r) : 0;
}

/* The regions are side by side in one BAR. */
static int check_regions(const uint64_t *sizes, const struct reason *reason)
{
        uint64_t sum = 0;

        for (unsigned i = 0; i < ORIEL_MAX_SHMIDS; i++) {
                if (sizes[i] == 0)
                        continue;
                if (!is_aligned(sizes[i], (uint64_t)sysconf(_SC_PAGESIZE)))
                        return refused_because(reason, -EINVAL,
                                               "shared memory region %u: 0x%" PRIx64 " bytes are not whole pages", i,
                                               sizes[i]);
                if (!checked_add(sum, sizes[i], &sum) || !checked_round_up(sum, 2 << 20, &sum) || sum > INT64_MAX / 2)
                        return refused_because(
                                reason, -EOVERFLOW,
                                "its shared memory regions are too large for a PCI BAR: their sum overflows");
        }
        return 0;
}

static int ask_regions(struct virtio *virtio, struct answers *answers, const struct reason *reason)
{
        if (!has_protocol(virtio, ORIEL_PROTOCOL_F_SHMEM_MAP))
                return 0;

        int r = oriel_frontend_get_shmem_config(virtio->frontend, answers->shmem_sizes);

        return r < 0 ? refused_explain(reason, "GET_SHMEM_CONFIG", r) : check_regions(answers->shmem_sizes, reason);
}

/* ---- the first back-end, and the next ---- */

static int make_windows(struct virtio *virtio, const struct reason *reason)
{
        unsigned windows = 0;

        for (unsigned i = 0; i < ORIEL_MAX_SHMIDS; i++)
                windows += virtio->shmem_sizes[i] > 0;
        for (unsigned i = 0; i < ORIEL_MAX_SHMIDS; i++) {
                struct guest_window_options options = {
                        .shmid = (uint8_t)i,
                        .size = virtio->shmem_sizes[i],
                        .shares = windows * virtio->options.devices,
                        .kvm = virtio->options.kvm,
                        .dma = virtio->options.dma,
                        .allow_remote_files = virtio->options.allow_remote_files,
                        .log = &virtio->log,
                };
                struct device_window *window = &virtio->windows[virtio->n_windows];

                if (options.size == 0)
                        continue;

                int r = guest_window_new(&options, &window->window);

                if (r < 0)
                        return refused_because(
                                reason, r, "no window of 0x%" PRIx64 " bytes for shared memory region %u: %s",
                                options.size, i, r == -ENOSPC ? "vm.max_map_count is too small for it" : strerror(-r));
                window->shmid = (uint8_t)i;
                virtio->n_windows++;
                oriel_frontend_set_region(virtio->frontend, (uint8_t)i, guest_window_region(window->window));
        }
        return 0;
}

static int bringup_take_answers(struct virtio *virtio, const struct answers *answers, const struct reason *reason)
{
        virtio->device_features = answers->device_features;
        virtio->n_queues = answers->n_queues;
        virtio->config_size = answers->config_size;
        virtio->net = (struct net){
                .served = serves_net(virtio),
                .pairs = answers->n_queues / 2,
                .pairs_used = 1,
                .kick_fd = -1,
        };
        memcpy(virtio->shmem_sizes, answers->shmem_sizes, sizeof(virtio->shmem_sizes));
        return make_windows(virtio, reason);
}

/* The guest's driver has been told once, and can't be told otherwise. A back-end that offers more will do. */
static int compare_answers(const struct virtio *virtio, const struct answers *answers, const struct reason *reason)
{
        if (virtio->device_features & ~answers->device_features)
                return refused_because(reason, -EOPNOTSUPP,
                                       "the new back-end lacks features of the one before: 0x%" PRIx64,
                                       virtio->device_features & ~answers->device_features);
        if (answers->n_queues != virtio->n_queues || answers->config_size != virtio->config_size ||
            serves_net(virtio) != virtio->net.served)
                return refused_because(
                        reason, -EOPNOTSUPP,
                        "the new back-end has other queues, or another config space, than the one before");
        if (memcmp(answers->shmem_sizes, virtio->shmem_sizes, sizeof(virtio->shmem_sizes)) != 0)
                return refused_because(reason, -EOPNOTSUPP,
                                       "the new back-end has other shared memory regions than the one before");
        return 0;
}

static void take_config(struct virtio *virtio, const struct answers *answers)
{
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&virtio->lock);
        if (memcmp(virtio->config, answers->config, answers->config_size) != 0) {
                memcpy(virtio->config, answers->config, answers->config_size);
                if (virtio->phase == READY)
                        transport_config_interrupt(virtio);
        }
        virtio->slots.max = answers->max_slots;
        virtio->protocol_offered = oriel_frontend_offered(virtio->frontend);
        virtio->protocol_features = oriel_frontend_protocol_features(virtio->frontend);
}

int bringup(struct virtio *virtio, char *why, size_t why_size)
{
        static int (*const steps[])(struct virtio * virtio, struct answers * answers, const struct reason *reason) = {
                bringup_negotiate, bringup_count_queues, bringup_read_config, ask_slots, ask_regions};
        const struct reason reason = {why, why_size};
        _cleanup_(freep) struct answers *answers = calloc(1, sizeof(*answers));

        if (!answers)
                return refused_because(&reason, -ENOMEM, "no memory");

        int r = 0;

        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(steps); i++)
                r = steps[i](virtio, answers, &reason);
        if (r == 0)
                r = virtio->phase == BRINGING_UP ? bringup_take_answers(virtio, answers, &reason)
                                                 : compare_answers(virtio, answers, &reason);
        if (r == 0)
                take_config(virtio, answers);
        return r;
}
