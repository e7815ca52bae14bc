/* SPDX-License-Identifier: BSD-2-Clause */

/* Postcopy: a device that runs before its memory has come. Each page is given to it when it asks, by the userfaultfd
 * that it has passed; a back-end that dies meanwhile, and messages in a wrong order, are tried too. Skipped where the
 * kernel lets this user have no userfaultfd. */

#include "base/cleanup.h"
#include "base/fd.h"
#include "tests/session/session.h"

#include <errno.h>
#include <linux/userfaultfd.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define F(name) ORIEL_FEATURE(ORIEL_PROTOCOL_F_##name)
#define PAGES   64
#define WANTED  (~(F(INBAND_NOTIFICATIONS)))

static const struct echo_options quiet = {.quiet = true, .protocol_features = F(PAGEFAULT)};

struct postcopy {
        struct pair pair;
        int memfd, fault_fd, kick, call;
        uint8_t *memory;
        uint64_t base; /* where the back-end has it */
        struct oriel_memory *table;
        struct oriel_driver_queue *queue;
};

static bool begin(struct postcopy *p)
{
        *p = (struct postcopy){.fault_fd = -1};
        pair_open(&p->pair, &quiet, WANTED);
        if (!(oriel_frontend_protocol_features(p->pair.frontend) & F(PAGEFAULT))) {
                pair_close(&p->pair);
                return false;
        }
        assert_int_equal(oriel_frontend_set_features(p->pair.frontend, ORIEL_FEATURE(VIRTIO_F_VERSION_1)), 0);
        p->memfd = make_memory(PAGES * PAGE);
        p->memory = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, p->memfd, 0);
        assert_ptr_not_equal(p->memory, MAP_FAILED);
        p->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        p->call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        assert_int_equal(oriel_frontend_postcopy_advise(p->pair.frontend, &p->fault_fd), 0);
        assert_int_equal(fd_set_nonblocking(p->fault_fd, 1), 0);
        assert_int_equal(oriel_frontend_postcopy_listen(p->pair.frontend), 0);
        return true;
}

static void end(struct postcopy *p)
{
        oriel_driver_queue_free(p->queue);
        oriel_memory_unref(p->table);
        pair_close(&p->pair);
        munmap(p->memory, PAGES * PAGE);
        fd_close(p->memfd);
        fd_close(p->fault_fd);
        fd_close(p->kick);
        fd_close(p->call);
}

/* A queue in the first pages, which the front-end's own writes bring into being. */
static void start_queue(struct postcopy *p)
{
        struct oriel_memory_region region = {0, PAGES * PAGE, 0, 0};
        const struct oriel_ring ring = {
                .struct_size = sizeof(ring),
                .size = 8,
                .space = ORIEL_ADDRESS_GUEST,
                .descriptor = 0,
                .driver = PAGE,
                .device = 2 * PAGE,
        };
        struct vhost_vring_addr addr = {.desc_user_addr = 0, .avail_user_addr = PAGE, .used_user_addr = 2 * PAGE};
        struct oriel_frontend *frontend = p->pair.frontend;
        struct oriel_memory *empty;

        assert_int_equal(oriel_memory_new(1, false, &empty), 0);
        assert_int_equal(oriel_memory_add_mapped(empty, &region, p->memory, ORIEL_ACCESS_READ_WRITE, &p->table), 0);
        oriel_memory_unref(empty);
        assert_int_equal(oriel_driver_queue_new(&ring, p->table, 0, 0, &p->queue), 0);
        assert_int_equal(oriel_frontend_set_vring_num(frontend, 0, 8), 0);
        assert_int_equal(oriel_frontend_set_vring_base(frontend, 0, 0), 0);
        assert_int_equal(oriel_frontend_set_vring_addr(frontend, &addr), 0);
        assert_int_equal(oriel_frontend_set_vring_call(frontend, 0, p->call), 0);
        assert_int_equal(oriel_frontend_set_vring_enable(frontend, 0, true), 0);
        assert_int_equal(oriel_frontend_set_vring_kick(frontend, 0, p->kick), 0);
}

