/* SPDX-License-Identifier: BSD-2-Clause */
#include "program/printable.h"
#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Length of the UTF-8 character at the begin of @text; 0: not valid UTF-8. RFC 3629, 4. */
static size_t utf8_length(const unsigned char *text)
{
        static const struct {
                unsigned char first, last, second_min, second_max;
                size_t length;
        } forms[] = {
                {0x20, 0x7e, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
                {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
                {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
        };

        for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
                if (text[0] < forms[i].first || text[0] > forms[i].last)
                        continue;
                if (forms[i].length > 1 && (text[1] < forms[i].second_min || text[1] > forms[i].second_max))
                        return 0;
                for (size_t j = 2; j < forms[i].length; j++)
                        if (text[j] < 0x80 || text[j] > 0xbf)
                                return 0;
                return forms[i].length;
        }
        return 0;
}

static uint32_t utf8_decode(const unsigned char *text, size_t length)
{
        static const unsigned char lead[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
        uint32_t code = text[0] & lead[length];

        for (size_t i = 1; i < length; i++)
                code = code << 6 | (text[i] & 0x3f);
        return code;
}

/* Terminals interpret C1 controls like escape sequences; characters that control the direction of writing make a line
 * appear different from its contents. */
static bool is_control(uint32_t code)
{
        static const struct {
                uint32_t first, last;
        } ranges[] = {
                {0x80, 0x9f}, {0x61c, 0x61c}, {0x200e, 0x200f}, {0x2028, 0x202e}, {0x2066, 0x2069},
        };

        for (size_t i = 0; i < ARRAY_SIZE(ranges); i++)
                if (code >= ranges[i].first && code <= ranges[i].last)
                        return true;
        return false;
}

void make_printable(char *text)
{
        char *out = text;

        while (*text) {
                size_t n = utf8_length((const unsigned char *)text);

                if (n == 0 || is_control(utf8_decode((const unsigned char *)text, n))) {
                        *out++ = '?';
                        text += n ? n : 1;
                        continue;
                }
                memmove(out, text, n);
                out += n;
                text += n;
        }
        *out = '\0';
}
