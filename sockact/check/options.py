"""The options of units, by their sections, and the versions of systemd that know them.

Sources: `systemd --dump-configuration-items` of 252, 257 and 262; their man pages and systemd's NEWS.
"""

from __future__ import annotations

_EXECUTION = frozenset(
    """
    AllowedCPUs AllowedMemoryNodes AmbientCapabilities AppArmorProfile BPFDelegateAttachments
    BPFDelegateCommands BPFDelegateMaps BPFDelegatePrograms BPFProgram BindLogSockets
    BindNetworkInterface BindPaths BindReadOnlyPaths BlockIOAccounting BlockIODeviceWeight
    BlockIOReadBandwidth BlockIOWeight BlockIOWriteBandwidth CPUAccounting CPUAffinity
    CPUPressureThresholdSec CPUPressureWatch CPUQuota CPUQuotaPeriodSec CPUSchedulingPolicy
    CPUSchedulingPriority CPUSchedulingResetOnFork CPUSetPartition CPUShares CPUWeight
    CacheDirectory CacheDirectoryAccounting CacheDirectoryMode CacheDirectoryQuota
    CapabilityBoundingSet ConfigurationDirectory ConfigurationDirectoryMode CoredumpFilter
    CoredumpReceive DefaultMemoryLow DefaultMemoryMin DefaultStartupMemoryLow Delegate
    DelegateNamespaces DelegateSubgroup DeviceAllow DevicePolicy DisableControllers DynamicUser
    Environment EnvironmentFile ExecPaths ExecSearchPath ExecStartPost ExecStartPre ExecStopPost
    ExtensionDirectories ExtensionImagePolicy ExtensionImages FinalKillSignal Group IOAccounting
    IODeviceLatencyTargetSec IODeviceWeight IOPressureThresholdSec IOPressureWatch
    IOReadBandwidthMax IOReadIOPSMax IOSchedulingClass IOSchedulingPriority IOWeight
    IOWriteBandwidthMax IOWriteIOPSMax IPAccounting IPAddressAllow IPAddressDeny IPCNamespacePath
    IPEgressFilterPath IPIngressFilterPath IgnoreSIGPIPE ImportCredential InaccessibleDirectories
    InaccessiblePaths KeyringMode KillMode KillSignal LimitAS LimitCORE LimitCPU LimitDATA
    LimitFSIZE LimitLOCKS LimitMEMLOCK LimitMSGQUEUE LimitNICE LimitNOFILE LimitNPROC LimitRSS
    LimitRTPRIO LimitRTTIME LimitSIGPENDING LimitSTACK LoadCredential LoadCredentialEncrypted
    LockPersonality LogExtraFields LogFilterPatterns LogLevelMax LogNamespace LogRateLimitBurst
    LogRateLimitIntervalSec LogsDirectory LogsDirectoryAccounting LogsDirectoryMode
    LogsDirectoryQuota ManagedOOMMemoryPressure ManagedOOMMemoryPressureDurationSec
    ManagedOOMMemoryPressureLimit ManagedOOMPreference ManagedOOMSwap MemoryAccounting
    MemoryDenyWriteExecute MemoryHigh MemoryKSM MemoryLimit MemoryLow MemoryMax MemoryMin
    MemoryPressureThresholdSec MemoryPressureWatch MemorySwapMax MemoryTHP MemoryZSwapMax
    MemoryZSwapWriteback MountAPIVFS MountFlags MountImagePolicy MountImages NFTSet NUMAMask
    NUMAPolicy NetworkNamespacePath Nice NoExecPaths NoNewPrivileges OOMRules OOMScoreAdjust PAMName
    PassEnvironment Personality PrivateBPF PrivateDevices PrivateIPC PrivateMounts PrivateNetwork
    PrivatePIDs PrivateTmp PrivateUsers ProcSubset ProtectClock ProtectControlGroups ProtectHome
    ProtectHostname ProtectKernelLogs ProtectKernelModules ProtectKernelTunables ProtectProc
    ProtectSystem ReadOnlyDirectories ReadOnlyPaths ReadWriteDirectories ReadWritePaths RemoveIPC
    RestartKillSignal RestrictAddressFamilies RestrictFileSystems RestrictNamespaces
    RestrictNetworkInterfaces RestrictRealtime RestrictSUIDSGID RootDirectory RootEphemeral RootHash
    RootHashSignature RootImage RootImageOptions RootImagePolicy RootMStack RootVerity
    RuntimeDirectory RuntimeDirectoryMode RuntimeDirectoryPreserve SELinuxContext SecureBits
    SendSIGHUP SendSIGKILL SetCredential SetCredentialEncrypted SetLoginEnvironment Slice
    SmackProcessLabel SocketBindAllow SocketBindDeny StandardError StandardInput StandardInputData
    StandardInputText StandardOutput StartupAllowedCPUs StartupAllowedMemoryNodes
    StartupBlockIOWeight StartupCPUShares StartupCPUWeight StartupIOWeight StartupMemoryHigh
    StartupMemoryLow StartupMemoryMax StartupMemorySwapMax StartupMemoryZSwapMax StateDirectory
    StateDirectoryAccounting StateDirectoryMode StateDirectoryQuota SupplementaryGroups
    SyslogFacility SyslogIdentifier SyslogLevel SyslogLevelPrefix SystemCallArchitectures
    SystemCallErrorNumber SystemCallFilter SystemCallLog TTYColumns TTYPath TTYReset TTYRows
    TTYVHangup TTYVTDisallocate TasksAccounting TasksMax TemporaryFileSystem TimeoutCleanSec
    TimeoutSec TimerSlackNSec UMask UnsetEnvironment User UserNamespacePath UtmpIdentifier UtmpMode
    WatchdogSignal WorkingDirectory
    """.split()
)
"""Those of [Service] and [Socket]: systemd.exec(5), systemd.kill(5), systemd.resource-control(5)."""

