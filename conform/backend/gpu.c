/* SPDX-License-Identifier: BSD-2-Clause */

/* Cases for a virtio-gpu whose host memory the guest maps: what a mapping command may have done by the time of its
 * answer, and what it must refuse. --virtio-id says that the peer is one. The driver here is as small as can be: ring 0
 * is the control queue, and one command is under way at a time, while the back-end's requests are served.
 *
 * The blobs are those of Venus with blob_id 0, memory that every renderer of that capset has, whatever GPU there is. */

#include "base/fd.h"
#include "base/libc.h"
#include "conform/backend/backend.h"
#include "program/signals.h"

#include <inttypes.h>
#include <linux/virtio_gpu.h>
#include <linux/virtio_ids.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAP      "Device Operation: controlq, VIRTIO_GPU_CMD_RESOURCE_MAP_BLOB"
#define SHMEM    "VHOST_USER_BACKEND_SHMEM_MAP"
#define SHMID    VIRTIO_GPU_SHM_ID_HOST_VISIBLE
#define VENUS    4
#define CONTEXT  1
#define SIZE     UINT64_C(8192)
#define PLACE    (UINT64_C(1) << 20)
#define LATE_MS  150 /* for an acknowledgement that is delayed */
#define LIVE_MAX 1024
#define ANSWER   UINT64_C(4096)
#define FEATURES (1 << VIRTIO_GPU_F_VIRGL | 1 << VIRTIO_GPU_F_RESOURCE_BLOB | 1 << VIRTIO_GPU_F_CONTEXT_INIT)

/* The driver, and the requests of the back-end to it. */
struct conform_gpu {
        struct back_end *b;
        struct ring ring;
        struct backend_events events;
        struct channel back; /* its fd is the back-end's */
        uint64_t window;
        uint16_t asked; /* number of commands */

        bool refuses;      /* refuses SHMEM_MAP */
        unsigned delay_ms; /* before an acknowledgement, */
        bool early;        /* and the command was answered before it */
        unsigned n_live;
        struct oriel_wire_mmap live[LIVE_MAX], map; /* present mappings, and the last one */
        bool need_reply;                            /* of map, */
        int fd;                                     /* and its descriptor */
        bool strange;                               /* it has unmapped a range that was not mapped */
};

static void gpu_end(struct conform_gpu *gpu)
{
        channel_done(&gpu->back);
        events_close(&gpu->events);
        fd_close(gpu->fd);
}

static bool trial_answered(const struct conform_gpu *gpu)
{
        return __atomic_load_n(&gpu->ring.used->idx, __ATOMIC_ACQUIRE) == gpu->asked;
}

/* ---- the back-end's requests ---- */

static bool note_map(struct conform_gpu *gpu, struct message *request)
{
        gpu->map = request->payload.mmap;
        fd_close(gpu->fd);
        gpu->fd = request->n_fds == 1 ? fd_take(&request->fds[0]) : -1;
        gpu->need_reply = request->header.flags & ORIEL_FLAG_NEED_REPLY;
        usleep(gpu->delay_ms * 1000);
        gpu->early = trial_answered(gpu);
        if (gpu->refuses || gpu->n_live == LIVE_MAX)
                return false;
        gpu->live[gpu->n_live++] = gpu->map;
        return true;
}

static bool note_unmap(struct conform_gpu *gpu, const struct oriel_wire_mmap *unmap)
{
        for (unsigned i = 0; i < gpu->n_live; i++) {
                const struct oriel_wire_mmap *live = &gpu->live[i];

                if (live->shmid == unmap->shmid && live->shm_offset == unmap->shm_offset && live->len == unmap->len) {
                        gpu->live[i] = gpu->live[--gpu->n_live];
                        return true;
                }
        }
        gpu->strange = true;
        return false;
}

/* Serves one request. */
static enum answer trial_serve(struct conform_gpu *gpu)
{
        struct message *request = &gpu->back.in, reply;
        enum answer answer = wire_receive(&gpu->back, gpu->b->timeout_ms, &gpu->b->why);
        uint64_t result = 0;

        if (answer != DONE)
                return answer;
        if (request->header.size != sizeof(request->payload.mmap)) {
                complain(&gpu->b->why, "request %u with %u bytes of payload", request->header.request,
                         request->header.size);
                return BROKEN;
        }
        if (request->header.request == ORIEL_BACKEND_SHMEM_MAP)
                result = !note_map(gpu, request);
        else if (request->header.request == ORIEL_BACKEND_SHMEM_UNMAP)
                result = !note_unmap(gpu, &request->payload.mmap);
        wire_init(&reply, request->header.request, &result, sizeof(result));
        reply.header.flags |= ORIEL_FLAG_REPLY;
        if (request->header.flags & ORIEL_FLAG_NEED_REPLY && wire_send(gpu->back.fd, &reply, gpu->b->timeout_ms) < 0)
                answer = CLOSED;
        channel_done(&gpu->back);
        return answer;
}

