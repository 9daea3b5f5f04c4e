"""Types of meshes, CAD and point clouds."""

from typing import Any

from kernel_startup.filetype import FileType, at, starts

_SCENE = "trimesh.Trimesh; trimesh.Scene if there are several parts"


def _mesh(name: str, title: str, extensions: str, mime_type: str = "", **more: Any) -> FileType:
    """A type that trimesh reads, or that becomes one of its objects."""
    return FileType(
        name=name,
        family="mesh",
        title=title,
        extensions=tuple(extensions.split()),
        mime_type=mime_type or f"model/x.{name}",
        **{"object": _SCENE, "loader": "meshes:load_mesh", **more},
    )


def _grid(name: str, title: str, extensions: str, **more: Any) -> FileType:
    """A type that meshio reads."""
    return FileType(
        name=name,
        family="mesh",
        title=title,
        extensions=tuple(extensions.split()),
        mime_type=f"model/x.{name}",
        object="meshio.Mesh",
        loader="grids3d:load_grid",
        **{"requires": ("meshio",), **more},
    )


def _cad(name: str, title: str, extensions: str, mime_type: str = "", **more: Any) -> FileType:
    """A type that nothing here reads: what its header tells is told."""
    return FileType(
        name=name,
        family="cad",
        title=title,
        extensions=tuple(extensions.split()),
        mime_type=mime_type or f"model/x.{name}",
        **{"object": "FileInfo", "loader": "cad:load_cad_info", **more},
    )


def _text(name: str, title: str, extensions: str, *patterns: str, **more: Any) -> FileType:
    """A type that people read as text."""
    return FileType(
        name=name,
        family="cad",
        title=title,
        extensions=tuple(extensions.split()),
        mime_type=more.pop("mime_type", "text/plain"),
        object="str",
        loader="text:load_text",
        patterns=patterns,
        is_text=True,
        **more,
    )


def _cloud(name: str, title: str, extensions: str, loader: str, **more: Any) -> FileType:
    """A type of points."""
    return FileType(
        name=name,
        family="point cloud",
        title=title,
        extensions=tuple(extensions.split()),
        mime_type=more.pop("mime_type", f"application/x.{name}"),
        loader=f"clouds:{loader}",
        **{"object": "pandas.DataFrame of points", **more},
    )


_GLTF = tuple(
    rf"\{{[\s\S]*?{mark}"
    for mark in (
        r'"asset"\s*+:\s*+\{[^{}]{0,2000}?"version"\s*+:\s*+"[\d.]+"',
        r'"bufferViews"\s*+:\s*+\[\s*+\{\s*+"(?:buffer|byte)',
        r'"accessors"\s*+:\s*+\[\s*+\{\s*+"(?:buffer|byte|component|count|max|min|type)',
    )
)
_NUMBER = r"[-+]?+[\d.]++(?>(?:[eE][-+]?+\d++)?)"

