/* SPDX-License-Identifier: BSD-2-Clause */

/* Every command of virtio-gpu, right and wrong, by the rows of command_rows; blobs, mappings and fences; and drivers
 * that send wrong data. */

#include "devices/gpu/core/command.h"
#include "devices/gpu/test/test-world.h"

#include "base/cleanup.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OK          VIRTIO_GPU_RESP_OK_NODATA
#define MAPPED      VIRTIO_GPU_RESP_OK_MAP_INFO
#define UNSPEC      VIRTIO_GPU_RESP_ERR_UNSPEC
#define BAD         VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER
#define NO_RESOURCE VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID
#define NO_CONTEXT  VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID
#define NO_MEMORY   VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY

static const struct world_options plain = {.outputs = 0}, two_outputs = {.outputs = 2};

/* ---- each row ---- */

/* Each command, a byte short, with too little room for the answer, and with a feature that was not taken. None of
 * these reaches its handler. */
static void test_rows(void **state)
{
        struct world world;

        world_open(&world, &two_outputs);
        assert_int_equal(world_create_context(&world, 1, ""), OK);
        for (unsigned i = 0; i < n_command_rows; i++) {
                const struct command_row *row = &command_rows[i];
                uint8_t command[256] = {0}, answer[GPU_ANSWER_MAX];
                struct virtio_gpu_ctrl_hdr header = {.type = row->type, .ctx_id = 1};
                uint32_t wrong = row->handle ? BAD : UNSPEC;

                memcpy(command, &header, sizeof(header));
                if (row->queue == GPU_CURSOR_QUEUE) {
                        assert_int_equal(world_cursor(&world, command, row->size - 1, sizeof(header)), BAD);
                        assert_int_equal(world_command(&world, command, row->size, answer, sizeof(answer)), UNSPEC);
                        continue;
                }
                if (row->size > sizeof(header))
                        assert_int_equal(world_command(&world, command, row->size - 1, answer, sizeof(answer)), wrong);
                if (row->answer > sizeof(header))
                        assert_int_equal(world_command(&world, command, row->size, answer, row->answer - 1), wrong);
                assert_int_equal(world_command(&world, command, row->size, answer, sizeof(header) - 1), 0);
                assert_int_equal(world_cursor(&world, command, row->size, sizeof(header)), UNSPEC);
                if (row->needs & NEEDS_CONTEXT && row->handle) {
                        header.ctx_id = 7;
                        memcpy(command, &header, sizeof(header));
                        assert_int_equal(world_command(&world, command, row->size, answer, sizeof(answer)), NO_CONTEXT);
                }
                if (row->needs & ~(unsigned)NEEDS_CONTEXT) {
                        gpu_set_features(world.gpu, 0);
                        assert_int_equal(world_command(&world, command, row->size, answer, sizeof(answer)), UNSPEC);
                        gpu_set_features(world.gpu, gpu_features(world.gpu));
                }
        }
        assert_int_equal(gpu_count(world.gpu).contexts, 1);
        world_close(&world);
}

static void test_no_commands(void **state)
{
        struct virtio_gpu_ctrl_hdr header = {.type = 0x1234};
        struct world world;

        world_open(&world, &plain);
        assert_int_equal(DO(&world, header), UNSPEC);
        for (size_t size = 0; size < sizeof(header); size++)
                assert_int_equal(world_command(&world, &header, size, NULL, sizeof(header)), 0);
        assert_int_equal(world.n_done, 0);
        world_close(&world);
}

static void test_configuration_space(void **state)
{
        struct gpu_config_space config;
        uint32_t clear = 1;
        struct world world;

        world_open(&world, &two_outputs);
        assert_int_equal(gpu_get_config(world.gpu, (struct oriel_range){0, sizeof(config)}, &config), 0);
        assert_int_equal(config.num_scanouts, 2);
        assert_int_equal(config.num_capsets, 1);
        assert_int_equal(gpu_get_config(world.gpu, (struct oriel_range){0, sizeof(config) + 1}, &config), -EINVAL);
        assert_int_equal(gpu_get_config(world.gpu, (struct oriel_range){UINT64_MAX, 2}, &config), -EINVAL);
        assert_int_equal(gpu_set_config(world.gpu, (struct oriel_range){4, 4}, &clear), 0);
        assert_int_equal(gpu_set_config(world.gpu, (struct oriel_range){0, 4}, &clear), -EINVAL);
        assert_int_equal(gpu_set_config(world.gpu, (struct oriel_range){4, 8}, &clear), -EINVAL);
        world_close(&world);
}

/* ---- contexts ---- */

