/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef ORIEL_BACKEND_H
#define ORIEL_BACKEND_H

#include <oriel/log.h>
#include <oriel/protocol.h>
#include <oriel/virtqueue.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* The back-end's end of a vhost-user session: the device's process. It owns no thread and no loop: poll
 * oriel_backend_get_fd() for reading and call oriel_backend_dispatch() on one thread, the dispatching one. Rings are
 * processed wherever the device likes, between its start and stop callbacks. Calls that may come from any thread say
 * so. Nothing that the front-end sends ends the process; what breaks the protocol ends its connection. */
struct oriel_backend;
struct oriel_backend_queue;

/* The device's callbacks. All but start and stop may be NULL: what is NULL is not offered. Callbacks come on
 * the dispatching thread with no lock held. Those that return int return 0 or a negative errno, which the front-end
 * sees as a refusal. Any function may be called there, with these results: oriel_backend_dispatch() is -EDEADLK,
 * oriel_backend_attach() -EBUSY; oriel_backend_disconnect() and oriel_backend_free() take effect when the call ends
 * that the callback came from, with all callbacks that this brings. */
struct oriel_backend_ops {
        size_t struct_size;
        /* Copy [@offset, @offset + @size) of the config space; -EINVAL where there is none. */
        int (*get_config)(void *userdata, uint32_t offset, void *data, uint32_t size);
        /* @flags is enum oriel_config_flags. */
        int (*set_config)(void *userdata, uint32_t offset, const void *data, uint32_t size, uint32_t flags);
        /* The ring is started and enabled: process it from now on, beginning with what may be in it already. A started
         * ring that is disabled is not processed at all. After a failure there is no stop. */
        int (*start)(void *userdata, struct oriel_backend_queue *queue);
        /* Leave the ring alone: when this returns no thread uses the queue, and all its chains are pushed or, if the
         * front-end negotiated GET_VRING_BASE_INFLIGHT or is gone, dropped. A wait for the front-end that is under way
         * in oriel_backend_wait() ends by itself, after a second if the front-end does not answer. */
        void (*stop)(void *userdata, struct oriel_backend_queue *queue);
        /* The virtio features that the driver acknowledged. */
        void (*set_features)(void *userdata, uint64_t features);
        /* The device status, VIRTIO 1.2, 2.1. The library itself does nothing with it. */
        void (*set_status)(void *userdata, uint8_t status);
        /* RESET_DEVICE, or the front-end is gone: back to the initial state. All queues are stopped, and the front-end
         * has unmapped, or is about to unmap, everything in the shared memory regions. */
        void (*reset)(void *userdata);
        /* SEND_RARP, NET_SET_MTU, CREATE_CRYPTO_SESSION, CLOSE_CRYPTO_SESSION, GPU_SET_SOCKET, as
         * enum oriel_frontend_request. A reply, for the request that has one, replaces the payload. @fd is the
         * device's to close, -1 for none. The first four also need their protocol feature in the options. */
        int (*message)(void *userdata, uint32_t request, void *payload, uint32_t *size, int fd);
        /* SET_DEVICE_STATE_FD: write the state to @fd, or read it from there, and close @fd, which is the device's from
         * now on. It must not block here: the other end may begin only when this has returned. */
        int (*transfer_state)(void *userdata, enum oriel_device_state_direction direction, int fd);
        /* CHECK_DEVICE_STATE: whether that went well, waiting for its end. */
        int (*check_state)(void *userdata);
        /* GET_SHARED_OBJECT: a new fd for the object, or a negative errno. */
        int (*get_shared_object)(void *userdata, const uint8_t uuid[16]);
        /* oriel_backend_memory() gives another table: a region has come or gone, or an IOTLB entry has. */
        void (*memory_changed)(void *userdata);
};
#define ORIEL_BACKEND_OPS_LEAST offsetof(struct oriel_backend_ops, set_features)