_TRIMESH = (
    _mesh("stl", "STL mesh", "stl stla stlb", "model/stl", check="spatial:is_stl"),
    _mesh("ply", "Polygon File Format", "ply", signatures=starts(b"ply\n", b"ply\r")),
    _mesh(
        "obj",
        "Wavefront OBJ mesh",
        "obj",
        "model/obj",
        patterns=(
            r"(?>(?:(?:#|(?:mtllib|usemtl|o|g|s|vn|vt)[ \t])[^\n]*+\n\s*+)*)"
            rf"v[ \t]++{_NUMBER}[ \t]++{_NUMBER}[ \t]++{_NUMBER}",
        ),
        is_text=True,
    ),
    _mesh(
        "off",
        "Object File Format",
        "off coff noff stoff cnoff",
        patterns=(
            r"(?>(?:#[^\n]*+\n\s*+)*)(?:ST)?C?N?4?OFF\s++(?>(?:#[^\n]*+\n\s*+)*)\d++\s++\d++",
        ),
        is_text=True,
    ),
    _mesh(
        "glb",
        "glTF scene, binary",
        "glb vrm b3dm",
        "model/gltf-binary",
        object="trimesh.Scene",
        signatures=(*starts(b"glTF\1\0\0\0", b"glTF\2\0\0\0"), ((0, b"b3dm\1\0\0\0"),)),
    ),
    _mesh(
        "gltf",
        "glTF scene",
        "gltf",
        "model/gltf+json",
        object="trimesh.Scene",
        container="json",
        patterns=_GLTF,
        is_text=True,
    ),
    _mesh(
        "3mf",
        "3D Manufacturing Format",
        "3mf",
        "model/3mf",
        object="trimesh.Scene",
        container="zip",
        members=("3D/*.model",),
        requires=("networkx",),
    ),
    _mesh(
        "3dxml",
        "Dassault 3DXML",
        "3dxml",
        object="trimesh.Scene",
        container="zip",
        members=("*.3DRep",),
        requires=("networkx",),
    ),
    _mesh(
        "dae",
        "COLLADA scene",
        "dae",
        "model/vnd.collada+xml",
        object="trimesh.Scene",
        container="xml",
        roots=("COLLADA",),
        is_text=True,
        requires=("pycollada",),
    ),
    _mesh(
        "zae",
        "COLLADA scene, zipped",
        "zae",
        object="trimesh.Scene",
        container="zip",
        members=("*.dae",),
        requires=("pycollada",),
    ),
    _mesh(
        "xaml",
        "XAML with 3D models",
        "xaml",
        "application/xaml+xml",
        object="trimesh.Trimesh; str if it has no mesh",
        loader="meshes:load_xaml",
        container="xml",
        roots=(
            "{http://schemas.microsoft.com/winfx/2006/xaml/presentation}Page",
            "{http://schemas.microsoft.com/winfx/2006/xaml/presentation}Window",
            "{http://schemas.microsoft.com/winfx/2006/xaml/presentation}UserControl",
            "{http://schemas.microsoft.com/winfx/2006/xaml/presentation}ResourceDictionary",
            "{http://schemas.microsoft.com/winfx/2006/xaml/presentation}Viewport3D",
            "{http://schemas.microsoft.com/winfx/2006/xaml/presentation}Model3DGroup",
        ),
        is_text=True,
    ),
    _mesh(
        "draco",
        "Draco mesh or point cloud",
        "drc",
        object="trimesh.Trimesh; trimesh.PointCloud if it has no faces",
        loader="meshes:load_draco",
        signatures=starts(b"DRACO"),
        requires=("DracoPy",),
    ),
    _mesh(
        "amf",
        "Additive Manufacturing Format",
        "amf",
        "application/x-amf",
        loader="meshes:load_amf",
        container="xml",
        roots=("amf",),
        is_text=True,
    ),
    _mesh(
        "amfzip",
        "Additive Manufacturing Format, zipped",
        "amf",
        loader="meshes:load_amf",
        container="zip",
        members=("*.amf",),
    ),
    _mesh(
        "3ds",
        "3D Studio mesh",
        "3ds",
        "image/x-3ds",
        loader="meshes:load_3ds",
        check="spatial:is_3ds",
    ),
    _mesh(
        "binvox",
        "Voxels of binvox",
        "binvox",
        object="numpy.ndarray of bool (x, y, z)",
        loader="meshes:load_binvox",
        signatures=starts(b"#binvox"),
    ),
    _mesh(
        "vox",
        "MagicaVoxel model",
        "vox",
        object="numpy.ndarray of palette indices (x, y, z); a list of them if there are several",
        loader="meshes:load_vox",
        signatures=(((0, b"VOX "), (8, b"MAIN")),),
    ),
    _mesh(
        "x3d",
        "X3D scene",
        "x3d",
        "model/x3d+xml",
        loader="meshes:load_x3d",
        container="xml",
        roots=("X3D",),
        is_text=True,
    ),
    _mesh(
        "vrml",
        "VRML scene",
        "wrl vrml wrz x3dv",
        "model/vrml",
        object="trimesh.Trimesh of its face sets; str if it has none",
        loader="meshes:load_vrml",
        patterns=(r"#VRML V\d", r"#X3D V\d"),
        is_text=True,
    ),
)

