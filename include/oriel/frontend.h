/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef ORIEL_FRONTEND_H
#define ORIEL_FRONTEND_H

#include <oriel/log.h>
#include <oriel/memory.h>
#include <oriel/protocol.h>
#include <oriel/shmem.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* The front-end's end of a vhost-user session: the VMM's. It owns no thread and no loop, and belongs to one thread at a
 * time. Poll oriel_frontend_get_fd() for reading and call oriel_frontend_dispatch(). Calls that send a request wait for
 * its reply, at most the timeout of the options, and answer the back-end's requests meanwhile: neither end ever waits
 * for the other while that waits for it.
 *
 * Errors of all calls that send: -ENOTCONN: the back-end is gone. -EPROTO: it broke the protocol (the log says how).
 * -ETIMEDOUT: it did not answer in time. After these three the connection is gone and all regions are unmapped
 * (or, with keep_mappings, orphaned).
 * -EREMOTEIO: it refused. -ECANCELED: a callback has freed the front-end, which is no more. -EMFILE: it has answered,
 * but this process may have no more descriptors for what the answer brings; the session goes on.
 * -EINPROGRESS and -EBUSY only as oriel_frontend_set_nonblocking() says.
 * After all others nothing was sent, and the session goes on. -EOPNOTSUPP: the message is not one that may be sent now,
 * mostly for want of a negotiated feature. -EBADF: an fd to pass is none; a negative errno in its place is returned as
 * it is. -ETOOMANYREFS: too many fds of this user are on their way. Else what sendmsg says. */
struct oriel_frontend;

/* The owner's callbacks for requests of the back-end. mapped, unmapped and refused
 * may be NULL; where another is, its request is refused. They come after the request was answered where no answer
 * depends on them (void), and only when no call of the front-end's is under way, so they may make calls themselves;
 * oriel_frontend_free() takes effect when the call ends that led to the callback. */
struct oriel_frontend_ops {
        size_t struct_size;
        /* A mapping was made in a region, from the start of @fd's range: @fd is borrowed. */
        void (*mapped)(void *userdata, struct oriel_region *region, struct oriel_mapping *mapping, int fd);
        /* A mapping is gone; the reference is borrowed. Not for those that go with the connection or a reset. */
        void (*unmapped)(void *userdata, struct oriel_region *region, struct oriel_mapping *mapping);
        /* A SHMEM_MAP (@map) or SHMEM_UNMAP that was well formed was turned down with @error. */
        void (*refused)(void *userdata, bool map, const struct oriel_wire_mmap *request, int error);
        /* CONFIG_CHANGE_MSG: read the config space again. */
        void (*config_changed)(void *userdata);
        /* In-band notifications. */
        void (*vring_call)(void *userdata, unsigned vring);
        void (*vring_err)(void *userdata, unsigned vring);
        /* The back-end needs an IOTLB entry: send one with oriel_frontend_iotlb_update(), or nothing. */
        void (*iotlb_miss)(void *userdata, uint64_t iova, enum oriel_access access);
        /* These are part of the answer, so they may not call the front-end. 0 or a negative errno. @fd is borrowed, -1:
         * the notifier is taken back. */
        int (*host_notifier)(void *userdata, unsigned vring, int fd, uint64_t offset, uint64_t size);
        int (*shared_object_add)(void *userdata, const uint8_t uuid[16]);
        int (*shared_object_remove)(void *userdata, const uint8_t uuid[16]);
        /* A new fd, or a negative errno. */
        int (*shared_object_lookup)(void *userdata, const uint8_t uuid[16]);
};
#define ORIEL_FRONTEND_OPS_LEAST offsetof(struct oriel_frontend_ops, mapped)

/* Options of oriel_frontend_new(). A member that is 0 has its default. */
struct oriel_frontend_options {
        size_t struct_size;
        const struct oriel_frontend_ops *ops; /* copied; NULL: none */
        void *userdata;
        const struct oriel_log *log; /* copied; NULL: silent */
        int timeout_ms; /* for each reply; 0: 5000. For memory 1 ms more for each 16 KiB, 10 minutes at most */
        const struct oriel_dialect *dialect; /* NULL: the standard */
        /* The end of a connection leaves what is mapped where it is, as oriel_region_orphan_all() has it, for the next
         * back-end to replace. For a front-end whose guest goes on meanwhile: it would else find a hole where it had a
         * file. A reset still unmaps. */
        bool keep_mappings;
};
#define ORIEL_FRONTEND_OPTIONS_LEAST offsetof(struct oriel_frontend_options, ops)

