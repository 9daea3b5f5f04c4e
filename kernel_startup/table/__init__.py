"""The rows of the table of file types: a module for each group of families.

The order matters where two types fit a file equally well: the first one is taken.
"""

from kernel_startup.filetype import FileType
from kernel_startup.table import (
    archives,
    arrays,
    audio,
    biology,
    columnar,
    databases,
    documents,
    finance,
    fonts,
    geo,
    grids,
    images,
    mail,
    markup,
    medical,
    meshes,
    network,
    raw,
    signals,
    spreadsheet,
    statistics,
    structured,
    subtitles,
    system,
    tabular,
    text,
    vector,
    video,
)

ROWS: tuple[FileType, ...] = (
    *tabular.TYPES,
    *spreadsheet.TYPES,
    *columnar.TYPES,
    *statistics.TYPES,
    *structured.TYPES,
    *markup.TYPES,
    *databases.TYPES,
    *arrays.TYPES,
    *grids.TYPES,
    *documents.TYPES,
    *mail.TYPES,
    *images.TYPES,
    *raw.TYPES,
    *vector.TYPES,
    *audio.TYPES,
    *video.TYPES,
    *subtitles.TYPES,
    *meshes.TYPES,
    *geo.TYPES,
    *medical.TYPES,
    *biology.TYPES,
    *signals.TYPES,
    *finance.TYPES,
    *network.TYPES,
    *fonts.TYPES,
    *archives.TYPES,
    *system.TYPES,
    *text.TYPES,
)

#: Of the types that share an extension, the one a name alone is taken for; else the first in ROWS.
USUAL: dict[str, str] = {}
