/* SPDX-License-Identifier: BSD-2-Clause */

/* VNC by libvncserver. One thread has the library and all its clients: it copies what the viewer notes as out of date
 * into the library's screen, and lets the library send that and read what clients send. Keys and pointers are ignored;
 * virtio-input is for those.
 *
 * In a write the library waits for a client that does not read, for five seconds and more, and the other clients wait
 * too; the gpu does not, as it only leaves notes for the viewer. When the device ends, all clients' sockets are shut
 * down, so that the thread waits for the first of them alone: select(2) does not report the shutdown of a Unix socket
 * which is full.
 *
 * The library uses select(2), so a connection whose descriptor is too large for that is closed at once. Clients for
 * which the library scales the screen are closed when its size changes, as that of the scaled screen does not. */

#include "devices/gpu/display/vnc.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/syscalls.h"
#include "devices/gpu/display/viewer.h"
#include "program/report.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <rfb/rfb.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/param.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

SYSCALL_ROWS syscalls_used[] = {
        SYSCALL(accept4),       SYSCALL(shutdown),
        SYSCALL(recvfrom),      SYSCALL(sendto),
        SYSCALL(getpeername),   SYSCALL(setsockopt),
        SYSCALL(poll),          SYSCALL(pselect6),
        SYSCALL_FCNTL(F_GETFL), SYSCALL_FCNTL(F_DUPFD_CLOEXEC),
        SYSCALL_SET_FLAGS,
#ifdef __NR_select
        SYSCALL(select),
#endif
};

enum { CLIENTS_MAX = 8, CLIENT_WAIT_MS = 5000, ACCEPT_PAUSE_MS = 100 };

struct vnc {
        struct viewer viewer;
        struct oriel_log log;
        struct log_budget lines;
        int listener;
        rfbScreenInfoPtr screen;
        uint32_t *pixels; /* the screen's: bytes of red, green, blue and padding */
        struct viewer_output note;

        pthread_mutex_t lock; /* of what follows */
        bool end;
        /* Duplicates of the clients' sockets: the library closes its own at any time. -1: none. */
        int kept[CLIENTS_MAX];
};

/* ---- before the sandbox ---- */

static int bind_to(const struct addrinfo *address)
{
        _cleanup_(fd_closep) int fd =
                socket(address->ai_family, address->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, address->ai_protocol);
        const int yes = 1;

        if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) < 0 ||
            bind(fd, address->ai_addr, address->ai_addrlen) < 0 || listen(fd, CLIENTS_MAX) < 0)
                return -errno;
        return fd_take(&fd);
}

/* Listens at the first of a name's addresses that it can; if at none, returns the error of the last. */
static int bind_to_any(const struct addrinfo *found)
{
        int r = bind_to(found);

        while (r < 0 && (found = found->ai_next))
                r = bind_to(found);
        return r;
}

/* Splits "HOST:PORT" into @host and @port, without the brackets of an IPv6 address. */
static bool split_address(const char *address, char *host, size_t size, const char **port)
{
        const char *colon = strrchr(address, ':');
        size_t n = colon ? (size_t)(colon - address) : 0;

        if (!colon || colon[1] == '\0' || n >= size || strtoul(colon + 1, NULL, 10) > UINT16_MAX)
                return false;
        if (n >= 2 && address[0] == '[' && address[n - 1] == ']') {
                address++;
                n -= 2;
        }
        memcpy(host, address, n);
        host[n] = '\0';
        *port = colon + 1;
        return true;
}

int vnc_listen(const char *address, struct socket_file *file)
{
        const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
        struct addrinfo *found = NULL;
        char host[256];
        const char *port;

        if (strncmp(address, "unix:", 5) == 0)
                return socket_file_listen(file, address + 5);
        if (!split_address(address, host, sizeof(host), &port)) {
                report("--vnc=%s: HOST:PORT, with a port up to 65535, or unix:PATH is needed", address);
                return -EINVAL;
        }

        int r = getaddrinfo(host[0] ? host : "127.0.0.1", port, &hints, &found);

        if (r != 0) {
                report("--vnc=%s: %s", address, gai_strerror(r));
                return -EINVAL;
        }
        r = bind_to_any(found);
        freeaddrinfo(found);
        if (r < 0)
                report("--vnc=%s: %s", address, strerror(-r));
        return r;
}

/* ---- the screen ---- */

static void close_scaled(struct vnc *vnc)
{
        rfbClientIteratorPtr clients = rfbGetClientIterator(vnc->screen);
        rfbClientPtr client;

        while ((client = rfbClientIteratorNext(clients)))
                if (client->scaledScreen != vnc->screen)
                        rfbCloseClient(client);
        rfbReleaseClientIterator(clients);
}