static void test_contexts(void **state)
{
        const struct virtio_gpu_ctx_create odd[] = {
                {.hdr = {.type = VIRTIO_GPU_CMD_CTX_CREATE, .ctx_id = 2}, .context_init = 99},
                {.hdr = {.type = VIRTIO_GPU_CMD_CTX_CREATE, .ctx_id = 2}, .context_init = FAKE_CAPSET | 1 << 8},
                {.hdr = {.type = VIRTIO_GPU_CMD_CTX_CREATE, .ctx_id = 2}, .context_init = 0},
        };
        const struct virtio_gpu_ctx_destroy destroy = {.hdr = {.type = VIRTIO_GPU_CMD_CTX_DESTROY, .ctx_id = 1}};
        struct virtio_gpu_ctx_create long_name = {.hdr = {.type = VIRTIO_GPU_CMD_CTX_CREATE, .ctx_id = 3},
                                                  .nlen = UINT32_MAX,
                                                  .context_init = FAKE_CAPSET};
        struct world world;

        world_open(&world, &plain);
        assert_int_equal(world_create_context(&world, 0, ""), NO_CONTEXT);
        assert_int_equal(world_create_context(&world, 1, "one"), OK);
        assert_int_equal(world_create_context(&world, 1, "again"), NO_CONTEXT);
        assert_int_equal(world_create_context(&world, 2, "refused"), UNSPEC);
        for (unsigned i = 0; i < ARRAY_SIZE(odd); i++)
                assert_int_equal(DO(&world, odd[i]), BAD);
        memset(long_name.debug_name, 'x', sizeof(long_name.debug_name));
        assert_int_equal(DO(&world, long_name), OK);
        assert_int_equal(gpu_count(world.gpu).contexts, 2);
        assert_int_equal(DO(&world, destroy), OK);
        assert_int_equal(DO(&world, destroy), NO_CONTEXT);
        assert_int_equal(fake_count(world.fake).contexts, 1);
        for (uint32_t id = 10; gpu_count(world.gpu).contexts < GPU_CONTEXTS_MAX; id++)
                assert_int_equal(world_create_context(&world, id, ""), OK);
        assert_int_equal(world_create_context(&world, UINT32_MAX, ""), NO_MEMORY);
        gpu_reset(world.gpu);
        assert_int_equal(fake_count(world.fake).contexts, 0);
        assert_int_equal(gpu_count(world.gpu).contexts, 0);
        world_close(&world);
}

static void test_capsets(void **state)
{
        struct virtio_gpu_get_capset_info info = {.hdr = {.type = VIRTIO_GPU_CMD_GET_CAPSET_INFO}};
        struct virtio_gpu_get_capset get = {.hdr = {.type = VIRTIO_GPU_CMD_GET_CAPSET}, .capset_id = FAKE_CAPSET};
        struct virtio_gpu_resp_capset_info about;
        struct {
                struct virtio_gpu_ctrl_hdr header;
                uint8_t data[FAKE_CAPS_SIZE];
        } capset;
        struct world world;

        world_open(&world, &plain);
        assert_int_equal(world_command(&world, &info, sizeof(info), &about, sizeof(about)),
                         VIRTIO_GPU_RESP_OK_CAPSET_INFO);
        assert_int_equal(about.capset_id, FAKE_CAPSET);
        assert_int_equal(about.capset_max_size, FAKE_CAPS_SIZE);
        info.capset_index = 1;
        assert_int_equal(world_command(&world, &info, sizeof(info), &about, sizeof(about)), BAD);
        assert_int_equal(world_command(&world, &get, sizeof(get), &capset, sizeof(capset)), VIRTIO_GPU_RESP_OK_CAPSET);
        assert_int_equal(capset.data[0], 0xca);
        assert_int_equal(capset.data[FAKE_CAPS_SIZE - 1], 0xca);
        assert_int_equal(world_command(&world, &get, sizeof(get), &capset, sizeof(capset) - 1), BAD);
        get.capset_version = 2;
        assert_int_equal(world_command(&world, &get, sizeof(get), &capset, sizeof(capset)), BAD);
        get.capset_version = 0;
        get.capset_id = 1;
        assert_int_equal(world_command(&world, &get, sizeof(get), &capset, sizeof(capset)), BAD);
        world_close(&world);
}

static void test_submit(void **state)
{
        struct {
                struct virtio_gpu_cmd_submit submit;
                uint64_t command;
        } submit = {{.hdr = {.type = VIRTIO_GPU_CMD_SUBMIT_3D, .ctx_id = 1}, .size = 8}, 1};
        struct world world;

        world_open(&world, &plain);
        assert_int_equal(world_create_context(&world, 1, ""), OK);
        assert_int_equal(DO(&world, submit), OK);
        submit.command = FAKE_FAIL;
        assert_int_equal(DO(&world, submit), UNSPEC);
        submit.submit.size = 9;
        assert_int_equal(DO(&world, submit), BAD);
        submit.submit.size = UINT32_MAX;
        assert_int_equal(DO(&world, submit), BAD);
        assert_int_equal(fake_count(world.fake).submitted, 1);
        world_close(&world);
}

/* ---- fences ---- */