/* Options of oriel_backend_new(). A member that is 0 has its default. */
struct oriel_backend_options {
        size_t struct_size;
        const struct oriel_backend_ops *ops; /* copied */
        void *userdata;
        const struct oriel_log *log; /* copied; NULL: silent */
        uint64_t device_features;    /* virtio features offered; VHOST_USER_F_PROTOCOL_FEATURES and, with LOG_SHMFD,
                                        VHOST_F_LOG_ALL are added. NOTIFY_ON_EMPTY, NOTIFICATION_DATA and
                                        NOTIF_CONFIG_DATA can't be had by eventfds, and are refused */
        uint64_t protocol_features;  /* offered besides those that the library and ops imply: RARP, MTU, CRYPTO_SESSION,
                                        HOST_NOTIFIER, and PAGEFAULT where this process can open a userfaultfd. That one
                                        lets the front-end write to any memory of this process, and have its threads wait
                                        for ever: ask for it only where the front-end is trusted with both */
        uint64_t without;            /* protocol features not to offer */
        unsigned queues;             /* 1 to 256 */
        unsigned max_mem_slots;      /* 0: 509 */
        const uint64_t *shmem_sizes; /* 256 sizes by shmid, copied; NULL: no shared memory regions */
        const struct oriel_dialect *dialect; /* NULL: the standard */
        size_t max_mappings; /* live ones, beyond which oriel_backend_shmem_map() is refused; 0: no limit of this
                                  end's. Some front-ends end at a number that a guest can reach */
};
#define ORIEL_BACKEND_OPTIONS_LEAST offsetof(struct oriel_backend_options, shmem_sizes)

/* Make a back-end. -EINVAL: an option that can't be, which the log names; or NULL, or a struct_size that no version
 * has. -E2BIG: a later version's options or ops, with something set that this library knows nothing of. -ENOMEM. *@out
 * is NULL after an error. */
int oriel_backend_new(const struct oriel_backend_options *options, struct oriel_backend **out);
/* Free the back-end; its connection is ended first. NULL is accepted. */
void oriel_backend_free(struct oriel_backend *backend);

/* Serve the front-end at the other end of the connected socket @fd, which is taken even on failure. A negative errno in
 * its place is returned as it is, -1 as -EBADF. -ENOTSOCK, -EPROTOTYPE: no stream
 * socket. -EBUSY: there is one. After its end another may be attached; it starts
 * from nothing. */
int oriel_backend_attach(struct oriel_backend *backend, int fd);
/* The connection, -1 without one. It changes with each attach. */
int oriel_backend_get_fd(const struct oriel_backend *backend);
/* Handle what has come, without waiting for more. 0, -ENOTCONN: the front-end has closed or there is none, -EPROTO: it
 * broke the protocol (the log says how). After these the connection is gone, and its queues were stopped. -ECANCELED: a
 * callback has freed the back-end, which is no more. -EDEADLK: in a callback, or in that of the log. */
int oriel_backend_dispatch(struct oriel_backend *backend);
/* End the connection: queues are stopped, then reset() is called. Another one may be attached. */
void oriel_backend_disconnect(struct oriel_backend *backend);

/* ---- guest memory: any thread ---- */

/* The guest memory of now, with a reference for the caller; an empty table before there is any. It is for addresses
 * that are in no chain: those that a driver has put into a request. (A chain's own spans are found already.)
 *
 * Keep such an address as the driver gave it, and translate it when it is used: then what is removed meanwhile is
 * -EFAULT, which is the driver's error. Or translate once and keep the reference for as long as the driver lets the
 * device use the memory; drop it when the driver takes it back, at reset and when the queues stop. While it is kept the
 * spans stay valid, and after the front-end has removed a region, the guest no longer sees what is written there.
 *
 * With VIRTIO_F_ACCESS_PLATFORM the addresses are IOVAs. On -EAGAIN pass the fault to oriel_backend_iotlb_miss(), and
 * translate again when memory_changed() comes. vhost-user, "Memory access", "IOMMU support". */
