"""Molecules, crystals, trajectories: by gemmi and rdkit; simple tables of atoms are read here."""

import io
import itertools
import math
import re
import struct
from collections.abc import Iterator
from typing import Any

from kernel_startup.errors import FileLoadError
from kernel_startup.loaders.biology_xml import elements
from kernel_startup.loaders.described import source_info
from kernel_startup.loaders.lines import MAX_ROWS, as_numbers, limited, noting, open_text
from kernel_startup.source import Source

_MAX_BYTES = 2 * 1024**3
#: What rdkit makes of each molecule costs some kilobytes.
MAX_MOLECULES = 100_000


def _text(source: Source) -> str:
    with open_text(source) as text:
        return text.read()


# -- structures of large molecules ---------------------------------------------------------------


def load_pdb(source: Source) -> Any:
    """Read a structure: models of chains of residues of atoms."""
    import gemmi

    with noting(source):
        structure = gemmi.read_pdb_string(_text(source))
    return structure


def load_mmcif(source: Source) -> Any:
    """Read a structure; a document of gemmi's if it has no atoms (restraints, reflections)."""
    import gemmi

    with noting(source):
        document = gemmi.cif.read_string(_text(source))
        for block in document:
            if block.find_values("_atom_site.Cartn_x"):
                return _structure(source, block)
        for block in document:
            if block.find_values("_chem_comp_atom.atom_id"):
                return gemmi.make_structure_from_chemcomp_block(block)
    return document


def _structure(source: Source, block: Any) -> Any:
    """Make a structure, or a table of the atoms where columns lack that gemmi can't do without."""
    import gemmi

    structure = gemmi.make_structure_from_block(block)
    if len(structure):
        return structure
    source.note(f"{source.name!r} lacks columns of a structure: it is a table of atoms.")
    return _table(block.find_values("_atom_site.Cartn_x").get_loop())


def _table(loop: Any) -> Any:
    """Make a DataFrame of a loop, the columns without their category."""
    import gemmi
    import pandas as pd

    tags = [tag.lstrip("_") for tag in loop.tags]
    width = len(tags)
    values = [gemmi.cif.as_string(value) for value in loop.values]
    rows = [values[at : at + width] for at in range(0, len(values), width)]
    table = pd.DataFrame(rows, columns=tags, dtype="str")
    for tag in tags:
        table[tag] = as_numbers(table[tag], ("?", "."))
    return table


def load_cif(source: Source) -> Any:
    """Read a crystal's structure; a document of gemmi's if it has none."""
    import gemmi

    with noting(source):
        document = gemmi.cif.read_string(_text(source))
        for block in document:
            if block.find_values("_atom_site.Cartn_x"):
                return _structure(source, block)
        for block in document:
            if block.find_values("_atom_site_fract_x"):
                return gemmi.make_small_structure_from_block(block)
    return document


def load_star(source: Source) -> dict[str, Any]:
    """Read STAR's tables: block.category -> DataFrame, a single value a row of one."""
    import gemmi

    with noting(source):
        document = gemmi.cif.read_string(_text(source))
    found: dict[str, Any] = {}
    for block in document:
        for item in block:
            if item.loop is not None:
                table = _table(item.loop)
                first = table.columns[0]
                name = block.name or first.partition(".")[0]
                found[name if name not in found else f"{name}.{first}"] = table
            elif item.pair is not None:
                tag, value = item.pair
                pairs = found.setdefault(f"{block.name}.values", {})
                if isinstance(pairs, dict):
                    pairs[tag.lstrip("_")] = gemmi.cif.as_string(value)
    return found


_PDB_COLUMNS = (
    *(("record", 0, 6), ("serial", 6, 11), ("name", 12, 16), ("altloc", 16, 17)),
    *(("resname", 17, 20), ("chain", 21, 22), ("resseq", 22, 26), ("icode", 26, 27)),
    *(("x", 30, 38), ("y", 38, 46), ("z", 46, 54), ("occupancy", 54, 60), ("bfactor", 60, 66)),
    *(("charge", 66, 76), ("element", 76, 80)),
)


