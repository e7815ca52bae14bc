/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest.h"
#include "vmm/arch/x86/layout.h"

#include <linux/serial_reg.h>
#include <stdarg.h>

#define PM (LAYOUT_PLATFORM + 0x100)

const char *guest_cmdline = "";

enum { SLP_TYP_SHIFT = 10, SLP_EN = 1 << 13 };

/* The compiler makes calls of these out of loops and assignments; here it must not. */
void *memcpy(void *to, const void *from, size_t size)
{
        void *at = to;

        __asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(size) : : "memory");
        return to;
}

void *memset(void *to, int value, size_t size)
{
        void *at = to;

        __asm__ volatile("rep stosb" : "+D"(at), "+c"(size) : "a"(value) : "memory");
        return to;
}

int memcmp(const void *a, const void *b, size_t size)
{
        const uint8_t *x = a, *y = b;

        for (; size > 0; size--, x++, y++)
                if (*x != *y)
                        return *x < *y ? -1 : 1;
        return 0;
}

size_t strlen(const char *text)
{
        const char *end = text;

        while (*end)
                end++;
        return (size_t)(end - text);
}

int strcmp(const char *a, const char *b)
{
        while (*a && *a == *b) {
                a++;
                b++;
        }
        return (uint8_t)*a - (uint8_t)*b;
}

static void put(char byte)
{
        while (!(read8(LAYOUT_PLATFORM + UART_LSR) & UART_LSR_THRE))
                ;
        write8(LAYOUT_PLATFORM + UART_TX, (uint8_t)byte);
}

static void put_text(const char *text)
{
        while (*text)
                put(*text++);
}

static void put_number(uint64_t value, unsigned base, unsigned width, char fill)
{
        char digits[24];
        unsigned n = 0;

        do {
                digits[n++] = "0123456789abcdef"[value % base];
                value /= base;
        } while (value > 0);
        for (; width > n; width--)
                put(fill);
        while (n > 0)
                put(digits[--n]);
}

static void put_signed(int64_t value)
{
        if (value < 0)
                put('-');
        put_number(value < 0 ? -(uint64_t)value : (uint64_t)value, 10, 0, ' ');
}

static void vprint(const char *format, va_list args)
{
        for (; *format; format++) {
                unsigned width = 0;
                bool is_long = false;
                char fill = ' ';

                if (*format != '%') {
                        put(*format);
                        continue;
                }
                if (*++format == '0')
                        fill = *format++;
                while (*format >= '0' && *format <= '9')
                        width = width * 10 + (unsigned)(*format++ - '0');
                for (; *format == 'l' || *format == 'z'; format++)
                        is_long = true;
                if (*format == 's')
                        put_text(va_arg(args, const char *));
                else if (*format == 'c')
                        put((char)va_arg(args, int));
                else if (*format == 'd')
                        put_signed(is_long ? va_arg(args, int64_t) : va_arg(args, int));
                else if (*format == 'u' || *format == 'x')
                        put_number(is_long ? va_arg(args, uint64_t) : va_arg(args, unsigned), *format == 'x' ? 16 : 10,
                                   width, fill);
                else if (*format)
                        put(*format);
                else
                        return;
        }
}

void print(const char *format, ...)
{
        va_list args;

        va_start(args, format);
        vprint(format, args);
        va_end(args);
}

void power_off(void)
{
        write16(PM + LAYOUT_PM1_CONTROL, LAYOUT_SLEEP_TYPE_OFF << SLP_TYP_SHIFT | SLP_EN);
        for (;;)
                __asm__ volatile("pause");
}

void reset_machine(void)
{
        write8(PM + LAYOUT_PM_RESET, LAYOUT_RESET_VALUE);
        for (;;)
                __asm__ volatile("pause");
}

/* ---- time ---- */

#define TICKS_PER_MS UINT64_C(3000000)

static uint64_t ticks(void)
{
        uint32_t low, high;

        __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
        return (uint64_t)high << 32 | low;
}

uint64_t deadline_in(unsigned ms)
{
        return ticks() + ms * TICKS_PER_MS;
}

bool deadline_past(uint64_t deadline)
{
        __asm__ volatile("pause");
        return ticks() >= deadline;
}

void sleep_ms(unsigned ms)
{
        uint64_t deadline = deadline_in(ms);

        while (!deadline_past(deadline))
                ;
}

/* ---- the host ---- */

bool host_has_answered(void)
{
        if (!(read8(LAYOUT_PLATFORM + UART_LSR) & UART_LSR_DR))
                return false;
        read8(LAYOUT_PLATFORM + UART_RX);
        return true;
}

void tell_host(const char *name)
{
        print("# sync: %s\n", name);
}

void sync_host(const char *name)
{
        uint64_t deadline = deadline_in(LAST_RESORT_MS);

        tell_host(name);
        while (!host_has_answered())
                if (deadline_past(deadline))
                        need(false, "the host answers to \"%s\"", name);
}

/* ---- the command line ---- */

const char *cmdline_value(const char *name)
{
        const size_t size = strlen(name);

        for (const char *word = guest_cmdline; *word;) {
                size_t length = 0;

                while (word[length] && word[length] != ' ')
                        length++;
                if (length >= size && memcmp(word, name, size) == 0) {
                        if (length == size)
                                return "";
                        if (word[size] == '=')
                                return word + size + 1;
                }
                word += length;
                while (*word == ' ')
                        word++;
        }
        return NULL;
}

uint64_t cmdline_number(const char *name, uint64_t otherwise)
{
        const char *text = cmdline_value(name);
        uint64_t value = 0;

        if (!text)
                return otherwise;
        for (; *text >= '0' && *text <= '9'; text++)
                value = value * 10 + (uint64_t)(*text - '0');
        return value;
}

bool cmdline_is(const char *name, const char *value)
{
        const char *text = cmdline_value(name);
        size_t size = strlen(value);

        return text && strlen(text) >= size && memcmp(text, value, size) == 0 && (!text[size] || text[size] == ' ');
}

/* ---- TAP ---- */

static unsigned points;

static void point(bool ok, const char *name, va_list args)
{
        print("%sok %u - ", ok ? "" : "not ", ++points);
        vprint(name, args);
        put('\n');
}

bool check(bool ok, const char *name, ...)
{
        va_list args;

        va_start(args, name);
        point(ok, name, args);
        va_end(args);
        return ok;
}

void need(bool ok, const char *name, ...)
{
        va_list args;

        va_start(args, name);
        point(ok, name, args);
        va_end(args);
        if (ok)
                return;
        print("Bail out! Nothing further can be tested\n");
        power_off();
}

void check_end(void)
{
        print("1..%u\n", points);
}
