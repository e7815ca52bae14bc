/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TESTS_SESSION_ECHO_DEVICE_H
#define TESTS_SESSION_ECHO_DEVICE_H

#include <oriel/backend.h>
#include <stdatomic.h>

struct echo_counts;

/* A device for tests: a back-end on a thread of its own, with worker threads for each queue. Each buffer is a request,
 * struct echo_request and what follows it, and is answered by what the request's op says. */

#define ECHO_QUEUES_MAX 8
#define ECHO_STATE_MAX  (1 << 20)
#define ECHO_CONFIG     64
#define ECHO_SESSION    42 /* the id of every crypto session */

enum echo_op {
        ECHO_INVERT,      /* the bytes behind the request, each inverted */
        ECHO_HOLD,        /* kept until ECHO_RELEASE, which inverts it, or the stop */
        ECHO_RELEASE,     /* @result is how many were held on this queue */
        ECHO_MAP,         /* SHMEM_MAP of @map, @count times at offsets @step apart, sent before the first wait */
        ECHO_UNMAP,       /* the same with SHMEM_UNMAP */
        ECHO_MAP_NO_WAIT, /* SHMEM_MAP, of which nobody learns the answer */
        ECHO_OPS,
};

/* The file that ECHO_MAP passes. Page n of the file is filled with n, modulo 256. */
enum echo_file {
        ECHO_FILE,
        ECHO_FILE_READ_ONLY,
        ECHO_FILE_WRITE_ONLY,
        ECHO_FILE_PATH,
        ECHO_FILE_EMPTY,
        ECHO_FILE_PIPE,
        ECHO_FILE_DIRECTORY,
        ECHO_FILES,
};
#define ECHO_FILE_PAGES 64

struct echo_request {
        uint32_t op;
        uint32_t file;
        uint32_t count; /* 0 is 1 */
        uint32_t padding;
        uint64_t step;
        struct oriel_wire_mmap map;
};

struct echo_answer {
        int32_t result;  /* the last error, or 0 */
        uint32_t failed; /* of count */
};

struct echo_options {
        uint64_t features;          /* virtio features; 0: all that the library can */
        uint64_t protocol_features; /* as in oriel_backend_options */
        uint64_t without;
        unsigned queues; /* 0: 1 */
        unsigned max_mem_slots;
        uint64_t window; /* size of region 0; region 2 has the same */
        const struct oriel_dialect *dialect;
        struct echo_counts *counts; /* where to count, of another process; NULL: its own */
        bool quiet;                 /* errors are expected: they are counted, not printed */
        unsigned maps_at_start;     /* pages of the file, in region 0 as in the file, after start_us; with queue 0 */
        unsigned start_us;          /* how long a start takes */
        unsigned late_us;           /* how long each ADD_MEM_REG that has come lies before it is looked at */
};

/* The device's counters. */
struct echo_counts {
        atomic_uint starts;
        atomic_uint stops;
        atomic_uint resets;
        atomic_uint handled; /* requests, but for held ones */
        atomic_uint held;
        atomic_uint errors; /* logged */
        atomic_uint messages;
};

struct echo;

/* NULL where it can't be made. */
struct echo *echo_new(const struct echo_options *options);
/* Serve @fd, which is taken, on a thread; or on the caller's thread until the connection ends. */
int echo_serve(struct echo *echo, int fd);
int echo_serve_here(struct echo *echo, int fd);
/* End the connection, or wait for the front-end to do it. Returns how dispatching ended. */
int echo_hang_up(struct echo *echo);
int echo_join(struct echo *echo);
void echo_free(struct echo *echo);

struct oriel_backend *echo_backend(struct echo *echo);
struct echo_counts *echo_counts(struct echo *echo);
/* The last error that was logged. Valid when the loop has ended or is waiting. */
const char *echo_last_error(struct echo *echo);

/* The file's memory, as the device sees it. */
uint8_t *echo_file(struct echo *echo);

/* To be looked at between requests only. */
struct echo_seen {
        uint64_t features;
        uint8_t status;
        uint8_t config[ECHO_CONFIG];
        uint32_t config_flags;
        uint32_t message; /* the last one that was passed, */
        uint32_t size;    /* its payload, and whether it had an fd */
        uint8_t payload[ORIEL_MAX_PAYLOAD];
        bool fd;
        uint8_t *state;
        size_t state_size;
};
struct echo_seen *echo_seen(struct echo *echo);

#endif
