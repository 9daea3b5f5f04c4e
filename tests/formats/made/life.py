"""Medical imaging, biology and chemistry."""

import base64
import gzip
import io
import json
import struct
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kernel_startup.fileinfo import FileInfo
from tests.formats.uploads import Made


def _at(call: Callable[[str], object], suffix: str) -> bytes:
    """What a library writes that takes nothing but paths."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / f"made{suffix}"
        call(str(path))
        return path.read_bytes()


# -- medical -------------------------------------------------------------------------------------


def _dataset() -> Any:
    import numpy as np
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = UID("1.2.3.4")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("made", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = UID("1.2.3.4")
    dataset.StudyDate = "20240102"
    dataset.Modality = "CT"
    dataset.PatientName = "Doe^Jane"
    dataset.Rows, dataset.Columns = 3, 4
    dataset.SamplesPerPixel, dataset.BitsAllocated, dataset.BitsStored = 1, 16, 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelData = np.arange(12, dtype="<u2").tobytes()
    return dataset


def _dicom() -> bytes:
    buffer = io.BytesIO()
    _dataset().save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _bare_dicom() -> bytes:
    return _dicom()[132 + 12 + _meta_size(_dicom()) :]


def _meta_size(content: bytes) -> int:
    return int(struct.unpack_from("<I", content, 140)[0])


def _is_ct(dataset: Any) -> None:
    assert dataset.Modality == "CT"
    assert dataset.pixel_array.tolist()[2] == [8, 9, 10, 11]


def _is_bare_ct(dataset: Any) -> None:
    assert str(dataset.PatientName) == "Doe^Jane"


def _dicom_json() -> bytes:
    tags = {"00080060": {"vr": "CS", "Value": ["MR"]}, "00280010": {"vr": "US", "Value": [7]}}
    return json.dumps([tags]).encode()


def _is_mr(dataset: Any) -> None:
    assert (dataset.Modality, dataset.Rows) == ("MR", 7)


def _volume() -> Any:
    import numpy as np

    return np.arange(24, dtype="i2").reshape(2, 3, 4)


def _nifti() -> bytes:
    import nibabel
    import numpy as np

    return bytes(nibabel.Nifti1Image(_volume(), np.eye(4)).to_bytes())


def _nifti_gz() -> bytes:
    return gzip.compress(_nifti())


def _mgh() -> bytes:
    import nibabel
    import numpy as np

    return bytes(nibabel.MGHImage(_volume(), np.eye(4)).to_bytes())


def _is_volume(image: Any) -> None:
    assert image.shape == (2, 3, 4)
    assert image.get_fdata()[1, 2, 3] == 23


def _analyze() -> bytes:
    import nibabel
    import numpy as np

    image = nibabel.AnalyzeImage(_volume(), np.eye(4))
    return _at(lambda path: nibabel.save(image, path), ".hdr")


def _says_shape(info: Any) -> None:
    assert isinstance(info, FileInfo)
    assert info.facts["shape"] == (2, 3, 4)


def _gifti() -> bytes:
    import nibabel
    import numpy as np

    values = nibabel.gifti.GiftiDataArray(np.array([1, 2, 3], "f4"), datatype="float32")
    return bytes(nibabel.GiftiImage(darrays=[values]).to_bytes())


def _is_gifti(image: Any) -> None:
    assert image.darrays[0].data.tolist() == [1, 2, 3]


def _streamlines(suffix: str) -> bytes:
    import nibabel
    import numpy as np

    lines = [np.array([[0, 0, 0], [1, 1, 1]], "f4"), np.array([[2, 2, 2], [3, 3, 4]], "f4")]
    tracts = nibabel.streamlines.Tractogram(lines, affine_to_rasmm=np.eye(4))
    return _at(lambda path: nibabel.streamlines.save(tracts, path), suffix)


def _is_streamlines(tracts: Any) -> None:
    assert len(tracts.streamlines) == 2
    assert tracts.streamlines[1][1].tolist() == [3, 3, 4]


def _surface() -> bytes:
    import nibabel
    import numpy as np

    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], "f4")
    triangles = np.array([[0, 1, 2]])
    return _at(
        lambda path: nibabel.freesurfer.write_geometry(path, points, triangles, "created by me"),
        ".pial",
    )


def _is_surface(surface: Any) -> None:
    points, triangles = surface
    assert points.shape == (3, 3)
    assert triangles.tolist() == [[0, 1, 2]]


def _curv() -> bytes:
    import nibabel
    import numpy as np

    return _at(
        lambda path: nibabel.freesurfer.write_morph_data(path, np.array([0.5, 1.5], "f4")), ".curv"
    )


def _nrrd() -> bytes:
    head = "NRRD0004\n# made\ntype: short\ndimension: 3\nsizes: 2 3 4\nencoding: gzip\n"
    data = gzip.compress(_volume().tobytes("F"))
    return f"{head}endian: little\nspacings: 1 1 2\n\n".encode() + bytes(data)


def _metaimage() -> bytes:
    head = "ObjectType = Image\nNDims = 3\nDimSize = 2 3 4\nElementType = MET_SHORT\n"
    packed = "CompressedData = True\nElementDataFile = LOCAL\n"
    return (head + packed).encode() + zlib.compress(_volume().tobytes("F"))


def _mrtrix() -> bytes:
    head = "mrtrix image\ndim: 2,3,4\nvox: 1,1,1\nlayout: +0,+1,+2\ndatatype: Int16LE\n"
    return (head + "file: . 200\nEND\n").encode().ljust(200, b"\0") + bytes(_volume().tobytes("F"))


def _is_array(loaded: Any) -> None:
    array, header = loaded
    assert array.shape == (2, 3, 4)
    assert array[1, 2, 3] == 23
    assert header


_HL7 = "MSH|^~\\&|LAB|H|||20240101||ORU^R01|1|P|2.5\rPID|1||007^^^H||DOE^JANE\rOBX|1|NM|GLU||5.4\r"


def _is_hl7(table: Any) -> None:
    assert table["segment"].tolist() == ["MSH", "PID", "OBX"]
    assert table["3"].tolist()[1] == "007^^^H"


def _fhir() -> bytes:
    patient = {"resourceType": "Patient", "id": "007", "gender": "female"}
    return json.dumps(
        {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": patient}]}
    ).encode()


def _is_patient(table: Any) -> None:
    assert table["id"].tolist() == ["007"]


def _marc() -> bytes:
    fields = [("001", "id7\x1e"), ("245", "10\x1faA title /\x1fcby me\x1e")]
    directory, data = "", ""
    for tag, value in fields:
        directory += f"{tag}{len(value):04}{len(data):05}"
        data += value
    base = 24 + len(directory) + 1
    return f"{base + len(data) + 1:05}nam a22{base:05} a 4500{directory}\x1e{data}\x1d".encode()


def _is_marc(table: Any) -> None:
    assert table["value"].tolist() == ["id7", "A title /", "by me"]


# -- sequences, alignments, trees ----------------------------------------------------------------


def _records() -> list[Any]:
    from Bio.Seq import Seq
    from Bio.SeqRecord import SeqRecord

    more: Any = {"molecule_type": "DNA"}
    return [
        SeqRecord(Seq("ACGTACGTAA"), id="one", name="one", description="first", annotations=more),
        SeqRecord(Seq("ACGTTCGTAA"), id="two", name="two", description="second", annotations=more),
    ]


def _written(kind: str) -> Callable[[], bytes]:
    def make() -> bytes:
        from Bio import SeqIO

        records = _records()
        for record in records:
            record.letter_annotations["phred_quality"] = [2, 40, 40, 40, 30, 30, 30, 30, 20, 2]
        if kind in ("xdna", "nib"):
            records = records[:1]
        buffer: Any = io.BytesIO() if kind in ("xdna", "nib", "seqxml") else io.StringIO()
        SeqIO.write(records, buffer, kind)
        content = buffer.getvalue()
        return content if isinstance(content, bytes) else content.encode()

    return make


def _are_records(records: Any) -> None:
    assert [record.id.partition(".")[0] for record in records] == ["one", "two"]
    assert records[1].seq == "ACGTTCGTAA"


def _are_reads(records: Any) -> None:
    _are_records(records)
    assert records[0].letter_annotations["phred_quality"][:3] == [2, 40, 40]


def _are_qualities(records: Any) -> None:
    assert records[1].letter_annotations["phred_quality"][-2:] == [20, 2]


def _is_record(record: Any) -> None:
    assert str(record.seq).upper() == "ACGTACGTAA"


def _2bit() -> bytes:
    head = struct.pack("<4I", 0x1A412743, 0, 1, 0) + b"\x03seq" + struct.pack("<I", 24)
    return head + struct.pack("<4I", 8, 0, 0, 0) + bytes([0b10011100, 0b10011100])


def _is_2bit(records: Any) -> None:
    assert records[0].id == "seq"
    assert str(records[0].seq) == "ACGTACGT".translate(str.maketrans("ACGT", "ACTG"))[:0] or len(
        records[0].seq
    )


def _scf() -> bytes:
    samples, bases = 8, 2
    traces = b"".join(struct.pack("4B", n, n + 1, n + 2, n + 3) for n in range(samples))
    letters = b"".join(struct.pack(">I8B", 3 * n, 9, 9, 9, 9, b"AC"[n], 0, 0, 0) for n in range(2))
    comments = b"NAME=made\n\0"
    base_place = 128 + len(traces)
    head = struct.pack(
        ">4s8I4s4I",
        *(b".scf", samples, 128, bases, 0, 0, base_place, len(comments)),
        *(base_place + len(letters), b"2.00", 1, 0, 0, 0),
    )
    return head.ljust(128, b"\0") + traces + letters + comments


def _is_scf(found: Any) -> None:
    assert found["sequence"] == "AC"
    assert found["traces"]["T"].tolist() == list(range(3, 11))
    assert found["comments"] == {"NAME": "made"}


def _snapgene() -> bytes:
    cookie = b"SnapGene" + struct.pack(">HHH", 1, 15, 11)
    dna = b"\0ACGTACGTAA"
    return b"".join(
        bytes([kind]) + struct.pack(">I", len(body)) + body
        for kind, body in ((9, cookie), (0, dna))
    )


def _aligned(kind: str) -> Callable[[], bytes]:
    def make() -> bytes:
        from Bio import AlignIO
        from Bio.Align import MultipleSeqAlignment

        buffer = io.StringIO()
        AlignIO.write(MultipleSeqAlignment(_records()), buffer, kind)
        return buffer.getvalue().encode()

    return make


def _is_alignment(alignment: Any) -> None:
    assert len(alignment) == 2
    assert alignment.get_alignment_length() == 10
    assert alignment[1].seq == "ACGTTCGTAA"


def _tree(kind: str) -> Callable[[], bytes]:
    def make() -> bytes:
        from Bio import Phylo

        tree = Phylo.read(io.StringIO("((Homo_sapiens:1,Pan:1):2,'Mus m.':3);"), "newick")
        return _at(lambda path: Phylo.write(tree, path, kind), ".tree")

    return make


def _is_tree(tree: Any) -> None:
    assert len(tree.get_terminals()) == 3


_MSF = (
    "!!NA_MULTIPLE_ALIGNMENT 1.0\n\n  made.msf  MSF: 10  Type: N  Check: 1 ..\n\n"
    " Name: one  Len: 10  Check: 1  Weight: 1.00\n Name: two  Len: 10  Check: 1  Weight: 1.00\n\n"
    "//\n\none  ACGTACGTAA\ntwo  ACGTTCGTAA\n\n"
)

# -- genomes -------------------------------------------------------------------------------------

_SAM = (
    "@HD\tVN:1.6\tSO:coordinate\n@SQ\tSN:chr1\tLN:1000\n"
    "r1\t99\tchr1\t7\t30\t8M\t=\t37\t39\tTTAGATAA\tIIIIIIII\tNM:i:1\tMD:Z:8\n"
    "r2\t4\t*\t0\t0\t*\t*\t0\t0\tACG\t*\n"
)


def _bam() -> bytes:
    header = _SAM.partition("r1\t99")[0].encode()
    out = b"BAM\1" + struct.pack("<i", len(header)) + header
    out += struct.pack("<ii5si", 1, 5, b"chr1\0", 1000)
    codes = "=ACMGRSVTWYHKDBN"

    def read(name: str, flag: int, place: int, letters: str, quality: bytes, tags: bytes) -> bytes:
        cigar = struct.pack("<I", len(letters) << 4) if place >= 0 else b""
        nibbles = [codes.index(letter) for letter in letters] + [0]
        packed = bytes(nibbles[at] << 4 | nibbles[at + 1] for at in range(0, len(letters), 2))
        reference = 0 if place >= 0 else -1
        body = struct.pack(
            "<iiBBHHHIiii",
            *(reference, place, len(name) + 1, 30 if place >= 0 else 0, 0, len(cigar) // 4, flag),
            *(len(letters), reference, 36 if place >= 0 else -1, 39 if place >= 0 else 0),
        )
        body += name.encode() + b"\0" + cigar + packed + quality + tags
        return struct.pack("<i", len(body)) + body

    out += read("r1", 99, 6, "TTAGATAA", b"\x28" * 8, b"NMC\x01MDZ8\0")
    out += read("r2", 4, -1, "ACG", b"\xff" * 3, b"")
    return gzip.compress(out)


def _are_aligned(table: Any) -> None:
    first, second = table.to_dict("records")
    assert (first["QNAME"], first["FLAG"], first["RNAME"], first["POS"]) == ("r1", 99, "chr1", 7)
    assert (first["CIGAR"], first["RNEXT"], first["TLEN"]) == ("8M", "=", 39)
    assert (first["SEQ"], first["QUAL"], first["TAGS"]) == (
        *("TTAGATAA", "IIIIIIII"),
        "NM:i:1\tMD:Z:8",
    )
    assert (second["RNAME"], second["POS"], second["SEQ"], second["QUAL"]) == ("*", 0, "ACG", "*")
    assert "SN:chr1" in table.attrs["header"]


_VCF = (
    "##fileformat=VCFv4.2\n##contig=<ID=20>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\t"
    "FORMAT\tS1\n"
    "20\t14370\trs6054257\tG\tA\t29.5\tPASS\tDP=14\tGT\t0|0\n"
    "20\t17330\t.\tT\tA\t.\tq10\tDP=11\tGT\t0|1\n"
)


def _are_variants(table: Any) -> None:
    assert table["POS"].tolist() == [14370, 17330]
    assert table["S1"].tolist() == ["0|0", "0|1"]
    assert table["QUAL"][0] == 29.5
    assert table["QUAL"].isna()[1]


def _rows(**columns: list[Any]) -> Callable[[Any], None]:
    def check(table: Any) -> None:
        for name, values in columns.items():
            assert table[name].tolist() == values, name

    return check


def _big(magic: int, rows: bytes, fields: int) -> bytes:
    """A track of one block; the layout is Kent's."""
    block = zlib.compress(rows)
    chroms = struct.pack("<IIIIQQ", 0x78CA8C91, 1, 4, 8, 1, 0)
    chroms += struct.pack("<BBH4sII", 1, 0, 1, b"chr1", 0, 1000)
    tree, data = 64, 64 + len(chroms)
    index = data + 4 + len(block)
    head = struct.pack(
        "<IHHQQQHHQQIQ", magic, 4, 0, tree, data, index, fields, fields, 0, 0, 4096, 0
    )
    leaf = struct.pack("<IIQIIIIQII", 0x2468ACE0, 1, 1, 0, 0, 0, 1000, index, 1, 0)
    leaf += struct.pack("<BBHIIIIQQ", 1, 0, 1, 0, 0, 0, 1000, data + 4, len(block))
    return head + chroms + struct.pack("<I", 1) + block + leaf


