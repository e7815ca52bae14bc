/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TESTS_SESSION_SESSION_H
#define TESTS_SESSION_SESSION_H

#include "base/test.h"

#include "tests/session/echo_device.h"

#include <oriel/driver.h>

#define PAGE 4096

/* A driver and an echo device that speak to each other; the driver is on the test's thread. */
struct session {
        struct echo *echo;
        struct oriel_driver *driver;
        uint8_t *in[ECHO_QUEUES_MAX];
        uint8_t *out[ECHO_QUEUES_MAX];
};
#define SESSION_BUFFER 65536

struct session_options {
        struct echo_options echo;
        struct oriel_driver_options driver; /* struct_size is filled in */
};

void session_open(struct session *session, const struct session_options *options);
void session_close(struct session *session);
/* As oriel_driver_new(), oriel_driver_reconnect() and oriel_driver_free(). With SESSION_NONBLOCKING in the environment
 * the driver has the option nonblocking, and these wait for it as an owner's loop would: all tests that use them are
 * run both ways. */
int session_driver_new(const struct oriel_driver_options *options, int fd, struct oriel_driver **out);
int session_driver_reconnect(struct oriel_driver *driver, int fd);
void session_driver_free(struct oriel_driver *driver);
/* Only the driver, to a device at the other end of @fd. */
void session_open_driver(struct session *session, const struct oriel_driver_options *options, int fd);

struct oriel_frontend *session_frontend(struct session *session);

/* Put a request into queue @queue, without waiting. @size bytes follow it and come back inverted. */
void session_submit(struct session *session, unsigned queue, const struct echo_request *request, size_t size);
/* Wait for the answer to what was submitted, which must be the only one. Returns how much was written. */
uint32_t session_collect(struct session *session, unsigned queue);
/* Both, and the answer. */
struct echo_answer session_ask(struct session *session, unsigned queue, const struct echo_request *request);
/* @size bytes there and back. */
void session_invert(struct session *session, unsigned queue, size_t size);
/* SHMEM_MAP or SHMEM_UNMAP of one mapping by the device, which must succeed. */
void session_map(struct session *session, uint64_t offset, uint64_t size, uint64_t fd_offset, bool writable);
void session_unmap(struct session *session, uint64_t offset, uint64_t size);

/* A front-end without a driver, whose ops remember what was asked of it. */
struct pair {
        struct echo *echo;
        struct oriel_frontend *frontend;
        unsigned config_changes;
        unsigned calls, errs;
        unsigned notifiers;
        int notifier_fd;
        uint64_t notifier_offset, notifier_size;
        unsigned vring;
        uint8_t objects[16]; /* the uuid that is added */
        unsigned added, removed, lookups;
        unsigned mapped, unmapped, refused;
        int last_refusal;
};

void pair_open(struct pair *pair, const struct echo_options *options, uint64_t wanted);
/* Attached, not negotiated. */
void pair_open_raw(struct pair *pair, const struct echo_options *options, const struct oriel_dialect *dialect);
void pair_close(struct pair *pair);
/* Serve the back-end until *@ended. */
void pair_serve(struct pair *pair, atomic_bool *ended);
/* Call @function on a thread of the device's while the front-end serves it. */
int pair_call(struct pair *pair, int (*function)(struct oriel_backend *backend, void *argument), void *argument);

int make_socketpair(int fds[2]);
/* A memfd of @size bytes; and the region that shows it at @guest. */
int make_memory(size_t size);
struct oriel_memory_region region_at(uint64_t guest, uint64_t size);

#define MAP_AT(offset, size)                                                          \
        {                                                                             \
                .shm_offset = (offset), .len = (size), .flags = ORIEL_MMAP_READ_WRITE \
        }

#endif
