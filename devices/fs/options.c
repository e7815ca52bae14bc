/* SPDX-License-Identifier: BSD-2-Clause */
#include "devices/fs/options.h"

#include "base/cleanup.h"
#include "daemon/syscalls.h"
#include "devices/fs/core/idmap.h"
#include "devices/fs/files/xattr_map.h"
#include "program/report.h"
#include "program/sanitized.h"

#include <errno.h>
#include <oriel/backend.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct command_line line = {
        .fd = UINT32_MAX,
        .tag = "oriel",
        .request_queues = 1,
        .poll_us = 50,
        .rlimit_nofile = UINT32_MAX,
        .seccomp = FILTER_KILL,
        .log_level = LEVEL_WARN,
        /* The search for leaks at the end needs /proc. */
        .sandbox = {.mode = SANITIZED ? SANDBOX_NONE : SANDBOX_NAMESPACE},
        .fs = {.file_handles = FS_HANDLES_PREFER},
};

/* In the order of the enums that they are. */
static const char *const cache_policies[] = {"auto", "always", "never|none", "metadata", NULL};
static const char *const whens[] = {"never", "auto", "always", NULL};
static const char *const handles[] = {"never", "prefer|fallback", "mandatory", NULL};
static const char *const sandboxes[] = {"namespace", "chroot", "none", NULL};
static const char *const actions[] = {"none", "kill", "log", "trap", NULL};
static const char *const log_levels[] = {"error", "warn", "info", "debug", "trace", "off", NULL};

