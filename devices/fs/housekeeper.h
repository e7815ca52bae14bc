/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_HOUSEKEEPER_H
#define DEVICES_FS_HOUSEKEEPER_H

struct fs;
struct housekeeper;

/* Start the thread that does what no request does: see the chores in fs.h. @fs outlives it. */
int housekeeper_start(struct fs *fs, struct housekeeper **out);
void housekeeper_stop(struct housekeeper *keeper); /* NULL is accepted */

#endif