_VTK_XML = r"(?:<\?xml[^>]*+>\s*+)?<VTKFile[^>]*?\btype\s*+=\s*+[\"']"


def _vtk(name: str, kind: str, title: str, what: str, **more: Any) -> FileType:
    """VTK's XML, which may have raw bytes at its end and isn't text then."""
    marks = tuple(
        ((offset, b"<VTKFile type=" + quote + kind.encode() + quote),)
        for offset in (0, 22, 23)
        for quote in (b'"', b"'")
    )
    return FileType(
        name=name,
        family="mesh",
        title=title,
        extensions=(name,),
        mime_type=f"model/x.{name}",
        signatures=marks,
        **{"object": what, "loader": "grids3d:load_vtk_xml", **more},
    )


_MESHIO = (
    _grid("vtk", "VTK legacy file", "vtk", signatures=starts(b"# vtk DataFile Version")),
    _vtk(
        "vtu",
        "UnstructuredGrid",
        "VTK unstructured grid",
        "meshio.Mesh",
        loader="grids3d:load_grid",
        requires=("meshio",),
    ),
    _vtk("vtp", "PolyData", "VTK polygons", "trimesh.Trimesh; trimesh.PointCloud without faces"),
    _vtk("vti", "ImageData", "VTK image", "xarray.Dataset"),
    _vtk("vtr", "RectilinearGrid", "VTK rectilinear grid", "xarray.Dataset"),
    _vtk("vts", "StructuredGrid", "VTK structured grid", "xarray.Dataset"),
    *(
        _text(name, title, extension, container="xml", mime_type="application/xml")
        for name, title, extension in (
            ("pvtu", "VTK partitioned unstructured grid", "pvtu"),
            ("pvtp", "VTK partitioned polygons", "pvtp"),
            ("pvti", "VTK partitioned image", "pvti"),
            ("pvtr", "VTK partitioned rectilinear grid", "pvtr"),
            ("pvts", "VTK partitioned structured grid", "pvts"),
            ("vtm", "VTK multi-block data set", "vtm vtmb vth"),
        )
    ),
    _text("pvd", "ParaView collection", "pvd", container="xml", mime_type="application/xml"),
    _grid("gmsh", "Gmsh mesh", "msh msh2 msh4", signatures=starts(b"$MeshFormat")),
    _grid(
        "ansysmsh",
        "ANSYS Fluent mesh",
        "msh cas",
        signatures=starts(b'(0 "', b'(1 "', b"(0 '", b"(0 \x22"),
    ),
    _grid(
        "abaqus",
        "Abaqus input",
        "inp",
        patterns=(
            r"(?>(?:\*\*[^\n]*+\n\s*+)*)\*(?:heading|part|node|preprint|include|parameter)\b",
            r"(?>(?:\*\*[^\n]*+\n\s*+)*)\*(?:HEADING|PART|NODE|PREPRINT|INCLUDE|PARAMETER)\b",
            r"(?>(?:\*\*[^\n]*+\n\s*+)*)\*(?:Heading|Part|Node|Preprint|Include|Parameter)\b",
        ),
        is_text=True,
    ),
    _grid("avsucd", "AVS UCD mesh", "avs ucd", is_text=True),
    _grid("ugrid", "AFLR3 UGRID mesh", "ugrid b8.ugrid lb8.ugrid r8.ugrid lr8.ugrid b4.ugrid"),
    _grid("ugridtext", "AFLR3 UGRID mesh, text", "ugrid", is_text=True),
    _grid(
        "su2",
        "SU2 mesh",
        "su2",
        patterns=(r"(?>(?:%[^\n]*+\n\s*+)*)(?:NZONE|NDIME)\s*+=\s*+\d",),
        is_text=True,
    ),
    _grid(
        "medit",
        "Medit mesh",
        "mesh",
        patterns=(r"(?>(?:#[^\n]*+\n\s*+)*)MeshVersionFormatted\s++\d",),
        is_text=True,
    ),
    _grid(
        "meditbinary",
        "Medit mesh, binary",
        "meshb",
        signatures=starts(
            b"\1\0\0\0\1\0\0\0", b"\1\0\0\0\2\0\0\0", b"\1\0\0\0\3\0\0\0", b"\1\0\0\0\4\0\0\0"
        ),
    ),
    _grid(
        "netgen",
        "Netgen mesh",
        "vol",
        patterns=(r"(?>(?:#[^\n]*+\n\s*+)*)mesh3d\b", r"(?>(?:#[^\n]*+\n\s*+)*)NetgenMesh"),
        is_text=True,
    ),
    _grid(
        "nastran",
        "Nastran bulk file",
        "bdf fem nas nastran blk",
        patterns=(
            r"(?>(?:\$[^\n]*+\n\s*+)*)(?:BEGIN BULK|begin bulk|SOL [ \d]|GRID[*, ]|CEND)",
            r"(?:[^\n]{0,80}\n){0,200}?BEGIN BULK",
        ),
        is_text=True,
    ),
    _grid(
        "xdmf",
        "XDMF",
        "xdmf xmf xdmf3 xdmf2",
        container="xml",
        roots=("Xdmf",),
        is_text=True,
        requires=("meshio", "h5py"),
    ),
    _grid(
        "exodus",
        "Exodus II mesh",
        "e exo ex2 exii",
        signatures=starts(b"\x89HDF\r\n\x1a\n", b"CDF\1", b"CDF\2"),
        check="spatial:is_exodus",
        requires=("meshio", "netCDF4"),
    ),
    _grid(
        "med",
        "Salome MED mesh",
        "med rmed",
        signatures=starts(b"\x89HDF\r\n\x1a\n"),
        contains=(b"ENS_MAA",),
    ),
    FileType(
        name="cgns",
        family="mesh",
        title="CGNS mesh",
        extensions=("cgns",),
        mime_type="application/x.cgns",
        object="dict of zones' names to dicts of numpy.ndarrays",
        loader="grids3d:load_cgns",
        signatures=starts(b"\x89HDF\r\n\x1a\n"),
        contains=(b"CGNSLibraryVersion",),
    ),
    _grid("moab", "MOAB mesh", "h5m", signatures=starts(b"\x89HDF\r\n\x1a\n"), contains=(b"tstt",)),
    _grid("flac3d", "FLAC3D grid", "f3grid", patterns=(r"\* ?FLAC3D",), is_text=True),
    _grid("permas", "PERMAS mesh", "dato post", patterns=(r"!?\$ENTER ",), is_text=True),
    _grid(
        "tecplot",
        "Tecplot data, text",
        "tec tecplot dat",
        patterns=(
            r"(?>(?:#[^\n]*+\n\s*+)*)(?:TITLE|title|Title)\s*+=\s*+\"[^\n]*+\n\s*+(?:VARIABLES|variables|Variables)\s*+=",
            r"(?>(?:#[^\n]*+\n\s*+)*)(?:VARIABLES|variables|Variables)\s*+=\s*+[\"A-Za-z]",
        ),
        is_text=True,
    ),
    _grid(
        "mdpa",
        "Kratos model part",
        "mdpa",
        patterns=(r"(?>(?://[^\n]*+\n\s*+)*)Begin (?:ModelPartData|Properties|Nodes)",),
        is_text=True,
    ),
    _grid("dolfin", "DOLFIN mesh", "dolfin.xml", container="xml", roots=("dolfin",), is_text=True),
    _grid("tetgennode", "TetGen nodes", "node", is_text=True),
    _grid("tetgenele", "TetGen elements", "ele", is_text=True),
)

