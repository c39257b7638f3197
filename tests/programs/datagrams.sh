#!/bin/sh
# A shell script that takes a datagram socket from its manager, and writes each datagram to the file $1.
# It cannot say READY=1: a shell has no sockets, and systemd-notify(1) is another process.
[ "$LISTEN_PID" = $$ ] && [ "$LISTEN_FDS" = 1 ] || exit 78
# A trap interrupts `wait`, and nothing else that a shell waits for. KILL, for a child that is not dd yet would
# take a TERM for the shell's own.
trap 'kill -KILL $!; wait $!; exit 0' TERM
while :; do
  dd bs=65536 count=1 status=none <&3 >>"$1" &
  wait $!
done
