/* SPDX-License-Identifier: BSD-2-Clause */

/* Descriptions of a machine's devices as JSON, in the form of QEMU's x-query-virtio commands, and oriel-query-shmem of
 * this project's own. Values are read through virtio_get_info(), virtio_get_queue() and oriel_region_list(), each of
 * which takes its own lock: one object is consistent in itself, two need not be of one moment. Mappings are referenced
 * while they are described and may have been unmapped meanwhile. */

#include "vmm/control/query.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "vmm/virtio/guest_window.h"

#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <string.h>

static const char path_format[] = "/machine/devices/%u";

static void query_add_string(struct json_object *to, const char *name, const char *value)
{
        json_object_object_add(to, name, json_object_new_string(value));
}

static void query_add_number(struct json_object *to, const char *name, uint64_t value)
{
        json_object_object_add(to, name, json_object_new_uint64(value));
}

static void add_bool(struct json_object *to, const char *name, bool value)
{
        json_object_object_add(to, name, json_object_new_boolean(value));
}

struct json_object *query_path(unsigned index)
{
        char path[64];

        snprintf(path, sizeof(path), path_format, index);
        return json_object_new_string(path);
}

int query_find(const struct machine *machine, const char *path)
{
        char is[64];

        for (unsigned i = 0; i < machine_device_count(machine); i++) {
                snprintf(is, sizeof(is), path_format, i);
                if (strcmp(is, path) == 0)
                        return (int)i;
        }
        return -1;
}

/* As QEMU names them. */
static const char *query_type_name(unsigned virtio_id)
{
        static const struct {
                unsigned id;
                const char *name;
        } names[] = {
                {VIRTIO_ID_NET, "virtio-net"},        {VIRTIO_ID_BLOCK, "virtio-blk"},
                {VIRTIO_ID_CONSOLE, "virtio-serial"}, {VIRTIO_ID_RNG, "virtio-rng"},
                {VIRTIO_ID_SCSI, "virtio-scsi"},      {VIRTIO_ID_GPU, "virtio-gpu"},
                {VIRTIO_ID_INPUT, "virtio-input"},    {VIRTIO_ID_VSOCK, "vhost-vsock"},
                {VIRTIO_ID_SOUND, "virtio-sound"},    {VIRTIO_ID_FS, "virtio-fs"},
                {VIRTIO_ID_PMEM, "virtio-pmem"},
        };

        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                if (names[i].id == virtio_id)
                        return names[i].name;
        return "virtio";
}

struct json_object *query_devices(const struct machine *machine)
{
        struct json_object *list = json_object_new_array();

        for (unsigned i = 0; i < machine_device_count(machine); i++) {
                struct json_object *item = json_object_new_object();
                struct virtio_info info;

                virtio_get_info(machine_get_device(machine, i), &info);
                json_object_object_add(item, "path", query_path(i));
                query_add_string(item, "name", query_type_name(info.virtio_id));
                json_object_array_add(list, item);
        }
        return list;
}

/* ---- bits by name ---- */

static void add_bits(struct json_object *to, const char *prefix, uint64_t bits, const char *(*name)(unsigned bit))
{
        char text[80];

        for (unsigned bit = 0; bit < 64; bit++) {
                if (!(bits >> bit & 1))
                        continue;

                const char *known = name(bit);

                if (known)
                        snprintf(text, sizeof(text), "%s%s", prefix, known);
                else
                        snprintf(text, sizeof(text), "bit %u", bit);
                json_object_array_add(to, json_object_new_string(text));
        }
}

static const char *status_name(unsigned bit)
{
        static const char *const names[] = {"VIRTIO_CONFIG_S_ACKNOWLEDGE",
                                            "VIRTIO_CONFIG_S_DRIVER",
                                            "VIRTIO_CONFIG_S_DRIVER_OK",
                                            "VIRTIO_CONFIG_S_FEATURES_OK",
                                            NULL,
                                            NULL,
                                            "VIRTIO_CONFIG_S_NEEDS_RESET",
                                            "VIRTIO_CONFIG_S_FAILED"};

        return bit < ARRAY_SIZE(names) ? names[bit] : NULL;
}

static const char *transport_name(unsigned bit)
{
        return oriel_virtio_feature_name(0, bit);
}

/* Those of the transport first, then those of the device's type: bits 24 to 41 are the former's (virtio 1.3, 6). */
static struct json_object *query_features(unsigned virtio_id, uint64_t bits)
{
        const uint64_t transport = ((UINT64_C(1) << 42) - 1) & ~((UINT64_C(1) << 24) - 1);
        struct json_object *object = json_object_new_object(), *list = json_object_new_array();

        add_bits(list, "", bits & transport, transport_name);
        json_object_object_add(object, "transports", list);
        list = json_object_new_array();
        for (unsigned bit = 0; bit < 64; bit++) {
                const char *name = oriel_virtio_feature_name(virtio_id, bit);

                if (bits & ~transport & UINT64_C(1) << bit)
                        json_object_array_add(list, json_object_new_string(name ? name : "not known by name"));
        }
        json_object_object_add(object, "dev-features", list);
        return object;
}

static struct json_object *query_protocol(uint64_t bits)
{
        struct json_object *object = json_object_new_object(), *list = json_object_new_array();

        add_bits(list, "VHOST_USER_PROTOCOL_F_", bits, oriel_protocol_feature_name);
        json_object_object_add(object, "protocols", list);
        return object;
}

static struct json_object *query_vhost(const struct virtio_info *info)
{
        struct json_object *object = json_object_new_object();

