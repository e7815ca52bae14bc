/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef PROGRAM_FOOTPRINT_H
#define PROGRAM_FOOTPRINT_H

/* Give back what starting up took: memory that was freed, and the pages of the libraries' files that were touched,
 * which come back from the page cache by themselves. For a process that waits most of its life. Any thread. */
void footprint_trim(void);

#endif
