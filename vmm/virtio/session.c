/* SPDX-License-Identifier: BSD-2-Clause */

/* The thread of a device: it brings about the state that the driver's registers ask for, as far as there is a back-end
 * for it. It connects, again and again with pauses, brings the back-end up, starts and stops the device, serves the
 * back-end's requests, and resets. Vcpus only change registers, under the device's lock, and wake the thread; so none
 * of them waits for a back-end. The loop looks at the registers anew after each step. */

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "vmm/virtio/device.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum {
        FIRST_PAUSE_MS = 50, /* before the next try to connect */
        LAST_PAUSE_MS = 1000,
        RESTORE_MS = 200, /* between looks at files that have become shorter */
};

/* The state that the registers ask for. */
struct wanted_state {
        bool quit, reset, run, taken_away;
};

static struct wanted_state session_look(struct virtio *virtio)
{
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&virtio->lock);

        uint8_t status = virtio->registers.status;

        return (struct wanted_state){
                .quit = virtio->quit,
                .reset = virtio->reset_wanted,
                .taken_away = virtio->taken_away,
                .run = status & VIRTIO_CONFIG_S_DRIVER_OK && !(status & VIRTIO_CONFIG_S_NEEDS_RESET),
        };
}

/* ---- connecting ---- */

static void set_phase(struct virtio *virtio, enum phase phase, const char *why)
{
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&virtio->lock);
        virtio->phase = phase;
        snprintf(virtio->why, sizeof(virtio->why), "%s", why);
        pthread_cond_broadcast(&virtio->changed);
}

static void set_connected(struct virtio *virtio, bool connected, const char *why)
{
        bool tell;

        pthread_mutex_lock(&virtio->lock);
        tell = virtio->connected != connected;
        virtio->connected = connected;
        virtio->connections += connected;
        net_set_link(virtio, connected);
        pthread_mutex_unlock(&virtio->lock);
        if (tell && virtio->events.connected)
                virtio->events.connected(virtio->events.userdata, virtio, connected, why);
}

/* @fd is taken; one that quits has no use for it any more. */
static void set_connection(struct virtio *virtio, int fd)
{
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&virtio->lock);
        fd_close(virtio->connection_fd);
        virtio->connection_fd = fd < 0 ? -1 : fd;
        if (virtio->quit && fd >= 0)
                shutdown(fd, SHUT_RDWR);
}

static void session_lost(struct virtio *virtio, const char *why)
{
        set_connection(virtio, -1);
        oriel_frontend_disconnect(virtio->frontend);
        objects_forget(virtio->options.objects, &virtio->objects_member);
        running_lost(virtio);
        set_connected(virtio, false, why);
}

static int connect_once(struct virtio *virtio, char *why, size_t why_size)
{
        int fd = virtio->options.device.connect(virtio->options.device.connect_userdata);

        if (fd < 0) {
                const char *words = fd == -ENOENT         ? "there is no such socket: start the back-end first"
                                    : fd == -ECONNREFUSED ? "nobody listens there: start the back-end first"
                                    : fd == -ECHILD       ? "the program that was started has ended"
                                    : fd == -ETIME        ? "the program that was started does not listen"
                                                          : strerror(-fd);

                snprintf(why, why_size, "%s", words);
                return fd;
        }

        set_connection(virtio, fd_dup(fd));

        int r = oriel_frontend_attach(virtio->frontend, fd);

        if (r == 0)
                r = bringup(virtio, why, why_size);
        else
                snprintf(why, why_size, "%s", strerror(-r));
        if (r < 0) {
                oriel_frontend_disconnect(virtio->frontend);
                objects_forget(virtio->options.objects, &virtio->objects_member);
        }
        return r;
}

/* Appends the front-end's last log line, which has the details. */
static void add_detail(const struct virtio *virtio, char *why, size_t why_size)
{
        size_t n = strlen(why);

        if (n > 0 && virtio->device_log.held[0])
                snprintf(why + n, why_size - n, " (%s)", virtio->device_log.held);
}

/* One try. False: the first one has failed, and so has the device. */
static bool try_connect(struct virtio *virtio, char *why, size_t why_size)
{
        char before[256];

        snprintf(before, sizeof(before), "%s", why);

        int r = connect_once(virtio, why, why_size);

        if (virtio->phase == BRINGING_UP) {
                add_detail(virtio, why, why_size);
                set_phase(virtio, r == 0 ? READY : FAILED, why);
                if (r < 0)
                        return false;
                device_log_release(&virtio->device_log);
        } else if (r < 0 && strcmp(before, why) != 0) {
                log_warning(&virtio->log, "%s: no back-end: %s; trying on", virtio->name, why);
        }
        if (r == 0)
                set_connected(virtio, true, "");
        return true;
}

/* ---- what the back-end asks for ---- */

