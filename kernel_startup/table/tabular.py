"""Types that are text tables."""

from kernel_startup.filetype import Container, FileType


def _table(
    name: str,
    title: str,
    extensions: str,
    mime_type: str = "text/plain",
    loader: str = "tabular:load_csv",
    *,
    object: str = "pandas.DataFrame",
    container: Container = "",
    roots: tuple[str, ...] = (),
    patterns: tuple[str, ...] = (),
    is_generic: bool = False,
    requires: tuple[str, ...] = (),
) -> FileType:
    return FileType(
        name=name,
        family="tabular",
        title=title,
        extensions=tuple(extensions.split()),
        mime_type=mime_type,
        object=object,
        loader=loader,
        container=container,
        roots=roots,
        patterns=patterns,
        is_text=True,
        is_generic=is_generic,
        requires=requires,
    )


_VOTABLE = tuple(
    f"{{http://www.ivoa.net/xml/VOTable/v{version}}}VOTABLE"
    for version in ("1.0", "1.1", "1.2", "1.3")
)

TYPES = (
    _table("csv", "Comma-separated values", "csv", "text/csv"),
    _table("tsv", "Tab-separated values", "tsv tab tabular", "text/tab-separated-values"),
    _table("psv", "Pipe-separated values", "psv", "text/plain"),
    _table(
        "ssv",
        "Space-separated or semicolon-separated values",
        "ssv scsv",
        loader="columns:load_spaced",
    ),
    # Names of data of any kind: their content says which.
    _table(
        "data",
        "Data in columns",
        "dat asc",
        loader="columns:load_data",
        object="pandas.DataFrame; str if it isn't a table",
        is_generic=True,
    ),
    _table("fwf", "Fixed-width columns", "fwf prn", loader="columns:load_fixed_width"),
    _table(
        "ecsv",
        "Enhanced CSV (astropy)",
        "ecsv",
        "text/x-ecsv",
        "columns:load_ecsv",
        patterns=(r"#[ \t]*+%ECSV[ \t]",),
    ),
    _table(
        "votable",
        "Virtual Observatory table",
        "vot votable xml",
        "application/x-votable+xml",
        "columns:load_votable",
        object="pandas.DataFrame; with several tables a dict of name -> pandas.DataFrame",
        container="xml",
        roots=("VOTABLE", *_VOTABLE),
        requires=("astropy>=7",),
    ),
    _table(
        "arff",
        "Weka attribute-relation file",
        "arff",
        "text/x-arff",
        "columns:load_arff",
        patterns=(r"(?>(?:[ \t]*+(?:%[^\n]*+)?\r?\n)*)[ \t]*+@(?i:relation)[ \t]",),
    ),
    _table(
        "mtx",
        "Matrix Market matrix",
        "mtx mm",
        "text/x-matrix-market",
        "columns:load_matrix_market",
        object="scipy.sparse.coo_array; numpy.ndarray if it is dense",
        patterns=(r"%%MatrixMarket[ \t]",),
    ),
    _table(
        "cdf-table",
        "CDS ReadMe table (machine-readable)",
        "mrt",
        loader="columns:load_mrt",
        patterns=(
            r"Title:[^\n]{0,500}\n(?:[^\n]{0,500}\n){1,40}?Byte-by-byte Description of file:",
        ),
        requires=("astropy>=7",),
    ),
    _table(
        "ipac",
        "IPAC table (astronomy)",
        "ipac",
        loader="columns:load_ipac",
        patterns=(
            r"(?:\\[^\n]{0,2000}\n){0,200}?\|[^\n|]{1,200}\|(?:[^\n|]{1,200}\|){0,500}\s*?\n"
            r"[ \t]*+\|(?:[ \t]*+(?:double|d|real|r|float|f|int|i|long|l|char|c|date)[ \t]*+\|)"
            r"{1,500}",
        ),
        requires=("astropy>=7",),
    ),
    # Told by its name and its first tag (kernel_startup.recognition): other pages are HTML.
    _table(
        "html-table",
        "HTML table saved as a workbook",
        "xls",
        "text/html",
        "columns:load_html_tables",
        object="pandas.DataFrame; with several tables a dict of name -> pandas.DataFrame",
        is_generic=True,
    ),
    _table(
        "libsvm",
        "LIBSVM sparse features",
        "libsvm svmlight svm",
        loader="columns:load_libsvm",
        object="tuple of scipy.sparse.csr_array of features and numpy.ndarray of labels",
    ),
)
