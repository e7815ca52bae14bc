/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef ORIEL_DRIVER_H
#define ORIEL_DRIVER_H

#include <oriel/frontend.h>
#include <oriel/virtqueue.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* A virtio driver in user space on top of a front-end: the guest that needs no VM. It makes guest memory from a memfd,
 * brings a device up, puts a window under each of its shared memory regions, and passes buffers through its queues. It
 * belongs to one thread at a time. Calls that send the back-end a request wait for its reply, those that bring the
 * device up and stop it unless nonblocking is among the options. Errors of the front-end are as in oriel/frontend.h. */
struct oriel_driver;

/* Where a driver is. */
enum oriel_driver_state {
        ORIEL_DRIVER_STARTING, /* oriel_driver_bring_up() has not ended */
        ORIEL_DRIVER_UP,       /* the device works: DRIVER_OK, queues started */
        ORIEL_DRIVER_STOPPING, /* oriel_driver_stop() has not ended */
        ORIEL_DRIVER_DOWN,     /* the back-end is gone, the bring-up has failed, or all is stopped */
};

/* Options of oriel_driver_new(). A member that is 0 has its default. */
struct oriel_driver_options {
        size_t struct_size;
        const struct oriel_log *log;         /* copied; NULL: silent */
        int timeout_ms;                      /* for each reply; 0: 5000 */
        const struct oriel_dialect *dialect; /* NULL: the standard */
        uint64_t features;                   /* virtio features to use where offered; VERSION_1 is always needed */
        uint64_t without;        /* protocol features not to use; in-band notifications, GPA_ADDRESSES, PAGEFAULT and
                                    GET_VRING_BASE_INFLIGHT are used only if named in @with */
        uint64_t with;           /* protocol features to use that are not used unless named */
        unsigned queues;         /* 0: as many as GET_QUEUE_NUM says */
        uint16_t queue_size;     /* 0: 256 */
        uint64_t memory_size;    /* for buffers; 0: 16 MiB */
        enum oriel_hole hole;    /* of the windows */
        bool windows_as_memory;  /* tell the back-end of each mapping with ADD_MEM_REG, so that buffers may lie in a
                                    window; when its slots run out mapping goes on, and that is logged once */
        bool allow_remote_files; /* of the windows' regions */
        size_t keep_fds; /* of so many mappings in each window a copy of the fd is kept, for oriel_mapping_fd() of what
                            oriel_region_find() gives: for who maps the file in another place or process */
        /* Objects that the back-end shares with those of other drivers: for each call as of struct oriel_frontend_ops,
         * with this userdata. They may not call this driver; of another one, oriel_frontend_get_shared_object() on its
         * front-end has what is looked up. Without the lookup SHARED_OBJECT is not used. */
        int (*shared_object_add)(void *userdata, const uint8_t uuid[16]);
        int (*shared_object_remove)(void *userdata, const uint8_t uuid[16]);
        int (*shared_object_lookup)(void *userdata, const uint8_t uuid[16]);
        void *shared_object_userdata; /* passed to these three */
        bool nonblocking; /* oriel_driver_new() and oriel_driver_reconnect() return at once, oriel_driver_bring_up() and
                             oriel_driver_stop() do not wait, and oriel_driver_free() stops nothing */
};
#define ORIEL_DRIVER_OPTIONS_LEAST offsetof(struct oriel_driver_options, log)

/* Make a driver and bring the device up. @fd is the connected socket, taken even on failure; a negative errno in its
 * place, as of oriel_socket_connect(), is returned as it is. When this returns the device is up: DRIVER_OK, queues
 * started. -EINVAL and -E2BIG as of oriel_backend_new(). *@out is NULL after an error. -EOPNOTSUPP: the back-end lacks
 * VERSION_1 or has fewer queues. With the option nonblocking nothing has been sent yet: the device is up when
 * oriel_driver_bring_up() has returned 0. */
int oriel_driver_new(const struct oriel_driver_options *options, int fd, struct oriel_driver **out);
/* Free the driver; the device is stopped first if it is there: that waits for each queue, but not with the option
 * nonblocking, nor after oriel_driver_stop() or oriel_frontend_disconnect(). NULL is accepted. */
void oriel_driver_free(struct oriel_driver *driver);

/* Continue to bring the device up with the option nonblocking: call it first after oriel_driver_new() or
 * oriel_driver_reconnect(), and again whenever oriel_frontend_get_fd() of the driver's front-end is readable. It is
 * readable too when the time limit for a reply is over (timeout_ms): the call then returns -ETIMEDOUT. 0: the device is
 * up, and was for all further calls. -EINPROGRESS: it is not yet; oriel_frontend_under_way() is what the back-end is to
 * answer. -EINVAL: the driver is neither starting nor up. Other errors as oriel_driver_new() and
 * oriel_driver_reconnect() have them; the connection has then ended. Until it is up the driver's queues are not there:
 * their functions return -EINVAL. */
