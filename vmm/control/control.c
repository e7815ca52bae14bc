/* SPDX-License-Identifier: BSD-2-Clause */

/* The QMP commands and events of a machine, on top of the server in qmp.c: a table of commands, and a switch from
 * machine events to QMP events. Names and forms are QEMU's where QEMU has the same. Everything runs on the machine's
 * owner's thread, so a command may call the machine directly; reset and quit are left to the owner by control_ops,
 * which must return at once, so that the answer comes before the reset. */

#include "vmm/control/control.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "vmm/control/qmp.h"
#include "vmm/control/query.h"

#include <errno.h>
#include <oriel/version.h>
#include <stdio.h>
#include <string.h>

struct control {
        struct machine *machine;
        struct control_ops ops;
        struct qmp *qmp;
        bool fault; /* what it is paused for */
};

/* Machines of QEMU's have one there, and its clients look for it. */
static struct json_object *make_version(void)
{
        struct json_object *version = json_object_new_object(), *qemu = json_object_new_object();

        json_object_object_add(qemu, "major", json_object_new_int(ORIEL_VERSION_MAJOR));
        json_object_object_add(qemu, "minor", json_object_new_int(ORIEL_VERSION_MINOR));
        json_object_object_add(qemu, "micro", json_object_new_int(ORIEL_VERSION_MICRO));
        json_object_object_add(version, "qemu", qemu);
        json_object_object_add(version, "package", json_object_new_string("Oriel " ORIEL_VERSION_STRING));
        return version;
}

/* ---- commands ---- */

static void do_query_version(struct qmp_call *call)
{
        call->result = make_version();
}

static void do_query_status(struct qmp_call *call)
{
        struct control *control = call->userdata;
        bool paused = machine_paused(control->machine);
        const char *status = !paused ? "running" : control->fault ? "internal-error" : "paused";

        call->result = json_object_new_object();
        json_object_object_add(call->result, "running", json_object_new_boolean(!paused));
        json_object_object_add(call->result, "status", json_object_new_string(status));
}

static void do_stop(struct qmp_call *call)
{
        struct control *control = call->userdata;

        if (!machine_paused(control->machine)) {
                machine_pause(control->machine);
                qmp_event(control->qmp, "STOP", NULL);
        }
}

static void do_cont(struct qmp_call *call)
{
        struct control *control = call->userdata;

        if (machine_paused(control->machine)) {
                control->fault = false;
                machine_resume(control->machine);
                qmp_event(control->qmp, "RESUME", NULL);
        }
}

static void do_quit(struct qmp_call *call)
{
        struct control *control = call->userdata;

        control->ops.quit(control->ops.userdata);
}

static void do_powerdown(struct qmp_call *call)
{
        struct control *control = call->userdata;

        machine_press_power_button(control->machine);
        qmp_event(control->qmp, "POWERDOWN", NULL);
}

static void do_reset(struct qmp_call *call)
{
        struct control *control = call->userdata;

        control->ops.reset(control->ops.userdata);
}

static void do_query_virtio(struct qmp_call *call)
{
        const struct control *control = call->userdata;

        call->result = query_devices(control->machine);
}

/* The device that the argument "path" names, or -1 and an error. */
static int find_device(const struct control *control, struct qmp_call *call)
{
        const char *path = json_object_get_string(json_object_object_get(call->arguments, "path"));
        int index = query_find(control->machine, path);

        if (index >= 0)
                return index;
        call->error.class = "DeviceNotFound";
        snprintf(call->error.text, sizeof(call->error.text), "Path '%.100s' is not a VirtIODevice: see x-query-virtio",
                 path);
        return -1;
}

static void do_query_virtio_status(struct qmp_call *call)
{
        const struct control *control = call->userdata;
        int index = find_device(control, call);

        if (index >= 0)
                call->result = query_status(control->machine, (unsigned)index);
}

static void do_query_virtio_queue(struct qmp_call *call)
{
        const struct control *control = call->userdata;
        int index = find_device(control, call);
        int64_t queue = json_object_get_int64(json_object_object_get(call->arguments, "queue"));

        if (index >= 0 && queue >= 0 && queue <= UINT16_MAX)
                call->result = query_queue(control->machine, (unsigned)index, (unsigned)queue);
        if (index >= 0 && !call->result)
                snprintf(call->error.text, sizeof(call->error.text), "Invalid virtqueue number %lld", (long long)queue);
}

static void do_query_shmem(struct qmp_call *call)
{
        const struct control *control = call->userdata;
        const bool one = json_object_object_get_ex(call->arguments, "path", NULL);
        int index = one ? find_device(control, call) : -1;

        if (!one || index >= 0)
                call->result = query_shmem(control->machine, index);
}