_CLOUDS = (
    _cloud(
        "xyzpoints",
        "Points as text",
        "xyz xyzrgb txyz",
        "load_xyz",
        object="trimesh.PointCloud",
        mime_type="text/plain",
        is_text=True,
    ),
    _cloud("pts", "Leica points as text", "pts", "load_pts", mime_type="text/plain", is_text=True),
    _cloud("ptx", "Leica scan as text", "ptx", "load_ptx", mime_type="text/plain", is_text=True),
    _cloud(
        "pcd",
        "Point Cloud Library file",
        "pcd",
        "load_pcd",
        signatures=starts(b"# .PCD v", b"VERSION .7\nFIELDS", b"VERSION 0.7\nFIELDS"),
    ),
    _cloud(
        "e57",
        "ASTM E57 scans",
        "e57",
        "load_e57",
        mime_type="model/e57",
        object="pandas.DataFrame of points",
        signatures=starts(b"ASTM-E57"),
        requires=("pye57",),
    ),
    _cloud(
        "copc",
        "Cloud optimised point cloud",
        "copc.laz",
        "load_las",
        object="laspy.LasData",
        mime_type="application/vnd.laszip+copc",
        signatures=(((0, b"LASF"), (377, b"copc")),),
        requires=("laspy", "lazrs"),
    ),
    _cloud(
        "laz",
        "Lidar points, compressed",
        "laz",
        "load_las",
        object="laspy.LasData",
        mime_type="application/vnd.laszip",
        signatures=starts(b"LASF"),
        check="spatial:is_laz",
        requires=("laspy", "lazrs"),
    ),
    _cloud(
        "lidar",
        "Lidar points",
        "las",
        "load_las",
        object="laspy.LasData",
        mime_type="application/vnd.las",
        signatures=starts(b"LASF"),
        requires=("laspy",),
    ),
    _cad("rcp", "Autodesk ReCap project", "rcp"),
    _cad("rcs", "Autodesk ReCap scan", "rcs"),
    _cad("fls", "FARO scan", "fls"),
    _cad("potree", "Potree points", "potree"),
)

