/* SPDX-License-Identifier: BSD-2-Clause */

/* The options of "oriel run" for devices whose back-ends are other people's programs: --net by passt, --disk by
 * qemu-storage-daemon, --vsock by vhost-device-vsock. They are started as ours are, and again if they end. passt takes
 * the end of a connection; the others listen at a path in a folder of this process. */

#include "cli/run/kinds.h"

#include "base/cleanup.h"
#include "program/report.h"
#include "program/spawn.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

/* Adds a program that was given @arguments, with @n of them, and the user's @options. */
static int others_add(struct run_devices *to, const struct machine_device *device, const char *program,
                      const char *socket, const char **arguments, unsigned n, const struct option_list *options)
{
        if (!add_options(to, options, arguments, n) || !device->name)
                return fail("out of memory");
        devices_add(to, device, &(struct broker_item){.program = program, .socket = socket, .arguments = arguments});
        return -1;
}

/* ---- --net ---- */

enum { MAX_FORWARDS = 8 };

static bool parse_mac(const char *text, uint8_t mac[6])
{
        int end = 0;

        return strlen(text) == 17 && strspn(text, "0123456789abcdefABCDEF:") == 17 &&
               sscanf(text, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%n", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4],
                      &mac[5], &end) == 6 &&
               text[end] == '\0' && !(mac[0] & 1) && strspn(text, "0:") < 17;
}

/* One of the range that QEMU and libvirt use. */
static bool make_mac(uint8_t mac[6])
{
        memcpy(mac, (const uint8_t[]){0x52, 0x54, 0}, 3);
        return getrandom(mac + 3, 3, 0) == 3;
}

struct net_options {
        const char *mode, *socket, *mac;
        unsigned mtu, pairs;
        struct option_list forwards, options;
};

static const char *check_net(const struct net_options *net, uint8_t mac[6])
{
        if (net->mac && !parse_mac(net->mac, mac))
                return "mac: six bytes in hexadecimal, as 52:54:00:12:34:56, of one machine alone";
        if (net->mtu && (net->mtu < 68 || net->mtu > 65521))
                return "mtu: 68 to 65521";
        if (net->pairs < 1 || net->pairs > 64)
                return "pairs: 1 to 64";
        if (net->mode && strcmp(net->mode, "passt") != 0)
                return "mode: passt; or socket=PATH of a back-end that listens there";
        if (net->socket && !net->socket[0])
                return "socket: the path is missing";
        if (net->socket && (net->mode || net->forwards.n || net->options.n))
                return "mode, forward and option are for passt, and socket=PATH for a back-end that runs already";
        if (net->options.n > PROGRAM_OPTIONS || net->forwards.n > MAX_FORWARDS)
                return "option: at most 24, forward: at most 8";
        for (unsigned i = 0; i < net->forwards.n; i++)
                if ((strncmp(net->forwards.values[i], "tcp:", 4) != 0 &&
                     strncmp(net->forwards.values[i], "udp:", 4) != 0) ||
                    !net->forwards.values[i][4])
                        return "forward: tcp:HOST-PORT:GUEST-PORT or udp:HOST-PORT:GUEST-PORT";
        return NULL;
}

static int add_passt(struct run_devices *to, const struct machine_device *device, const struct net_options *net)
{
        const char **arguments = new_arguments(to);
        unsigned n = 0;

        if (!find_peer("net", "passt", "passt"))
                return STATUS_FAILURE;
        if (program_lacks("passt", "--vhost-user"))
                return fail("--net: this passt has no --vhost-user: a newer one is needed, as Debian 13 has it");
        if (!arguments)
                return fail("out of memory");
        arguments[n++] = "--vhost-user";
        arguments[n++] = "--foreground";
        arguments[n++] = "--quiet";
        if (net->mtu)
                arguments[n++] = keep_format(to, "--mtu=%u", net->mtu);
        /* "tcp:8080:80" is passt's -t 8080:80. */
        for (unsigned i = 0; i < net->forwards.n; i++) {
                arguments[n++] = net->forwards.values[i][0] == 't' ? "-t" : "-u";
                arguments[n++] = net->forwards.values[i] + 4;
        }
        return others_add(to, device, "passt", NULL, arguments, n, &net->options);
}