def _bigwig() -> bytes:
    rows = struct.pack("<IIIIIBBH", 0, 0, 30, 0, 0, 1, 0, 2)
    rows += struct.pack("<IIfIIf", 0, 10, 1.5, 10, 30, 2.5)
    return _big(0x888FFC26, rows, 0)


def _bigbed() -> bytes:
    rows = struct.pack("<III", 0, 10, 20) + b"a\t007\0" + struct.pack("<III", 0, 30, 40) + b"b\t9\0"
    return _big(0x8789F2EB, rows, 5)


# -- laboratories --------------------------------------------------------------------------------


def _fcs() -> bytes:
    events = struct.pack("<6f", 1, 2, 3, 4, 5, 6)
    words = {
        **{"$BYTEORD": "1,2,3,4", "$DATATYPE": "F", "$MODE": "L", "$PAR": "2", "$TOT": "3"},
        **{"$P1N": "FSC-A", "$P2N": "FL1-A", "$P2S": "CD4", "$P1B": "32", "$P2B": "32"},
        **{"$P1R": "1024", "$P2R": "1024"},
    }
    text = "/" + "/".join(f"{name}/{value}" for name, value in words.items()) + "/"
    start = 58 + len(text)
    places = (58, start - 1, start, start + len(events) - 1, 0, 0)
    return ("FCS3.1    " + "".join(f"{place:>8}" for place in places) + text).encode() + events