/* Serves the back-end's requests until @main, or the command, is answered. */
static enum answer serve_until_answered(struct conform_gpu *gpu, bool main)
{
        const int64_t deadline = now_ms() + gpu->b->timeout_ms;
        struct pollfd ready[] = {{.fd = gpu->back.fd, .events = POLLIN},
                                 {.fd = main ? gpu->b->main.fd : gpu->events.call, .events = POLLIN}};
        enum answer answer = DONE;

        while (answer == DONE && (main ? !ready[1].revents : !trial_answered(gpu))) {
                if (now_ms() >= deadline || signals_noted())
                        return SILENT;
                if (poll(ready, ARRAY_SIZE(ready), poll_timeout(deadline)) > 0 && ready[0].revents)
                        answer = trial_serve(gpu);
                if (!main)
                        fd_event_clear(gpu->events.call);
        }
        return answer;
}

/* ---- commands ---- */

/* Returns the type of the answer, or 0 without one, with details in trial->got. */
static uint32_t trial_ask(struct trial *trial, struct conform_gpu *gpu, const void *command, size_t size)
{
        uint8_t *at = gpu->b->memory + (gpu->ring.guest - GUEST_ADDRESS);
        struct virtio_gpu_ctrl_hdr answer = {0};

        memcpy(at, command, size);
        memcpy(at + ANSWER, &answer, sizeof(answer));
        gpu->ring.desc[0] = (struct vring_desc){gpu->ring.guest, (uint32_t)size, VRING_DESC_F_NEXT, 1};
        gpu->ring.desc[1] = (struct vring_desc){gpu->ring.guest + ANSWER, ANSWER, VRING_DESC_F_WRITE, 0};
        gpu->ring.avail->ring[gpu->asked % RING_SIZE] = 0;
        gpu->asked++;
        __atomic_store_n(&gpu->ring.avail->idx, gpu->asked, __ATOMIC_RELEASE);
        fd_event_signal(gpu->events.kick);
        if (expect(trial, "the command", serve_until_answered(gpu, false), BIT(DONE)) != PASSED)
                return 0;
        memcpy(&answer, at + ANSWER, sizeof(answer));
        if (answer.type == 0)
                fails(trial, "a command of type 0x%x was used without an answer",
                      ((const struct virtio_gpu_ctrl_hdr *)command)->type);
        return answer.type;
}

static bool is_error(uint32_t type)
{
        return type >= VIRTIO_GPU_RESP_ERR_UNSPEC;
}

static uint32_t create_context(struct trial *trial, struct conform_gpu *gpu)
{
        const struct virtio_gpu_ctx_create command = {.hdr = {.type = VIRTIO_GPU_CMD_CTX_CREATE, .ctx_id = CONTEXT},
                                                      .context_init = VENUS};

        return trial_ask(trial, gpu, &command, sizeof(command));
}

static uint32_t trial_create_blob(struct trial *trial, struct conform_gpu *gpu, uint32_t id)
{
        const struct virtio_gpu_resource_create_blob command = {
                .hdr = {.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB, .ctx_id = CONTEXT},
                .resource_id = id,
                .blob_mem = VIRTIO_GPU_BLOB_MEM_HOST3D,
                .blob_flags = VIRTIO_GPU_BLOB_FLAG_USE_MAPPABLE,
                .size = SIZE,
        };

        return trial_ask(trial, gpu, &command, sizeof(command));
}

static uint32_t map_blob(struct trial *trial, struct conform_gpu *gpu, uint32_t id, uint64_t offset)
{
        const struct virtio_gpu_resource_map_blob command = {
                .hdr = {.type = VIRTIO_GPU_CMD_RESOURCE_MAP_BLOB}, .resource_id = id, .offset = offset};

        return trial_ask(trial, gpu, &command, sizeof(command));
}

static uint32_t unmap_blob(struct trial *trial, struct conform_gpu *gpu, uint32_t id)
{
        const struct virtio_gpu_resource_unmap_blob command = {.hdr = {.type = VIRTIO_GPU_CMD_RESOURCE_UNMAP_BLOB},
                                                               .resource_id = id};

        return trial_ask(trial, gpu, &command, sizeof(command));
}

