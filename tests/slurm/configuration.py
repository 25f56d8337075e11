"""The configuration files of a private cluster (slurm.conf(5), gres.conf(5), slurmdbd.conf(5))."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

NODES = ("gpu1", "gpu2", "gpu3")
GPUS_PER_NODE = 8
CLUSTER = "lab"
ACCOUNT = "research"

SLURM_CONF = """\
ClusterName={cluster}
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort={slurmctld}
AuthType=auth/munge
CryptoType=crypto/munge
# cred_expire is also how long a requeued job is held back: 120 s by default, and also with < 5
AuthInfo=socket={folder}/munge.socket,cred_expire={requeue_delay}
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmdSpoolDir={folder}/spool.%n
SlurmctldDebug=verbose
SlurmdDebug=verbose
SlurmctldSyslogDebug=quiet
SlurmdSyslogDebug=quiet
PlugStackConfig=/dev/null
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=10
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=1000
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=0
PriorityType=priority/multifactor
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
KillWait=2
OverTimeLimit=0
MinJobAge=3600
InactiveLimit=0
CompleteWait=0
MessageTimeout=10
SlurmctldTimeout=10
SlurmdTimeout={node_timeout}
ReturnToService=2
SlurmdParameters=config_overrides
PropagateResourceLimits=NONE
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={slurmdbd}
AccountingStoragePass={folder}/munge.socket
AccountingStorageEnforce=associations,limits,qos
AccountingStorageTRES=gres/gpu
GresTypes=gpu
{nodes}
PartitionName=gpu Nodes={names} Default=YES MaxTime=7-0 DefaultTime=1:00:00 State=UP PriorityTier=10
PartitionName=scavenge Nodes={names} MaxTime=7-0 DefaultTime=1:00:00 State=UP PriorityTier=1
"""

NODE = """\
NodeName={name} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} CPUs=64 Sockets=2 \
CoresPerSocket=32 ThreadsPerCore=1 RealMemory=1000000 Gres=gpu:8 State=UNKNOWN"""

SLURMDBD_CONF = """\
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={slurmdbd}
SlurmUser=root
PidFile={folder}/slurmdbd.pid
DebugLevel=verbose
DebugLevelSyslog=quiet
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm_acct
"""


def write_configuration(
    folder: Path, port: Callable[[], int], node_timeout: int, requeue_delay: int
) -> None:
    """Write all the daemons read into `folder`; `port` gives a fresh TCP port at each call.

    `node_timeout` (s): silence after which a node is DOWN and its jobs are requeued.
    `requeue_delay` (s): how long a requeued job is held back.
    """
    slurmdbd = port()
    nodes = "\n".join(NODE.format(name=name, port=port()) for name in NODES)
    conf = SLURM_CONF.format(
        cluster=CLUSTER,
        folder=folder,
        slurmctld=port(),
        slurmdbd=slurmdbd,
        nodes=nodes,
        names=",".join(NODES),
        node_timeout=node_timeout,
        requeue_delay=requeue_delay,
    )
    (folder / "slurm.conf").write_text(conf)
    # Files have to exist: with a mere Count= the nodes are INVAL. They are empty, never opened.
    for index in range(GPUS_PER_NODE):
        (folder / f"nvidia{index}").touch()
    (folder / "gres.conf").write_text(
        f"NodeName={','.join(NODES)} Name=gpu File={folder}/nvidia[0-{GPUS_PER_NODE - 1}]\n"
    )
    secret = folder / "slurmdbd.conf"
    secret.touch(mode=0o600)  # slurmdbd insists
    secret.write_text(SLURMDBD_CONF.format(folder=folder, slurmdbd=slurmdbd))
    for name in ("state", "tmp", *(f"spool.{node}" for node in NODES)):
        (folder / name).mkdir()