def load_pdb_atoms(source: Source, *, nrows: int | None = None) -> Any:
    """Read the atoms of what is written like PDB."""
    import pandas as pd

    def rows() -> Iterator[list[str]]:
        model = 1
        with open_text(source) as text:
            for line in text:
                if line.startswith("MODEL"):
                    model = int(line.split()[1]) if line[5:].strip().isdigit() else model
                elif line.startswith(("ATOM", "HETATM")):
                    yield [str(model), *(line[a:b].strip() for _, a, b in _PDB_COLUMNS)]

    names = ["model", *(name for name, _, _ in _PDB_COLUMNS)]
    table = pd.DataFrame(limited(source, rows(), nrows, MAX_ROWS, "atoms"), columns=names)
    for name in ("model", "serial", "resseq", "x", "y", "z", "occupancy", "bfactor", "charge"):
        table[name] = as_numbers(table[name].astype("str"))
    return table


def load_pqr(source: Source, *, nrows: int | None = None) -> Any:
    """Read atoms with their charges and radii; fields are divided by blanks."""
    import pandas as pd

    names = [
        *("record", "serial", "name", "resname", "chain", "resseq", "x", "y", "z", "charge"),
        "radius",
    ]

    def rows() -> Iterator[list[str]]:
        with open_text(source) as text:
            for line in text:
                words = line.split()
                if words and words[0] in ("ATOM", "HETATM"):
                    if len(words) == 10:
                        words.insert(4, "")
                    yield [*words, *[""] * 11][:11]

    table = pd.DataFrame(limited(source, rows(), nrows, MAX_ROWS, "atoms"), columns=names)
    for name in ("serial", "resseq", "x", "y", "z", "charge", "radius"):
        table[name] = as_numbers(table[name].astype("str"))
    return table


def load_bcif(source: Source) -> dict[str, Any]:
    """Read the categories of BinaryCIF: name -> DataFrame.

    Source: the BinaryCIF specification, version 0.3.
    """
    import msgpack
    import pandas as pd

    document = msgpack.unpackb(source.read(), strict_map_key=False)
    found: dict[str, Any] = {}
    for block in document["dataBlocks"]:
        for category in block["categories"]:
            columns = {}
            for column in category["columns"]:
                values = _decoded(column["data"]["data"], column["data"]["encoding"])
                mask = column.get("mask")
                series = pd.Series(values)
                if mask:
                    absent = _decoded(mask["data"], mask["encoding"])
                    series = series.mask(pd.Series(absent) != 0)
                columns[column["name"]] = series
            name = category["name"].lstrip("_")
            found[name if name not in found else f"{block['header']}.{name}"] = pd.DataFrame(
                columns
            )
    return found


_BCIF_TYPES = {1: "i1", 2: "i2", 3: "i4", 4: "u1", 5: "u2", 6: "u4", 32: "f4", 33: "f8"}
_MAX_VALUES = 100_000_000


def _decoded(data: Any, encodings: list[dict[str, Any]]) -> Any:
    """Undo the encodings of a column, the last one first."""
    import numpy as np

    for encoding in reversed(encodings):
        kind = encoding["kind"]
        if kind == "ByteArray":
            data = np.frombuffer(data, "<" + _BCIF_TYPES[encoding["type"]])
        elif kind == "FixedPoint":
            data = data / encoding["factor"]
        elif kind == "IntervalQuantization":
            low, high, steps = encoding["min"], encoding["max"], encoding["numSteps"]
            data = low + data * ((high - low) / (steps - 1))
        elif kind == "RunLength":
            data = _run_length(data)
        elif kind == "Delta":
            data = np.cumsum(data.astype(np.int64)) + encoding["origin"]
        elif kind == "IntegerPacking":
            data = _unpacked_integers(data, bool(encoding.get("isUnsigned")))
        elif kind == "StringArray":
            offsets = _decoded(encoding["offsets"], encoding["offsetEncoding"])
            places = _decoded(data, encoding["dataEncoding"])
            text = encoding["stringData"]
            words = [text[a:b] for a, b in itertools.pairwise(offsets.tolist())]
            data = [words[place] if 0 <= place < len(words) else None for place in places.tolist()]
        else:
            raise ValueError(f"an encoding {kind!r} that isn't known")
    return data


def _run_length(data: Any) -> Any:
    import numpy as np

    values, counts = data[0::2], data[1::2].astype(np.int64)
    if (counts < 0).any() or counts.sum() > _MAX_VALUES:
        raise ValueError(f"a column of {counts.sum():,} values")
    return np.repeat(values[: len(counts)], counts)