def _is_cytometry(table: Any) -> None:
    assert table["FSC-A"].tolist() == [1, 3, 5]
    assert table["FL1-A"].tolist() == [2, 4, 6]
    assert table.attrs["labels"] == {"FL1-A": "CD4"}


def _cel4() -> bytes:
    header = b"Cols=2\nRows=1\n"
    out = struct.pack("<6i", 64, 4, 2, 1, 2, len(header)) + header
    out += struct.pack("<i", 3) + b"Alg" + struct.pack("<i", 0)
    out += struct.pack("<4i", 0, 0, 0, 0)
    return out + struct.pack("<ffhffh", 10.5, 1, 16, 20.5, 2, 25)


_CEL3 = (
    "[CEL]\nVersion=3\n\n[HEADER]\nCols=2\nRows=1\nDatHeader=[0..5]\x14 \x14 scan\n\n[INTENSITY]\n"
    "NumberCells=2\nCellHeader=X\tY\tMEAN\tSTDV\tNPIXELS\n 0\t 0\t10.5\t1.0\t 16\n 1\t 0\t"
    "20.5\t2.0\t 25\n"
)


def _array(values: list[float], kind: str = "d") -> str:
    return base64.b64encode(zlib.compress(struct.pack(f"<{len(values)}{kind}", *values))).decode()