_UNIT = frozenset(
    """
    After AllowIsolate AssertACPower AssertArchitecture AssertCPUFeature AssertCPUPressure
    AssertCPUs AssertCapability AssertControlGroupController AssertCredential
    AssertDirectoryNotEmpty AssertEnvironment AssertFileIsExecutable AssertFileNotEmpty
    AssertFirstBoot AssertFraction AssertGroup AssertHost AssertIOPressure AssertKernelCommandLine
    AssertKernelModuleLoaded AssertKernelVersion AssertMachineTag AssertMemory AssertMemoryPressure
    AssertNeedsUpdate AssertOSRelease AssertPathExists AssertPathExistsGlob AssertPathIsDirectory
    AssertPathIsEncrypted AssertPathIsMountPoint AssertPathIsReadWrite AssertPathIsSocket
    AssertPathIsSymbolicLink AssertSecurity AssertUser AssertVersion AssertVirtualization Before
    BindTo BindsTo CollectMode ConditionACPower ConditionArchitecture ConditionCPUFeature
    ConditionCPUPressure ConditionCPUs ConditionCapability ConditionControlGroupController
    ConditionCredential ConditionDirectoryNotEmpty ConditionEnvironment ConditionFileIsExecutable
    ConditionFileNotEmpty ConditionFirmware ConditionFirstBoot ConditionFraction ConditionGroup
    ConditionHost ConditionIOPressure ConditionKernelCommandLine ConditionKernelModuleLoaded
    ConditionKernelVersion ConditionMachineTag ConditionMemory ConditionMemoryPressure
    ConditionNeedsUpdate ConditionOSRelease ConditionPathExists ConditionPathExistsGlob
    ConditionPathIsDirectory ConditionPathIsEncrypted ConditionPathIsMountPoint
    ConditionPathIsReadWrite ConditionPathIsSocket ConditionPathIsSymbolicLink ConditionSecurity
    ConditionUser ConditionVersion ConditionVirtualization Conflicts DefaultDependencies Description
    Documentation FailureAction FailureActionExitStatus IgnoreOnIsolate JobRunningTimeoutSec
    JobTimeoutAction JobTimeoutRebootArgument JobTimeoutSec JoinsNamespaceOf OnFailure
    OnFailureIsolate OnFailureJobMode OnSuccess OnSuccessJobMode PartOf PropagateReloadFrom
    PropagateReloadTo PropagatesReloadTo PropagatesStopTo RebootArgument RefuseManualStart
    RefuseManualStop ReloadPropagatedFrom Requires RequiresMountsFor RequiresOverridable Requisite
    RequisiteOverridable SourcePath StartLimitAction StartLimitBurst StartLimitInterval
    StartLimitIntervalSec StopPropagatedFrom StopWhenUnneeded SuccessAction SuccessActionExitStatus
    SurviveFinalKillSignal Upholds Wants WantsMountsFor
    """.split()
)

