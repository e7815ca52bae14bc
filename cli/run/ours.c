/* SPDX-License-Identifier: BSD-2-Clause */

/* The options of "oriel run" for devices whose back-ends are programs of ours: --share, --pmem, --gpu, --camera and
 * --rng. Each is started with the arguments that are made here, and checks them itself: what is looked at here is what
 * the user is to learn before the machine starts. */

#include "cli/run/kinds.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "media/wire.h"
#include "program/report.h"
#include "program/spawn.h"
#include "shmem/filesystem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/virtio_ids.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_TAG = 36 };

/* ---- --share ---- */

struct share {
        const char *dir, *tag;
        uint64_t dax;
        unsigned request_queues, threads;
        bool readonly;
        struct option_list options;
};

static const char *check_share(const struct share *share)
{
        if (!share->dir || !share->dir[0])
                return "the directory is missing";
        if (!share->tag || !share->tag[0])
                return "tag=TAG is missing";
        if (strlen(share->tag) > MAX_TAG)
                return "the tag is too long: at most 36 bytes";
        if (share->dax && (share->dax < 2 << 20 || share->dax & (share->dax - 1)))
                return "dax: a power of two, at least 2M";
        if (share->options.n > PROGRAM_OPTIONS)
                return "option: at most 24";
        if (share->request_queues < 1 || share->request_queues > 64 || share->threads < 1 || share->threads > 64)
                return "request-queues and threads: 1 to 64";
        return NULL;
}

static const char **make_arguments(struct run_devices *to, const struct share *share)
{
        const char **arguments = new_arguments(to);
        unsigned n = 0;

        if (!arguments)
                return NULL;
        arguments[n++] = "--shared-dir";
        arguments[n++] = share->dir;
        arguments[n++] = "--tag";
        arguments[n++] = share->tag;
        arguments[n++] = keep_format(to, "--request-queues=%u", share->request_queues);
        arguments[n++] = keep_format(to, "--thread-pool-size=%u", share->threads);
        if (share->dax)
                arguments[n++] = keep_format(to, "--dax-window=%" PRIu64, share->dax);
        if (share->readonly)
                arguments[n++] = "--readonly";
        return add_options(to, &share->options, arguments, n) ? arguments : NULL;
}

#define IS_REMOTE                                                                                      \
        "a server in user space or another machine serves it, and the guest would wait for that one: " \
        "--allow-remote-files"

/* Each file is checked when it is mapped; this reports it before the machine starts. */
static bool is_remote(const char *path)
{
        _cleanup_(fd_closep) int fd = open(path, O_PATH | O_CLOEXEC);
        struct statx stat;

        filesystem_open_mounts();

        bool remote = fd_look(fd, &stat) == 0 && filesystem_is_remote(&stat);

        filesystem_close_mounts();
        return remote;
}

int parse_share(struct run_devices *to, const char *value)
{
        struct share share = {.request_queues = 1, .threads = 1};
        const struct option_row rows[] = {
                {"dir", OPTION_STRING, &share.dir, NULL, NULL},
                {"tag", OPTION_STRING, &share.tag, NULL, NULL},
                {"dax", OPTION_SIZE, &share.dax, NULL, NULL},
                {"readonly", OPTION_FLAG, &share.readonly, NULL, NULL},
                {"request-queues", OPTION_NUMBER, &share.request_queues, NULL, NULL},
                {"threads", OPTION_NUMBER, &share.threads, NULL, NULL},
                {"option", OPTION_LIST, &share.options, NULL, NULL},
        };
        struct machine_device device = {.virtio_id = VIRTIO_ID_FS, .queue_size = DEFAULT_QUEUE_SIZE};
        char *storage = devices_keep(to, malloc(strlen(value) + 1)), why[128];
        struct stat st;

        if (!storage)
                return fail("out of memory");
        if (!option_parts_parse(rows, ARRAY_SIZE(rows), true, value, storage, why, sizeof(why)))
                return devices_usage("share", value, why);

        const char *wrong = check_share(&share);

        if (wrong)
                return devices_usage("share", value, wrong);
        if (stat(share.dir, &st) < 0)
                return fail("--share: %s: %s", share.dir, strerror(errno));
        if (!S_ISDIR(st.st_mode))
                return fail("--share: %s: not a directory", share.dir);
        if (share.dax > 0 && !to->allow_remote_files && is_remote(share.dir))
                return fail("--share: %s: " IS_REMOTE " maps its files all the same, and without dax= none is mapped",
                            share.dir);
        if (!find_peer("share", "oriel-fs", "oriel-fs"))
                return STATUS_FAILURE;
        device.name = keep_format(to, "share %s", share.tag);

        const char **arguments = make_arguments(to, &share);

        if (!device.name || !arguments)
                return fail("out of memory");
        devices_add(to, &device, &(struct broker_item){.program = "oriel-fs", .arguments = arguments});
        return -1;
}

/* ---- --pmem ---- */

