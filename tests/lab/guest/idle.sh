# SPDX-License-Identifier: BSD-2-Clause
# The driver has started the device; nobody uses it.
sleep 100000