int oriel_driver_bring_up(struct oriel_driver *driver);
/* Stop all queues (GET_VRING_BASE) and end the connection. With the option nonblocking -EINPROGRESS, as above. Requests
 * that are done can still be collected, and oriel_driver_reconnect() goes on with the others. -EINVAL: it is starting;
 * to give that up, free the driver. An error of the front-end: the device was not stopped, and the connection has ended
 * nonetheless. */
int oriel_driver_stop(struct oriel_driver *driver);
/* Where the driver is. */
enum oriel_driver_state oriel_driver_state(const struct oriel_driver *driver);

/* Bring up another back-end after -ENOTCONN, -EPROTO or -ETIMEDOUT from any call: the one at @fd (taken), with the same
 * features, and let it go on where the last one stopped. Requests in flight are processed by the new one: with
 * INFLIGHT_SHMFD exactly those not yet done; without it those that a split ring's device, which worked in order, had
 * not finished. Of one that worked out of order, or died while it wrote to a packed ring, nothing can be known without
 * it, and requests may be lost. Mappings are gone. -EOPNOTSUPP: it does not offer what was negotiated before. -EINVAL:
 * the driver was never up. With the option nonblocking oriel_driver_bring_up() does the rest. */
int oriel_driver_reconnect(struct oriel_driver *driver, int fd);

/* The driver's front-end, for config space, status and events: it stays the driver's, as does whether it waits
 * (oriel_frontend_set_nonblocking()). */
struct oriel_frontend *oriel_driver_frontend(struct oriel_driver *driver);
/* The virtio features that were negotiated, and how many queues there are. */
uint64_t oriel_driver_features(const struct oriel_driver *driver);
unsigned oriel_driver_queue_count(const struct oriel_driver *driver);

/* Allocate @size bytes of guest memory for buffers, 64-byte aligned, zeroed, the driver's until it is freed. NULL:
 * memory_size is used up. */
void *oriel_driver_alloc(struct oriel_driver *driver, size_t size);

/* Find out where the device finds [@host, @host + @size), which is memory of oriel_driver_alloc(), or of a window if
 * windows are memory: for addresses inside of a request. -EFAULT: it is neither. */
int oriel_driver_address(const struct oriel_driver *driver, const void *host, size_t size, uint64_t *out);

/* The window of a region, NULL if the device has no such region; and the record of what is mapped there. Both are the
 * driver's. */
void *oriel_driver_window(const struct oriel_driver *driver, uint8_t shmid, uint64_t *size);
struct oriel_region *oriel_driver_region(const struct oriel_driver *driver, uint8_t shmid);

/* Make a buffer available, without telling the device yet. The pieces lie in memory of oriel_driver_alloc(), or in a
 * window if windows are memory; -EFAULT if not. @token, not NULL, comes back with it. -EAGAIN: the queue is full. */
int oriel_driver_submit(struct oriel_driver *driver, unsigned queue, const struct iovec *readable, unsigned n_readable,
                        const struct iovec *writable, unsigned n_writable, void *token);
/* Tell the device of what was submitted, if it wants to know. */
int oriel_driver_kick(struct oriel_driver *driver, unsigned queue);
/* Take a buffer that is done: 1 with its token and the bytes written, or 0. -EPROTO: the device broke the ring.
 * -EINVAL: no such queue, or the device is starting, which the other functions of a queue return as well; or a pointer
 * is NULL. */
int oriel_driver_collect(struct oriel_driver *driver, unsigned queue, void **token, uint32_t *written);
/* Wait until the queue has something to collect, and answer the back-end meanwhile. 0, -ETIMEDOUT, -EIO: the back-end
 * reports the ring as broken, or the front-end's errors. -1 ms: no limit. The call fd's signals stay: see
 * oriel_driver_rearm(). */
int oriel_driver_wait(struct oriel_driver *driver, unsigned queue, int timeout_ms);

/* The descriptor by which the device calls the driver, for a loop of one's own: poll it and oriel_frontend_get_fd() for
 * reading. When the front-end's is readable call oriel_frontend_dispatch() on it, when this one is
 * oriel_driver_rearm(), and then oriel_driver_collect() until 0. */
int oriel_driver_call_fd(const struct oriel_driver *driver, unsigned queue);
/* Take back the call fd's signals and ask for more. Returns whether there is something to collect already: that there
 * is no such queue, for one. */
bool oriel_driver_rearm(struct oriel_driver *driver, unsigned queue);

/* Stop a queue (GET_VRING_BASE), and let it go on where it was (SET_VRING_KICK). */
int oriel_driver_stop_queue(struct oriel_driver *driver, unsigned queue);
int oriel_driver_start_queue(struct oriel_driver *driver, unsigned queue);
/* Stop the queue and begin anew with an empty ring (VIRTIO 1.2, 2.6.1). Buffers that were submitted and not collected
 * are forgotten: to have them, stop the queue and collect first. -EOPNOTSUPP: VIRTIO_F_RING_RESET is not among the
 * features. */
int oriel_driver_reset_queue(struct oriel_driver *driver, unsigned queue);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
