/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef PROGRAM_PRINTABLE_H
#define PROGRAM_PRINTABLE_H

/* What a stranger has named, made safe for a terminal and for JSON: each character that can't be shown as a part of a
 * line, or controls how it is shown, and each byte that is not UTF-8, becomes a question mark. Never longer. */
void make_printable(char *text);

#endif