static uint32_t submit_fenced(struct world *world, uint32_t context_id, int ring, uint64_t fence_id)
{
        const struct virtio_gpu_cmd_submit submit = {
                .hdr = {.type = VIRTIO_GPU_CMD_SUBMIT_3D,
                        .flags = VIRTIO_GPU_FLAG_FENCE | (ring >= 0 ? VIRTIO_GPU_FLAG_INFO_RING_IDX : 0),
                        .ctx_id = context_id,
                        .ring_idx = (uint8_t)(ring >= 0 ? ring : 0),
                        .fence_id = fence_id}};

        return DO(world, submit);
}

static void test_fences(void **state)
{
        struct world world;

        world_open(&world, &plain);
        assert_int_equal(world_create_context(&world, 1, ""), OK);
        assert_int_equal(world_create_context(&world, 2, ""), OK);
        /* Done at once. */
        assert_int_equal(submit_fenced(&world, 1, 0, 5), 0);
        assert_int_equal(world.n_done, 1);
        assert_int_equal(world.done[0].type, OK);
        assert_int_equal(world.done[0].flags, VIRTIO_GPU_FLAG_FENCE | VIRTIO_GPU_FLAG_INFO_RING_IDX);
        assert_int_equal(world.done[0].fence_id, 5);
        /* Each ring of each context is separate; a fence completes those before it. */
        fake_hold_fences(world.fake, true);
        for (uint64_t id = 10; id < 13; id++) {
                assert_int_equal(submit_fenced(&world, 1, 0, id), 0);
                assert_int_equal(submit_fenced(&world, 1, 1, id), 0);
                assert_int_equal(submit_fenced(&world, 2, 0, id), 0);
        }
        assert_int_equal(gpu_count(world.gpu).fences, 9);
        fake_signal(world.fake, 1, 0, 99);
        fake_signal(world.fake, 3, 0, 10);
        assert_int_equal(world.n_done, 1);
        fake_signal(world.fake, 1, 1, 11);
        assert_int_equal(world.n_done, 3);
        assert_int_equal(world.done[1].fence_id, 10);
        assert_int_equal(world.done[2].fence_id, 11);
        fake_signal(world.fake, 1, 0, 12);
        assert_int_equal(world.n_done, 6);
        /* The end of a context completes its fences; others stay. */
        const struct virtio_gpu_ctx_destroy destroy = {.hdr = {.type = VIRTIO_GPU_CMD_CTX_DESTROY, .ctx_id = 1}};

        assert_int_equal(DO(&world, destroy), OK);
        assert_int_equal(world.n_done, 7);
        assert_int_equal(gpu_count(world.gpu).fences, 3);
        /* A queue that stops completes its fences, and so does a reset. */
        assert_int_equal(submit_fenced(&world, 2, -1, 77), 0);
        gpu_settle(world.gpu, &world, 1);
        assert_int_equal(world.n_done, 11);
        assert_int_equal(world.done[10].flags, VIRTIO_GPU_FLAG_FENCE);
        assert_int_equal(submit_fenced(&world, 2, 0, 78), 0);
        gpu_reset(world.gpu);
        assert_int_equal(world.n_done, 12);
        assert_int_equal(gpu_count(world.gpu).fences, 0);
        world_close(&world);
}

/* Without a context there is nothing to wait for, and a refused command is answered at once. */
static void test_fences_of_nothing(void **state)
{
        struct virtio_gpu_resource_unref unref = {
                .hdr = {.type = VIRTIO_GPU_CMD_RESOURCE_UNREF, .flags = VIRTIO_GPU_FLAG_FENCE, .fence_id = 9}};
        struct virtio_gpu_ctrl_hdr answer;
        struct world world;

        world_open(&world, &plain);
        fake_hold_fences(world.fake, true);
        assert_int_equal(world_command(&world, &unref, sizeof(unref), &answer, sizeof(answer)), NO_RESOURCE);
        assert_int_equal(answer.flags, VIRTIO_GPU_FLAG_FENCE);
        assert_int_equal(answer.fence_id, 9);
        assert_int_equal(world_create_context(&world, 1, ""), OK);
        assert_int_equal(world_create_blob(&world, 1, 4, FAKE_BLOB_SHM, PAGE), OK);
        unref.resource_id = 4;
        assert_int_equal(DO(&world, unref), OK);
        assert_int_equal(world.n_done, 0);
        world_close(&world);
}

/* ---- blobs ---- */