/* Make a front-end. -EINVAL and -E2BIG as of oriel_backend_new(); -ENOMEM, or the errno of making an epoll instance.
 * *@out is NULL after an error. */
int oriel_frontend_new(const struct oriel_frontend_options *options, struct oriel_frontend **out);
/* Free the front-end; its connection is ended first. NULL is accepted. */
void oriel_frontend_free(struct oriel_frontend *frontend);

/* Speak to the back-end at the other end of the connected socket @fd, which is taken even on failure. A negative errno
 * in its place is returned as it is, -1 as -EBADF. -ENOTSOCK, -EPROTOTYPE: no
 * stream socket. -EBUSY: there is one. After its end another may be attached; it has
 * to be negotiated with from the beginning. */
int oriel_frontend_attach(struct oriel_frontend *frontend, int fd);
/* End the connection, and tell whether there is one. */
void oriel_frontend_disconnect(struct oriel_frontend *frontend);
bool oriel_frontend_connected(const struct oriel_frontend *frontend);

/* Whether calls that send a request wait for its reply, which they do at first. With @nonblocking they return
 * -EINPROGRESS instead, and are to be made again with the same arguments, whose fds stay open, whenever
 * oriel_frontend_get_fd() is readable, until they return something else: so it is after the time limit as well. Another
 * call is -EBUSY meanwhile. oriel_frontend_dispatch() may be called or not; the callbacks of struct oriel_frontend_ops
 * come when the call has ended, and a call that one of them begins has to be made again as well. 0, or the errno of
 * making a timer. May be changed at any time. */
int oriel_frontend_set_nonblocking(struct oriel_frontend *frontend, bool nonblocking);
/* The request whose call has returned -EINPROGRESS and has not ended, 0 if there is none. */
enum oriel_frontend_request oriel_frontend_under_way(const struct oriel_frontend *frontend);

/* Readable when the back-end has said something, or something that it said is still to be told. The same for the
 * front-end's life. */
int oriel_frontend_get_fd(const struct oriel_frontend *frontend);
/* Get what oriel_frontend_get_fd() watches: three fds, each -1 where there is none, that change with the connection. To
 * poll these is quicker than to poll the one above, an epoll instance: the kernel then knows that the sender is about
 * to sleep, and need not wake another CPU. Not while a call is under way (oriel_frontend_under_way()): they say nothing
 * of its time limit. */
void oriel_frontend_get_fds(const struct oriel_frontend *frontend, int fds[3]);
/* Answer what has come, without waiting. 0, -ENOTCONN or -EPROTO as above. */
int oriel_frontend_dispatch(struct oriel_frontend *frontend);

/* Place the back-end's mappings: SHMEM_MAP and SHMEM_UNMAP of @shmid go to @region, which is borrowed until another, or
 * NULL, replaces it. Its mappings go with the connection. Without a region they are refused. */
void oriel_frontend_set_region(struct oriel_frontend *frontend, uint8_t shmid, struct oriel_region *region);

/* ---- bringing up ---- */

/* Begin a session: GET_FEATURES, then as far as both sides can GET_ and SET_PROTOCOL_FEATURES with @wanted (standard
 * numbering), SET_BACKEND_REQ_FD if that is among them, SET_OWNER. */
int oriel_frontend_negotiate(struct oriel_frontend *frontend, uint64_t wanted);
/* The virtio features that the back-end offers. */
uint64_t oriel_frontend_device_features(const struct oriel_frontend *frontend);
/* The protocol features that it offers, and those that were negotiated, in the standard's numbering. */
uint64_t oriel_frontend_offered(const struct oriel_frontend *frontend);
uint64_t oriel_frontend_protocol_features(const struct oriel_frontend *frontend);
/* All protocol features that this front-end can use; XEN_MMAP and CROSS_ENDIAN are not among them. */
uint64_t oriel_frontend_supported(void);