static const struct qmp_command commands[] = {
        {"query-version", do_query_version, {{0}}},
        {"query-status", do_query_status, {{0}}},
        {"stop", do_stop, {{0}}},
        {"cont", do_cont, {{0}}},
        {"quit", do_quit, {{0}}},
        {"system_powerdown", do_powerdown, {{0}}},
        {"system_reset", do_reset, {{0}}},
        {"x-query-virtio", do_query_virtio, {{0}}},
        {"x-query-virtio-status", do_query_virtio_status, {{"path", json_type_string, false}}},
        {"x-query-virtio-queue-status",
         do_query_virtio_queue,
         {{"path", json_type_string, false}, {"queue", json_type_int, false}}},
        {"oriel-query-shmem", do_query_shmem, {{"path", json_type_string, true}}},
};

/* ---- events ---- */

static struct json_object *one_string(const char *name, const char *value)
{
        struct json_object *object = json_object_new_object();

        json_object_object_add(object, name, json_object_new_string(value));
        return object;
}

static struct json_object *guest_reason(bool guest, const char *reason)
{
        struct json_object *object = one_string("reason", reason);

        json_object_object_add(object, "guest", json_object_new_boolean(guest));
        return object;
}

static struct json_object *about_device(const struct control *control, const struct machine_event *event)
{
        struct json_object *object = json_object_new_object();
        struct virtio_info info;

        for (unsigned i = 0; i < machine_device_count(control->machine); i++)
                if (machine_get_device(control->machine, i) == event->device)
                        json_object_object_add(object, "path", query_path(i));
        virtio_get_info(event->device, &info);
        json_object_object_add(object, "device", json_object_new_string(info.name));
        if (event->text[0])
                json_object_object_add(object, "reason", json_object_new_string(event->text));
        return object;
}

static struct json_object *about_refusal(const struct control *control, const struct machine_event *event)
{
        struct json_object *object = about_device(control, event);
        bool map = event->kind == MACHINE_MAP_REFUSED;

        json_object_object_add(object, "request", json_object_new_string(map ? "SHMEM_MAP" : "SHMEM_UNMAP"));
        json_object_object_add(object, "shmid", json_object_new_int(event->request.shmid));
        json_object_object_add(object, "offset", json_object_new_uint64(event->request.shm_offset));
        json_object_object_add(object, "length", json_object_new_uint64(event->request.len));
        json_object_object_add(object, "fd-offset", json_object_new_uint64(event->request.fd_offset));
        json_object_object_add(object, "error", json_object_new_string(strerror(-event->error)));
        return object;
}

void control_event(struct control *control, const struct machine_event *event)
{
        switch (event->kind) {
        case MACHINE_RESET:
                control->fault = false;
                qmp_event(control->qmp, "RESET", guest_reason(true, "guest-reset"));
                break;
        case MACHINE_FAULT:
                control->fault = true;
                qmp_event(control->qmp, "ORIEL_GUEST_FAULT", one_string("report", event->text));
                qmp_event(control->qmp, "STOP", NULL);
                break;
        case MACHINE_DEVICE_TAKEN:
                qmp_event(control->qmp, "ORIEL_GUEST_FAULT", one_string("report", event->text));
                break;
        case MACHINE_DEVICE_UP:
                qmp_event(control->qmp, "DEVICE_UP", about_device(control, event));
                break;
        case MACHINE_DEVICE_DOWN:
                qmp_event(control->qmp, "DEVICE_DOWN", about_device(control, event));
                break;
        case MACHINE_MAP_REFUSED:
        case MACHINE_UNMAP_REFUSED:
                qmp_event(control->qmp, "SHMEM_REFUSED", about_refusal(control, event));
                break;
        case MACHINE_SHUTDOWN:
                control_shutdown(control, true, "guest-shutdown");
                break;
        case MACHINE_FAILED:
                control_shutdown(control, true, "guest-panic");
                break;
        }
}

void control_reset(struct control *control, const char *reason)
{
        control->fault = false;
        qmp_event(control->qmp, "RESET", guest_reason(false, reason));
}

void control_shutdown(struct control *control, bool guest, const char *reason)
{
        qmp_event(control->qmp, "SHUTDOWN", guest_reason(guest, reason));
}

/* ---- */

int control_new(struct machine *machine, int listener, const struct control_ops *ops, const struct oriel_log *log,
                struct control **out)
{
        struct control *control = calloc(1, sizeof(*control));
        struct json_object *version = make_version();
        const struct qmp_options options = {
                .listener = listener,
                .version = version,
                .commands = commands,
                .n_commands = ARRAY_SIZE(commands),
                .userdata = control,
                .log = log,
        };
        int r = -ENOMEM;

        if (control)
                r = qmp_new(&options, &control->qmp);
        else
                fd_close(listener);
        json_object_put(version);
        if (r < 0) {
                free(control);
                return r;
        }
        control->machine = machine;
        control->ops = *ops;
        *out = control;
        return 0;
}

void control_free(struct control *control)
{
        if (!control)
                return;
        qmp_free(control->qmp);
        free(control);
}

int control_get_fd(const struct control *control)
{
        return qmp_get_fd(control->qmp);
}

void control_dispatch(struct control *control)
{
        qmp_dispatch(control->qmp);
}