static void test_blobs(void **state)
{
        struct virtio_gpu_resource_create_blob create = {
                .hdr = {.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB, .ctx_id = 1},
                .resource_id = 100,
                .blob_mem = VIRTIO_GPU_BLOB_MEM_HOST3D,
                .blob_flags = VIRTIO_GPU_BLOB_FLAG_USE_MAPPABLE,
                .size = PAGE,
        };
        struct virtio_gpu_resource_create_blob wrong;
        struct world world;

        world_open(&world, &plain);
        assert_int_equal(DO(&world, create), NO_CONTEXT);
        assert_int_equal(world_create_context(&world, 1, ""), OK);
        assert_int_equal(DO(&world, create), OK);
        assert_int_equal(DO(&world, create), NO_RESOURCE);
        create.resource_id = 101;
#define WRONG(type, field, value) \
        wrong = create;           \
        wrong.field = value;      \
        assert_int_equal(DO(&world, wrong), type)
        WRONG(NO_RESOURCE, resource_id, 0);
        WRONG(BAD, size, 0);
        WRONG(BAD, blob_mem, 0);
        WRONG(BAD, blob_mem, 4);
        WRONG(BAD, blob_flags, 8);
        WRONG(BAD, nr_entries, 1);
        WRONG(BAD, blob_mem, VIRTIO_GPU_BLOB_MEM_GUEST);
        WRONG(BAD, blob_mem, VIRTIO_GPU_BLOB_MEM_HOST3D_GUEST);
        WRONG(NO_MEMORY, blob_id, FAKE_BLOB_REFUSED);
        assert_int_equal(gpu_count(world.gpu).resources, 1);
        assert_int_equal(fake_count(world.fake).blobs, 1);
        assert_int_equal(world_unref(&world, 100), OK);
        assert_int_equal(world_unref(&world, 100), NO_RESOURCE);
        assert_int_equal(fake_count(world.fake).blobs, 0);
        world_close(&world);
}

static void test_guest_blobs(void **state)
{
        const struct virtio_gpu_ctx_resource attach = {.hdr = {.type = VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, .ctx_id = 1},
                                                       .resource_id = 5};
        struct virtio_gpu_ctx_resource detach = attach, nothing = attach;
        struct world world;

        world_open(&world, &plain);
        assert_int_equal(world_create_context(&world, 1, ""), OK);
        /* Across the border of two regions; beyond memory; smaller than its size; an end that overflows; of no
         * bytes. */
        assert_int_equal(world_create_guest_blob(&world, 0, 5, GUEST + GUEST_SIZE - PAGE, 2 * PAGE, 2 * PAGE), OK);
        assert_int_equal(world_create_guest_blob(&world, 0, 6, GUEST - PAGE, 2 * PAGE, PAGE), BAD);
        assert_int_equal(world_create_guest_blob(&world, 0, 6, GUEST + 2 * GUEST_SIZE - PAGE, 2 * PAGE, PAGE), BAD);
        assert_int_equal(world_create_guest_blob(&world, 0, 6, GUEST, PAGE, PAGE + 1), BAD);
        assert_int_equal(world_create_guest_blob(&world, 0, 6, UINT64_MAX - 10, PAGE, PAGE), BAD);
        assert_int_equal(world_create_guest_blob(&world, 0, 6, GUEST, 0, PAGE), BAD);
        assert_int_equal(gpu_count(world.gpu).resources, 1);
        /* A renderer gets the blob with the first context. */
        assert_int_equal(fake_count(world.fake).blobs, 0);
        assert_int_equal(DO(&world, attach), OK);
        assert_int_equal(DO(&world, attach), OK);
        assert_int_equal(fake_count(world.fake).blobs, 1);
        nothing.resource_id = 77;
        assert_int_equal(DO(&world, nothing), NO_RESOURCE);
        detach.hdr.type = nothing.hdr.type = VIRTIO_GPU_CMD_CTX_DETACH_RESOURCE;
        assert_int_equal(DO(&world, detach), OK);
        assert_int_equal(DO(&world, nothing), NO_RESOURCE);
        /* A guest blob can't be mapped: the guest has it already. */
        assert_int_equal(world_map(&world, 5, 0), UNSPEC);
        assert_int_equal(world_unref(&world, 5), OK);
        assert_int_equal(fake_count(world.fake).blobs, 0);
        world_close(&world);
}

/* What the renderer has refused is not attached. */
static void test_attach_refused(void **state)
{
        struct world world;

        world_open(&world, &plain);
        assert_int_equal(world_create_context(&world, 1, ""), OK);
        for (uint32_t id = FAKE_RESOURCE_REFUSED - 1; id <= FAKE_RESOURCE_REFUSED; id++)
                assert_int_equal(world_create_guest_blob(&world, 0, id, GUEST, PAGE, PAGE), OK);
        assert_int_equal(world_attach(&world, 1, FAKE_RESOURCE_REFUSED - 1), OK);
        assert_non_null(context_resource(world.gpu, 1, FAKE_RESOURCE_REFUSED - 1));
        assert_int_equal(world_attach(&world, 1, FAKE_RESOURCE_REFUSED), UNSPEC);
        assert_null(context_resource(world.gpu, 1, FAKE_RESOURCE_REFUSED));
        assert_int_equal(fake_count(world.fake).attached, 1);
        world_close(&world);
}

/* ---- a renderer that does not start ---- */

static unsigned n_freed;

static int start_well(struct gpu_renderer *renderer, struct gpu *gpu)
{
        return 0;
}

