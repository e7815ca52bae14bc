/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CLIENTS_MEDIA_CLIENT_H
#define CLIENTS_MEDIA_CLIENT_H

#include "media/wire.h"

#include <oriel/driver.h>

/* Commands to a virtio-media device (VIRTIO 1.4, 5.22), one at a time, and its events, on an oriel_driver of one's own.
 * It belongs to the driver's thread. */
struct media_client;

/* A part of a command or an answer behind its header; it may be empty. Bytes that the device has not sent stay
 * unchanged. */
struct media_part {
        void *data;
        size_t size;
};
enum { MEDIA_CLIENT_PARTS = 3 };

/* @event is a copy of the caller's, of which the device has written at least what its type needs. */
typedef void (*media_client_event_fn)(void *userdata, const union media_event *event);

/* @driver stays the caller's. -ENODEV: it has no two queues, or no configuration. -ENOMEM. */
int media_client_new(struct oriel_driver *driver, media_client_event_fn event, void *userdata,
                     struct media_client **out);
void media_client_free(struct media_client *client); /* NULL is accepted */
const struct media_config *media_client_config(const struct media_client *client);
struct oriel_driver *media_client_driver(const struct media_client *client);
/* 0, or the error that has ended the session with the device; from then on each command returns -ENODEV. */
int media_client_error(const struct media_client *client);

/* Sends @command, followed by @in, and waits for its answer, at most 10 s: the device handles one command at a time.
 * Events older than the answer are delivered before this returns. Returns 0 or the device's error, negative. *@written,
 * if not NULL, is the size of the answer without its header. -EMSGSIZE: it is too large. -ENODEV. */
int media_client_call(struct media_client *client, struct media_part command, const struct media_part *in,
                      struct media_part answer, const struct media_part *out, size_t *written);

int media_client_open(struct media_client *client, uint32_t *session);
void media_client_close(struct media_client *client, uint32_t session);
/* *@address is the place of the buffer in the region, *@size its size. */
int media_client_mmap(struct media_client *client, uint32_t session, uint32_t offset, bool writable, uint64_t *address,
                      uint64_t *size);
void media_client_munmap(struct media_client *client, uint64_t address);

/* Handles the events that have come; to be called when the call fd of the event queue, or the front-end's, is
 * readable. */
int media_client_collect(struct media_client *client);

/* Driver memory of @size bytes, which is given back by media_client_give(). NULL: there is none left. */
void *media_client_take(struct media_client *client, size_t size);
void media_client_give(struct media_client *client, void *memory, size_t size);

#endif