static int set_size(struct vnc *vnc, uint32_t width, uint32_t height)
{
        if (vnc->pixels && width == (uint32_t)vnc->screen->width && height == (uint32_t)vnc->screen->height) {
                memset(vnc->pixels, 0, (size_t)width * height * 4);
                rfbMarkRectAsModified(vnc->screen, 0, 0, (int)width, (int)height);
                return 0;
        }

        uint32_t *pixels = calloc(width, (size_t)height * 4), *before = vnc->pixels;

        if (!pixels)
                return -ENOMEM;
        close_scaled(vnc);
        /* The library counts closed clients until it has looked at them again, and would scale for them. */
        rfbProcessEvents(vnc->screen, 0);
        vnc->pixels = pixels;
        rfbNewFramebuffer(vnc->screen, (char *)pixels, (int)width, (int)height, 8, 3, 4);
        free(before);
        return 0;
}

/* From 0xXXRRGGBB to bytes in the screen's order. */
static void vnc_reorder(uint32_t *pixels, uint32_t n)
{
        for (uint32_t i = 0; i < n; i++) {
                const uint32_t pixel = pixels[i];
                const uint8_t bytes[4] = {(uint8_t)(pixel >> 16), (uint8_t)(pixel >> 8), (uint8_t)pixel, 0};

                memcpy(&pixels[i], bytes, 4);
        }
}

/* If the output has become smaller meanwhile, nothing is copied; its new size is noted. */
static void copy_damage(struct vnc *vnc, struct gpu_rect rect)
{
        const uint32_t stride = (uint32_t)vnc->screen->width;
        uint32_t *to = vnc->pixels + (size_t)rect.y * stride + rect.x;

        if (!gpu_copy_output(vnc->viewer.gpu, 0, rect, to, stride))
                return;
        for (uint32_t y = 0; y < rect.height; y++)
                vnc_reorder(to + (size_t)y * stride, rect.width);
        rfbMarkRectAsModified(vnc->screen, (int)rect.x, (int)rect.y, (int)(rect.x + rect.width),
                              (int)(rect.y + rect.height));
}

/* An output that is off is shown black, with its last size. */
static void show_note(struct vnc *vnc, const struct viewer_output *note)
{
        const bool off = note->resized && note->width == 0;
        uint32_t width = off ? (uint32_t)vnc->screen->width : note->width;
        uint32_t height = off ? (uint32_t)vnc->screen->height : note->height;

        if (note->resized && set_size(vnc, width, height) < 0) {
                log_error(&vnc->log, "VNC: no memory for a screen of %ux%u", width, height);
                return;
        }
        if (note->damage.height > 0 && note->damage.x + note->damage.width <= (uint32_t)vnc->screen->width &&
            note->damage.y + note->damage.height <= (uint32_t)vnc->screen->height)
                copy_damage(vnc, note->damage);
}

/* ---- clients ---- */

static void release_slot(struct vnc *vnc, unsigned slot)
{
        pthread_mutex_lock(&vnc->lock);
        vnc->kept[slot] = fd_close(vnc->kept[slot]);
        pthread_mutex_unlock(&vnc->lock);
}

static void client_gone(rfbClientPtr client)
{
        int *kept = client->clientData;
        struct vnc *vnc = client->screen->screenData;

        release_slot(vnc, (unsigned)(kept - vnc->kept));
}

/* Takes a free slot of @kept, for a duplicate of @fd. Negative: there is none, or the server ends. */
static int vnc_take_slot(struct vnc *vnc, int fd)
{
        int slot = -1;

        pthread_mutex_lock(&vnc->lock);
        for (int i = 0; slot < 0 && !vnc->end && i < CLIENTS_MAX; i++)
                if (vnc->kept[i] < 0)
                        slot = i;
        if (slot >= 0 && (vnc->kept[slot] = fd_dup(fd)) < 0)
                slot = vnc->kept[slot] = -1;
        pthread_mutex_unlock(&vnc->lock);
        return slot;
}

