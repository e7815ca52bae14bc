# SPDX-License-Identifier: BSD-2-Clause
"""How long a test waits for what comes at once on a machine that has nothing else to do."""

# Seconds. It ends a wait that nothing else would end, and decides nothing: a host may have a load of its own.
LAST_RESORT = 600
