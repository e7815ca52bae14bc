/* SPDX-License-Identifier: BSD-2-Clause */

/* Cases for negotiation: features and protocol features in the orders that the specification allows, bits that were
 * not offered, status, number of queues, and requests whose feature was not negotiated. Those that need another
 * negotiation than the usual one open a second connection (back_open(), back_reopen()). A peer may ignore what was not
 * negotiated: then SILENT is an allowed answer.
 *
 * A case begins on a connection of its own with features negotiated (run() in cases.c), and has passed only if the
 * process lives afterwards. */

#include "conform/backend/backend.h"

#include <inttypes.h>
#include <linux/virtio_config.h>

static enum verdict trial_get_features(struct trial *trial)
{
        struct back_end *b = trial->back_end;
        uint64_t features;

        if (back_open(b) < 0)
                return fails(trial, "no second connection");
        return expect(trial, "GET_FEATURES", back_get(b, ORIEL_FRONTEND_GET_FEATURES, &features), BIT(DONE));
}

static enum verdict protocol_features_first(struct trial *trial)
{
        struct back_end *b = trial->back_end;
        uint64_t features;

        if (!b->agreement.offers_protocol_features)
                return skips(trial, "VHOST_USER_F_PROTOCOL_FEATURES is not offered");
        if (back_open(b) < 0)
                return fails(trial, "no second connection");
        if (expect(trial, "GET_FEATURES", back_get(b, ORIEL_FRONTEND_GET_FEATURES, &features), BIT(DONE)) != PASSED)
                return FAILED;
        b->agreement.offers_protocol_features = true;
        if (expect(trial, "GET_PROTOCOL_FEATURES", back_get(b, ORIEL_FRONTEND_GET_PROTOCOL_FEATURES, &features),
                   BIT(DONE)) != PASSED)
                return FAILED;
        features &= ORIEL_FEATURE(ORIEL_PROTOCOL_F_REPLY_ACK);
        return expect(trial, "SET_PROTOCOL_FEATURES", back_ask_u64(b, ORIEL_FRONTEND_SET_PROTOCOL_FEATURES, features),
                      ACCEPTED);
}

static enum verdict trial_set_features(struct trial *trial)
{
        return expect(trial, "SET_FEATURES", back_set_features(trial->back_end), ACCEPTED);
}

static enum verdict set_unoffered(struct trial *trial)
{
        struct back_end *b = trial->back_end;
        bool protocol = trial->row->argument == ORIEL_FRONTEND_SET_PROTOCOL_FEATURES;
        uint64_t offered = protocol ? b->offered : b->features, lowest = ~offered & -~offered;
        uint64_t features = offered | (protocol ? UINT64_C(1) << 63 : lowest);

        if (offered == UINT64_MAX)
                return skips(trial, "everything is offered");
        /* In-band notifications without the features that they need may end the connection for another reason. */
        if (protocol)
                features &= ~ORIEL_FEATURE(ORIEL_PROTOCOL_F_INBAND_NOTIFICATIONS);
        return expect(trial, "unoffered bits", back_ask_u64(b, trial->row->argument, features), EITHER);
}

static enum verdict inband_alone(struct trial *trial)
{
        struct back_end *b = trial->back_end;
        uint64_t features = ORIEL_FEATURE(ORIEL_PROTOCOL_F_INBAND_NOTIFICATIONS);

        if (!back_reopen(b, UINT64_MAX))
                return fails(trial, "no second connection");
        return expect(trial, "SET_PROTOCOL_FEATURES", back_ask_u64(b, ORIEL_FRONTEND_SET_PROTOCOL_FEATURES, features),
                      BIT(CLOSED));
}

static enum verdict status_get(struct trial *trial)
{
        static const uint64_t steps[] = {VIRTIO_CONFIG_S_ACKNOWLEDGE,
                                         VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER, 0};
        struct back_end *b = trial->back_end;
        uint64_t status;

        for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
                if (expect(trial, "SET_STATUS", back_ask_u64(b, ORIEL_FRONTEND_SET_STATUS, steps[i]), ACCEPTED) !=
                    PASSED)
                        return FAILED;
                if (expect(trial, "GET_STATUS", back_get(b, ORIEL_FRONTEND_GET_STATUS, &status), BIT(DONE)) != PASSED)
                        return FAILED;
                if (status != steps[i])
                        return fails(trial, "status 0x%" PRIx64 " was set, 0x%" PRIx64 " is told", steps[i], status);
        }
        return PASSED;
}

