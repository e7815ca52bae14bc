# SPDX-License-Identifier: BSD-2-Clause
# How long it took to come here, and what the VMM uses by now. It is ended, and not waited for.
. /tap.sh
host init
host memory
check "measured" true
host end
sleep 100
