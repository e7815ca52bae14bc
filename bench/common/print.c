/* SPDX-License-Identifier: BSD-2-Clause */

/* The figures of oriel bench fs as a table and as JSON. Both walk the figures in order and begin a section where it
 * differs from the figure before, so figures of one section must stand together. A side without samples is a dash in
 * the table and absent in JSON; a ratio is told only where both sides were measured. Names of directories and commands
 * are made printable first. */

#include "bench/common/bench.h"
#include "bench/common/figures.h"
#include "program/printable.h"

#include <json.h>

/* ---- the table ---- */

static int value_decimals(double value)
{
        return value < 10 ? 2 : value < 1000 ? 1 : 0;
}

static void print_way(const struct figure *figure, int way)
{
        double least, most, middle = figure_median(figure, way, &least, &most);
        char range[48];

        if (figure->n[way] == 0) {
                printf(" %9s %18s", "-", "");
                return;
        }
        snprintf(range, sizeof(range), "(%.*f-%.*f)", value_decimals(most), least, value_decimals(most), most);
        printf(" %9.*f %-18s", value_decimals(middle), middle, figure->n[way] > 1 ? range : "");
}

static void print_figure(const struct figure *figure)
{
        double ratio = figure_ratio(figure);

        printf("%-15s", figure->name);
        if (figure->depth)
                printf(" %5u", figure->depth);
        else
                printf("      ");
        print_way(figure, 0);
        print_way(figure, 1);
        if (ratio > 0)
                printf(" %6.3f", ratio);
        if (ratio > 0 && figure->bar > 0)
                printf("  %s %4.1f  %s", figure->at_most ? "<=" : ">=", figure->bar,
                       figure_reached(figure) ? "yes" : "no");
        printf("%s%s\n", figure->note[0] ? "  " : "", figure->note);
}

static void print_head(enum section section)
{
        printf("\n%s\n%-15s %5s %9s %18s %9s %18s %6s  %7s\n", sections[section].title, "",
               section <= ALONE ? "depth" : "", sections[section].ways[0], "", sections[section].ways[1], "", "ratio",
               "bar");
}

void figures_print(const struct figures *all, size_t n)
{
        for (size_t d = 0; d < n; d++) {
                printf("%s%s (%s)\n", d ? "\n" : "", all[d].dir, all[d].filesystem);
                for (unsigned i = 0; i < all[d].n; i++) {
                        const struct figure *figure = &all[d].items[i];

                        if (i == 0 || figure->section != figure[-1].section)
                                print_head(figure->section);
                        print_figure(figure);
                }
        }
}

/* ---- JSON ---- */

static struct json_object *json_text(const char *text)
{
        char printable[1024];

        snprintf(printable, sizeof(printable), "%s", text);
        make_printable(printable);
        return json_object_new_string(printable);
}

static struct json_object *json_way(const struct figure *figure, int way)
{
        struct json_object *object = json_object_new_object();
        double least, most;

        add_figure(object, "median", figure_median(figure, way, &least, &most));
        add_figure(object, "min", least);
        add_figure(object, "max", most);
        return object;
}

static struct json_object *json_figure(const struct figure *figure)
{
        struct json_object *object = json_object_new_object();
        double ratio = figure_ratio(figure);

        json_object_object_add(object, "row", json_object_new_string(figure->key));
        if (figure->depth)
                json_object_object_add(object, "depth", json_object_new_int((int)figure->depth));
        if (figure->n[0])
                json_object_object_add(object, "own", json_way(figure, 0));
        if (figure->n[1])
                json_object_object_add(object, "other", json_way(figure, 1));
        if (ratio > 0)
                add_figure(object, "ratio", ratio);
        if (ratio > 0 && figure->bar > 0) {
                add_figure(object, figure->at_most ? "at_most" : "at_least", figure->bar);
                json_object_object_add(object, "reached", json_object_new_boolean(figure_reached(figure)));
        }
        if (figure->note[0])
                json_object_object_add(object, "note", json_object_new_string(figure->note));
        return object;
}

static struct json_object *json_dir(const struct figures *figures)
{
        struct json_object *object = json_object_new_object(), *rows = NULL;

        json_object_object_add(object, "dir", json_text(figures->dir));
        json_object_object_add(object, "filesystem", json_object_new_string(figures->filesystem));
        for (unsigned i = 0; i < figures->n; i++) {
                const struct figure *figure = &figures->items[i];

                if (i == 0 || figure->section != figure[-1].section) {
                        rows = json_object_new_array();
                        json_object_object_add(object, sections[figure->section].key, rows);
                }
                json_object_array_add(rows, json_figure(figure));
        }
        return object;
}

void figures_print_json(const struct figures *all, size_t n, const char *peer, unsigned runs)
{
        struct json_object *object = json_object_new_object(), *dirs = json_object_new_array();

        json_object_object_add(object, "runs", json_object_new_int((int)runs));
        if (peer)
                json_object_object_add(object, "peer", json_text(peer));
        for (size_t d = 0; d < n; d++)
                json_object_array_add(dirs, json_dir(&all[d]));
        json_object_object_add(object, "dirs", dirs);
        printf("%s\n", json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN));
        json_object_put(object);
}