/* The next page that the device waits for. */
static uint64_t wait_fault(struct postcopy *p)
{
        struct pollfd fd = {.fd = p->fault_fd, .events = POLLIN};
        struct uffd_msg msg;

        assert_int_equal(poll(&fd, 1, 10000), 1);
        assert_int_equal(read(p->fault_fd, &msg, sizeof(msg)), sizeof(msg));
        assert_int_equal(msg.event, UFFD_EVENT_PAGEFAULT);
        return (msg.arg.pagefault.address - p->base) / PAGE;
}

static void submit(struct postcopy *p, unsigned in_page, unsigned out_page, uint32_t size)
{
        const struct oriel_buffer in = {in_page * PAGE, (uint32_t)sizeof(struct echo_request) + size};
        const struct oriel_buffer out = {out_page * PAGE, size};

        assert_int_equal(oriel_driver_queue_submit(p->queue, &in, 1, &out, 1, p), 0);
        fd_event_signal(p->kick);
}

static void collect(struct postcopy *p)
{
        struct pollfd fd = {.fd = p->call, .events = POLLIN};
        uint32_t written;
        void *token;

        assert_int_equal(poll(&fd, 1, 10000), 1);
        fd_event_clear(p->call);
        assert_int_equal(oriel_driver_queue_collect(p->queue, &token, &written), 1);
}

static void run(struct postcopy *p)
{
        struct echo_request request = {.op = ECHO_INVERT};
        uint8_t page[PAGE];

        assert_int_equal(oriel_frontend_postcopy_acknowledge(p->pair.frontend), 0);
        assert_int_equal(oriel_frontend_postcopy_acknowledge(p->pair.frontend), -EINVAL);
        start_queue(p);
        submit(p, 20, 30, 100);

        /* The page comes through the front-end's own mapping, and the device is woken. */
        assert_int_equal(wait_fault(p), 20);
        memcpy(p->memory + 20 * PAGE, &request, sizeof(request));
        memset(p->memory + 20 * PAGE + sizeof(request), 0x0f, 100);

        struct uffdio_range wake = {p->base + 20 * PAGE, PAGE};

        assert_int_equal(ioctl(p->fault_fd, UFFDIO_WAKE, &wake), 0);

        /* Or the kernel is given a copy. */
        assert_int_equal(wait_fault(p), 30);
        memset(page, 0x55, sizeof(page));

        struct uffdio_copy copy = {.dst = p->base + 30 * PAGE, .src = (uintptr_t)page, .len = PAGE};

        assert_int_equal(ioctl(p->fault_fd, UFFDIO_COPY, &copy), 0);
        collect(p);
        assert_int_equal(p->memory[30 * PAGE + 99], 0xf0);
        assert_int_equal(p->memory[30 * PAGE + 100], 0x55);

        /* After the end nothing waits any more. */
        assert_int_equal(oriel_frontend_postcopy_end(p->pair.frontend), 0);
        memcpy(p->memory + 21 * PAGE, &request, sizeof(request));
        submit(p, 21, 40, 100);
        collect(p);
        assert_int_equal(p->memory[40 * PAGE], 0xff);
}

static void test_postcopy_mem_table(void **state)
{
        struct oriel_memory_region region = region_at(0, PAGES * PAGE);
        struct postcopy p;

        if (!begin(&p))
                skip();
        assert_int_equal(oriel_frontend_postcopy_set_mem_table(p.pair.frontend, &region, &p.memfd, 1, &p.base), 0);
        assert_int_not_equal(p.base, 0);
        run(&p);
        end(&p);
}

static void test_postcopy_add_mem_reg(void **state)
{
        struct oriel_memory_region region = region_at(0, PAGES * PAGE);
        struct postcopy p;

        if (!begin(&p))
                skip();
        assert_int_equal(oriel_frontend_postcopy_add_mem_reg(p.pair.frontend, &region, p.memfd, &p.base), 0);
        run(&p);
        end(&p);
}

