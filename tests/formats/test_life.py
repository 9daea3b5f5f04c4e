"""Medical imaging, biology and chemistry: real files, options, and files that lie or break off."""

import contextlib
import gzip
import struct
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from kernel_startup.errors import FileLoadError
from kernel_startup.fileinfo import FileInfo
from kernel_startup.recognition import type_of_content
from kernel_startup.types import TYPES
from tests.formats.uploads import Loading, Sample, samples

#: The manifest counts the four lines of its header as alignments: there are 19.
_DISPUTED = {"psl_34_004.psl": {"rows": 19}}


@pytest.mark.parametrize("sample", samples("medical", "bio"))
def test_sample_is_what_an_analyst_expects(
    sample: Sample, load: Loading, on_demand: Callable[..., None]
) -> None:
    file_type = type_of_content(sample.path)
    assert type_of_content(sample.path, "upload") is file_type
    assert type_of_content(sample.path, sample.path.name.upper()) is file_type
    if file_type.requires:
        on_demand(*file_type.requires)
    loaded = load(sample.path)
    facts = {**sample.fact, **_DISPUTED.get(sample.path.name, {})}
    for name, stated in facts.items():
        assert _FACTS[name](loaded, sample) == stated, name


def _one(loaded: Any) -> Any:
    return loaded[0] if isinstance(loaded, list) else loaded


def _models(loaded: Any, _: Sample) -> int:
    return len(loaded)


def _tips(loaded: Any, _: Sample) -> int:
    return len(_one(loaded).get_terminals())


def _rows(loaded: Any, sample: Sample) -> int:
    return int(loaded.Rows) if sample.extension == "dcm" else len(loaded)


_FACTS: dict[str, Callable[[Any, Sample], Any]] = {
    "records": lambda loaded, _: len(loaded),
    "rows": _rows,
    "cols": lambda loaded, _: loaded.Columns,
    "modality": lambda loaded, _: loaded.get("Modality", ""),
    "len1": lambda loaded, _: len(_one(loaded).seq),
    "bytes": lambda _, sample: sample.path.stat().st_size,
    "bigbed": lambda loaded, _: {"chrom", "chromStart", "chromEnd"} <= {*loaded.columns},
    "models": _models,
    "atoms": lambda loaded, _: sum(model.count_atom_sites() for model in loaded),
    "alignments": lambda loaded, _: len(loaded) if isinstance(loaded, list) else 1,
    "seqs1": lambda loaded, _: len(_one(loaded)),
    "cols1": lambda loaded, _: _one(loaded).get_alignment_length(),
    "trees": lambda loaded, _: len(loaded) if isinstance(loaded, list) else 1,
    "tips1": _tips,
}


# -- options -------------------------------------------------------------------------------------

_FASTA = ">one first\nACGTACGT\nACGT\n>two\nGGGGCCCC\n"


def test_nrows_reads_the_first_records(load: Loading) -> None:
    assert [record.id for record in load(_FASTA, "genes.fa", nrows=1)] == ["one"]


def test_solexa_and_illumina_qualities_are_found_out(load: Loading) -> None:
    solexa, illumina, sanger = (
        "@r\nACGT\n+\n" + quality + "\n" for quality in (";Bhh", "BBhh", "!5II")
    )
    assert "solexa_quality" in load(solexa, "r.fastq")[0].letter_annotations
    assert load(illumina, "r.fastq")[0].letter_annotations["phred_quality"] == [2, 2, 40, 40]
    assert load(sanger, "r.fastq")[0].letter_annotations["phred_quality"] == [0, 20, 40, 40]
    told = load(illumina, "r.fastq", variant="sanger")[0].letter_annotations["phred_quality"]
    assert told == [33, 33, 71, 71]


def test_bed_takes_its_columns_from_a_header_and_keeps_ids(load: Loading) -> None:
    table = load("#chrom\tstart\tend\tsample\nchr1\t1\t2\t007\n", "x.bed")
    assert table.columns.tolist() == ["chrom", "start", "end", "sample"]
    assert table["sample"].tolist() == ["007"]


