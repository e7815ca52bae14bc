/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TESTS_HOSTILE_ROWS_H
#define TESTS_HOSTILE_ROWS_H

#include <oriel/protocol.h>

/* Whether a request of the row is answered by an acknowledgement, if by anything; nobody here is in postcopy mode. */
static inline bool is_acknowledged(const struct oriel_message_row *row)
{
        return row->reply == ORIEL_REPLY_WHEN_ASKED || row->reply == ORIEL_REPLY_POSTCOPY;
}

#endif
