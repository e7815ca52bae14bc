# SPDX-License-Identifier: BSD-2-Clause
# The machine comes up with all its processors, and goes down.
. /tap.sh
host init
check "both processors" [ "$(nproc)" = 2 ]
