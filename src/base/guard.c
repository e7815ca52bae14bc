/* SPDX-License-Identifier: BSD-2-Clause */

/* A table of address ranges, and the handler of SIGBUS that looks them up. An access to a mapped file behind the file's
 * end is SIGBUS; if the address is in a guarded range, the handler maps zeros over that page and returns, and the
 * access is repeated. Otherwise it installs the action that was there before, which then handles the repeated access;
 * if that one hands it back, the default action does, which ends the process. The table has a fixed size and is
 * lock-free, since the handler may run at any instruction of any thread: guard_add() reserves a slot by
 * compare-and-exchange and sets its start last, guard_remove() clears the start. Mappings of guest memory and windows
 * are added where they are made, whether a handler is installed or not. */

#include "base/guard.h"
#include "base/map.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

/* Room for a back-end's memory slots, for regions of older tables that popped buffers keep alive, and for windows. */
#define SLOTS    8192
#define RESERVED 1 /* a start that no range can have */

#define LARGEST_PAGE (UINT64_C(16) << 30) /* the largest of hugetlbfs on any machine */

/* A slot is in use while its start is an address: neither 0 nor RESERVED. */
static struct {
        atomic_uintptr_t start;
        atomic_size_t size;
} slots[SLOTS];

static struct sigaction before;
static uintptr_t page_size;
static atomic_bool installed;
static atomic_uintptr_t passed_on; /* the access that `before` was installed for; 0: none */

int guard_add(void *address, size_t size)
{
        for (size_t i = 0; i < SLOTS; i++) {
                uintptr_t empty = 0;

                if (atomic_load(&slots[i].start) == 0 &&
                    atomic_compare_exchange_strong(&slots[i].start, &empty, RESERVED)) {
                        atomic_store(&slots[i].size, size);
                        atomic_store(&slots[i].start, (uintptr_t)address);
                        return 0;
                }
        }
        return atomic_load(&installed) ? -ENOSPC : 0;
}

void guard_remove(void *address)
{
        for (size_t i = 0; i < SLOTS; i++)
                if (atomic_load(&slots[i].start) == (uintptr_t)address) {
                        atomic_store(&slots[i].start, 0);
                        return;
                }
}

/* The guarded range that has @address in it. The slot of the access's own range does not change, as that is in use; but
 * another one may be given to another range between the two reads, whose size then does not belong to the start. */
static bool find_guarded(uintptr_t address, uintptr_t *start, uintptr_t *end)
{
        for (size_t i = 0; i < SLOTS; i++) {
                *start = atomic_load(&slots[i].start);
                *end = *start + atomic_load(&slots[i].size);
                if (*start > RESERVED && address >= *start && address < *end && atomic_load(&slots[i].start) == *start)
                        return true;
        }
        return false;
}

/* Maps zeros over the page that has @address. Only whole huge pages can be replaced, so sizes are tried in ascending
 * order: the kernel refuses with EINVAL those below the size of the pages there. */
static bool guard_put_zeros(uintptr_t address, uintptr_t start, uintptr_t end)
{
        for (uintptr_t size = page_size; size > 0 && size <= LARGEST_PAGE; size *= 2) {
                uintptr_t page = address & ~(size - 1);

                if (page < start || end - page < size)
                        return false;

                int r = map_over((void *)page, size, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

                if (r != -EINVAL)
                        return r == 0;
        }
        return false;
}

/* A handler that was installed over ours, before guard_install() was called again, may hand on to ours what it does not
 * know, as ours to it: without end, if nothing shows that this thread's access was here before. */
static void pass_on(uintptr_t address)
{
        const uintptr_t access = address ^ (uintptr_t)pthread_self();
        const struct sigaction end = {.sa_handler = SIG_DFL};

        sigaction(SIGBUS, atomic_exchange(&passed_on, access) == access ? &end : &before, NULL);
}

static void guard_handle(int number, siginfo_t *info, void *context)
{
        uintptr_t address = (uintptr_t)info->si_addr, start, end;
        int saved = errno;

        /* The access is repeated after the return: it finds the zeros, or SIGBUS goes to the handler from before. */
        if (!find_guarded(address, &start, &end) || !guard_put_zeros(address, start, end))
                pass_on(address);
        errno = saved;
}

/* Installed again if the program has replaced our handler since the last call. */
static int guard_install_handler(void)
{
        struct sigaction action = {.sa_sigaction = guard_handle, .sa_flags = SA_SIGINFO | SA_RESTART}, now;

        if (sigaction(SIGBUS, NULL, &now) < 0)
                return -errno;
        if (now.sa_flags & SA_SIGINFO && now.sa_sigaction == guard_handle)
                return 0;
        before = now;
        page_size = (uintptr_t)sysconf(_SC_PAGESIZE);
        sigemptyset(&action.sa_mask);
        atomic_store(&passed_on, 0);
        if (sigaction(SIGBUS, &action, NULL) < 0)
                return -errno;
        atomic_store(&installed, true);
        return 0;
}

int guard_install(void)
{
        static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

        pthread_mutex_lock(&lock);

        int r = guard_install_handler();

        pthread_mutex_unlock(&lock);
        return r;
}