static int start_badly(struct gpu_renderer *renderer, struct gpu *gpu)
{
        return -ENODEV;
}

static void count_freed(struct gpu_renderer *renderer)
{
        n_freed++;
}

/* None is left: not the first, which knows the gpu by then. */
static void test_second_renderer_fails(void **state)
{
        struct gpu_renderer first = {.start = start_well, .free = count_freed}, second = first, third = first;
        struct gpu_options options = {.renderers = {&first, &second, &third}};
        struct gpu *gpu = NULL;

        second.start = start_badly;
        n_freed = 0;
        assert_int_equal(gpu_new(&options, &gpu), -ENODEV);
        assert_null(gpu);
        assert_int_equal(n_freed, 3);
}

/* More entries than there are bytes for, and more than allowed. */
static void test_entries_that_lie(void **state)
{
        struct {
                struct virtio_gpu_resource_create_blob create;
                struct virtio_gpu_mem_entry entries[2];
        } command = {
                .create = {.hdr = {.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB},
                           .resource_id = 1,
                           .blob_mem = VIRTIO_GPU_BLOB_MEM_GUEST,
                           .nr_entries = 3,
                           .size = PAGE},
                .entries = {{GUEST, PAGE, 0}, {GUEST + 2 * PAGE, PAGE, 0}},
        };
        struct world world;

        world_open(&world, &plain);
        assert_int_equal(DO(&world, command), BAD);
        command.create.nr_entries = UINT32_MAX;
        assert_int_equal(DO(&world, command), BAD);
        command.create.nr_entries = 2;
        command.create.size = 2 * PAGE;
        assert_int_equal(DO(&world, command), OK);
        world_close(&world);
}

/* ---- mappings ---- */

static void test_mappings(void **state)
{
        struct world world;

        world_open(&world, &plain);
        assert_int_equal(world_create_context(&world, 1, ""), OK);
        assert_int_equal(world_create_blob(&world, 1, 1, FAKE_BLOB_SHM, 3 * PAGE - 100), OK);
        assert_int_equal(world_create_blob(&world, 1, 2, FAKE_BLOB_SHM, PAGE), OK);
        assert_int_equal(world_map(&world, 9, 0), NO_RESOURCE);
        assert_int_equal(world_unmap(&world, 9), NO_RESOURCE);
        assert_int_equal(world_unmap(&world, 1), BAD);
        assert_int_equal(world_map(&world, 1, 1), BAD);
        assert_int_equal(world_map(&world, 1, WINDOW_SIZE - 2 * PAGE), BAD);
        assert_int_equal(world_map(&world, 1, UINT64_MAX - PAGE + 1), BAD);
        assert_int_equal(world_map(&world, 1, UINT64_MAX & ~UINT64_C(4095)), BAD);
        assert_int_equal(world.n_requests, 0);

        /* Whole pages. */
        assert_int_equal(world_map(&world, 1, 5 * PAGE), MAPPED);
        assert_int_equal(world.done[world.n_done - 1].map_info, VIRTIO_GPU_MAP_CACHE_CACHED);
        assert_int_equal(world.n_requests, 1);
        assert_true(world.requests[0].map && world.requests[0].range.start == 5 * PAGE &&
                    world.requests[0].range.size == 3 * PAGE);
        /* It is mapped already; a part of the range is taken. */
        assert_int_equal(world_map(&world, 1, 20 * PAGE), BAD);
        assert_int_equal(world_map(&world, 2, 7 * PAGE), BAD);
        assert_int_equal(world_map(&world, 2, 8 * PAGE), MAPPED);
        assert_int_equal(gpu_count(world.gpu).mappings, 2);
        assert_int_equal(world_unmap(&world, 1), OK);
        assert_int_equal(world.n_requests, 3);
        assert_true(!world.requests[2].map && world.requests[2].range.start == 5 * PAGE);
        assert_int_equal(world_unmap(&world, 1), BAD);
        /* The resource ends, and its mapping with it. */
        assert_int_equal(world_unref(&world, 2), OK);
        assert_int_equal(world.n_requests, 4);
        assert_int_equal(fake_count(world.fake).blobs, 2);
        gpu_await_mappings(world.gpu);
        assert_int_equal(fake_count(world.fake).blobs, 1);
        assert_int_equal(gpu_count(world.gpu).mappings, 0);
        world_close(&world);
}

/* Bytes that are not the blob's are never shown. */
static void test_blobs_that_cannot_be_mapped(void **state)
{
        static const uint64_t ids[] = {FAKE_BLOB_OPAQUE, FAKE_BLOB_NO_FD};
        struct virtio_gpu_resource_create_blob create = {
                .hdr = {.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB, .ctx_id = 1},
                .resource_id = 9,
                .blob_mem = VIRTIO_GPU_BLOB_MEM_HOST3D,
                .size = PAGE,
        };
        struct world world;

        world_open(&world, &plain);
        assert_int_equal(world_create_context(&world, 1, ""), OK);
        for (uint32_t i = 0; i < ARRAY_SIZE(ids); i++) {
                assert_int_equal(world_create_blob(&world, 1, 1 + i, ids[i], PAGE), OK);
                assert_int_equal(world_map(&world, 1 + i, 0), UNSPEC);
        }
        /* A blob without USE_MAPPABLE. */
        assert_int_equal(DO(&world, create), OK);
        assert_int_equal(world_map(&world, 9, 0), UNSPEC);
        assert_int_equal(world.n_requests, 0);
        world_close(&world);
}

