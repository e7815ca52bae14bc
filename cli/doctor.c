/* SPDX-License-Identifier: BSD-2-Clause */

/* "oriel doctor": what of this host serves which feature, and what to do where something is missing. Each line is a row
 * of a table: a function that looks, and says in words what it has found and what helps. Nothing is changed and nothing
 * is started but the programs that are asked for their versions, and a child that tries to make a user namespace. */

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/kernel.h"
#include "cli/commands.h"
#include "program/options.h"
#include "program/report.h"
#include "program/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <json.h>
#include <linux/kvm.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

static bool as_json;

static const struct option_row rows[] = {
        {"json", OPTION_FLAG, &as_json, NULL, "print one JSON object"},
};

static const struct program program = {
        .name = "oriel doctor",
        .operands = "[NAME]...",
        .summary = "Say what of this host serves which feature, and what to do where something is missing.\n"
                   "With names, of these alone, and with status 1 unless all are there.",
        .rows = rows,
        .n_rows = ARRAY_SIZE(rows),
        .max_operands = 32,
};

/* The finding of a row. */
struct finding {
        bool there;
        char found[128], advice[160];
};

#define SAY(text, ...) snprintf((text), sizeof(text), __VA_ARGS__)

/* One line of a file, without its end; "" where it can't be read. */
static void read_line(const char *path, char *line, size_t size)
{
        FILE *file = fopen(path, "re");

        line[0] = '\0';
        if (file && fgets(line, (int)size, file))
                line[strcspn(line, "\n")] = '\0';
        if (file)
                fclose(file);
}

static long long read_number(const char *path)
{
        char line[64];

        read_line(path, line, sizeof(line));
        return strtoll(line, NULL, 10);
}

/* ---- the rows ---- */

static void look_kernel(struct finding *out, const char *argument)
{
        struct utsname name;

        out->there = kernel_is_at_least(KERNEL_LEAST_MAJOR, KERNEL_LEAST_MINOR);
        SAY(out->found, "Linux %s", uname(&name) == 0 ? name.release : "?");
        SAY(out->advice, "Linux %d.%d is the oldest that Oriel runs on", KERNEL_LEAST_MAJOR, KERNEL_LEAST_MINOR);
}

static void look_kvm(struct finding *out, const char *path)
{
        _cleanup_(fd_closep) int fd = open(path, O_RDWR | O_CLOEXEC);
        int error = errno, version = fd < 0 ? -1 : ioctl(fd, KVM_GET_API_VERSION, 0);

        out->there = version == KVM_API_VERSION;
        if (fd < 0)
                SAY(out->found, "%s: %s", path, strerror(error));
        else
                SAY(out->found, "%s, version %d of its interface", path, version);
        if (fd < 0 && error == EACCES)
                SAY(out->advice, "add yourself to its group (usermod -aG kvm USER), and log in again");
        else
                SAY(out->advice, "switch on virtualization in the firmware, and load kvm_intel or kvm_amd");
}

static void look_user_namespace(struct finding *out, const char *argument)
{
        int status = -1;
        pid_t pid = fork();

        if (pid == 0)
                _exit(unshare(CLONE_NEWUSER) < 0);
        if (pid > 0)
                waitpid(pid, &status, 0);
        out->there = status == 0;
        SAY(out->found, out->there ? "can be made" : "can't be made");
        SAY(out->advice,
            "kernel.unprivileged_userns_clone=1 and user.max_user_namespaces above 0 by sysctl(8), or start "
            "daemons as root");
}

/* A device that this user can read and write. */
static void look_device(struct finding *out, const char *path)
{
        out->there = access(path, R_OK | W_OK) == 0;
        SAY(out->found, "%s%s%s", path, out->there ? "" : ": ", out->there ? "" : strerror(errno));
        SAY(out->advice, "load its module (modprobe %s), and see to the permissions of the file",
            strrchr(path, '/') + 1);
}

/* At least one of those that a pattern has. */
static void look_nodes(struct finding *out, const char *pattern)
{
        glob_t paths = {.gl_pathc = 0};
        size_t usable = 0;

        glob(pattern, 0, NULL, &paths);
        for (size_t i = 0; i < paths.gl_pathc; i++)
                usable += access(paths.gl_pathv[i], R_OK | W_OK) == 0;
        out->there = usable > 0;
        SAY(out->found, "%zu of %zu files %s can be used", usable, (size_t)paths.gl_pathc, pattern);
        SAY(out->advice, "%s",
            paths.gl_pathc ? "add yourself to their group (usermod -aG GROUP USER), and log in again"
                           : "there is no such device, or its driver is not loaded");
        globfree(&paths);
}

static void look_descriptors(struct finding *out, const char *argument)
{
        struct rlimit limit = {0};

        getrlimit(RLIMIT_NOFILE, &limit);
        out->there = limit.rlim_max >= 65536;
        SAY(out->found, "%llu at most", (unsigned long long)limit.rlim_max);
        SAY(out->advice, "65536 or more are for many open files of a share: LimitNOFILE= of a unit, or limits.conf(5)");
}

static void look_maps(struct finding *out, const char *path)
{
        long long n = read_number(path);

        out->there = n >= 65530;
        SAY(out->found, "%lld at most", n);
        SAY(out->advice, "a window of 2 MiB pieces needs two for each: sysctl vm.max_map_count=262144");
}