def _unpacked_integers(data: Any, is_unsigned: bool) -> Any:
    """Add up values at the limit of their type with those that follow."""
    import numpy as np

    limits = np.iinfo(data.dtype)
    at_limit = data == limits.max
    if not is_unsigned:
        at_limit |= data == limits.min
    starts = np.concatenate([[True], ~at_limit[:-1]]) if len(data) else np.array([], bool)
    wide = data.astype(np.int64)
    return np.add.reduceat(wide, np.flatnonzero(starts)) if len(data) else wide


def load_mmtf(source: Source) -> Any:
    """Read the atoms of MMTF: places, and the residue and the chain that each is in.

    Source: the MMTF specification, version 1.0.
    """
    import msgpack
    import numpy as np
    import pandas as pd

    found = msgpack.unpackb(source.read(), strict_map_key=False)
    places = {name: _mmtf(found[f"{name}CoordList"]) for name in "xyz"}
    count = len(places["x"])
    table = pd.DataFrame(places)
    groups = [found["groupList"][at] for at in _mmtf(found["groupTypeList"])]
    sizes = np.array([len(group["atomNameList"]) for group in groups])
    if sizes.sum() != count:
        raise ValueError(f"{count:,} atoms in residues of {sizes.sum():,}")
    owners = np.repeat(np.arange(len(groups)), sizes)
    table.insert(0, "name", list(itertools.chain.from_iterable(g["atomNameList"] for g in groups)))
    table.insert(
        1, "element", list(itertools.chain.from_iterable(g["elementList"] for g in groups))
    )
    table.insert(2, "resname", [groups[at]["groupName"] for at in owners])
    table.insert(3, "resseq", np.asarray(_mmtf(found["groupIdList"]))[owners])
    chains = np.repeat(_mmtf(found["chainIdList"]), found["groupsPerChain"])
    table.insert(4, "chain", chains[owners])
    for name, key in (("bfactor", "bFactorList"), ("occupancy", "occupancyList")):
        if key in found:
            table[name] = _mmtf(found[key])
    return table


def _mmtf(data: Any) -> Any:
    import numpy as np

    if not isinstance(data, bytes):
        return np.asarray(data)
    codec, size, parameter = struct.unpack_from(">iii", data)
    raw = data[12:]
    if codec == 2:
        return np.frombuffer(raw, "i1").astype(np.int64)
    if codec in (3, 4):
        return np.frombuffer(raw, ">i2" if codec == 3 else ">i4").astype(np.int64)
    if codec == 5:
        names = [raw[at : at + parameter] for at in range(0, len(raw), max(parameter, 1))]
        return np.array([name.rstrip(b"\0").decode("latin-1") for name in names])
    if codec in (6, 7, 8, 9):
        values = _run_length(np.frombuffer(raw, ">i4").astype(np.int64))
        if codec == 6:
            return np.array([chr(value) if value else "" for value in values])
        if codec == 8:
            return np.cumsum(values)
        return values / parameter if codec == 9 else values
    if codec in (10, 12, 13):
        packed = np.frombuffer(raw, "i1" if codec == 13 else ">i2")
        values = _unpacked_integers(packed.astype(packed.dtype.newbyteorder("=")), False)
        if codec == 10:
            values = np.cumsum(values)
        return values / parameter
    if codec == 1:
        return np.frombuffer(raw, ">f4").astype(float)
    raise ValueError(f"an encoding {codec} of {size} values that isn't known")


# -- simulations ---------------------------------------------------------------------------------


def load_gro(source: Source, *, nrows: int | None = None) -> Any:
    """Read atoms, with their frame where there are several; the box is in attrs["box"]."""
    import pandas as pd

    boxes: list[list[float]] = []

    def rows() -> Iterator[tuple[Any, ...]]:
        with open_text(source) as text:
            for frame in itertools.count():
                title, count = text.readline(), text.readline().strip()
                if not title or not count:
                    return
                for line in itertools.islice(text, int(count)):
                    width = line.find(".", line.find(".") + 1) - line.find(".")
                    numbers = [line[a : a + width] for a in range(20, len(line.rstrip()), width)]
                    yield (
                        frame,
                        int(line[:5]),
                        line[5:10].strip(),
                        line[10:15].strip(),
                        int(line[15:20]),
                        *(float(number) for number in numbers[:3]),
                    )
                boxes.append([float(word) for word in text.readline().split()])

    names = ["frame", "resid", "resname", "name", "serial", "x", "y", "z"]
    table = pd.DataFrame(limited(source, rows(), nrows, MAX_ROWS, "atoms"), columns=names)
    table.attrs["box"] = boxes[0] if boxes else []
    return table.drop(columns="frame") if table["frame"].nunique() < 2 else table


