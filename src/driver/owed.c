/* SPDX-License-Identifier: BSD-2-Clause */

/* Requests that follow from the back-end's own: a mapping is announced as memory, an IOTLB entry was missed. They are
 * made at once, but not while a driver that does not wait is brought up or stopped. The front-end tells of such events
 * between two calls; the driver then has its own next request to make, and one call can be under way at a time. So they
 * are noted in a list, and made in its order before that request, as a driver that waits makes them. */

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "driver/driver.h"

#include <errno.h>
#include <stdlib.h>

/* As many as the front-end keeps of events. */
#define MAX_OWED 256

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

/* Whether @mapping is announced, or will be. */
static bool is_announced(const struct oriel_driver *driver, struct oriel_mapping *mapping)
{
        const struct owed_request *owed = TAILQ_FIRST(&driver->owed_requests);

        while (owed && !(owed->mapping == mapping && owed->fd >= 0))
                owed = TAILQ_NEXT(owed, entry);
        return owed || oriel_mapping_data(mapping);
}

/* Announcements have a limit, because each keeps a descriptor. Others are as many at most as there are announcements,
 * and one for the IOTLB, whose entry is for all of memory. */
static bool may_owe(const struct oriel_driver *driver, struct oriel_mapping *mapping, int fd)
{
        if (!mapping)
                return !driver->owes_iotlb;
        return fd < 0 ? is_announced(driver, mapping) : driver->n_owed < MAX_OWED;
}

static void owe_request(struct oriel_driver *driver, event_request *make, uint8_t shmid, struct oriel_mapping *mapping,
                        int fd)
{
        struct owed_request *owed = may_owe(driver, mapping, fd) ? calloc(1, sizeof(*owed)) : NULL;
        int copy = owed && fd >= 0 ? fd_dup(fd) : -1;

        if (!owed || (fd >= 0 && copy < 0)) {
                if (fd >= 0 && !driver->slots_ran_out)
                        log_warning(&driver->log, "the back-end is told of no more mappings of its start: buffers in "
                                                  "windows may not work");
                driver->slots_ran_out |= fd >= 0;
                free(owed);
                return;
        }
        *owed = (struct owed_request){
                .make = make,
                .shmid = shmid,
                .mapping = mapping ? oriel_mapping_ref(mapping) : NULL,
                .fd = copy,
        };
        TAILQ_INSERT_TAIL(&driver->owed_requests, owed, entry);
        driver->n_owed += fd >= 0;
        driver->owes_iotlb |= !mapping;
}

void request_for_event(struct oriel_driver *driver, event_request *make, uint8_t shmid, struct oriel_mapping *mapping,
                       int fd)
{
        if (driver->options.nonblocking && driver->state != ORIEL_DRIVER_UP)
                owe_request(driver, make, shmid, mapping, fd);
        else
                make(driver, shmid, mapping, fd);
}

static void drop_owed_request(struct oriel_driver *driver, struct owed_request *owed)
{
        TAILQ_REMOVE(&driver->owed_requests, owed, entry);
        driver->n_owed -= owed->fd >= 0;
        driver->owes_iotlb &= owed->mapping != NULL;
        owed_request_free(owed);
}

int make_owed_requests(struct oriel_driver *driver)
{
        struct owed_request *owed;

        /* The bring-up's own call, which is to be made again first. */
        if (!driver->owed_begun && oriel_frontend_under_way(driver->frontend))
                return 0;
        while ((owed = TAILQ_FIRST(&driver->owed_requests))) {
                int r = owed->make(driver, owed->shmid, owed->mapping, owed->fd);

                driver->owed_begun = r == -EINPROGRESS;
                if (is_unfinished(r))
                        return -EINPROGRESS;
                /* A refusal was logged, and is no reason to end. */
                if (!oriel_frontend_connected(driver->frontend))
                        return r < 0 ? r : -ENOTCONN;
                drop_owed_request(driver, owed);
        }
        return 0;
}

void forget_owed_requests(struct oriel_driver *driver)
{
        while (!TAILQ_EMPTY(&driver->owed_requests))
                drop_owed_request(driver, TAILQ_FIRST(&driver->owed_requests));
        driver->owed_begun = false;
}