def test_vcard_and_variants_share_a_name(tmp_path: Any) -> None:
    path = tmp_path / "x"
    path.write_text("##fileformat=VCFv4.3\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n")
    assert type_of_content(path, "calls.vcf").name == "vcf"
    path.write_text("BEGIN:VCARD\nVERSION:3.0\nFN:Jane\nEND:VCARD\n")
    assert type_of_content(path, "jane.vcf").name != "vcf"


def test_prose_in_brackets_is_no_tree(tmp_path: Any) -> None:
    path = tmp_path / "x"
    path.write_text("(defun add (a b)\n  (+ a b)) ; adds, that is all;\n")
    assert type_of_content(path, "upload").name != "newick"
    path.write_text("Once upon a time\nthere was a cell\n")
    assert type_of_content(path, "upload").name == "text"


def test_several_frames_of_a_molecule_have_a_column(load: Loading) -> None:
    table = load("1\na\nH 0 0 0\n1\nb\nH 0 0 1\n", "run.xyz")
    assert table["frame"].tolist() == [0, 1]


# -- formats of several files --------------------------------------------------------------------


def test_header_and_image_are_found_beside_each_other(load: Loading, tmp_path: Any) -> None:
    nibabel = pytest.importorskip("nibabel")
    import numpy as np

    volume = np.arange(24, dtype="i2").reshape(2, 3, 4)
    nibabel.save(nibabel.Nifti1Pair(volume, np.eye(4)), tmp_path / "Brain.img")
    header = load.add(tmp_path / "Brain.hdr", "BRAIN.HDR")
    assert isinstance(load.by_id(header), FileInfo)
    image = load.add(tmp_path / "Brain.img", "Brain.img")
    assert load.by_id(header).get_fdata()[1, 2, 3] == 23
    assert load.by_id(image).shape == (2, 3, 4)


def test_metaimage_and_nrrd_find_their_data(load: Loading) -> None:
    head = "NDims = 2\nDimSize = 2 3\nElementType = MET_UCHAR\nElementDataFile = scan.raw\n"
    mhd = load.add(head, "scan.mhd")
    with pytest.raises(FileLoadError, match=r"scan\.raw"):
        load.by_id(mhd)
    load.add(bytes(range(6)), "scan.raw")
    assert load.by_id(mhd)[0].tolist() == [[0, 2, 4], [1, 3, 5]]
    nhdr = "NRRD0004\ntype: uint8\ndimension: 2\nsizes: 2 3\nencoding: raw\ndata file: scan.raw\n"
    assert load(nhdr, "scan.nhdr")[0].tolist() == [[0, 2, 4], [1, 3, 5]]


def test_genotypes_need_their_samples(load: Loading) -> None:
    study = load.add(b"\x6c\x1b\x01" + bytes([0b11_10_00, 0b01_00_11]), "study.bed")
    assert isinstance(load.by_id(study), FileInfo)
    load.add("f a 0 0 1 1\nf b 0 0 1 1\nf c 0 0 1 1\n", "study.fam")
    load.add("1 rs1 0 1 A G\n1 rs2 0 2 A G\n", "study.bim")
    table = load.by_id(study)
    assert table.index.tolist() == ["rs1", "rs2"]
    assert table.loc["rs1"].tolist() == [2, 1, 0]
    assert table.loc["rs2"].tolist() == [0, 2, -1]


# -- files that lie or break off -----------------------------------------------------------------


def _big_nrrd() -> bytes:
    head = b"NRRD0004\ntype: double\ndimension: 3\nsizes: 9999 9999 9999\nencoding: gzip\n\n"
    return head + gzip.compress(b"\0" * 100)


