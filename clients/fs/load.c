/* SPDX-License-Identifier: BSD-2-Clause */

/* FUSE requests to a virtio-fs back-end, many at a time: the load of "oriel bench fs". Each of the slots has a request
 * in flight; when its answer comes, load_ops.answered() checks the contents and load_ops.ask() sends the slot's next
 * request, until ask() has none or the deadline has passed and the operation is complete. All slots are answered in one
 * pass before the queue is kicked. FORGETs go to the high priority queue, in buffers of their own that are reused when
 * the queue returns them. One thread, which sleeps on the queue's call and looks for an interrupt meanwhile. */

#include "clients/fs/load.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/shared.h"
#include "clients/fs/client.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define HIPRIO      0
#define IN_SIZE     512
#define OUT_SIZE    512
#define FORGET_SIZE 64
#define TIMEOUT_MS  10000
#define LOOK_MS     50

size_t load_memory(void)
{
        return LOAD_DEPTH_MAX * (IN_SIZE + OUT_SIZE + LOAD_DATA_SIZE) + LOAD_FORGETS * FORGET_SIZE + 4096;
}

static int place_slot(struct fuse_load *load, unsigned index)
{
        struct load_slot *slot = &load->slots[index];

        slot->index = index;
        slot->in = oriel_driver_alloc(load->driver, IN_SIZE);
        slot->out = oriel_driver_alloc(load->driver, OUT_SIZE);
        slot->data = oriel_driver_alloc(load->driver, LOAD_DATA_SIZE);
        return slot->in && slot->out && slot->data ? 0 : -ENOMEM;
}

int load_new(struct oriel_driver *driver, int interrupt_fd, struct fuse_load **out)
{
        _cleanup_(freep) struct fuse_load *load = calloc(1, sizeof(*load));
        int r = 0;

        if (!load)
                return -ENOMEM;
        load->driver = driver;
        load->interrupt_fd = interrupt_fd;
        for (unsigned i = 0; r == 0 && i < LOAD_DEPTH_MAX; i++)
                r = place_slot(load, i);
        for (; r == 0 && load->free_forgets < LOAD_FORGETS; load->free_forgets++) {
                load->forgets[load->free_forgets] = oriel_driver_alloc(driver, FORGET_SIZE);
                r = load->forgets[load->free_forgets] ? 0 : -ENOMEM;
        }
        if (r < 0)
                return r;
        *out = steal(load);
        return 0;
}

int load_wrong(struct fuse_load *load, const char *format, ...)
{
        va_list args;

        va_start(args, format);
        vsnprintf(load->why, sizeof(load->why), format, args);
        va_end(args);
        return -EPROTO;
}

/* For each request: its name, the size of its arguments, and of the fixed begin of its answer. */
static const struct {
        const char *name;
        size_t args_size, answer_size;
} opcodes[] = {
        [FUSE_LOOKUP] = {"LOOKUP", 0, sizeof(struct fuse_entry_out)},
        [FUSE_FORGET] = {"FORGET", sizeof(struct fuse_forget_in), 0},
        [FUSE_GETATTR] = {"GETATTR", sizeof(struct fuse_getattr_in), sizeof(struct fuse_attr_out)},
        [FUSE_UNLINK] = {"UNLINK", 0, 0},
        [FUSE_OPEN] = {"OPEN", sizeof(struct fuse_open_in), sizeof(struct fuse_open_out)},
        [FUSE_READ] = {"READ", sizeof(struct fuse_read_in), 0},
        [FUSE_WRITE] = {"WRITE", sizeof(struct fuse_write_in), sizeof(struct fuse_write_out)},
        [FUSE_RELEASE] = {"RELEASE", sizeof(struct fuse_release_in), 0},
        [FUSE_CREATE] = {"CREATE", sizeof(struct fuse_create_in),
                         sizeof(struct fuse_entry_out) + sizeof(struct fuse_open_out)},
        [FUSE_READDIRPLUS] = {"READDIRPLUS", sizeof(struct fuse_read_in), 0},
        [FUSE_SETUPMAPPING] = {"SETUPMAPPING", sizeof(struct fuse_setupmapping_in), 0},
        /* For one range. */
        [FUSE_REMOVEMAPPING] = {"REMOVEMAPPING",
                                sizeof(struct fuse_removemapping_in) + sizeof(struct fuse_removemapping_one), 0},
};

/* ---- waiting ---- */

static bool is_interrupted(const struct fuse_load *load)
{
        struct pollfd interrupt = {.fd = load->interrupt_fd, .events = POLLIN};

        return poll(&interrupt, 1, 0) > 0;
}

/* Sleeps until the device calls the queue, as a guest's kernel would. */
static int wait_call(struct fuse_load *load, unsigned queue)
{
        int r = -ETIMEDOUT;

        for (int waited = 0; r == -ETIMEDOUT && waited < TIMEOUT_MS; waited += LOOK_MS) {
                r = oriel_driver_wait(load->driver, queue, LOOK_MS);
                if (r == -ETIMEDOUT && is_interrupted(load))
                        return -EINTR;
        }
        if (r == -ETIMEDOUT)
                load_wrong(load, "no answer in %d s", TIMEOUT_MS / 1000);
        else if (r == -EIO)
                load_wrong(load, "the back-end says that the ring is broken");
        else if (r < 0)
                load_wrong(load, "the back-end is gone: %s", strerror(-r));
        return r;
}

static int load_collect(struct fuse_load *load, unsigned queue, void **token, uint32_t *written)
{
        int r = oriel_driver_collect(load->driver, queue, token, written);

        if (r < 0)
                load_wrong(load, "the back-end broke the ring");
        return r;
}

