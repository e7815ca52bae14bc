/* SPDX-License-Identifier: BSD-2-Clause */

/* A lookup is a question to the thread of the object's device: that is woken, asks its back-end, and the asker waits
 * for it, for a time, whatever the other does. An object is asked for once; what was given is kept, as far as there is
 * room, until its back-end takes the name back. Devices that wait for each other would do so in vain, so who closes
 * such a circle is turned down.
 *
 * What a back-end gives is passed on to another device's, which costs nobody anything only with memory: what is asked
 * of another kind of file, even its end, may wait for whoever serves it. */

#include "vmm/virtio/objects.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/libc.h"
#include "base/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/vfs.h>
#include <time.h>

enum {
        OBJECTS_MAX = 4096, /* of a device */
        KEPT_MAX = 64,      /* of these, that have been given */
        /* How long an answer is waited for: less than anybody waits for the asker, or for its back-end. */
        ANSWER_MS = 1000,
};

struct shared_object {
        TAILQ_ENTRY(shared_object) entry;
        struct objects_member *owner;
        uint8_t uuid[16];
        int fd; /* what its back-end has given; negative: nothing yet */
};

/* The asker's and the owner's: who comes to it last frees it. */
struct object_question {
        TAILQ_ENTRY(object_question) entry;
        struct objects_member *owner, *asker;
        uint8_t uuid[16];
        bool taken, answered, given_up;
        int result;
};

struct objects {
        pthread_mutex_t lock;
        pthread_cond_t changed;
        TAILQ_HEAD(object_list, shared_object) objects;
        TAILQ_HEAD(question_list, object_question) questions;
};

int objects_new(struct objects **out)
{
        struct objects *objects = calloc(1, sizeof(*objects));
        pthread_condattr_t attributes;

        if (!objects)
                return -ENOMEM;
        pthread_mutex_init(&objects->lock, NULL);
        pthread_condattr_init(&attributes);
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        pthread_cond_init(&objects->changed, &attributes);
        pthread_condattr_destroy(&attributes);
        TAILQ_INIT(&objects->objects);
        TAILQ_INIT(&objects->questions);
        *out = objects;
        return 0;
}

void objects_free(struct objects *objects)
{
        if (!objects)
                return;
        pthread_mutex_destroy(&objects->lock);
        pthread_cond_destroy(&objects->changed);
        free(objects);
}

static bool is_connection_lost(int r)
{
        return r == -ENOTCONN || r == -EPROTO || r == -ETIMEDOUT;
}

/* With the lock. */
static struct shared_object *object_of(struct objects *objects, const uint8_t uuid[16])
{
        struct shared_object *object;

        TAILQ_FOREACH(object, &objects->objects, entry)
        if (memcmp(object->uuid, uuid, sizeof(object->uuid)) == 0)
                return object;
        return NULL;
}

/* With the lock. */
static void object_free(struct objects *objects, struct shared_object *object)
{
        TAILQ_REMOVE(&objects->objects, object, entry);
        object->owner->n_objects--;
        object->owner->n_kept -= object->fd >= 0;
        fd_close(object->fd);
        free(object);
}

int objects_add(struct objects *objects, struct objects_member *member, const uint8_t uuid[16])
{
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&objects->lock);
        if (object_of(objects, uuid))
                return -EEXIST;
        if (member->n_objects == OBJECTS_MAX)
                return -ENOSPC;

        struct shared_object *object = calloc(1, sizeof(*object));

        if (!object)
                return -ENOMEM;
        object->owner = member;
        object->fd = -1;
        memcpy(object->uuid, uuid, sizeof(object->uuid));
        TAILQ_INSERT_HEAD(&objects->objects, object, entry);
        member->n_objects++;
        return 0;
}

int objects_remove(struct objects *objects, struct objects_member *member, const uint8_t uuid[16])
{
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&objects->lock);

        struct shared_object *object = object_of(objects, uuid);

        if (!object || object->owner != member)
                return -ENOENT;
        object_free(objects, object);
        return 0;
}

/* With the lock, which is let go meanwhile. */
static int question_await(struct objects *objects, struct object_question *question)
{
        const int64_t until = now_ns() + ANSWER_MS * INT64_C(1000000);
        const struct timespec deadline = {until / 1000000000, until % 1000000000};
        int r = 0;

        while (!question->answered && r == 0)
                r = pthread_cond_timedwait(&objects->changed, &objects->lock, &deadline);
        if (question->answered)
                return question->result;
        question->given_up = true;
        return -ETIMEDOUT;
}

