/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_TESTS_H
#define GUEST_TESTS_H

/* One is run, by the word test=NAME of the command line. tests/programs/test_run.py is the host's half of each. */
void test_config(void);
void test_crash(void);
void test_cycles(void);
void test_demo(void);
void test_hostile(void);
void test_interrupts(void);
void test_media(void);
void test_objects(void);
void test_readonly(void);
void test_reset(void);
void test_restart(void);
void test_scan(void);
void test_start(void);
void test_truncate(void);
void test_two(void);
void test_wait(void);
void test_window(void);

#endif
