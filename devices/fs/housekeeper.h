/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_HOUSEKEEPER_H
#define DEVICES_FS_HOUSEKEEPER_H

struct fs;
struct housekeeper;

/* Starts the thread for work without a request: see fs_retry_locks() and the functions after it in fs.h. @fs
 * outlives it. */
int housekeeper_start(struct fs *fs, struct housekeeper **out);
void housekeeper_stop(struct housekeeper *keeper); /* NULL is accepted */

#endif