/* SET_FEATURES. VHOST_USER_F_PROTOCOL_FEATURES is added where offered. -EINVAL: not offered. */
int oriel_frontend_set_features(struct oriel_frontend *frontend, uint64_t features);
/* GET_QUEUE_NUM, GET_MAX_MEM_SLOTS: how many queues the back-end has, and how many memory regions it takes. */
int oriel_frontend_get_queue_num(struct oriel_frontend *frontend, unsigned *out);
int oriel_frontend_get_max_mem_slots(struct oriel_frontend *frontend, uint64_t *out);
/* GET_SHMEM_CONFIG: the sizes of the shared memory regions by shmid, 0: none. */
int oriel_frontend_get_shmem_config(struct oriel_frontend *frontend, uint64_t sizes[ORIEL_MAX_SHMIDS]);
/* GET_CONFIG, SET_CONFIG: a part of the config space, at most 256 bytes at once. -EREMOTEIO: the back-end has no config
 * space there. */
int oriel_frontend_get_config(struct oriel_frontend *frontend, uint32_t offset, void *data, uint32_t size);
int oriel_frontend_set_config(struct oriel_frontend *frontend, uint32_t offset, const void *data, uint32_t size,
                              enum oriel_config_flags flags);
/* SET_STATUS, GET_STATUS: the device status. A status of 0 is a reset: it unmaps all regions. */
int oriel_frontend_set_status(struct oriel_frontend *frontend, uint8_t status);
int oriel_frontend_get_status(struct oriel_frontend *frontend, uint8_t *out);
/* RESET_DEVICE. Unmaps all regions too, without telling ops->unmapped: who gave the mappings to other back-ends as
 * memory takes them back first. */
int oriel_frontend_reset_device(struct oriel_frontend *frontend);

/* ---- memory; fds stay the caller's ---- */

/* SET_MEM_TABLE, ADD_MEM_REG, REM_MEM_REG: all memory regions at once, one more, one less. -E2BIG: more than 8 in
 * SET_MEM_TABLE. */
int oriel_frontend_set_mem_table(struct oriel_frontend *frontend, const struct oriel_memory_region *regions,
                                 const int *fds, unsigned n);
int oriel_frontend_add_mem_reg(struct oriel_frontend *frontend, const struct oriel_memory_region *region, int fd);
int oriel_frontend_rem_mem_reg(struct oriel_frontend *frontend, const struct oriel_memory_region *region);
/* Return when the back-end has taken in what it was told of as memory. Without REPLY_ACK none of that has an answer,
 * and a request that has one is made after it. */
int oriel_frontend_await_memory(struct oriel_frontend *frontend);
/* Return when what the back-end had asked for before it answered the last request has been done. After the last message
 * of a start, whose mappings are then in place, a driver may go on: it may read a region as soon as it has written
 * DRIVER_OK. Without REPLY_ACK a request that has an answer is made for that. While requests keep coming it returns
 * after the timeout of the options. */
int oriel_frontend_await_mappings(struct oriel_frontend *frontend);
/* IOTLB_MSG: an entry for the back-end, and the end of those that overlap @iova. */
int oriel_frontend_iotlb_update(struct oriel_frontend *frontend, struct oriel_range iova, uint64_t user_address,
                                enum oriel_access access);
int oriel_frontend_iotlb_invalidate(struct oriel_frontend *frontend, struct oriel_range iova);
/* SET_LOG_BASE: the dirty log, @size bytes of @fd at @offset. SET_LOG_FD: an eventfd to signal when something was
 * logged. */
int oriel_frontend_set_log_base(struct oriel_frontend *frontend, int fd, uint64_t offset, uint64_t size);
int oriel_frontend_set_log_fd(struct oriel_frontend *frontend, int fd);

/* ---- postcopy; PAGEFAULT is negotiated only if it is among the features wanted by oriel_frontend_negotiate() ---- */

