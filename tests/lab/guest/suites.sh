# SPDX-License-Identifier: BSD-2-Clause
# Run the programs in /suites, each of which says TAP of its own, with the program's name before each test's.
. /tap.sh
echo "kernel: $(uname -r)"
for program in /suites/*; do
        name=${program##*/}
        # cmocka says "not ok 3 # SKIP NAME" where TAP has "ok 3 - NAME # SKIP".
        CMOCKA_MESSAGE_OUTPUT=TAP "$program" >/tmp/out 2>/tmp/err
        status=$?
        sed -n -e 's/^not ok \([0-9]*\) # SKIP *\(.*\)/ok \1 - \2 # SKIP/' \
                -e "s/^\(ok\|not ok\) [0-9]* - /\1 - $name: /p" /tmp/out
        check "$name: ends with status 0" [ "$status" = 0 ]
        [ "$status" = 0 ] || tail -n 20 /tmp/err | sed 's/^/# /'
done
