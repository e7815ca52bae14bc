/* SPDX-License-Identifier: BSD-2-Clause */

/* The figures of oriel bench fs as an SVG picture: for each row how many times better the first side is, on a
 * logarithmic scale, and an upright line at the bar. Ratios where less is better are inverted, so longer is always
 * better. plot_measure() walks the rows like the drawing does, to know height and scale before the first line is
 * written: a change of one is a change of the other. Text goes through write_text(), which escapes it. Colours follow
 * the reader's light or dark scheme. */

#include "bench/common/figures.h"
#include "program/printable.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WIDTH   760
#define LEFT    230 /* of the scale */
#define RIGHT   690
#define STEP    20 /* from row to row */
#define LOWEST  0.5
#define HIGHEST 32 /* longer bars are cut; the number is printed */

struct plot {
        FILE *file;
        double highest; /* a power of two */
        int y;
};

static const char style[] =
        "<style>\n"
        "svg{--ink:#1f2328;--soft:#656d76;--line:#d0d7de;--good:#2da44e;--bad:#d4762c;--bar:#0550ae;"
        "--paper:#ffffff;color-scheme:light dark}\n"
        "@media(prefers-color-scheme:dark){svg{--ink:#e6edf3;--soft:#8d96a0;--line:#3d444d;"
        "--good:#3fb950;--bad:#f0883e;--bar:#79c0ff;--paper:#0d1117}}\n"
        "text{font:13px system-ui,sans-serif;fill:var(--ink)}\n"
        ".head{font-weight:600}.soft{fill:var(--soft);font-size:11px}.number{text-anchor:end}"
        ".middle{text-anchor:middle}\n"
        ".paper{fill:var(--paper)}.grid{stroke:var(--line)}.even{stroke:var(--soft)}\n"
        ".good{fill:var(--good)}.bad{fill:var(--bad)}.none{fill:var(--soft)}"
        ".bar{stroke:var(--bar);stroke-width:2}\n"
        "</style>\n";

static double ratio_better(const struct figure *figure, double ratio)
{
        return figure->at_most ? 1 / ratio : ratio;
}

static int ratio_place(const struct plot *plot, double times)
{
        double whole = log2(plot->highest / LOWEST), at = log2(times / LOWEST);

        at = at < 0 ? 0 : at > whole ? whole : at;
        return LEFT + (int)lround(at / whole * (RIGHT - LEFT));
}

static void write_text(FILE *file, const char *text)
{
        char printable[512];

        snprintf(printable, sizeof(printable), "%s", text);
        make_printable(printable);
        for (const char *c = printable; *c; c++) {
                if (strchr("&<>\"", *c))
                        fprintf(file, "&#%d;", *c);
                else
                        fputc(*c, file);
        }
}

/* The values without a back-end are a bound and not a comparison, so they are not drawn. */
static bool is_drawn(const struct figure *figure)
{
        return figure->section != ALONE;
}

/* ---- the size of the picture ---- */

static void plot_measure(const struct figures *all, size_t n, struct plot *plot)
{
        plot->highest = 4;
        plot->y = 30;
        for (size_t d = 0; d < n; d++) {
                plot->y += 2 * STEP;
                for (unsigned i = 0; i < all[d].n; i++) {
                        const struct figure *figure = &all[d].items[i];
                        double ratio = figure_ratio(figure);

                        if (!is_drawn(figure))
                                continue;
                        if (i == 0 || figure->section != figure[-1].section)
                                plot->y += STEP + STEP / 2;
                        plot->y += STEP;
                        while (ratio > 0 && plot->highest < ratio_better(figure, ratio) && plot->highest < HIGHEST)
                                plot->highest *= 2;
                }
        }
}

/* ---- the parts of the picture ---- */

static void draw_scale(const struct plot *plot, int bottom)
{
        int last = ilogb(plot->highest);

        for (int power = ilogb(LOWEST); power <= last; power++) {
                double at = ldexp(1, power);
                int x = ratio_place(plot, at);

                fprintf(plot->file, "<line class=\"%s\" x1=\"%d\" y1=\"40\" x2=\"%d\" y2=\"%d\"/>\n",
                        power == 0 ? "even" : "grid", x, x, bottom);
                fprintf(plot->file, "<text class=\"soft middle\" x=\"%d\" y=\"34\">%g</text>\n", x, at);
        }
}

