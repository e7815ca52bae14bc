/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_MEDIA_DECODER_BROKER_H
#define DEVICES_MEDIA_DECODER_BROKER_H

/* Starts the process that starts codec processes, and asks for one to see which codecs there are. Call it before a
 * sandbox, with the action of its filter (enum filter_action). *@codecs is a mask of enum codec. Returns the
 * broker's socket, the caller's, or a negative errno. -ENOENT: there is no such program. -EPIPE: it does not run. */
int codec_broker_start(unsigned action, unsigned *codecs);
/* Starts a codec process. Returns its socket, the caller's, or a negative errno. Closing or shutting down the socket
 * ends the process. It says ANSWER_HELLO, or nothing if it could not be started. */
int codec_broker_spawn(int broker);

#endif
