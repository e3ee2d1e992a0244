#!/bin/bash
# Asks the worker to hand over its work (tini passes the signal on) and waits
# up to a minute until its executors have ended.
kill -s PWR 1
for ((i = 0; i < 60; i++)); do
	grep -qsa 'CoarseGrained[E]xecutorBackend' /proc/[0-9]*/cmdline || exit 0
	sleep 1
done