/* The front-end refuses: the driver gets an error, and another one for its unmap. */
static void test_refused_mappings(void **state)
{
        static const struct {
                int submit, answer;
                uint32_t type;
        } rows[] = {
                {-ENOSPC, 0, NO_MEMORY}, {-ENOTCONN, 0, UNSPEC}, {-ETIMEDOUT, 0, UNSPEC},
                {0, -EREMOTEIO, UNSPEC}, {0, -ENOTCONN, UNSPEC}, {0, -ETIMEDOUT, UNSPEC},
        };
        struct world world;

        world_open(&world, &plain);
        assert_int_equal(world_create_context(&world, 1, ""), OK);
        assert_int_equal(world_create_blob(&world, 1, 1, FAKE_BLOB_SHM, PAGE), OK);
        for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
                world.submit_error = rows[i].submit;
                world.answer = rows[i].answer;
                assert_int_equal(world_map(&world, 1, 0), rows[i].type);
                assert_int_equal(world_unmap(&world, 1), BAD);
                assert_int_equal(gpu_count(world.gpu).mappings, 0);
        }
        world.submit_error = world.answer = 0;
        assert_int_equal(world_map(&world, 1, 0), MAPPED);
        /* If it can't be submitted, the unmap counts as done. */
        world.submit_error = -ENOTCONN;
        assert_int_equal(world_unmap(&world, 1), OK);
        assert_int_equal(world_unref(&world, 1), OK);
        assert_int_equal(fake_count(world.fake).blobs, 0);
        world_close(&world);
}

/* Commands do not wait for each other's answers. */
static void test_pipelined_mappings(void **state)
{
        const struct virtio_gpu_resource_map_blob map = {.hdr = {.type = VIRTIO_GPU_CMD_RESOURCE_MAP_BLOB},
                                                         .resource_id = 1};
        const struct virtio_gpu_resource_unmap_blob unmap = {.hdr = {.type = VIRTIO_GPU_CMD_RESOURCE_UNMAP_BLOB},
                                                             .resource_id = 1};
        struct virtio_gpu_resp_map_info info;
        struct world world;

        for (int refused = 0; refused < 2; refused++) {
                world_open(&world, &plain);
                assert_int_equal(world_create_context(&world, 1, ""), OK);
                assert_int_equal(world_create_blob(&world, 1, 1, FAKE_BLOB_SHM, PAGE), OK);
                for (int i = 0; i < 10; i++) {
                        assert_int_equal(world_command(&world, &map, sizeof(map), &info, sizeof(info)), 0);
                        assert_int_equal(world_command(&world, &map, sizeof(map), &info, sizeof(info)), BAD);
                        assert_int_equal(DO(&world, unmap), 0);
                }
                assert_int_equal(world.n_requests, 20);
                assert_int_equal(world.n_done, 0);
                world.answer = refused ? -EREMOTEIO : 0;
                /* The resource is unreferenced while all requests are pending. */
                assert_int_equal(world_unref(&world, 1), OK);
                assert_int_equal(fake_count(world.fake).blobs, 1);
                gpu_await_mappings(world.gpu);
                assert_int_equal(world.n_done, 20);
                for (unsigned i = 0; i < 20; i++)
                        assert_int_equal(world.done[i].type, i % 2 ? OK : refused ? UNSPEC : MAPPED);
                assert_int_equal(fake_count(world.fake).blobs, 0);
                world_close(&world);
        }
}

/* The connection is lost while a map is pending, so its unmap can't be submitted. */
static void test_unmap_that_cannot_be_asked_for(void **state)
{
        const struct virtio_gpu_resource_map_blob map = {.hdr = {.type = VIRTIO_GPU_CMD_RESOURCE_MAP_BLOB},
                                                         .resource_id = 1};
        struct virtio_gpu_resp_map_info info;
        struct world world;

        world_open(&world, &plain);
        assert_int_equal(world_create_context(&world, 1, ""), OK);
        assert_int_equal(world_create_blob(&world, 1, 1, FAKE_BLOB_SHM, PAGE), OK);
        assert_int_equal(world_command(&world, &map, sizeof(map), &info, sizeof(info)), 0);
        world.submit_error = world.answer = -ENOTCONN;
        assert_int_equal(world_unref(&world, 1), OK);
        gpu_await_mappings(world.gpu);
        assert_int_equal(fake_count(world.fake).blobs, 0);
        assert_int_equal(gpu_count(world.gpu).resources, 0);
        world_close(&world);
}

