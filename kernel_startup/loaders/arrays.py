"""Arrays and models: NumPy, pickles, PyTorch, Keras, safetensors, GGUF, ONNX, records, IDX."""

import json
import math
import struct
from collections import OrderedDict
from typing import Any, BinaryIO

from kernel_startup.errors import FileLoadError
from kernel_startup.source import Source

#: What arrays may take that are kept in fewer bytes than they have.
_MAX_BYTES = 8 << 30
_MAX_RECORDS = 1_000_000


def load_npy(source: Source, *, mmap_mode: Any = None) -> Any:
    """Read a NumPy array; mmap_mode="r" leaves it on disk."""
    import numpy as np

    if mmap_mode is not None:
        return np.load(source.as_path(".npy"), mmap_mode=mmap_mode)
    with source.open() as file:
        size = source.size_bytes if source.compression is None else None
        return _read_npy(source, file, size)


def _read_npy(source: Source, file: BinaryIO, size: int | None) -> Any:
    import numpy as np
    from numpy.lib import format as npy

    version = npy.read_magic(file)
    if version == (1, 0):
        shape, _, kind = npy.read_array_header_1_0(file)
    else:
        shape, _, kind = npy.read_array_header_2_0(file)
    needed = math.prod(shape) * kind.itemsize
    # Objects are a pickle: where it comes from doesn't matter in a sandbox.
    if not kind.hasobject and size is not None and needed > size:
        raise FileLoadError(
            source.name,
            f"a NumPy array of shape {shape} and type {kind}, which is {needed:,} bytes; "
            f"the file has {size:,}, so it is cut off or lies",
        )
    file.seek(0)
    try:
        return np.load(file, allow_pickle=kind.hasobject)
    except (ImportError, AttributeError) as error:
        raise _missing_class(source, error) from error


def load_npz(source: Source, *, columns: list[str] | None = None) -> dict[str, Any]:
    """Read NumPy arrays by name; columns= names those wanted."""
    import zipfile

    found: dict[str, Any] = {}
    with source.open() as file, zipfile.ZipFile(file) as archive:
        members = [m for m in archive.infolist() if m.filename.endswith(".npy")]
        wanted = [m for m in members if columns is None or m.filename[:-4] in columns]
        if sum(member.file_size for member in wanted) > _MAX_BYTES:
            raise FileLoadError(
                source.name,
                f"NumPy arrays that unpack to {sum(m.file_size for m in wanted):,} bytes",
                remedy="columns= names the arrays wanted",
            )
        for member in wanted:
            with archive.open(member) as array:
                found[member.filename[:-4]] = _read_npy(source, array, member.file_size)  # type: ignore[arg-type]
    return found


def load_idx(source: Source) -> Any:
    """Read an IDX array (MNIST)."""
    import numpy as np

    content = source.read()
    kinds = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
    shape = struct.unpack_from(f">{content[3]}I", content, 4)
    values = np.frombuffer(content, dtype=kinds[content[2]], offset=4 + 4 * content[3])
    return values.reshape(shape).astype(values.dtype.newbyteorder("="))


# -- pickles -------------------------------------------------------------------------------------


def load_pickle(source: Source, *, encoding: str = "ASCII", errors: str = "strict") -> Any:
    """Unpickle, which runs what the pickle says: kernels are sandboxes.

    Args:
        source: The file.
        encoding: Of strings that Python 2 stored ("latin1", "bytes").
        errors: What to do with those that don't fit.
    """
    import pickle

    import pandas as pd

    with source.open() as file:
        try:
            return pickle.load(file, encoding=encoding, errors=errors)
        except UnicodeDecodeError:
            if encoding != "ASCII":
                raise
            file.seek(0)
            return pickle.load(file, encoding="latin1")
        except (ImportError, AttributeError) as error:
            try:
                file.seek(0)
                return pd.read_pickle(file)  # it knows where pandas' classes have moved
            except Exception:
                raise _missing_class(source, error) from error
        except (RecursionError, MemoryError) as error:
            raise FileLoadError(source.name, "a pickle that asks for too much") from error