int parse_pmem(struct run_devices *to, const char *value)
{
        const char *file = NULL;
        bool readonly = false;
        uint64_t size = 0;
        struct option_list options = {.n = 0};
        const struct option_row rows[] = {
                {"file", OPTION_STRING, &file, NULL, NULL},
                {"readonly", OPTION_FLAG, &readonly, NULL, NULL},
                {"size", OPTION_SIZE, &size, NULL, NULL},
                {"option", OPTION_LIST, &options, NULL, NULL},
        };
        struct machine_device device = {.virtio_id = VIRTIO_ID_PMEM, .queue_size = DEFAULT_QUEUE_SIZE};
        char *storage = devices_keep(to, malloc(strlen(value) + 1)), why[128];
        const char **arguments = new_arguments(to);
        unsigned n = 0;
        struct stat st;

        if (!storage || !arguments)
                return fail("out of memory");
        if (!option_parts_parse(rows, ARRAY_SIZE(rows), true, value, storage, why, sizeof(why)))
                return devices_usage("pmem", value, why);
        if (!file || !file[0])
                return devices_usage("pmem", value, "the file is missing");
        if (options.n > PROGRAM_OPTIONS)
                return devices_usage("pmem", value, "option: at most 24");
        if (stat(file, &st) < 0 || access(file, readonly ? R_OK : R_OK | W_OK) < 0)
                return fail("--pmem: %s: %s", file, strerror(errno));
        if (!S_ISREG(st.st_mode))
                return fail("--pmem: %s: not a regular file, which alone can be shown in a window", file);
        if (!to->allow_remote_files && is_remote(file))
                return fail("--pmem: %s: " IS_REMOTE " maps it all the same", file);
        if (!find_peer("pmem", "oriel-pmem", "oriel-pmem"))
                return STATUS_FAILURE;
        device.name = keep_format(to, "pmem %s", file);
        arguments[n++] = keep_format(to, "--image=%s", file);
        if (readonly)
                arguments[n++] = "--readonly";
        if (size)
                arguments[n++] = keep_format(to, "--size=%" PRIu64, size);
        if (!add_options(to, &options, arguments, n) || !device.name)
                return fail("out of memory");
        devices_add(to, &device, &(struct broker_item){.program = "oriel-pmem", .arguments = arguments});
        return -1;
}

/* ---- --gpu, --camera ---- */

/* A program of ours. Options in @passed are passed on under their own names. */
struct own_program {
        const char *option, *program, *name;
        unsigned virtio_id;
        const char *passed[8]; /* NULL-terminated */
};

enum { MAX_PASSED = ARRAY_SIZE(((struct own_program *)NULL)->passed) };

/* Returns the program's arguments; NULL: an error was reported, and *status is the exit status. */
static const char **parse_passed(struct run_devices *to, const struct own_program *own, const char *value, int *status)
{
        const char *values[MAX_PASSED] = {NULL};
        struct option_list options = {.n = 0};
        struct option_row rows[MAX_PASSED + 1] = {{"option", OPTION_LIST, &options, NULL, NULL}};
        char *storage = devices_keep(to, malloc(strlen(value) + 1)), why[128];
        const char **arguments = new_arguments(to);
        unsigned n_rows = 1, n = 0;

        *status = STATUS_USAGE;
        for (unsigned i = 0; own->passed[i]; i++)
                rows[n_rows++] = (struct option_row){own->passed[i], OPTION_STRING, &values[i], NULL, NULL};
        if (!storage || !arguments)
                return *status = fail("out of memory"), NULL;
        if (value[0] && !option_parts_parse(rows, n_rows, false, value, storage, why, sizeof(why)))
                return devices_usage(own->option, value, why), NULL;
        if (options.n > PROGRAM_OPTIONS)
                return devices_usage(own->option, value, "option: at most 24"), NULL;
        for (unsigned i = 0; own->passed[i]; i++)
                if (values[i])
                        arguments[n++] = keep_format(to, "--%s=%s", own->passed[i], values[i]);
        if (!add_options(to, &options, arguments, n))
                return *status = fail("out of memory"), NULL;
        return arguments;
}

static int parse_own(struct run_devices *to, const struct own_program *own, const char *value)
{
        const struct machine_device device = {
                .name = own->name, .virtio_id = own->virtio_id, .queue_size = DEFAULT_QUEUE_SIZE};
        int status;
        const char **arguments = parse_passed(to, own, value, &status);

        if (!arguments)
                return status;
        if (!find_peer(own->option, own->program, own->program))
                return STATUS_FAILURE;
        devices_add(to, &device, &(struct broker_item){.program = own->program, .arguments = arguments});
        return -1;
}

int parse_gpu(struct run_devices *to, const char *value)
{
        static const struct own_program gpu = {"gpu", "oriel-gpu", "gpu", VIRTIO_ID_GPU, {"window", "wayland", "vnc"}};

        return parse_own(to, &gpu, value);
}

int parse_camera(struct run_devices *to, const char *value)
{
        static const struct own_program camera = {"camera",
                                                  "oriel-media",
                                                  "camera",
                                                  VIRTIO_ID_MEDIA,
                                                  {"source", "device", "format", "fps", "card", "window"}};

        return parse_own(to, &camera, value);
}

/* ---- --rng ---- */

int parse_rng(struct run_devices *to, const char *value)
{
        /* A device that everybody has must not need user namespaces, and has one process. What it may do its filter of
         * system calls says: it has no row that opens or removes a file. */
        static const char *arguments[] = {"--sandbox=none", NULL};
        static const struct machine_device device = {
                .name = "rng", .virtio_id = VIRTIO_ID_RNG, .queue_size = DEFAULT_QUEUE_SIZE};

        if (value && strcmp(value, "on") != 0 && strcmp(value, "off") != 0)
                return devices_usage("rng", value, "on or off");
        if (value ? strcmp(value, "off") == 0 : !program_is_there("oriel-rng") || to->n == PCI_MAX_FUNCTIONS)
                return -1;
        if (!find_peer("rng", "oriel-rng", "oriel-rng"))
                return STATUS_FAILURE;
        devices_add(to, &device, &(struct broker_item){.program = "oriel-rng", .arguments = arguments});
        return -1;
}
