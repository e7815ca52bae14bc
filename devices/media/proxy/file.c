/* SPDX-License-Identifier: BSD-2-Clause */
#include "devices/media/proxy/state.h"

#include "base/syscalls.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

USES_SYSCALLS(SYSCALL(epoll_ctl), SYSCALL_WITH(ioctl, 1, UINT32_C(0xff00), 'V' << 8));

int node_ioctl(const struct proxy_session *own, uint32_t code, void *payload)
{
        int r;

        do
                r = ioctl(own->fd, code, payload);
        while (r < 0 && errno == EINTR);
        return r < 0 ? -errno : 0;
}

/* Removed and added again: EPOLL_CTL_MOD would not make the driver check again which of its queues are polled. */
int proxy_watch(struct proxy_session *own)
{
        struct epoll_event event = {.events = EPOLLPRI | EPOLLET, .data.u32 = own->session->id};

        for (uint32_t type = 1; type < STREAM_TYPES; type++)
                if (own->streams[type].streaming)
                        event.events |= V4L2_TYPE_IS_OUTPUT(type) ? EPOLLOUT : EPOLLIN;
        epoll_ctl(own->proxy->epoll_fd, EPOLL_CTL_DEL, own->fd, NULL);
        return epoll_ctl(own->proxy->epoll_fd, EPOLL_CTL_ADD, own->fd, &event) < 0 ? -errno : 0;
}

int proxy_config(int fd, struct media_config *out)
{
        const uint32_t passed = ~(uint32_t)(V4L2_CAP_READWRITE | V4L2_CAP_ASYNCIO | V4L2_CAP_VIDEO_OVERLAY |
                                            V4L2_CAP_VIDEO_OUTPUT_OVERLAY | V4L2_CAP_DEVICE_CAPS);
        struct v4l2_capability capability = {.capabilities = 0};

        if (ioctl(fd, VIDIOC_QUERYCAP, &capability) < 0)
                return -errno;

        const uint32_t has =
                capability.capabilities & V4L2_CAP_DEVICE_CAPS ? capability.device_caps : capability.capabilities;

        *out = (struct media_config){.device_caps = has & passed, .device_type = MEDIA_TYPE_VIDEO};
        memcpy(out->card, capability.card, sizeof(out->card));
        return has & V4L2_CAP_STREAMING ? 0 : -ENODEV;
}