struct oriel_memory *oriel_backend_memory(struct oriel_backend *backend);
/* Ask the front-end for an IOTLB entry. 0, or as the requests below. */
int oriel_backend_iotlb_miss(struct oriel_backend *backend, const struct oriel_fault *fault);
/* Mark @guest as written, where the device wrote to guest memory outside of a chain. It does nothing unless the
 * front-end wants all writes marked (VHOST_F_LOG_ALL). */
void oriel_backend_mark_dirty(struct oriel_backend *backend, struct oriel_range guest);

/* The protocol features that were negotiated, in the standard's numbering. */
uint64_t oriel_backend_protocol_features(const struct oriel_backend *backend);

/* ---- queues: any thread, between start and stop; else pop and push are -ESHUTDOWN and the others do nothing ---- */

/* The number of the queue, from 0, and how many entries its ring has. */
unsigned oriel_backend_queue_index(const struct oriel_backend_queue *queue);
uint16_t oriel_backend_queue_size(const struct oriel_backend_queue *queue);
/* The back-end that the queue belongs to. */
struct oriel_backend *oriel_backend_queue_backend(const struct oriel_backend_queue *queue);
/* A pointer of the device's own for this queue: NULL until it is set, and kept while the back-end lives, from one start
 * to the next. Not synchronized: set it in start(). */
void oriel_backend_queue_set_userdata(struct oriel_backend_queue *queue, void *userdata);
void *oriel_backend_queue_userdata(const struct oriel_backend_queue *queue);
/* Whether the ring goes on where this back-end, or one before it, was stopped or ended: the driver has not begun anew,
 * and believes that the device remembers what it was told. */
bool oriel_backend_queue_resumed(const struct oriel_backend_queue *queue);
/* Readable when the driver has kicked. The fd is the queue's: poll it from start to stop, do not close it. The next
 * start may bring another. -1 if the front-end wants the ring polled instead. */
int oriel_backend_queue_kick_fd(const struct oriel_backend_queue *queue);
/* Take the next buffer, and give one back: as oriel_device_queue_pop() and oriel_device_queue_push(). A ring that
 * breaks is reported through its err fd and the log, once. On -EAGAIN an IOTLB miss was sent, and the kick fd becomes
 * readable when it is answered; or a buffer is in no memory that the front-end has told of, which it may yet do: the
 * ring's err descriptor says so, and the kick fd becomes readable when memory comes. */
int oriel_backend_queue_pop(struct oriel_backend_queue *queue, struct oriel_chain **out);
int oriel_backend_queue_push(struct oriel_backend_queue *queue, struct oriel_chain *chain, size_t written);
/* Give a buffer back without telling yet, and undo a pop: as oriel_device_queue_fill() and
 * oriel_device_queue_unpop(). What was filled is flushed by a push, by oriel_backend_queue_notify() and
 * when the queue stops. */
int oriel_backend_queue_fill(struct oriel_backend_queue *queue, struct oriel_chain *chain, size_t written);
int oriel_backend_queue_unpop(struct oriel_backend_queue *queue, struct oriel_chain *chain);
/* Call the driver if it wants to know of what was pushed. */
void oriel_backend_queue_notify(struct oriel_backend_queue *queue);
/* Take back the kick fd's signals and ask for more, before sleeping on it. Returns whether there are buffers already.
 */
bool oriel_backend_queue_rearm(struct oriel_backend_queue *queue);
/* Ask for kicks where the kick fd is watched for edges (EPOLLET), so that there is no need to take signals back: a
 * system call less than oriel_backend_queue_rearm() for each time of sleep. Returns the same. */
bool oriel_backend_queue_want_kick(struct oriel_backend_queue *queue);

/* ---- requests to the front-end: any thread ---- */

