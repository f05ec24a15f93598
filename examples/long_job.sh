#!/bin/sh
# A long job in a container, with nothing but sh and wget (busybox has both): it counts to ROWS, says how
# far it is, saves a checkpoint after each row, and goes on from the last one when it is tried again.
set -eu

here="$PODLING_API/tasks/$PODLING_TASK_ID"
token=${PODLING_TOKEN:-$(cat "${PODLING_TOKEN_FILE:-/dev/null}")}

# ask METHOD URL [BODY]: wget knows GET and POST; the worker takes the header for the rest.
ask() {
    if [ "$1" = GET ]; then
        wget -qO - --header "Authorization: Bearer $token" "$2"
    else
        wget -qO - --header "Authorization: Bearer $token" --header "Content-Type: application/json" \
            --header "X-HTTP-Method-Override: $1" --post-data "$3" "$2"
    fi
}

# again COMMAND…: the worker or its master may be away for a moment.
again() {
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        [ "$tries" -lt 30 ] || exit 75
        sleep 1
    done
}

last=$(again ask GET "$here/checkpoints?limit=1")
row=$(printf '%s' "$last" | sed -n 's/.*"row": *\([0-9]*\).*/\1/p')
row=${row:-0}
echo "attempt $PODLING_ATTEMPT begins after row $row"

# One task at a time, of all that use this key; a later attempt of the owner has it at once. With curl and without a network it would be:
#   curl --unix-socket "$PODLING_SOCKET" -H "Authorization: Bearer $token" http://podling/api/v1/…
wish="{\"owner\": \"$PODLING_TASK_ID\", \"ttlSeconds\": 60, \"waitSeconds\": 60}"
lock=$(again ask POST "$PODLING_API/locks/tasks:long-job/acquire" "$wish")
fence=$(printf '%s' "$lock" | sed -n 's/.*"token": *\([0-9]*\).*/\1/p')

while [ "$row" -lt "${ROWS:-10}" ]; do
    row=$((row + 1))
    sleep "${ROW_SECONDS:-1}" # the work
    progress=$((100 * row / ${ROWS:-10}))
    again ask POST "$here/checkpoints" "{\"progress\": $progress, \"data\": {\"row\": $row}}" >/dev/null
    echo "saved row $row"
done

again ask PUT "$PODLING_API/cache/tasks:rows" "{\"value\": $row}" >/dev/null
again ask PUT "$here/result" "{\"result\": {\"rows\": $row}}" >/dev/null
again ask POST "$PODLING_API/locks/tasks:long-job/release" "{\"token\": $fence}" >/dev/null
echo "done"
