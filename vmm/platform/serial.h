/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VMM_PLATFORM_SERIAL_H
#define VMM_PLATFORM_SERIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A 16550A serial port. It knows neither a bus nor a file. Any thread. */
struct serial;

struct serial_ops {
        /* The guest has sent this. Must not block for long; called with the port's lock held. */
        void (*output)(void *userdata, const uint8_t *data, size_t size);
        /* The level of the interrupt pin has changed. With the lock, too: in the order of the changes. */
        void (*interrupt)(void *userdata, bool level);
        /* There is room for input again, after serial_input() did not take all. Without the lock, on the thread of the
         * guest's access or of serial_reset(). May be NULL. */
        void (*room)(void *userdata);
};

int serial_new(const struct serial_ops *ops, void *userdata, struct serial **out);
void serial_free(struct serial *serial);
/* As after power-on; input that waits is dropped. */
void serial_reset(struct serial *serial);
/* As the access of a struct bus_device: to the register at @offset (0 to 7) of @serial. Accesses of more than one byte
 * reach the first register only; what is read is then zero-extended. */
void serial_access(void *serial, uint64_t offset, void *data, unsigned size, bool write);
/* For the guest to receive: how many of @size bytes were taken. */
size_t serial_input(struct serial *serial, const uint8_t *data, size_t size);

#endif
