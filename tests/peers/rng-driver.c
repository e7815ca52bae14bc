/* SPDX-License-Identifier: BSD-2-Clause */

/* A driver of virtio-rng in user space: rng-driver SOCKET BYTES writes that many bytes of the device to standard
 * output, of which several buffers, each in two parts, are on their way at once. */

#include "program/report.h"

#include <errno.h>
#include <oriel/driver.h>
#include <oriel/socket.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

enum { BUFFERS = 4, SIZE = 4096 };

static int submit(struct oriel_driver *driver, void *buffer)
{
        const struct iovec out[] = {{buffer, SIZE / 2}, {(uint8_t *)buffer + SIZE / 2, SIZE / 2}};
        int r = oriel_driver_submit(driver, 0, NULL, 0, out, 2, buffer);

        return r < 0 ? r : oriel_driver_kick(driver, 0);
}

/* 1: @buffer has come back with @size bytes. */
static int collect(struct oriel_driver *driver, void **buffer, uint32_t *size)
{
        int r = oriel_driver_collect(driver, 0, buffer, size);

        while (r == 0) {
                r = oriel_driver_wait(driver, 0, -1);
                if (r == 0)
                        r = oriel_driver_collect(driver, 0, buffer, size);
        }
        return r;
}

static int read_all(struct oriel_driver *driver, size_t left)
{
        uint8_t *memory = oriel_driver_alloc(driver, BUFFERS * SIZE);
        int r = memory ? 0 : -ENOMEM;

        for (unsigned i = 0; r == 0 && i < BUFFERS; i++)
                r = submit(driver, memory + i * SIZE);
        while (r >= 0 && left > 0) {
                uint32_t size;
                void *buffer;

                r = collect(driver, &buffer, &size);
                if (r < 0)
                        break;
                if (size == 0 || size > SIZE)
                        return -EPROTO;
                fwrite(buffer, 1, MIN(size, left), stdout);
                left -= MIN(size, left);
                memset(buffer, 0, SIZE);
                r = submit(driver, buffer);
        }
        return r;
}

int main(int argc, char **argv)
{
        const struct oriel_driver_options options = {.struct_size = sizeof(options), .queues = 1};
        struct oriel_driver *driver;
        int r = argc == 3 ? oriel_driver_new(&options, oriel_socket_connect(argv[1]), &driver) : -EINVAL;

        if (r < 0)
                return fail("%s", strerror(-r));
        r = read_all(driver, strtoul(argv[2], NULL, 10));
        oriel_driver_free(driver);
        return r < 0 ? fail("%s", strerror(-r)) : finish_output(STATUS_SUCCESS);
}