def _big_bam() -> bytes:
    return gzip.compress(b"BAM\1" + struct.pack("<i", 0) + struct.pack("<ii", 0, 2**30) + b"x" * 40)


def _big_2bit() -> bytes:
    head = struct.pack("<4I", 0x1A412743, 0, 1, 0) + b"\x03seq" + struct.pack("<I", 24)
    return head + struct.pack("<4I", 2**32 - 1, 0, 0, 0) + b"\0" * 8


def _big_scf() -> bytes:
    return struct.pack(">4s8I4s4I", b".scf", 2**31, 128, 2**31, *[0] * 5, b"3.00", 2, 0, 0, 0)


def _big_fcs() -> bytes:
    text = "/$DATATYPE/F/$MODE/L/$PAR/1/$TOT/999999999999/$P1B/32/$P1N/a/$BYTEORD/1,2,3,4/"
    places = (58, 57 + len(text), 58 + len(text), 0, 0, 0)
    return ("FCS3.0    " + "".join(f"{place:>8}" for place in places) + text).encode()


def _big_cube() -> bytes:
    axis = "  9999    1.000000    0.000000    0.000000\n"
    return ("a\nb\n    1    0.000000    0.000000    0.000000\n" + axis * 3).encode()


def _big_mrc() -> bytes:
    head = bytearray(1024)
    struct.pack_into("<4i", head, 0, 99999, 99999, 99999, 2)
    head[208:214] = b"MAP DD"
    return bytes(head)


def _bomb_mzml() -> bytes:
    import base64

    data = base64.b64encode(zlib.compress(b"\0" * (65 << 20), 1)).decode()
    terms = "".join(
        f'<cvParam accession="MS:{number}" name="x" value=""/>' for number in (1000574, 1000514)
    )
    array = f"<binaryDataArray>{terms}<binary>{data}</binary></binaryDataArray>"
    return f"<mzML><spectrum id='a'>{array}</spectrum></mzML>".encode()


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("big.nrrd", _big_nrrd),
        ("big.bam", _big_bam),
        ("big.2bit", _big_2bit),
        ("big.scf", _big_scf),
        ("big.fcs", _big_fcs),
        ("big.cube", _big_cube),
        ("big.mrc", _big_mrc),
        ("cut.aln", lambda: b"CLUSTAL W (1.8)"),
        ("cut.xyz", lambda: b"9999999\nx\nH 0 0 0\n"),
        ("empty.fasta", lambda: b""),
        ("empty.dcm", lambda: b""),
        ("cut.nii", lambda: struct.pack("<i", 348).ljust(344, b"\0") + b"n+1\0"),
        ("entities.phyloxml", lambda: b'<!DOCTYPE p [<!ENTITY a "aaaa">]><phyloxml>&a;</phyloxml>'),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_lies_or_is_cut_off_is_refused(
    load: Loading, name: str, make: Callable[[], bytes]
) -> None:
    with pytest.raises(FileLoadError) as raised:
        load(make(), name)
    assert name in str(raised.value)
    assert len(str(raised.value)) < 900


def test_packed_spectra_unpack_to_no_more_than_they_may(load: Loading) -> None:
    table = load(_bomb_mzml(), "bomb.mzml")
    assert table["mz"][0].nbytes <= 64 << 20


def test_every_loader_of_the_table_exists() -> None:
    from kernel_startup.loaders import find_loader

    for file_type in TYPES.values():
        if file_type.family in ("medical", "biology"):
            assert callable(find_loader(file_type.loader)), file_type.name


def test_swiss_record_that_is_called_by_its_accession(load: Loading) -> None:
    text = """ID   P82909      PRELIMINARY;      PRT;     4 AA.
AC   P82909;
DT   01-MAR-2001 (TrEMBLrel. 16, Created)
DE   MADE HERE.
OS   Bos taurus (Bovine).
OC   Eukaryota.
RN   [1]
RP   SEQUENCE FROM N.A.
RL   Submitted.
SQ   SEQUENCE   4 AA;  456 MW;  0000000000000000 CRC64;
     MGSK
//
"""
    assert [str(record.seq) for record in load(text, "upload")] == ["MGSK"]


