/* SPDX-License-Identifier: BSD-2-Clause */

/* Prints the tables of docs/protocol.md, in Markdown, from the tables that both ends check messages against.
 * update-tables.py runs it, and compares or replaces the page's parts. It takes no argument, prints all tables in the
 * page's order, and is built for that target alone. */

#include <inttypes.h>
#include <linux/vhost_types.h>
#include <linux/virtio_config.h>
#include <oriel/frontend.h>
#include <oriel/protocol.h>
#include <stdio.h>

/* The page's name of a form of payload, and its struct in C. */
static const struct {
        const char *name;
        const char *type;
} payloads[ORIEL_PAYLOADS] = {
        [ORIEL_PAYLOAD_NONE] = {"none", NULL},
        [ORIEL_PAYLOAD_U64] = {"u64", "uint64_t"},
        [ORIEL_PAYLOAD_FEATURES] = {"features", "uint64_t"},
        [ORIEL_PAYLOAD_PROTOCOL_FEATURES] = {"protocol features", "uint64_t"},
        [ORIEL_PAYLOAD_VRING_STATE] = {"vring state", "struct vhost_vring_state"},
        [ORIEL_PAYLOAD_VRING_INDEX] = {"vring index", "struct vhost_vring_state, num 0"},
        [ORIEL_PAYLOAD_VRING_ADDR] = {"vring address", "struct vhost_vring_addr"},
        [ORIEL_PAYLOAD_VRING_FD] = {"vring fd", "uint64_t"},
        [ORIEL_PAYLOAD_MEMORY] = {"memory table", "struct oriel_wire_memory"},
        [ORIEL_PAYLOAD_MEM_REG] = {"memory region", "struct oriel_wire_mem_reg"},
        [ORIEL_PAYLOAD_LOG] = {"log", "struct oriel_wire_log, or uint64_t"},
        [ORIEL_PAYLOAD_IOTLB] = {"IOTLB message", "struct vhost_iotlb_msg"},
        [ORIEL_PAYLOAD_CONFIG] = {"config", "struct oriel_wire_config"},
        [ORIEL_PAYLOAD_VRING_AREA] = {"vring area", "struct oriel_wire_vring_area"},
        [ORIEL_PAYLOAD_INFLIGHT] = {"in-flight buffer", "struct oriel_wire_inflight"},
        [ORIEL_PAYLOAD_SHARED_OBJECT] = {"UUID", "struct oriel_wire_shared_object"},
        [ORIEL_PAYLOAD_DEVICE_STATE] = {"device state", "struct oriel_wire_device_state"},
        [ORIEL_PAYLOAD_MMAP] = {"mapping", "struct oriel_wire_mmap"},
        [ORIEL_PAYLOAD_SHMEM_CONFIG] = {"regions", "struct oriel_wire_shmem_config"},
        [ORIEL_PAYLOAD_CRYPTO] = {"crypto session", "the device's"},
};

static void print_bounds(struct oriel_bounds bounds)
{
        if (bounds.min == bounds.max)
                printf("%" PRIu32, bounds.max);
        else
                printf("%" PRIu32 " to %" PRIu32, bounds.min, bounds.max);
}

static void print_gate(const struct oriel_message_row *row)
{
        switch (row->gate) {
        case ORIEL_GATE_NONE:
                printf("nothing");
                break;
        case ORIEL_GATE_PROTOCOL_FEATURES:
                printf("protocol features offered");
                break;
        case ORIEL_GATE_PROTOCOL_FEATURE:
                printf("%s", oriel_protocol_feature_name(row->feature));
                break;
        case ORIEL_GATE_VIRTIO_FEATURE:
                printf("%s", oriel_virtio_feature_name(0, row->feature));
                break;
        }
}