static void virtio_read_config(struct virtio *virtio, bool changed)
{
        uint8_t config[ORIEL_MAX_CONFIG];

        if (oriel_frontend_get_config(virtio->frontend, 0, config, virtio->config_size) < 0)
                return;
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&virtio->lock);
        memcpy(virtio->config, config, virtio->config_size);
        /* The back-end has not been told yet of what the guest wrote meanwhile. */
        for (unsigned i = 0; i < virtio->n_config_writes; i++)
                memcpy(virtio->config + virtio->config_writes[i].offset, virtio->config_writes[i].data,
                       virtio->config_writes[i].size);
        if (changed)
                transport_config_interrupt(virtio);
}

static void virtio_config_changed(void *userdata)
{
        struct virtio *virtio = userdata;

        if (virtio->phase == READY && !virtio->net.served)
                virtio_read_config(virtio, true);
}

static void session_refused(void *userdata, bool map, const struct oriel_wire_mmap *request, int error)
{
        struct virtio *virtio = userdata;

        if (error == -EREMOTE && !virtio->said_remote) {
                log_warning(&virtio->log,
                            "%s: a file that a server in user space or another machine serves is not mapped:"
                            " --allow-remote-files maps it",
                            virtio->name);
                virtio->said_remote = true;
        }
        if (virtio->events.refused)
                virtio->events.refused(virtio->events.userdata, virtio, map, request, error);
}

/* ---- objects, which are the machine's ---- */

static int session_object_add(void *userdata, const uint8_t uuid[16])
{
        struct virtio *virtio = userdata;

        return objects_add(virtio->options.objects, &virtio->objects_member, uuid);
}

static int session_object_remove(void *userdata, const uint8_t uuid[16])
{
        struct virtio *virtio = userdata;

        return objects_remove(virtio->options.objects, &virtio->objects_member, uuid);
}

static int session_object_find(void *userdata, const uint8_t uuid[16])
{
        struct virtio *virtio = userdata;

        return objects_find(virtio->options.objects, &virtio->objects_member, uuid);
}

static int session_object_get(void *userdata, const uint8_t uuid[16])
{
        struct virtio *virtio = userdata;

        return oriel_frontend_get_shared_object(virtio->frontend, uuid);
}

static int serve_objects(struct virtio *virtio)
{
        return objects_serve(virtio->options.objects, &virtio->objects_member, session_object_get, virtio);
}

static int make_frontend(struct virtio *virtio)
{
        const struct oriel_frontend_ops ops = {
                .struct_size = sizeof(ops),
                .refused = session_refused,
                .config_changed = virtio_config_changed,
                .shared_object_add = session_object_add,
                .shared_object_remove = session_object_remove,
                .shared_object_lookup = session_object_find,
        };
        const struct oriel_frontend_options options = {
                .struct_size = sizeof(options),
                .ops = &ops,
                .userdata = virtio,
                .log = &virtio->log,
                .dialect = virtio->options.device.dialect,
                .keep_mappings = true,
        };

        return oriel_frontend_new(&options, &virtio->frontend);
}

/* ---- the loop ---- */

/* The driver finds what it has written at once, and what the back-end has made of it then. */
static int virtio_write_config(struct virtio *virtio)
{
        bool written = false;
        int r = 0;

        for (;;) {
                struct config_write write;

                pthread_mutex_lock(&virtio->lock);

                bool any = virtio->n_config_writes > 0;

                if (any) {
                        write = virtio->config_writes[0];
                        virtio->n_config_writes--;
                        memmove(virtio->config_writes, virtio->config_writes + 1,
                                virtio->n_config_writes * sizeof(write));
                }
                pthread_mutex_unlock(&virtio->lock);
                if (!any || r < 0)
                        break;
                written = true;
                r = oriel_frontend_set_config(virtio->frontend, write.offset, write.data, write.size,
                                              ORIEL_CONFIG_WRITABLE);
                if (r == -EREMOTEIO)
                        r = 0;
        }
        if (written && r == 0)
                virtio_read_config(virtio, false);
        return r;
}

static void session_reset(struct virtio *virtio)
{
        if (oriel_frontend_connected(virtio->frontend))
                virtio_write_config(virtio);
        running_stop(virtio);
        pthread_mutex_lock(&virtio->lock);
        if (!virtio->reset_late)
                registers_reset(virtio);
        virtio->reset_wanted = virtio->reset_late = virtio->taken_away = false;
        pthread_cond_broadcast(&virtio->changed);
        pthread_mutex_unlock(&virtio->lock);
        if (!oriel_frontend_connected(virtio->frontend))
                session_lost(virtio, "the back-end did not answer to a reset");
}

/* The back-end has met something in a ring that breaks a rule, or a buffer in memory that it had not been told of by
 * then. All has been told now, of which some may be new to it since it last looked: then it is asked to look again. An
 * answer is only taken for the last word if it was given with all told, so signals are taken back after that. */
static int session_ring_error(struct virtio *virtio)
{
        uint64_t told = virtio->n_told;
        bool more = virtio->told_at_kick != told;
        int r = more ? oriel_frontend_await_memory(virtio->frontend) : 0;

        if (r < 0 || fd_event_clear(virtio->err_fd) <= 0)
                return r;
        if (more) {
                virtio->told_at_kick = told;
                running_kick(virtio);
        } else if (transport_need_reset(virtio)) {
                log_warning(&virtio->log,
                            "%s: the back-end says that a ring is broken: the device needs a reset by its driver",
                            virtio->name);
        }
        return 0;
}