def _missing_class(source: Source, error: Exception) -> FileLoadError:
    package = getattr(error, "name", None) if isinstance(error, ImportError) else None
    remedy = "It needs the classes that it was made with"
    if package:
        remedy = f"It needs the package {package.partition('.')[0]}: import it first"
    return FileLoadError(source.name, "a Python pickle", "unpickling it", str(error), remedy)


def load_joblib(source: Source) -> Any:
    """Read what joblib stored, which runs what the pickle says: kernels are sandboxes."""
    import joblib

    try:
        return joblib.load(str(source.as_path(".joblib")))
    except (ImportError, AttributeError) as error:
        raise _missing_class(source, error) from error


# -- PyTorch, without PyTorch --------------------------------------------------------------------

_TORCH_TYPES = {
    "Double": "<f8", "Float": "<f4", "Half": "<f2", "BFloat16": "<u2", "Long": "<i8",
    "Int": "<i4", "Short": "<i2", "Char": "i1", "Byte": "u1", "Bool": "?",
    "ComplexFloat": "<c8", "ComplexDouble": "<c16",
}  # fmt: skip
#: What a model may call beyond its tensors: nothing that acts.
_SAFE = {
    ("collections", "OrderedDict"), ("collections", "defaultdict"), ("builtins", "set"),
    ("builtins", "frozenset"), ("builtins", "complex"), ("builtins", "slice"),
    ("builtins", "int"), ("builtins", "float"), ("builtins", "list"), ("builtins", "dict"),
    ("builtins", "bytearray"), ("numpy", "dtype"), ("datetime", "datetime"),
    ("numpy.core.multiarray", "scalar"), ("numpy._core.multiarray", "scalar"),
}  # fmt: skip


class TorchObject:
    """What stands for an object of a class that isn't here.

    Attributes:
        torch_class: The class's name.
        arguments: What it was made of.
        state: What was set on it.
    """

    torch_class = ""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self.arguments = arguments
        self.state: Any = named

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        if not isinstance(getattr(self, "state", None), dict):
            self.state = {}
        self.state[key] = value

    def append(self, value: Any) -> None:
        """Take an item of a list's kind of class."""
        self.arguments = (*getattr(self, "arguments", ()), value)

    def extend(self, values: Any) -> None:
        """Take items of a list's kind of class."""
        for value in values:
            self.append(value)

    def __repr__(self) -> str:
        return f"<{self.torch_class}>"


def _stand_in(module: str, name: str) -> type[TorchObject]:
    return type(name, (TorchObject,), {"torch_class": f"{module}.{name}"})


def load_torch(source: Source) -> Any:
    """Read a PyTorch file's tensors as NumPy arrays; other objects become stand-ins."""
    import zipfile

    with source.open() as file, zipfile.ZipFile(file) as archive:
        names = frozenset(archive.namelist())
        main = min((n for n in names if n.endswith("data.pkl")), key=len)
        folder = main.removesuffix("data.pkl")
        budget = [_MAX_BYTES]

        def storage(key: str, kind: str, count: int) -> Any:
            info = archive.getinfo(f"{folder}data/{key}")
            budget[0] -= info.file_size
            if budget[0] < 0:
                raise ValueError("its tensors take more than 8 GiB")
            return _torch_values(archive.read(info), kind)

        with archive.open(main) as pickled:
            return _unpickle_torch(source, pickled, storage)


