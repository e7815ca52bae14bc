/* SPDX-License-Identifier: BSD-2-Clause */

/* Guests of a few instructions, at privilege level 3 from the first: they run on any KVM, however slow its interpreter.
 * They speak through accesses to an address where there is nothing. */

#include "base/cleanup.h"
#include "base/test.h"
#include "vmm/arch/x86/x86.h"
#include "vmm/kvm/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define PORT 0xf0000000u
#define SLOT 0xd0000000u

enum { CODE = 0x100000, STACK = 0x90000, TABLES = 0x1000, SLOT_SIZE = 4 << 20 };

struct world {
        struct kvm *kvm;
        atomic_uint writes, reads, faults;
        _Atomic uint32_t last;
        enum kvm_end end;
        char why[200];
        sem_t ended;
};

static void take_access(void *userdata, unsigned space, uint64_t address, void *data, unsigned size, bool write)
{
        struct world *world = userdata;

        assert_int_equal(space, ARCH_SPACE_MEMORY);
        assert_int_equal(address & ~0xfffu, PORT);
        assert_int_equal(size, 4);
        if (!write) {
                atomic_fetch_add(&world->reads, 1);
                memcpy(data, &(uint32_t){0x1234}, 4);
                return;
        }
        atomic_store(&world->last, *(uint32_t *)data);
        atomic_fetch_add(&world->writes, 1);
        /* The last page offset ends the machine. */
        if ((address & 0xfff) == 0xff0)
                kvm_request_end(world->kvm, KVM_END_SHUTDOWN, "the guest has asked for it");
}

static bool take_fault(void *userdata, unsigned vcpu)
{
        struct world *world = userdata;

        atomic_fetch_add(&world->faults, 1);
        return false;
}

static void take_end(void *userdata, enum kvm_end end, const char *why)
{
        struct world *world = userdata;

        world->end = end;
        snprintf(world->why, sizeof(world->why), "%s", why ? why : "");
        sem_post(&world->ended);
}

/* 4 GiB as they are, in pages of 2 MiB that everybody may use. */
static void make_tables(struct kvm *kvm)
{
        uint64_t *top = kvm_memory_at(kvm, TABLES, 6 * 4096), *second = top + 512;

        top[0] = (TABLES + 0x1000) | 7;
        for (uint64_t i = 0; i < 4; i++) {
                second[i] = (TABLES + (2 + i) * 0x1000) | 7;
                for (uint64_t j = 0; j < 512; j++)
                        second[(1 + i) * 512 + j] = i << 30 | j << 21 | 0x87;
        }
}

/* False: there is no KVM here, or not for us. */
static bool begin(struct world *world, unsigned cpus, const uint8_t *code, size_t size)
{
        static const struct kvm_exits exits = {take_access, take_fault, take_end, NULL};
        const struct kvm_options options = {
                .memory_size = 16 << 20,
                .cpus = cpus,
                .exits = &exits,
                .userdata = world,
        };
        const struct x86_entry entry = {.rip = CODE, .rsp = STACK, .cr3 = TABLES, .mode = X86_ENTRY_USER};
        int r;

        memset(world, 0, sizeof(*world));
        sem_init(&world->ended, 0, 0);
        r = kvm_new(&options, &world->kvm);
        if (r == -ENOENT || r == -EACCES || r == -EPERM || r == -ENXIO || r == -ENODEV) {
                sem_destroy(&world->ended);
                return false;
        }
        assert_int_equal(r, 0);
        make_tables(world->kvm);
        memcpy(kvm_memory_at(world->kvm, CODE, size), code, size);
        assert_int_equal(x86_set_entry(world->kvm, &entry), 0);
        return true;
}

#define BEGIN(world, cpus, code)                             \
        do {                                                 \
                if (!begin(world, cpus, code, sizeof(code))) \
                        skip();                              \
        } while (0)

static void end(struct world *world)
{
        kvm_free(world->kvm);
        sem_destroy(&world->ended);
}

/* mov rax, imm32 (zero-extended) */
#define RAX(value) 0xb8, (value)&0xff, (value) >> 8 & 0xff, (value) >> 16 & 0xff, (uint32_t)(value) >> 24
#define LOAD       0x8b, 0x18 /* mov ebx, [rax] */
#define STORE      0x89, 0x18 /* mov [rax], ebx */
#define HALT       0xeb, 0xfe /* jmp self */
#define FINISH     RAX(PORT + 0xff0), STORE, HALT

static void test_accesses(void **state)
{
        static const uint8_t code[] = {RAX(PORT), LOAD, RAX(PORT + 8), STORE, FINISH};
        struct world world;

        BEGIN(&world, 2, code);
        assert_int_equal(kvm_start(world.kvm), 0);
        sem_wait(&world.ended);
        assert_int_equal(world.end, KVM_END_SHUTDOWN);
        assert_string_equal(world.why, "the guest has asked for it");
        assert_int_equal(world.reads, 1);
        assert_int_equal(world.writes, 2);
        assert_int_equal(world.last, 0x1234);
        end(&world);
}

static void test_memory(void **state)
{
        static const uint8_t code[] = {HALT};
        struct oriel_memory_region regions[2];
        struct world world;

        BEGIN(&world, 1, code);
        assert_int_equal(kvm_memory_regions(world.kvm, regions), 1);
        assert_int_equal(regions[0].size, 16 << 20);
        assert_non_null(kvm_memory_at(world.kvm, (16 << 20) - 4, 4));
        assert_null(kvm_memory_at(world.kvm, (16 << 20) - 3, 4));
        assert_null(kvm_memory_at(world.kvm, UINT64_MAX, 4));
        /* A back-end that has the fd can't take guest memory away. */
        assert_int_equal(ftruncate(kvm_memory_fd(world.kvm), 0), -1);
        assert_int_equal(errno, EPERM);
        end(&world);
}

