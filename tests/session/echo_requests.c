/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/session/echo_requests.h"
#include "base/cleanup.h"
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096

/* ---- files ---- */

static int reopen(int fd, int flags)
{
        char path[64];

        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        return open(path, flags | O_CLOEXEC);
}

static int open_memory(struct echo_files *files)
{
        size_t size = ECHO_FILE_PAGES * PAGE;
        int fd = memfd_create("echo", MFD_CLOEXEC);

        files->fds[ECHO_FILE] = fd;
        if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
                return -errno;

        void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

        if (memory == MAP_FAILED)
                return -errno;
        files->memory = memory;
        for (size_t page = 0; page < ECHO_FILE_PAGES; page++)
                memset(files->memory + page * PAGE, (int)page, PAGE);
        return 0;
}

int echo_files_open(struct echo_files *files)
{
        int pipe_ends[2];

        memset(files->fds, -1, sizeof(files->fds));
        files->pipe_end = -1;
        if (open_memory(files) < 0 || pipe2(pipe_ends, O_CLOEXEC) < 0)
                return -EMFILE;
        files->fds[ECHO_FILE_PIPE] = pipe_ends[0];
        files->pipe_end = pipe_ends[1];
        files->fds[ECHO_FILE_READ_ONLY] = reopen(files->fds[ECHO_FILE], O_RDONLY);
        files->fds[ECHO_FILE_WRITE_ONLY] = reopen(files->fds[ECHO_FILE], O_WRONLY);
        files->fds[ECHO_FILE_PATH] = reopen(files->fds[ECHO_FILE], O_PATH);
        files->fds[ECHO_FILE_EMPTY] = memfd_create("echo-empty", MFD_CLOEXEC);
        files->fds[ECHO_FILE_DIRECTORY] = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        for (unsigned i = 0; i < ECHO_FILES; i++)
                if (files->fds[i] < 0)
                        return -EMFILE;
        return 0;
}

void echo_files_close(struct echo_files *files)
{
        if (files->memory)
                munmap(files->memory, ECHO_FILE_PAGES * PAGE);
        fd_close_all(files->fds, ECHO_FILES);
        files->pipe_end = fd_close(files->pipe_end);
}

/* ---- buffers ---- */

static void push(struct echo_queue *own, struct oriel_chain *chain, size_t written)
{
        /* Before the driver can know. */
        atomic_fetch_add(&own->counts->handled, 1);
        if (oriel_backend_queue_push(own->queue, chain, written) == 0)
                oriel_backend_queue_notify(own->queue);
}

static void invert(struct echo_queue *own, struct oriel_chain *chain)
{
        size_t at = sizeof(struct echo_request), written = 0, n;
        uint8_t bytes[4096];

        while ((n = oriel_chain_read(chain, at, bytes, sizeof(bytes))) > 0) {
                for (size_t i = 0; i < n; i++)
                        bytes[i] = (uint8_t)~bytes[i];
                written += oriel_chain_write(chain, written, bytes, n);
                at += n;
        }
        push(own, chain, written);
}

static void answer(struct echo_queue *own, struct oriel_chain *chain, struct echo_answer answer)
{
        push(own, chain, oriel_chain_write(chain, 0, &answer, sizeof(answer)));
}

/* ---- held buffers ---- */

static void hold(struct echo_queue *own, struct oriel_chain *chain)
{
        if (own->n_held == ECHO_HELD_MAX) {
                invert(own, chain);
                return;
        }
        own->held[own->n_held++] = chain;
        atomic_fetch_add(&own->counts->held, 1);
}

/* The youngest first: the driver must not care. */
static int release(struct echo_queue *own)
{
        int n = (int)own->n_held;

        while (own->n_held > 0)
                invert(own, own->held[--own->n_held]);
        return n;
}

void echo_drop_held(struct echo_queue *own)
{
        while (own->n_held > 0)
                oriel_chain_drop(own->held[--own->n_held]);
}

/* ---- requests to the front-end ---- */

static void count_result(struct echo_answer *answer, int r)
{
        if (r >= 0)
                return;
        answer->result = r;
        answer->failed++;
}

static int submit(struct echo_queue *own, const struct echo_request *request, uint32_t index, uint64_t *ticket)
{
        struct oriel_wire_mmap map = request->map;
        uint32_t file = request->file < ECHO_FILES ? request->file : ECHO_FILE;

        map.shm_offset += index * request->step;
        if (request->op == ECHO_UNMAP)
                return oriel_backend_shmem_unmap(own->backend, &map, ticket);
        map.fd_offset += (index % ECHO_FILE_PAGES) * (request->step ? PAGE : 0);
        return oriel_backend_shmem_map(own->backend, &map, own->files->fds[file], ticket);
}

static struct echo_answer change_mappings(struct echo_queue *own, const struct echo_request *request)
{
        uint32_t count = request->count ? request->count : 1;
        _cleanup_(freep) uint64_t *tickets = calloc(count, sizeof(*tickets));
        struct echo_answer answer = {0};

        if (!tickets)
                return (struct echo_answer){-ENOMEM, count};
        for (uint32_t i = 0; i < count; i++) {
                int r = submit(own, request, i, &tickets[i]);

                tickets[i] = r < 0 ? 0 : tickets[i];
                count_result(&answer, r);
        }
        for (uint32_t i = 0; i < count; i++)
                count_result(&answer, oriel_backend_wait(own->backend, tickets[i]));
        return answer;
}

void echo_handle(struct echo_queue *own, struct oriel_chain *chain)
{
        struct echo_request request = {0};

        oriel_chain_read(chain, 0, &request, sizeof(request));
        switch (request.op) {
        case ECHO_INVERT:
                invert(own, chain);
                break;
        case ECHO_HOLD:
                hold(own, chain);
                break;
        case ECHO_RELEASE:
                answer(own, chain, (struct echo_answer){release(own), 0});
                break;
        case ECHO_MAP:
        case ECHO_UNMAP:
                answer(own, chain, change_mappings(own, &request));
                break;
        case ECHO_MAP_NO_WAIT:
                answer(own, chain, (struct echo_answer){submit(own, &request, 0, NULL), 0});
                break;
        default:
                answer(own, chain, (struct echo_answer){-EINVAL, 1});
                break;
        }
}
