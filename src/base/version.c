/* SPDX-License-Identifier: BSD-2-Clause */
#include <oriel/version.h>

unsigned oriel_version(void)
{
        return ORIEL_VERSION_NUMBER;
}