static void test_reset(void **state)
{
        struct world world;

        world_open(&world, &two_outputs);
        assert_int_equal(world_create_context(&world, 1, ""), OK);
        for (uint32_t id = 1; id <= 100; id++) {
                assert_int_equal(world_create_blob(&world, 1, id, FAKE_BLOB_SHM, PAGE), OK);
                assert_int_equal(world_map(&world, id, id * PAGE), MAPPED);
        }
        world.n_requests = 0;
        gpu_reset(world.gpu);
        /* All are asked for, without waiting. */
        assert_int_equal(world.n_requests, 100);
        for (unsigned i = 0; i < 100; i++)
                assert_true(!world.requests[i].map && world.requests[i].forgotten);
        const struct gpu_counts counts = gpu_count(world.gpu);

        assert_true(counts.contexts + counts.resources + counts.mappings + counts.fences == 0);
        assert_int_equal(fake_count(world.fake).blobs, 0);
        assert_int_equal(fake_count(world.fake).resets, 1);
        world_close(&world);
}

/* As many resources as allowed, in a random order. */
static void test_many_resources(void **state)
{
        struct world world;

        world_open(&world, &plain);
        for (uint32_t i = 0; i < GPU_RESOURCES_MAX; i++)
                assert_int_equal(world_create_guest_blob(&world, 0, i * 2654435761U + 1, GUEST, PAGE, PAGE), OK);
        assert_int_equal(world_create_guest_blob(&world, 0, 2, GUEST, PAGE, PAGE), NO_MEMORY);
        assert_int_equal(gpu_count(world.gpu).resources, GPU_RESOURCES_MAX);
        world_close(&world);
}

static void test_uuids(void **state)
{
        struct virtio_gpu_resource_assign_uuid assign = {.hdr = {.type = VIRTIO_GPU_CMD_RESOURCE_ASSIGN_UUID},
                                                         .resource_id = 1};
        struct virtio_gpu_resp_resource_uuid first, again, other;
        struct world world;

        world_open(&world, &plain);
        assert_int_equal(world_command(&world, &assign, sizeof(assign), &first, sizeof(first)), NO_RESOURCE);
        assert_int_equal(world_create_guest_blob(&world, 0, 1, GUEST, PAGE, PAGE), OK);
        assert_int_equal(world_create_guest_blob(&world, 0, 2, GUEST, PAGE, PAGE), OK);
        assert_int_equal(world_command(&world, &assign, sizeof(assign), &first, sizeof(first)),
                         VIRTIO_GPU_RESP_OK_RESOURCE_UUID);
        assert_int_equal(world_command(&world, &assign, sizeof(assign), &again, sizeof(again)),
                         VIRTIO_GPU_RESP_OK_RESOURCE_UUID);
        assign.resource_id = 2;
        assert_int_equal(world_command(&world, &assign, sizeof(assign), &other, sizeof(other)),
                         VIRTIO_GPU_RESP_OK_RESOURCE_UUID);
        assert_memory_equal(first.uuid, again.uuid, 16);
        assert_memory_not_equal(first.uuid, other.uuid, 16);
        assert_int_equal(first.uuid[6] >> 4, 4);
        /* Guest pages are no file that another device could have. */
        assert_int_equal(gpu_get_object(world.gpu, first.uuid), -ENOENT);
        assert_int_equal(world.added, 0);
        world_close(&world);
}

static uint32_t assign_uuid(struct world *world, uint32_t id, uint8_t *uuid)
{
        const struct virtio_gpu_resource_assign_uuid assign = {.hdr = {.type = VIRTIO_GPU_CMD_RESOURCE_ASSIGN_UUID},
                                                               .resource_id = id};
        struct virtio_gpu_resp_resource_uuid answer;
        uint32_t type = world_command(world, &assign, sizeof(assign), &answer, sizeof(answer));

        if (type == 0) {
                assert_int_equal(world->n_done, 0);
                gpu_await_mappings(world->gpu);
                assert_int_equal(world->n_done, 1);
                world->n_done = 0;
                type = world->done[0].type;
                memcpy(&answer, world->done[0].answer, sizeof(answer));
        }
        memcpy(uuid, answer.uuid, 16);
        return type;
}

