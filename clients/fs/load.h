/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CLIENTS_FS_LOAD_H
#define CLIENTS_FS_LOAD_H

#include <linux/fuse.h>
#include <oriel/driver.h>

/* FUSE requests to a virtio-fs device, with any number in flight, from one thread that sleeps while there is no
 * answer. */

#define LOAD_DEPTH_MAX 32
#define LOAD_DATA_SIZE (UINT64_C(1) << 20)
#define LOAD_FORGETS   128

struct fuse_load;

/* The memory of one request at a time. */
struct load_slot {
        uint8_t *in;
        uint8_t *out;
        uint8_t *data; /* LOAD_DATA_SIZE: the data of a WRITE, or of the answer to a READ or READDIRPLUS */
        struct fuse_in_header header;
        size_t answer_size; /* bytes of the answer before @data */
        size_t taken;       /* how much of @data may come back, and, answered, */
        size_t size;        /* how much of it has */

        /* For the user of the slot. step is 0 between two operations, and only then. */
        unsigned index;
        unsigned step;
        uint64_t at, node, handle;
};

struct load_ops {
        /* Sends the slot's next request with load_ask(), and returns 0; 1 if there is none. */
        int (*ask)(struct fuse_load *load, struct load_slot *slot);
        /* Called for an answer without an error, of an allowed size. Returns 0, or the result of load_wrong(). */
        int (*answered)(struct fuse_load *load, struct load_slot *slot);
};

struct fuse_load {
        struct oriel_driver *driver; /* borrowed */
        int interrupt_fd;            /* readable: end; -1: none */
        void *userdata;              /* of the ops */
        uint64_t count;              /* operations done; counted by answered() */
        char why[200];               /* after an error, its text */

        uint64_t unique;
        bool over; /* no further operation is begun */
        unsigned in_flight;
        struct load_slot slots[LOAD_DEPTH_MAX];
        void *forgets[LOAD_FORGETS]; /* free buffers for FORGETs */
        unsigned free_forgets;
};

/* The driver memory that it needs. */
size_t load_memory(void);
/* *@out is freed with free(). */
int load_new(struct oriel_driver *driver, int interrupt_fd, struct fuse_load **out);

/* Keeps @depth requests in flight until no slot has another, or, after @deadline_ns of CLOCK_MONOTONIC, until all
 * operations that have begun are complete. Waits for FORGETs too. -EINTR: interrupted. Else a negative errno, with its
 * text in load->why; then requests may still be in flight, and the device can't be used any more. */
int load_run(struct fuse_load *load, const struct load_ops *ops, unsigned depth, int64_t deadline_ns, void *userdata);

/* For load_ops.ask: @args, whose size the opcode determines (load.c), then @text, which may be NULL, and @send bytes of
 * slot->data. At most @take bytes of the answer, behind its fixed begin, go to slot->data. */
struct load_request {
        uint32_t opcode;
        uint64_t node;
        const void *args;
        const char *text;
        size_t send, take;
};
int load_ask(struct fuse_load *load, struct load_slot *slot, const struct load_request *request);
/* The part of the answer before slot->data. */
static inline const void *load_answer(const struct load_slot *slot)
{
        return slot->out + sizeof(struct fuse_out_header);
}
/* Sends one FORGET, in the high priority queue, without waiting for it. */
int load_forget(struct fuse_load *load, uint64_t node);

/* Sets the text of the error in an answer. Returns -EPROTO. */
int load_wrong(struct fuse_load *load, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
