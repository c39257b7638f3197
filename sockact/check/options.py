"""The options of units, by their sections, and the versions of systemd that know them.

Sources: `systemd --dump-configuration-items` of 252 and 257; systemd's NEWS for those since 258.
"""

from __future__ import annotations

_EXECUTION = frozenset(
    """
    AllowedCPUs AllowedMemoryNodes AmbientCapabilities AppArmorProfile BPFProgram BindLogSockets
    BindPaths BindReadOnlyPaths BlockIOAccounting BlockIODeviceWeight BlockIOReadBandwidth
    BlockIOWeight BlockIOWriteBandwidth CPUAccounting CPUAffinity CPUQuota CPUQuotaPeriodSec
    CPUSchedulingPolicy CPUSchedulingPriority CPUSchedulingResetOnFork CPUShares CPUWeight
    CacheDirectory CacheDirectoryMode CapabilityBoundingSet ConfigurationDirectory
    ConfigurationDirectoryMode CoredumpFilter CoredumpReceive DefaultMemoryLow DefaultMemoryMin
    DefaultStartupMemoryLow Delegate DelegateSubgroup DeviceAllow DevicePolicy DisableControllers
    DynamicUser Environment EnvironmentFile ExecPaths ExecSearchPath ExecStartPost ExecStartPre
    ExecStopPost ExtensionDirectories ExtensionImagePolicy ExtensionImages FinalKillSignal Group
    IOAccounting IODeviceLatencyTargetSec IODeviceWeight IOReadBandwidthMax IOReadIOPSMax
    IOSchedulingClass IOSchedulingPriority IOWeight IOWriteBandwidthMax IOWriteIOPSMax IPAccounting
    IPAddressAllow IPAddressDeny IPCNamespacePath IPEgressFilterPath IPIngressFilterPath
    IgnoreSIGPIPE ImportCredential InaccessibleDirectories InaccessiblePaths KeyringMode KillMode
    KillSignal LimitAS LimitCORE LimitCPU LimitDATA LimitFSIZE LimitLOCKS LimitMEMLOCK LimitMSGQUEUE
    LimitNICE LimitNOFILE LimitNPROC LimitRSS LimitRTPRIO LimitRTTIME LimitSIGPENDING LimitSTACK
    LoadCredential LoadCredentialEncrypted LockPersonality LogExtraFields LogFilterPatterns
    LogLevelMax LogNamespace LogRateLimitBurst LogRateLimitIntervalSec LogsDirectory
    LogsDirectoryMode ManagedOOMMemoryPressure ManagedOOMMemoryPressureDurationSec
    ManagedOOMMemoryPressureLimit ManagedOOMPreference ManagedOOMSwap MemoryAccounting
    MemoryDenyWriteExecute MemoryHigh MemoryKSM MemoryLimit MemoryLow MemoryMax MemoryMin
    MemoryPressureThresholdSec MemoryPressureWatch MemorySwapMax MemoryZSwapMax MemoryZSwapWriteback
    MountAPIVFS MountFlags MountImagePolicy MountImages NFTSet NUMAMask NUMAPolicy
    NetworkNamespacePath Nice NoExecPaths NoNewPrivileges OOMScoreAdjust PAMName PassEnvironment
    Personality PrivateDevices PrivateIPC PrivateMounts PrivateNetwork PrivatePIDs PrivateTmp
    PrivateUsers ProcSubset ProtectClock ProtectControlGroups ProtectHome ProtectHostname
    ProtectKernelLogs ProtectKernelModules ProtectKernelTunables ProtectProc ProtectSystem
    ReadOnlyDirectories ReadOnlyPaths ReadWriteDirectories ReadWritePaths RemoveIPC
    RestartKillSignal RestrictAddressFamilies RestrictFileSystems RestrictNamespaces
    RestrictNetworkInterfaces RestrictRealtime RestrictSUIDSGID RootDirectory RootEphemeral RootHash
    RootHashSignature RootImage RootImageOptions RootImagePolicy RootVerity RuntimeDirectory
    RuntimeDirectoryMode RuntimeDirectoryPreserve SELinuxContext SecureBits SendSIGHUP SendSIGKILL
    SetCredential SetCredentialEncrypted SetLoginEnvironment Slice SmackProcessLabel SocketBindAllow
    SocketBindDeny StandardError StandardInput StandardInputData StandardInputText StandardOutput
    StartupAllowedCPUs StartupAllowedMemoryNodes StartupBlockIOWeight StartupCPUShares
    StartupCPUWeight StartupIOWeight StartupMemoryHigh StartupMemoryLow StartupMemoryMax
    StartupMemorySwapMax StartupMemoryZSwapMax StateDirectory StateDirectoryMode SupplementaryGroups
    SyslogFacility SyslogIdentifier SyslogLevel SyslogLevelPrefix SystemCallArchitectures
    SystemCallErrorNumber SystemCallFilter SystemCallLog TTYColumns TTYPath TTYReset TTYRows
    TTYVHangup TTYVTDisallocate TasksAccounting TasksMax TemporaryFileSystem TimeoutCleanSec
    TimeoutSec TimerSlackNSec UMask UnsetEnvironment User UtmpIdentifier UtmpMode WatchdogSignal
    WorkingDirectory
    """.split()
)
"""Those of [Service] and [Socket]: systemd.exec(5), systemd.kill(5), systemd.resource-control(5)."""

