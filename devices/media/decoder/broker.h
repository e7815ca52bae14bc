/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_MEDIA_DECODER_BROKER_H
#define DEVICES_MEDIA_DECODER_BROKER_H

/* Start the process that starts processes which decode, and ask for one to see which codecs there are: before a
 * sandbox, with the action of its filter (enum filter_action). *@codecs is a mask of enum codec. The broker's socket,
 * which is the caller's, or a negative errno: -ENOENT: there is no such program. -EPIPE: it does not run. */
int codec_broker_start(unsigned action, unsigned *codecs);
/* Start one: its socket, which is the caller's, or a negative errno. It is ended when this is closed or shut down. It
 * says ANSWER_HELLO, or nothing if it could not be started. */
int codec_broker_spawn(int broker);

#endif