/* A window of one slot: what is mapped in it changes under the running guest. */
static void test_slot(void **state)
{
        /* again: read the slot, say what was there, until it is the last value */
        static const uint8_t code[] = {RAX(SLOT), LOAD, RAX(PORT), STORE, 0x81, 0xfb,  'e',
                                       'n',       'd',  0,         0x75,  0xea, FINISH};
        int file = memfd_create("window", MFD_CLOEXEC);
        struct world world;

        assert_int_equal(ftruncate(file, SLOT_SIZE), 0);
        if (!begin(&world, 1, code, sizeof(code))) {
                close(file);
                skip();
        }

        uint8_t *window = mmap(NULL, SLOT_SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        int slot = kvm_add_slot(world.kvm, SLOT, window, SLOT_SIZE);

        assert_true(slot >= 0);
        assert_int_equal(kvm_start(world.kvm), 0);
        while (atomic_load(&world.writes) < 10)
                usleep(100);
        assert_int_equal(world.last, 0);
        assert_int_equal(pwrite(file, "end", 4, 0), 4);
        assert_ptr_equal(mmap(window, SLOT_SIZE, PROT_READ, MAP_SHARED | MAP_FIXED, file, 0), window);
        sem_wait(&world.ended);
        assert_int_equal(world.end, KVM_END_SHUTDOWN);
        kvm_remove_slot(world.kvm, slot);
        end(&world);
        munmap(window, SLOT_SIZE);
        close(file);
}

/* A write to what may only be read. */
static void test_fault(void **state)
{
        static const uint8_t code[] = {RAX(SLOT), STORE, FINISH};
        struct world world;

        BEGIN(&world, 1, code);

        uint8_t *window = mmap(NULL, SLOT_SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        assert_true(kvm_add_slot(world.kvm, SLOT, window, SLOT_SIZE) >= 0);
        assert_int_equal(kvm_start(world.kvm), 0);
        sem_wait(&world.ended);
        assert_int_equal(world.end, KVM_END_FAULT);
        assert_int_equal(world.faults, 1);
        assert_non_null(strstr(world.why, "vcpu 0 at 0x100005"));
        end(&world);
        munmap(window, SLOT_SIZE);
}

static void test_pause(void **state)
{
        static const uint8_t code[] = {RAX(PORT), STORE, 0xeb, 0xf7};
        struct world world;

        BEGIN(&world, 2, code);
        assert_int_equal(kvm_start(world.kvm), 0);
        for (unsigned i = 0; i < 20; i++) {
                unsigned writes;

                while (atomic_load(&world.writes) == 0)
                        usleep(100);
                kvm_pause(world.kvm);
                writes = atomic_load(&world.writes);
                usleep(2000);
                assert_int_equal(atomic_load(&world.writes), writes);
                atomic_store(&world.writes, 0);
                kvm_resume(world.kvm);
        }
        end(&world);
}

static void test_ioeventfd(void **state)
{
        static const uint8_t code[] = {RAX(PORT + 0x10), STORE, FINISH};
        int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        struct world world;
        uint64_t count = 0;

        if (!begin(&world, 1, code, sizeof(code))) {
                close(fd);
                skip();
        }
        assert_int_equal(kvm_ioeventfd(world.kvm, PORT + 0x10, 4, fd, true), 0);
        assert_int_equal(kvm_start(world.kvm), 0);
        sem_wait(&world.ended);
        assert_int_equal(read(fd, &count, sizeof(count)), sizeof(count));
        assert_int_equal(count, 1);
        assert_int_equal(world.writes, 1);
        assert_int_equal(kvm_ioeventfd(world.kvm, PORT + 0x10, 4, fd, false), 0);
        end(&world);
        close(fd);
}

static void test_routes(void **state)
{
        static const uint8_t code[] = {HALT};
        int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), routes[3];
        struct world world;

        if (!begin(&world, 1, code, sizeof(code))) {
                close(fd);
                skip();
        }
        for (unsigned i = 0; i < ARRAY_SIZE(routes); i++) {
                routes[i] = kvm_new_route(world.kvm);
                assert_true(routes[i] >= 0);
                assert_int_equal(kvm_set_route(world.kvm, routes[i], 0xfee00000, 0x40 + i), 0);
        }
        assert_int_equal(kvm_irqfd(world.kvm, routes[1], fd, true), 0);
        assert_int_equal(kvm_irqfd(world.kvm, routes[1], fd, false), 0);
        kvm_free_route(world.kvm, routes[1]);
        assert_int_equal(kvm_set_route(world.kvm, routes[1], 0, 0), -EINVAL);
        assert_int_equal(kvm_new_route(world.kvm), routes[1]);
        assert_int_equal(kvm_set_pin(world.kvm, 4, true), 0);
        end(&world);
        close(fd);
}

static void test_refused(void **state)
{
        static const struct kvm_exits exits = {take_access, take_fault, take_end, NULL};
        const struct kvm_options options[] = {
                {.memory_size = 16 << 20, .cpus = 0, .exits = &exits},
                {.memory_size = 16 << 20, .cpus = 65, .exits = &exits},
        };
        struct kvm *kvm;

        for (size_t i = 0; i < ARRAY_SIZE(options); i++)
                assert_int_equal(kvm_new(&options[i], &kvm), -EINVAL);
        kvm_free(NULL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_accesses), counted_test(test_memory),  counted_test(test_slot),
                counted_test(test_fault),    counted_test(test_pause),   counted_test(test_ioeventfd),
                counted_test(test_routes),   counted_test(test_refused),
        };

        return run_counted("kvm", tests);
}
