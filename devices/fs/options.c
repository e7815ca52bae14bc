/* SPDX-License-Identifier: BSD-2-Clause */

/* The command line of oriel-fs. Each option is a row of fs_rows whose target is a field of fs_command_line; options
 * whose text needs more than a row (-o, --translate-uid, --xattrmap, --dax, --parked) are stored as text first. After
 * parsing, fs_check_options() runs its steps in order, the first that fails gives the exit status, and then derives
 * what the sandbox needs. It runs before the sandbox, on the only thread; results live in static variables until the
 * process ends. */

#include "devices/fs/options.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "daemon/options.h"
#include "devices/fs/core/idmap.h"
#include "devices/fs/files/xattr_map.h"
#include "program/report.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct fs_command_line fs_command_line = {
        .tag = "oriel",
        .request_queues = 1,
        .poll_us = 50,
        .fs = {.file_handles = FS_HANDLES_PREFER},
};

/* In the order of their enums. */
static const char *const cache_policies[] = {"auto", "always", "never|none", "metadata", NULL};
static const char *const whens[] = {"never", "auto", "always", NULL};
static const char *const handles[] = {"never", "prefer|fallback", "mandatory", NULL};

const struct option_row fs_rows[] = {
        {"shared-dir", OPTION_STRING, &fs_command_line.fs.shared_dir, "DIR", "the directory to share"},
        {"tag", OPTION_STRING, &fs_command_line.tag, "TAG", "the name the guest mounts it by (default: oriel)"},
        {"readonly", OPTION_FLAG, &fs_command_line.fs.readonly, NULL, "let the guest change nothing"},

        {"dax-window", OPTION_SIZE, &fs_command_line.fs.window_size, "SIZE",
         "offer a DAX window of this size, such as 1G (default: none)"},
        {"dax", OPTION_STRING, &fs_command_line.dax, "WHEN",
         "which files dax=inode maps: always (default), never, auto[=SIZE]"},
        {"allow-writable-dax", OPTION_FLAG, &fs_command_line.fs.insist, NULL,
         "with --readonly: DAX even where the front-end lets the guest write"},

        {"cache", OPTION_CHOICE, &fs_command_line.fs.cache, "POLICY", "auto (default), always, never, metadata",
         .choices = cache_policies},
        {"writeback", OPTION_FLAG, &fs_command_line.fs.writeback, NULL,
         "let the guest keep what was written for a while"},
        {"allow-mmap", OPTION_FLAG, &fs_command_line.fs.allow_mmap, NULL,
         "with --cache=never or metadata: shared mappings"},
        {"allow-direct-io", OPTION_FLAG, &fs_command_line.fs.allow_direct_io, NULL, "keep O_DIRECT"},
        {"preserve-noatime", OPTION_FLAG, &fs_command_line.fs.preserve_noatime, NULL,
         "fail where O_NOATIME can't be kept (default: open without)"},
        {"no-readdirplus", OPTION_FLAG, &fs_command_line.fs.no_readdirplus, NULL,
         "list directories without attributes"},

        {"xattr", OPTION_FLAG, &fs_command_line.fs.xattr, NULL, "extended attributes"},
        {"xattrmap", OPTION_STRING, &fs_command_line.xattrmap, "RULES",
         "what they are called on the host (turns on --xattr)"},
        {"posix-acl", OPTION_CHOICE, &fs_command_line.fs.posix_acl, "WHEN",
         "access lists: never (default), auto, always", whens, "always"},
        {"security-label", OPTION_CHOICE, &fs_command_line.fs.security_label, "WHEN",
         "labels of new files: never (default), auto, always", whens, "always"},
        {"killpriv-v2", OPTION_FLAG, &fs_command_line.fs.killpriv_v2, NULL,
         "clear set-user-ID bits here, not in the guest"},
        {"no-killpriv-v2", OPTION_CLEAR, &fs_command_line.fs.killpriv_v2, NULL, "leave that to the guest (default)"},
        {"posix-lock", OPTION_FLAG, &fs_command_line.fs.posix_lock, NULL,
         "share fcntl() locks with the host and other guests"},
        {"flock", OPTION_FLAG, &fs_command_line.fs.flock, NULL, "share flock() locks with the host and other guests"},
        {"announce-submounts", OPTION_CLEAR, &fs_command_line.fs.no_submounts, NULL,
         "tell the guest of mounts in the share (default)"},
        {"no-announce-submounts", OPTION_FLAG, &fs_command_line.fs.no_submounts, NULL, "show them as directories"},
        {"inode-file-handles", OPTION_CHOICE, &fs_command_line.fs.file_handles, "WHEN",
         "file handles in place of descriptors: never, prefer (default: when they get few), mandatory", handles},
        {"parked", OPTION_STRING, &fs_command_line.parked, "N",
         "how many files stay open for a second or two after the guest has closed them; off (default: 16384)"},
        {"translate-uid", OPTION_LIST, &fs_command_line.translate_uid, "RULE",
         "users of guest and host: map:GUEST:HOST:COUNT and others"},
        {"translate-gid", OPTION_LIST, &fs_command_line.translate_gid, "RULE", "the same for groups"},

        {"request-queues", OPTION_NUMBER, &fs_command_line.request_queues, "N", "request queues, 1 to 64 (default: 1)"},
        {"thread-pool-size", OPTION_NUMBER, &fs_command_line.thread_pool_size, "N",
         "threads for each, 64 at most; 0 is one (default: 0)"},
        {"poll", OPTION_NUMBER, &fs_command_line.poll_us, "USEC",
         "look for the next request that long before sleeping, while that is worth it (default: 50)"},
        {"options", OPTION_LIST, &fs_command_line.compat, "LIST",
         "-o LIST: virtiofsd's older form, source=DIR,cache=always,...", .letter = 'o'},
        {"debug", OPTION_FLAG, &daemon_options.verbose, NULL, NULL, .letter = 'd'},
        {"foreground", OPTION_FLAG, &fs_command_line.ignored, NULL, NULL, .letter = 'f'},
};

