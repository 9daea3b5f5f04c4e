"""Types of spreadsheets."""

from kernel_startup.filetype import FileType

_SHEETS = "pandas.DataFrame; with several sheets a dict of sheet name -> pandas.DataFrame"
TYPES = (
    FileType(
        name="xlsx",
        family="spreadsheet",
        title="Excel workbook",
        extensions=("xlsx",),
        mime_type="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        object=_SHEETS,
        loader="spreadsheet:load_workbook",
        container="zip",
        members=("xl/workbook.xml",),
    ),
    FileType(
        name="xlsm",
        family="spreadsheet",
        title="Excel workbook with macros",
        extensions=("xlsm",),
        mime_type="application/vnd.ms-excel.sheet.macroEnabled.12",
        object=_SHEETS,
        loader="spreadsheet:load_workbook",
        container="zip",
        members=("xl/workbook.xml", "xl/vbaProject.bin"),
    ),
    FileType(
        name="xlsb",
        family="spreadsheet",
        title="Excel binary workbook",
        extensions=("xlsb",),
        mime_type="application/vnd.ms-excel.sheet.binary.macroEnabled.12",
        object=_SHEETS,
        loader="spreadsheet:load_workbook",
        container="zip",
        members=("xl/workbook.bin",),
    ),
    FileType(
        name="xls",
        family="spreadsheet",
        title="Excel 97-2003 workbook",
        extensions=("xls",),
        mime_type="application/vnd.ms-excel",
        object=_SHEETS,
        loader="spreadsheet:load_workbook",
        container="ole",
        streams=("Workbook",),
    ),
    FileType(
        name="ods",
        family="spreadsheet",
        title="OpenDocument spreadsheet",
        extensions=("ods",),
        mime_type="application/vnd.oasis.opendocument.spreadsheet",
        object=_SHEETS,
        loader="spreadsheet:load_workbook",
        container="zip",
    ),
)
