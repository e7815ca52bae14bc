/* SPDX-License-Identifier: BSD-2-Clause */

/* Objects of two devices, each with a thread that answers as a session's does. */

#include "vmm/virtio/objects.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const uint8_t one[16] = {1}, two[16] = {2};

struct device {
        struct objects *objects;
        struct objects_member member;
        int (*_Atomic get)(void *userdata, const uint8_t uuid[16]);
        pthread_t thread;
        atomic_bool ending;
        const uint8_t *wanted; /* to be looked up on its own thread */
        int result;            /* the first error */
};

static int get_memory(void *userdata, const uint8_t uuid[16])
{
        int fd = memfd_create("object", MFD_CLOEXEC);

        assert_int_equal(pwrite(fd, uuid, 16, 0), 16);
        return fd;
}

static int get_pipe(void *userdata, const uint8_t uuid[16])
{
        int fds[2];

        assert_int_equal(pipe(fds), 0);
        close(fds[1]);
        return fds[0];
}

static int get_late(void *userdata, const uint8_t uuid[16])
{
        usleep(1500000);
        return get_memory(userdata, uuid);
}

static int get_nothing(void *userdata, const uint8_t uuid[16])
{
        return -ENOENT;
}

/* As it is by now. */
static int get_of_now(void *userdata, const uint8_t uuid[16])
{
        struct device *device = userdata;

        return device->get(userdata, uuid);
}

static void *run(void *userdata)
{
        struct device *device = userdata;

        while (!device->ending) {
                struct pollfd wake = {.fd = device->member.wake_fd, .events = POLLIN};

                poll(&wake, 1, -1);
                fd_event_clear(device->member.wake_fd);
                if (device->wanted) {
                        const int fd = objects_find(device->objects, &device->member, device->wanted);

                        fd_close(fd);
                        if (device->result == 0)
                                device->result = fd < 0 ? fd : 0;
                }
                objects_serve(device->objects, &device->member, get_of_now, device);
        }
        objects_forget(device->objects, &device->member);
        return NULL;
}