/* The options that -o accepts. */
static const struct option_row compat_rows[] = {
        {"source", OPTION_STRING, &fs_command_line.fs.shared_dir},
        {"cache", OPTION_CHOICE, &fs_command_line.fs.cache, .choices = cache_policies},
        {"sandbox", OPTION_CHOICE, &daemon_options.sandbox.mode, .choices = daemon_sandboxes},
        {"modcaps", OPTION_STRING, &daemon_options.sandbox.modcaps},
        {"loglevel", OPTION_CHOICE, &daemon_options.log_level, .choices = daemon_log_levels},
        {"log_level", OPTION_CHOICE, &daemon_options.log_level, .choices = daemon_log_levels},
        {"inode_file_handles", OPTION_CHOICE, &fs_command_line.fs.file_handles, .choices = handles},
        {"xattrmap", OPTION_STRING, &fs_command_line.xattrmap},
        {"xattr", OPTION_FLAG, &fs_command_line.fs.xattr},
        {"no_xattr", OPTION_CLEAR, &fs_command_line.fs.xattr},
        {"posix_acl", OPTION_CHOICE, &fs_command_line.fs.posix_acl, .choices = whens, .bare = "always"},
        {"no_posix_acl", OPTION_CHOICE, &fs_command_line.fs.posix_acl, .choices = whens, .bare = "never"},
        {"security_label", OPTION_CHOICE, &fs_command_line.fs.security_label, .choices = whens, .bare = "always"},
        {"no_security_label", OPTION_CHOICE, &fs_command_line.fs.security_label, .choices = whens, .bare = "never"},
        {"writeback", OPTION_FLAG, &fs_command_line.fs.writeback},
        {"no_writeback", OPTION_CLEAR, &fs_command_line.fs.writeback},
        {"killpriv_v2", OPTION_FLAG, &fs_command_line.fs.killpriv_v2},
        {"no_killpriv_v2", OPTION_CLEAR, &fs_command_line.fs.killpriv_v2},
        {"allow_direct_io", OPTION_FLAG, &fs_command_line.fs.allow_direct_io},
        {"no_allow_direct_io", OPTION_CLEAR, &fs_command_line.fs.allow_direct_io},
        {"announce_submounts", OPTION_CLEAR, &fs_command_line.fs.no_submounts},
        {"no_announce_submounts", OPTION_FLAG, &fs_command_line.fs.no_submounts},
        {"readdirplus", OPTION_CLEAR, &fs_command_line.fs.no_readdirplus},
        {"no_readdirplus", OPTION_FLAG, &fs_command_line.fs.no_readdirplus},
        {"posix_lock", OPTION_FLAG, &fs_command_line.fs.posix_lock},
        {"no_posix_lock", OPTION_CLEAR, &fs_command_line.fs.posix_lock},
        {"flock", OPTION_FLAG, &fs_command_line.fs.flock},
        {"no_flock", OPTION_CLEAR, &fs_command_line.fs.flock},
};