_STEP = r"(?>(?:\s*+(?>/\*[\s\S]*?\*/))*)\s*+ISO-10303-21\s*+;"
_READ_CAD = (
    FileType(
        name="dxf",
        family="cad",
        title="Drawing Exchange Format",
        extensions=("dxf",),
        mime_type="image/vnd.dxf",
        object="ezdxf.document.Drawing",
        loader="cad:load_dxf",
        patterns=(
            r"(?>(?:999[ \t]*+\r?\n[^\n]*+\n[ \t]*+)*)0[ \t]*+\r?\n[ \t]*+SECTION[ \t]*+\r?\n"
            r"[ \t]*+2[ \t]*+\r?\n[ \t]*+"
            r"(?:HEADER|CLASSES|TABLES|BLOCKS|ENTITIES)",
        ),
        is_text=True,
        requires=("ezdxf",),
    ),
    FileType(
        name="dxfbinary",
        family="cad",
        title="Drawing Exchange Format, binary",
        extensions=("dxf", "dxb"),
        mime_type="image/vnd.dxf",
        object="ezdxf.document.Drawing",
        loader="cad:load_dxf",
        signatures=starts(b"AutoCAD Binary DXF\r\n\x1a\0"),
        requires=("ezdxf",),
    ),
)


def _step(name: str, title: str, extensions: str, mime: str, *patterns: str) -> FileType:
    return _cad(
        name, title, extensions, mime, loader="cad:load_step", patterns=patterns, is_text=True
    )


