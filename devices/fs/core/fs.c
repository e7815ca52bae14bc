/* SPDX-License-Identifier: BSD-2-Clause */

/* A shared directory from fs_new() to fs_free(), and the way of a request: found in the table of operations, parsed,
 * admitted, handled, answered. It uses all other parts of the file system, which share only struct fs (state.h).
 * INIT and DESTROY hold the session's lock for writing, all other requests for reading. */

#include "devices/fs/core/fs.h"

#include "base/fd.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/syscalls.h"
#include "devices/fs/core/credentials.h"
#include "devices/fs/core/operations.h"
#include "devices/fs/core/state.h"
#include "devices/fs/files/handle.h"
#include "devices/fs/files/inode.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

USES_SYSCALLS(SYSCALL(fchdir), SYSCALL(umask));

DEFINE_CLEANUP(struct fs *, fs_free);

/* Descriptors that the guest can't take: requests in progress open files too, and so does the rest of this process. */
static const unsigned reserved_files = 128;

static unsigned default_max_open(unsigned at_once)
{
        /* Two files, and the descriptor that a thread sleeps on. */
        const unsigned reserved = reserved_files + 3 * at_once, limit = limit_fds();

        return limit <= reserved ? reserved_files : limit - reserved;
}

int fs_new(const struct fs_options *options, int proc_fd, struct fs **out)
{
        _cleanup_(fd_closep) int owned_fd = proc_fd;
        _cleanup_(fs_freep) struct fs *fs = malloc(sizeof(*fs));

        if (!fs)
                return -ENOMEM;
        *fs = (struct fs){.options = *options,
                          .proc_fd = fd_take(&owned_fd),
                          .waiting.wake_fd = -1,
                          .expiring.wake_fd = -1,
                          .gives_away = credentials_init()};
        if (fs->options.max_open == 0)
                fs->options.max_open = default_max_open(options->at_once);
        pthread_mutex_init(&fs->lock, NULL);
        pthread_mutex_init(&fs->room.lock, NULL);
        pthread_rwlock_init(&fs->session, NULL);

        int r = dax_window_init(&fs->window, options, &fs->options.log);

        if (r == 0)
                r = waiting_init(&fs->waiting);
        if (r == 0)
                r = expiring_init(&fs->expiring);
        if (r == 0)
                r = parked_init(&fs->parked, &fs->options);
        if (r < 0)
                return r;
        if (fs->proc_fd < 0)
                fs->proc_fd = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fs->proc_fd < 0)
                return -errno;
        fs->window.proc_fd = fs->proc_fd;
        ids_init(&fs->handles, false);
        r = inodes_init(fs);
        if (r < 0)
                return r;
        if (fchdir(fs->proc_fd) < 0)
                return -errno;
        fs->options.shared_dir = NULL;
        umask(0);
        *out = steal(fs);
        return 0;
}

void fs_free(struct fs *fs)
{
        if (!fs)
                return;
        handles_done(fs);
        parked_clear(fs);
        inodes_done(fs);
        parked_done(&fs->parked);
        dax_window_done(&fs->window);
        waiting_done(&fs->waiting);
        expiring_done(&fs->expiring);
        fd_close(fs->proc_fd);
        pthread_rwlock_destroy(&fs->session);
        pthread_mutex_destroy(&fs->lock);
        pthread_mutex_destroy(&fs->room.lock);
        free(fs);
}

void fs_reset(struct fs *fs)
{
        pthread_rwlock_wrlock(&fs->session);
        session_forget(fs);
        dax_window_forget(&fs->window);
        pthread_rwlock_unlock(&fs->session);
}

/* The first request resumes: starting a ring must not wait for requests of another ring, which may wait for this
 * start. */
void fs_resume(struct fs *fs)
{
        fs->to_resume = !fs->ready;
}

static void request_resume(struct fs *fs)
{
        pthread_rwlock_wrlock(&fs->session);
        /* Unless INIT has come first. */
        if (fs->to_resume && !fs->ready) {
                dax_window_resume(&fs->window);
                fs->features = features_wanted(fs);
                fs->ready = true;
                expiring_wake(&fs->expiring);
        }
        fs->to_resume = false;
        pthread_rwlock_unlock(&fs->session);
}

int fs_sync(struct fs *fs)
{
        shadows_sync(&fs->window.shadows);
        return atomic_load(&fs->window.shadows.n) > 0 ? 1000 : -1;
}

int fs_sync_fd(const struct fs *fs)
{
        return fs->window.shadows.wake_fd;
}

/* Checks that need no parsing of arguments. Nothing has happened yet when this fails. */
static int request_admit(const struct fs *fs, const struct operation *operation, const struct cursor *out)
{
        if (!fs->ready && !operation->starts)
                return -EIO;
        if (operation->changes && fs->options.readonly)
                return -EROFS;
        return out->left < operation->out_min ? -EINVAL : 0;
}

static int get_node(struct request *request, enum operation_node wanted)
{
        switch (wanted) {
        case NODE_KNOWN:
                return node_get(request->fs, request->header.nodeid, &request->node);
        case NODE_LINKED:
                return node_get_linked(request->fs, request->header.nodeid, &request->node);
        case NODE_TO_READ:
                return node_get_to_read(request->fs, &request->header, &request->node);
        default:
                return 0;
        }
}

static ssize_t request_perform(struct request *request, const struct operation *operation, struct cursor *data)
{
        if (!operation->starts && request->fs->to_resume)
                request_resume(request->fs);
        if (operation->starts)
                pthread_rwlock_wrlock(&request->fs->session);
        else
                pthread_rwlock_rdlock(&request->fs->session);

        ssize_t payload = operation_parse(operation, data, request);

        if (payload == 0)
                payload = request_admit(request->fs, operation, &request->out);
        if (payload == 0)
                payload = get_node(request, operation->node);
        if (payload == 0)
                payload = operation->handle(request);
        node_put(&request->node);
        pthread_rwlock_unlock(&request->fs->session);
        return payload;
}

ssize_t fs_handle(struct fs *fs, const struct iovec *in, unsigned n_in, const struct iovec *out, unsigned n_out,
                  struct fs_token token)
{
        struct cursor data = cursor_at(in, n_in), to = cursor_at(out, n_out);
        struct request request;
        ssize_t payload = -EINVAL;

        request.fs = fs;
        request.token = token;
        request.answer = to;
        request.node = (struct node){.opened = -1};
        request.waits = false;
        if (!cursor_read(&data, &request.header, sizeof(request.header)))
                return -EINVAL;

        const struct operation *operation = operation_find(request.header.opcode);
        bool silent = operation && operation->silent;

        request.out = to;
        if (!cursor_skip(&request.out, sizeof(struct fuse_out_header)) && !silent)
                return -EINVAL;

        /* The guest says how long the request is; it may have sent more bytes, but not fewer. */
        if (request.header.len >= sizeof(request.header) && request.header.len - sizeof(request.header) <= data.left) {
                cursor_limit(&data, request.header.len - sizeof(request.header));
                if (operation && !operation->quick && fs->options.lasts)
                        fs->options.lasts(fs->options.answered_userdata, token);
                payload = operation ? request_perform(&request, operation, &data) : -ENOSYS;
        }
        log_debug(&fs->options.log, "%s of node %" PRIx64 ": %zd", operation ? operation->name : "unknown request",
                  request.header.nodeid, payload);
        if (request.waits)
                return -EINPROGRESS;
        return silent ? 0 : (ssize_t)answer_write(&to, request.header.unique, payload);
}