const size_t fs_n_rows = ARRAY_SIZE(fs_rows);

/* Their strings stay until the process ends. */
static int read_compat_options(void)
{
        static char *storages[OPTION_LIST_MAX];

        for (unsigned i = 0; i < fs_command_line.compat.n; i++) {
                const char *text = fs_command_line.compat.values[i];
                char why[192];

                storages[i] = malloc(strlen(text) + 1);
                if (!storages[i])
                        return fail("out of memory");
                if (!option_parts_parse(compat_rows, ARRAY_SIZE(compat_rows), false, text, storages[i], why,
                                        sizeof(why))) {
                        report("-o %s: %s (see oriel-fs --help)", text, why);
                        return STATUS_USAGE;
                }
        }
        return -1;
}

static int read_translation(const char *option, const struct option_list *list, struct id_map *map)
{
        char why[128];

        for (unsigned i = 0; i < list->n; i++) {
                if (id_map_add(map, list->values[i], why, sizeof(why)) == 0)
                        continue;
                report("--%s=%s: %s (see oriel-fs --help)", option, list->values[i], why);
                return STATUS_USAGE;
        }
        return -1;
}

static int read_translations(void)
{
        static struct id_map uids, gids;
        int status = read_translation("translate-uid", &fs_command_line.translate_uid, &uids);

        if (status < 0)
                status = read_translation("translate-gid", &fs_command_line.translate_gid, &gids);
        if (fs_command_line.translate_uid.n > 0)
                fs_command_line.fs.uids = &uids;
        if (fs_command_line.translate_gid.n > 0)
                fs_command_line.fs.gids = &gids;
        return status;
}

static int read_xattr_options(void)
{
        static struct xattr_map *map;
        char why[128];

        if (fs_command_line.fs.posix_acl != FS_NEVER || fs_command_line.fs.security_label != FS_NEVER)
                fs_command_line.fs.xattr = true;
        if (!fs_command_line.xattrmap)
                return -1;
        fs_command_line.fs.xattr = true;

        int r = xattr_map_parse(fs_command_line.xattrmap, &map, why, sizeof(why));

        if (r == -EINVAL) {
                report("--xattrmap: %s (see oriel-fs(1))", why);
                return STATUS_USAGE;
        }
        fs_command_line.fs.xattr_map = map;
        return r < 0 ? fail("--xattrmap: %s", strerror(-r)) : -1;
}

/* Reads a number or size that is a part of the value of option @name. */
static bool read_value(const char *name, enum option_kind kind, void *target, const char *text)
{
        const struct option_row row = {name, kind, target};
        char storage[64], why[128];

        return strlen(text) < sizeof(storage) && option_parts_parse(&row, 1, true, text, storage, why, sizeof(why));
}

