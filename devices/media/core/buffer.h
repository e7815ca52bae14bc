/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_MEDIA_CORE_BUFFER_H
#define DEVICES_MEDIA_CORE_BUFFER_H

#include "devices/media/core/queue.h"

/* The buffers of a queue, for queue.c. Offsets for mmap() are cookies: the plane's number, in pages. */

enum { COOKIE_SHIFT = 12 };

/* A file of whole pages, @length bytes of which are mapped. Others may have it too, and can't make it another size. On
 * failure *@fd may be a file nonetheless; both are the caller's. */
int buffer_file_new(uint32_t length, int *fd, uint8_t **data);

/* One more, with planes of these sizes; its memory, if that is the device's, is made. */
int buffer_new(struct media_queue *queue, const uint32_t *sizes);
void buffer_free(struct media_buffer *buffer);
/* It is the driver's again, with its memory. */
void buffer_let_go(struct media_buffer *buffer);
/* All of @out is set, but for the pointer to the planes, which stays. */
void buffer_tell(const struct media_buffer *buffer, struct v4l2_buffer *out, struct v4l2_plane *planes);
/* The guest's memory that the call names is the buffer's from now on. */
int buffer_take_memory(struct media_buffer *buffer, struct media_call *call);
/* The same, of the objects that it names. */
int buffer_take_objects(struct media_buffer *buffer, struct media_call *call);
/* Objects: what is in them is about to be used by this device, or no longer: DMA_BUF_SYNC_START, DMA_BUF_SYNC_END. */
void buffer_sync(const struct media_buffer *buffer, uint64_t when);
/* Take the sizes and the time of the content that the driver has put in; none in a buffer that the node is to fill. Of
 * a prepared one, that has been done but for the time. */
int buffer_take_content(struct media_buffer *buffer, const struct media_call *call);

#endif
