# SPDX-License-Identifier: BSD-2-Clause
# Random bytes of a vhost-user back-end, by the guest's own driver.
. /tap.sh
rng=/sys/class/misc/hw_random
check "the driver has the device" grep -q virtio_rng "$rng/rng_available"
check "it is the one in use" grep -q virtio_rng "$rng/rng_current"
check "it gives bytes" dd if=/dev/hwrng of=/tmp/one bs=4096 count=16
check "as many as were asked for" [ "$(stat -c %s /tmp/one)" = 65536 ]
dd if=/dev/hwrng of=/tmp/other bs=4096 count=16 2>/dev/null
refuse "and others the next time" cmp /tmp/one /tmp/other
gzip -c /tmp/one >/tmp/one.gz
check "that don't become shorter" [ "$(stat -c %s /tmp/one.gz)" -gt 65000 ]