static int session_serve(struct virtio *virtio, const struct wanted_state *wanted)
{
        int r = oriel_frontend_dispatch(virtio->frontend);

        if (r == 0)
                r = virtio_write_config(virtio);
        if (r == 0)
                r = serve_objects(virtio);
        if (r == 0 && wanted->run)
                r = virtio->started ? running_update(virtio) : running_start(virtio);
        /* Before the memory: what is not in it was mapped before the error. */
        bool error = virtio->err_seen;

        virtio->err_seen = false;
        if (r == 0 && virtio->started)
                r = running_memory(virtio);
        if (r == 0 && error && virtio->started)
                r = session_ring_error(virtio);
        return r;
}

static const char *session_reason(int r)
{
        return r == -ENOTCONN    ? "the back-end has closed the connection"
               : r == -EPROTO    ? "the back-end has broken the protocol"
               : r == -ETIMEDOUT ? "the back-end does not answer"
               : r == -EREMOTEIO ? "the back-end has refused a request"
               : r == -EMFILE    ? "this process may have no more descriptors: raise the limit (ulimit -n)"
                                 : strerror(-r);
}

static void virtio_sleep_until_event(struct virtio *virtio, int timeout)
{
        int front[3];

        oriel_frontend_get_fds(virtio->frontend, front);

        struct pollfd fds[] = {
                {.fd = virtio->wake_fd, .events = POLLIN},
                {.fd = virtio->err_fd, .events = POLLIN},
                {.fd = front[0], .events = POLLIN},
                {.fd = front[1], .events = POLLIN},
                {.fd = front[2], .events = POLLIN},
                {.fd = virtio->net.served ? virtio->net.kick_fd : -1, .events = POLLIN},
        };

        poll(fds, ARRAY_SIZE(fds), timeout);
        if (fds[0].revents)
                fd_event_clear(virtio->wake_fd);
        if (fds[1].revents && !virtio->started)
                fd_event_clear(virtio->err_fd);
        else if (fds[1].revents)
                virtio->err_seen = true;
}

/* How long the next try to connect is put off. A back-end that goes as soon as it has come is not asked without end. */
struct pause {
        int ms;
        int64_t next;
};

static void virtio_put_off(struct pause *pause)
{
        /* It was there for a while. */
        if (now_ms() > pause->next + 10 * LAST_PAUSE_MS || pause->ms == 0)
                pause->ms = FIRST_PAUSE_MS;
        else if (pause->ms < LAST_PAUSE_MS)
                pause->ms *= 2;
        pause->next = now_ms() + pause->ms;
}

static int virtio_timeout_of(struct virtio *virtio, const struct pause *pause, bool taken_away)
{
        int64_t left = pause->next - now_ms();
        bool zeros = false;

        for (unsigned i = 0; i < virtio->n_windows; i++)
                zeros |= guest_window_restore(virtio->windows[i].window);
        if (oriel_frontend_connected(virtio->frontend) || taken_away)
                return zeros ? RESTORE_MS : -1;
        if (left < 0)
                left = 0;
        return zeros && left > RESTORE_MS ? RESTORE_MS : (int)left;
}

static void session_loop(struct virtio *virtio)
{
        struct pause pause = {0};
        char why[256] = "";
        int r = make_frontend(virtio);

        if (r < 0) {
                set_phase(virtio, FAILED, strerror(-r));
                return;
        }
        for (;;) {
                struct wanted_state wanted = session_look(virtio);

                if (wanted.quit)
                        return;
                if (wanted.reset) {
                        session_reset(virtio);
                        continue;
                }
                r = net_serve(virtio, wanted.run);
                if (r == 0 && !oriel_frontend_connected(virtio->frontend) && !wanted.taken_away &&
                    now_ms() >= pause.next) {
                        virtio_put_off(&pause);
                        if (!try_connect(virtio, why, sizeof(why)))
                                return;
                        /* A try may have taken longer than the pause. */
                        pause.next = now_ms() + pause.ms;
                        continue;
                }
                if (r == 0 && oriel_frontend_connected(virtio->frontend))
                        r = session_serve(virtio, &wanted);
                if (r < 0)
                        session_lost(virtio, session_look(virtio).taken_away ? "it was taken away" : session_reason(r));
                /* It may have mapped after that. */
                if (wanted.taken_away)
                        running_unmap(virtio);
                virtio_sleep_until_event(virtio, virtio_timeout_of(virtio, &pause, wanted.taken_away));
        }
}

void *session_run(void *userdata)
{
        struct virtio *virtio = userdata;

        virtio->objects_member.wake_fd = virtio->wake_fd;
        session_loop(virtio);
        objects_forget(virtio->options.objects, &virtio->objects_member);
        return NULL;
}
