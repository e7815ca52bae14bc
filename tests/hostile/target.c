/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/hostile/target.h"
#include "base/cleanup.h"
#include "base/fd.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

void target_open(struct target *target)
{
        const struct echo_options options = {
                .queues = QUEUES, .protocol_features = PASSED, .window = 1 << 20, .quiet = true};

        target->echo = echo_new(&options);
        assert_non_null(target->echo);
        target->socket = -1;
        target->fd = make_memory(4 * PAGE);
}

void target_close(struct target *target)
{
        echo_free(target->echo);
        fd_close(target->fd);
}

void say(struct target *target, uint32_t request, uint64_t value, uint32_t size)
{
        struct raw raw;

        raw_init_u64s(&raw, request, &value, size);
        assert_true(raw_send(target->socket, &raw));
}

void connect_to(struct target *target, uint64_t protocol_features, uint64_t features)
{
        int fds[2];

        atomic_store(&echo_counts(target->echo)->errors, 0);
        assert_int_equal(make_socketpair(fds), 0);
        target->socket = fds[0];
        assert_int_equal(echo_serve(target->echo, fds[1]), 0);
        say(target, ORIEL_FRONTEND_SET_PROTOCOL_FEATURES, protocol_features, 8);
        say(target, ORIEL_FRONTEND_SET_FEATURES, VIRTIO | features, 8);
}

bool is_alive(struct target *target)
{
        struct raw reply;

        say(target, ORIEL_FRONTEND_GET_FEATURES, 0, 0);
        return raw_receive(target->socket, &reply, 10000) == OUTCOME_REFUSED &&
               reply.header.request == ORIEL_FRONTEND_GET_FEATURES && reply.header.size == 8;
}

void disconnect_from(struct target *target)
{
        target->socket = fd_close(target->socket);
        echo_join(target->echo);
}

static const char *outcomes[] = {"refused", "accepted", "closed", "silence"};

void expect_refused(struct target *target, enum outcome outcome, const char *name, const char *what)
{
        if (outcome != OUTCOME_REFUSED || !is_alive(target))
                fail_msg("%s, %s: %s where a refusal is due (%s)", name, what, outcomes[outcome],
                         echo_last_error(target->echo));
}

void expect_closed(struct target *target, enum outcome outcome, const char *name, const char *what)
{
        if (outcome != OUTCOME_CLOSED)
                fail_msg("%s, %s: %s where the connection is to end", name, what, outcomes[outcome]);
        assert_int_equal(echo_join(target->echo), -EPROTO);
}

void expect_error(struct target *target, const char *name, const char *what, const char *field)
{
        unsigned errors = atomic_load(&echo_counts(target->echo)->errors);
        const char *error = echo_last_error(target->echo);

        if (errors != 1 || !strstr(error, field))
                fail_msg("%s, %s: %u errors, the last is '%s'", name, what, errors, error);
}