_UNIT = frozenset(
    """
    After AllowIsolate AssertACPower AssertArchitecture AssertCPUFeature AssertCPUPressure
    AssertCPUs AssertCapability AssertControlGroupController AssertCredential
    AssertDirectoryNotEmpty AssertEnvironment AssertFileIsExecutable AssertFileNotEmpty
    AssertFirstBoot AssertGroup AssertHost AssertIOPressure AssertKernelCommandLine
    AssertKernelVersion AssertMemory AssertMemoryPressure AssertNeedsUpdate AssertOSRelease
    AssertPathExists AssertPathExistsGlob AssertPathIsDirectory AssertPathIsEncrypted
    AssertPathIsMountPoint AssertPathIsReadWrite AssertPathIsSymbolicLink AssertSecurity AssertUser
    AssertVirtualization Before BindTo BindsTo CollectMode ConditionACPower ConditionArchitecture
    ConditionCPUFeature ConditionCPUPressure ConditionCPUs ConditionCapability
    ConditionControlGroupController ConditionCredential ConditionDirectoryNotEmpty
    ConditionEnvironment ConditionFileIsExecutable ConditionFileNotEmpty ConditionFirmware
    ConditionFirstBoot ConditionGroup ConditionHost ConditionIOPressure ConditionKernelCommandLine
    ConditionKernelVersion ConditionMemory ConditionMemoryPressure ConditionNeedsUpdate
    ConditionOSRelease ConditionPathExists ConditionPathExistsGlob ConditionPathIsDirectory
    ConditionPathIsEncrypted ConditionPathIsMountPoint ConditionPathIsReadWrite
    ConditionPathIsSymbolicLink ConditionSecurity ConditionUser ConditionVirtualization Conflicts
    DefaultDependencies Description Documentation FailureAction FailureActionExitStatus
    IgnoreOnIsolate JobRunningTimeoutSec JobTimeoutAction JobTimeoutRebootArgument JobTimeoutSec
    JoinsNamespaceOf OnFailure OnFailureIsolate OnFailureJobMode OnSuccess OnSuccessJobMode PartOf
    PropagateReloadFrom PropagateReloadTo PropagatesReloadTo PropagatesStopTo RebootArgument
    RefuseManualStart RefuseManualStop ReloadPropagatedFrom Requires RequiresMountsFor
    RequiresOverridable Requisite RequisiteOverridable SourcePath StartLimitAction StartLimitBurst
    StartLimitInterval StartLimitIntervalSec StopPropagatedFrom StopWhenUnneeded SuccessAction
    SuccessActionExitStatus SurviveFinalKillSignal Upholds Wants WantsMountsFor
    """.split()
)

_SERVICE = frozenset(
    """
    BusName ExecCondition ExecReload ExecReloadPost ExecStart ExecStop ExitType FailureAction
    FileDescriptorStoreMax FileDescriptorStorePreserve GuessMainPID NonBlocking NotifyAccess
    OOMPolicy OpenFile PIDFile PermissionsStartOnly RebootArgument RefreshOnReload ReloadSignal
    RemainAfterExit Restart RestartForceExitStatus RestartMaxDelaySec RestartMode
    RestartPreventExitStatus RestartSec RestartSteps RootDirectoryStartOnly RuntimeMaxSec
    RuntimeRandomizedExtraSec Sockets StartLimitAction StartLimitBurst StartLimitInterval
    SuccessExitStatus TimeoutAbortSec TimeoutStartFailureMode TimeoutStartSec TimeoutStopFailureMode
    TimeoutStopSec Type USBFunctionDescriptors USBFunctionStrings WatchdogSec
    """.split()
)

