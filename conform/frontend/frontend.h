/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CONFORM_FRONTEND_FRONTEND_H
#define CONFORM_FRONTEND_FRONTEND_H

#include "base/cleanup.h"
#include "conform/common/process.h"
#include "conform/common/wire.h"

/* Somebody's front-end, to which we are a back-end that has a shared memory region and does nothing with its rings. */

#define PAGE        UINT64_C(4096)
#define MAX_ORDER   64
#define LIVE_STRIDE (2 * PAGE)

struct front_vring {
        bool started, enabled;
        uint32_t base;
        uint64_t avail; /* where that part of the ring is, as a user address */
};

struct front_end {
        const struct conform_options *options;
        int timeout_ms;
        struct process process;
        int listener;
        pid_t pid;        /* whoever has connected */
        pid_t began_with; /* the process that the case was begun with */

        struct channel main, back;
        struct agreement agreement;
        struct front_vring vrings[ORIEL_MAX_QUEUES];
        unsigned stops; /* of a started vring, or of all of them */
        uint8_t status;
        struct oriel_memory *memory; /* that it has told of; NULL: none */
        /* Before the answer to what starts the first vring; NULL: nothing. */
        void (*at_start)(struct front_end *f);
        bool settled;      /* the device was started, and nothing more came for a while */
        bool deaf;         /* the main channel is not read */
        uint32_t pause_at; /* front_step() returns when this request was served */
        int64_t heard_ms;

        /* What came on the main channel: the first requests in order, how often each, and what was wrong first. */
        uint32_t order[MAX_ORDER];
        unsigned n_order;
        unsigned seen[ORIEL_FRONTEND_REQUESTS];
        struct complaint violation;

        struct message reply; /* the last on the back-end channel */
        bool replied;
        unsigned owed;        /* answers that were asked for and did not come */
        bool spoiled;         /* one came that was no answer, so nobody knows any more which is to what */
        struct complaint why; /* of the last answer */

        /* A file of a page for each case, and where a case may map it: the first page of its area. */
        int file;
        struct oriel_wire_mmap page;

        /* What a case has mapped and not unmapped. */
        struct oriel_wire_mmap placed[80];
        unsigned n_placed;

        int live_fd;
        unsigned n_live;
};

/* A connection, and with @started a device that its driver has started. The process is started anew if it is gone or
 * does not come back. 0 or a negative errno. */
int front_connect(struct front_end *f, bool started);
/* Accept the next connection. -ETIMEDOUT. */
int front_accept(struct front_end *f, int64_t deadline_ms);
/* Both channels are closed, by us. */
void front_drop(struct front_end *f);
bool front_is_started(const struct front_end *f);

/* Serve the main channel until something came on the back-end channel (1, and f->reply), or @deadline_ms (0).
 * -ENOTCONN: the connection is gone. */
int front_step(struct front_end *f, int64_t deadline_ms);
/* 0, or -ENOTCONN. */
int front_serve_for(struct front_end *f, int ms);
/* Until nothing came for @ms. */
int front_serve_quiet(struct front_end *f, int ms);
/* One message of the main channel. */
void front_handle(struct front_end *f, struct message *request);

/* rings.c: SET_MEM_TABLE and ADD_MEM_REG. 0 or a negative errno. */
int front_set_memory(struct front_end *f, const struct message *request);
int front_add_memory(struct front_end *f, const struct message *request);
void front_forget_memory(struct front_end *f);
/* A started vring that the driver has put a buffer into since its start, or -1. */
int front_ring_with_buffer(const struct front_end *f);

/* Send a request of the back-end. need_reply is set where REPLY_ACK was negotiated, and then the answer is taken. */
enum answer front_ask(struct front_end *f, struct message *request);
/* Without waiting. DONE or CLOSED. */
enum answer front_send(struct front_end *f, struct message *request, bool need_reply);
/* The next answer, which is due to request @id. */
enum answer front_take(struct front_end *f, uint32_t id, int timeout_ms);

void front_init_map(struct message *request, const struct oriel_wire_mmap *map, int fd);
/* SHMEM_MAP and SHMEM_UNMAP; what is mapped is unmapped when the case ends. */
enum answer front_map(struct front_end *f, const struct oriel_wire_mmap *map, int fd);
enum answer front_unmap(struct front_end *f, const struct oriel_wire_mmap *map);
/* Where in the region a case may map; a MiB of it. */
uint64_t front_area(const struct trial *trial);
/* What the row is with. Its argument says what the offset in the region counts from. */
enum base {
        FROM_ZERO,
        FROM_AREA,
        FROM_END,
};
struct oriel_wire_mmap front_row_place(const struct trial *trial);
/* Page @page of a case's area: one page of the file's start, read-write. */
struct oriel_wire_mmap front_place(const struct trial *trial, unsigned page, uint64_t len);

/* How the peer has mapped the file of @fd: false if that can't be seen. */
bool front_sees(const struct front_end *f, int fd, struct mapped *out);
/* Waits a little for it to be mapped nowhere. True also where it can't be seen. */
bool front_forgets(struct front_end *f, int fd);

extern const struct conform_group frontend_early_cases, frontend_start_cases, frontend_map_cases, frontend_refuse_cases,
        frontend_file_cases, frontend_live_cases, frontend_channel_cases, frontend_end_cases;

/* What the specification says shall fail is answered as such; to hang up is no answer. */
#define REFUSAL (BIT(REFUSED) | BIT(UNTOLD))

#endif
