#!/bin/sh
# Publishes, reads and follows a room with curl alone.
#
#   NODEVENT_URL=http://localhost:8080 ./rooms.sh emit lobby hello '{"text": "Hi"}'
#   ./rooms.sh emit-many <publications.json        # an array; all of them are checked before the first is published
#   ./rooms.sh history lobby [POSITION]            # what is stored, or what came after a position
#   ./rooms.sh follow lobby [POSITION]             # Server-Sent Events; Ctrl-C ends it
#
# NODEVENT_PUBLISH_KEY is needed to publish, except in development mode on the server's machine. NODEVENT_KEY is needed
# to read rooms of a namespace with a secret (`nodevent key lobby` prints one). Without the idempotency key of `emit`, a
# repeated request publishes again.
#
# curl reads the keys from a file descriptor: every user of the machine sees the arguments of its programs.
set -eu

api="${NODEVENT_URL:-http://localhost:8080}/api/${NODEVENT_NAMESPACE:-nodevent}"
usage="usage: rooms.sh emit ROOM EVENT [JSON] | emit-many | history ROOM [POSITION] | follow ROOM [POSITION]"

# Prints the body also if the status is an error, and then fails.
request() { curl --silent --show-error --fail-with-body --max-time 10 "$@" && echo; }

publish() {
  request "$api/emit" \
    --header @/dev/fd/3 \
    --header "Idempotency-Key: ${IDEMPOTENCY_KEY:-$(cat /proc/sys/kernel/random/uuid)}" \
    --data-binary @- 3<<EOF
Authorization: Bearer ${NODEVENT_PUBLISH_KEY:-}
EOF
}

# ROOM in the path, percent-encoded.
encoded() { printf %s "$1" | od -An -v -tx1 | tr -d ' \n' | sed 's/../%&/g'; }

read_room() { # VIEW ROOM POSITION CURL-OPTION…
  view=$1 room=$2 since=$3
  shift 3
  curl --silent --show-error --fail-with-body --get "$@" \
    --header @/dev/fd/3 \
    ${since:+--data-urlencode "since=$since"} \
    "$api/rooms/$(encoded "$room")/$view" 3<<EOF
Authorization: Bearer ${NODEVENT_KEY:-}
EOF
}

# A JSON string. Names of rooms and events have no control characters here.
string() { printf '"%s"' "$(printf %s "$1" | sed 's/[\\"]/\\&/g')"; }

case "${1:-}" in
  emit)
    : "${2:?$usage}" "${3:?$usage}"
    printf '{"room":%s,"event":%s%s}' "$(string "$2")" "$(string "$3")" "${4:+,\"message\":$4}" | publish
    ;;
  emit-many) publish ;;
  history) read_room history "${2:?$usage}" "${3:-}" --max-time 10 && echo ;;
  follow) read_room events "${2:?$usage}" "${3:-}" --no-buffer ;;
  *) echo "$usage" >&2; exit 64 ;;
esac
