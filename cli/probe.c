/* SPDX-License-Identifier: BSD-2-Clause */

/* "oriel probe": connects to a back-end and prints what it offers, as text or JSON. It negotiates all protocol
 * features that the library has, except in-band notifications, then asks for queues, memory slots, shared memory
 * regions and config space, each where its feature is offered. Answers are noted as they come, so that they are
 * printed even if a later one breaks a rule. Each reply has a time limit, and SIGALRM ends the process if all
 * together take too long. */

#include "base/cleanup.h"
#include "base/log.h"
#include "cli/commands.h"
#include "program/options.h"
#include "program/report.h"
#include "program/socket_file.h"

#include <errno.h>
#include <inttypes.h>
#include <json.h>
#include <oriel/frontend.h>
#include <oriel/socket.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define TIMEOUT_MS  4000
#define LIMIT_S     5
#define CONFIG_SIZE 64

static bool as_json;
static bool verbose;
static const char *dialect;
static unsigned device_id;

static const struct option_row rows[] = {
        {"json", OPTION_FLAG, &as_json, NULL, "print one JSON object"},
        {"dialect", OPTION_STRING, &dialect, "NAME", "the back-end's number for SHMEM: standard, shmem-21, shmem-20"},
        {"virtio-id", OPTION_NUMBER, &device_id, "N", "name the features of this device type too"},
        {"verbose", OPTION_FLAG, &verbose, NULL, "say more"},
};

static const struct program program = {
        .name = "oriel probe",
        .operands = "SOCKET",
        .summary = "Connect to a vhost-user back-end and print what it offers: features by name, queues,\n"
                   "config space and shared memory regions. The back-end is not started.",
        .rows = rows,
        .n_rows = ARRAY_SIZE(rows),
        .min_operands = 1,
        .max_operands = 1,
};

/* The back-end's answers so far. */
struct findings {
        bool negotiated;
        uint64_t device_features;
        uint64_t protocol_features;
        unsigned queues;
        uint8_t config[ORIEL_MAX_CONFIG];
        uint32_t config_size;
        uint64_t shmem[ORIEL_MAX_SHMIDS];
        uint64_t max_mem_slots;
};

static bool probe_has(const struct findings *findings, unsigned feature)
{
        return findings->protocol_features & ORIEL_FEATURE(feature);
}

/* No message tells how long a config space is, and back-ends refuse to read past its end: the length is found byte
 * by byte. */
static int probe_read_config(struct oriel_frontend *frontend, struct findings *findings)
{
        int r = oriel_frontend_get_config(frontend, 0, findings->config, CONFIG_SIZE);

        if (r == 0)
                findings->config_size = CONFIG_SIZE;
        while (r == -EREMOTEIO && findings->config_size < CONFIG_SIZE) {
                if (oriel_frontend_get_config(frontend, 0, findings->config, findings->config_size + 1) < 0)
                        break;
                findings->config_size++;
        }
        return r == -EREMOTEIO ? 0 : r;
}

static int probe_ask(struct oriel_frontend *frontend, struct findings *findings)
{
        int r = oriel_frontend_negotiate(frontend, oriel_frontend_supported() &
                                                           ~ORIEL_FEATURE(ORIEL_PROTOCOL_F_INBAND_NOTIFICATIONS));

        if (r < 0)
                return r;
        findings->negotiated = true;
        findings->device_features = oriel_frontend_device_features(frontend);
        findings->protocol_features = oriel_frontend_offered(frontend);
        if (probe_has(findings, ORIEL_PROTOCOL_F_MQ))
                r = oriel_frontend_get_queue_num(frontend, &findings->queues);
        if (r == 0 && probe_has(findings, ORIEL_PROTOCOL_F_CONFIGURE_MEM_SLOTS))
                r = oriel_frontend_get_max_mem_slots(frontend, &findings->max_mem_slots);
        if (r == 0 && probe_has(findings, ORIEL_PROTOCOL_F_SHMEM_MAP))
                r = oriel_frontend_get_shmem_config(frontend, findings->shmem);
        if (r == 0 && probe_has(findings, ORIEL_PROTOCOL_F_CONFIG))
                r = probe_read_config(frontend, findings);
        return r;
}

/* ---- printing ---- */

/* The name of a device feature, or with @protocol of a protocol feature. */
static const char *bit_name(bool protocol, unsigned bit, char unknown[16])
{
        const char *name = protocol ? oriel_protocol_feature_name(bit) : oriel_virtio_feature_name(device_id, bit);

        snprintf(unknown, 16, "bit %u", bit);
        return name ? name : unknown;
}

static struct json_object *names_json(uint64_t bits, bool protocol)
{
        struct json_object *array = json_object_new_array();
        char unknown[16];

        for (unsigned bit = 0; bit < 64; bit++)
                if (bits & ORIEL_FEATURE(bit))
                        json_object_array_add(array, json_object_new_string(bit_name(protocol, bit, unknown)));
        return array;
}

static void print_names(const char *title, uint64_t bits, bool protocol)
{
        bool all_named = true;
        char unknown[16];

        printf("%s (0x%" PRIx64 ")\n", title, bits);
        for (unsigned bit = 0; bit < 64; bit++)
                if (bits & ORIEL_FEATURE(bit)) {
                        const char *name = bit_name(protocol, bit, unknown);

                        printf("  %2u %s\n", bit, name);
                        all_named = all_named && name != unknown;
                }
        /* No message tells the type of the device. */
        if (!all_named && !protocol && device_id == 0)
                printf("     (those of a device type have names with --virtio-id)\n");
}

static void config_hex(const struct findings *findings, char *out)
{
        out[0] = '\0';
        for (uint32_t i = 0; i < findings->config_size; i++)
                sprintf(out + 2 * i, "%02x", findings->config[i]);
}

