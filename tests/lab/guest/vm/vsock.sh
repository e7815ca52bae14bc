# SPDX-License-Identifier: BSD-2-Clause
# Sockets between the guest and its host, either end first.
. /tap.sh
(echo "of the guest"; sleep 10) | connect listen 4294967295 1234 >/tmp/from-host 2>/tmp/state &
listener=$!
until grep -q listening /tmp/state; do
        sleep 0.1
done
host call
check "the host's call is answered" [ "$answer" = "of the guest" ]
wait $listener
check "and was heard" grep "of the host" /tmp/from-host
host listen
(echo "guest calls"; sleep 10) | connect 2 5000 >/tmp/answer
check "the guest's call is answered" grep "host answers" /tmp/answer
same "and was heard" heard -- echo "guest calls"