def load_trajectory_info(source: Source) -> Any:
    """Say how many atoms a trajectory of GROMACS has."""
    head = source.head.ljust(100, b"\0")
    if head[:4] == b"\0\0\x07\xcb":
        (atoms, step) = struct.unpack_from(">ii", head, 4)
    else:
        (atoms, step) = struct.unpack_from(">ii", head, 64)
    facts: dict[str, object] = {"atoms": atoms, "first_step": step}
    return source_info(source, facts, "The package MDAnalysis reads it (its licence is GPL).")


def load_dcd(source: Source, *, nrows: int | None = None) -> Any:
    """Read the places of atoms: an array of frames x atoms x 3.

    Args:
        nrows: How many frames.
    """
    import numpy as np

    content = source.read()
    order = "<" if content[:4] == b"\x54\0\0\0" else ">"
    numbers = struct.unpack_from(order + "20i", content, 8)
    has_cell, has_fourth = numbers[10] == 1, numbers[11] == 1
    if numbers[8]:
        raise FileLoadError(source.name, "a DCD trajectory with fixed atoms")
    (title,) = struct.unpack_from(order + "i", content, 92)
    place = 92 + 8 + max(title, 0)
    (atoms,) = struct.unpack_from(order + "i", content, place + 4)
    place += 12
    size = 4 * atoms + 8
    frame = 3 * size + (56 if has_cell else 0) + (size if has_fourth else 0)
    there = (len(content) - place) // frame if atoms > 0 else 0
    if there < 1:
        raise FileLoadError(source.name, f"a DCD trajectory of {atoms:,} atoms that is cut off")
    wanted = there if nrows is None else min(nrows, there)
    block = np.frombuffer(content, np.uint8, wanted * frame, place).reshape(wanted, frame)
    start = 56 if has_cell else 0
    axes = []
    for axis in range(3):
        at = start + axis * size + 4
        axes.append(block[:, at : at + 4 * atoms].copy().view(order + "f4"))
    return np.stack(axes, axis=2).astype("f4")


def load_lammps_dump(source: Source, *, nrows: int | None = None) -> Any:
    """Read atoms with their timestep."""
    import pandas as pd

    names: list[str] = []

    def rows() -> Iterator[list[str]]:
        step, count = "", 0
        with open_text(source) as text:
            for line in text:
                if line.startswith("ITEM: TIMESTEP"):
                    step = text.readline().strip()
                elif line.startswith("ITEM: NUMBER OF ATOMS"):
                    count = int(text.readline())
                elif line.startswith("ITEM: ATOMS"):
                    names[:] = line.split()[2:]
                    width = len(names)
                    for atom in itertools.islice(text, count):
                        yield [step, *atom.split()[:width]]

    found = limited(source, rows(), nrows, MAX_ROWS, "atoms")
    table = pd.DataFrame(found, columns=["timestep", *names] if found else None)
    for name in table.columns:
        table[name] = as_numbers(table[name].fillna("").astype("str"))
    return table


def load_xvg(source: Source) -> Any:
    """Read the columns that GROMACS plots, named by its legends."""
    import pandas as pd

    legends: dict[int, str] = {}
    axes: dict[str, str] = {}
    rows = []
    with open_text(source) as text:
        for line in itertools.islice(text, MAX_ROWS):
            legend = re.match(r"@\s+s(\d{1,4})\s+legend\s+\"([^\"]*)", line)
            axis = re.match(r"@\s+([xy])axis\s+label\s+\"([^\"]*)", line)
            if legend:
                legends[int(legend.group(1))] = legend.group(2)
            elif axis:
                axes[axis.group(1)] = axis.group(2)
            elif line.strip() and line[0] not in "#@&":
                rows.append([float(word) for word in line.split()])
    width = max(map(len, rows), default=0)
    names = [axes.get("x", "x")]
    for at in range(width - 1):
        names.append(legends.get(at, axes.get("y", "y") if width == 2 else f"y{at}"))
    return pd.DataFrame(rows, columns=names[:width] or None)


# -- small molecules -----------------------------------------------------------------------------