_SOCKET = frozenset(
    """
    Accept AcceptFileDescriptors Backlog BindIPv6Only BindToDevice Broadcast DeferAcceptSec
    DeferTrigger DeferTriggerMaxSec DirectoryMode ExecStopPre FileDescriptorName FlushPending
    FreeBind IPTOS IPTTL KeepAlive KeepAliveIntervalSec KeepAliveProbes KeepAliveTimeSec
    ListenDatagram ListenFIFO ListenMessageQueue ListenNetlink ListenSequentialPacket ListenSpecial
    ListenStream ListenUSBFunction Mark MaxConnections MaxConnectionsPerSource
    MessageQueueMaxMessages MessageQueueMessageSize NoDelay PassCredentials
    PassFileDescriptorsToExec PassPacketInfo PassSecurity PipeSize PollLimitBurst
    PollLimitIntervalSec Priority ReceiveBuffer RemoveOnStop ReusePort SELinuxContextFromNet
    SendBuffer Service SmackLabel SmackLabelIPIn SmackLabelIPOut SocketGroup SocketMode
    SocketProtocol SocketUser Symlinks TCPCongestion Timestamping Transparent TriggerLimitBurst
    TriggerLimitIntervalSec Writable
    """.split()
)

_INSTALL = frozenset(
    """
    Alias Also DefaultInstance RequiredBy UpheldBy WantedBy
    """.split()
)

SECTIONS = {
    "Unit": _UNIT,
    "Service": _SERVICE | _EXECUTION,
    "Socket": _SOCKET | _EXECUTION,
    "Install": _INSTALL,
}
"""The options of each section."""

BOOLEANS = frozenset(
    """
    Accept AllowIsolate BlockIOAccounting Broadcast CPUAccounting CPUSchedulingResetOnFork
    CoredumpReceive DefaultDependencies DynamicUser FlushPending FreeBind GuessMainPID IOAccounting
    IPAccounting IgnoreOnIsolate IgnoreSIGPIPE KeepAlive LockPersonality MemoryAccounting
    MemoryDenyWriteExecute MemoryZSwapWriteback NoDelay NoNewPrivileges NonBlocking OnFailureIsolate
    PassCredentials PassFileDescriptorsToExec PassPacketInfo PassSecurity PermissionsStartOnly
    PrivateDevices PrivateIPC PrivateNetwork ProtectClock ProtectHostname ProtectKernelLogs
    ProtectKernelModules ProtectKernelTunables RefuseManualStart RefuseManualStop RemainAfterExit
    RemoveIPC RemoveOnStop RestrictRealtime RestrictSUIDSGID ReusePort RootDirectoryStartOnly
    RootEphemeral SELinuxContextFromNet SendSIGHUP SendSIGKILL StopWhenUnneeded
    SurviveFinalKillSignal SyslogLevelPrefix TTYReset TTYVHangup TTYVTDisallocate TasksAccounting
    Transparent Writable
    """.split()
)
"""Options that are yes or no."""

SPANS = frozenset(
    """
    TimeoutStartSec TimeoutStopSec TimeoutSec TimeoutAbortSec
    DeferAcceptSec KeepAliveIntervalSec KeepAliveTimeSec LogRateLimitIntervalSec
    MemoryPressureThresholdSec PollLimitIntervalSec RestartMaxDelaySec RestartSec RuntimeMaxSec
    RuntimeRandomizedExtraSec StartLimitInterval StartLimitIntervalSec TimeoutCleanSec
    TimeoutStartSec TriggerLimitIntervalSec WatchdogSec
    """.split()
)
"""Options that are a time span."""

_SINCE = {
    253: """
        OpenFile ReloadSignal MemoryZSwapMax LogFilterPatterns
    """,
    254: """
        RestartMode RestartSteps RestartMaxDelaySec FileDescriptorStorePreserve
        DelegateSubgroup RootEphemeral ExtensionImagePolicy MountImagePolicy
        RootImagePolicy ImportCredential MemoryKSM UpheldBy StartupMemoryMax
        StartupMemoryLow StartupMemoryHigh StartupMemorySwapMax StartupMemoryZSwapMax
        DefaultStartupMemoryLow MemoryPressureWatch MemoryPressureThresholdSec
    """,
    255: """
        PollLimitIntervalSec PollLimitBurst SurviveFinalKillSignal SetLoginEnvironment
        CoredumpReceive NFTSet
    """,
    256: """
        PassFileDescriptorsToExec WantsMountsFor MemoryZSwapWriteback
    """,
    257: """
        PrivatePIDs BindLogSockets ManagedOOMMemoryPressureDurationSec
    """,
    258: """
        DeferTrigger DeferTriggerMaxSec AcceptFileDescriptors
    """,
    259: """
        ExecReloadPost
    """,
    260: """
        RefreshOnReload
    """,
}
SINCE = {name: version for version, names in _SINCE.items() for name in names.split()}
"""The first version of systemd that has an option, if that is not 252 or an earlier one."""