_SERVICE = frozenset(
    """
    BusName ExecCondition ExecReload ExecReloadPost ExecStart ExecStop ExitType FailureAction
    FileDescriptorStoreMax FileDescriptorStorePreserve GuessMainPID LUOSession NonBlocking
    NotifyAccess OOMPolicy OpenFile PIDFile PermissionsStartOnly RebootArgument RefreshOnReload
    ReloadSignal RemainAfterExit Restart RestartForceExitStatus RestartMaxDelaySec RestartMode
    RestartPreventExitStatus RestartRandomizedDelaySec RestartSec RestartSteps
    RootDirectoryStartOnly RuntimeMaxSec RuntimeRandomizedExtraSec Sockets StartLimitAction
    StartLimitBurst StartLimitInterval SuccessExitStatus TimeoutAbortSec TimeoutStartFailureMode
    TimeoutStartSec TimeoutStopFailureMode TimeoutStopSec Type USBFunctionDescriptors
    USBFunctionStrings WatchdogSec
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
    PassFileDescriptorsToExec PassPIDFD PassPacketInfo PassSecurity PipeSize PollLimitBurst
    PollLimitIntervalSec Priority ReceiveBuffer RemoveOnStop ReusePort SELinuxContextFromNet
    SendBuffer Service SmackLabel SmackLabelIPIn SmackLabelIPOut SocketGroup SocketMode
    SocketProtocol SocketUser Symlinks TCPCongestion Timestamping Transparent TriggerLimitBurst
    TriggerLimitIntervalSec Writable XAttrAccept XAttrEntryPoint XAttrListen
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
    CacheDirectoryAccounting CoredumpReceive DefaultDependencies DynamicUser FlushPending FreeBind
    GuessMainPID IOAccounting IPAccounting IgnoreOnIsolate IgnoreSIGPIPE KeepAlive LockPersonality
    LogsDirectoryAccounting MemoryAccounting MemoryDenyWriteExecute MemoryZSwapWriteback NoDelay
    NoNewPrivileges NonBlocking OnFailureIsolate PassCredentials PassFileDescriptorsToExec PassPIDFD
    PassPacketInfo PassSecurity PermissionsStartOnly PrivateDevices PrivateIPC PrivateNetwork
    ProtectClock ProtectHostname ProtectKernelLogs ProtectKernelModules ProtectKernelTunables
    RefuseManualStart RefuseManualStop RemainAfterExit RemoveIPC RemoveOnStop RestrictRealtime
    RestrictSUIDSGID ReusePort RootDirectoryStartOnly RootEphemeral SELinuxContextFromNet SendSIGHUP
    SendSIGKILL StateDirectoryAccounting StopWhenUnneeded SurviveFinalKillSignal SyslogLevelPrefix
    TTYReset TTYVHangup TTYVTDisallocate TasksAccounting Transparent Writable
    """.split()
)
"""Options that are yes or no."""

SPANS = frozenset(
    """
    CPUPressureThresholdSec DeferAcceptSec IOPressureThresholdSec KeepAliveIntervalSec
    KeepAliveTimeSec LogRateLimitIntervalSec MemoryPressureThresholdSec PollLimitIntervalSec
    RestartMaxDelaySec RestartRandomizedDelaySec RestartSec RuntimeMaxSec RuntimeRandomizedExtraSec
    StartLimitInterval StartLimitIntervalSec TimeoutAbortSec TimeoutCleanSec TimeoutSec
    TimeoutStartSec TimeoutStopSec TriggerLimitIntervalSec WatchdogSec
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
        DeferTrigger DeferTriggerMaxSec AcceptFileDescriptors ConditionKernelModuleLoaded
        AssertKernelModuleLoaded ConditionVersion AssertVersion BPFDelegateAttachments
        BPFDelegateCommands BPFDelegateMaps BPFDelegatePrograms PrivateBPF
        DelegateNamespaces StateDirectoryAccounting StateDirectoryQuota
        CacheDirectoryAccounting CacheDirectoryQuota LogsDirectoryAccounting
        LogsDirectoryQuota PassPIDFD
    """,
    259: """
        ExecReloadPost UserNamespacePath
    """,
    260: """
        RefreshOnReload BindNetworkInterface MemoryTHP RootMStack ConditionPathIsSocket
        AssertPathIsSocket
    """,
    261: """
        ConditionFraction AssertFraction ConditionMachineTag AssertMachineTag
        CPUPressureWatch CPUPressureThresholdSec IOPressureWatch IOPressureThresholdSec
        CPUSetPartition OOMRules
    """,
    262: """
        LUOSession RestartRandomizedDelaySec XAttrAccept XAttrEntryPoint XAttrListen
    """,
}
SINCE = {name: version for version, names in _SINCE.items() for name in names.split()}
"""The first version of systemd that has an option, if that is not 252 or an earlier one."""

GONE = frozenset(
    """
    BlockIOAccounting BlockIODeviceWeight BlockIOReadBandwidth BlockIOWeight BlockIOWriteBandwidth
    CPUAccounting CPUShares DefaultMemoryLow DefaultMemoryMin DefaultStartupMemoryLow MemoryLimit
    StartupBlockIOWeight StartupCPUShares
    """.split()
)
"""Options that systemd 262 ignores, and 257 does not."""