/* A front-end that dies while the device waits for a page does not take the device with it. */
static void test_postcopy_death(void **state)
{
        struct oriel_memory_region region = region_at(0, PAGES * PAGE);
        struct postcopy p;

        if (!begin(&p))
                skip();
        assert_int_equal(oriel_frontend_postcopy_set_mem_table(p.pair.frontend, &region, &p.memfd, 1, &p.base), 0);
        assert_int_equal(oriel_frontend_postcopy_acknowledge(p.pair.frontend), 0);
        start_queue(&p);
        submit(&p, 20, 30, 100);
        assert_int_equal(wait_fault(&p), 20);
        oriel_frontend_disconnect(p.pair.frontend);
        assert_int_equal(echo_join(p.pair.echo), -ENOTCONN);
        end(&p);
}

/* Nor does one that goes away after it has asked for another userfaultfd, or has tried to take the memory back. */
static void test_postcopy_twice(void **state)
{
        struct oriel_memory_region region = region_at(0, PAGES * PAGE);
        struct postcopy p;
        int second;

        if (!begin(&p))
                skip();
        assert_int_equal(oriel_frontend_postcopy_set_mem_table(p.pair.frontend, &region, &p.memfd, 1, &p.base), 0);
        assert_int_equal(oriel_frontend_postcopy_acknowledge(p.pair.frontend), 0);
        start_queue(&p);
        submit(&p, 20, 30, 100);
        assert_int_equal(wait_fault(&p), 20);
        assert_int_equal(oriel_frontend_rem_mem_reg(p.pair.frontend, &region), -EREMOTEIO);
        assert_int_equal(oriel_frontend_postcopy_advise(p.pair.frontend, &second), 0);
        oriel_frontend_disconnect(p.pair.frontend);
        assert_int_equal(echo_join(p.pair.echo), -ENOTCONN);
        fd_close(second);
        end(&p);
}

/* A message in the wrong order is refused, and the connection lives. */
static void test_postcopy_order(void **state)
{
        struct oriel_memory_region region = region_at(0, PAGES * PAGE);
        struct pair pair;
        uint64_t base;
        int fault_fd, memfd = make_memory(PAGES * PAGE);

        pair_open(&pair, &quiet, WANTED);
        if (!(oriel_frontend_protocol_features(pair.frontend) & F(PAGEFAULT))) {
                pair_close(&pair);
                fd_close(memfd);
                skip();
        }
        assert_int_equal(oriel_frontend_postcopy_listen(pair.frontend), -EREMOTEIO);
        assert_int_equal(oriel_frontend_postcopy_set_mem_table(pair.frontend, &region, &memfd, 1, &base), -EINVAL);
        assert_int_equal(oriel_frontend_postcopy_acknowledge(pair.frontend), -EINVAL);
        assert_int_equal(oriel_frontend_postcopy_advise(pair.frontend, &fault_fd), 0);
        assert_int_equal(oriel_frontend_set_mem_table(pair.frontend, &region, &memfd, 1), 0);
        assert_int_equal(oriel_frontend_postcopy_listen(pair.frontend), -EREMOTEIO);
        assert_int_equal(oriel_frontend_set_mem_table(pair.frontend, NULL, NULL, 0), 0);
        assert_int_equal(oriel_frontend_postcopy_listen(pair.frontend), 0);
        assert_int_equal(oriel_frontend_postcopy_end(pair.frontend), 0);
        assert_int_equal(oriel_frontend_set_mem_table(pair.frontend, &region, &memfd, 1), 0);
        pair_close(&pair);
        fd_close(fault_fd);
        fd_close(memfd);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_postcopy_mem_table), counted_test(test_postcopy_add_mem_reg),
                counted_test(test_postcopy_death),     counted_test(test_postcopy_twice),
                counted_test(test_postcopy_order),
        };

        return run_counted("session-postcopy", tests);
}