static enum verdict trial_answers(struct trial *trial, const char *what, uint32_t type, uint32_t due)
{
        if (type == 0)
                return FAILED;
        return type == due ? PASSED : fails(trial, "%s: answer 0x%x instead of 0x%x", what, type, due);
}

/* Serves the back-end's requests meanwhile. */
static enum answer trial_reset(struct conform_gpu *gpu)
{
        struct back_end *b = gpu->b;
        const bool acks = back_has(b, ORIEL_PROTOCOL_F_REPLY_ACK);
        struct message request;
        enum answer answer = CLOSED;

        wire_init(&request, ORIEL_FRONTEND_RESET_DEVICE, NULL, 0);
        if (!acks)
                return back_ask(b, &request);
        request.header.flags |= ORIEL_FLAG_NEED_REPLY;
        if (wire_send(b->main.fd, &request, b->timeout_ms) == 0)
                answer = serve_until_answered(gpu, true);
        return answer == DONE ? back_take(b, oriel_message_find(ORIEL_FROM_FRONTEND, ORIEL_FRONTEND_RESET_DEVICE),
                                          ORIEL_FRONTEND_RESET_DEVICE, b->timeout_ms)
                              : answer;
}

/* ---- a running device with two blobs ---- */

static enum verdict trial_bring_up(struct trial *trial, struct conform_gpu *gpu)
{
        struct back_end *b = trial->back_end;

        gpu->ring = back_ring(b, 0);
        gpu->asked = 0;
        if (back_expect(trial, back_bring_up(b, 0, &gpu->events), ACCEPTED) != PASSED)
                return FAILED;
        if (trial_answers(trial, "CTX_CREATE", create_context(trial, gpu), VIRTIO_GPU_RESP_OK_NODATA) != PASSED)
                return FAILED;
        for (uint32_t id = 1; id <= 2; id++)
                if (trial_answers(trial, "CREATE_BLOB", trial_create_blob(trial, gpu, id), VIRTIO_GPU_RESP_OK_NODATA) !=
                    PASSED)
                        return FAILED;
        return PASSED;
}

static bool has_venus(struct trial *trial, struct conform_gpu *gpu)
{
        const struct virtio_gpu_get_capset_info command = {.hdr = {.type = VIRTIO_GPU_CMD_GET_CAPSET_INFO}};
        struct virtio_gpu_get_capset_info of_index = command;
        struct virtio_gpu_resp_capset_info info;

        for (; of_index.capset_index < 8; of_index.capset_index++) {
                if (trial_ask(trial, gpu, &of_index, sizeof(of_index)) != VIRTIO_GPU_RESP_OK_CAPSET_INFO)
                        return false;
                memcpy(&info, gpu->b->memory + (gpu->ring.guest - GUEST_ADDRESS) + ANSWER, sizeof(info));
                if (info.capset_id == VENUS)
                        return true;
        }
        return false;
}

/* The part of a row that runs on the started device. */
struct part {
        enum verdict (*run)(struct trial *trial, struct conform_gpu *gpu);
};

/* SKIPPED, or the verdict of the row's part. */
static enum verdict run_part(struct trial *trial, struct conform_gpu *gpu)
{
        const struct part *part = trial->row->with;
        struct back_end *b = trial->back_end;

        if (expect(trial, "GET_SHMEM_CONFIG", back_ask_with(b, ORIEL_FRONTEND_GET_SHMEM_CONFIG, NULL, 0), BIT(DONE)) !=
            PASSED)
                return FAILED;
        gpu->window = b->reply.payload.shmem_config.sizes[SHMID];
        if (gpu->window < 2 * PLACE)
                return skips(trial, "region %d has %" PRIu64 " bytes", SHMID, gpu->window);
        /* Blobs of an earlier connection, where the back-end keeps them. */
        if (back_has(b, ORIEL_PROTOCOL_F_RESET_DEVICE))
                if (expect(trial, "RESET_DEVICE", trial_reset(gpu), ACCEPTED) != PASSED)
                        return FAILED;
        gpu->n_live = 0;
        gpu->ring = back_ring(b, 0);
        if (back_expect(trial, back_bring_up(b, 0, &gpu->events), ACCEPTED) != PASSED)
                return FAILED;

        bool there = has_venus(trial, gpu);

        if (!there)
                return trial->got[0] ? FAILED : skips(trial, "there is no capset %d", VENUS);

        uint32_t base;

        if (expect(trial, "GET_VRING_BASE", back_stop_ring(b, 0, &base), BIT(DONE)) != PASSED)
                return FAILED;
        return trial_bring_up(trial, gpu) != PASSED ? FAILED : part->run(trial, gpu);
}

