/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BASE_FOOTPRINT_H
#define BASE_FOOTPRINT_H

/* Unmap the pages of the libraries' files that starting up has touched: what is used again comes back from the page
 * cache by itself. For a process that waits most of its life. Any thread. */
void footprint_trim(void);

#endif
