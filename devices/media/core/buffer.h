/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_MEDIA_CORE_BUFFER_H
#define DEVICES_MEDIA_CORE_BUFFER_H

#include "devices/media/core/queue.h"

/* The buffers of a queue, for queue.c. Offsets for mmap() are cookies: the plane's number, in pages. */

enum { COOKIE_SHIFT = 12 };

/* Makes a file of whole pages, @length bytes of which are mapped. Others may have it too, and can't change its size.
 * On failure *@fd may be a file nonetheless; file and mapping are the caller's. */
int buffer_file_new(uint32_t length, int *fd, uint8_t **data);

/* Adds a buffer with planes of these sizes, and makes its memory if that is the device's. */
int buffer_new(struct media_queue *queue, const uint32_t *sizes);
void buffer_free(struct media_buffer *buffer);
/* Gives the buffer back to the driver, with its memory. */
void buffer_let_go(struct media_buffer *buffer);
/* Sets all of @out, except the pointer to the planes, which stays. */
void buffer_tell(const struct media_buffer *buffer, struct v4l2_buffer *out, struct v4l2_plane *planes);
/* Takes the guest memory that the call names as the buffer's. */
int buffer_take_memory(struct media_buffer *buffer, struct media_call *call);
/* The same with the objects that the call names. */
int buffer_take_objects(struct media_buffer *buffer, struct media_call *call);
/* For objects: this device begins to use their contents, or has ended: DMA_BUF_SYNC_START, DMA_BUF_SYNC_END. */
void buffer_sync(const struct media_buffer *buffer, uint64_t when);
/* Takes the sizes and the timestamp of the content that the driver has put in; sizes are 0 in a buffer that the node
 * fills. Of a prepared buffer only the timestamp is taken. */
int buffer_take_content(struct media_buffer *buffer, const struct media_call *call);

#endif