_FOUND = {
    "infernal-table": (
        "#target name         accession query name           accession mdl mdl from   mdl to seq "
        "from   seq to strand trunc pass   gc  bias  score   E-value inc description of target\n"
        f"#{'-' * 19} {'-' * 9} {'-' * 20} {'-' * 9} --- -------- -------- -------- -------- "
        "------ ----- ---- ---- ----- ------ --------- --- ---------------------\n"
        "ENA|BK006935|BK2     -         U2                   RF00004    cm        1      193    "
        "52929    53083      +    no    1 0.34   0.1   13.5       5.9 ?   -\n"
    ),
    "hmmer-table": (
        "#                                      --- full sequence ---- --- best 1 domain ---- ---\n"
        "# target name  accession  query name accession  E-value score bias E-value score bias\n"
        "#------------- ---------- ---------- ---------- ------- ----- ---- ------- ----- ----\n"
        "Globin PF00042.17 made - 6e-21 74.6 0.3 9.2e-21 74.0 0.2 1.3 1 0 0 1 1 1 1 Globin\n"
    ),
    "exonerate": (
        "Command line: [exonerate -m protein2dna a.fa b.fa --showcigar yes]\nHostname: [here]\n"
        "cigar: made 0 409 . chromosome 1319275 1318048 - 2105  M 1227\n"
        "-- completed exonerate analysis\n"
    ),
}


@pytest.mark.parametrize("kind", _FOUND)
def test_results_of_a_search_have_their_hits(kind: str, load: Loading, tmp_path: Any) -> None:
    (tmp_path / "upload").write_text(_FOUND[kind])
    assert type_of_content(tmp_path / "upload").name == kind
    (query,) = load(_FOUND[kind], "found.out")
    assert len(query) == 1
    for size in range(0, len(_FOUND[kind]), 7):  # cut off anywhere
        with contextlib.suppress(FileLoadError):
            load(_FOUND[kind][:size], f"cut.{kind}")


_MOTIF_FILES = {
    "meme": (
        "MEME version 4\n\nALPHABET= ACGT\n\nstrands: + -\n\nBackground letter frequencies\n"
        "A 0.3 C 0.2 G 0.2 T 0.3 \n\nMOTIF KRP\nletter-probability matrix: alength= 4 w= 2 "
        "nsites= 17 E= 4.1e-009 \n 0.0 0.1 0.2 0.7 \n 0.25 0.25 0.25 0.25 \n\n"
    ),
    "transfac": "ID  made\nP0      A      C      G      T\n01  1 2 2 0 S\n02  2 1 2 0 R\n//\n",
    "jaspar": ">MA0001.1 made\nA  [ 1 2 ]\nC  [ 0 1 ]\nG  [ 4 0 ]\nT  [ 0 2 ]\n",
}


@pytest.mark.parametrize("kind", _MOTIF_FILES)
def test_motifs_are_read(kind: str, load: Loading) -> None:
    (motif,) = load(_MOTIF_FILES[kind], "upload")
    assert motif.length == 2


def test_dssp_is_a_table_of_residues(load: Loading) -> None:
    line = "    1   17 A L              0   0  120      0, 0.0     2,-0.3     0, 0.0     0, 0.0"
    line = f"{line:<85}{0.0:6.3f}" + "".join(f"{angle:6.1f}" for angle in (360, 360, 360, 65.7))
    text = "==== Secondary Structure Definition by the program DSSP, made here\n"
    table = load(f"{text}  #  RESIDUE AA STRUCTURE BP1 BP2  ACC\n{line}\n", "upload")
    assert table[["residue", "chain", "aa", "acc", "psi"]].values.tolist() == [
        ["17", "A", "L", 120, 65.7]
    ]