static void print_reply(const struct oriel_message_row *row)
{
        if (row->reply == ORIEL_REPLY_WHEN_ASKED) {
                printf("when asked");
                return;
        }
        printf("%s, ", payloads[row->reply_payload].name);
        print_bounds(row->reply_size);
        printf(" bytes");
        if (row->reply_fds.max > 0) {
                printf(", ");
                print_bounds(row->reply_fds);
                printf(" fds");
        }
        if (row->reply == ORIEL_REPLY_LOG_SHMFD)
                printf(" (with LOG_SHMFD, else when asked)");
}

static void print_messages(enum oriel_direction direction, const char *title)
{
        printf("### %s\n\n", title);
        printf("| id | name | payload | size | fds | needs | reply |\n");
        printf("| --- | --- | --- | --- | --- | --- | --- |\n");
        for (uint32_t id = 1; id < oriel_message_count(direction); id++) {
                const struct oriel_message_row *row = oriel_message_find(direction, id);

                if (!row)
                        continue;
                printf("| %" PRIu32 " | `%s` | %s | ", row->id, row->name, payloads[row->payload].name);
                print_bounds(row->size);
                printf(" | ");
                print_bounds(row->fds);
                printf(" | ");
                print_gate(row);
                printf(" | ");
                print_reply(row);
                printf(" |\n");
        }
        printf("\n");
}

static void print_payloads(void)
{
        printf("### Payloads\n\n| payload | in C |\n| --- | --- |\n");
        for (unsigned i = 0; i < ORIEL_PAYLOADS; i++)
                if (payloads[i].type)
                        printf("| %s | `%s` |\n", payloads[i].name, payloads[i].type);
        printf("\n");
}

/* The messages that a protocol feature opens, of both directions. */
static void print_opened(unsigned bit)
{
        bool any = false;

        for (enum oriel_direction direction = ORIEL_FROM_FRONTEND; direction <= ORIEL_FROM_BACKEND; direction++)
                for (uint32_t id = 1; id < oriel_message_count(direction); id++) {
                        const struct oriel_message_row *row = oriel_message_find(direction, id);

                        if (!row || row->gate != ORIEL_GATE_PROTOCOL_FEATURE || row->feature != bit)
                                continue;
                        printf("%s`%s`%s", any ? ", " : "", row->name,
                               direction == ORIEL_FROM_BACKEND ? " (back-end)" : "");
                        any = true;
                }
        if (!any)
                printf("none of its own");
}

static void print_features(void)
{
        printf("### Protocol features\n\n");
        printf("| bit | name | messages it opens | used by Oriel's front-end |\n| --- | --- | --- | --- |\n");
        for (unsigned bit = 0; bit < ORIEL_PROTOCOL_FEATURES; bit++) {
                printf("| %u | `%s` | ", bit, oriel_protocol_feature_name(bit));
                print_opened(bit);
                printf(" | %s |\n", oriel_frontend_supported() & ORIEL_FEATURE(bit) ? "yes" : "no");
        }
        printf("\n");
}

static void print_dialects(void)
{
        const uint64_t all = ORIEL_FEATURE(ORIEL_PROTOCOL_FEATURES) - 1;
        const struct oriel_dialect *dialect;

        printf("### Dialects\n\n| name | SHMEM_MAP is bit | who speaks it | what it can't say |\n| --- | --- | --- | "
               "--- |\n");
        for (unsigned i = 0; (dialect = oriel_dialect_get(i)); i++) {
                uint64_t lost = all & ~oriel_dialect_from_wire(dialect, oriel_dialect_to_wire(dialect, all));

                printf("| `%s` | %u | %s |", dialect->name, dialect->shmem_bit, dialect->peers);
                for (unsigned bit = 0; bit < ORIEL_PROTOCOL_FEATURES; bit++)
                        if (lost & ORIEL_FEATURE(bit))
                                printf(" `%s`", oriel_protocol_feature_name(bit));
                printf("%s |\n", lost ? "" : " nothing");
        }
}

int main(void)
{
        print_messages(ORIEL_FROM_FRONTEND, "Requests of the front-end, on the main channel");
        print_messages(ORIEL_FROM_BACKEND, "Requests of the back-end, on the back-end channel");
        print_payloads();
        print_features();
        print_dialects();
        return 0;
}