/* With the lock: whether @member is waited for by whom @owner waits for, and so on. */
static bool closes_circle(const struct objects_member *member, const struct objects_member *owner)
{
        while (owner && owner != member)
                owner = owner->waits_for;
        return owner;
}

/* With the lock. */
static int question_ask(struct objects *objects, struct objects_member *member, const struct shared_object *object)
{
        struct object_question *question = calloc(1, sizeof(*question));

        if (!question)
                return -ENOMEM;
        question->owner = object->owner;
        question->asker = member;
        memcpy(question->uuid, object->uuid, sizeof(question->uuid));
        TAILQ_INSERT_TAIL(&objects->questions, question, entry);
        member->waits_for = question->owner;
        fd_event_signal(question->owner->wake_fd);

        const int r = question_await(objects, question);

        member->waits_for = NULL;
        if (!question->taken)
                TAILQ_REMOVE(&objects->questions, question, entry);
        if (question->answered || !question->taken)
                free(question);
        return r;
}

int objects_find(struct objects *objects, struct objects_member *member, const uint8_t uuid[16])
{
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&objects->lock);

        const struct shared_object *object = object_of(objects, uuid);

        if (!object)
                return -ENOENT;
        if (object->fd >= 0)
                return fd_dup(object->fd);
        /* Of its own, too: the front-end may not be called in here. */
        if (closes_circle(member, object->owner))
                return -EBUSY;
        return question_ask(objects, member, object);
}

/* Found out without asking who serves it. Huge pages can be taken back, and whoever uses them then dies of it. */
static bool object_is_memory(int fd)
{
        struct statx stat;
        struct statfs of;

        if (fcntl(fd, F_GET_SEALS) >= 0)
                return fstatfs(fd, &of) == 0 && of.f_type != HUGETLBFS_MAGIC;
        /* A dmabuf has no type. */
        return fd_look(fd, &stat) == 0 && (stat.stx_mode & S_IFMT) == 0;
}

/* With the lock. */
static void object_keep(struct objects *objects, const struct object_question *question, int fd)
{
        struct shared_object *object = object_of(objects, question->uuid);

        if (!object || object->owner != question->owner || object->fd >= 0 || object->owner->n_kept == KEPT_MAX)
                return;
        object->fd = fd_dup(fd);
        object->owner->n_kept += object->fd >= 0;
}

/* With the lock. Returns what is to be closed without it, or -1. */
static int question_answer(struct objects *objects, struct object_question *question, int result)
{
        int refused = -1;

        if (result >= 0 && !object_is_memory(result)) {
                refused = result;
                result = -EPERM;
        }
        if (result >= 0)
                object_keep(objects, question, result);
        if (question->given_up) {
                fd_close(result);
                free(question);
                return refused;
        }
        question->result = result;
        question->answered = true;
        question->asker->waits_for = NULL;
        pthread_cond_broadcast(&objects->changed);
        return refused;
}

/* With the lock. */
static struct object_question *question_take(struct objects *objects, const struct objects_member *member)
{
        struct object_question *question;

        TAILQ_FOREACH(question, &objects->questions, entry)
        {
                if (question->owner != member)
                        continue;
                TAILQ_REMOVE(&objects->questions, question, entry);
                question->taken = true;
                return question;
        }
        return NULL;
}

int objects_serve(struct objects *objects, struct objects_member *member,
                  int (*get)(void *userdata, const uint8_t uuid[16]), void *userdata)
{
        struct object_question *question;
        int r = 0;

        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&objects->lock);
        while (!is_connection_lost(r) && (question = question_take(objects, member))) {
                pthread_mutex_unlock(&objects->lock);
                r = get(userdata, question->uuid);
                pthread_mutex_lock(&objects->lock);

                const int refused = question_answer(objects, question, r);

                /* It may wait for whoever serves it; nobody but this device waits, too. */
                pthread_mutex_unlock(&objects->lock);
                fd_close(refused);
                pthread_mutex_lock(&objects->lock);
        }
        return is_connection_lost(r) ? r : 0;
}

void objects_forget(struct objects *objects, struct objects_member *member)
{
        struct shared_object *object, *next;
        struct object_question *question;

        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&objects->lock);
        for (object = TAILQ_FIRST(&objects->objects); object; object = next) {
                next = TAILQ_NEXT(object, entry);
                if (object->owner == member)
                        object_free(objects, object);
        }
        while ((question = question_take(objects, member)))
                question_answer(objects, question, -ENODEV);
}
