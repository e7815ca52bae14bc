/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef PROGRAM_PRINTABLE_H
#define PROGRAM_PRINTABLE_H

/* Makes text from an untrusted source safe for a terminal and for JSON: every character that is not printable within a
 * line, or that changes how the line is shown, and every byte that is not UTF-8, becomes a question mark. Never
 * longer. */
void make_printable(char *text);

#endif
