/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/bench_fs.h"
#include "cli/measure.h"

#include <json.h>
#include <stdio.h>
#include <string.h>

void figure_add(struct figure *figure, int way, double value)
{
        if (figure->n[way] < MAX_RUNS)
                figure->samples[way][figure->n[way]++] = value;
}

/* Of the median, the least and the most. */
struct summary {
        double median, min, max;
};

static struct summary summarize(const struct figure *figure, int way)
{
        double sorted[MAX_RUNS];
        unsigned n = figure->n[way];
        struct summary summary = {0};

        if (n == 0)
                return summary;
        memcpy(sorted, figure->samples[way], n * sizeof(sorted[0]));
        summary.median = median(sorted, n);
        summary.min = sorted[0];
        summary.max = sorted[n - 1];
        return summary;
}

double figure_median(const struct figure *figure, int way)
{
        return summarize(figure, way).median;
}

double figure_ratio(const struct figure *figure)
{
        double other = figure_median(figure, PEER);

        return figure->n[OWN] && other > 0 ? figure_median(figure, OWN) / other : 0;
}

bool figure_reached(const struct figure *figure)
{
        double ratio = figure_ratio(figure);

        return figure->at_most ? ratio <= figure->bar : ratio >= figure->bar;
}

/* ---- the table ---- */

/* Four digits or more. */
static void print_number(int width, double value)
{
        printf(" %*.*f", width, value < 10 ? 3 : value < 1000 ? 1 : 0, value);
}

static void print_way(const struct figure *figure, int way)
{
        struct summary summary = summarize(figure, way);
        char range[32];

        if (figure->n[way] == 0) {
                printf(" %10s %17s", "-", "");
                return;
        }
        print_number(10, summary.median);
        snprintf(range, sizeof(range),
                 summary.max < 10     ? "%.2f..%.2f"
                 : summary.max < 1000 ? "%.1f..%.1f"
                                      : "%.0f..%.0f",
                 summary.min, summary.max);
        printf(" %17s", range);
}

static void print_figure(const struct figure *figure)
{
        double ratio = figure_ratio(figure);

        printf("%-14s", figure->name);
        if (figure->depth)
                printf(" %5u", figure->depth);
        else
                printf(" %5s", "");
        print_way(figure, OWN);
        print_way(figure, PEER);
        if (ratio > 0)
                printf(" %6.2f", ratio);
        if (ratio > 0 && figure->bar > 0)
                printf(" %s%5.2f  %s", figure->at_most ? "<=" : ">=", figure->bar,
                       figure_reached(figure) ? "yes" : "no");
        printf("%s%s\n", figure->note[0] ? "  " : "", figure->note);
}

void figures_print(const struct figures *all, size_t n)
{
        for (size_t d = 0; d < n; d++) {
                const char *section = NULL;

                printf("%s%s (%s)\n", d ? "\n" : "", all[d].dir, all[d].filesystem);
                for (unsigned i = 0; i < all[d].n; i++) {
                        const struct figure *figure = &all[d].items[i];

                        if (!section || strcmp(section, figure->section) != 0) {
                                section = figure->section;
                                printf("\n%s\n%-14s %5s %10s %17s %10s %17s %6s %7s\n", section, "", "depth",
                                       figure->ways[OWN], "", figure->ways[PEER], "", "ratio", "bar");
                        }
                        print_figure(figure);
                }
        }
}

/* ---- JSON ---- */

static struct json_object *json_way(const struct figure *figure, int way)
{
        struct summary summary = summarize(figure, way);
        struct json_object *object = json_object_new_object();

        add_figure(object, "median", summary.median);
        add_figure(object, "min", summary.min);
        add_figure(object, "max", summary.max);
        return object;
}

static struct json_object *json_figure(const struct figure *figure)
{
        struct json_object *object = json_object_new_object();
        double ratio = figure_ratio(figure);

        json_object_object_add(object, "row", json_object_new_string(figure->key));
        json_object_object_add(object, "unit", json_object_new_string(figure->section));
        for (int way = 0; way < SIDES; way++)
                if (figure->n[way])
                        json_object_object_add(object, figure->ways[way], json_way(figure, way));
        if (ratio > 0) {
                add_figure(object, "ratio", ratio);
                add_figure(object, figure->at_most ? "at_most" : "at_least", figure->bar);
                json_object_object_add(object, "reached", json_object_new_boolean(figure_reached(figure)));
        }
        return object;
}

void figures_print_json(const struct figures *all, size_t n)
{
        struct json_object *object = json_object_new_object(), *places = json_object_new_array();

        for (size_t d = 0; d < n; d++) {
                struct json_object *place = json_object_new_object(), *rows = json_object_new_array();

                json_object_object_add(place, "dir", json_object_new_string(all[d].dir));
                json_object_object_add(place, "filesystem", json_object_new_string(all[d].filesystem));
                for (unsigned i = 0; i < all[d].n; i++)
                        json_object_array_add(rows, json_figure(&all[d].items[i]));
                json_object_object_add(place, "rows", rows);
                json_object_array_add(places, place);
        }
        json_object_object_add(object, "dirs", places);
        printf("%s\n", json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN));
        json_object_put(object);
}
