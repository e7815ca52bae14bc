/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/id_range.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool id_numbers_parse(const char *text, uint32_t *numbers, size_t wanted)
{
        for (size_t i = 0; i < wanted; i++) {
                char *end;

                if (!isdigit((unsigned char)*text))
                        return false;
                errno = 0;

                unsigned long value = strtoul(text, &end, 10);

                if (errno || value > UINT32_MAX || *end != (i + 1 < wanted ? ':' : '\0'))
                        return false;
                numbers[i] = (uint32_t)value;
                text = end + 1;
        }
        return true;
}

bool id_range_valid(uint32_t start, uint32_t count)
{
        return count > 0 && count <= UINT32_MAX - start;
}

int id_range_parse(const char *text, struct id_range *range)
{
        const size_t size = strlen(text);
        char numbers_text[64];
        uint32_t numbers[3];

        /* As in virtiofsd, any character may be used instead of ':', as long as all are the same. */
        if (size < 3 || size > sizeof(numbers_text) || isdigit((unsigned char)text[0]) || text[size - 1] != text[0] ||
            (text[0] != ':' && strchr(text, ':')))
                return -EINVAL;
        memcpy(numbers_text, text + 1, size - 2);
        numbers_text[size - 2] = '\0';
        for (char *at = numbers_text; (at = strchr(at, text[0])); at++)
                *at = ':';
        if (!id_numbers_parse(numbers_text, numbers, 3) || !id_range_valid(numbers[0], numbers[2]) ||
            !id_range_valid(numbers[1], numbers[2]))
                return -EINVAL;
        *range = (struct id_range){numbers[0], numbers[1], numbers[2]};
        return 0;
}