static void device_open(struct device *device, struct objects *objects,
                        int (*get)(void *userdata, const uint8_t uuid[16]))
{
        *device = (struct device){.objects = objects, .get = get};
        device->member.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

static void device_start(struct device *device)
{
        assert_int_equal(pthread_create(&device->thread, NULL, run, device), 0);
}

static void device_end(struct device *device)
{
        device->ending = true;
        fd_event_signal(device->member.wake_fd);
        if (device->thread)
                pthread_join(device->thread, NULL);
}

static void test_lookup(void **state)
{
        struct device owner, asker;
        struct objects *objects;
        uint8_t found[16];
        int fd;

        assert_int_equal(objects_new(&objects), 0);
        device_open(&owner, objects, get_memory);
        device_open(&asker, objects, get_nothing);
        device_start(&owner);
        assert_int_equal(objects_find(objects, &asker.member, one), -ENOENT);
        assert_int_equal(objects_add(objects, &owner.member, one), 0);
        assert_int_equal(objects_add(objects, &asker.member, one), -EEXIST);
        assert_int_equal(objects_remove(objects, &asker.member, one), -ENOENT);
        /* Its own thread would wait for itself. */
        assert_int_equal(objects_find(objects, &owner.member, one), -EBUSY);
        fd = objects_find(objects, &asker.member, one);
        assert_int_equal(pread(fd, found, 16, 0), 16);
        assert_memory_equal(found, one, 16);
        close(fd);
        assert_int_equal(objects_remove(objects, &owner.member, one), 0);
        assert_int_equal(objects_find(objects, &asker.member, one), -ENOENT);
        /* It is asked for once, as long as it has its name. */
        assert_int_equal(objects_add(objects, &owner.member, one), 0);
        close(objects_find(objects, &asker.member, one));
        owner.get = get_nothing;
        fd = objects_find(objects, &asker.member, one);
        assert_true(fd >= 0);
        close(fd);
        assert_int_equal(objects_remove(objects, &owner.member, one), 0);
        assert_int_equal(objects_add(objects, &owner.member, one), 0);
        assert_int_equal(objects_find(objects, &asker.member, one), -ENOENT);
        /* An object that its back-end has lost, and a descriptor that may not be passed on. */
        assert_int_equal(objects_add(objects, &owner.member, two), 0);
        owner.get = get_nothing;
        assert_int_equal(objects_find(objects, &asker.member, two), -ENOENT);
        owner.get = get_pipe;
        assert_int_equal(objects_find(objects, &asker.member, two), -EPERM);
        device_end(&owner);
        assert_int_equal(objects_find(objects, &asker.member, two), -ENOENT);
        device_end(&asker);
        objects_free(objects);
        objects_free(NULL);
        close(owner.member.wake_fd);
        close(asker.member.wake_fd);
}

/* Nobody answers for the first; the second goes while it is asked. */
static void test_no_answer(void **state)
{
        struct device owner, asker;
        struct objects *objects;

        assert_int_equal(objects_new(&objects), 0);
        device_open(&owner, objects, get_memory);
        device_open(&asker, objects, get_nothing);
        assert_int_equal(objects_add(objects, &owner.member, one), 0);
        assert_int_equal(objects_find(objects, &asker.member, one), -ETIMEDOUT);
        fd_event_clear(owner.member.wake_fd);
        asker.wanted = one;
        device_start(&asker);
        fd_event_signal(asker.member.wake_fd);
        /* Its question has come. */
        for (int i = 0; i < 1000 && fd_event_clear(owner.member.wake_fd) != 1; i++)
                usleep(1000);
        objects_forget(objects, &owner.member);
        device_end(&asker);
        assert_int_equal(asker.result, -ENODEV);
        device_end(&owner);
        objects_free(objects);
        close(owner.member.wake_fd);
        close(asker.member.wake_fd);
}

struct asking {
        struct device *asker;
        const uint8_t *uuid;
        int result;
};

static void *ask(void *userdata)
{
        struct asking *asking = userdata;

        asking->result = objects_find(asking->asker->objects, &asking->asker->member, asking->uuid);
        return NULL;
}

/* Several ask at once for what is not there: each is told. And an answer that comes when nobody waits any more. */
static void test_late_answers(void **state)
{
        struct device owner, askers[3];
        struct asking asking[3];
        pthread_t threads[3];
        struct objects *objects;

        assert_int_equal(objects_new(&objects), 0);
        device_open(&owner, objects, get_nothing);
        assert_int_equal(objects_add(objects, &owner.member, one) + objects_add(objects, &owner.member, two), 0);
        for (unsigned i = 0; i < 3; i++) {
                device_open(&askers[i], objects, get_nothing);
                asking[i] = (struct asking){&askers[i], one, 0};
                assert_int_equal(pthread_create(&threads[i], NULL, ask, &asking[i]), 0);
        }
        usleep(50000);
        device_start(&owner);
        for (unsigned i = 0; i < 3; i++) {
                pthread_join(threads[i], NULL);
                assert_int_equal(asking[i].result, -ENOENT);
        }
        owner.get = get_late;
        assert_int_equal(objects_find(objects, &askers[0].member, two), -ETIMEDOUT);
        device_end(&owner);
        objects_free(objects);
        close(owner.member.wake_fd);
        for (unsigned i = 0; i < 3; i++)
                close(askers[i].member.wake_fd);
}

/* A device that waits itself is waited for, as there is no circle. */
static void test_chain(void **state)
{
        struct device first, second, third;
        struct asking asking = {&second, one, 0};
        struct objects *objects;
        pthread_t thread;

        assert_int_equal(objects_new(&objects), 0);
        device_open(&first, objects, get_memory);
        device_open(&second, objects, get_memory);
        device_open(&third, objects, get_memory);
        assert_int_equal(objects_add(objects, &first.member, one) + objects_add(objects, &second.member, two), 0);
        assert_int_equal(pthread_create(&thread, NULL, ask, &asking), 0);
        usleep(50000);
        /* The second waits for the first, so the first would wait in vain. */
        assert_int_equal(objects_find(objects, &first.member, two), -EBUSY);
        device_start(&second);
        device_start(&first);

        const int fd = objects_find(objects, &third.member, two);

        assert_true(fd >= 0);
        close(fd);
        pthread_join(thread, NULL);
        assert_true(asking.result >= 0);
        close(asking.result);
        device_end(&first);
        device_end(&second);
        objects_free(objects);
        close(first.member.wake_fd);
        close(second.member.wake_fd);
        close(third.member.wake_fd);
}

/* Two that look up each other's again and again: one of them may be turned down, and nobody waits for long. */
static void test_both_ways(void **state)
{
        struct device a, b;
        struct objects *objects;

        assert_int_equal(objects_new(&objects), 0);
        device_open(&a, objects, get_memory);
        device_open(&b, objects, get_memory);
        assert_int_equal(objects_add(objects, &a.member, one) + objects_add(objects, &b.member, two), 0);
        a.wanted = two;
        b.wanted = one;
        device_start(&a);
        device_start(&b);
        for (int i = 0; i < 2000; i++) {
                fd_event_signal(a.member.wake_fd);
                fd_event_signal(b.member.wake_fd);
                usleep(50);
        }
        device_end(&a);
        device_end(&b);
        assert_true(a.result == 0 || a.result == -EBUSY || a.result == -ENOENT || a.result == -ENODEV);
        objects_free(objects);
        close(a.member.wake_fd);
        close(b.member.wake_fd);
}

int main(void)
{
        const struct CMUnitTest tests[] = {counted_test(test_late_answers), counted_test(test_chain),
                                           counted_test(test_lookup), counted_test(test_no_answer),
                                           counted_test(test_both_ways)};

        return run_counted("objects", tests);
}
