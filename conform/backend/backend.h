/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CONFORM_BACKEND_BACKEND_H
#define CONFORM_BACKEND_BACKEND_H

#include "base/cleanup.h"
#include "conform/common/process.h"
#include "conform/common/wire.h"

#include <linux/virtio_ring.h>

/* Somebody's back-end, and our end of the connection to it. */

#define GUEST_SIZE    (UINT64_C(4) << 20)
#define GUEST_ADDRESS UINT64_C(0x40000000)

struct back_end {
        const struct conform_options *options;
        int timeout_ms;
        struct process process;
        bool one_shot;    /* it ends when its front-end goes, */
        int usual_status; /* like this */
        bool served;      /* this process has had a connection */
        char death[96];   /* in this case; "" without one */

        struct channel main;
        int back; /* our end of the back-end channel */
        uint64_t features, offered;
        uint64_t device_features; /* that SET_FEATURES is to have besides the least */
        enum answer owner;        /* to the SET_OWNER of the negotiation: one is all there may be */
        struct agreement agreement;

        struct message reply; /* the last; its descriptors are closed with the next */
        struct complaint why; /* of the last answer */
        const char *at;       /* the last request of back_prepare(), back_start_ring() and back_bring_up() */

        int memory_fd;
        uint8_t *memory; /* GUEST_SIZE bytes */
};

/* Connect and ask for the features. The process is started if it is ours and does not run. 0 or a negative errno. */
int back_open(struct back_end *b);
void back_close(struct back_end *b);
/* GET_PROTOCOL_FEATURES to SET_OWNER, with all protocol features but @without and those that change everything. */
enum answer back_negotiate(struct back_end *b, uint64_t without);
/* A connection to go on with in the same case: true unless the peer is gone. */
bool back_reopen(struct back_end *b, uint64_t without);
bool back_has(const struct back_end *b, unsigned protocol_feature);

/* Send @request, asking for an acknowledgement where it has no reply, and take the answer. */
enum answer back_ask(struct back_end *b, struct message *request);
enum answer back_ask_with(struct back_end *b, enum oriel_frontend_request id, const void *payload, uint32_t size);
enum answer back_ask_fd(struct back_end *b, enum oriel_frontend_request id, const void *payload, uint32_t size, int fd);
enum answer back_ask_u64(struct back_end *b, enum oriel_frontend_request id, uint64_t value);
/* What has a reply of 8 bytes. */
enum answer back_get(struct back_end *b, enum oriel_frontend_request id, uint64_t *out);
/* A case: the request of the argument, without a payload. */
enum verdict back_try(struct trial *trial);
/* Likewise, of which the answer is how many there are of what the row is with: one at least. */
enum verdict back_try_count(struct trial *trial);
/* GET_QUEUE_NUM, where MQ was negotiated; else *@queues stays. */
enum answer back_get_queues(struct back_end *b, uint64_t *queues);
/* Whether what was negotiated has the request. */
bool back_may_send(const struct back_end *b, const struct oriel_message_row *row);
/* The answer to what was sent by other means, @row NULL: an acknowledgement. */
enum answer back_take(struct back_end *b, const struct oriel_message_row *row, uint32_t id, int timeout_ms);
/* GET_FEATURES: has all before been dealt with, and is it still there? What comes before its reply counts as unasked.
 */
enum answer back_barrier(struct back_end *b, unsigned *unasked);

/* Descriptors that the process, which is ours, has open once it is done with all that was sent; a little later, if
 * there are more than @expected. */
int back_count_fds(struct back_end *b, int expected);

/* As a case ends: a verdict of PASSED becomes FAILED where the peer did not live through it. */
enum verdict back_look_after(struct trial *trial, enum verdict verdict);

/* ---- rings in our guest memory ---- */

#define RING_SIZE 64

struct ring {
        struct vring_desc *desc;
        struct vring_avail *avail;
        struct vring_used *used;
        uint64_t guest; /* of a page for buffers */
};

/* Where ring @index is; its memory is cleared. */
struct ring back_ring(struct back_end *b, unsigned index);
struct vhost_vring_addr back_ring_addr(const struct back_end *b, unsigned index);
/* The eventfds of a ring; -1: none. */
struct events {
        int kick, call, err;
};
struct events events_open(void);
void events_close(struct events *events);

/* SET_MEM_TABLE with all of our guest memory. */
void back_init_memory(struct back_end *b, struct message *message);
/* SET_FEATURES with the least that makes a device, and the memory. The first answer that is no yes; b->at is its
 * request. */
enum answer back_prepare(struct back_end *b);
/* SET_VRING_NUM to SET_VRING_ENABLE, likewise. */
enum answer back_start_ring(struct back_end *b, unsigned index, uint32_t base, const struct events *events);
/* Both, for ring 0, which is cleared but for its indices, @base. */
enum answer back_bring_up(struct back_end *b, uint32_t base, const struct events *events);
/* expect() of an answer of these three: b->at is read after the call. */
enum verdict back_expect(struct trial *trial, enum answer got, unsigned allowed);
/* Of those offered, the ones without which there is no device to be had, and b->device_features. */
uint64_t back_least_features(const struct back_end *b);
enum answer back_set_features(struct back_end *b);
enum answer back_set_fd(struct back_end *b, enum oriel_frontend_request id, unsigned index, int fd);
enum answer back_set_state(struct back_end *b, enum oriel_frontend_request id, unsigned index, uint32_t num);
/* GET_VRING_BASE */
enum answer back_stop_ring(struct back_end *b, unsigned index, uint32_t *base);

/* ---- the cases, one table for each file ---- */

extern const struct conform_group backend_negotiation_cases, backend_ack_cases, backend_config_cases,
        backend_memory_cases, backend_vring_cases, backend_ring_cases, backend_inflight_cases, backend_shmem_cases,
        backend_framing_cases, backend_connection_cases, backend_gpu_cases;

#endif