def _rdkit() -> Any:
    """rdkit, which writes what it thinks of a file to the terminal unless it is told not to."""
    from rdkit import Chem, RDLogger

    RDLogger.DisableLog("rdApp.*")
    return Chem


def load_mol(source: Source, *, sanitize: bool = True, remove_hs: bool = False) -> Any:
    """Read a molecule.

    Args:
        sanitize: Whether rdkit checks its valences and finds its rings.
        remove_hs: Whether hydrogens are left out.
    """
    chem = _rdkit()
    block = _text(source)
    molecule = chem.MolFromMolBlock(block, sanitize=sanitize, removeHs=remove_hs)
    if molecule is None and sanitize:
        molecule = chem.MolFromMolBlock(block, sanitize=False, removeHs=False)
        if molecule is not None:
            source.note(f"{source.name!r} isn't sound chemistry by rdkit: it is as written.")
    if molecule is None:
        raise FileLoadError(source.name, "a molecule that rdkit can't read")
    return molecule


def load_sdf(source: Source, *, sanitize: bool = True, nrows: int | None = None) -> Any:
    """Read molecules: a row each with its name, its properties and the column ROMol.

    Args:
        sanitize: Whether rdkit checks their valences and finds their rings.
        nrows: How many molecules.
    """
    import pandas as pd

    chem = _rdkit()
    lost: list[int] = []

    def rows() -> Iterator[dict[str, Any]]:
        with open_text(source) as text:
            for number, block in enumerate(_sdf_blocks(text)):
                molecule = chem.MolFromMolBlock(block, sanitize=sanitize, removeHs=False)
                if molecule is None:
                    lost.append(number)
                yield {
                    "ID": block.partition("\n")[0].strip(),
                    **_sdf_properties(block),
                    "ROMol": molecule,
                }

    found = limited(source, rows(), nrows, MAX_MOLECULES, "molecules")
    if not found:
        raise FileLoadError(source.name, "an SDF file without a molecule")
    _note_lost(source, lost)
    table = pd.DataFrame(found)
    for name in table.columns:
        if name not in ("ID", "ROMol"):
            text = table[name].fillna("").astype("str")
            table[name] = table[name] if text.str.match(r"0\d").any() else as_numbers(text, ())
    return table[[*(name for name in table.columns if name != "ROMol"), "ROMol"]]


def _sdf_blocks(lines: io.TextIOWrapper) -> Iterator[str]:
    block: list[str] = []
    for line in lines:
        if line.startswith("$$$$"):
            yield "".join(block)
            block = []
        else:
            block.append(line)
    if any(line.strip() for line in block):
        yield "".join(block)


def _sdf_properties(block: str) -> dict[str, str]:
    found: dict[str, str] = {}
    name: str | None = None
    for line in block.splitlines():
        stated = re.match(r">[^<\n]*<([^>]*)>", line)
        if stated:
            name = stated.group(1)
            found[name] = ""
        elif name is not None and line.strip():
            found[name] = f"{found[name]}\n{line}" if found[name] else line
        elif name is not None:
            name = None
    return found


def _note_lost(source: Source, lost: list[int]) -> None:
    if lost:
        few = ", ".join(map(str, lost[:10]))
        source.note(
            f"{source.name!r}: rdkit makes nothing of {len(lost):,} of the molecules, None stands "
            f"for them (rows {few}{', ...' if len(lost) > 10 else ''})."
        )


def load_mol2(source: Source) -> Any:
    """Read one molecule, or a list of several."""
    chem = _rdkit()
    blocks = re.split(r"(?m)^(?=@<TRIPOS>MOLECULE)", _text(source))
    found = []
    lost = []
    wanted = [block for block in blocks if block.startswith("@<TRIPOS>MOLECULE")]
    for number, block in enumerate(limited(source, wanted, None, MAX_MOLECULES, "molecules")):
        molecule = chem.MolFromMol2Block(block, removeHs=False)
        if molecule is None:
            molecule = chem.MolFromMol2Block(block, sanitize=False, removeHs=False)
        if molecule is None:
            lost.append(number)
        found.append(molecule)
    if not any(molecule is not None for molecule in found):
        raise FileLoadError(source.name, "a mol2 file without a molecule that rdkit can read")
    _note_lost(source, lost)
    return found[0] if len(found) == 1 else found


def load_rxn(source: Source) -> Any:
    """Read a reaction."""
    _rdkit()
    from rdkit.Chem import rdChemReactions

    return rdChemReactions.ReactionFromRxnBlock(_text(source))


