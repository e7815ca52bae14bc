# SPDX-License-Identifier: BSD-2-Clause
# What the guests' tests are written with.

# check NAME COMMAND...: a test, passed if the command succeeds; what it printed is shown if not.
check() {
        name=$1
        shift
        if "$@" >/tmp/said 2>&1; then
                echo "ok - $name"
        else
                sed 's/^/# /' /tmp/said
                echo "not ok - $name"
        fi
}

# refuse NAME COMMAND...: the same, passed if it fails.
refuse() {
        name=$1
        shift
        if "$@" >/tmp/said 2>&1; then
                echo "not ok - $name"
        else
                echo "ok - $name"
        fi
}

# host ACTION...: have something done on the other side; its answer is $answer.
host() {
        echo "host: $*" >/dev/console
        read -r answer </dev/console
}

# same NAME ACTION... -- COMMAND...: a test that the host's answer is what the command prints.
same() {
        name=$1 action=
        shift
        while [ "$1" != -- ]; do
                action="$action $1"
                shift
        done
        shift
        host $action
        here=$("$@")
        if [ "$here" = "$answer" ]; then
                echo "ok - $name"
        else
                echo "# here: $here"
                echo "# host: $answer"
                echo "not ok - $name"
        fi
}

sum() {
        sha256sum "$1" | cut -d ' ' -f 1
}

# One checksum for the names and contents of a tree.
tree() {
        (cd "$1" && find . -type f -exec sha256sum {} + | LC_ALL=C sort | sha256sum | cut -d ' ' -f 1)
}

# All but the contents: names, kinds, permissions, owners, links; sizes and times of regular files alone, as busybox's tar
# sets those of folders too early and those of symbolic links not at all.
facts() {
        (cd "$1" && find . | LC_ALL=C sort | while read -r path; do
                more=
                [ ! -f "$path" ] || [ -L "$path" ] || more=$(stat -c '%s %Y' "$path")
                stat -c "%n %A %u %g %h $more" "$path"
        done | sha256sum | cut -d ' ' -f 1)
}