static enum verdict with_gpu(struct trial *trial)
{
        struct back_end *b = trial->back_end;
        struct conform_gpu gpu = {.b = b, .fd = -1};
        enum verdict verdict;

        if (b->options->virtio_id != VIRTIO_ID_GPU)
                return skips(trial, "not said to be a GPU: --virtio-id=%d", VIRTIO_ID_GPU);
        if ((b->features & FEATURES) != FEATURES)
                return skips(trial, "VIRGL, RESOURCE_BLOB or CONTEXT_INIT is not offered");
        if (!back_has(b, ORIEL_PROTOCOL_F_SHMEM_MAP) || !back_has(b, ORIEL_PROTOCOL_F_REPLY_ACK) || b->back < 0)
                return skips(trial, "SHMEM_MAP, BACKEND_REQ or REPLY_ACK is not offered");
        b->device_features = FEATURES;
        channel_init(&gpu.back, b->back);
        gpu.events = events_open();
        verdict = run_part(trial, &gpu);
        gpu_end(&gpu);
        b->device_features = 0;
        return verdict;
}

/* ---- the cases ---- */

/* Checks that the received file is memory, writable by the descriptor, over its whole length. */
static enum verdict trial_check_memory(struct trial *trial, const struct conform_gpu *gpu)
{
        struct statx stat;
        const off_t end = (off_t)(gpu->map.fd_offset + gpu->map.len);

        if (gpu->fd < 0)
                return fails(trial, "SHMEM_MAP came without a descriptor");
        if (fd_look(gpu->fd, &stat) < 0)
                return fails(trial, "SHMEM_MAP of a descriptor without a file");
        /* The size of a dmabuf, which has no type, is found only by lseek(). */
        if ((stat.stx_mode & S_IFMT ? (off_t)stat.stx_size : lseek(gpu->fd, 0, SEEK_END)) < end)
                return fails(trial, "SHMEM_MAP of a file that is too short");

        void *memory = mmap(NULL, gpu->map.len, PROT_READ | PROT_WRITE, MAP_SHARED, gpu->fd, (off_t)gpu->map.fd_offset);

        if (memory == MAP_FAILED)
                return fails(trial, "SHMEM_MAP of a descriptor that can't be mapped");
        munmap(memory, gpu->map.len);
        return PASSED;
}

static enum verdict map_one(struct trial *trial, struct conform_gpu *gpu)
{
        if (trial_answers(trial, "MAP_BLOB", map_blob(trial, gpu, 1, PLACE), VIRTIO_GPU_RESP_OK_MAP_INFO) != PASSED)
                return FAILED;
        if (gpu->n_live != 1)
                return fails(trial, "%u mappings for one MAP_BLOB", gpu->n_live);
        return gpu->need_reply ? PASSED : fails(trial, "SHMEM_MAP asks for no acknowledgement");
}

static enum verdict trial_map(struct trial *trial, struct conform_gpu *gpu)
{
        const struct oriel_wire_mmap *map = &gpu->map;

        gpu->delay_ms = LATE_MS;
        if (map_one(trial, gpu) != PASSED)
                return FAILED;
        if (gpu->early)
                return fails(trial, "MAP_BLOB was answered before SHMEM_MAP was acknowledged");
        if (map->shmid != SHMID || map->shm_offset != PLACE || map->len < SIZE || map->len >= 2 * SIZE)
                return fails(trial, "SHMEM_MAP of %" PRIu64 " bytes at 0x%" PRIx64 " of region %u", (uint64_t)map->len,
                             (uint64_t)map->shm_offset, map->shmid);
        if (!(map->flags & ORIEL_MMAP_READ_WRITE))
                return fails(trial, "SHMEM_MAP for reading only");
        return trial_check_memory(trial, gpu);
}

static enum verdict map_refused(struct trial *trial, struct conform_gpu *gpu)
{
        gpu->refuses = true;

        uint32_t type = map_blob(trial, gpu, 1, PLACE);

        if (type == 0 || !is_error(type))
                return type ? fails(trial, "MAP_BLOB: answer 0x%x to what was refused", type) : FAILED;
        gpu->refuses = false;
        return map_one(trial, gpu);
}

static enum verdict trial_unmap(struct trial *trial, struct conform_gpu *gpu)
{
        if (map_one(trial, gpu) != PASSED)
                return FAILED;
        if (trial_answers(trial, "UNMAP_BLOB", unmap_blob(trial, gpu, 1), VIRTIO_GPU_RESP_OK_NODATA) != PASSED)
                return FAILED;
        if (gpu->strange)
                return fails(trial, "SHMEM_UNMAP of what is not mapped");
        if (gpu->n_live > 0)
                return fails(trial, "UNMAP_BLOB was answered, and SHMEM_UNMAP has not come");
        return map_one(trial, gpu);
}