static const struct option_row rows[] = {
        {"socket-path", OPTION_STRING, &line.socket_path, "PATH", "listen on this Unix socket"},
        {"socket", OPTION_STRING, &line.socket_path, "PATH", NULL},
        {"socket-group", OPTION_STRING, &line.socket_group, "NAME", "let this group connect to it"},
        {"fd", OPTION_NUMBER, &line.fd, "FD", "use this inherited socket, listening or connected"},
        {"once", OPTION_FLAG, &line.once, NULL, "end when the first front-end has gone"},
        {"shared-dir", OPTION_STRING, &line.fs.shared_dir, "DIR", "the directory to share"},
        {"tag", OPTION_STRING, &line.tag, "TAG", "the name the guest mounts it by (default: oriel)"},
        {"readonly", OPTION_FLAG, &line.fs.readonly, NULL, "let the guest change nothing"},

        {"dax-window", OPTION_SIZE, &line.fs.window_size, "SIZE",
         "offer a DAX window of this size, such as 1G (default: none)"},
        {"dax", OPTION_STRING, &line.dax, "WHEN", "which files dax=inode maps: always (default), never, auto[=SIZE]"},
        {"allow-writable-dax", OPTION_FLAG, &line.fs.insist, NULL,
         "with --readonly: DAX even where the front-end lets the guest write"},

        {"cache", OPTION_CHOICE, &line.fs.cache, "POLICY", "auto (default), always, never, metadata",
         .choices = cache_policies},
        {"writeback", OPTION_FLAG, &line.fs.writeback, NULL, "let the guest keep what was written for a while"},
        {"allow-mmap", OPTION_FLAG, &line.fs.allow_mmap, NULL, "with --cache=never or metadata: shared mappings"},
        {"allow-direct-io", OPTION_FLAG, &line.fs.allow_direct_io, NULL, "keep O_DIRECT"},
        {"preserve-noatime", OPTION_FLAG, &line.fs.preserve_noatime, NULL,
         "fail where O_NOATIME can't be kept (default: open without)"},
        {"no-readdirplus", OPTION_FLAG, &line.fs.no_readdirplus, NULL, "list directories without attributes"},

        {"xattr", OPTION_FLAG, &line.fs.xattr, NULL, "extended attributes"},
        {"xattrmap", OPTION_STRING, &line.xattrmap, "RULES", "what they are called on the host (turns on --xattr)"},
        {"posix-acl", OPTION_CHOICE, &line.fs.posix_acl, "WHEN", "access lists: never (default), auto, always", whens,
         "always"},
        {"security-label", OPTION_CHOICE, &line.fs.security_label, "WHEN",
         "labels of new files: never (default), auto, always", whens, "always"},
        {"killpriv-v2", OPTION_FLAG, &line.fs.killpriv_v2, NULL, "clear set-user-ID bits here, not in the guest"},
        {"no-killpriv-v2", OPTION_CLEAR, &line.fs.killpriv_v2, NULL, "leave that to the guest (default)"},
        {"posix-lock", OPTION_FLAG, &line.fs.posix_lock, NULL, "share fcntl() locks with the host and other guests"},
        {"flock", OPTION_FLAG, &line.fs.flock, NULL, "share flock() locks with the host and other guests"},
        {"announce-submounts", OPTION_CLEAR, &line.fs.no_submounts, NULL,
         "tell the guest of mounts in the share (default)"},
        {"no-announce-submounts", OPTION_FLAG, &line.fs.no_submounts, NULL, "show them as directories"},
        {"inode-file-handles", OPTION_CHOICE, &line.fs.file_handles, "WHEN",
         "file handles in place of descriptors: never, prefer (default: when they get few), mandatory", handles},
        {"parked", OPTION_STRING, &line.parked, "N",
         "how many files stay open for a second or two after the guest has closed them; off (default: 16384)"},
        {"translate-uid", OPTION_LIST, &line.translate_uid, "RULE",
         "users of guest and host: map:GUEST:HOST:COUNT and others"},
        {"translate-gid", OPTION_LIST, &line.translate_gid, "RULE", "the same for groups"},

        {"sandbox", OPTION_CHOICE, &line.sandbox.mode, "MODE", "namespace (default), chroot, none", sandboxes},
        {"uid-map", OPTION_LIST, &line.sandbox.uid_maps, "RANGE",
         "users of its user namespace, :INSIDE:OUTSIDE:COUNT:"},
        {"gid-map", OPTION_LIST, &line.sandbox.gid_maps, "RANGE", "the same for groups"},
        {"seccomp", OPTION_CHOICE, &line.seccomp, "ACTION",
         "at a system call it has no use for: kill (default), log, trap, none", actions},
        {"modcaps", OPTION_STRING, &line.sandbox.modcaps, "LIST",
         "capabilities to keep (+NAME) and drop (-NAME), with colons"},
        {"rlimit-nofile", OPTION_NUMBER, &line.rlimit_nofile, "N",
         "the limit on open files, 0: as it is (default: 1000000, or what is allowed)"},

        {"request-queues", OPTION_NUMBER, &line.request_queues, "N", "request queues, 1 to 64 (default: 1)"},
        {"thread-pool-size", OPTION_NUMBER, &line.thread_pool_size, "N",
         "threads for each, 64 at most; 0 is one (default: 0)"},
        {"poll", OPTION_NUMBER, &line.poll_us, "USEC",
         "look for the next request that long before sleeping, while that is worth it (default: 50)"},
        {"dialect", OPTION_STRING, &line.dialect, "NAME",
         "the front-end's number for SHMEM: standard, shmem-21, shmem-20"},
        {"print-capabilities", OPTION_FLAG, &line.print_capabilities, NULL,
         "print the back-end's capabilities as JSON"},
        {"log-level", OPTION_CHOICE, &line.log_level, "LEVEL", "error, warn (default), info, debug, trace, off",
         log_levels},
        {"verbose", OPTION_FLAG, &line.debug, NULL, "log every request"},
        {"syslog", OPTION_FLAG, &line.to_syslog, NULL, "log to syslog in place of standard error"},
        {"options", OPTION_LIST, &line.compat, "LIST", "-o LIST: virtiofsd's older form, source=DIR,cache=always,...",
         .letter = 'o'},
        {"debug", OPTION_FLAG, &line.debug, NULL, NULL, .letter = 'd'},
        {"foreground", OPTION_FLAG, &line.ignored, NULL, NULL, .letter = 'f'},
};

