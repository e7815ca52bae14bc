/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CONFORM_FRONTEND_FRONTEND_H
#define CONFORM_FRONTEND_FRONTEND_H

#include "base/cleanup.h"
#include "conform/common/process.h"
#include "conform/common/wire.h"

/* The front-end under test, to which the suite is a back-end that has a shared memory region and does not serve its
 * rings. */

#define PAGE        UINT64_C(4096)
#define MAX_ORDER   64
#define LIVE_STRIDE (2 * PAGE)

struct front_vring {
        bool started, enabled;
        uint32_t base;
        uint64_t avail; /* user address of the available ring */
};

struct front_end {
        const struct conform_options *options;
        int timeout_ms;
        struct process process;
        int listener;
        pid_t pid;        /* the process that has connected */
        pid_t began_with; /* the process at the begin of the case */

        struct channel main, back;
        struct agreement agreement;
        struct front_vring vrings[ORIEL_MAX_QUEUES];
        unsigned stops; /* stops of a started vring, or of all of them */
        uint8_t status;
        struct oriel_memory *memory; /* as the front-end has sent it; NULL: none */
        /* Called before the answer to the message that starts the first vring; NULL: nothing. */
        void (*at_start)(struct front_end *f);
        bool settled;      /* the device was started, and nothing more came for a while */
        bool deaf;         /* the main channel is not read */
        uint32_t pause_at; /* front_step() returns when this request was served */
        int64_t heard_ms;

        /* Messages on the main channel: the first ones in order, how often each came, and the first violation. */
        uint32_t order[MAX_ORDER];
        unsigned n_order;
        unsigned seen[ORIEL_FRONTEND_REQUESTS];
        struct complaint violation;

        struct message reply; /* the last on the back-end channel */
        bool replied;
        unsigned owed;        /* answers that are outstanding */
        bool spoiled;         /* an invalid one came, so answers can't be matched any more */
        struct complaint why; /* of the last answer */

        /* A file of a page for each case, and where a case may map it: the first page of its area. */
        int file;
        struct oriel_wire_mmap page;

        /* Mappings of a case that were not unmapped. */
        struct oriel_wire_mmap placed[80];
        unsigned n_placed;

        int live_fd;
        unsigned n_live;
};

/* Makes sure of a connection, and with @started of a device that its driver has started. The process is restarted if it
 * has ended or does not reconnect. 0 or a negative errno. */
int front_connect(struct front_end *f, bool started);
/* Accept the next connection. -ETIMEDOUT. */
int front_accept(struct front_end *f, int64_t deadline_ms);
/* Closes both channels. */
void front_drop(struct front_end *f);
bool front_is_started(const struct front_end *f);

/* Serves the main channel until something came on the back-end channel (1, and f->reply), or @deadline_ms (0).
 * -ENOTCONN: the connection is gone. */
int front_step(struct front_end *f, int64_t deadline_ms);
/* Serves the main channel for @ms. 0, or -ENOTCONN. */
int front_serve_for(struct front_end *f, int ms);
/* Serves it until no message came for @ms. */
int front_serve_quiet(struct front_end *f, int ms);
/* Serves one message of the main channel. */
void front_handle(struct front_end *f, struct message *request);

/* rings.c: SET_MEM_TABLE and ADD_MEM_REG. 0 or a negative errno. */
int front_set_memory(struct front_end *f, const struct message *request);
int front_add_memory(struct front_end *f, const struct message *request);
void front_forget_memory(struct front_end *f);
/* A started vring into which the driver has put a buffer since the start, or -1. */
int front_ring_with_buffer(const struct front_end *f);

/* Sends a request of the back-end. need_reply is set where REPLY_ACK was negotiated, and then the answer is awaited. */
enum answer front_ask(struct front_end *f, struct message *request);
/* Sends without waiting. DONE or CLOSED. */
enum answer front_send(struct front_end *f, struct message *request, bool need_reply);
/* The next answer, which is due to request @id. */
enum answer front_take(struct front_end *f, uint32_t id, int timeout_ms);

void front_init_map(struct message *request, const struct oriel_wire_mmap *map, int fd);
/* SHMEM_MAP and SHMEM_UNMAP; the mapping is unmapped when the case ends. */
enum answer front_map(struct front_end *f, const struct oriel_wire_mmap *map, int fd);
enum answer front_unmap(struct front_end *f, const struct oriel_wire_mmap *map);
/* Offset in the region of the MiB that a case may map in. */
uint64_t front_area(const struct trial *trial);
/* The row's @with; its argument says what the offset in the region is relative to. */
enum base {
        FROM_ZERO,
        FROM_AREA,
        FROM_END,
};
struct oriel_wire_mmap front_row_place(const struct trial *trial);
/* Page @page of a case's area: one page of the file's start, read-write. */
struct oriel_wire_mmap front_place(const struct trial *trial, unsigned page, uint64_t len);

/* The peer's mappings of the file of @fd: false if they can't be read. */
bool front_sees(const struct front_end *f, int fd, struct mapped *out);
/* Waits a little until it is mapped nowhere. True also where that can't be read. */
bool front_forgets(struct front_end *f, int fd);

extern const struct conform_group frontend_early_cases, frontend_start_cases, frontend_map_cases, frontend_refuse_cases,
        frontend_file_cases, frontend_live_cases, frontend_channel_cases, frontend_end_cases;

/* A request that the specification requires to fail must be answered so; closing the connection is no answer. */
#define REFUSAL (BIT(REFUSED) | BIT(UNTOLD))

#endif
