/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/trace/page.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "program/report.h"
#include "trace/page.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A page in the making. Until it is whole it has another name beside, but where that makes no sense: a pipe, a device.
 */
struct draft {
        FILE *file;
        char *target;
        char *name; /* NULL: it is the target itself */
};

static void close_file(FILE **file)
{
        if (*file)
                fclose(*file);
}

static void draft_close(struct draft *draft)
{
        close_file(&draft->file);
        if (draft->name)
                unlink(draft->name);
        free(draft->name);
        free(draft->target);
}

/* @was: what is there, all zero if nothing is. */
static int create_beside(struct draft *draft, const struct stat *was)
{
        if (was->st_nlink && access(draft->target, W_OK) < 0)
                return -errno;
        if (asprintf(&draft->name, "%s.%d", draft->target, getpid()) < 0) {
                draft->name = NULL;
                return -ENOMEM;
        }

        int fd = open(draft->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);

        if (fd < 0) {
                free(steal(draft->name));
                return -errno;
        }
        if (was->st_nlink)
                fchmod(fd, was->st_mode & 0777);
        draft->file = fdopen(fd, "w");
        if (!draft->file)
                fd_close(fd);
        return draft->file ? 0 : -ENOMEM;
}

static int draft_open(struct draft *draft, const char *path)
{
        struct stat was = {0};

        if (stat(path, &was) == 0 && !S_ISREG(was.st_mode)) {
                draft->file = fopen(path, "we");
                return draft->file ? 0 : -errno;
        }
        /* What is behind a link is replaced, not the link. */
        draft->target = was.st_nlink ? realpath(path, NULL) : strdup(path);
        return draft->target ? create_beside(draft, &was) : -errno;
}

static int draft_finish(struct draft *draft)
{
        if (fflush(draft->file) != 0)
                return -errno;
        if (ferror(draft->file))
                return -EIO;
        if (!draft->name)
                return 0;
        if (rename(draft->name, draft->target) < 0)
                return -errno;
        free(steal(draft->name));
        return 0;
}

static bool is_file_of(FILE *file, const char *path)
{
        struct stat ours, other;

        return fstat(fileno(file), &ours) == 0 && stat(path, &other) == 0 && S_ISREG(ours.st_mode) &&
               ours.st_dev == other.st_dev && ours.st_ino == other.st_ino;
}

int render_page(const char *recording, const char *html)
{
        _cleanup_(close_file) FILE *from = fopen(recording, "re");
        _cleanup_(draft_close) struct draft draft = {.file = NULL};
        struct complaint why;

        if (!from)
                return fail("%s: %s", recording, strerror(errno));
        if (is_file_of(from, html))
                return fail("%s: the page can't replace the recording that it is made of", html);

        int r = draft_open(&draft, html);

        if (r < 0)
                return fail("%s: %s", html, strerror(-r));
        r = page_render(from, draft.file, &why);
        if (r == -EPROTO)
                return fail("%s: %s", recording, why.text);
        if (r == -ENODATA)
                return fail("%s: nothing was recorded", recording);
        if (r < 0)
                return fail("%s: %s", recording, strerror(-r));
        r = draft_finish(&draft);
        return r < 0 ? fail("%s: %s", html, strerror(-r)) : STATUS_SUCCESS;
}