/* All are answered in order, and many may be on their way. @ticket, unless NULL, is to be passed once to one of
 * oriel_backend_wait(), oriel_backend_on_answer(), or oriel_backend_poll() until that has the answer; with NULL the log
 * alone learns of a refusal. Without REPLY_ACK nothing but a lookup
 * is answered, and every other wait succeeds at once. While 64 are unanswered a submission waits for an answer first;
 * -ETIMEDOUT: it gave up because a queue is being stopped. -ENOTCONN: no front-end, or no back-end channel.
 * -EOPNOTSUPP: not negotiated. After all other errors nothing was sent, and the channel goes on: -EBADF: an fd to pass
 * is none; a negative errno in its place is returned as it is. -ETOOMANYREFS: too many fds of this user are on their
 * way. Else what sendmsg says. */

/* Ask the front-end to map a part of @fd (vhost-user, SHMEM_MAP). @fd stays the caller's. @map is not checked beyond
 * the region's bounds (-ERANGE): the front-end does that. -ESHUTDOWN: no queue is started, so the driver has not
 * started the device, and a front-end need not have the region in place yet. -ENOSPC: max_mappings are live, or asked
 * for. */
int oriel_backend_shmem_map(struct oriel_backend *backend, const struct oriel_wire_mmap *map, int fd, uint64_t *ticket);
/* Ask the front-end to unmap exactly one mapping (vhost-user, SHMEM_UNMAP). */
int oriel_backend_shmem_unmap(struct oriel_backend *backend, const struct oriel_wire_mmap *map, uint64_t *ticket);
/* Wait for the answer: 0, -EREMOTEIO: the front-end refused, -ENOTCONN: it is gone, -ETIMEDOUT: the queue is being
 * stopped and the front-end gave no answer within a second. -EINVAL: no such ticket. Not on the dispatching thread,
 * unless the front-end answers while it waits for a reply of ours (Oriel's does). */
int oriel_backend_wait(struct oriel_backend *backend, uint64_t ticket);
/* As oriel_backend_wait(), without waiting: -EINPROGRESS if the answer is not there yet. On every thread. */
int oriel_backend_poll(struct oriel_backend *backend, uint64_t ticket);
/* As oriel_backend_wait(), by a callback, which comes once, in oriel_backend_dispatch(), with what oriel_backend_wait()
 * would return; or when the connection ends, before reset(), with -ENOTCONN. 0, -EINVAL, -ENOMEM. */
int oriel_backend_on_answer(struct oriel_backend *backend, uint64_t ticket,
                            void (*answered)(void *userdata, int result), void *userdata);
/* Readable when oriel_backend_dispatch() has something to do for a callback: poll it too where there are any. It is the
 * back-end's, from oriel_backend_new() on. */
int oriel_backend_get_answer_fd(const struct oriel_backend *backend);

/* Set another limit than the options'. What is mapped already stays. */
void oriel_backend_set_max_mappings(struct oriel_backend *backend, size_t max);
/* The mappings that were asked for, without those that were refused or unmapped. */
size_t oriel_backend_mapping_count(struct oriel_backend *backend);

/* Have the front-end read the config space again (CONFIG_CHANGE_MSG). */
int oriel_backend_config_changed(struct oriel_backend *backend, uint64_t *ticket);
/* Give the front-end a place where the driver can notify the device by a store (VRING_HOST_NOTIFIER_MSG). @fd -1: take
 * it back. */
int oriel_backend_host_notifier(struct oriel_backend *backend, unsigned queue, int fd, uint64_t offset, uint64_t size,
                                uint64_t *ticket);
/* Offer an object, take it back, ask for another device's (SHARED_OBJECT_ADD, _REMOVE, _LOOKUP). The lookup waits, and
 * returns an fd that is the caller's. -EMFILE: it was answered with one that this process may not have. */
int oriel_backend_shared_object_add(struct oriel_backend *backend, const uint8_t uuid[16], uint64_t *ticket);
int oriel_backend_shared_object_remove(struct oriel_backend *backend, const uint8_t uuid[16], uint64_t *ticket);
int oriel_backend_shared_object_lookup(struct oriel_backend *backend, const uint8_t uuid[16]);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
