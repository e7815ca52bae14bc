/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TESTS_HOSTILE_HOSTILE_H
#define TESTS_HOSTILE_HOSTILE_H

/* A peer that says anything: messages as they are on a raw socket, whatever any table says of them. */

#include "base/test.h"
#include "protocol/message.h"

#include <sys/resource.h>

#define RAW_FDS 16

struct raw {
        struct oriel_wire_header header;
        uint8_t payload[2 * ORIEL_MAX_PAYLOAD];
        unsigned n_fds;
        int fds[RAW_FDS];
};

/* The outcome of a connection. */
enum outcome {
        OUTCOME_REFUSED,  /* answered with a u64 that is not 0 */
        OUTCOME_ACCEPTED, /* answered in any other way */
        OUTCOME_CLOSED,
        OUTCOME_SILENCE,
};

/* A request that its row accepts: the least size, the least fds, contents that agree with themselves. The fds are
 * @fd, which stays the caller's. */
void raw_init(struct raw *raw, const struct oriel_message_row *row, int fd);
void raw_init_u64s(struct raw *raw, uint32_t request, const uint64_t *words, uint32_t size);

/* The first @n bytes of it; the fds go with the first byte. False if the peer is gone. */
bool raw_send_part(int socket, const struct raw *raw, size_t n);
bool raw_send(int socket, const struct raw *raw);
/* The next message from the peer; its fds are closed, n_fds says how many came. ACCEPTED or REFUSED, CLOSED or
 * SILENCE (after @timeout_ms). */
enum outcome raw_receive(int socket, struct raw *raw, int timeout_ms);
/* The same, and its fds are the caller's, in raw->fds. */
enum outcome raw_receive_keep(int socket, struct raw *raw, int timeout_ms);

/* A way to be wrong, for the rows that can be wrong in that way. */
struct spoiler {
        const char *name;
        /* False: this row can't be. */
        bool (*spoil)(const struct oriel_message_row *row, struct raw *raw);
        const char *field; /* that the error must name */
        bool fatal;        /* never a mere refusal */
};
const struct spoiler *spoiler_get(unsigned index);

/* A seeded stream of numbers. */
uint32_t random_next(uint32_t *state);
void random_fill(uint32_t *state, void *data, size_t size);
/* A message at random: a request of the table mostly, a size that fits mostly, anything in it. @fd as above. */
void random_raw(uint32_t *state, enum oriel_direction direction, struct raw *raw, int fd);

/* This process gets no descriptor from now on, until @before is set again. */
void descriptors_run_out(struct rlimit *before);
void descriptors_come_back(const struct rlimit *before);

#endif