static enum verdict backend_not_negotiated(struct trial *trial)
{
        struct back_end *b = trial->back_end;
        uint64_t feature = ORIEL_FEATURE(trial->row->feature);

        if (!back_reopen(b, feature))
                return fails(trial, "no second connection");
        return expect(trial, "the request", back_ask_with(b, trial->row->argument, NULL, 0), EITHER | BIT(SILENT));
}

static const struct conform_case rows[] = {
        {"get-features", "VHOST_USER_GET_FEATURES", trial_get_features, NO_FEATURE, 0,
         "GET_FEATURES as the very first message", "a reply with a u64"},
        {"protocol-features-before-features", "VHOST_USER_GET_PROTOCOL_FEATURES", protocol_features_first, NO_FEATURE,
         0, "GET_ and SET_PROTOCOL_FEATURES before any SET_FEATURES", "both are served"},
        {"set-features", "VHOST_USER_SET_FEATURES", trial_set_features, NO_FEATURE, 0,
         "SET_FEATURES with VERSION_1, if offered", "accepted"},
        {"set-features-unoffered", ROBUSTNESS, set_unoffered, NO_FEATURE, ORIEL_FRONTEND_SET_FEATURES,
         "SET_FEATURES with a bit that was not offered", "refused, closed or ignored; the process lives"},
        {"set-protocol-features-unoffered", ROBUSTNESS, set_unoffered, NO_FEATURE, ORIEL_FRONTEND_SET_PROTOCOL_FEATURES,
         "SET_PROTOCOL_FEATURES with bit 63", "refused, closed or ignored; the process lives"},
        {"inband-without-its-partners", "In-band notifications", inband_alone, ORIEL_PROTOCOL_F_INBAND_NOTIFICATIONS, 0,
         "SET_PROTOCOL_FEATURES with INBAND_NOTIFICATIONS, without BACKEND_REQ and REPLY_ACK",
         "the connection is closed"},
        {"queue-num", "VHOST_USER_GET_QUEUE_NUM", back_try_count, ORIEL_PROTOCOL_F_MQ, ORIEL_FRONTEND_GET_QUEUE_NUM,
         "GET_QUEUE_NUM", "more than 0", .with = "queues"},
        {"status", "VHOST_USER_GET_STATUS", status_get, ORIEL_PROTOCOL_F_STATUS, 0,
         "SET_STATUS, then GET_STATUS, with ACKNOWLEDGE, DRIVER and 0", "GET_STATUS tells what was set"},
        {"reset-owner", "VHOST_USER_RESET_OWNER", back_try, NO_FEATURE, ORIEL_FRONTEND_RESET_OWNER, "RESET_OWNER",
         "ignored, or all rings are disabled; the process lives", EITHER},
        {"queue-num-not-negotiated", ROBUSTNESS, backend_not_negotiated, ORIEL_PROTOCOL_F_MQ,
         ORIEL_FRONTEND_GET_QUEUE_NUM, "GET_QUEUE_NUM where MQ was offered and not negotiated",
         "answered, refused, ignored or closed; the process lives"},
        {"slots-not-negotiated", ROBUSTNESS, backend_not_negotiated, ORIEL_PROTOCOL_F_CONFIGURE_MEM_SLOTS,
         ORIEL_FRONTEND_GET_MAX_MEM_SLOTS, "GET_MAX_MEM_SLOTS where CONFIGURE_MEM_SLOTS was not negotiated",
         "answered, refused, ignored or closed; the process lives"},
        {"regions-not-negotiated", ROBUSTNESS, backend_not_negotiated, ORIEL_PROTOCOL_F_SHMEM_MAP,
         ORIEL_FRONTEND_GET_SHMEM_CONFIG, "GET_SHMEM_CONFIG where SHMEM_MAP was not negotiated",
         "answered, refused, ignored or closed; the process lives"},
};

const struct conform_group backend_negotiation_cases = GROUP(rows);
