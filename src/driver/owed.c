/* SPDX-License-Identifier: BSD-2-Clause */

/* Requests that follow from the back-end's own: a mapping is announced as memory, an IOTLB entry was missed. They are
 * made at once, but not while a driver that does not wait is brought up. The front-end tells of such events between two
 * calls; the driver then has its next step to begin, and one call can be under way at a time. So they are noted in a
 * list, and made in its order before the next step. */

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "driver/driver.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

/* More than a back-end has slots for memory. */
#define MAX_OWED 1024

struct owed_request {
        TAILQ_ENTRY(owed_request) entry;
        event_request *make;
        uint8_t shmid;
        struct oriel_mapping *mapping;
        int fd;
};

static void owed_request_free(struct owed_request *owed)
{
        oriel_mapping_unref(owed->mapping);
        fd_close(owed->fd);
        free(owed);
}

static void owe_request(struct oriel_driver *driver, event_request *make, uint8_t shmid, struct oriel_mapping *mapping,
                        int fd)
{
        struct owed_request *owed = driver->n_owed < MAX_OWED ? calloc(1, sizeof(*owed)) : NULL;

        if (!owed) {
                if (!driver->slots_ran_out)
                        log_warning(&driver->log, "the back-end asks for too much at its start: buffers in windows may "
                                                  "not work");
                driver->slots_ran_out = true;
                return;
        }
        *owed = (struct owed_request){
                .make = make,
                .shmid = shmid,
                .mapping = mapping ? oriel_mapping_ref(mapping) : NULL,
                .fd = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0),
        };
        TAILQ_INSERT_TAIL(&driver->owed_requests, owed, entry);
        driver->n_owed++;
}

void request_for_event(struct oriel_driver *driver, event_request *make, uint8_t shmid, struct oriel_mapping *mapping,
                       int fd)
{
        if (driver->options.nonblocking && driver->state != ORIEL_DRIVER_UP)
                owe_request(driver, make, shmid, mapping, fd);
        else
                make(driver, shmid, mapping, fd);
}

/* Takes the oldest. */
static struct owed_request *take_owed_request(struct oriel_driver *driver)
{
        struct owed_request *owed = TAILQ_FIRST(&driver->owed_requests);

        TAILQ_REMOVE(&driver->owed_requests, owed, entry);
        driver->n_owed--;
        return owed;
}

int make_owed_requests(struct oriel_driver *driver)
{
        while (!TAILQ_EMPTY(&driver->owed_requests)) {
                const struct owed_request *owed = TAILQ_FIRST(&driver->owed_requests);
                int r = owed->make(driver, owed->shmid, owed->mapping, owed->fd);

                /* A refusal was logged, and is no reason to end. */
                if (r == -EINPROGRESS || !oriel_frontend_connected(driver->frontend))
                        return r < 0 ? r : -ENOTCONN;
                owed_request_free(take_owed_request(driver));
        }
        return 0;
}

void forget_owed_requests(struct oriel_driver *driver)
{
        while (!TAILQ_EMPTY(&driver->owed_requests))
                owed_request_free(take_owed_request(driver));
}