static void add_client(struct vnc *vnc)
{
        int fd = accept4(vnc->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        int slot = fd >= 0 && fd < FD_SETSIZE ? vnc_take_slot(vnc, fd) : -1;

        /* The listener stays readable while there are no descriptors: wait a little. */
        if (fd < 0 && errno != EAGAIN)
                poll(NULL, 0, ACCEPT_PAUSE_MS);
        if (slot < 0) {
                if (fd >= FD_SETSIZE)
                        log_within(&vnc->lines, &vnc->log, ORIEL_LOG_WARNING,
                                   "VNC: a client is refused: this process has more than %d descriptors", FD_SETSIZE);
                fd_close(fd);
                return;
        }

        /* The library takes the socket even if it makes no client. */
        rfbClientPtr client = rfbNewClient(vnc->screen, fd);

        if (!client) {
                release_slot(vnc, (unsigned)slot);
                return;
        }
        client->clientData = &vnc->kept[slot];
        client->clientGoneHook = client_gone;
        client->viewOnly = TRUE;
}

/* ---- the thread ---- */

/* Only the thread changes @kept, so it reads it without the lock. */
static void await_something(struct vnc *vnc, bool *accepts)
{
        struct pollfd fds[2 + CLIENTS_MAX] = {{.fd = vnc->viewer.wake_fd, .events = POLLIN},
                                              {.fd = vnc->listener, .events = POLLIN}};
        eventfd_t woken;

        for (unsigned i = 0; i < CLIENTS_MAX; i++)
                fds[2 + i] = (struct pollfd){.fd = vnc->kept[i], .events = POLLIN};
        poll(fds, ARRAY_SIZE(fds), -1);
        *accepts = fds[1].revents;
        eventfd_read(vnc->viewer.wake_fd, &woken);
}

static void *vnc_run(void *userdata)
{
        struct vnc *vnc = userdata;
        bool accepts;

        while (!vnc->viewer.end) {
                await_something(vnc, &accepts);
                if (viewer_take(&vnc->viewer, 0, &vnc->note))
                        show_note(vnc, &vnc->note);
                if (accepts)
                        add_client(vnc);
                rfbProcessEvents(vnc->screen, 0);
        }
        return NULL;
}

/* ---- its life ---- */

/* The library's messages. Its callback has no userdata, and the log is the process's. */
static const struct oriel_log *library_log;

static void library_says(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void library_says(const char *format, ...)
{
        char line[256];
        va_list args;

        va_start(args, format);
        vsnprintf(line, sizeof(line), format, args);
        va_end(args);
        line[strcspn(line, "\n")] = '\0';
        log_debug(library_log, "%s", line);
}

static int make_screen(struct vnc *vnc, uint32_t width, uint32_t height)
{
        rfbLog = rfbErr = library_says;
        library_log = &vnc->log;
        vnc->screen = rfbGetScreen(NULL, NULL, (int)width, (int)height, 8, 3, 4);
        if (!vnc->screen)
                return -ENOMEM;
        vnc->screen->screenData = vnc;
        vnc->screen->desktopName = "oriel-gpu";
        vnc->screen->alwaysShared = TRUE;
        vnc->screen->deferUpdateTime = 0;
        vnc->screen->maxClientWait = CLIENT_WAIT_MS;
        vnc->screen->cursor = NULL;
        /* The library does not listen itself. */
        vnc->screen->port = vnc->screen->ipv6port = 0;
        rfbInitServer(vnc->screen);
        return set_size(vnc, width, height);
}

int vnc_new(struct gpu *gpu, int listener, uint32_t width, uint32_t height, const struct oriel_log *log,
            struct vnc **out)
{
        struct vnc *vnc = calloc(1, sizeof(*vnc));

        if (!vnc) {
                fd_close(listener);
                return -ENOMEM;
        }
        vnc->log = *log;
        vnc->listener = listener;
        memset(vnc->kept, 0xff, sizeof(vnc->kept));
        pthread_mutex_init(&vnc->lock, NULL);

        int r = make_screen(vnc, width, height);

        if (r == 0)
                r = viewer_start(&vnc->viewer, gpu, false, vnc_run, vnc);
        if (r < 0)
                vnc_free(vnc);
        else
                *out = vnc;
        return r;
}

void vnc_free(struct vnc *vnc)
{
        if (!vnc)
                return;
        pthread_mutex_lock(&vnc->lock);
        vnc->end = true;
        for (unsigned i = 0; i < CLIENTS_MAX; i++)
                if (vnc->kept[i] >= 0)
                        shutdown(vnc->kept[i], SHUT_RDWR);
        pthread_mutex_unlock(&vnc->lock);
        viewer_stop(&vnc->viewer);
        if (vnc->screen) {
                rfbShutdownServer(vnc->screen, TRUE);
                rfbScreenCleanup(vnc->screen);
        }
        fd_close(vnc->listener);
        free(vnc->pixels);
        pthread_mutex_destroy(&vnc->lock);
        free(vnc);
}