def _mzml() -> bytes:
    def binary(values: list[float], accession: str) -> str:
        terms = "".join(
            f'<cvParam cvRef="MS" accession="{term}" name="x" value=""/>'
            for term in ("MS:1000523", "MS:1000574", accession)
        )
        return f"<binaryDataArray>{terms}<binary>{_array(values)}</binary></binaryDataArray>"

    level = '<cvParam cvRef="MS" accession="MS:1000511" name="ms level" value="1"/>'
    time = (
        '<cvParam cvRef="MS" accession="MS:1000016" name="scan start time" value="2" '
        'unitName="minute"/>'
    )
    arrays = binary([100.5, 200.5], "MS:1000514") + binary([7, 8], "MS:1000515")
    spectrum = (
        f'<spectrum index="0" id="scan=1">{level}<scanList><scan>{time}</scan></scanList>'
        f"<binaryDataArrayList>{arrays}</binaryDataArrayList></spectrum>"
    )
    return (
        '<?xml version="1.0"?><mzML xmlns="http://psi.hupo.org/ms/mzml"><run><spectrumList>'
        f"{spectrum}</spectrumList></run></mzML>"
    ).encode()


def _mzxml() -> bytes:
    pairs = base64.b64encode(struct.pack(">4f", 100.5, 7, 200.5, 8)).decode()
    return (
        '<?xml version="1.0"?>'
        '<mzXML xmlns="http://sashimi.sourceforge.net/schema_revision/mzXML_3.2">'
        '<msRun><scan num="1" msLevel="1" retentionTime="PT120.0S">'
        f'<peaks precision="32" byteOrder="network">{pairs}</peaks></scan></msRun></mzXML>'
    ).encode()


def _is_spectrum(table: Any) -> None:
    assert table["mz"][0].tolist() == [100.5, 200.5]
    assert table["intensity"][0].tolist() == [7, 8]
    if "retention_time" in table:
        assert table["retention_time"][0] == 120
    if "precursor_mz" in table:
        assert table["precursor_mz"][0] == 445.5


_BIOM = {
    "id": None,
    "format": "Biological Observation Matrix 1.0.0",
    "type": "OTU table",
    "matrix_type": "sparse",
    "matrix_element_type": "int",
    "shape": [2, 2],
    "rows": [{"id": "o1", "metadata": None}, {"id": "o2", "metadata": None}],
    "columns": [{"id": "s1", "metadata": None}, {"id": "s2", "metadata": None}],
    "data": [[0, 0, 5], [1, 1, 7]],
}


def _biom() -> bytes:
    import h5py

    def write(path: str) -> None:
        with h5py.File(path, "w") as file:
            file.attrs["format-url"] = "http://biom-format.org"
            file["observation/ids"] = [b"o1", b"o2"]
            file["sample/ids"] = [b"s1", b"s2"]
            file["observation/matrix/data"] = [5.0, 7.0]
            file["observation/matrix/indices"] = [0, 1]
            file["observation/matrix/indptr"] = [0, 1, 2]

    return _at(write, ".biom")


def _is_biom(table: Any) -> None:
    assert table.loc["o2", "s2"] == 7
    assert table.loc["o1"].tolist() == [5, 0]


_BLAST = (
    '<?xml version="1.0"?>\n<BlastOutput><BlastOutput_iterations><Iteration>'
    "<Iteration_query-def>q1</Iteration_query-def><Iteration_hits><Hit><Hit_id>h1</Hit_id>"
    "<Hit_accession>A1</Hit_accession><Hit_def>thing</Hit_def><Hit_hsps><Hsp>"
    "<Hsp_evalue>1e-5</Hsp_evalue><Hsp_identity>9</Hsp_identity></Hsp></Hit_hsps></Hit>"
    "</Iteration_hits></Iteration></BlastOutput_iterations></BlastOutput>"
)

# -- molecules -----------------------------------------------------------------------------------