static void draw_bar(const struct plot *plot, const struct figure *figure, double ratio)
{
        int even = ratio_place(plot, 1), end = ratio_place(plot, ratio_better(figure, ratio)), y = plot->y;
        int from = end < even ? end : even, width = abs(end - even);
        const char *colour = figure->bar <= 0 ? "none" : figure_reached(figure) ? "good" : "bad";

        fprintf(plot->file, "<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"12\" rx=\"2\"/>\n", colour,
                from, y - 10, width < 2 ? 2 : width);
        if (figure->bar > 0) {
                int bar = ratio_place(plot, ratio_better(figure, figure->bar));

                fprintf(plot->file, "<line class=\"bar\" x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\"/>\n", bar, y - 13, bar,
                        y + 5);
        }
        fprintf(plot->file, "<text class=\"number\" x=\"%d\" y=\"%d\">%.2f</text>\n", WIDTH - 12, y,
                ratio_better(figure, ratio));
}

static void draw_figure(struct plot *plot, const struct figure *figure)
{
        double ratio = figure_ratio(figure);

        plot->y += STEP;
        fprintf(plot->file, "<text x=\"16\" y=\"%d\">", plot->y);
        write_text(plot->file, figure->name[0] ? figure->name : sections[figure->section].ways[0]);
        fprintf(plot->file, "</text>\n");
        if (figure->depth)
                fprintf(plot->file, "<text class=\"soft number\" x=\"%d\" y=\"%d\">%u</text>\n", LEFT - 16, plot->y,
                        figure->depth);
        if (ratio > 0)
                draw_bar(plot, figure, ratio);
        else
                fprintf(plot->file, "<text class=\"soft number\" x=\"%d\" y=\"%d\">-</text>\n", WIDTH - 12, plot->y);
}

static void draw_heading(struct plot *plot, enum section section)
{
        plot->y += STEP + STEP / 2;
        fprintf(plot->file, "<rect class=\"paper\" x=\"10\" y=\"%d\" width=\"%d\" height=\"18\"/>\n", plot->y - 13,
                RIGHT - 10);
        fprintf(plot->file, "<text class=\"head\" x=\"16\" y=\"%d\">", plot->y);
        write_text(plot->file, sections[section].title);
        fprintf(plot->file, "<tspan class=\"soft\">  ");
        write_text(plot->file, sections[section].ways[0]);
        fprintf(plot->file, " : ");
        write_text(plot->file, sections[section].ways[1]);
        fprintf(plot->file, "</tspan></text>\n");
}

static void draw_dir(struct plot *plot, const struct figures *figures)
{
        plot->y += 2 * STEP;
        fprintf(plot->file, "<text class=\"head\" x=\"16\" y=\"%d\">", plot->y);
        write_text(plot->file, figures->dir);
        fprintf(plot->file, " (");
        write_text(plot->file, figures->filesystem);
        fprintf(plot->file, ")</text>\n");
        for (unsigned i = 0; i < figures->n; i++) {
                const struct figure *figure = &figures->items[i];

                if (!is_drawn(figure))
                        continue;
                if (i == 0 || figure->section != figure[-1].section)
                        draw_heading(plot, figure->section);
                draw_figure(plot, figure);
        }
}

void figures_draw(const struct figures *all, size_t n, FILE *file)
{
        struct plot plot = {.file = file};

        plot_measure(all, n, &plot);

        int height = plot.y + 24;

        fprintf(file, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" role=\"img\">\n", WIDTH, height);
        fprintf(file, "<title>oriel bench fs: how many times better, and the bar to be reached</title>\n%s", style);
        fprintf(file, "<rect class=\"paper\" width=\"%d\" height=\"%d\"/>\n", WIDTH, height);
        fprintf(file, "<text class=\"soft\" x=\"16\" y=\"18\">times better; the upright line is the bar</text>\n");
        draw_scale(&plot, height - 12);
        plot.y = 30;
        for (size_t d = 0; d < n; d++)
                draw_dir(&plot, &all[d]);
        fprintf(file, "</svg>\n");
}
