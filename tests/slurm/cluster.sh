#!/usr/bin/env bash
# A SLURM cluster on this host, for tests, on a Debian machine, as root: two nodes with four fake GPUs each (partition gpu,
# the default) and one without (partition cpu); partition project takes jobs of the account physics only.
#
#     cluster.sh start    install slurm-wlm and munge if missing, write /etc/slurm, start all daemons, wait for its nodes
#     cluster.sh stop     end every job and daemon of it
#     cluster.sh node N   start node N's daemon again (n1, n2, n3), after it was killed
#
# A machine that already runs another cluster is left alone. The nodes declare more CPUs than there are, since tests wait
# more than they compute. Files of terminals stand for GPUs: SLURM counts devices and sets masks without opening them.
set -euo pipefail

STATE=/var/lib/tokenshift-slurm
CONF=/etc/slurm/slurm.conf
MARK="# tokenshift's test cluster: tests/slurm/cluster.sh"
NODES="n1 n2 n3"
NICE=${CLUSTER_NICE:-0} # of the node daemons, and so of all jobs

refuse() {
    echo "$1" >&2
    exit 1
}

install_packages() {
    command -v slurmctld >/dev/null && command -v slurmd >/dev/null && command -v munged >/dev/null && return
    command -v apt-get >/dev/null || refuse "slurm-wlm and munge are missing and there is no apt-get to install them with"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends slurm-wlm munge >/dev/null
}

write_configuration() {
    if [ -e $CONF ] && ! grep -qF "$MARK" $CONF; then
        refuse "$CONF belongs to another cluster: the test cluster needs a machine without one"
    fi
    mkdir -p /etc/slurm $STATE/controller
    cat >$CONF <<CONFIGURATION
$MARK
ClusterName=tokenshift
SlurmctldHost=$(hostname)(127.0.0.1)
SlurmUser=root
SlurmctldPort=16817
SlurmctldPidFile=$STATE/slurmctld.pid
SlurmctldLogFile=$STATE/slurmctld.log
StateSaveLocation=$STATE/controller
SlurmdPidFile=$STATE/slurmd-%n.pid
SlurmdLogFile=$STATE/slurmd-%n.log
SlurmdSpoolDir=$STATE/spool-%n
AuthType=auth/munge
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=1,bf_interval=1
GresTypes=gpu
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout=20
EnforcePartLimits=ALL
MinJobAge=600
KillWait=5
MpiDefault=none
NodeName=n1 NodeHostname=$(hostname) NodeAddr=127.0.0.1 Port=17001 CPUs=4 RealMemory=16000 Gres=gpu:h200:4
NodeName=n2 NodeHostname=$(hostname) NodeAddr=127.0.0.1 Port=17002 CPUs=4 RealMemory=16000 Gres=gpu:h200:4
NodeName=n3 NodeHostname=$(hostname) NodeAddr=127.0.0.1 Port=17003 CPUs=4 RealMemory=16000
PartitionName=gpu Nodes=n1,n2 Default=YES
PartitionName=cpu Nodes=n3
PartitionName=project Nodes=n1,n2 AllowAccounts=physics
CONFIGURATION
    echo "NodeName=n[1-2] Name=gpu Type=h200 File=/dev/tty[0-3]" >/etc/slurm/gres.conf
}

alive() { # the process in the pid file $1 runs the program $2; one that is dead and not yet reaped has no command
    local program=""
    [ -s "$1" ] && program=$(tr '\0' '\n' <"/proc/$(cat "$1")/cmdline" | head -n 1) || true
    [ "${program##*/}" = "$2" ]
} 2>/dev/null

start_munge() {
    munge -n >/dev/null 2>&1 && return
    if [ ! -s /etc/munge/munge.key ]; then
        (umask 077 && head -c 128 /dev/urandom >/etc/munge/munge.key)
    fi
    chown munge:munge /etc/munge/munge.key
    install -d -o munge -g munge -m 755 /run/munge
    runuser -u munge -- /usr/sbin/munged
    date +%s >$STATE/munge-started
    for _ in $(seq 50); do
        munge -n >/dev/null 2>&1 && return
        sleep 0.1
    done
    refuse "munged does not answer; see /var/log/munge/munged.log"
}

start_node() {
    alive $STATE/slurmd-"$1".pid slurmd && return
    mkdir -p $STATE/spool-"$1"
    nice -n "$NICE" slurmd -N "$1"
}

start() {
    [ "$(id -u)" = 0 ] || refuse "only root can start the test cluster"
    install_packages
    mkdir -p $STATE
    if ! alive $STATE/slurmctld.pid slurmctld; then
        rm -rf $STATE/controller $STATE/spool-*
        write_configuration
        start_munge
        slurmctld -c
    fi
    for node in $NODES; do start_node $node; done
    for _ in $(seq 300); do
        states=$(sinfo -h -N -o %t 2>/dev/null) && ! grep -qvE '^(idle|mix|alloc|comp)$' <<<"$states" && return
        sleep 0.1
    done
    refuse "the nodes are not ready after 30 s: $(sinfo -N 2>&1)"
}

end() { # the process in the pid file $1, if it runs the program $2
    alive "$1" "$2" || return 0
    local pid
    pid=$(cat "$1")
    kill "$pid"
    for _ in $(seq 100); do
        [ -e "/proc/$pid" ] || return 0
        sleep 0.1
    done
    kill -9 "$pid"
}

stop() {
    grep -qsF "$MARK" $CONF || return 0
    if alive $STATE/slurmctld.pid slurmctld; then
        scancel --user=root --full --signal=KILL 2>/dev/null || true
        scancel --user=root 2>/dev/null || true
        for _ in $(seq 200); do
            [ -z "$(squeue -h -o %i 2>/dev/null)" ] && break
            sleep 0.1
        done
    fi
    for node in $NODES; do end $STATE/slurmd-$node.pid slurmd; done
    end $STATE/slurmctld.pid slurmctld
    if [ -e $STATE/munge-started ]; then
        end /run/munge/munged.pid munged
    fi
    rm -rf $CONF /etc/slurm/gres.conf $STATE
}

case ${1:-} in
start) start ;;
stop) stop ;;
node) start_node "${2:?which node}" ;;
*) refuse "usage: cluster.sh start | stop | node NAME" ;;
esac