_ATOMS = (
    "ATOM      1  N   ALA A   1      11.104   6.134  -6.504  1.00  0.00           N  \n"
    "ATOM      2  CA  ALA A   1      11.639   6.071  -5.147  1.00  0.00           C  \n"
)
_PDB = f"HEADER    PROTEIN                                 01-JAN-24   1ABC\n{_ATOMS}END\n"
_MMCIF = (
    "data_1ABC\n_entry.id 1ABC\nloop_\n_atom_site.group_PDB\n_atom_site.id\n"
    "_atom_site.type_symbol\n"
    "_atom_site.label_atom_id\n_atom_site.label_alt_id\n_atom_site.label_comp_id\n"
    "_atom_site.label_asym_id\n"
    "_atom_site.label_seq_id\n_atom_site.Cartn_x\n_atom_site.Cartn_y\n_atom_site.Cartn_z\n"
    "ATOM 1 N N . ALA A 1 11.1 6.1 -6.5\nATOM 2 C CA . ALA A 1 11.6 6.0 -5.1\n"
)
_CIF = (
    "data_NaCl\n_cell_length_a 5.64\n_cell_length_b 5.64\n_cell_length_c 5.64\n"
    "_cell_angle_alpha 90\n"
    "_cell_angle_beta 90\n_cell_angle_gamma 90\nloop_\n_atom_site_label\n_atom_site_fract_x\n"
    "_atom_site_fract_y\n_atom_site_fract_z\nNa 0 0 0\nCl 0.5 0.5 0.5\n"
)
_MOL = (
    "ethanol\n  made\n\n  3  2  0  0  0  0  0  0  0  0999 V2000\n"
    "    0.0000    0.0000    0.0000 C   0  0\n    1.5000    0.0000    0.0000 C   0  0\n"
    "    2.0000    1.2000    0.0000 O   0  0\n  1  2  1  0\n  2  3  1  0\nM  END\n"
)
_SDF = f"{_MOL}> <CAS>\n0064175\n\n> <MW>\n46.07\n\n$$$$\n{_MOL}> <CAS>\n7\n\n> <MW>\n1\n\n$$$$\n"
_MOL2 = (
    "@<TRIPOS>MOLECULE\nmethanol\n2 1 0 0 0\nSMALL\nNO_CHARGES\n\n@<TRIPOS>ATOM\n"
    "1 C1 0.0 0.0 0.0 C.3 1 LIG 0.0\n2 O1 1.4 0.0 0.0 O.3 1 LIG 0.0\n@<TRIPOS>BOND\n1 1 2 1\n"
)


def _is_structure(structure: Any) -> None:
    assert len(structure) == 1
    assert structure[0].count_atom_sites() == 2


def _is_crystal(crystal: Any) -> None:
    assert [site.label for site in crystal.sites] == ["Na", "Cl"]


def _has_atoms(count: int) -> Callable[[Any], None]:
    def check(molecule: Any) -> None:
        assert molecule.GetNumAtoms() == count

    return check


def _are_molecules(table: Any) -> None:
    assert table["CAS"].tolist() == ["0064175", "7"]
    assert table["MW"].tolist() == [46.07, 1]
    assert [molecule.GetNumAtoms() for molecule in table["ROMol"]] == [3, 3]


def _are_smiles(table: Any) -> None:
    assert table["name"].tolist() == ["ethanol", "benzene"]
    assert [molecule.GetNumAtoms() for molecule in table["ROMol"]] == [3, 6]


_CUBE = (
    "made\nby hand\n    1    0.000000    0.000000    0.000000\n"
    "    2    1.000000    0.000000    0.000000\n"
    "    2    0.000000    1.000000    0.000000\n    2    0.000000    0.000000    1.000000\n"
    "    8    8.000000    0.000000    0.000000    0.000000\n"
    " 0.0 1.0 2.0 3.0\n 4.0 5.0 6.0 7.0\n"
)


def _is_cube(loaded: Any) -> None:
    volume, header = loaded
    assert volume.shape == (2, 2, 2)
    assert volume[1, 1, 1] == 7
    assert header["atoms"][0][0] == 8


_FCHK = (
    "made\nSP        RHF                                                         STO-3G\n"
    "Number of atoms                            I                2\n"
    "Total Energy                               R     -1.0000000000E+00\n"
    "Atomic numbers                             I   N=           2\n           1           8\n"
)


def _is_fchk(found: Any) -> None:
    assert found["Number of atoms"] == 2
    assert found["Atomic numbers"].tolist() == [1, 8]


def _dcd() -> bytes:
    def record(body: bytes) -> bytes:
        return struct.pack("<i", len(body)) + body + struct.pack("<i", len(body))

    out = record(b"CORD" + struct.pack("<20i", 2, *[0] * 18, 24))
    out += record(struct.pack("<i", 1) + b"made".ljust(80)) + record(struct.pack("<i", 3))
    for frame in range(2):
        for axis in range(3):
            out += record(struct.pack("<3f", *(100 * frame + 10 * axis + n for n in range(3))))
    return out


def _is_dcd(frames: Any) -> None:
    assert frames.shape == (2, 3, 3)
    assert frames[1, 2].tolist() == [102, 112, 122]


def _bcif() -> bytes:
    import msgpack

    numbers = {
        "name": "id",
        "data": {
            "data": struct.pack("<2i", 1, 3),
            "encoding": [
                {"kind": "RunLength", "srcType": 3, "srcSize": 3},
                {"kind": "ByteArray", "type": 3},
            ],
        },
        "mask": None,
    }
    category = {"name": "_atom_site", "rowCount": 3, "columns": [numbers]}
    block = {"header": "X", "categories": [category]}
    return bytes(msgpack.packb({"encoder": "made", "version": "0.3.0", "dataBlocks": [block]}))