/* POSTCOPY_ADVISE: *fault_fd is the back-end's userfaultfd, the caller's. */
int oriel_frontend_postcopy_advise(struct oriel_frontend *frontend, int *fault_fd);
/* POSTCOPY_LISTEN, before the back-end is given any memory. */
int oriel_frontend_postcopy_listen(struct oriel_frontend *frontend);
/* SET_MEM_TABLE and ADD_MEM_REG in that mode. @bases: where the back-end has each region, in its own address space, for
 * what the userfaultfd tells. Acknowledge them before the guest, or the back-end, may touch them. */
int oriel_frontend_postcopy_set_mem_table(struct oriel_frontend *frontend, const struct oriel_memory_region *regions,
                                          const int *fds, unsigned n, uint64_t *bases);
int oriel_frontend_postcopy_add_mem_reg(struct oriel_frontend *frontend, const struct oriel_memory_region *region,
                                        int fd, uint64_t *base);
int oriel_frontend_postcopy_acknowledge(struct oriel_frontend *frontend);
/* POSTCOPY_END: all memory has come. */
int oriel_frontend_postcopy_end(struct oriel_frontend *frontend);

/* ---- vrings; an fd of -1 says that there is none ---- */

/* Set up, start and stop the ring @vring, by the messages of these names. Fds stay the caller's. SET_VRING_KICK starts
 * the ring, and GET_VRING_BASE stops it and tells where it stands. vhost-user, "Ring states". */
int oriel_frontend_set_vring_num(struct oriel_frontend *frontend, unsigned vring, uint32_t num);
int oriel_frontend_set_vring_addr(struct oriel_frontend *frontend, const struct vhost_vring_addr *addr);
int oriel_frontend_set_vring_base(struct oriel_frontend *frontend, unsigned vring, uint32_t base);
int oriel_frontend_get_vring_base(struct oriel_frontend *frontend, unsigned vring, uint32_t *base);
int oriel_frontend_set_vring_kick(struct oriel_frontend *frontend, unsigned vring, int fd);
int oriel_frontend_set_vring_call(struct oriel_frontend *frontend, unsigned vring, int fd);
int oriel_frontend_set_vring_err(struct oriel_frontend *frontend, unsigned vring, int fd);
int oriel_frontend_set_vring_enable(struct oriel_frontend *frontend, unsigned vring, bool enable);
/* VRING_KICK, where in-band notifications were negotiated. */
int oriel_frontend_vring_kick(struct oriel_frontend *frontend, unsigned vring);
/* GET_INFLIGHT_FD, SET_INFLIGHT_FD: the buffer in which a back-end notes what is in flight. The fd that the first one
 * gives becomes the caller's; that of the second stays so. */
int oriel_frontend_get_inflight_fd(struct oriel_frontend *frontend, struct oriel_wire_inflight *inflight, int *fd);
int oriel_frontend_set_inflight_fd(struct oriel_frontend *frontend, const struct oriel_wire_inflight *inflight, int fd);

/* ---- the rest ---- */

/* GET_SHARED_OBJECT: a new fd for an object of the back-end's, or an error. */
int oriel_frontend_get_shared_object(struct oriel_frontend *frontend, const uint8_t uuid[16]);
/* SET_DEVICE_STATE_FD: have the back-end write its state to @fd, or read it from there. @fd stays the caller's;
 * *channel is the back-end's own channel if it prefers one, the caller's, else -1. */
int oriel_frontend_set_device_state_fd(struct oriel_frontend *frontend, enum oriel_device_state_direction direction,
                                       int fd, int *channel);
/* CHECK_DEVICE_STATE: whether that went well, when its end was seen. */
int oriel_frontend_check_device_state(struct oriel_frontend *frontend);
/* SEND_RARP, NET_SET_MTU: a network back-end announces @mac, and is told the MTU. */
int oriel_frontend_send_rarp(struct oriel_frontend *frontend, const uint8_t mac[6]);
int oriel_frontend_net_set_mtu(struct oriel_frontend *frontend, uint64_t mtu);
/* Send any other message of the table: GPU_SET_SOCKET, the crypto sessions. @fd may be -1. The reply, if the row has
 * one, is copied to @reply, of which *@reply_size bytes there are, and then were. */
int oriel_frontend_request(struct oriel_frontend *frontend, enum oriel_frontend_request id, const void *payload,
                           uint32_t size, int fd, void *reply, uint32_t *reply_size);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
