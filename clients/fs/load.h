/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CLIENTS_FS_LOAD_H
#define CLIENTS_FS_LOAD_H

#include <linux/fuse.h>
#include <oriel/driver.h>

/* FUSE requests to a virtio-fs device, as many in flight as wanted, from one thread that sleeps while nothing is
 * answered. */

#define LOAD_DEPTH_MAX 32
#define LOAD_DATA_SIZE (UINT64_C(1) << 20)
#define LOAD_FORGETS   128

struct fuse_load;

/* Room for one request after the other. */
struct load_slot {
        uint8_t *in;
        uint8_t *out;
        uint8_t *data; /* LOAD_DATA_SIZE: of a WRITE, or what comes back of a READ or READDIRPLUS */
        struct fuse_in_header header;
        size_t answer_size; /* what comes before @data */
        size_t taken;       /* how much of @data may come back, and, answered, */
        size_t size;        /* how much of it has */

        /* Its user's own. Between two operations, and only then, step is 0. */
        unsigned index;
        unsigned step;
        uint64_t at, node, handle;
};

struct load_ops {
        /* Ask the slot's next request with load_ask(), then 0; or 1 if there is nothing to do any more. */
        int (*ask)(struct fuse_load *load, struct load_slot *slot);
        /* It was answered without an error, with as much as was said. 0, or what load_wrong() returns. */
        int (*answered)(struct fuse_load *load, struct load_slot *slot);
};

struct fuse_load {
        struct oriel_driver *driver; /* not ours */
        int interrupt_fd;            /* readable: to be ended; -1: none */
        void *userdata;              /* of the ops */
        uint64_t count;              /* operations done; counted by answered() */
        char why[200];               /* after an error, in words */

        uint64_t unique;
        bool over; /* no further operation is begun */
        unsigned in_flight;
        struct load_slot slots[LOAD_DEPTH_MAX];
        void *forgets[LOAD_FORGETS]; /* room for requests that is free */
        unsigned free_forgets;
};

/* How much driver memory it takes. */
size_t load_memory(void);
/* *@out is to be freed with free(). */
int load_new(struct oriel_driver *driver, int interrupt_fd, struct fuse_load **out);

/* Keep @depth requests in flight until nobody has another, or, after @deadline_ns of CLOCK_MONOTONIC, until all
 * operations that have begun are done. FORGETs are done too. -EINTR: interrupted. Else a negative errno, in words in
 * load->why; then requests may still be in flight, and the device is of no use any more. */
int load_run(struct fuse_load *load, const struct load_ops *ops, unsigned depth, int64_t deadline_ns, void *userdata);

/* For load_ops.ask: @args, as the opcode has them (load.c), and then @text, which may be NULL, and @send of slot->data.
 * Of the answer at most @take go to slot->data, behind what the opcode's begins with. */
struct load_request {
        uint32_t opcode;
        uint64_t node;
        const void *args;
        const char *text;
        size_t send, take;
};
int load_ask(struct fuse_load *load, struct load_slot *slot, const struct load_request *request);
/* What was answered before slot->data. */
static inline const void *load_answer(const struct load_slot *slot)
{
        return slot->out + sizeof(struct fuse_out_header);
}
/* FORGET once, in the high priority queue, without waiting for it. */
int load_forget(struct fuse_load *load, uint64_t node);

/* Why an answer is wrong. Returns -EPROTO. */
int load_wrong(struct fuse_load *load, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