def load_torch_legacy(source: Source) -> Any:
    """Read a PyTorch file of before version 1.6 in the same way."""
    import io

    import numpy as np

    file = io.BytesIO(source.read())
    kinds: dict[str, tuple[str, int]] = {}
    arrays: dict[str, Any] = {}

    def storage(key: str, kind: str, count: int) -> Any:
        size = count * np.dtype(_TORCH_TYPES.get(kind, "u1")).itemsize
        if size > source.size_bytes and source.compression is None:
            raise ValueError("a tensor is larger than the file")
        kinds[key] = (kind, count)
        return arrays.setdefault(key, np.zeros(count, _TORCH_TYPES.get(kind, "u1")))

    for _ in range(3):  # the magic number, the version, the machine
        _Unpickler(file, storage).load()
    found = _Unpickler(file, storage).load()
    for key in _Unpickler(file, storage).load():
        (count,) = struct.unpack("<q", file.read(8))
        values = arrays[str(key)]
        values[:count] = np.frombuffer(file.read(count * values.itemsize), values.dtype)
    return found


def _torch_values(content: bytes, kind: str) -> Any:
    import numpy as np

    kind = _TORCH_TYPES.get(kind, "u1")
    size = np.dtype(kind).itemsize
    return np.frombuffer(content[: len(content) // size * size], dtype=kind)


def _unpickle_torch(source: Source, file: Any, storage: Any) -> Any:
    try:
        return _Unpickler(file, storage).load()
    except (RecursionError, MemoryError) as error:
        raise FileLoadError(source.name, "a PyTorch file that asks for too much") from error


class _Unpickler:
    """Unpickles a PyTorch file without running anything of it."""

    def __init__(self, file: Any, storage: Any) -> None:
        import pickle

        class Unpickler(pickle.Unpickler):
            def find_class(self, module: str, name: str) -> Any:
                return _torch_class(module, name) or (
                    super().find_class(module, name)
                    if (module, name) in _SAFE
                    else _stand_in(module, name)
                )

            def persistent_load(self, pid: Any) -> Any:
                _, kind, key, _, count, *_ = pid
                name = kind if isinstance(kind, str) else getattr(kind, "torch_class", "")
                short = name.rpartition(".")[2].removesuffix("Storage")
                return short, storage(str(key), short, int(count))

        self._unpickler = Unpickler(file, encoding="utf-8")

    def load(self) -> Any:
        """Give the next object."""
        return self._unpickler.load()


def _torch_class(module: str, name: str) -> Any:
    if module == "torch._utils" and name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
        return _rebuild_tensor
    if module == "torch._utils" and name.startswith("_rebuild_parameter"):
        return _first
    if module == "torch" and name == "Size":
        return tuple
    if module == "collections" and name == "OrderedDict":
        return OrderedDict
    return None


def _first(value: Any, *_: Any) -> Any:
    return value


def _rebuild_tensor(
    storage: tuple[str, Any], offset: int, shape: Any, strides: Any, *_: Any
) -> Any:
    import numpy as np
    from numpy.lib.stride_tricks import as_strided

    kind, values = storage
    shape, strides = tuple(map(int, shape)), tuple(map(int, strides))
    offset = int(offset)
    last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    if min((offset, *shape, *strides), default=0) < 0:
        raise ValueError("a tensor with negative sizes")
    if 0 in shape:
        return np.zeros(shape, values.dtype)
    if last >= len(values):
        raise ValueError("a tensor that is larger than its storage")
    view = as_strided(values[offset:], shape, [s * values.itemsize for s in strides])
    if kind == "BFloat16":
        if math.prod(shape) > len(values):
            raise ValueError("a tensor that is larger than its storage")
        return (view.astype(np.uint32) << 16).view(np.float32)
    return view


def load_keras(source: Source) -> dict[str, Any]:
    """Read a Keras model: its configuration, and its weights by name."""
    import io
    import zipfile

    import h5py
    import numpy as np

    with source.open() as file, zipfile.ZipFile(file) as archive:
        if sum(member.file_size for member in archive.infolist()) > _MAX_BYTES:
            raise FileLoadError(source.name, "a Keras model that unpacks to more than 8 GiB")
        found: dict[str, Any] = {
            "config": json.loads(archive.read("config.json")),
            "metadata": json.loads(archive.read("metadata.json")),
        }
        weights = archive.read("model.weights.h5")
    arrays: dict[str, Any] = {}
    with h5py.File(io.BytesIO(weights), "r") as stored:

        def keep(name: str, node: Any) -> None:
            if isinstance(node, h5py.Dataset) and (node.nbytes or 0) <= _MAX_BYTES:
                arrays[name] = np.asarray(node[()])

        stored.visititems(keep)
    return {**found, "weights": arrays}


# -- tensors with a header -----------------------------------------------------------------------

_SAFETENSORS_TYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4",
    "I16": "<i2", "I8": "i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1",
    "BOOL": "?", "C64": "<c8", "F8_E4M3": "u1", "F8_E5M2": "u1",
}  # fmt: skip


def load_safetensors(source: Source, *, columns: list[str] | None = None) -> dict[str, Any]:
    """Read tensors by name; columns= names those wanted. They stay on disk until they are used."""
    import numpy as np

    path = source.as_path()
    size = path.stat().st_size
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > min(size - 8, 100_000_000):
            raise FileLoadError(source.name, "safetensors whose header is cut off")
        header = json.loads(file.read(length))
    if not isinstance(header, dict):
        raise FileLoadError(source.name, "safetensors without a header")
    told = header.pop("__metadata__", None)
    if told:
        source.note(f"{source.name!r} says of itself: {str(told)[:500]}.")
    found: dict[str, Any] = {}
    raw = np.memmap(path, mode="r") if size > length + 8 else np.zeros(size, "u1")
    for name, entry in header.items():
        if columns is not None and name not in columns:
            continue
        start, end = entry["data_offsets"]
        kind, shape = entry["dtype"], tuple(entry["shape"])
        if kind not in _SAFETENSORS_TYPES:
            source.note(f"{name!r} is left out: NumPy has no type {kind}.")
            continue
        if not 0 <= start <= end <= size - 8 - length:
            raise FileLoadError(source.name, f"safetensors that are cut off: {name!r} is missing")
        values = raw[8 + length + start : 8 + length + end].view(_SAFETENSORS_TYPES[kind])
        values = values.reshape(shape)
        if kind == "BF16":
            values = (np.asarray(values).astype(np.uint32) << 16).view(np.float32)
        found[name] = values
    return found


_GGUF_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1",
    10: "Q2_K", 11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K", 16: "IQ2_XXS",
    17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S",
    23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M", 30: "BF16",
}  # fmt: skip
_GGUF_SCALARS = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"
}  # fmt: skip