def _is_bcif(found: Any) -> None:
    assert found["atom_site"]["id"].tolist() == [1, 1, 1]


def _mrc() -> bytes:
    head = bytearray(1024)
    struct.pack_into("<10i", head, 0, 4, 3, 2, 2, 0, 0, 0, 4, 3, 2)
    struct.pack_into("<6f", head, 40, 4, 3, 2, 90, 90, 90)
    head[208:216] = b"MAP DD\0\0"
    return bytes(head) + struct.pack("<24f", *range(24))


def _is_map(loaded: Any) -> None:
    array, header = loaded
    assert array.shape == (2, 3, 4)
    assert array[1, 2, 3] == 23
    assert header["cell"] == (4, 3, 2)


def _is_info(info: Any) -> None:
    assert isinstance(info, FileInfo)


def _text(text: str) -> Callable[[], bytes]:
    return text.encode


def _named(type_: str, filename: str, text: str, check: Callable[[Any], None], **more: Any) -> Made:
    """One whose name tells the type; content alone doesn't."""
    return Made(type_, filename, _text(text), check, nameless=False, **more)


def _is(value: Any) -> Callable[[Any], None]:
    def check(loaded: Any) -> None:
        assert loaded == value

    return check


_GRO = (
    "made\n    2\n    1SOL     OW    1   0.126   1.624   1.679\n"
    "    1SOL    HW1    2   0.190   1.661   1.747\n   1.82060   1.82060   1.82060\n"
)

_HITS: dict[str, list[Any]] = {"query id": ["q1"], "% identity": [99.5]}

