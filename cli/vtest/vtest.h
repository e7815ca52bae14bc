/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CLI_VTEST_VTEST_H
#define CLI_VTEST_VTEST_H

#include "clients/gpu/client.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

/* A server of Mesa's vtest protocol, version 3, whose GPU is a vhost-user back-end: what its parts share. */

struct vtest {
        struct gpu_client *gpu;
        uint8_t *capset; /* of Venus, as the device has it */
        uint32_t capset_size, capset_version;
        uint32_t last_context, last_resource;
        int error; /* the device is lost */
};

/* A value is two numbers, the lower half first. */
static inline uint64_t vtest_value(const uint32_t *words)
{
        return words[0] | (uint64_t)words[1] << 32;
}

/* ---- sync objects: sync.c ---- */

struct vtest_sync {
        SLIST_ENTRY(vtest_sync) entry;
        uint32_t id;
        uint64_t value;
};

/* A wait. An eventfd signals its end. */
struct sync_wait {
        SLIST_ENTRY(sync_wait) entry;
        int fd;
        bool any;
        unsigned n;
        uint32_t points[]; /* three for each */
};

struct syncs {
        SLIST_HEAD(sync_list, vtest_sync) list;
        SLIST_HEAD(sync_waits, sync_wait) waits;
        uint32_t last_id;
        unsigned n, n_waits;
};

/* 0: there are too many, or no memory. */
uint32_t sync_create(struct syncs *syncs, uint64_t value);
void sync_unref(struct syncs *syncs, uint32_t id);
/* Also 0 if there is no such object. */
uint64_t sync_read(const struct syncs *syncs, uint32_t id);
/* @point: an id and a value. Signals the waits that this ends. */
void sync_write(struct syncs *syncs, const uint32_t *point);
/* @words: flags, a time limit in ms, and three numbers for each point. Returns an eventfd, the caller's, that is
 * readable when the wait is over, or a negative errno. */
int sync_wait(struct syncs *syncs, const uint32_t *words, uint32_t n);
void syncs_free(struct syncs *syncs);

/* ---- one client: client.c ---- */

struct vtest_client;

/* @fd is taken. NULL: no memory. */
struct vtest_client *vtest_client_new(struct vtest *vtest, int fd);
void vtest_client_free(struct vtest_client *client);
int vtest_client_fd(const struct vtest_client *client);
/* Handles the client's commands. A negative errno: it is to be freed, and *@why tells what it did wrong, or is NULL. */
int vtest_client_serve(struct vtest_client *client, const char **why);

#endif