        query_add_number(object, "nvqs", info->queues);
        json_object_object_add(object, "features", query_features(info->virtio_id, info->offered));
        json_object_object_add(object, "acked-features", query_features(info->virtio_id, info->negotiated));
        json_object_object_add(object, "protocol-features", query_protocol(info->protocol_negotiated));
        json_object_object_add(object, "protocol-features-offered", query_protocol(info->protocol_offered));
        return object;
}

struct json_object *query_status(const struct machine *machine, unsigned index)
{
        struct json_object *object = json_object_new_object(), *status = json_object_new_object(),
                           *statuses = json_object_new_array();
        struct virtio_info info;
        char pci[32];

        virtio_get_info(machine_get_device(machine, index), &info);
        snprintf(pci, sizeof(pci), "0000:00:%02x.%u", info.pci_number >> 3, info.pci_number & 7);
        query_add_string(object, "name", query_type_name(info.virtio_id));
        query_add_number(object, "device-id", info.virtio_id);
        query_add_string(object, "back-end", info.name);
        query_add_string(object, "pci-address", pci);
        add_bool(object, "connected", info.connected);
        query_add_number(object, "connections", info.connections);
        add_bool(object, "vhost-started", info.started);
        query_add_string(object, "device-endian", "little");
        query_add_number(object, "num-vqs", info.queues);
        json_object_object_add(object, "host-features", query_features(info.virtio_id, info.offered));
        json_object_object_add(object, "guest-features", query_features(info.virtio_id, info.negotiated));
        add_bits(statuses, "", info.status, status_name);
        json_object_object_add(status, "statuses", statuses);
        json_object_object_add(object, "status", status);
        json_object_object_add(object, "vhost-dev", query_vhost(&info));
        return object;
}

struct json_object *query_queue(const struct machine *machine, unsigned index, unsigned queue)
{
        struct virtio_queue_info info;

        if (!virtio_get_queue(machine_get_device(machine, index), queue, &info))
                return NULL;

        struct json_object *object = json_object_new_object();

        query_add_number(object, "queue-index", queue);
        add_bool(object, "enabled", info.enabled);
        query_add_number(object, "vring-num", info.size);
        query_add_number(object, "msix-vector", info.vector);
        query_add_number(object, "vring-desc", info.descriptor);
        query_add_number(object, "vring-avail", info.driver);
        query_add_number(object, "vring-used", info.device);
        return object;
}

/* ---- shared memory regions ---- */

struct totals {
        uint64_t regions, mappings, mapped, lost;
};

static struct json_object *describe_mapping(struct guest_window *window, struct oriel_mapping *mapping,
                                            struct totals *totals)
{
        struct json_object *object = json_object_new_object();
        struct oriel_mapping_info info = {.struct_size = sizeof(info)};
        struct guest_window_view view = {0};

        oriel_mapping_get_info(mapping, &info);
        /* It may be gone by now, and something else in its place. */
        if (!guest_window_look(window, info.range.start, &view) || view.range.start != info.range.start)
                view = (struct guest_window_view){0};
        query_add_number(object, "offset", info.range.start);
        query_add_number(object, "length", info.range.size);
        query_add_string(object, "file", view.name);
        query_add_number(object, "fd-offset", info.fd_offset);
        query_add_string(object, "permissions", info.access == ORIEL_ACCESS_READ ? "r" : "rw");
        json_object_object_add(object, "age-ms", json_object_new_int64(now_ms() - info.created_ms));
        /* Ours is one of them. */
        query_add_number(object, "references", info.references - 1);
        query_add_number(object, "lost", view.lost);
        add_bool(object, "orphan", info.orphan);
        totals->mappings++;
        totals->mapped += info.range.size;
        totals->lost += view.lost;
        return object;
}

static struct json_object *describe_region(unsigned device, struct guest_window *window, struct totals *totals)
{
        struct json_object *object = json_object_new_object(), *list = json_object_new_array();
        struct oriel_mapping **mappings;
        uint64_t address;
        size_t n;

        json_object_object_add(object, "device", query_path(device));
        query_add_number(object, "shmid", oriel_region_shmid(guest_window_region(window)));
        query_add_number(object, "size", guest_window_size(window));
        if (guest_window_shown(window, &address))
                query_add_number(object, "address", address);
        if (oriel_region_list(guest_window_region(window), &mappings, &n) == 0) {
                for (size_t i = 0; i < n; i++)
                        json_object_array_add(list, describe_mapping(window, mappings[i], totals));
                oriel_mappings_free(mappings, n);
        }
        json_object_object_add(object, "mappings", list);
        totals->regions++;
        return object;
}

struct json_object *query_shmem(const struct machine *machine, int index)
{
        struct json_object *object = json_object_new_object(), *list = json_object_new_array(),
                           *sums = json_object_new_object();
        struct totals totals = {0};
        struct guest_window *window;

        for (unsigned i = 0; i < machine_device_count(machine); i++)
                for (unsigned w = 0; (index < 0 || (unsigned)index == i) &&
                                     (window = virtio_get_window(machine_get_device(machine, i), w));
                     w++)
                        json_object_array_add(list, describe_region(i, window, &totals));
        json_object_object_add(object, "regions", list);
        query_add_number(sums, "regions", totals.regions);
        query_add_number(sums, "mappings", totals.mappings);
        query_add_number(sums, "mapped", totals.mapped);
        query_add_number(sums, "lost", totals.lost);
        json_object_object_add(object, "totals", sums);
        return object;
}