/* "never", "always", "auto" or "auto=SIZE". */
static int read_dax_policy(void)
{
        static const char with_size[] = "auto=";

        if (!fs_command_line.dax || strcmp(fs_command_line.dax, "always") == 0)
                return -1;
        if (strcmp(fs_command_line.dax, "never") == 0) {
                fs_command_line.fs.window_size = 0;
                return -1;
        }
        fs_command_line.fs.dax_from = 1 << 20;
        if (strcmp(fs_command_line.dax, "auto") == 0)
                return -1;
        if (strncmp(fs_command_line.dax, with_size, strlen(with_size)) != 0)
                return daemon_usage("--dax: never, always, auto or auto=SIZE");
        if (read_value("dax", OPTION_SIZE, &fs_command_line.fs.dax_from, fs_command_line.dax + strlen(with_size)))
                return -1;
        return daemon_usage("--dax=auto=SIZE: SIZE is a number of bytes, such as 64K");
}

/* "off", or a number. */
static int read_parked(void)
{
        if (!fs_command_line.parked)
                return -1;
        fs_command_line.fs.no_parked =
                strcmp(fs_command_line.parked, "off") == 0 || strcmp(fs_command_line.parked, "0") == 0;
        if (fs_command_line.fs.no_parked)
                return -1;
        if (read_value("parked", OPTION_NUMBER, &fs_command_line.fs.max_parked, fs_command_line.parked))
                return -1;
        return daemon_usage("--parked: a number of files, or off");
}

static int fs_options_check_usage(void)
{
        const char *wrong = NULL;

        if (!fs_command_line.fs.shared_dir)
                wrong = "--shared-dir is missing";
        else if (strlen(fs_command_line.tag) == 0 || strlen(fs_command_line.tag) > 36)
                wrong = "--tag: 1 to 36 bytes are needed";
        else if (fs_command_line.fs.window_size &&
                 (fs_command_line.fs.window_size < 2 << 20 ||
                  fs_command_line.fs.window_size & (fs_command_line.fs.window_size - 1)))
                wrong = "--dax-window: a power of two is needed, at least 2M, because VMMs show it as a PCI BAR";
        else if (fs_command_line.dax && !fs_command_line.fs.window_size)
                wrong = "--dax is about the files of --dax-window";
        else if (fs_command_line.request_queues < 1 || fs_command_line.request_queues > 64)
                wrong = "--request-queues: 1 to 64";
        else if (fs_command_line.poll_us > 10000)
                wrong = "--poll: at most 10000 microseconds";
        else if (fs_command_line.fs.posix_acl != FS_NEVER &&
                 (fs_command_line.translate_uid.n > 0 || fs_command_line.translate_gid.n > 0))
                wrong = "--posix-acl names users and groups that --translate-uid and --translate-gid don't reach";
        return wrong ? daemon_usage(wrong) : -1;
}

int fs_check_files(void)
{
        const char *path = fs_command_line.fs.shared_dir;
        _cleanup_(fd_closep) int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

        return fd < 0 ? fail("can't share %s: %s", path, strerror(errno)) : STATUS_SUCCESS;
}

int fs_check_options(void)
{
        static int (*const steps[])(void) = {read_compat_options, fs_options_check_usage, read_translations,
                                             read_xattr_options,  read_dax_policy,        read_parked};
        int status = -1;

        for (size_t i = 0; status < 0 && i < ARRAY_SIZE(steps); i++)
                status = steps[i]();
        daemon_options.sandbox.root = fs_command_line.fs.shared_dir;
        if (fs_command_line.fs.file_handles != FS_HANDLES_NEVER)
                daemon_options.sandbox.capabilities |= DAEMON_CAPABILITY(CAP_DAC_READ_SEARCH);
        daemon_options.rehearse = fs_command_line.fs.file_handles == FS_HANDLES_MANDATORY;
        return status;
}
