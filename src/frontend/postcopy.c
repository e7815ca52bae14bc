/* SPDX-License-Identifier: BSD-2-Clause */
#include "frontend/frontend.h"

#include <errno.h>

int oriel_frontend_postcopy_advise(struct oriel_frontend *frontend, int *fault_fd)
{
        struct message request, reply;

        message_init(&request, ORIEL_FRONTEND_POSTCOPY_ADVISE, 0);

        int r = frontend_call(frontend, &request, &reply);

        *fault_fd = r == 0 ? message_take_fd(&reply, 0) : -1;
        message_close_fds(&reply);
        return r < 0 ? r : *fault_fd < 0 ? -EREMOTEIO : 0;
}

int oriel_frontend_postcopy_listen(struct oriel_frontend *frontend)
{
        int r = oriel_frontend_request(frontend, ORIEL_FRONTEND_POSTCOPY_LISTEN, NULL, 0, -1, NULL, NULL);

        if (r == 0)
                frontend->agreement.postcopy = true;
        return r;
}

int oriel_frontend_postcopy_set_mem_table(struct oriel_frontend *frontend, const struct oriel_memory_region *regions,
                                          const int *fds, unsigned n, uint64_t *bases)
{
        struct oriel_wire_memory memory;
        struct message reply;
        int r = frontend->agreement.postcopy ? call_set_mem_table(frontend, regions, fds, n, &reply) : -EINVAL;

        if (r < 0)
                return r;
        message_close_fds(&reply);
        message_get(&reply, &memory, sizeof(memory));
        if (memory.num_regions != n)
                return -EREMOTEIO;
        for (unsigned i = 0; i < n; i++)
                bases[i] = memory.regions[i].user_address;
        frontend->unacknowledged = ORIEL_FRONTEND_SET_MEM_TABLE;
        return 0;
}

int oriel_frontend_postcopy_add_mem_reg(struct oriel_frontend *frontend, const struct oriel_memory_region *region,
                                        int fd, uint64_t *base)
{
        struct oriel_wire_mem_reg mem_reg;
        struct message reply;
        int r = frontend->agreement.postcopy ? call_add_mem_reg(frontend, region, fd, &reply) : -EINVAL;

        if (r < 0)
                return r;
        message_close_fds(&reply);
        message_get(&reply, &mem_reg, sizeof(mem_reg));
        *base = mem_reg.region.user_address;
        frontend->unacknowledged = ORIEL_FRONTEND_ADD_MEM_REG;
        return 0;
}

/* The one message of this mode that gets no answer. */
int oriel_frontend_postcopy_acknowledge(struct oriel_frontend *frontend)
{
        struct message message;

        if (frontend->main.fd < 0)
                return -ENOTCONN;
        if (!frontend->unacknowledged)
                return -EINVAL;
        message_init(&message, frontend->unacknowledged, 0);
        message_set_u64(&message, 0);

        if (frontend->call.under_way)
                return -EBUSY;

        int r = channel_send(&frontend->main, &message, frontend->nonblocking ? 0 : now_ms() + frontend->timeout_ms);

        if (r == 0)
                message_log(&frontend->log, "to the back-end", ORIEL_FROM_FRONTEND, &message);
        if (channel_is_lost(r))
                drop_connection(frontend);
        else if (r == 0)
                frontend->unacknowledged = 0;
        return r;
}

int oriel_frontend_postcopy_end(struct oriel_frontend *frontend)
{
        uint64_t result = 0;
        uint32_t size = sizeof(result);
        int r = oriel_frontend_request(frontend, ORIEL_FRONTEND_POSTCOPY_END, NULL, 0, -1, &result, &size);

        if (r == 0)
                frontend->agreement.postcopy = false;
        return r < 0 ? r : result ? -EREMOTEIO : 0;
}