/* Host memory, which the front-end knows by its UUID before the guest does. */
static void test_objects(void **state)
{
        uint8_t uuid[16], again[16];
        struct stat object, twice;
        struct world world;
        int fd, second;

        world_open(&world, &plain);
        assert_int_equal(world_create_context(&world, 1, ""), OK);
        for (uint32_t id = 1; id <= FAKE_BLOB_IDS; id++)
                if (id - 1 != FAKE_BLOB_REFUSED)
                        assert_int_equal(world_create_blob(&world, 1, id, id - 1, PAGE), OK);
        assert_int_equal(assign_uuid(&world, 1 + FAKE_BLOB_SHM, uuid), VIRTIO_GPU_RESP_OK_RESOURCE_UUID);
        assert_int_equal(assign_uuid(&world, 1 + FAKE_BLOB_SHM, again), VIRTIO_GPU_RESP_OK_RESOURCE_UUID);
        assert_memory_equal(uuid, again, 16);
        assert_int_equal(world.added, 1);
        fd = gpu_get_object(world.gpu, uuid);
        second = gpu_get_object(world.gpu, uuid);
        assert_int_equal(fstat(fd, &object) + fstat(second, &twice), 0);
        assert_int_equal(object.st_ino, twice.st_ino);
        assert_int_equal(object.st_size, PAGE);
        close(fd);
        close(second);
        /* Resources with an opaque fd, or without one, only get a UUID. */
        assert_int_equal(assign_uuid(&world, 1 + FAKE_BLOB_OPAQUE, again), VIRTIO_GPU_RESP_OK_RESOURCE_UUID);
        assert_int_equal(gpu_get_object(world.gpu, again), -ENOENT);
        assert_int_equal(assign_uuid(&world, 1 + FAKE_BLOB_NO_FD, again), VIRTIO_GPU_RESP_OK_RESOURCE_UUID);
        assert_int_equal(gpu_get_object(world.gpu, again), -ENOENT);
        assert_int_equal(world.added, 1);
        assert_int_equal(world_unref(&world, 1 + FAKE_BLOB_SHM), OK);
        assert_int_equal(gpu_get_object(world.gpu, uuid), -ENOENT);
        assert_int_equal(world.removed, 1);

        /* A front-end that can't be asked, or refuses: the guest only gets a UUID. */
        assert_int_equal(world_create_blob(&world, 1, 100, FAKE_BLOB_SHM, PAGE), OK);
        assert_int_equal(world_create_blob(&world, 1, 101, FAKE_BLOB_SHM, PAGE), OK);
        world.submit_error = -EOPNOTSUPP;
        assert_int_equal(assign_uuid(&world, 100, uuid), VIRTIO_GPU_RESP_OK_RESOURCE_UUID);
        assert_int_equal(gpu_get_object(world.gpu, uuid), -ENOENT);
        world.submit_error = 0;
        world.answer = -EREMOTEIO;
        assert_int_equal(assign_uuid(&world, 101, uuid), VIRTIO_GPU_RESP_OK_RESOURCE_UUID);
        assert_int_equal(world.added, 2);
        gpu_reset(world.gpu);
        assert_int_equal(gpu_get_object(world.gpu, uuid), -ENOENT);
        assert_int_equal(world.removed, 2);
        world_close(&world);
}

/* The resource ends while the front-end is asked. */
static void test_object_that_ends(void **state)
{
        const struct virtio_gpu_resource_assign_uuid assign = {.hdr = {.type = VIRTIO_GPU_CMD_RESOURCE_ASSIGN_UUID},
                                                               .resource_id = 1};
        struct virtio_gpu_resp_resource_uuid answer;
        struct world world;

        world_open(&world, &plain);
        assert_int_equal(world_create_context(&world, 1, ""), OK);
        assert_int_equal(world_create_blob(&world, 1, 1, FAKE_BLOB_SHM, PAGE), OK);
        assert_int_equal(world_command(&world, &assign, sizeof(assign), &answer, sizeof(answer)), 0);
        /* A second command for it waits, too. */
        assert_int_equal(world_command(&world, &assign, sizeof(assign), &answer, sizeof(answer)), 0);
        assert_int_equal(world.added, 1);
        assert_int_equal(world_unref(&world, 1), OK);
        assert_int_equal(world.removed, 1);
        gpu_await_mappings(world.gpu);
        assert_int_equal(world.n_done, 2);
        assert_int_equal(world.done[0].type, VIRTIO_GPU_RESP_OK_RESOURCE_UUID);
        assert_memory_equal(world.done[0].answer + sizeof(answer.hdr), world.done[1].answer + sizeof(answer.hdr), 16);
        assert_int_equal(gpu_count(world.gpu).resources, 0);
        world_close(&world);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_rows),
                counted_test(test_no_commands),
                counted_test(test_configuration_space),
                counted_test(test_contexts),
                counted_test(test_capsets),
                counted_test(test_submit),
                counted_test(test_fences),
                counted_test(test_fences_of_nothing),
                counted_test(test_blobs),
                counted_test(test_guest_blobs),
                counted_test(test_attach_refused),
                counted_test(test_second_renderer_fails),
                counted_test(test_entries_that_lie),
                counted_test(test_mappings),
                counted_test(test_blobs_that_cannot_be_mapped),
                counted_test(test_refused_mappings),
                counted_test(test_pipelined_mappings),
                counted_test(test_unmap_that_cannot_be_asked_for),
                counted_test(test_reset),
                counted_test(test_many_resources),
                counted_test(test_uuids),
                counted_test(test_objects),
                counted_test(test_object_that_ends),
        };

        return run_counted("gpu", tests);
}
