/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CLI_TRACE_PAGE_H
#define CLI_TRACE_PAGE_H

/* The page @html of what is in @recording. The exit status; what has failed is reported in words, and has left @html as
 * it was. */
int render_page(const char *recording, const char *html);

#endif