def load_gguf(source: Source) -> dict[str, Any]:
    """Read what a GGUF model says of itself, and of its tensors."""
    import pandas as pd

    with source.open() as file:
        file.seek(4)
        (version,) = struct.unpack("<I", file.read(4))
        order = "<" if version < 1 << 16 else ">"
        if order == ">":
            version = version >> 24
        reader = _Gguf(file, order, version)
        tensors, pairs = reader.size(), reader.size()
        if max(tensors, pairs) > 1_000_000:
            raise FileLoadError(source.name, "a GGUF model whose header lies")
        metadata: dict[str, Any] = {"version": version}
        for _ in range(pairs):
            key = reader.text()
            metadata[key] = reader.value(reader.number("I"))
        rows = []
        for _ in range(tensors):
            name = reader.text()
            count = reader.number("I")
            if count > 16:
                raise FileLoadError(source.name, "a GGUF model whose header lies")
            shape = tuple(reader.size() for _ in range(count))[::-1]
            kind = reader.number("I")
            rows.append((name, shape, _GGUF_TYPES.get(kind, str(kind)), reader.number("Q")))
    table = pd.DataFrame(rows, columns=["name", "shape", "type", "offset"])
    return {"metadata": metadata, "tensors": table}


class _Gguf:
    """The values of a GGUF header, one after the other."""

    def __init__(self, file: BinaryIO, order: str, version: int) -> None:
        self._file = file
        self._order = order
        self._size = "I" if version == 1 else "Q"

    def number(self, kind: str) -> Any:
        """A number, by struct's letter for it."""
        return self._numbers(kind, 1)[0]

    def size(self) -> int:
        """A size, which has as many bytes as the version says."""
        return int(self.number(self._size))

    def text(self) -> str:
        """A string."""
        return self._take(self.size()).decode(errors="replace")

    def value(self, kind: int, depth: int = 0) -> Any:
        """A value of a type by its number."""
        if kind == 8:
            return self.text()
        if kind != 9:
            return self.number(_GGUF_SCALARS[kind])
        inner, count = self.number("I"), self.size()
        if depth > 8:
            raise ValueError("lists nested more than 8 deep")
        if inner in _GGUF_SCALARS:
            return list(self._numbers(_GGUF_SCALARS[inner], count))
        return [self.value(inner, depth + 1) for _ in range(count)]

    def _numbers(self, kind: str, count: int) -> tuple[Any, ...]:
        size = struct.calcsize(f"<{kind}") * count
        return struct.unpack(f"{self._order}{count}{kind}", self._take(size))

    def _take(self, size: int) -> bytes:
        if size > 256 << 20:
            raise ValueError(f"a value of {size:,} bytes in its header")
        content = self._file.read(size)
        if len(content) < size:
            raise ValueError("it is cut off in its header")
        return content