int parse_net(struct run_devices *to, const char *value)
{
        struct machine_device device = {.virtio_id = VIRTIO_ID_NET, .queue_size = DEFAULT_QUEUE_SIZE};
        struct net_options net = {.pairs = 1};
        const struct option_row rows[] = {
                {"mode", OPTION_STRING, &net.mode, NULL, NULL},    {"socket", OPTION_STRING, &net.socket, NULL, NULL},
                {"mac", OPTION_STRING, &net.mac, NULL, NULL},      {"mtu", OPTION_NUMBER, &net.mtu, NULL, NULL},
                {"pairs", OPTION_NUMBER, &net.pairs, NULL, NULL},  {"forward", OPTION_LIST, &net.forwards, NULL, NULL},
                {"option", OPTION_LIST, &net.options, NULL, NULL},
        };
        char *storage = devices_keep(to, malloc(strlen(value) + 1)), why[128];

        if (!storage)
                return fail("out of memory");
        if (value[0] && !option_parts_parse(rows, ARRAY_SIZE(rows), false, value, storage, why, sizeof(why)))
                return devices_usage("net", value, why);
        if (!make_mac(device.mac))
                return fail("--net: there is no random address: %s", strerror(errno));

        const char *wrong = check_net(&net, device.mac);

        if (wrong)
                return devices_usage("net", value, wrong);
        device.mtu = (uint16_t)net.mtu;
        device.queues = 2 * net.pairs;
        device.name = keep_format(to, net.socket ? "net %s" : "net", net.socket);
        if (!net.socket)
                return add_passt(to, &device, &net);
        if (!device.name)
                return fail("out of memory");
        devices_add(to, &device, &(struct broker_item){.socket = net.socket});
        return -1;
}

/* ---- --disk ---- */

/* In the values of qemu-storage-daemon a comma is written twice. */
static char *keep_escaped(struct run_devices *to, const char *text)
{
        char *escaped = devices_keep(to, malloc(2 * strlen(text) + 1)), *at = escaped;

        for (; escaped && *text; text++) {
                if (*text == ',')
                        *at++ = ',';
                *at++ = *text;
        }
        if (escaped)
                *at = '\0';
        return escaped;
}

static const char *const disk_formats[] = {"raw", "qcow2", NULL};

struct disk_options {
        const char *file, *driver;
        unsigned format, queues;
        bool readonly;
        struct option_list options;
};

static int add_disk(struct run_devices *to, const struct disk_options *disk)
{
        const char *path = keep_escaped(to, disk->file), *socket = keep_socket(to);
        const char *readonly = disk->readonly ? "on" : "off", **arguments = new_arguments(to);
        unsigned n = 0;

        if (!socket)
                return STATUS_FAILURE;
        if (!path || !arguments)
                return fail("out of memory");
        arguments[n++] = "--blockdev";
        arguments[n++] =
                keep_format(to, "driver=%s,node-name=file,filename=%s,read-only=%s", disk->driver, path, readonly);
        arguments[n++] = "--blockdev";
        arguments[n++] = keep_format(to, "driver=%s,node-name=disk,file=file,read-only=%s", disk_formats[disk->format],
                                     readonly);
        arguments[n++] = "--export";
        arguments[n++] = keep_format(
                to, "type=vhost-user-blk,id=disk,node-name=disk,addr.type=unix,addr.path=%s,num-queues=%u,writable=%s",
                socket, disk->queues, disk->readonly ? "off" : "on");
        return others_add(to,
                          &(struct machine_device){.name = keep_format(to, "disk %s", disk->file),
                                                   .virtio_id = VIRTIO_ID_BLOCK,
                                                   .queues = disk->queues,
                                                   .queue_size = DEFAULT_QUEUE_SIZE},
                          "qemu-storage-daemon", socket, arguments, n, &disk->options);
}