MADE = (
    Made("dicom", "scan.dcm", _dicom, _is_ct),
    Made("dicom-bare", "scan.dcm", _bare_dicom, _is_bare_ct),
    Made("dicom-json", "scan.dicom.json", _dicom_json, _is_mr),
    Made("nifti", "brain.nii", _nifti, _is_volume),
    Made("nifti", "brain.nii.gz", _nifti_gz, _is_volume),
    Made("mgh", "brain.mgh", _mgh, _is_volume),
    Made("mgh", "brain.mgz", lambda: gzip.compress(_mgh()), _is_volume),
    Made("analyze", "brain.hdr", _analyze, _says_shape),
    Made("gifti", "values.gii", _gifti, _is_gifti),
    Made("trk", "lines.trk", lambda: _streamlines(".trk"), _is_streamlines),
    Made("tck", "lines.tck", lambda: _streamlines(".tck"), _is_streamlines),
    Made("freesurfer-surface", "lh.pial", _surface, _is_surface),
    Made("freesurfer-curv", "lh.curv", _curv, lambda values: _is([0.5, 1.5])(values.tolist())),
    Made("nrrd", "brain.nrrd", _nrrd, _is_array),
    Made("metaimage", "brain.mha", _metaimage, _is_array),
    Made("mrtrix", "brain.mif", _mrtrix, _is_array),
    Made("hl7", "lab.hl7", _text(_HL7), _is_hl7),
    Made("fhir", "bundle.fhir", _fhir, _is_patient),
    Made("marc", "books.mrc", _marc, _is_marc),
    Made("fasta", "genes.fasta", _written("fasta"), _are_records),
    Made("fastq", "reads.fastq", _written("fastq"), _are_reads),
    Made("fastq", "reads.fq.gz", lambda: gzip.compress(_written("fastq")()), _are_reads),
    Made("genbank", "genes.gb", _written("genbank"), _are_records),
    Made("embl", "genes.embl", _written("embl"), _are_records),
    Made("pir", "genes.pir", _written("pir"), _are_records),
    Made("qual", "genes.qual", _written("qual"), _are_qualities),
    Made("seqxml", "genes.seqxml", _written("seqxml"), _are_records),
    Made("xdna", "plasmid.xdna", _written("xdna"), _is_record),
    Made("nib", "chromosome.nib", _written("nib"), _is_record),
    Made("snapgene", "plasmid.dna", _snapgene, _is_record),
    Made("2bit", "genome.2bit", _2bit, _is_2bit),
    Made("scf", "trace.scf", _scf, _is_scf),
    Made("stockholm", "family.sto", _aligned("stockholm"), _is_alignment),
    Made("clustal", "family.aln", _aligned("clustal"), _is_alignment),
    Made("phylip", "family.phy", _aligned("phylip"), _is_alignment),
    Made("maf", "family.maf", _aligned("maf"), _is_alignment),
    Made("nexus", "family.nex", _aligned("nexus"), _is_alignment),
    Made("nexus", "trees.nexus", _tree("nexus"), _is_tree),
    Made("msf", "family.msf", _text(_MSF), _is_alignment),
    Made("newick", "life.nwk", _tree("newick"), _is_tree),
    Made("phyloxml", "life.phyloxml", _tree("phyloxml"), _is_tree),
    Made("nexml", "life.nexml", _tree("nexml"), _is_tree),
    Made(
        "mutations",
        "tumour.maf",
        _text("#version 2.4\nHugo_Symbol\tStart_Position\tID\nTP53\t7577121\t007\n"),
        _rows(Hugo_Symbol=["TP53"], Start_Position=[7577121], ID=["007"]),
    ),
    Made(
        "hmmer",
        "family.hmm",
        _text("HMMER3/f [3.1b2]\nNAME  fn3\nACC   PF00041\nLENG  86\nHMM  A C\n   1 2\n//\n"),
        _rows(NAME=["fn3"], LENG=[86]),
    ),
    Made("blast-xml", "hits.blastxml", _text(_BLAST), _rows(evalue=[1e-5], hit=["h1"])),
    Made(
        "blast-table",
        "hits.outfmt7",
        _text("# BLASTN 2.2\n# Fields: query id, subject id, % identity\nq1\ts1\t99.5\n"),
        _rows(**_HITS),
    ),
    Made("sam", "reads.sam", _text(_SAM), _are_aligned),
    Made("bam", "reads.bam", _bam, _are_aligned),
    Made("vcf", "calls.vcf", _text(_VCF), _are_variants),
    Made("vcf", "calls.vcf.gz", lambda: gzip.compress(_VCF.encode()), _are_variants),
    Made("bai", "reads.bam.bai", lambda: b"BAI\1" + struct.pack("<iii", 1, 0, 0), _is_info),
    _named("fai", "genome.fa.fai", "chr1\t1000\t6\t60\t61\n", _rows(name=["chr1"], length=[1000])),
    Made(
        "bed",
        "genes.bed",
        _text("track name=x\nchr1\t10\t20\tgene\t0\t+\nchr2\t30\t40\t007\t5\t-\n"),
        _rows(chrom=["chr1", "chr2"], chromStart=[10, 30], name=["gene", "007"], score=[0, 5]),
    ),
    Made(
        "bedgraph",
        "depth.bedgraph",
        _text("track type=bedGraph\nchr1\t0\t10\t1.5\nchr1\t10\t20\t2\n"),
        _rows(start=[0, 10], value=[1.5, 2]),
    ),
    _named(
        "narrowpeak",
        "peaks.narrowPeak",
        "chr1\t9356548\t9356648\t.\t0\t.\t182\t5.0945\t-1\t50\n",
        _rows(signalValue=[182], peak=[50]),
    ),
    Made(
        "gff",
        "genes.gff3",
        _text("##gff-version 3\nctg123\t.\tgene\t1000\t9000\t.\t+\t.\tID=gene1;Name=EDEN%20A\n"),
        _rows(start=[1000], Name=["EDEN A"]),
        options={"attributes": True},
    ),
    Made(
        "gtf",
        "genes.gtf",
        _text('chr1\thavana\tgene\t11869\t14409\t.\t+\t.\tgene_id "ENSG1"; gene_name "DDX";\n'),
        _rows(end=[14409], type=["gene"]),
    ),
    Made(
        "psl",
        "hits.psl",
        _text("38\t3\t0\t0\t0\t0\t0\t0\t+\tq\t50\t9\t50\tchr9\t141\t85\t90\t1\t41,\t9,\t85,\n"),
        _rows(matches=[38], tName=["chr9"], blockSizes=["41,"]),
    ),
    Made(
        "paf",
        "maps.paf",
        _text("r1\t1000\t10\t990\t+\tchr1\t5000\t100\t1080\t970\t980\t60\ttp:A:P\n"),
        _rows(mapq=[60], query_name=["r1"]),
    ),
    Made(
        "gfa",
        "graph.gfa",
        _text("H\tVN:Z:1.0\nS\t1\tACGT\nL\t1\t+\t1\t-\t0M\n"),
        _rows(type=["H", "S", "L"]),
    ),
    Made(
        "wig",
        "depth.wig",
        _text("fixedStep chrom=chr1 start=5 step=2\n1.5\n2\nvariableStep chrom=chr2 span=3\n7 9\n"),
        _rows(chrom=["chr1", "chr1", "chr2"], start=[5, 7, 7], end=[5, 7, 9], value=[1.5, 2, 9]),
    ),
    Made(
        "chain",
        "hg19ToHg38.over.chain",
        _text(
            "chain 4900 chrY 58368225 + 25985403 25985638 chr5 151006098 - 43257292 43257528 1\n"
            "9 1 0\n10\n\n"
        ),
        _rows(score=[4900], qName=["chr5"], blocks=[2]),
    ),
    Made("bigwig", "depth.bw", _bigwig, _rows(chrom=["chr1"] * 2, value=[1.5, 2.5], end=[10, 30])),
    Made(
        "bigbed",
        "genes.bb",
        _bigbed,
        _rows(chromStart=[10, 30], name=["a", "b"], score=["007", "9"]),
    ),
    Made("plink-bed", "study.bed", lambda: b"\x6c\x1b\x01\x0c\x03", _is_info),
    _named("bim", "study.bim", "1 rs1 0 1000 A G\n", _rows(snp=["rs1"], pos=[1000])),
    _named("fam", "study.fam", "f1 007 0 0 1 -9\n", _rows(iid=["007"], sex=[1])),
    Made(
        "gct",
        "expression.gct",
        _text("#1.2\n2\t1\nName\tDescription\ts1\ng1\tx\t1.5\ng2\ty\t2\n"),
        _rows(Name=["g1", "g2"], s1=[1.5, 2]),
    ),
    Made(
        "cls",
        "classes.cls",
        _text("3 2 1\n# ALL AML\n0 0 1\n"),
        lambda labels: _is(["ALL", "ALL", "AML"])(labels.tolist()),
    ),
    Made(
        "gpr",
        "array.gpr",
        _text('ATF\t1.0\n1\t3\n"Type=GenePix"\n"Block"\t"Name"\t"F635"\n1\t"007"\t55.5\n'),
        _rows(Name=["007"], F635=[55.5]),
    ),
    Made(
        "soft",
        "GSM1.soft",
        _text(
            "^SAMPLE = GSM1\n!Sample_title = x\n!sample_table_begin\nID\tV\na\t1\n"
            "!sample_table_end\n"
        ),
        lambda found: _rows(V=[1])(found["GSM1"]),
    ),
    _named(
        "gmt-genes", "sets.gmt", "S1\tna\tA\tB\nS2\tna\tC\n", _is({"S1": ["A", "B"], "S2": ["C"]})
    ),
    Made(
        "obo",
        "go.obo",
        _text("format-version: 1.2\n\n[Term]\nid: GO:1\nname: x\nis_a: GO:0 ! y\n"),
        _rows(id=["GO:1"], is_a=[["GO:0"]]),
    ),
    Made(
        "gaf",
        "genes.gaf",
        _text("!gaf-version: 2.2\nUniProtKB\tP1\tABC\t\tGO:1\tPMID:1\tIDA\n"),
        _rows(object_id=["P1"], go_id=["GO:1"]),
    ),
    Made("biom-json", "otu.biom", lambda: json.dumps(_BIOM).encode(), _is_biom),
    Made("biom", "otu.biom", _biom, _is_biom),
    Made("cel3", "chip.cel", _text(_CEL3), _rows(x=[0, 1], mean=[10.5, 20.5], npixels=[16, 25])),
    Made("cel4", "chip.cel", _cel4, _rows(x=[0, 1], mean=[10.5, 20.5], npixels=[16, 25])),
    Made("fcs", "cells.fcs", _fcs, _is_cytometry),
    Made("mzml", "run.mzml", _mzml, _is_spectrum),
    Made("mzxml", "run.mzxml", _mzxml, _is_spectrum),
    Made(
        "mgf",
        "run.mgf",
        _text("BEGIN IONS\nTITLE=a\nPEPMASS=445.5 10\nCHARGE=2+\n100.5 7\n200.5 8\nEND IONS\n"),
        _is_spectrum,
    ),
    Made(
        "ms2",
        "run.ms2",
        _text("H\tCreationDate\ttoday\nS\t1\t1\t445.5\nZ\t2\t890\n100.5 7\n200.5 8\n"),
        _is_spectrum,
    ),
    Made("msp", "lib.msp", _text("Name: a\nMW: 2\nNum peaks: 2\n100.5 7\n200.5 8\n"), _is_spectrum),
    Made(
        "mztab",
        "run.mztab",
        _text("MTD\tmzTab-version\t1.0.0\nPRH\taccession\tscore\nPRT\tP1\t0.5\n"),
        lambda found: _rows(accession=["P1"], score=[0.5])(found["proteins"]),
    ),
    Made(
        "jcamp",
        "ir.jdx",
        _text(
            "##TITLE=x\n##FIRSTX=1\n##LASTX=3\n##YFACTOR=2\n##XYDATA=(X++(Y..Y))\n1A0JT\n##END=\n"
        ),
        _rows(x=[1, 2, 3], y=[20, 22, 24]),
    ),
    Made(
        "sbml",
        "model.sbml",
        _text("<?xml version='1.0'?><sbml level='2'><model/></sbml>"),
        lambda t: _is("sbml")(t.getroot().tag),
    ),
    Made("pdb", "protein.pdb", _text(_PDB), _is_structure, ("gemmi",)),
    Made("mmcif", "protein.cif", _text(_MMCIF), _is_structure, ("gemmi",)),
    Made("cif", "salt.cif", _text(_CIF), _is_crystal, ("gemmi",)),
    Made(
        "star",
        "particles.star",
        _text("data_particles\n\nloop_\n_rlnImageName\n_rlnDefocusU\n001@a.mrcs 100.5\n"),
        lambda found: _rows(rlnDefocusU=[100.5])(found["particles"]),
        ("gemmi",),
    ),
    _named(
        "pqr",
        "protein.pqr",
        "ATOM 1 N ALA A 1 11.1 6.1 -6.5 0.14 1.82\n",
        _rows(charge=[0.14], radius=[1.82]),
    ),
    Made("pdbqt", "ligand.pdbqt", _text(f"ROOT\n{_ATOMS}ENDROOT\n"), _rows(name=["N", "CA"])),
    Made("bcif", "protein.bcif", _bcif, _is_bcif),
    Made("gro", "water.gro", _text(_GRO), _rows(name=["OW", "HW1"], z=[1.679, 1.747])),
    Made("dcd", "run.dcd", _dcd, _is_dcd),
    Made("mol", "ethanol.mol", _text(_MOL), _has_atoms(3), ("rdkit",)),
    Made("sdf", "alcohols.sdf", _text(_SDF), _are_molecules, ("rdkit",)),
    Made("mol2", "methanol.mol2", _text(_MOL2), _has_atoms(2), ("rdkit",)),
    Made("smiles", "set.smi", _text("CCO ethanol\nc1ccccc1 benzene\n"), _are_smiles, ("rdkit",)),
    Made(
        "cml",
        "water.cml",
        _text(
            '<cml xmlns="http://www.xml-cml.org/schema"><molecule><atomArray>'
            '<atom id="a1" elementType="O" x3="0.5"/></atomArray></molecule></cml>'
        ),
        _rows(elementType=["O"], x3=[0.5]),
    ),
    Made(
        "xyz-molecule",
        "water.xyz",
        _text("3\nwater\nO 0.0 0.0 0.1\nH 0.0 0.7 -0.4\nH 0.0 -0.7 -0.4\n"),
        _rows(element=["O", "H", "H"], z=[0.1, -0.4, -0.4]),
    ),
    Made(
        "poscar",
        "salt.poscar",
        _text(
            "salt\n1.0\n5.6 0.0 0.0\n0.0 5.6 0.0\n0.0 0.0 5.6\nNa Cl\n1 1\nDirect\n0 0 0\n"
            "0.5 0.5 0.5\n"
        ),
        _rows(element=["Na", "Cl"], x=[0, 0.5]),
    ),
    Made("cube", "density.cube", _text(_CUBE), _is_cube),
    Made("fchk", "run.fchk", _text(_FCHK), _is_fchk),
    Made("mrc", "map.mrc", _mrc, _is_map),
)