def load_onnx(source: Source) -> Any:
    """Read an ONNX model; tensors in other files aren't loaded."""
    import onnx

    return onnx.load_from_string(source.read())


# -- records -------------------------------------------------------------------------------------


def load_tfrecord(source: Source, *, nrows: int | None = None) -> list[Any]:
    """Read TensorFlow's records: the features of those that are examples, else bytes."""
    found: list[Any] = []
    limit = _MAX_RECORDS if nrows is None else nrows
    with source.open() as file:
        while len(found) < limit and (head := file.read(12)):
            if len(head) < 12:
                source.note(f"{source.name!r} is cut off after {len(found):,} records.")
                break
            (length,) = struct.unpack_from("<Q", head)
            if length > 1 << 30:
                raise FileLoadError(source.name, "records that are damaged")
            record = file.read(length)
            if len(record) < length or len(file.read(4)) < 4:
                source.note(f"{source.name!r} is cut off after {len(found):,} records.")
                break
            found.append(_example(record))
        if nrows is None and len(found) == limit and file.read(1):
            source.note(f"{source.name!r}: only the first {limit:,} records were read.")
    return found


def _example(record: bytes) -> Any:
    """The features of a tf.train.Example; the record if it isn't one."""
    try:
        (features,) = [value for field, value in _fields(record) if field == 1]
        found = {}
        for _, entry in _fields(features):
            parts = dict(_fields(entry))
            found[parts[1].decode()] = _feature(parts[2])
        return found or record
    except (ValueError, KeyError, IndexError, AttributeError, TypeError, struct.error):
        return record


def _feature(content: bytes) -> list[Any]:
    values: list[Any] = []
    for kind, inner in _fields(content):
        for _, value in _fields(inner):
            if kind == 1:
                values.append(value)
            elif kind == 2:
                values += struct.unpack(f"<{len(value) // 4}f", value)
            else:
                values += [value] if isinstance(value, int) else _varints(value)
    return values


def _fields(message: bytes) -> list[tuple[int, Any]]:
    """The fields of a protocol buffer's message."""
    found: list[tuple[int, Any]] = []
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        wire = key & 7
        value: Any
        if wire == 0:
            value, at = _varint(message, at)
        else:
            if wire == 2:
                size, at = _varint(message, at)
            else:
                size = {1: 8, 5: 4}[wire]
            value = message[at : at + size]
            if len(value) < size:
                raise ValueError("cut off")
            at += size
        found.append((key >> 3, value))
    return found


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("not a varint")


def _varints(content: bytes) -> list[int]:
    found, at = [], 0
    while at < len(content):
        value, at = _varint(content, at)
        found.append(value - (1 << 64) if value >> 63 else value)
    return found
