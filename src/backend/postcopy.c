/* SPDX-License-Identifier: BSD-2-Clause */

/* Postcopy migration: guest memory is used before its contents have arrived. POSTCOPY_ADVISE opens a userfaultfd and
 * passes a copy to the front-end; between POSTCOPY_LISTEN and POSTCOPY_END the regions of SET_MEM_TABLE or ADD_MEM_REG
 * are registered with it before any thread uses them, and the reply has their addresses in this process. From then on
 * the front-end fills each page that a thread faults on. It acknowledges that reply with a message of its own, which
 * has no answer (postcopy_acknowledged()). Unregistering, also by the end of the connection, wakes all threads that
 * wait for a page. On the dispatching thread; only the faults are on any. */

#include "backend/backend.h"
#include "base/fd.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* vhost-user, "Migration": the back-end's accesses to pages that have not come yet wait until the front-end, which
 * holds the userfaultfd, has put them there. That descriptor is of the whole address space: the front-end may register,
 * and fill, whatever it likes of the process. So a device has to ask for it, no program of Oriel's does, and the system
 * calls are in no filter. */

static int open_userfaultfd(void)
{
        struct uffdio_api api = {.api = UFFD_API};
        int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

        if (fd < 0)
                return -errno;
        if (ioctl(fd, UFFDIO_API, &api) < 0) {
                fd_close(fd);
                return -ENOSYS;
        }
        return fd;
}

/* Unprivileged processes may lack the right: vm.unprivileged_userfaultfd. */
bool postcopy_possible(void)
{
        int fd = open_userfaultfd();

        fd_close(fd);
        return fd >= 0;
}

void postcopy_close(struct oriel_backend *backend)
{
        backend->fault_fd = fd_close(backend->fault_fd);
        backend->agreement.postcopy = false;
        backend->bases_unread = false;
}

/* Wakes all threads that wait for a page; they continue with the present contents. */
void postcopy_unregister(struct oriel_backend *backend)
{
        for (unsigned i = 0; backend->fault_fd >= 0 && i < oriel_memory_count(backend->memory); i++) {
                struct oriel_memory_region region;
                void *host;

                oriel_memory_get(backend->memory, i, &region, &host);

                struct uffdio_range range = {(uintptr_t)host, region.size};

                ioctl(backend->fault_fd, UFFDIO_UNREGISTER, &range);
        }
        postcopy_close(backend);
}

int handle_postcopy_advise(struct oriel_backend *backend, struct message *request, struct message *reply,
                           struct complaint *why)
{
        int fd = open_userfaultfd(), theirs = fd < 0 ? fd : fd_dup(fd);

        if (theirs < 0) {
                complain(why, "POSTCOPY_ADVISE: no userfaultfd: %s", strerror(-theirs));
                fd_close(fd);
                return theirs;
        }
        postcopy_unregister(backend);
        backend->fault_fd = fd;
        reply->fds[reply->n_fds++] = theirs;
        return 0;
}

int handle_postcopy_listen(struct oriel_backend *backend, struct message *request, struct message *reply,
                           struct complaint *why)
{
        if (backend->fault_fd < 0 || oriel_memory_count(backend->memory) > 0) {
                complain(why, "POSTCOPY_LISTEN: %s",
                         backend->fault_fd < 0 ? "POSTCOPY_ADVISE has to come first"
                                               : "there are memory regions already");
                return -EINVAL;
        }
        backend->agreement.postcopy = true;
        return 0;
}

int handle_postcopy_end(struct oriel_backend *backend, struct message *request, struct message *reply,
                        struct complaint *why)
{
        postcopy_unregister(backend);
        message_set_u64(reply, 0);
        return 0;
}

bool postcopy_acknowledged(struct oriel_backend *backend, const struct message *request)
{
        bool acknowledged = backend->bases_unread && request->header.size == sizeof(uint64_t) && request->n_fds == 0;

        if (acknowledged)
                backend->bases_unread = false;
        return acknowledged;
}

static int find_host(const struct oriel_memory *memory, const struct oriel_wire_memory_region *wire, uint64_t *host)
{
        for (unsigned i = 0; i < oriel_memory_count(memory); i++) {
                struct oriel_memory_region region;
                void *address;

                oriel_memory_get(memory, i, &region, &address);
                if (region.guest_address == wire->guest_address) {
                        *host = (uintptr_t)address;
                        return 0;
                }
        }
        return -ENOENT;
}

/* Registers the region for faults, and sets its user address to this process's address. */
static int register_region(const struct oriel_backend *backend, const struct oriel_memory *memory,
                           struct oriel_wire_memory_region *wire)
{
        struct uffdio_register ask = {.range.len = wire->size, .mode = UFFDIO_REGISTER_MODE_MISSING};
        uint64_t host;
        int r = find_host(memory, wire, &host);

        if (r < 0)
                return r;
        ask.range.start = host;
        if (ioctl(backend->fault_fd, UFFDIO_REGISTER, &ask) < 0)
                return -errno;
        wire->user_address = host;
        return 0;
}

int postcopy_register(struct oriel_backend *backend, const struct oriel_memory *memory_table,
                      const struct message *request, struct message *reply)
{
        bool one = request->header.request == ORIEL_FRONTEND_ADD_MEM_REG;
        struct oriel_wire_memory memory;
        struct oriel_wire_mem_reg mem_reg;
        int r = 0;

        if (!backend->agreement.postcopy)
                return 0;
        message_get(request, &memory, sizeof(memory));
        message_get(request, &mem_reg, sizeof(mem_reg));
        if (one)
                r = register_region(backend, memory_table, &mem_reg.region);
        for (unsigned i = 0; !one && r == 0 && i < memory.num_regions; i++)
                r = register_region(backend, memory_table, &memory.regions[i]);
        if (r < 0)
                return r;
        message_set(reply, one ? (const void *)&mem_reg : (const void *)&memory, request->header.size);
        backend->bases_unread = true;
        return 0;
}
