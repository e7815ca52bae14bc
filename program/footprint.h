/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef PROGRAM_FOOTPRINT_H
#define PROGRAM_FOOTPRINT_H

/* Gives back memory that the start-up took: freed heap, and touched pages of the libraries' files, which return from
 * the page cache when needed. For a process that mostly waits. Any thread. */
void footprint_trim(void);

#endif
