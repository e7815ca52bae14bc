/* SPDX-License-Identifier: BSD-2-Clause */

/* A lookup is a question to the thread of the object's device: that is woken, asks its back-end, and the asker waits
 * for it, for a time. So two devices could wait for each other: who is waiting itself is not asked.
 *
 * What a back-end gives is passed on to another device's, which costs nobody anything only with memory: closing another
 * kind of file may wait for whoever serves it. */

#include "vmm/virtio/objects.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "vmm/kvm/lock.h"

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
        ANSWER_S = 2,       /* how long it may take the other device's thread to come to it */
};

struct object {
        TAILQ_ENTRY(object) entry;
        struct objects_member *owner;
        uint8_t uuid[16];
};

/* On the asker's stack; once it is taken the asker waits to the end, which the front-end's own limit brings. */
struct question {
        TAILQ_ENTRY(question) entry;
        struct objects_member *owner;
        uint8_t uuid[16];
        bool taken, answered;
        int result;
};

struct objects {
        pthread_mutex_t lock;
        pthread_cond_t changed;
        TAILQ_HEAD(object_list, object) objects;
        TAILQ_HEAD(question_list, question) questions;
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

/* With the lock. */
static struct object *object_of(struct objects *objects, const uint8_t uuid[16])
{
        struct object *object;

        TAILQ_FOREACH(object, &objects->objects, entry)
        if (memcmp(object->uuid, uuid, sizeof(object->uuid)) == 0)
                return object;
        return NULL;
}

/* With the lock. */
static void object_free(struct objects *objects, struct object *object)
{
        TAILQ_REMOVE(&objects->objects, object, entry);
        object->owner->n_objects--;
        free(object);
}

int objects_add(struct objects *objects, struct objects_member *member, const uint8_t uuid[16])
{
        LOCKED(&objects->lock);
        if (object_of(objects, uuid))
                return -EEXIST;
        if (member->n_objects == OBJECTS_MAX)
                return -ENOSPC;

        struct object *object = calloc(1, sizeof(*object));

        if (!object)
                return -ENOMEM;
        object->owner = member;
        memcpy(object->uuid, uuid, sizeof(object->uuid));
        TAILQ_INSERT_HEAD(&objects->objects, object, entry);
        member->n_objects++;
        return 0;
}

int objects_remove(struct objects *objects, struct objects_member *member, const uint8_t uuid[16])
{
        LOCKED(&objects->lock);

        struct object *object = object_of(objects, uuid);

        if (!object || object->owner != member)
                return -ENOENT;
        object_free(objects, object);
        return 0;
}

/* With the lock, which is let go meanwhile. */
static int await_answer(struct objects *objects, struct question *question)
{
        struct timespec deadline;
        int r = 0;

        clock_gettime(CLOCK_MONOTONIC, &deadline);
        deadline.tv_sec += ANSWER_S;
        while (!question->answered && (r == 0 || question->taken))
                r = question->taken ? pthread_cond_wait(&objects->changed, &objects->lock)
                                    : pthread_cond_timedwait(&objects->changed, &objects->lock, &deadline);
        if (question->answered)
                return question->result;
        TAILQ_REMOVE(&objects->questions, question, entry);
        return -ETIMEDOUT;
}

int objects_find(struct objects *objects, struct objects_member *member, const uint8_t uuid[16])
{
        LOCKED(&objects->lock);

        const struct object *object = object_of(objects, uuid);
        struct question question = {.owner = object ? object->owner : NULL};

        if (!object)
                return -ENOENT;
        /* Its own, too: the front-end may not be called in here. */
        if (question.owner == member || question.owner->asking > 0)
                return -EBUSY;
        memcpy(question.uuid, uuid, sizeof(question.uuid));
        TAILQ_INSERT_TAIL(&objects->questions, &question, entry);
        member->asking++;
        fd_event_signal(question.owner->wake_fd);

        const int r = await_answer(objects, &question);

        member->asking--;
        return r;
}

static bool is_memory(int fd)
{
        struct statfs stat;

        return fcntl(fd, F_GET_SEALS) >= 0 || (fstatfs(fd, &stat) == 0 && stat.f_type == DMA_BUF_MAGIC);
}

/* With the lock. */
static void answer(struct objects *objects, struct question *question, int result)
{
        question->result = result;
        question->answered = true;
        pthread_cond_broadcast(&objects->changed);
}

/* With the lock. */
static struct question *question_take(struct objects *objects, const struct objects_member *member)
{
        struct question *question;

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
        struct question *question;
        int r = 0;

        LOCKED(&objects->lock);
        while (r >= 0 && (question = question_take(objects, member))) {
                pthread_mutex_unlock(&objects->lock);
                r = get(userdata, question->uuid);

                int fd = r;

                if (fd >= 0 && !is_memory(fd)) {
                        fd_close(fd);
                        fd = -EPERM;
                }
                pthread_mutex_lock(&objects->lock);
                answer(objects, question, fd);
        }
        return r < 0 ? r : 0;
}

void objects_forget(struct objects *objects, struct objects_member *member)
{
        struct object *object, *next;
        struct question *question;

        LOCKED(&objects->lock);
        for (object = TAILQ_FIRST(&objects->objects); object; object = next) {
                next = TAILQ_NEXT(object, entry);
                if (object->owner == member)
                        object_free(objects, object);
        }
        while ((question = question_take(objects, member)))
                answer(objects, question, -ENODEV);
}