def load_smiles(source: Source, *, sanitize: bool = True, nrows: int | None = None) -> Any:
    """Read molecules: a row each with smiles, name and the column ROMol."""
    chem = _rdkit()

    def made(smiles: str) -> Any:
        return chem.MolFromSmiles(smiles, sanitize=sanitize) if len(smiles) < 5000 else None

    return _written(source, "smiles", made, nrows)


def load_inchi(source: Source, *, nrows: int | None = None) -> Any:
    """Read molecules: a row each with inchi, name and the column ROMol."""
    _rdkit()
    from rdkit.Chem import inchi

    return _written(source, "inchi", inchi.MolFromInchi, nrows)


def _written(source: Source, kind: str, make: Any, nrows: int | None) -> Any:
    import pandas as pd

    lost: list[int] = []
    between = r"[\s,;]+" if kind == "smiles" else r"\s+"

    def rows() -> Iterator[tuple[str, str, Any]]:
        number = 0
        with open_text(source) as text:
            for line in text:
                words = re.split(between, line.strip(), maxsplit=1)
                if not words[0] or line.startswith("#"):
                    continue
                if number == 0 and "smiles" in words[0].lower():
                    continue
                molecule = make(words[0])
                if molecule is None:
                    lost.append(number)
                number += 1
                yield words[0], words[1] if len(words) > 1 else "", molecule

    found = limited(source, rows(), nrows, MAX_MOLECULES, "molecules")
    _note_lost(source, lost)
    return pd.DataFrame(found, columns=[kind, "name", "ROMol"])


def load_rdfile(source: Source, *, nrows: int | None = None) -> Any:
    """Read the records of an RDfile: their data, and the block of the reaction or molecule."""
    import pandas as pd

    def rows() -> Iterator[dict[str, str]]:
        for part in re.split(r"(?m)^(?=\$[RM](?:FMT|EREG|IREG)\b)", _text(source))[1:]:
            block, *data = re.split(r"(?m)^\$DTYPE\s+", part)
            row = {"block": block.partition("\n")[2]}
            for each in data:
                name, _, value = each.partition("\n")
                row[name.strip()] = value.removeprefix("$DATUM").strip()
            yield row

    return pd.DataFrame(limited(source, rows(), nrows, MAX_MOLECULES, "records"))


def load_cml(source: Source) -> Any:
    """Read atoms: the molecule, id, element and place of each."""
    import pandas as pd

    rows = []
    for number, element in enumerate(elements(source, "atomArray"), 1):
        ids = element.get("atomID")
        if ids is not None:  # CML 1 has all of them in one attribute each
            arrays = {name: element.get(name, "").split() for name in element.keys()}  # noqa: SIM118
            for at in range(len(ids.split())):
                rows.append(
                    {"molecule": number}
                    | {name: words[at] for name, words in arrays.items() if at < len(words)}
                )
        for atom in element.iterfind("{*}atom"):
            rows.append({"molecule": number, **atom.attrib})
    table = pd.DataFrame(rows)
    for name in table.columns:
        if re.fullmatch(r"[xyz][23]|[xyz]Fract|formalCharge|hydrogenCount|isotope", name):
            table[name] = as_numbers(table[name].fillna("").astype("str"))
    return table


def load_xyz(source: Source, *, nrows: int | None = None) -> Any:
    """Read atoms: element, x, y, z and what else there is; several frames get a column."""
    import pandas as pd

    comments: list[str] = []

    def rows() -> Iterator[list[str]]:
        with open_text(source) as text:
            for frame in itertools.count():
                line = text.readline()
                while line and not line.strip():
                    line = text.readline()
                if not line:
                    return
                comments.append(text.readline().strip())
                count = int(line)
                for number in range(count):
                    words = text.readline().split()
                    if len(words) < 4:
                        raise FileLoadError(
                            source.name,
                            "a molecule that is cut off",
                            reason=f"it says it has {count:,} atoms, and there are {number:,}",
                        )
                    yield [str(frame), *words]

    found = limited(source, rows(), nrows, MAX_ROWS, "atoms")
    width = max(map(len, found), default=5)
    names = ["frame", "element", "x", "y", "z", *(f"column{at}" for at in range(5, width))]
    table = pd.DataFrame(found, columns=names)
    for name in names:
        if name != "element":
            table[name] = as_numbers(table[name].fillna("").astype("str"))
    table.attrs["comment"] = comments[0] if comments else ""
    return table.drop(columns="frame") if table["frame"].nunique() < 2 else table