/* What -o may name. */
static const struct option_row compat_rows[] = {
        {"source", OPTION_STRING, &line.fs.shared_dir},
        {"cache", OPTION_CHOICE, &line.fs.cache, .choices = cache_policies},
        {"sandbox", OPTION_CHOICE, &line.sandbox.mode, .choices = sandboxes},
        {"modcaps", OPTION_STRING, &line.sandbox.modcaps},
        {"loglevel", OPTION_CHOICE, &line.log_level, .choices = log_levels},
        {"log_level", OPTION_CHOICE, &line.log_level, .choices = log_levels},
        {"inode_file_handles", OPTION_CHOICE, &line.fs.file_handles, .choices = handles},
        {"xattrmap", OPTION_STRING, &line.xattrmap},
        {"xattr", OPTION_FLAG, &line.fs.xattr},
        {"no_xattr", OPTION_CLEAR, &line.fs.xattr},
        {"posix_acl", OPTION_CHOICE, &line.fs.posix_acl, .choices = whens, .bare = "always"},
        {"no_posix_acl", OPTION_CHOICE, &line.fs.posix_acl, .choices = whens, .bare = "never"},
        {"security_label", OPTION_CHOICE, &line.fs.security_label, .choices = whens, .bare = "always"},
        {"no_security_label", OPTION_CHOICE, &line.fs.security_label, .choices = whens, .bare = "never"},
        {"writeback", OPTION_FLAG, &line.fs.writeback},
        {"no_writeback", OPTION_CLEAR, &line.fs.writeback},
        {"killpriv_v2", OPTION_FLAG, &line.fs.killpriv_v2},
        {"no_killpriv_v2", OPTION_CLEAR, &line.fs.killpriv_v2},
        {"allow_direct_io", OPTION_FLAG, &line.fs.allow_direct_io},
        {"no_allow_direct_io", OPTION_CLEAR, &line.fs.allow_direct_io},
        {"announce_submounts", OPTION_CLEAR, &line.fs.no_submounts},
        {"no_announce_submounts", OPTION_FLAG, &line.fs.no_submounts},
        {"readdirplus", OPTION_CLEAR, &line.fs.no_readdirplus},
        {"no_readdirplus", OPTION_FLAG, &line.fs.no_readdirplus},
        {"posix_lock", OPTION_FLAG, &line.fs.posix_lock},
        {"no_posix_lock", OPTION_CLEAR, &line.fs.posix_lock},
        {"flock", OPTION_FLAG, &line.fs.flock},
        {"no_flock", OPTION_CLEAR, &line.fs.flock},
};

static const struct program program = {
        .name = "oriel-fs",
        .operands = "",
        .summary = "Share a directory with a virtual machine: a vhost-user back-end for virtio-fs, with DAX.\n"
                   "Serves one front-end after the other until SIGINT, SIGTERM or SIGHUP; with --once or a connected "
                   "--fd, one.",
        .rows = rows,
        .n_rows = ARRAY_SIZE(rows),
};

static int usage(const char *wrong)
{
        report("%s (see oriel-fs --help)", wrong);
        return STATUS_USAGE;
}

