#!/usr/bin/env bash
# A real SLURM of one node for the tests: `cluster.sh start FOLDER`, `cluster.sh stop FOLDER`, as root.
# Needs Debian's slurm-wlm and munge, but no systemd and no cgroups. Commands find it by SLURM_CONF=FOLDER/slurm.conf.
set -euo pipefail

action=$1
folder=$(mkdir -p "$2" && cd "$2" && pwd)
node=$(hostname -s)
export SLURM_CONF=$folder/slurm.conf

configure() {
    mkdir -p "$folder/state" "$folder/spool"
    [ -e "$folder/munge.key" ] || head -c 1024 /dev/urandom > "$folder/munge.key"
    chmod 400 "$folder/munge.key"
    memory=$(awk '/MemTotal/ {print int($2 / 1024)}' /proc/meminfo)
    # MinJobAge: an ended job can be asked about for an hour. KillWait: seconds from SIGTERM to SIGKILL.
    cat > "$SLURM_CONF" << EOF
ClusterName=tests
SlurmctldHost=$node(127.0.0.1)
SlurmUser=root
SlurmctldPort=16817
SlurmdPort=16818
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobRequeue=1
MinJobAge=3600
KillWait=10
OverTimeLimit=0
SchedulerParameters=batch_sched_delay=0,sched_interval=2
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
NodeName=$node NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=$memory State=UNKNOWN
PartitionName=tests Nodes=ALL Default=YES MaxTime=INFINITE State=UP
EOF
}

running() {
    [ -e "$1" ] && kill -0 "$(cat "$1")" 2> /dev/null
}

start() {
    configure
    running "$folder/munged.pid" || munged --force --socket="$folder/munge.socket" \
        --key-file="$folder/munge.key" --pid-file="$folder/munged.pid" \
        --log-file="$folder/munged.log" --seed-file="$folder/munge.seed"
    running "$folder/slurmctld.pid" || slurmctld
    running "$folder/slurmd.pid" || slurmd
    for _ in $(seq 60); do
        if [ "$(sinfo --noheader --format=%T 2> /dev/null)" = idle ]; then
            return
        fi
        sleep 0.5
    done
    echo "SLURM did not start; its logs are in $folder" >&2
    tail -n 5 "$folder"/*.log >&2
    exit 1
}

stop() {
    for name in slurmd slurmctld munged; do
        if running "$folder/$name.pid"; then
            kill "$(cat "$folder/$name.pid")"
        fi
    done
}

"$action"
