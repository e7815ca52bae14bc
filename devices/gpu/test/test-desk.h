/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_GPU_TEST_TEST_DESK_H
#define DEVICES_GPU_TEST_TEST_DESK_H

/* Cross-domain contexts for tests: a gpu whose compositor is a socket of the test's, and the messages of a guest.
 * All functions fail the test on errors. */

#include "devices/gpu/crossdomain/channel.h"
#include "devices/gpu/test/test-world.h"

#include <sys/un.h>

#define OK      VIRTIO_GPU_RESP_OK_NODATA
#define XR24    0x34325258U
#define SOON    10000 /* ms within which something must come */
#define NOT_NOW 50    /* ms in which nothing must come */

struct desk {
        struct world world;
        char folder[32];
        struct sockaddr_un address;
        int listener;
        uint64_t last_fence;
};

void desk_listen(struct desk *desk);
int desk_accept(struct desk *desk);
void desk_stop_listening(struct desk *desk);
void desk_open(struct desk *desk);
void desk_close(struct desk *desk);
/* Sends as libwayland does: at most 28 descriptors, or as many as Linux lets pass. */
void desk_say(int client, const void *data, size_t size, const int *fds, unsigned n);
/* Returns the bytes that have come, 0 at the end; *n is the room for descriptors, and then their number. */
size_t desk_hear(int client, void *data, size_t size, int *fds, unsigned *n);
/* With a fence on @ring, unless that is negative. */
uint32_t desk_submit(struct desk *desk, uint32_t context_id, const void *commands, size_t size, int ring);
/* Each context has two pages for its rings, and resources 10 times its id. */
uint64_t desk_ring_address(uint32_t context_id, unsigned ring);
uint32_t desk_ring_id(uint32_t context_id, unsigned ring);
void desk_make_context(struct desk *desk, uint32_t context_id);
struct cross_init desk_init_of(uint32_t context_id);
/* A context with its rings, and INIT. Returns the compositor's end. */
int desk_begin(struct desk *desk, uint32_t context_id);
/* POLL. */
void desk_ask(struct desk *desk, uint32_t context_id);
union cross_message *desk_ring(struct desk *desk, uint32_t context_id);
/* Asks for a message and waits for it. */
union cross_message *desk_next(struct desk *desk, uint32_t context_id);
void desk_expect_bytes(struct desk *desk, uint32_t context_id, const char *text);
void desk_expect_end(struct desk *desk, uint32_t context_id);

/* SEND, with room for a text. */
struct desk_letter {
        struct cross_send_receive head;
        char text[64];
};
struct desk_letter desk_letter(const char *text);
uint32_t desk_send_text(struct desk *desk, uint32_t context_id, const char *text);
uint32_t desk_send_id(struct desk *desk, uint32_t context_id, uint32_t type, uint32_t id);
void desk_expect_text(int client, const char *text);
/* The answer of type @expected to GET_IMAGE_REQUIREMENTS. */
struct cross_image_requirements desk_image(struct desk *desk, uint32_t context_id, uint32_t format, uint32_t width,
                                           uint32_t height, uint32_t expected);
/* Submits one command, to which @command points, without a fence. */
#define DESK_SUBMIT(desk, context_id, command) desk_submit(desk, context_id, command, sizeof(*(command)), -1)

#endif