/* Their strings stay for as long as the process. */
static int read_compat_options(void)
{
        static char *storages[OPTION_LIST_MAX];

        for (unsigned i = 0; i < line.compat.n; i++) {
                const char *text = line.compat.values[i];
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
        int status = read_translation("translate-uid", &line.translate_uid, &uids);

        if (status < 0)
                status = read_translation("translate-gid", &line.translate_gid, &gids);
        if (line.translate_uid.n > 0)
                line.fs.uids = &uids;
        if (line.translate_gid.n > 0)
                line.fs.gids = &gids;
        return status;
}

static int read_xattr_options(void)
{
        static struct xattr_map *map;
        char why[128];

        if (line.fs.posix_acl != FS_NEVER || line.fs.security_label != FS_NEVER)
                line.fs.xattr = true;
        if (!line.xattrmap)
                return -1;
        line.fs.xattr = true;

        int r = xattr_map_parse(line.xattrmap, &map, why, sizeof(why));

        if (r == -EINVAL) {
                report("--xattrmap: %s (see oriel-fs(1))", why);
                return STATUS_USAGE;
        }
        line.fs.xattr_map = map;
        return r < 0 ? fail("--xattrmap: %s", strerror(-r)) : -1;
}

/* "never", "always", "auto" or "auto=SIZE". */
static int read_dax_policy(void)
{
        static const char with_size[] = "auto=";
        struct option_row size = {"dax", OPTION_SIZE, &line.fs.dax_from};
        char storage[64], why[128];

        if (!line.dax || strcmp(line.dax, "always") == 0)
                return -1;
        if (strcmp(line.dax, "never") == 0) {
                line.fs.window_size = 0;
                return -1;
        }
        line.fs.dax_from = 1 << 20;
        if (strcmp(line.dax, "auto") == 0)
                return -1;
        if (strncmp(line.dax, with_size, strlen(with_size)) != 0 || strlen(line.dax) >= sizeof(storage))
                return usage("--dax: never, always, auto or auto=SIZE");
        if (option_parts_parse(&size, 1, true, line.dax + strlen(with_size), storage, why, sizeof(why)))
                return -1;
        return usage("--dax=auto=SIZE: SIZE is a number of bytes, such as 64K");
}

/* "off", or how many. */
static int read_parked(void)
{
        struct option_row number = {"parked", OPTION_NUMBER, &line.fs.max_parked};
        char storage[64], why[128];

        if (!line.parked)
                return -1;
        line.fs.no_parked = strcmp(line.parked, "off") == 0 || strcmp(line.parked, "0") == 0;
        if (line.fs.no_parked)
                return -1;
        if (strlen(line.parked) < sizeof(storage) &&
            option_parts_parse(&number, 1, true, line.parked, storage, why, sizeof(why)))
                return -1;
        return usage("--parked: a number of files, or off");
}

/* systemd's socket activation, sd_listen_fds(3): the first descriptor is for us. */
static bool is_activated(void)
{
        const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");

        return pid && fds && strtol(pid, NULL, 10) == getpid() && strtol(fds, NULL, 10) >= 1;
}

static int check_usage(void)
{
        const char *wrong = sandbox_check(&line.sandbox);

        if (line.fd == UINT32_MAX && !line.socket_path && is_activated())
                line.fd = 3;
        if (!line.fs.shared_dir)
                wrong = "--shared-dir is missing";
        else if (!line.socket_path == (line.fd == UINT32_MAX))
                wrong = "either --socket-path or --fd is needed";
        else if (line.socket_group && !line.socket_path)
                wrong = "--socket-group is for --socket-path";
        else if (strlen(line.tag) == 0 || strlen(line.tag) > 36)
                wrong = "--tag: 1 to 36 bytes are needed";
        else if (line.fs.window_size &&
                 (line.fs.window_size < 2 << 20 || line.fs.window_size & (line.fs.window_size - 1)))
                wrong = "--dax-window: a power of two is needed, at least 2M, because VMMs show it as a PCI BAR";
        else if (line.dax && !line.fs.window_size)
                wrong = "--dax is about the files of --dax-window";
        else if (line.request_queues < 1 || line.request_queues > 64)
                wrong = "--request-queues: 1 to 64";
        else if (line.poll_us > 10000)
                wrong = "--poll: at most 10000 microseconds";
        else if (line.dialect && !oriel_dialect_find(line.dialect))
                wrong = "--dialect: standard, shmem-21 or shmem-20";
        else if (line.fs.posix_acl != FS_NEVER && (line.translate_uid.n > 0 || line.translate_gid.n > 0))
                wrong = "--posix-acl names users and groups that --translate-uid and --translate-gid don't reach";
        return wrong ? usage(wrong) : -1;
}

int command_line_read(int argc, char **argv, struct command_line **out)
{
        static int (*const steps[])(void) = {read_compat_options, check_usage,     read_translations,
                                             read_xattr_options,  read_dax_policy, read_parked};
        int status = options_parse(&program, argc, argv, NULL);

        for (size_t i = 0; status < 0 && i < ARRAY_SIZE(steps); i++)
                status = steps[i]();
        line.sandbox.shared_dir = line.fs.shared_dir;
        line.sandbox.opens_by_handle = line.fs.file_handles != FS_HANDLES_NEVER;
        *out = &line;
        return status;
}