int parse_disk(struct run_devices *to, const char *value)
{
        struct disk_options disk = {.queues = 1};
        const struct option_row rows[] = {
                {"file", OPTION_STRING, &disk.file, NULL, NULL},
                {"format", OPTION_CHOICE, &disk.format, NULL, NULL, disk_formats},
                {"readonly", OPTION_FLAG, &disk.readonly, NULL, NULL},
                {"queues", OPTION_NUMBER, &disk.queues, NULL, NULL},
                {"option", OPTION_LIST, &disk.options, NULL, NULL},
        };
        char *storage = devices_keep(to, malloc(strlen(value) + 1)), why[128];
        struct stat stat_of_file;

        if (!storage)
                return fail("out of memory");
        if (!option_parts_parse(rows, ARRAY_SIZE(rows), true, value, storage, why, sizeof(why)))
                return devices_usage("disk", value, why);
        if (!disk.file || !disk.file[0])
                return devices_usage("disk", value, "the file is missing");
        if (disk.options.n > PROGRAM_OPTIONS || disk.queues < 1 || disk.queues > 64)
                return devices_usage("disk", value, "option: at most 24, queues: 1 to 64");
        if (stat(disk.file, &stat_of_file) < 0 || access(disk.file, disk.readonly ? R_OK : R_OK | W_OK) < 0)
                return fail("--disk: %s: %s", disk.file, strerror(errno));
        if (!S_ISREG(stat_of_file.st_mode) && !S_ISBLK(stat_of_file.st_mode))
                return fail("--disk: %s: neither a regular file nor a block device", disk.file);
        disk.driver = S_ISBLK(stat_of_file.st_mode) ? "host_device" : "file";
        if (!find_peer("disk", "qemu-storage-daemon", "qemu-utils, in Debian 12 in qemu-system-common"))
                return STATUS_FAILURE;
        return add_disk(to, &disk);
}

/* ---- --vsock ---- */

int parse_vsock(struct run_devices *to, const char *value)
{
        struct machine_device device = {.virtio_id = VIRTIO_ID_VSOCK, .queue_size = DEFAULT_QUEUE_SIZE};
        const char *uds = NULL;
        struct stat at;
        unsigned cid = 3, n = 0;
        struct option_list options = {.n = 0};
        const struct option_row rows[] = {
                {"cid", OPTION_NUMBER, &cid, NULL, NULL},
                {"uds", OPTION_STRING, &uds, NULL, NULL},
                {"option", OPTION_LIST, &options, NULL, NULL},
        };
        char *storage = devices_keep(to, malloc(strlen(value) + 1)), why[128];
        const char **arguments = new_arguments(to);

        if (!storage || !arguments)
                return fail("out of memory");
        if (!option_parts_parse(rows, ARRAY_SIZE(rows), false, value, storage, why, sizeof(why)))
                return devices_usage("vsock", value, why);
        if (!uds || !uds[0] || cid < 3 || cid == UINT32_MAX || options.n > PROGRAM_OPTIONS)
                return devices_usage("vsock", value, "cid=N, from 3 on, and uds=PATH; option: at most 24");
        /* The program would put its socket in the place of any file. */
        if (stat(uds, &at) == 0 && !S_ISSOCK(at.st_mode))
                return fail("--vsock: %s: there is a file that is no socket", uds);
        if (!find_peer("vsock", "vhost-device-vsock", "vhost-device-vsock"))
                return STATUS_FAILURE;

        const char *socket = keep_socket(to);

        if (!socket)
                return STATUS_FAILURE;
        device.name = keep_format(to, "vsock %u", cid);
        arguments[n++] = keep_format(to, "--guest-cid=%u", cid);
        arguments[n++] = keep_format(to, "--uds-path=%s", uds);
        arguments[n++] = keep_format(to, "--socket=%s", socket);
        return others_add(to, &device, "vhost-device-vsock", socket, arguments, n, &options);
}