_SCHEMA = r"[\s\S]{0,20000}?FILE_SCHEMA\s*+\(\s*+\(\s*+'"
_DESCRIBED = (
    _step(
        "ifc",
        "Industry Foundation Classes",
        "ifc",
        "application/x-step",
        rf"{_STEP}{_SCHEMA}\s*+IFC",
    ),
    _step("step", "STEP model", "step stp p21 stpnc 210", "model/step", _STEP),
    _cad(
        "stpz", "STEP model, zipped", "stpz ifczip", container="zip", members=("*.[sS][tT]*[pP]",)
    ),
    _cad(
        "ifczip",
        "Industry Foundation Classes, zipped",
        "ifczip",
        container="zip",
        members=("*.ifc",),
    ),
    _text(
        "ifcxml",
        "Industry Foundation Classes in XML",
        "ifcxml",
        container="xml",
        roots=("ifcXML", "iso_10303_28"),
    ),
    _cad(
        "iges",
        "IGES model",
        "igs iges",
        "model/iges",
        loader="cad:load_iges",
        patterns=(r"[^\n]{72}S[ 0]{6}1",),
        is_text=True,
    ),
    _cad(
        "dwg",
        "AutoCAD drawing",
        "dwg dwt dws",
        "image/vnd.dwg",
        signatures=starts(b"AC1", b"AC2"),
        check="spatial:is_dwg",
    ),
    _cad(
        "dwf",
        "Autodesk design web format",
        "dwf",
        "model/vnd.dwf",
        signatures=starts(b"(DWF V"),
    ),
    _cad(
        "dwfx",
        "Autodesk design web format, XPS",
        "dwfx",
        container="zip",
        members=("*.fdseq", "dwf/*"),
    ),
    _cad(
        "dgn",
        "MicroStation design",
        "dgn",
        "image/vnd.dgn",
        signatures=starts(b"\x08\x09\xfe\x02", b"\xc8\x09\xfe\x02", b"\x08\x05\xfe\x02"),
    ),
    _cad(
        "dgn8",
        "MicroStation V8 design",
        "dgn",
        "image/vnd.dgn",
        container="ole",
        streams=("Dgn~H",),
    ),
    _cad(
        "fbx",
        "Autodesk FBX scene",
        "fbx",
        signatures=starts(b"Kaydara FBX Binary  \0"),
    ),
    _text("fbxtext", "Autodesk FBX scene, text", "fbx", r"; ?FBX \d+\.\d+\.\d+ project file"),
    _cad(
        "blend",
        "Blender file",
        "blend blend1",
        "application/x-blender",
        signatures=starts(b"BLENDER"),
    ),
    _cad(
        "sldprt",
        "SolidWorks part",
        "sldprt",
        container="ole",
        streams=("SwDocContentMgrInfo",),
        mime_type="application/sldworks",
    ),
    _cad(
        "sldasm",
        "SolidWorks assembly",
        "sldasm",
        container="ole",
        streams=("SwDocContentMgrInfo", "AssyVisualData2"),
    ),
    _cad(
        "slddrw",
        "SolidWorks drawing",
        "slddrw",
        container="ole",
        streams=("SwDocContentMgrInfo", "DrawingViews"),
    ),
    _cad("sldnew", "SolidWorks document", "sldprt sldasm slddrw"),
    _cad(
        "ipt", "Autodesk Inventor document", "ipt iam idw ipn", container="ole", streams=("RSeDb",)
    ),
    _cad(
        "rvt",
        "Autodesk Revit model",
        "rvt rfa rte rft",
        container="ole",
        streams=("BasicFileInfo",),
    ),
    _cad("max3ds", "3ds Max scene", "max", container="ole", streams=("ClassDirectory3", "Scene")),
    _cad(
        "skp",
        "SketchUp model",
        "skp",
        "application/vnd.sketchup.skp",
        signatures=starts(b"\xff\xfe\xff\x0eS\0k\0e\0t\0c\0h\0U\0p\0"),
    ),
    _cad("cadkey", "CADKEY part", "prt", signatures=starts(b"\xa5\x0f\xf0\x5a")),
    _cad("creo", "Creo or Pro/ENGINEER model", "prt asm drw neu xpr", signatures=starts(b"#UGC:2")),
    _cad("nx", "Siemens NX part", "prt", container="ole", streams=("UG_PART",)),
    _cad(
        "solidedge",
        "Solid Edge document",
        "par psm asm dft pwd",
        container="ole",
        streams=("JSitesInformation",),
    ),
    _cad(
        "catia",
        "CATIA V5 document",
        "catpart catproduct catdrawing cgr catshape",
        signatures=starts(b"V5_CFV2"),
    ),
    _cad("catia4", "CATIA V4 model", "model exp session"),
    _cad(
        "rhino",
        "Rhino model",
        "3dm 3dmbak",
        "model/vnd.3dm",
        signatures=starts(b"3D Geometry File Format "),
    ),
    _cad(
        "jt",
        "Siemens JT model",
        "jt",
        "model/jt",
        signatures=tuple(
            s
            for v in (b"Version 6", b"Version 7", b"Version 8", b"Version 9", b"Version 10")
            for s in starts(v)
        ),
        contains=(b"JT",),
    ),
    _text("parasolid", "Parasolid model, text", "x_t xmt_txt", r"\*\*ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
    _cad(
        "parasolidbinary",
        "Parasolid model, binary",
        "x_b xmt_bin",
        check="spatial:is_parasolid_binary",
    ),
    _text("sat", "ACIS model, text", "sat", r"\d{3,8} \d+ \d+ \d+[ \t\r]*+\n\d+ [^\n]*ACIS"),
    _cad(
        "sab", "ACIS model, binary", "sab", signatures=starts(b"ACIS BinaryFile", b"ASM BinaryFile")
    ),
    _text(
        "brep",
        "Open CASCADE shape",
        "brep brp",
        r"(?:DBRep_DrawableShape\s++)?CASCADE Topology V\d",
    ),
    _cad(
        "fcstd",
        "FreeCAD document",
        "fcstd fcstd1",
        container="zip",
        members=("Document.xml", "*.br*p"),
    ),
    _cad("fusion", "Fusion 360 design", "f3d f3z", container="zip", members=("Manifest.dat",)),
    _cad(
        "usdc",
        "Universal Scene Description, binary",
        "usdc usd",
        "model/vnd.usd",
        signatures=starts(b"PXR-USDC"),
    ),
    _text("usda", "Universal Scene Description, text", "usda usd", r"#usda \d"),
    _cad(
        "usdz",
        "Universal Scene Description, zipped",
        "usdz",
        "model/vnd.usdz+zip",
        container="zip",
        members=("*.usd[acz]",),
        loader="cad:load_zip_info",
    ),
    _cad("alembic", "Alembic scene", "abc", signatures=starts(b"Ogawa\xff", b"Ogawa\0")),
    _text("maya", "Maya scene, text", "ma", r"//Maya ASCII"),
    _cad(
        "mayabinary",
        "Maya scene, binary",
        "mb",
        signatures=(((0, b"FOR4"), (8, b"Maya")), ((0, b"FOR8"), (16, b"Maya"))),
    ),
    _cad(
        "cinema4d", "Cinema 4D scene", "c4d", signatures=at(0, b"QC4DC4D6", b"MC4DC4D6", b"C4DC4D6")
    ),
    _cad(
        "lightwave",
        "LightWave object",
        "lwo lw",
        signatures=tuple(((0, b"FORM"), (8, k)) for k in (b"LWOB", b"LWO2", b"LWO3", b"LWLO")),
    ),
    _text("lws", "LightWave scene", "lws", r"LWSC\s"),
    _cad("modo", "MODO scene", "lxo", signatures=(((0, b"FORM"), (8, b"LXOB")),)),
    _cad("ctm", "OpenCTM mesh", "ctm", signatures=starts(b"OCTM")),
    _cad("u3d", "Universal 3D", "u3d", "model/u3d", signatures=starts(b"U3D\0")),
    _cad(
        "prc",
        "Product Representation Compact",
        "prc",
        "model/prc",
        signatures=starts(b"PRC\0", b"PRC\x1f", b"PRC\x20"),
    ),
    _cad(
        "directx",
        "DirectX mesh",
        "x",
        signatures=tuple(
            s
            for k in (b"txt", b"bin", b"tzi", b"bzi")
            for s in starts(b"xof 0302" + k, b"xof 0303" + k)
        ),
    ),
    _cad("md2", "Quake 2 model", "md2", signatures=starts(b"IDP2\x08\0\0\0")),
    _cad("md3", "Quake 3 model", "md3", signatures=starts(b"IDP3\x0f\0\0\0")),
    _cad("quakemdl", "Quake model", "mdl", signatures=starts(b"IDPO\x06\0\0\0")),
    _cad("sourcemdl", "Source engine model", "mdl", signatures=starts(b"IDST")),
    _text("md5mesh", "Doom 3 mesh", "md5mesh md5anim", r"MD5Version \d+"),
    _cad("blitz3d", "Blitz3D model", "b3d", signatures=starts(b"BB3D")),
    _cad("milkshape", "MilkShape 3D model", "ms3d", signatures=starts(b"MS3D000000")),
    _cad("pmx", "MikuMikuDance model", "pmx", signatures=starts(b"PMX \0\0", b"PMX ")),
    _cad("pmd", "MikuMikuDance model, old", "pmd", signatures=starts(b"Pmd\0\0\x80?")),
    _cad("vmd", "MikuMikuDance motion", "vmd", signatures=starts(b"Vocaloid Motion Data")),
    _text("metasequoia", "Metasequoia document", "mqo", r"Metasequoia Document"),
    _text("ac3d", "AC3D model", "ac acc", r"AC3D[0-9a-f]"),
    _text("bvh", "Biovision motion capture", "bvh", r"HIERARCHY\s++ROOT\b"),
    _text("smd", "Studiomdl data", "smd", r"version 1\s++nodes\b"),
    _text("openscad", "OpenSCAD program", "scad"),
    _text("povray", "POV-Ray scene", "pov"),
    _text("obj_material", "Wavefront material library", "mtl", r"(?>(?:#[^\n]*+\n\s*+)*)newmtl\s"),
    _text("kicad_pcb", "KiCad board", "kicad_pcb", r"\(kicad_pcb\b"),
    _text(
        "kicad_sch", "KiCad schematic", "kicad_sch", r"\(kicad_sch\b", r"EESchema Schematic File"
    ),
    _text("kicad_sym", "KiCad symbols", "kicad_sym", r"\(kicad_symbol_lib\b"),
    _text("kicad_mod", "KiCad footprint", "kicad_mod", r"\((?:footprint|module)\s"),
    _text(
        "eagle",
        "EAGLE drawing",
        "brd sch",
        container="xml",
        roots=("eagle",),
        mime_type="application/xml",
    ),
    _text(
        "gerber",
        "Gerber layer",
        "gbr ger gtl gbl gto gbo gts gbs gko gtp gbp",
        r"(?>(?:G04[^*]{0,500}\*\s*+)*)%(?:FS[LT][AI]|MO(?:IN|MM)\*|TF\.|ADD)",
        mime_type="application/vnd.gerber",
    ),
    _text("excellon", "Excellon drill file", "drl xln", r"M48[ \t]*+[\r\n]"),
    _text(
        "urdf",
        "Robot description",
        "urdf xacro",
        container="xml",
        roots=("robot",),
        mime_type="application/xml",
    ),
    _text(
        "sdf_gazebo",
        "Gazebo description",
        "world sdf",
        container="xml",
        roots=("sdf",),
        mime_type="application/xml",
    ),
    _text(
        "mjcf",
        "MuJoCo model",
        "mjcf",
        container="xml",
        roots=("mujoco",),
        mime_type="application/xml",
    ),
)

TYPES: tuple[FileType, ...] = (*_TRIMESH, *_MESHIO, *_CLOUDS, *_READ_CAD, *_DESCRIBED)
