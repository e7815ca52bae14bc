/* SPDX-License-Identifier: BSD-2-Clause */

/* A front-end and a driver that print what the back-end shows at the start of its window: frontend SOCKET */
#include <oriel/driver.h>
#include <oriel/socket.h>
#include <poll.h>
#include <stdio.h>

int main(int argc, char **argv)
{
        const struct oriel_driver_options options = {.struct_size = sizeof(options), .hole = ORIEL_HOLE_ZERO};
        struct oriel_driver *driver;

        if (argc != 2 || oriel_driver_new(&options, oriel_socket_connect(argv[1]), &driver) < 0)
                return 1;

        struct oriel_frontend *frontend = oriel_driver_frontend(driver);
        struct oriel_region *region = oriel_driver_region(driver, 0);
        struct pollfd fd = {.fd = oriel_frontend_get_fd(frontend), .events = POLLIN};

        /* The back-end's requests are answered in here. */
        while (region && oriel_region_count(region) == 0) {
                poll(&fd, 1, -1);
                if (oriel_frontend_dispatch(frontend) < 0)
                        return 1;
        }
        if (region)
                printf("%.100s", (const char *)oriel_driver_window(driver, 0, NULL));
        oriel_driver_free(driver);
        return 0;
}
