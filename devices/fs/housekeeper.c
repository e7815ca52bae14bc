/* SPDX-License-Identifier: BSD-2-Clause */

/* The thread for work of oriel-fs without a request: retrying locks that requests wait for, merging shadows, and
 * closing files. It sleeps in poll() until a chore's descriptor is signalled, a chore's time has come, or the
 * eventfd that ends it is written. Each chore returns when it is due again, or that it waits for its descriptor. */

#include "devices/fs/housekeeper.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/syscalls.h"
#include "base/thread.h"
#include "devices/fs/core/fs.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/param.h>

USES_SYSCALLS(SYSCALL(poll), SYSCALL(eventfd2));

enum { N_CHORES = 3 };

struct housekeeper {
        struct fs *fs;
        pthread_t thread;
        int stop_fd;
};

/* Work that is done when its descriptor is signalled, and then again as long as that is useful. */
struct chore {
        int (*perform)(struct fs *fs); /* returns the milliseconds until the next time; -1: when it is signalled */
        int fd;
        int64_t next; /* when, or INT64_MAX */
};

static void perform_chore(struct chore *chore, struct fs *fs)
{
        /* Cleared before the work, so that a signal that comes meanwhile is not lost. */
        fd_event_clear(chore->fd);

        int again = chore->perform(fs);

        chore->next = again < 0 ? INT64_MAX : now_ms() + again;
}

static int until_next(const struct chore *chores)
{
        int64_t next = INT64_MAX;

        for (unsigned i = 0; i < N_CHORES; i++)
                next = MIN(next, chores[i].next);
        return next == INT64_MAX ? -1 : (int)MAX(next - now_ms(), 0);
}

static void *keep_house(void *userdata)
{
        struct housekeeper *keeper = userdata;
        struct fs *fs = keeper->fs;
        struct chore chores[N_CHORES] = {
                {fs_retry_locks, fs_locks_fd(fs), INT64_MAX},
                {fs_sync, fs_sync_fd(fs), INT64_MAX},
                {fs_expire, fs_expire_fd(fs), INT64_MAX},
        };
        struct pollfd fds[N_CHORES + 1];

        for (unsigned i = 0; i < N_CHORES; i++)
                fds[i] = (struct pollfd){.fd = chores[i].fd, .events = POLLIN};
        fds[N_CHORES] = (struct pollfd){.fd = keeper->stop_fd, .events = POLLIN};
        for (;;) {
                if (poll(fds, ARRAY_SIZE(fds), until_next(chores)) < 0)
                        continue;
                if (fds[N_CHORES].revents)
                        return NULL;
                for (unsigned i = 0; i < N_CHORES; i++)
                        if (fds[i].revents || now_ms() >= chores[i].next)
                                perform_chore(&chores[i], fs);
        }
}

int housekeeper_start(struct fs *fs, struct housekeeper **out)
{
        struct housekeeper *keeper = malloc(sizeof(*keeper));

        if (!keeper)
                return -ENOMEM;
        *keeper = (struct housekeeper){.fs = fs, .stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};

        int r = keeper->stop_fd < 0 ? -errno : thread_start(&keeper->thread, keep_house, keeper);

        if (r < 0) {
                fd_close(keeper->stop_fd);
                free(keeper);
                return r;
        }
        *out = keeper;
        return 0;
}

void housekeeper_stop(struct housekeeper *keeper)
{
        if (!keeper)
                return;
        fd_event_wake(keeper->stop_fd);
        pthread_join(keeper->thread, NULL);
        fd_close(keeper->stop_fd);
        free(keeper);
}
