#!/bin/sh
# Goes on as the user "cellmate", without any capability: as-user.sh PROGRAM ARGUMENT ...
# Before that it hands the container's control groups over to that user, if they can be written, so
# that each kernel gets one of its own. Needs CHOWN, SETUID, SETGID and SETPCAP, and drops them too.
set -eu

owner=$(id -u cellmate)
groups=${CONTROL_GROUPS:-/sys/fs/cgroup}

# What a group needs to be delegated: the directory, and the files that move processes and switch
# controllers on. The limits of the container itself stay root's.
for group in "$groups" "$groups/memory" "$groups/pids" "$groups/cpu" "$groups/cpuacct"; do
    [ -e "$group/cgroup.procs" ] && [ -w "$group" ] || continue
    for file in "$group" "$group/cgroup.procs" "$group/cgroup.threads" \
        "$group/cgroup.subtree_control"; do
        if [ -e "$file" ]; then
            chown "$owner" "$file"
        fi
    done
done

exec setpriv --reuid "$owner" --regid "$owner" --clear-groups --inh-caps=-all \
    --bounding-set=-all --no-new-privs -- "$@"
