/* SPDX-License-Identifier: BSD-2-Clause */

/* The session target's other half: a back-end speaks, and our front-end listens. */

#include "fuzz/session.h"

#include <errno.h>
#include <fcntl.h>
#include <oriel/frontend.h>
#include <sys/socket.h>

static int take_object(void *userdata, const uint8_t uuid[16])
{
        return uuid[0] ? 0 : -EINVAL;
}

static int find_object(void *userdata, const uint8_t uuid[16])
{
        return get_object(userdata, uuid);
}

static int set_notifier(void *userdata, unsigned vring, int fd, uint64_t offset, uint64_t size)
{
        return vring < QUEUES ? 0 : -EINVAL;
}

static void tell_mapped(void *userdata, struct oriel_region *region, struct oriel_mapping *mapping, int fd)
{
        struct oriel_mapping_info info = {.struct_size = sizeof(info)};

        oriel_mapping_get_info(mapping, &info);
        need(fcntl(fd, F_GETFD) >= 0);
}

static void tell_unmapped(void *userdata, struct oriel_region *region, struct oriel_mapping *mapping)
{
        struct oriel_mapping_info info = {.struct_size = sizeof(info)};

        oriel_mapping_get_info(mapping, &info);
        need(!info.live);
}

static void tell_vring(void *userdata, unsigned vring)
{
}

static void tell_refused(void *userdata, bool map, const struct oriel_wire_mmap *request, int error)
{
        need(error < 0 && request);
}

static void tell_config_changed(void *userdata)
{
}

static void tell_miss(void *userdata, uint64_t iova, enum oriel_access access)
{
}

static struct oriel_frontend *make_frontend(struct oriel_region *region)
{
        const struct oriel_frontend_ops ops = {
                .struct_size = sizeof(ops),
                .refused = tell_refused,
                .config_changed = tell_config_changed,
                .iotlb_miss = tell_miss,
                .mapped = tell_mapped,
                .unmapped = tell_unmapped,
                .vring_call = tell_vring,
                .vring_err = tell_vring,
                .host_notifier = set_notifier,
                .shared_object_add = take_object,
                .shared_object_remove = take_object,
                .shared_object_lookup = find_object,
        };
        const struct oriel_frontend_options options = {
                .struct_size = sizeof(options), .ops = &ops, .timeout_ms = 1, .log = &words};
        struct oriel_frontend *frontend;

        need(oriel_frontend_new(&options, &frontend) == 0);
        oriel_frontend_set_region(frontend, 0, region);
        return frontend;
}

static int take_back_channel(int socket)
{
        union {
                struct cmsghdr align;
                char room[CMSG_SPACE(sizeof(int))];
        } control;
        int fd = -1;

        for (ssize_t n = 1; n > 0 && fd < 0;) {
                struct oriel_wire_header header;
                struct iovec iov = {&header, sizeof(header)};
                struct msghdr msg = {.msg_iov = &iov,
                                     .msg_iovlen = 1,
                                     .msg_control = control.room,
                                     .msg_controllen = sizeof(control.room)};
                uint8_t payload[64];

                n = recvmsg(socket, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
                if (n > 0 && CMSG_FIRSTHDR(&msg))
                        memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(int));
                if (n > 0 && header.size > 0)
                        n = recv(socket, payload, header.size, MSG_DONTWAIT);
        }
        return fd;
}

/* One call of the front-end's, to which the input is the answer; with NOT_WAITING it does not wait for that,
 * and goes on if the same call comes again. */
#define NOT_WAITING 0x80

static void ask(struct oriel_frontend *frontend, uint8_t what)
{
        struct oriel_wire_inflight inflight = {.num_queues = 1, .queue_size = 16};
        uint64_t sizes[ORIEL_MAX_SHMIDS];
        uint8_t bytes[16] = {1}, status;
        unsigned queues;
        uint32_t base;
        int fd = -1;

        need(oriel_frontend_set_nonblocking(frontend, what & NOT_WAITING) == 0);
        switch ((what & ~NOT_WAITING) % 9) {
        case 0:
                oriel_frontend_get_shmem_config(frontend, sizes);
                break;
        case 1:
                oriel_frontend_get_config(frontend, 0, bytes, sizeof(bytes));
                break;
        case 2:
                oriel_frontend_get_inflight_fd(frontend, &inflight, &fd);
                break;
        case 3:
                fd = oriel_frontend_get_shared_object(frontend, bytes);
                break;
        case 4:
                oriel_frontend_set_device_state_fd(frontend, ORIEL_DEVICE_STATE_SAVE, kinds[2], &fd);
                break;
        case 5:
                oriel_frontend_get_queue_num(frontend, &queues);
                break;
        case 6:
                oriel_frontend_get_vring_base(frontend, 0, &base);
                break;
        case 7:
                oriel_frontend_get_status(frontend, &status);
                break;
        default:
                oriel_frontend_negotiate(frontend, UINT64_MAX);
                break;
        }
        fd_close(fd);
}

static void talk_to_frontend(struct script *script, struct oriel_frontend *frontend, int main)
{
        const uint64_t features = oriel_frontend_supported();
        int back;

        send_u64(main, ORIEL_FRONTEND_GET_FEATURES, ORIEL_FLAG_REPLY,
                 VIRTIO | ORIEL_FEATURE(ORIEL_F_PROTOCOL_FEATURES));
        send_u64(main, ORIEL_FRONTEND_GET_PROTOCOL_FEATURES, ORIEL_FLAG_REPLY, features);
        send_u64(main, ORIEL_FRONTEND_SET_BACKEND_REQ_FD, ORIEL_FLAG_REPLY, 0);
        send_u64(main, ORIEL_FRONTEND_SET_OWNER, ORIEL_FLAG_REPLY, 0);
        send_u64(main, ORIEL_FRONTEND_SET_FEATURES, ORIEL_FLAG_REPLY, 0);
        need(oriel_frontend_negotiate(frontend, features) == 0);
        need(oriel_frontend_set_features(frontend, VIRTIO) == 0);
        back = take_back_channel(main);
        need(back >= 0);
        if (script->how & AGREED) {
                if (script->how & PREPARED)
                        ask(frontend, NOT_WAITING);
                while (send_next(script, back) && oriel_frontend_dispatch(frontend) == 0)
                        drain(back);
                if (script->how & PREPARED && oriel_frontend_connected(frontend))
                        ask(frontend, NOT_WAITING);
        } else {
                uint8_t what;

                while (oriel_frontend_connected(frontend) && take(&script->input, &what, 1) &&
                       send_next(script, main)) {
                        ask(frontend, what);
                        drain(main);
                }
        }
        fd_close(back);
}

void fuzz_frontend(struct script *script)
{
        static struct oriel_window *window;
        struct oriel_region *region;
        struct oriel_frontend *frontend;
        int fds[2];

        if (!window)
                need(oriel_window_new(WINDOW, ORIEL_HOLE_ZERO, &window) == 0);

        const struct oriel_region_options options = {
                .struct_size = sizeof(options),
                .size = WINDOW,
                .placement = oriel_window_placement(),
                .userdata = window,
        };

        need(oriel_region_new(&options, &region) == 0);
        frontend = make_frontend(region);
        need(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
        need(oriel_frontend_attach(frontend, fds[1]) == 0);
        talk_to_frontend(script, frontend, fds[0]);
        oriel_frontend_free(frontend);
        need(oriel_region_count(region) == 0);
        oriel_region_free(region);
        fd_close(fds[0]);
}