/* @incomplete: why answers are missing, or NULL. */
static void probe_print_json(const struct findings *findings, const char *incomplete)
{
        struct json_object *object = json_object_new_object(), *shmem = json_object_new_array();
        char hex[2 * ORIEL_MAX_CONFIG + 1];

        config_hex(findings, hex);
        for (int i = 0; i < ORIEL_MAX_SHMIDS; i++)
                if (findings->shmem[i]) {
                        struct json_object *region = json_object_new_object();

                        json_object_object_add(region, "shmid", json_object_new_int(i));
                        json_object_object_add(region, "size", json_object_new_uint64(findings->shmem[i]));
                        json_object_array_add(shmem, region);
                }
        json_object_object_add(object, "device_features", names_json(findings->device_features, false));
        json_object_object_add(object, "protocol_features", names_json(findings->protocol_features, true));
        json_object_object_add(object, "queues", json_object_new_int((int)findings->queues));
        json_object_object_add(object, "config", json_object_new_string(hex));
        json_object_object_add(object, "shmem", shmem);
        json_object_object_add(object, "max_mem_slots", json_object_new_uint64(findings->max_mem_slots));
        if (incomplete)
                json_object_object_add(object, "incomplete", json_object_new_string(incomplete));
        printf("%s\n", json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN));
        json_object_put(object);
}

static void probe_print_text(const struct findings *findings)
{
        char hex[2 * ORIEL_MAX_CONFIG + 1];

        config_hex(findings, hex);
        print_names("device features", findings->device_features, false);
        print_names("protocol features", findings->protocol_features, true);
        if (probe_has(findings, ORIEL_PROTOCOL_F_MQ))
                printf("queues %u\n", findings->queues);
        if (probe_has(findings, ORIEL_PROTOCOL_F_CONFIGURE_MEM_SLOTS))
                printf("memory slots %" PRIu64 "\n", findings->max_mem_slots);
        printf("config %s\n", findings->config_size ? hex : "none");
        for (int i = 0; i < ORIEL_MAX_SHMIDS; i++)
                if (findings->shmem[i])
                        printf("shared memory region: shmid %d, %" PRIu64 " bytes\n", i, findings->shmem[i]);
}

/* @detail: which message was wrong and how, or "". */
static int probe_explain(const char *path, int r, const char *detail)
{
        static const struct {
                int error;
                const char *words;
        } reasons[] = {
                {-ETIMEDOUT,
                 "it does not answer: it may be serving another front-end, or not be a vhost-user back-end"},
                {-ENOTCONN, "it closed the connection: it may be serving another front-end, or mean something"
                            " else by the number of a feature than --dialect says"},
                {-EPROTO, "it does not speak vhost-user as the specification has it"},
                {-EREMOTEIO, "it refused a request"},
        };

        for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
                if (reasons[i].error == r)
                        return detail[0] ? fail("%s: %s (%s)", path, reasons[i].words, detail)
                                         : fail("%s: %s", path, reasons[i].words);
        return fail("%s: %s", path, socket_words(r));
}

/* Each reply has TIMEOUT_MS; this is the limit for all of them. */
static void give_up(int number)
{
        static const char words[] = "oriel: the back-end answers too slowly: gave up after 5 s\n";

        if (write(STDERR_FILENO, words, sizeof(words) - 1) < 0)
                _exit(STATUS_FAILURE);
        _exit(STATUS_FAILURE);
}

/* Passes warnings on, and with --verbose everything; keeps the last error for probe_explain(). */
struct detail {
        struct oriel_log log;
        char text[256];
};

static void keep_detail(void *userdata, enum oriel_log_level level, const char *line)
{
        struct detail *detail = userdata;

        if (level == ORIEL_LOG_ERROR)
                snprintf(detail->text, sizeof(detail->text), "%s", line);
        if (level == ORIEL_LOG_WARNING || verbose)
                detail->log.write(detail->log.userdata, level, line);
}

static void probe_print(const struct findings *findings, const char *incomplete)
{
        if (as_json)
                probe_print_json(findings, incomplete);
        else
                probe_print_text(findings);
        fflush(stdout);
}

int command_probe(int argc, char **argv)
{
        char **operands;
        int status = options_parse(&program, argc, argv, &operands);

        if (status >= 0)
                return status;
        if (dialect && !oriel_dialect_find(dialect))
                return options_wrong_usage(&program, "--dialect: standard, shmem-21 or shmem-20");

        struct detail detail = {.log = stderr_log(verbose)};
        const struct oriel_log log = {
                .struct_size = sizeof(log),
                .write = keep_detail,
                .userdata = &detail,
                .level = verbose ? ORIEL_LOG_DEBUG : ORIEL_LOG_WARNING,
        };
        const struct oriel_frontend_options options = {
                .struct_size = sizeof(options),
                .log = &log,
                .timeout_ms = TIMEOUT_MS,
                .dialect = dialect ? oriel_dialect_find(dialect) : NULL,
        };
        struct findings findings = {0};

        signal(SIGALRM, give_up);
        alarm(LIMIT_S);

        struct oriel_frontend *frontend = NULL;
        int fd = oriel_socket_connect(operands[0]);
        int r = fd < 0 ? fd : oriel_frontend_new(&options, &frontend);

        if (r == 0)
                r = oriel_frontend_attach(frontend, fd);
        if (r == 0)
                r = probe_ask(frontend, &findings);
        oriel_frontend_free(frontend);
        if (r == 0 || findings.negotiated)
                probe_print(&findings, r < 0 ? detail.text : NULL);
        return r < 0 ? probe_explain(operands[0], r, detail.text) : STATUS_SUCCESS;
}