/* Mapping @id at @offset must fail, without a change of the window. */
static enum verdict trial_refuses(struct trial *trial, struct conform_gpu *gpu, uint32_t id, uint64_t offset)
{
        const unsigned n_live = gpu->n_live;
        const uint32_t type = map_blob(trial, gpu, id, offset);

        if (type == 0)
                return FAILED;
        if (!is_error(type))
                return fails(trial, "MAP_BLOB at 0x%" PRIx64 ": answer 0x%x", offset, type);
        return gpu->n_live == n_live
                       ? PASSED
                       : fails(trial, "MAP_BLOB at 0x%" PRIx64 " is an error, and SHMEM_MAP came", offset);
}

static enum verdict map_twice(struct trial *trial, struct conform_gpu *gpu)
{
        return map_one(trial, gpu) != PASSED ? FAILED : trial_refuses(trial, gpu, 1, PLACE + 2 * SIZE);
}

static enum verdict map_over_another(struct trial *trial, struct conform_gpu *gpu)
{
        return map_one(trial, gpu) != PASSED ? FAILED : trial_refuses(trial, gpu, 2, PLACE + SIZE / 2);
}

static enum verdict map_outside(struct trial *trial, struct conform_gpu *gpu)
{
        const uint64_t offsets[] = {gpu->window, gpu->window - SIZE / 2, UINT64_MAX - SIZE + 1, PLACE + 1};

        for (size_t i = 0; i < ARRAY_SIZE(offsets); i++)
                if (trial_refuses(trial, gpu, 1, offsets[i]) != PASSED)
                        return FAILED;
        return map_one(trial, gpu);
}

static enum verdict map_after_reset(struct trial *trial, struct conform_gpu *gpu)
{
        if (map_one(trial, gpu) != PASSED)
                return FAILED;
        if (expect(trial, "RESET_DEVICE", trial_reset(gpu), ACCEPTED) != PASSED)
                return FAILED;
        if (gpu->strange)
                return fails(trial, "SHMEM_UNMAP of what is not mapped");
        gpu->n_live = 0;
        return trial_bring_up(trial, gpu) != PASSED ? FAILED : map_one(trial, gpu);
}

#define GPU(title, section, feature, function, sends, expects)                                           \
        {                                                                                                \
                "gpu-" title, section, with_gpu, feature, 0, sends, expects, WITH(struct part, function) \
        }

static const struct conform_case rows[] = {
        GPU("map", MAP, ORIEL_PROTOCOL_F_SHMEM_MAP, trial_map,
            "MAP_BLOB of host memory, whose SHMEM_MAP is acknowledged late",
            "one SHMEM_MAP of that place, of memory that can be mapped; the command's answer comes after it"),
        GPU("map-refused", SHMEM, ORIEL_PROTOCOL_F_SHMEM_MAP, map_refused,
            "MAP_BLOB, whose SHMEM_MAP is refused, and again", "an error; then it is mapped"),
        GPU("unmap", "Device Operation: controlq, VIRTIO_GPU_CMD_RESOURCE_UNMAP_BLOB", ORIEL_PROTOCOL_F_SHMEM_MAP,
            trial_unmap, "MAP_BLOB, UNMAP_BLOB, MAP_BLOB", "SHMEM_UNMAP of the same place before the answer"),
        GPU("map-twice", MAP, ORIEL_PROTOCOL_F_SHMEM_MAP, map_twice, "MAP_BLOB of a blob that is mapped",
            "an error, and no SHMEM_MAP"),
        GPU("map-over-another", MAP, ORIEL_PROTOCOL_F_SHMEM_MAP, map_over_another,
            "MAP_BLOB of a blob over half of another one", "an error, and no SHMEM_MAP"),
        GPU("map-outside", MAP, ORIEL_PROTOCOL_F_SHMEM_MAP, map_outside,
            "MAP_BLOB at the window's end, over it, near 2^64 and within a page", "errors, and no SHMEM_MAP"),
        GPU("map-after-reset", "VHOST_USER_RESET_DEVICE", ORIEL_PROTOCOL_F_RESET_DEVICE, map_after_reset,
            "MAP_BLOB, RESET_DEVICE, and the same again", "names and places are free; it is mapped"),
};

const struct conform_group backend_gpu_cases = GROUP(rows);
