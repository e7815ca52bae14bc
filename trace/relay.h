/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TRACE_RELAY_H
#define TRACE_RELAY_H

#include "trace/record.h"

/* One session between a front-end and a back-end, from their connections to the end of both. */

/* Takes @frontend and @backend, the sockets to the peers. Passes data on and records it into @log, as session number
 * @session, until both have closed or @stop becomes readable (-1: never). 0, or a negative errno. */
int relay_run(int frontend, int backend, int stop, struct record_log *log, unsigned session);

#endif