/* @argument: "PROGRAM PACKAGE", or "PROGRAM:--OPTION PACKAGE" where the program must know that option. */
static void look_program(struct finding *out, const char *argument)
{
        const char *package = strchrnul(argument, ' ');
        const char *option = strchr(argument, ':');
        char name[32], needed[32] = "", version[96] = "";

        snprintf(name, sizeof(name), "%.*s", (int)strcspn(argument, ": "), argument);
        if (option)
                snprintf(needed, sizeof(needed), "%.*s", (int)strcspn(option + 1, " "), option + 1);
        out->there = program_is_there(name);
        if (out->there)
                spawn_ask(name, "--version", "\n", version, sizeof(version));
        version[strcspn(version, "\n")] = '\0';
        SAY(out->found, "%s%s%s", name, out->there ? ": " : " is not found", version);
        if (out->there && option && program_lacks(name, needed)) {
                out->there = false;
                SAY(out->advice, "it has no %s: a newer one is needed, as Debian 13 has it", needed);
        } else {
                SAY(out->advice, "install it: Debian's package%s", package);
        }
}

static const struct check {
        const char *name, *serves;
        void (*look)(struct finding *out, const char *argument);
        const char *argument;
} checks[] = {
        {"kernel", "everything", look_kernel, NULL},
        {"kvm", "oriel run, oriel demo in a machine", look_kvm, "/dev/kvm"},
        {"user-namespaces", "daemons of ordinary users, passt", look_user_namespace, NULL},
        {"fuse", "oriel mount", look_device, "/dev/fuse"},
        {"udmabuf", "oriel-gpu: dmabufs of a guest's memory", look_device, "/dev/udmabuf"},
        {"gpu", "oriel-gpu on a GPU; without one Mesa's llvmpipe renders", look_nodes, "/dev/dri/renderD*"},
        {"camera", "oriel-media --device", look_nodes, "/dev/video*"},
        {"descriptors", "shares with many open files", look_descriptors, NULL},
        {"maps", "windows with many mappings", look_maps, "/proc/sys/vm/max_map_count"},
        {"oriel-fs", "oriel run --share", look_program, "oriel-fs oriel-fs"},
        {"oriel-gpu", "oriel run --gpu", look_program, "oriel-gpu oriel-gpu"},
        {"oriel-media", "oriel run --camera", look_program, "oriel-media oriel-media"},
        {"oriel-pmem", "oriel run --pmem", look_program, "oriel-pmem oriel-pmem"},
        {"oriel-rng", "random numbers for a guest", look_program, "oriel-rng oriel-rng"},
        {"passt", "oriel run --net", look_program, "passt:--vhost-user passt"},
        {"qemu-storage-daemon", "oriel run --disk", look_program,
         "qemu-storage-daemon qemu-utils, in Debian 12 qemu-system-common"},
        {"vhost-device-vsock", "oriel run --vsock", look_program, "vhost-device-vsock vhost-device-vsock"},
};

/* ---- */

static void print_text(const struct check *check, const struct finding *finding)
{
        printf("%-4s %-20s %s\n", finding->there ? "ok" : "no", check->name, finding->found);
        if (!finding->there)
                printf("     %-20s for %s: %s\n", "", check->serves, finding->advice);
}

static void add_json(struct json_object *to, const struct check *check, const struct finding *finding)
{
        struct json_object *object = json_object_new_object();

        json_object_object_add(object, "there", json_object_new_boolean(finding->there));
        json_object_object_add(object, "found", json_object_new_string(finding->found));
        json_object_object_add(object, "for", json_object_new_string(check->serves));
        if (!finding->there)
                json_object_object_add(object, "advice", json_object_new_string(finding->advice));
        json_object_object_add(to, check->name, object);
}

static bool is_named(const char *name, char **names)
{
        for (char **at = names; *at; at++)
                if (strcmp(*at, name) == 0)
                        return true;
        return !names[0];
}

/* A name that no row has; NULL: there is none. */
static const char *find_unknown(char **names)
{
        for (; *names; names++) {
                bool known = false;

                for (size_t i = 0; i < ARRAY_SIZE(checks); i++)
                        known |= strcmp(checks[i].name, *names) == 0;
                if (!known)
                        return *names;
        }
        return NULL;
}

int command_doctor(int argc, char **argv)
{
        char **names;
        int status = options_parse(&program, argc, argv, &names);
        const char *unknown = status < 0 ? find_unknown(names) : NULL;
        bool all = true;

        if (status >= 0)
                return status;
        if (unknown)
                return options_wrong_usage(&program, "'%s' is nothing that is looked at", unknown);

        struct json_object *object = json_object_new_object();

        for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
                struct finding finding = {.there = false};

                if (!is_named(checks[i].name, names))
                        continue;
                checks[i].look(&finding, checks[i].argument);
                all &= finding.there;
                if (as_json)
                        add_json(object, &checks[i], &finding);
                else
                        print_text(&checks[i], &finding);
        }
        if (as_json)
                printf("%s\n", json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN));
        json_object_put(object);
        return names[0] && !all ? STATUS_FAILURE : STATUS_SUCCESS;
}
