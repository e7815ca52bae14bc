/* SPDX-License-Identifier: BSD-2-Clause */
/* Random operations on a file, each of which is done to a model in memory too; then file and model are compared. */
#include "fsx.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define HISTORY     20
#define FULL_CHECKS 100 /* operations from one to the next */
#define MAX_ROWS    64

static uint64_t seed = 1;
static uint64_t state;
static uint64_t number;
static char history[HISTORY][160];

/* All rows that may be used, and how often they were, or were not there. */
static const struct operation *rows[MAX_ROWS];
static uint64_t done[MAX_ROWS], refused[MAX_ROWS];
static unsigned n_rows, total_weight;

uint64_t chance(uint64_t below)
{
        /* A counter whose bits are mixed: every seed gives a sequence of its own. */
        uint64_t x = state += UINT64_C(0x9e3779b97f4a7c15);

        x = (x ^ x >> 32) * UINT64_C(0xd6e8feb86659fd93);
        x = (x ^ x >> 32) * UINT64_C(0xd6e8feb86659fd93);
        x ^= x >> 32;
        return below ? x % below : 0;
}

bool one_in(unsigned of)
{
        return chance(of) == 0;
}

void note(const char *format, ...)
{
        char *text = history[number % HISTORY];
        size_t used = strlen(text);
        va_list args;

        va_start(args, format);
        vsnprintf(text + used, sizeof(history[0]) - used, format, args);
        va_end(args);
}

void fail(const char *format, ...)
{
        va_list args;

        va_start(args, format);
        vprintf(format, args);
        va_end(args);
        printf("\nseed %llu, operation %llu; the last were\n", (unsigned long long)seed, (unsigned long long)number);
        for (uint64_t i = number < HISTORY ? 0 : number - HISTORY + 1; i <= number; i++)
                printf("%8llu %s\n", (unsigned long long)i, history[i % HISTORY]);
        fflush(stdout);
        _exit(1);
}

static void on_signal(int which)
{
        /* It ends here in any case. */
        fail("signal %d", which);
}

/* ---- the operations ---- */

static void take_rows(const struct operation *table, const struct run *run)
{
        for (; table->name; table++) {
                if ((table->when == WITH_MMAP && !run->use_mmap) || (table->when == WITH_HOST && !run->host_changes))
                        continue;
                rows[n_rows++] = table;
                total_weight += table->weight;
        }
}

static unsigned any_row(void)
{
        uint64_t at = chance(total_weight);
        unsigned row = 0;

        while (at >= rows[row]->weight)
                at -= rows[row++]->weight;
        return row;
}

static void one_operation(struct run *run)
{
        unsigned row = any_row();
        struct file *file = &run->files[one_in(5)];

        history[number % HISTORY][0] = '\0';
        note("%s %s: ", file == run->files ? "file" : "other", rows[row]->name);

        int error = rows[row]->act(run, file);

        if (error) {
                refused[row]++;
                note(" (%s)", strerror(error));
        } else {
                done[row]++;
        }
        check_size(file);
        if (number % FULL_CHECKS == 0)
                for (int i = 0; i < 2; i++)
                        check_all(&run->files[i]);
}

static double now(void)
{
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void run_for(struct run *run, uint64_t operations, double seconds)
{
        double end = now() + seconds;

        for (number = 1; operations ? number <= operations : now() < end; number++)
                one_operation(run);
        number--;
}

static void finish(struct run *run)
{
        for (int i = 0; i < 2; i++) {
                struct file *file = &run->files[i];

                drop_mapping(run, file);
                if (fsync(file->fd) < 0)
                        fail("fsync: %s", strerror(errno));
                check_all(file);
                check_host(file);
                file_close(file);
                free(file->bytes);
        }
        unlink(run->files[1].path);
}

static void print_counts(void)
{
        printf("seed %llu: %llu operations\n", (unsigned long long)seed, (unsigned long long)number);
        for (unsigned i = 0; i < n_rows; i++) {
                printf("%8llu %s", (unsigned long long)done[i], rows[i]->name);
                if (refused[i])
                        printf(", and %llu times it is not there", (unsigned long long)refused[i]);
                printf("\n");
        }
}

/* ---- from the command line ---- */

static void set_paths(struct run *run, const char *path, const char *host)
{
        static const char *const suffixes[2] = {"", ".other"};

        for (int i = 0; i < 2; i++) {
                snprintf(run->files[i].path, PATH_MAX, "%s%s", path, suffixes[i]);
                if (host)
                        snprintf(run->files[i].host, PATH_MAX, "%s%s", host, suffixes[i]);
        }
}

static void start(struct run *run)
{
        signal(SIGBUS, on_signal);
        signal(SIGSEGV, on_signal);
        state = seed;
        for (int i = 0; i < 2; i++) {
                run->files[i].bytes = calloc(1, run->max);
                if (!run->files[i].bytes)
                        fail("no memory");
                file_open(&run->files[i], O_CREAT | O_TRUNC);
        }
        take_rows(contents_operations, run);
        take_rows(space_operations, run);
        take_rows(names_operations, run);
}

int main(int argc, char **argv)
{
        static const struct option options[] = {
                {"seed", required_argument, NULL, 's'},      {"operations", required_argument, NULL, 'o'},
                {"seconds", required_argument, NULL, 't'},   {"size", required_argument, NULL, 'm'},
                {"no-mmap", no_argument, NULL, 'n'},         {"host", required_argument, NULL, 'h'},
                {"host-only-looks", no_argument, NULL, 'l'}, {0},
        };
        static struct run run = {.max = 5 << 20, .use_mmap = true};
        uint64_t operations = 0;
        double seconds = 10;
        const char *host = NULL;
        bool only_looks = false;
        int option;

        while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
                switch (option) {
                case 's':
                        seed = strtoull(optarg, NULL, 0);
                        break;
                case 'o':
                        operations = strtoull(optarg, NULL, 0);
                        break;
                case 't':
                        seconds = strtod(optarg, NULL);
                        break;
                case 'm':
                        run.max = strtoull(optarg, NULL, 0);
                        break;
                case 'n':
                        run.use_mmap = false;
                        break;
                case 'h':
                        host = optarg;
                        break;
                case 'l':
                        only_looks = true;
                        break;
                default:
                        argc = 0;
                }
        if (argc - optind != 1 || run.max < 65536) {
                fprintf(stderr, "Usage: fsx [--seed=N] [--operations=N | --seconds=N] [--size=BYTES, 64 KiB at least] "
                                "[--no-mmap] [--host=PATH [--host-only-looks]] FILE\n");
                return 2;
        }
        run.host_changes = host && !only_looks;
        set_paths(&run, argv[optind], host);
        start(&run);
        run_for(&run, operations, seconds);
        finish(&run);
        print_counts();
        return 0;
}