def load_poscar(source: Source) -> Any:
    """Read atoms: element, and the place as it is written; the cell is in attrs["cell"]."""
    import pandas as pd

    lines = _text(source).splitlines()
    scale = float(lines[1].split()[0])
    cell = [[float(word) * scale for word in line.split()[:3]] for line in lines[2:5]]
    at = 5
    elements_of = lines[at].split()
    if all(word.isdigit() for word in elements_of):
        elements_of = lines[0].split()
    else:
        at += 1
    counts = [int(word) for word in lines[at].split()]
    at += 1
    if lines[at].strip()[:1] in "Ss" and lines[at].strip():
        at += 1
    is_direct = lines[at].strip()[:1] not in "CcKk"
    if sum(counts) > len(lines):
        raise FileLoadError(source.name, f"a crystal of {sum(counts):,} atoms that is cut off")
    names = [
        element
        for element, count in itertools.zip_longest(elements_of, counts, fillvalue="?")
        for _ in range(int(count) if count != "?" else 0)
    ]
    rows = [[float(w) for w in line.split()[:3]] for line in lines[at + 1 : at + 1 + len(names)]]
    table = pd.DataFrame(rows, columns=["x", "y", "z"])
    table.insert(0, "element", names[: len(rows)])
    table.attrs |= {
        "comment": lines[0].strip(),
        "cell": cell,
        "places": "direct" if is_direct else "cartesian",
    }
    return table


def load_cube(source: Source) -> tuple[Any, dict[str, Any]]:
    """Read a volume, and the header: the atoms, the origin and the axes of the grid."""
    import numpy as np

    with open_text(source) as text:
        comments = [text.readline().strip(), text.readline().strip()]
        first = text.readline().split()
        count = int(first[0])
        axes = [text.readline().split() for _ in range(3)]
        shape = [abs(int(axis[0])) for axis in axes]
        if math.prod(shape) * 8 > _MAX_BYTES or abs(count) > 10_000_000 or min(shape) < 1:
            raise FileLoadError(source.name, f"a volume of {' x '.join(map(str, shape))}")
        atoms = [[float(w) for w in text.readline().split()] for _ in range(abs(count))]
        orbitals = 1
        if count < 0:
            orbitals = max(int(text.readline().split()[0]), 1)
        elif len(first) > 4:
            orbitals = max(int(first[4]), 1)
        values = np.array(text.read().replace("D", "E").split(), dtype=float)
    if values.size < math.prod(shape) * orbitals:
        raise FileLoadError(
            source.name,
            "a volume that is cut off",
            reason=f"{values.size:,} values for {' x '.join(map(str, shape))}",
        )
    if orbitals > 1:
        shape = [*shape, orbitals]
    header = {
        "comments": comments,
        "origin": [float(word) for word in first[1:4]],
        "axes": [[float(word) for word in axis[1:4]] for axis in axes],
        "atoms": atoms,
    }
    return values[: math.prod(shape)].reshape(shape), header


def load_fchk(source: Source) -> dict[str, Any]:
    """Read each quantity: a number, a text or an array."""
    import numpy as np

    found: dict[str, Any] = {}
    with open_text(source) as text:
        found["title"] = text.readline().strip()
        found["method"] = text.readline().strip()
        for line in text:
            stated = re.match(r"(.{40})   ([IRCLH])(?:   N= *(\d+)| {2,}(\S.*))", line)
            if stated is None:
                continue
            name, kind, size, value = stated.groups()
            if size is None:
                found[name.strip()] = _quantity(kind, value)
                continue
            per_line = {"I": 6, "R": 5, "C": 5, "H": 9, "L": 72}[kind]
            lines = list(itertools.islice(text, math.ceil(int(size) / per_line)))
            if kind in "CH":
                found[name.strip()] = "".join(part.rstrip("\n") for part in lines).strip()
            else:
                words = " ".join(lines).replace("D", "E").split()[: int(size)]
                found[name.strip()] = (
                    np.array(words, dtype="i8" if kind == "I" else "f8")
                    if (kind in "IR")
                    else words
                )
    return found


def _quantity(kind: str, value: str) -> Any:
    if kind == "I":
        return int(value)
    return float(value.replace("D", "E")) if kind == "R" else value.strip()