/* ---- FORGET ---- */

/* Collects completed FORGETs, until there are @n free buffers. */
static int wait_forgets(struct fuse_load *load, unsigned n)
{
        uint32_t written;
        void *token;
        int r;

        for (;;) {
                while ((r = load_collect(load, HIPRIO, &token, &written)) == 1)
                        load->forgets[load->free_forgets++] = token;
                if (r < 0 || load->free_forgets >= n)
                        return r;
                r = wait_call(load, HIPRIO);
                if (r < 0)
                        return r;
        }
}

int load_forget(struct fuse_load *load, uint64_t node)
{
        struct {
                struct fuse_in_header header;
                struct fuse_forget_in forget;
        } request = {
                .header = {.len = sizeof(request), .opcode = FUSE_FORGET, .unique = ++load->unique, .nodeid = node},
                .forget = {.nlookup = 1},
        };
        int r = wait_forgets(load, 1);

        if (r < 0)
                return r;

        struct iovec in = {load->forgets[--load->free_forgets], sizeof(request)};

        memcpy(in.iov_base, &request, sizeof(request));
        r = oriel_driver_submit(load->driver, HIPRIO, &in, 1, NULL, 0, in.iov_base);
        return r < 0 ? r : oriel_driver_kick(load->driver, HIPRIO);
}

/* ---- requests ---- */

int load_ask(struct fuse_load *load, struct load_slot *slot, const struct load_request *request)
{
        size_t args_size = opcodes[request->opcode].args_size, text = request->text ? strlen(request->text) + 1 : 0;
        size_t size = sizeof(slot->header) + args_size + text;
        uint8_t *at = slot->in + sizeof(slot->header);

        if (size > IN_SIZE)
                return -EMSGSIZE;
        slot->header = (struct fuse_in_header){
                .len = (uint32_t)(size + request->send),
                .opcode = request->opcode,
                .unique = ++load->unique,
                .nodeid = request->node,
        };
        slot->answer_size = sizeof(struct fuse_out_header) + opcodes[request->opcode].answer_size;
        slot->taken = request->take;
        memcpy(slot->in, &slot->header, sizeof(slot->header));
        if (args_size)
                memcpy(at, request->args, args_size);
        if (text)
                memcpy(at + args_size, request->text, text);

        struct iovec in[] = {{slot->in, size}, {slot->data, request->send}};
        struct iovec out[] = {{slot->out, slot->answer_size}, {slot->data, request->take}};

        return oriel_driver_submit(load->driver, FUSE_CLIENT_QUEUE, in, request->send ? 2 : 1, out,
                                   request->take ? 2 : 1, slot);
}

static int check_answer(struct fuse_load *load, const struct load_slot *slot, uint32_t written)
{
        const char *name = opcodes[slot->header.opcode].name;
        struct fuse_out_header header;

        shared_copy(&header, slot->out, sizeof(header));
        if (written < sizeof(header) || header.len != written || header.unique != slot->header.unique)
                return load_wrong(load, "%s: the answer's header is wrong", name);
        if (!fuse_error_valid(header.error))
                return load_wrong(load, "%s: the answer's error is %d, which is none", name, header.error);
        if (header.error) {
                load_wrong(load, "%s: %s", name, strerror(-header.error));
                return header.error;
        }
        if (written < slot->answer_size || (!slot->taken && written != slot->answer_size))
                return load_wrong(load, "%s: the answer has %u bytes, %zu are right", name, written,
                                  slot->answer_size + slot->taken);
        return 0;
}

static int load_send(struct fuse_load *load, const struct load_ops *ops, struct load_slot *slot)
{
        if (load->over && slot->step == 0)
                return 0;

        int r = ops->ask(load, slot);

        load->in_flight += r == 0;
        if (r < 0 && !load->why[0])
                load_wrong(load, "can't ask: %s", strerror(-r));
        return r < 0 ? r : 0;
}

/* Handles all answers that are there, and sends the next requests. Returns the number of answers. */
static int load_take_answers(struct fuse_load *load, const struct load_ops *ops)
{
        uint32_t written;
        void *token;
        int n = 0, r;

        while ((r = load_collect(load, FUSE_CLIENT_QUEUE, &token, &written)) == 1) {
                struct load_slot *slot = token;

                n++;
                load->in_flight--;
                r = check_answer(load, slot, written);
                slot->size = written - slot->answer_size;
                if (r == 0)
                        r = ops->answered(load, slot);
                if (r == 0)
                        r = load_send(load, ops, slot);
                if (r < 0)
                        return r;
        }
        return r < 0 ? r : n;
}

int load_run(struct fuse_load *load, const struct load_ops *ops, unsigned depth, int64_t deadline_ns, void *userdata)
{
        int r = 0;

        load->userdata = userdata;
        load->count = 0;
        load->over = false;
        load->why[0] = '\0';
        for (unsigned i = 0; r == 0 && i < depth; i++) {
                load->slots[i].step = 0;
                r = load_send(load, ops, &load->slots[i]);
        }
        while (r >= 0 && load->in_flight > 0) {
                r = oriel_driver_kick(load->driver, FUSE_CLIENT_QUEUE);
                if (r == 0)
                        r = wait_call(load, FUSE_CLIENT_QUEUE);
                load->over = now_ns() >= deadline_ns;
                if (r == 0)
                        r = load_take_answers(load, ops);
        }
        return r < 0 ? r : wait_forgets(load, LOAD_FORGETS);
}
