/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CONFORM_BACKEND_BACKEND_H
#define CONFORM_BACKEND_BACKEND_H

#include "base/cleanup.h"
#include "conform/common/process.h"
#include "conform/common/wire.h"

#include <linux/virtio_ring.h>

/* The back-end under test, and our end of the connection to it. */

#define GUEST_SIZE    (UINT64_C(4) << 20)
#define GUEST_ADDRESS UINT64_C(0x40000000)

struct back_end {
        const struct conform_options *options;
        int timeout_ms;
        struct process process;
        bool one_shot;    /* the process ends when its front-end goes, */
        int usual_status; /* normally with this status */
        bool served;      /* this process has had a connection */
        char death[96];   /* the way the process ended during this case; "" if it did not */

        struct channel main;
        int back; /* our end of the back-end channel */
        uint64_t features, offered;
        uint64_t device_features; /* set by SET_FEATURES in addition to the least */
        enum answer owner;        /* the answer to SET_OWNER in the negotiation, which may be sent only once */
        struct agreement agreement;

        struct message reply; /* the last one; its descriptors are closed with the next */
        struct complaint why; /* of the last answer */
        const char *at;       /* the last request of back_prepare(), back_start_ring() and back_bring_up() */

        int memory_fd;
        uint8_t *memory; /* GUEST_SIZE bytes */
};

/* Connects and gets the features. Starts the process if it is ours and does not run. 0 or a negative errno. */
int back_open(struct back_end *b);
void back_close(struct back_end *b);
/* GET_PROTOCOL_FEATURES to SET_OWNER, with all protocol features but @without and those of NOT_BY_DEFAULT. */
enum answer back_negotiate(struct back_end *b, uint64_t without);
/* Makes another connection in the same case: true unless the peer is gone. */
bool back_reopen(struct back_end *b, uint64_t without);
bool back_has(const struct back_end *b, unsigned protocol_feature);

/* Sends @request, asks for an acknowledgement where it has no reply, and takes the answer. */
enum answer back_ask(struct back_end *b, struct message *request);
enum answer back_ask_with(struct back_end *b, enum oriel_frontend_request id, const void *payload, uint32_t size);
enum answer back_ask_fd(struct back_end *b, enum oriel_frontend_request id, const void *payload, uint32_t size, int fd);
enum answer back_ask_u64(struct back_end *b, enum oriel_frontend_request id, uint64_t value);
/* A request whose reply has 8 bytes. */
enum answer back_get(struct back_end *b, enum oriel_frontend_request id, uint64_t *out);
/* A case: sends the request of the row's argument, without a payload. */
enum verdict back_try(struct trial *trial);
/* The same for a request whose answer is the number of what the row's @with names: it must be at least one. */
enum verdict back_try_count(struct trial *trial);
/* GET_QUEUE_NUM, where MQ was negotiated; else *@queues stays. */
enum answer back_get_queues(struct back_end *b, uint64_t *queues);
/* Whether the request is allowed by the negotiated features. */
bool back_may_send(const struct back_end *b, const struct oriel_message_row *row);
/* The answer to a request that was sent otherwise. @row NULL: an acknowledgement. */
enum answer back_take(struct back_end *b, const struct oriel_message_row *row, uint32_t id, int timeout_ms);
/* GET_FEATURES: its reply shows that all earlier messages were handled, and that the peer is alive. Messages before the
 * reply count as unasked. */
enum answer back_barrier(struct back_end *b, unsigned *unasked);

/* The number of descriptors that the process, which is ours, has open once it has handled all messages; counted again a
 * little later if there are more than @expected. */
int back_count_fds(struct back_end *b, int expected);

/* At the end of a case: a verdict of PASSED becomes FAILED where the peer has not survived. */
enum verdict back_look_after(struct trial *trial, enum verdict verdict);

/* ---- rings in our guest memory ---- */

#define RING_SIZE 64

struct ring {
        struct vring_desc *desc;
        struct vring_avail *avail;
        struct vring_used *used;
        uint64_t guest; /* of a page for buffers */
};

/* Returns ring @index, after clearing its memory. */
struct ring back_ring(struct back_end *b, unsigned index);
/* The vring from which the device takes buffers that are filled by the driver. A network device, told by --virtio-id=1,
 * has pairs of vrings, takes from the second, and does nothing before both are started: then this is 1, and else 0. */
unsigned back_taking_ring(const struct back_end *b);
struct vhost_vring_addr back_ring_addr(const struct back_end *b, unsigned index);
/* The eventfds of a ring; -1: none. */
struct backend_events {
        int kick, call, err;
};
struct backend_events events_open(void);
void events_close(struct backend_events *events);

/* SET_MEM_TABLE with all of our guest memory. */
void back_init_memory(struct back_end *b, struct message *message);
/* SET_FEATURES with the least that makes a device, and the memory. Returns the first answer that is not accepted; b->at
 * is its request. */
enum answer back_prepare(struct back_end *b);
/* SET_VRING_NUM to SET_VRING_ENABLE, with the same result. */
enum answer back_start_ring(struct back_end *b, unsigned index, uint32_t base, const struct backend_events *events);
/* SET_STATUS with DRIVER_OK, if there is a status: such a device may do nothing before. The same result. */
enum answer back_driver_ok(struct back_end *b);
/* All three, for ring 0, which is cleared except for its indices, set to @base. */
enum answer back_bring_up(struct back_end *b, uint32_t base, const struct backend_events *events);
/* expect() of an answer of these four: b->at is read after the call. */
enum verdict back_expect(struct trial *trial, enum answer got, unsigned allowed);
/* The offered features that a device needs, and b->device_features. */
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
