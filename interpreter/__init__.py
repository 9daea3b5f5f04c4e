"""Cellmate's service: sandboxed, long-lived IPython kernels, one for each user, and their files.

async with Interpreter.open(Settings(data_dir=...)) as service:
    session = await service.session(user_id="42")
    result = await session.execute("1 + 1")
"""

from interpreter.errors import (
    DatabaseUnavailable,
    DataDirectoryInUse,
    DataDirectoryUnusable,
    FileStoreError,
    FileTooLarge,
    HostError,
    InterpreterError,
    InvalidName,
    InvalidRecord,
    KernelEnvironmentFailed,
    KernelStartFailed,
    NoCapacity,
    PackagesDisabled,
    QueueFull,
    SandboxUnavailable,
    SessionClosed,
    SessionError,
    SettingProblem,
    SettingsError,
    StorageFailed,
    StoredFileNotFound,
    UnusableSource,
)
from interpreter.execution import (
    Durations,
    Execution,
    OnInput,
    OnOutput,
    OnPhase,
    Phase,
    SkippedArtifact,
    Status,
)
from interpreter.files import FileStore, StoredFile
from interpreter.inspection import Completion, KernelInfo, Variable
from interpreter.limits import SessionLimits
from interpreter.outputs import (
    CellError,
    ClearOutput,
    DisplayData,
    ExecuteResult,
    Output,
    Stream,
)
from interpreter.packages import Installation
from interpreter.reattaching import Recovered
from interpreter.records import Record, RecordStore
from interpreter.samples import ResourceSample
from interpreter.service import Interpreter
from interpreter.sessions import Session
from interpreter.settings import Settings

__all__ = [
    "CellError",
    "ClearOutput",
    "Completion",
    "DataDirectoryInUse",
    "DataDirectoryUnusable",
    "DatabaseUnavailable",
    "DisplayData",
    "Durations",
    "ExecuteResult",
    "Execution",
    "FileStore",
    "FileStoreError",
    "FileTooLarge",
    "HostError",
    "Installation",
    "Interpreter",
    "InterpreterError",
    "InvalidName",
    "InvalidRecord",
    "KernelEnvironmentFailed",
    "KernelInfo",
    "KernelStartFailed",
    "NoCapacity",
    "OnInput",
    "OnOutput",
    "OnPhase",
    "Output",
    "PackagesDisabled",
    "Phase",
    "QueueFull",
    "Record",
    "RecordStore",
    "Recovered",
    "ResourceSample",
    "SandboxUnavailable",
    "Session",
    "SessionClosed",
    "SessionError",
    "SessionLimits",
    "SettingProblem",
    "Settings",
    "SettingsError",
    "SkippedArtifact",
    "Status",
    "StorageFailed",
    "StoredFile",
    "StoredFileNotFound",
    "Stream",
    "UnusableSource",
    "Variable",
]
